package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// outgoing is what goes to the server, and what the client gets besides the server's answer.
type outgoing struct {
	body    []byte
	batch   bool
	replies [][]byte // to the messages of a batch that did not pass
}

// roundTrip forwards the request and relays the response.
func (x *exchange) roundTrip(out *outgoing) {
	if out == nil {
		out = &outgoing{}
	}
	resp, err := x.send(out.body)
	if err != nil {
		if x.r.Context().Err() == nil {
			x.unavailable(out, fmt.Sprintf("server %s cannot be reached: %v", x.http.Server, rootCause(err)))
		}
		return
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	x.session(resp)
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		x.garbage(out, fmt.Sprintf("server %s encoded its answer as %.40q, although it was asked not to", x.http.Server, e))
		return
	}
	copyHeaders(x.w.Header(), resp.Header)
	if mediaType == "text/event-stream" {
		x.stream(out, resp)
		return
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxSize+1))
	switch {
	case err != nil && x.r.Context().Err() != nil: // the client has gone
	case err != nil:
		x.unavailable(out, fmt.Sprintf("server %s broke its answer off: %v", x.http.Server, rootCause(err)))
	case len(body) > wire.MaxSize:
		x.garbage(out, fmt.Sprintf("server %s answered with more than %d bytes", x.http.Server, wire.MaxSize))
	default:
		x.whole(out, resp.StatusCode, mediaType, body)
	}
}

