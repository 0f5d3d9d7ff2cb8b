package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// send makes the request to the server. Redirects within the server's origin are followed; others are an error, since a
// client that follows them would go past Umpire.
func (x *exchange) send(body []byte) (*http.Response, error) {
	target := *x.http.URL
	target.RawQuery = addQuery(target.RawQuery, x.r.URL.RawQuery)
	for range 4 {
		resp, err := x.http.upstream.Send(x.request(&target), body)
		if err != nil || resp.StatusCode < 300 && resp.StatusCode != http.StatusSwitchingProtocols || resp.StatusCode > 399 {
			return resp, err
		}
		next, err := resp.Location()
		resp.Body.Close() //nolint:errcheck // not read
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("it wants another protocol than HTTP")
		case err != nil || next.Scheme != target.Scheme || next.Host != target.Host:
			return nil, fmt.Errorf("it redirects to %.100q; put the address that it means into the configuration", resp.Header.Get("Location"))
		case x.r.Method == http.MethodPost && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect:
			return nil, fmt.Errorf("it answers a POST with a redirect of status %d", resp.StatusCode)
		}
		target = *next
	}
	return nil, errors.New("it redirects in a circle")
}

// request makes the request for the server: the client's own, but for what belongs to its connection.
func (x *exchange) request(target *url.URL) *http.Request {
	req := &http.Request{
		Method: x.r.Method, URL: target, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(x.r.Header)+len(x.http.Headers)+2),
	}
	copyHeaders(req.Header, x.r.Header)
	req.Header["Accept-Encoding"] = identity
	for name, values := range x.http.Headers {
		req.Header[name] = values
	}
	if req.Header["User-Agent"] == nil {
		req.Header["User-Agent"] = noAgent // else net/http gives it one of its own
	}
	once(req.Header)
	return req.WithContext(x.r.Context())
}

var identity, noAgent = []string{"identity"}, []string(nil)

// once keeps net/http from sending a request again when a connection breaks, which it does where one of these headers
// is spelled like this: a call that was judged once must not run twice.
func once(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// addQuery adds the client's query to the configured one, whose parameters the client cannot set.
func addQuery(configured, client string) string {
	if configured == "" {
		return client
	}
	fixed, _ := url.ParseQuery(configured)
	for pair := range strings.FieldsFuncSeq(client, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && !fixed.Has(name) {
			configured += "&" + pair
		}
	}
	return configured
}

// hopByHop are the headers of one connection (RFC 9110, 7.6.1), those that are made anew, and those that would lead a
// client past Umpire.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Host", "Alt-Svc",
}

// copyHeaders copies the headers that belong to the message and not to its connection. Their values are shared.
func copyHeaders(dst, src http.Header) {
	var named []string
	for _, line := range src["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range src {
		if !slices.Contains(hopByHop, name) && !slices.Contains(named, name) {
			dst[name] = values
		}
	}
}
