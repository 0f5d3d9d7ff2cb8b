package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

const headerSession = "Mcp-Session-Id"

// exchange is one HTTP request and its response.
type exchange struct {
	http      *HTTP
	w         http.ResponseWriter
	r         *http.Request
	asked     *http.Request // by the client: r ends with hangUp as well
	hangUp    func()        // nil if the exchange cannot turn into a session of HTTP+SSE
	principal string
	link      *Link
	shared    *httpLink  // the link's place among those of the protocol's sessions, if it has one
	asks      []*request // requests that were forwarded by this exchange
	calls     bool       // one of them is a tools/call
	resumable bool       // the response can go on in another exchange
	ended     bool       // the protocol's session is over
	streaming bool       // the response has begun, as a stream of events
}

// attach finds the link of a request that names a session of the protocol.
func (x *exchange) attach() *wire.Error {
	id := x.r.Header.Get(headerSession)
	if id == "" {
		return nil
	}
	h := x.http
	name := linkName(h.Server, id)
	h.mu.Lock()
	l, full := h.links[id], len(h.links) >= maxLinks
	h.mu.Unlock()
	if l == nil {
		if full {
			return &wire.Error{Code: wire.CodeUnavailable, Msg: fmt.Sprintf("%d sessions are open, and no more can be", maxLinks)}
		}
		who := x.origin(name)
		if opened, ok := h.Judge.Reopen(name); ok && opened.Principal == x.principal { // Umpire was restarted meanwhile
			who.Protocol, who.Peer = opened.Protocol, opened.Peer
		}
		l = h.register(id, h.link(who))
	}
	h.mu.Lock()
	l.used = time.Now()
	l.streams++
	h.mu.Unlock()
	x.link, x.shared = l.Link, l
	return nil
}

// linkName names the link of a session of the protocol without telling its id, which is a secret.
func linkName(server, id string) string {
	sum := sha256.Sum256([]byte(id))
	return TransportHTTP + ":" + server + ":" + hex.EncodeToString(sum[:6])
}

// link returns a new link. All of them share one quota of signals, since clients make as many links as they like, and the
// questions that requests were answered with.
func (h *HTTP) link(who Origin) *Link {
	l := NewLink(LinkConfig{Judge: h.Judge, Cleaner: h.Cleaner, Hearer: h.Hearer, Intent: h.Intent, Elicitor: h.Elicitor, Origin: who, KeepAlive: h.KeepAlive, Log: h.Log})
	l.signals, l.inputs = &h.signals, &h.inputs
	return l
}

// register makes l the link of a session; if another exchange was first, that one's link counts.
func (h *HTTP) register(id string, l *Link) *httpLink {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links[id] == nil {
		h.links[id] = &httpLink{Link: l, used: time.Now()}
	}
	return h.links[id]
}

// origin says who sends this request, as far as its headers tell.
func (x *exchange) origin(link string) Origin {
	return Origin{
		Link: link, Server: x.http.Server, Transport: TransportHTTP, Protocol: x.r.Header.Get("Mcp-Protocol-Version"),
		Peer: PeerOf(x.r, x.principal),
	}
}

// end settles what the exchange leaves unanswered.
func (x *exchange) end() {
	if x.link == nil {
		return
	}
	if !x.resumable {
		x.link.Fail(wire.CodeUnavailable, event.OutcomeLost, "the connection ended before the answer came", x.mine)
	}
	if x.shared == nil {
		return
	}
	x.http.mu.Lock()
	x.shared.streams--
	x.shared.used = time.Now()
	if id := x.r.Header.Get(headerSession); x.ended && x.http.links[id] == x.shared {
		delete(x.http.links, id)
	}
	x.http.mu.Unlock()
	if x.ended {
		x.link.Close("the session of the protocol ended")
	}
}