// send makes the request to the server. Redirects within the server's origin are followed; others are an error, since a
// client that follows them would go past Umpire.
func (x *exchange) send(body []byte) (*http.Response, error) {
	target := *x.http.URL
	if q := x.r.URL.RawQuery; q != "" {
		target.RawQuery = strings.TrimPrefix(target.RawQuery+"&"+q, "&")
	}
	for range 4 {
		req, err := http.NewRequestWithContext(x.r.Context(), x.r.Method, target.String(), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if len(body) == 0 {
			req.Body = http.NoBody
		}
		copyHeaders(req.Header, x.r.Header)
		req.Header.Set("Accept-Encoding", "identity")
		for name, values := range x.http.Headers {
			req.Header[name] = values
		}
		resp, err := x.http.upstream.RoundTrip(req)
		if err != nil || resp.StatusCode < 300 || resp.StatusCode > 399 {
			return resp, err
		}
		next, err := resp.Location()
		resp.Body.Close() //nolint:errcheck // not read
		switch {
		case err != nil || next.Scheme != target.Scheme || next.Host != target.Host:
			return nil, fmt.Errorf("it redirects to %.100q; put the address that it means into the configuration", resp.Header.Get("Location"))
		case x.r.Method == http.MethodPost && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect:
			return nil, fmt.Errorf("it answers a POST with a redirect of status %d", resp.StatusCode)
		}
		target = *next
	}
	return nil, errors.New("it redirects in a circle")
}

// session notes that a session of the protocol began or ended.
func (x *exchange) session(resp *http.Response) {
	asked := x.r.Header.Get(headerSession)
	if id := resp.Header.Get(headerSession); id != "" && asked == "" && x.link != nil && x.shared == nil && resp.StatusCode < 300 {
		x.link.mu.Lock()
		x.link.who.Link = linkName(x.http.Server, id)
		x.link.mu.Unlock()
		l := x.http.register(id, x.link)
		x.http.mu.Lock()
		l.streams++
		x.http.mu.Unlock()
		x.shared = l
	}
	gone := resp.StatusCode == http.StatusNotFound
	x.ended = asked != "" && (gone || x.r.Method == http.MethodDelete && resp.StatusCode < 300)
	x.resumable = resp.StatusCode == http.StatusAccepted && x.shared != nil // the answer comes on another stream
}

// whole relays a response that is not a stream.
func (x *exchange) whole(out *outgoing, status int, mediaType string, body []byte) {
	success := status < 300
	if len(bytes.TrimSpace(body)) == 0 || len(x.ids) == 0 && (x.link == nil || mediaType != "application/json") {
		x.plain(out, status, body)
		return
	}
	if mediaType != "application/json" && success {
		x.garbage(out, fmt.Sprintf("server %s answered with %.60q, which is no answer", x.http.Server, mediaType))
		return
	}
	frame, err := wire.Parse(body, wire.FromServer)
	if err != nil {
		if !success {
			x.plain(out, status, body) // an error of HTTP, not of JSON-RPC
			return
		}
		x.link.Refused("server", err)
		x.garbage(out, fmt.Sprintf("server %s gave an answer that cannot be read: %v", x.http.Server, err))
		return
	}
	answers, same := x.judge(&frame)
	answers = append(answers, out.replies...)
	switch {
	case len(answers) == 0:
		x.garbage(out, fmt.Sprintf("server %s answered something that was not asked", x.http.Server))
	case same && len(out.replies) == 0:
		x.write(status, body)
	case !frame.Batch && !out.batch:
		x.write(status, answers[0])
	default:
		x.write(status, wire.Batch(answers))
	}
}

// plain relays a response without messages. Requests that it leaves unanswered have failed with its status.
func (x *exchange) plain(out *outgoing, status int, body []byte) {
	if x.link != nil && len(x.ids) > 0 && !x.resumable {
		lost := x.link.Fail(wire.CodeBadAnswer, fmt.Sprintf("server %s answered with HTTP status %d", x.http.Server, status), x.mine)
		if status < 300 { // success without an answer; the client would wait for ever
			out.replies = append(out.replies, lost...)
		}
	}
	switch {
	case len(out.replies) == 0:
		x.write(status, body)
	case out.batch:
		x.answer(http.StatusOK, wire.Batch(out.replies))
	default:
		x.answer(http.StatusOK, out.replies[0])
	}
}

// judge gives the messages of a frame to the link. It returns what the client gets, and whether that is the frame as
// it came.
func (x *exchange) judge(frame *wire.Frame) (forward [][]byte, same bool) {
	rulings := make([]Ruling, len(frame.Messages))
	for i := range frame.Messages {
		rulings[i] = x.link.FromServer(&frame.Messages[i])
	}
	same = true
	for i, r := range rulings {
		f, _ := r.Wait()
		if f != nil {
			forward = append(forward, f)
		}
		same = same && bytes.Equal(f, frame.Messages[i].Raw)
	}
	return forward, same
}

// stream relays a response that is a stream of events, each as soon as it is whole and recorded.
func (x *exchange) stream(out *outgoing, resp *http.Response) {
	x.w.WriteHeader(resp.StatusCode)
	control := http.NewResponseController(x.w)
	send := func(raw []byte) bool {
		if _, err := x.w.Write(raw); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if control.Flush() != nil {
		return
	}
	for _, r := range out.replies {
		if !send(transport.AppendEvent(nil, r)) {
			return
		}
	}
	if x.link == nil {
		x.link = x.http.link(x.origin(TransportHTTP + ":" + x.http.Server))
	}
	events := transport.NewEvents(resp.Body, wire.MaxSize+1024)
	for {
		e, err := events.Next()
		if err != nil {
			x.broken(err, send)
			return
		}
		if e.ID && x.link.Origin().Protocol < wire.Modern {
			x.resumable = x.shared != nil
		}
		raw, err := x.event(e)
		if err != nil {
			x.link.Refused("server", err)
			x.resumable = false
			for _, r := range x.link.Fail(wire.CodeBadAnswer, fmt.Sprintf("server %s gave an answer that cannot be read: %v", x.http.Server, err), x.mine) {
				send(transport.AppendEvent(nil, r))
			}
			return
		}
		if raw != nil && !send(raw) {
			return
		}
	}
}

// event returns the bytes of an event that the client gets.
func (x *exchange) event(e transport.Event) ([]byte, error) {
	if len(bytes.TrimSpace(e.Data)) == 0 {
		return e.Raw, nil
	}
	frame, err := wire.Parse(e.Data, wire.FromServer)
	if err != nil {
		if e.Type != "message" {
			return e.Raw, nil // not of the protocol
		}
		return nil, err
	}
	forward, same := x.judge(&frame)
	switch {
	case same:
		return e.Raw, nil
	case len(forward) == 0:
		return nil, nil
	case frame.Batch:
		return e.WithData(wire.Batch(forward)), nil
	}
	return e.WithData(forward[0]), nil
}

// broken ends a stream. If the server ended it without answering, and the client cannot resume it, the client is told.
func (x *exchange) broken(err error, send func([]byte) bool) {
	if x.r.Context().Err() != nil || x.resumable {
		return
	}
	why := "ended its stream"
	if !errors.Is(err, io.EOF) {
		why = "broke its stream off: " + rootCause(err).Error()
	}
	for _, r := range x.link.Fail(wire.CodeUnavailable, fmt.Sprintf("server %s %s before it answered", x.http.Server, why), x.mine) {
		if !send(transport.AppendEvent(nil, r)) {
			return
		}
	}
}

func (x *exchange) mine(id string) bool { return slices.Contains(x.ids, id) }

// unavailable answers what cannot be answered because the server is not there. The answer to a call has status 200, so
// that clients show it to the model instead of treating the connection as broken.
func (x *exchange) unavailable(out *outgoing, why string) {
	x.fail(out, wire.CodeUnavailable, why)
}

// garbage answers what the server answered with something that is no answer.
func (x *exchange) garbage(out *outgoing, why string) {
	x.fail(out, wire.CodeBadAnswer, why)
}

func (x *exchange) fail(out *outgoing, code int, why string) {
	status := http.StatusBadGateway
	replies := out.replies
	if x.link != nil {
		replies = append(replies, x.link.Fail(code, why, x.mine)...)
	}
	if x.calls || out.batch {
		status = http.StatusOK
	}
	switch {
	case len(replies) == 0:
		x.answer(status, wire.ErrorReply("", code, why))
	case out.batch:
		x.answer(status, wire.Batch(replies))
	default:
		x.answer(status, replies[0])
	}
}

// answer sends a body of our own.
func (x *exchange) answer(status int, body []byte) {
	for _, name := range []string{"Content-Encoding", "Content-Length"} {
		x.w.Header().Del(name)
	}
	reply(x.w, status, body)
}

// write sends a body of the server.
func (x *exchange) write(status int, body []byte) {
	x.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if status == http.StatusNoContent || status == http.StatusNotModified {
		x.w.Header().Del("Content-Length")
	}
	x.w.WriteHeader(status)
	x.w.Write(body) //nolint:errcheck // the client is gone, and nothing is left to do for it
}

// hopByHop are the headers of one connection (RFC 9110, 7.6.1), and those that are made anew.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Host",
}

// copyHeaders copies the headers that belong to the message and not to its connection.
func copyHeaders(dst, src http.Header) {
	var named []string
	for _, line := range src["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range src {
		if !slices.Contains(hopByHop, name) && !slices.Contains(named, name) {
			dst[name] = slices.Clone(values)
		}
	}
}

// rootCause drops the URL from errors of net/http: it may hold secrets, and the name of the server says enough.
func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
