package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
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
		why := fmt.Sprintf("server %s cannot be reached: %v", x.http.Server, rootCause(err))
		var op *net.OpError
		switch {
		case x.r.Context().Err() != nil: // the client has gone
		case errors.As(err, &op) && op.Op == "dial": // nothing was sent
			x.fail(out, wire.CodeUnavailable, event.OutcomeError, why)
		default:
			x.unavailable(out, why)
		}
		return
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	x.session(resp)
	x.challenge(resp)
	if e, ok := encoding(resp.Header); !ok {
		x.garbage(out, fmt.Sprintf("server %s encoded its answer as %.40q, although it was asked not to", x.http.Server, e))
		return
	}
	mediaType, ok := media(resp.Header)
	if !ok && resp.StatusCode < 300 {
		x.garbage(out, fmt.Sprintf("server %s gave its answer the Content-Type %.60q, which does not say clearly what it is", x.http.Server, resp.Header["Content-Type"]))
		return
	}
	if !x.streaming {
		copyHeaders(x.w.Header(), resp.Header)
	}
	if mediaType == "text/event-stream" {
		x.stream(out, resp)
		return
	}
	body, err := readAll(io.LimitReader(resp.Body, wire.MaxSize+1), resp.ContentLength)
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
	gone := resp.StatusCode == http.StatusNotFound && x.r.Method != http.MethodGet // which many servers do not know at all
	x.ended = asked != "" && (gone || x.r.Method == http.MethodDelete && resp.StatusCode < 300)
	// The answer comes on another stream; the client of one that has begun cannot be told so.
	x.resumable = resp.StatusCode == http.StatusAccepted && x.shared != nil && !x.streaming
}

// whole relays a response that is not a stream.
func (x *exchange) whole(out *outgoing, status int, mediaType string, body []byte) {
	success := status < 300
	isJSON := mediaType == "application/json"
	switch {
	case len(bytes.TrimSpace(body)) == 0, (len(x.asks) == 0 || x.resumable) && (x.link == nil || !isJSON):
		x.plain(out, status, body)
		return
	case success && !isJSON:
		x.garbage(out, fmt.Sprintf("server %s answered with %.60q, which is no answer", x.http.Server, mediaType))
		return
	}
	frame, err := wire.Parse(body, wire.FromServer)
	switch {
	case !success && (err != nil || x.beside(&frame)): // an error of HTTP, not of JSON-RPC
		x.plain(out, status, body)
		return
	case err != nil:
		x.link.Refused("server", err)
		x.nothing(out, status, fmt.Sprintf("server %s gave an answer that cannot be read: %v", x.http.Server, err))
		return
	}
	answers, same := x.judge(&frame)
	why := fmt.Sprintf("server %s answered something that was not asked", x.http.Server)
	var lost [][]byte
	switch {
	case x.resumable:
	case success:
		lost = x.link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, why, x.mine)
	case x.streaming:
		lost = x.failStatus(status)
	default: // the client is told by the status
		x.failStatus(status)
	}
	switch rest := append(lost, out.replies...); {
	case len(answers)+len(rest) == 0:
		x.nothing(out, status, why)
	case same && len(rest) == 0:
		x.write(status, body)
	case out.batch || frame.Batch && len(lost) == 0:
		x.write(status, wire.Batch(append(answers, rest...)))
	case len(lost) > 0:
		x.write(status, lost[0])
	default:
		x.write(status, answers[0])
	}
}

// beside reports whether a frame is an error that answers none of the requests of x. Servers explain a status with it,
// under no id or one of their own.
func (x *exchange) beside(f *wire.Frame) bool {
	m := &f.Messages[0]
	return !f.Batch && m.Kind == wire.Response && m.Error.Exists() && !slices.ContainsFunc(x.asks, func(r *request) bool { return r.id == m.ID })
}

// nothing answers what the server answered with a body of which the client may get no byte. If nobody asked for
// anything, the status is answer enough.
func (x *exchange) nothing(out *outgoing, status int, why string) {
	if len(x.asks) > 0 && !x.resumable {
		x.garbage(out, why)
		return
	}
	x.w.Header().Del("Content-Type")
	x.plain(out, status, nil)
}

// failStatus ends the requests of x that a status leaves unanswered. With 4xx the server says that it did not do what
// was asked; with any other nobody knows.
func (x *exchange) failStatus(status int) [][]byte {
	outcome := event.OutcomeUnclear
	if status >= 400 && status < 500 {
		outcome = event.OutcomeError
	}
	return x.link.Fail(wire.CodeBadAnswer, outcome, fmt.Sprintf("server %s answered with HTTP status %d", x.http.Server, status), x.mine)
}

// plain relays a response without messages. Requests that it leaves unanswered have failed with its status.
func (x *exchange) plain(out *outgoing, status int, body []byte) {
	if x.link != nil && len(x.asks) > 0 && !x.resumable {
		lost := x.failStatus(status)
		if status < 300 || x.streaming { // success without an answer; the client would wait for ever
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
	if !x.streaming {
		x.w.WriteHeader(resp.StatusCode)
		x.streaming = true
	}
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
		if err == nil && e.Type == "endpoint" && x.hangUp != nil {
			if err := x.turn(e, events, resp.Request.URL); err != nil {
				x.link.Refused("server", err)
			}
			return
		}
		if len(e.Data) > 0 {
			x.hangUp = nil // the endpoint comes first
		}
		malformed := errors.Is(err, transport.ErrStream) || errors.Is(err, transport.ErrTooLong)
		if err != nil && !malformed {
			x.broken(err, send)
			return
		}
		var raw []byte
		if !malformed {
			if e.ID && x.link.Origin().Protocol < wire.Modern {
				x.resumable = x.shared != nil
			}
			raw, err = x.event(e)
		}
		if err != nil {
			x.link.Refused("server", err)
			x.resumable = false
			for _, r := range x.link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, fmt.Sprintf("server %s gave an answer that cannot be read: %v", x.http.Server, err), x.mine) {
				send(transport.AppendEvent(nil, r))
			}
			return
		}
		if raw != nil && !send(raw) {
			return
		}
	}
}