// post reads, judges and forwards a frame.
func (x *exchange) post() {
	body, status, refused := x.read()
	var frame wire.Frame
	if refused == nil {
		status, refused = http.StatusServiceUnavailable, x.attach()
	}
	if refused == nil {
		var err error
		frame, err = wire.Parse(body, wire.FromClient)
		status = http.StatusBadRequest
		errors.As(err, &refused)
	}
	if refused == nil {
		x.adopt(&frame)
		refused = x.check(&frame, x.link.Origin().Protocol)
	}
	if refused != nil {
		x.refuse(status, refused)
		return
	}
	x.link.traced(&frame, x.r.Header)
	rulings := make([]Ruling, len(frame.Messages))
	for i := range frame.Messages {
		rulings[i] = x.link.FromClient(&frame.Messages[i])
	}
	x.attend(rulings)
	var forward, replies [][]byte
	same := true // what goes on is what came
	for i, r := range rulings {
		f, back := r.Wait()
		if f != nil {
			forward = append(forward, f)
			m := &frame.Messages[i]
			same = same && bytes.Equal(f, m.Raw)
			if m.Kind == wire.Request {
				x.asks = append(x.asks, r.asked)
				x.calls = x.calls || m.IsCall()
			}
		}
		if back != nil {
			replies = append(replies, back)
		}
	}
	switch {
	case !frame.Batch && len(replies) > 0:
		x.answer(http.StatusOK, replies[0])
	case len(forward)+len(replies) == 0: // it was for Umpire alone
		x.w.WriteHeader(http.StatusAccepted)
	case !frame.Batch:
		x.roundTrip(&outgoing{body: forward[0]})
	case len(forward) == 0:
		x.answer(http.StatusOK, wire.Batch(replies))
	case len(replies) == 0 && same:
		x.roundTrip(&outgoing{body: body, batch: true})
	default:
		x.roundTrip(&outgoing{body: wire.Batch(forward), batch: true, replies: replies})
	}
}

// refuse answers a request that goes no further.
func (x *exchange) refuse(status int, why *wire.Error) {
	if x.link == nil {
		x.link = x.http.link(x.origin(TransportHTTP + ":" + x.http.Server))
	}
	x.link.Refused("client", why)
	reply(x.w, status, why.Reply())
}

// read returns the body, or why it is refused.
func (x *exchange) read() (body []byte, status int, refused *wire.Error) {
	bad := func(status, code int, format string, args ...any) ([]byte, int, *wire.Error) {
		return nil, status, &wire.Error{Code: code, Msg: fmt.Sprintf(format, args...)}
	}
	if e, ok := encoding(x.r.Header); !ok {
		return bad(http.StatusUnsupportedMediaType, wire.CodeInvalidRequest, "Content-Encoding %.40q: send the body as it is", e)
	}
	if mediaType, ok := media(x.r.Header); !ok || mediaType != "application/json" {
		return bad(http.StatusUnsupportedMediaType, wire.CodeInvalidRequest, "Content-Type %.60q: want application/json in UTF-8", x.r.Header["Content-Type"])
	}
	tooLong := x.r.ContentLength > wire.MaxSize
	if !tooLong {
		var err error
		body, err = readAll(http.MaxBytesReader(x.w, x.r.Body, wire.MaxSize), x.r.ContentLength)
		var e *http.MaxBytesError
		if tooLong = errors.As(err, &e); err != nil && !tooLong {
			return bad(http.StatusBadRequest, wire.CodeParse, "the body ended after %d bytes: %v", len(body), err)
		}
	}
	if tooLong {
		return bad(http.StatusRequestEntityTooLarge, wire.CodeInvalidRequest, "a message of more than %d bytes", wire.MaxSize)
	}
	return body, 0, nil
}

// believed is the longest claimed length, in bytes, for which memory is set aside before the first byte has come.
const believed = 1 << 20

// readAll reads a body to its end. Its claimed length, -1 if there is none, only says how much room to begin with:
// a claim costs its sender nothing.
func readAll(body io.Reader, length int64) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(int(min(max(length, 0), believed)) + bytes.MinRead)
	_, err := buf.ReadFrom(body)
	return buf.Bytes(), err
}

// encoding returns the Content-Encoding of a message and whether that is none.
func encoding(h http.Header) (name string, none bool) {
	for _, e := range h.Values("Content-Encoding") {
		if e != "" && !strings.EqualFold(e, "identity") {
			return e, false
		}
	}
	return "", true
}

