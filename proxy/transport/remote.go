package transport

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Remote says where a server is and how it knows who asks.
type Remote struct {
	URL    *url.URL
	Header http.Header // sent with every request, credentials among them; nobody changes it
}

// The bounds of what a server may make its client do.
const (
	maxRedirects = 4
	headersWait  = 30 * time.Second // for the answer to what needs no work: a message that is only taken in, a stream that begins
)

// StatusError is what a server answered instead of what was asked for.
type StatusError struct {
	Code   int
	Header http.Header
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("it answered with HTTP status %d", e.Code)
}

// Undelivered is what Read of a connection over HTTP returns for a frame that could not be delivered, or that was and can
// have no answer any more. The connection goes on.
type Undelivered struct {
	Frame  []byte
	Status int  // of the answer; 0 if there was none
	Sent   bool // it may have reached the server
	Err    error
}

// Error implements error.
func (u *Undelivered) Error() string { return "transport: " + u.Err.Error() }

// Unwrap returns what went wrong.
func (u *Undelivered) Unwrap() error { return u.Err }

var errCircle = errors.New("transport: it redirects in a circle")

// redirect returns where an answer that is no success leads: within the origin of at, or the error.
func (r Remote) redirect(at *url.URL, resp *http.Response) (*url.URL, error) {
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return nil, &StatusError{Code: resp.StatusCode, Header: resp.Header}
	}
	next, err := at.Parse(resp.Header.Get("Location"))
	if err == nil && resp.Header.Get("Location") != "" && SameOrigin(next, r.URL) {
		return next, nil
	}
	return nil, fmt.Errorf("transport: it redirects to %.100q; put the address that it means into the configuration", resp.Header.Get("Location"))
}

// SameOrigin reports whether two URLs lead to the same server, and speak to it in the same way.
func SameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}[u.Scheme]
	}
	return a.Scheme == b.Scheme && a.Hostname() == b.Hostname() && port(a) == port(b) && a.User == nil
}

// Do sends a request to the server. Redirects within its origin are followed, if they leave the method as it is; others
// are an error, since they would take the credentials elsewhere. The request needs a GetBody, or no body.
func (r Remote) Do(via http.RoundTripper, req *http.Request) (*http.Response, error) {
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("Accept-Encoding", "identity")
	for range maxRedirects {
		resp, err := via.RoundTrip(req)
		if err != nil || resp.StatusCode < 300 || resp.StatusCode > 399 {
			return resp, err
		}
		resp.Body.Close() //nolint:errcheck,gosec // not read
		next, err := r.redirect(req.URL, resp)
		if err != nil {
			return nil, err
		}
		if req.Method != http.MethodGet && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect {
			return nil, fmt.Errorf("transport: it answers a %s with a redirect of status %d", req.Method, resp.StatusCode)
		}
		again := req.Clone(req.Context())
		again.URL, again.Host = next, next.Host
		if req.GetBody != nil {
			if again.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		req = again
	}
	return nil, errCircle
}

// NewRoundTripper returns a way to servers that answer when they like.
func NewRoundTripper() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // bytes are judged as they are
		ForceAttemptHTTP2:   true,
	}
}

// IsEventStream reports whether a header says, and says clearly, that a body is a stream of events.
func IsEventStream(h http.Header) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 || h.Get("Content-Encoding") != "" && h.Get("Content-Encoding") != "identity" {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	charset := params["charset"]
	return err == nil && mediaType == "text/event-stream" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}