// event returns the bytes of an event that the client gets. Of other types than "message" the protocol has none, but
// what a client could take for a message is judged whatever its type says.
func (x *exchange) event(e transport.Event) ([]byte, error) {
	data := bytes.TrimSpace(e.Data)
	if len(data) == 0 {
		return e.Raw, nil
	}
	if e.Type == "endpoint" { // HTTP+SSE: the client would post to wherever it says, past Umpire
		return nil, errors.New("an endpoint event of HTTP+SSE, which can only begin the answer to a GET without session")
	}
	if e.Type != "message" && data[0] != '{' && data[0] != '[' {
		return e.Raw, nil
	}
	frame, err := wire.Parse(e.Data, wire.FromServer)
	if err != nil {
		return nil, err
	}
	if x.again(e, &frame) {
		return e.Raw, nil
	}
	forward, same := x.judge(&frame)
	switch {
	case same:
		x.gave(e)
		return e.Raw, nil
	case len(forward) == 0:
		return nil, nil
	case frame.Batch:
		return e.WithData(wire.Batch(forward)), nil
	}
	return e.WithData(forward[0]), nil
}

// maxGiven is how many events a session remembers to have given to its client.
const maxGiven = 64

// gave notes that the client was given an event which it can ask for again.
func (x *exchange) gave(e transport.Event) {
	if !x.resumable || !e.ID {
		return
	}
	x.http.mu.Lock()
	defer x.http.mu.Unlock()
	if l := x.shared; len(l.given) < maxGiven {
		l.given = append(l.given, sha256.Sum256(e.Raw))
	} else {
		copy(l.given, l.given[1:])
		l.given[maxGiven-1] = sha256.Sum256(e.Raw)
	}
}

// again reports whether the client resumes a stream and e is, byte for byte, an event that it was given before: the
// connection to it broke before it had it. What it holds was judged and recorded then.
func (x *exchange) again(e transport.Event, f *wire.Frame) bool {
	if x.shared == nil || !e.ID || x.r.Header.Get("Last-Event-Id") == "" {
		return false
	}
	x.link.mu.Lock()
	for i := range f.Messages {
		if x.link.waiting[wire.Key(f.Messages[i].ID)] != nil { // it answers another request of the same id
			x.link.mu.Unlock()
			return false
		}
	}
	x.link.mu.Unlock()
	x.http.mu.Lock()
	defer x.http.mu.Unlock()
	return slices.Contains(x.shared.given, sha256.Sum256(e.Raw))
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
	for _, r := range x.link.Fail(wire.CodeUnavailable, event.OutcomeLost, fmt.Sprintf("server %s %s before it answered", x.http.Server, why), x.mine) {
		if !send(transport.AppendEvent(nil, r)) {
			return
		}
	}
}

// mine goes by the request itself: a client can use its id again as soon as the server has answered.
func (x *exchange) mine(r *request) bool { return slices.Contains(x.asks, r) }

// unavailable answers what cannot be answered because the server is not there. The answer to a call has status 200, so
// that clients show it to the model instead of treating the connection as broken.
func (x *exchange) unavailable(out *outgoing, why string) {
	x.fail(out, wire.CodeUnavailable, event.OutcomeLost, why)
}

// garbage answers what the server answered with something that is no answer.
func (x *exchange) garbage(out *outgoing, why string) {
	x.fail(out, wire.CodeBadAnswer, event.OutcomeUnclear, why)
}

func (x *exchange) fail(out *outgoing, code int, outcome event.Outcome, why string) {
	status := http.StatusBadGateway
	replies := out.replies
	if x.link != nil {
		replies = append(replies, x.link.Fail(code, outcome, why, x.mine)...)
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
	if x.streaming {
		x.push(transport.AppendEvent(nil, body)) //nolint:errcheck // the client is gone, and nothing is left to do for it
		return
	}
	for _, name := range []string{"Content-Encoding", "Content-Length"} {
		x.w.Header().Del(name)
	}
	reply(x.w, status, body)
}

// write sends a body of the server. On a stream that has begun, an answer becomes an event, and of anything else the
// client has been told what it has to know.
func (x *exchange) write(status int, body []byte) {
	if x.streaming {
		if frame, err := wire.Parse(body, wire.FromServer); err == nil && len(frame.Messages) > 0 {
			x.push(transport.Event{}.WithData(body)) //nolint:errcheck // as in answer
		}
		return
	}
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if status == http.StatusNoContent || status == http.StatusNotModified {
		x.w.Header().Del("Content-Length")
	}
	x.w.WriteHeader(status)
	x.w.Write(body) //nolint:errcheck // the client is gone, and nothing is left to do for it
}

// rootCause drops the URL from errors of net/http: it may hold secrets, and the name of the server says enough.
func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