// media returns the type of a body. It is not ok if the header cannot be read, can be read in two ways, or names
// another charset than UTF-8 for messages.
func media(h http.Header) (mediaType string, ok bool) {
	values := h.Values("Content-Type")
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", true
	}
	if len(values) == 1 && (values[0] == "application/json" || values[0] == "text/event-stream") {
		return values[0], true
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	charset := params["charset"]
	plain := charset == "" || strings.EqualFold(charset, "utf-8") || mediaType != "application/json" && mediaType != "text/event-stream"
	return mediaType, err == nil && len(values) == 1 && plain
}

// adopt gives an exchange without session of the protocol a link of its own. Its origin is what the message says, or
// what the same client said before.
func (x *exchange) adopt(frame *wire.Frame) {
	if x.link != nil {
		return
	}
	h := x.http
	m := &frame.Messages[0]
	who := x.origin("")
	client := x.principal + " " + x.r.UserAgent()
	h.mu.Lock()
	if before, ok := h.known[client]; ok && m.Protocol() == "" {
		who.Peer = before.Peer
	}
	h.mu.Unlock()
	l := h.link(who)
	l.learn(m)
	l.who.Link = TransportHTTP + ":" + h.Server // without session, there is nothing to tell links apart by
	if m.Method == "initialize" {
		h.mu.Lock()
		if len(h.known) < maxKnown {
			h.known[client] = l.who
		}
		h.mu.Unlock()
	}
	x.link = l
}

// maxKnown bounds how many clients without session are told apart by their User-Agent.
const maxKnown = 1000

// check compares the headers with the body: the body is the truth, and what contradicts it is refused. It refuses
// batches where the revision has none; agreed is that of the session, as far as it is known.
func (x *exchange) check(frame *wire.Frame, agreed string) *wire.Error {
	m := &frame.Messages[0]
	bad := func(code int, format string, args ...any) *wire.Error {
		e := &wire.Error{Code: code, Msg: fmt.Sprintf(format, args...)}
		if !frame.Batch {
			e.ID = m.ID
		}
		return e
	}
	if twice := repeated(x.r.Header); twice != nil {
		return bad(twice.Code, "%s", twice.Msg)
	}
	if frame.Batch {
		version := max(agreed, x.r.Header.Get("Mcp-Protocol-Version"))
		for i := range frame.Messages {
			version = max(version, frame.Messages[i].Protocol())
			if frame.Messages[i].Method == "initialize" {
				return bad(wire.CodeInvalidRequest, "an initialize within a batch")
			}
		}
		if version >= "2025-06-18" {
			return bad(wire.CodeInvalidRequest, "a batch, which revision %s does not have", version)
		}
	}
	for _, c := range []struct{ header, body string }{
		{"Mcp-Method", m.Method}, {"Mcp-Name", m.Name()}, {"Mcp-Protocol-Version", m.Protocol()},
	} {
		for _, value := range x.r.Header.Values(c.header) {
			if c.body == "" && c.header != "Mcp-Method" {
				continue // nothing in the body to compare with
			}
			if got := decodeHeader(value); got != c.body || frame.Batch && c.header != "Mcp-Protocol-Version" {
				return bad(wire.CodeHeaderMismatch, "header mismatch: %s says %.60q, the body says %.60q", c.header, got, c.body)
			}
		}
	}
	return nil
}

// repeated refuses a header that is there twice: which of its values counts, servers decide differently.
func repeated(h http.Header) *wire.Error {
	for _, name := range []string{headerSession, "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Last-Event-Id"} {
		if n := len(h.Values(name)); n > 1 {
			return &wire.Error{Code: wire.CodeHeaderMismatch, Msg: fmt.Sprintf("header mismatch: %s is there %d times", name, n)}
		}
	}
	return nil
}

// decodeHeader undoes the =?base64?…?= form in which the 2026-07-28 revision sends values that headers cannot hold.
func decodeHeader(v string) string {
	v = strings.TrimSpace(v)
	if inner, ok := strings.CutPrefix(v, "=?base64?"); ok && strings.HasSuffix(inner, "?=") {
		if text, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(inner, "?=")); err == nil {
			return string(text)
		}
	}
	return v
}
