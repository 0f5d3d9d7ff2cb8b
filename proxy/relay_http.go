package proxy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// refused answers a client for which there is no connection to the server.
func (r *Relay) refused(w http.ResponseWriter, id string, err error) {
	var status *transport.StatusError
	code, text := http.StatusBadGateway, fmt.Sprintf("server %s cannot be reached: %v", r.Server, rootCause(err))
	switch {
	case errors.Is(err, errFull), errors.Is(err, errStopping), errors.Is(err, errUnanswered):
		code, text = http.StatusServiceUnavailable, err.Error()
	case errors.As(err, &status) && status.Code >= 400:
		code = status.Code
		for _, challenge := range status.Header.Values("WWW-Authenticate") {
			w.Header().Add("WWW-Authenticate", challenge)
		}
	}
	r.Log.Warn("a client is refused", "server", r.Server, "why", text)
	reply(w, code, wire.ErrorReply(id, wire.CodeUnavailable, text))
}

// WebSocket serves MCP over WebSocket.
func (r *Relay) WebSocket(w http.ResponseWriter, q *http.Request) {
	principal, ok := r.Guard.Principal(w, q)
	if !ok {
		return
	}
	answered := false
	s, err := r.begin(q, principal, TransportWS, func() (Conn, error) {
		answered = true // by the upgrade, whatever becomes of it
		return transport.AcceptWebSocket(w, q, wire.MaxSize)
	}, nil)
	switch {
	case err == nil:
		<-s.over
	case !answered:
		r.refused(w, "", err)
	}
}

// Events serves the stream of HTTP+SSE, whose first event names the endpoint of its session.
func (r *Relay) Events(w http.ResponseWriter, q *http.Request) {
	principal, ok := r.Guard.Principal(w, q)
	if !ok {
		return
	}
	if q.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		reply(w, http.StatusMethodNotAllowed, wire.ErrorReply("", wire.CodeInvalidRequest, "here is the stream of HTTP+SSE: it begins with a GET"))
		return
	}
	var s *stream
	dial := func() (Conn, error) { return r.Dial(q.Context(), r.toServer(q.Header)) }
	_, err := r.converse(q, principal, dial, func() *stream {
		s = newStream(w)
		return s
	}, func(id string) string {
		return strings.TrimSuffix(q.URL.EscapedPath(), "/sse") + "/messages?sessionId=" + url.QueryEscape(id)
	})
	if err != nil && s == nil {
		r.refused(w, "", err)
	}
}

// converse holds a session of HTTP+SSE on a stream, which is opened when there is a connection to the server: it names the
// endpoint of the session, and lasts until either side has gone.
func (r *Relay) converse(q *http.Request, principal string, dial func() (Conn, error), open func() *stream, endpoint func(id string) string) (*relayed, error) {
	id := rand.Text()
	var s *stream
	session, err := r.join(q, principal, TransportSSE, dial, func() (Conn, error) {
		s = open()
		b := newBoard()
		b.main, b.only = s, true
		return b, nil
	}, func(session *relayed) {
		session.id, r.sessions[id] = id, session.enter()
		s.send([]byte("event: endpoint\ndata: " + endpoint(id) + "\n\n")) //nolint:errcheck // it has ended then; a new socket has room for it
	})
	if s != nil {
		defer s.leave()
	}
	if err != nil {
		return nil, err
	}
	defer r.leave(session)
	defer session.board.end()
	r.hold(q, session.board, s, nil)
	return session, nil
}

// hold keeps a stream open until done, or until either side has gone.
func (r *Relay) hold(q *http.Request, b *board, s *stream, done <-chan struct{}) {
	tick := time.NewTicker(r.KeepAlive)
	defer tick.Stop()
	var gone <-chan struct{}
	if s != nil {
		gone = s.gone
	}
	for {
		select {
		case <-q.Context().Done():
			return
		case <-gone:
			return
		case <-b.over:
			return
		case <-done:
			return
		case <-tick.C:
			if s != nil && s.send([]byte(": alive\n\n")) != nil {
				return
			}
		}
	}
}

// Messages takes in what clients of HTTP+SSE post.
func (r *Relay) Messages(w http.ResponseWriter, q *http.Request) {
	principal, ok := r.Guard.Principal(w, q)
	if !ok {
		return
	}
	if asked := r.message(w, q, principal, q.URL.Query().Get("sessionId")); asked != nil {
		r.refused(w, "", asked)
	}
}

// message takes in what is posted to a session of HTTP+SSE, with its headers if the server speaks the same. It answers, but
// where the server has refused the message before for want of the authorization that this one does not have either.
func (r *Relay) message(w http.ResponseWriter, q *http.Request, principal, id string) (asked *transport.StatusError) {
	if q.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		reply(w, http.StatusMethodNotAllowed, wire.ErrorReply("", wire.CodeInvalidRequest, "messages are posted here"))
		return nil
	}
	session := r.find(id, principal)
	if session != nil {
		defer r.leave(session)
	}
	if session == nil || !session.board.only {
		reply(w, http.StatusNotFound, wire.ErrorReply("", wire.CodeInvalidRequest, "no such session"))
		return nil
	}
	x := &exchange{w: w, r: q}
	body, status, refused := x.read()
	if refused != nil {
		session.Refused("client", refused)
		reply(w, status, refused.Reply())
		return nil
	}
	if server, ok := session.server.(*transport.Legacy); ok {
		if asked := server.Renew(r.toServer(q.Header)); asked != nil {
			return asked
		}
	}
	if !session.board.give(body, q.Context().Done()) {
		reply(w, http.StatusNotFound, wire.ErrorReply("", wire.CodeUnavailable, "the session has ended"))
		return nil
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// Streamable serves Streamable HTTP, in both eras. Up to 2025-11-25 a session has a connection to the server; since then,
// requests of a client share connections, as far as their ids tell them apart.
func (r *Relay) Streamable(w http.ResponseWriter, q *http.Request) {
	principal, ok := r.Guard.Principal(w, q)
	if !ok {
		return
	}
	p := &relayPost{relay: r, w: w, q: q, principal: principal}
	if twice := repeated(q.Header); twice != nil {
		p.refuse(http.StatusBadRequest, twice)
		return
	}
	switch q.Method {
	case http.MethodPost:
		p.post()
	case http.MethodGet:
		p.get()
	case http.MethodDelete:
		p.delete()
	default:
		p.not("GET, POST, DELETE")
	}
	if p.session != nil {
		r.leave(p.session)
	}
}

// relayPost is a request of a client over Streamable HTTP.
type relayPost struct {
	relay     *Relay
	w         http.ResponseWriter
	q         *http.Request
	principal string
	session   *relayed
	modern    bool
}

func (p *relayPost) not(allow string) {
	p.w.Header().Set("Allow", allow)
	reply(p.w, http.StatusMethodNotAllowed, wire.ErrorReply("", wire.CodeInvalidRequest, p.q.Method+" is not for what is here without a session"))
}

func (p *relayPost) refuse(status int, why *wire.Error) {
	if p.session != nil {
		p.session.Refused("client", why)
	} else {
		l := NewLink(LinkConfig{Judge: p.relay.Judge, Cleaner: p.relay.Cleaner, Log: p.relay.Log, Origin: Origin{
			Link: TransportHTTP + ":" + p.relay.Server, Server: p.relay.Server, Transport: TransportHTTP, Peer: PeerOf(p.q, p.principal),
		}})
		l.signals = &p.relay.signals
		l.Refused("client", why)
	}
	reply(p.w, status, why.Reply())
}

// attach finds the session that the request names; if there is none, it answers so.
func (p *relayPost) attach() bool {
	p.session = p.relay.find(p.q.Header.Get(headerSession), p.principal)
	if p.session != nil && p.session.board.only {
		p.relay.leave(p.session)
		p.session = nil
	}
	if p.session == nil {
		reply(p.w, http.StatusNotFound, wire.ErrorReply("", wire.CodeInvalidRequest, "no such session: begin with initialize"))
		return false
	}
	return true
}

// get serves what the server says of its own accord.
func (p *relayPost) get() {
	if p.q.Header.Get(headerSession) == "" {
		p.not("POST")
		return
	}
	if !p.attach() {
		return
	}
	b := p.session.board
	s := &stream{gone: make(chan struct{})}
	if !b.claim(s) {
		reply(p.w, http.StatusConflict, wire.ErrorReply("", wire.CodeInvalidRequest, "this session has a stream already"))
		return
	}
	defer b.detach(s)
	defer s.leave()
	s.begin(p.w)
	b.catchUp(s)
	p.relay.hold(p.q, b, s, nil)
}

func (p *relayPost) delete() {
	if p.q.Header.Get(headerSession) == "" {
		p.not("POST")
		return
	}
	if !p.attach() {
		return
	}
	p.session.board.end()
	p.relay.mu.Lock()
	delete(p.relay.sessions, p.session.id)
	p.relay.mu.Unlock()
	p.w.WriteHeader(http.StatusNoContent)
}

// post takes a frame in, and answers it if it asks.
func (p *relayPost) post() {
	x := &exchange{w: p.w, r: p.q}
	body, status, refused := x.read()
	var frame wire.Frame
	if refused == nil {
		var err error
		frame, err = wire.Parse(body, wire.FromClient)
		status = http.StatusBadRequest
		errors.As(err, &refused)
	}
	if refused != nil {
		p.refuse(status, refused)
		return
	}
	m := &frame.Messages[0]
	id := p.q.Header.Get(headerSession)
	p.modern = m.Protocol() != "" || id == "" && p.q.Header.Get("Mcp-Protocol-Version") >= wire.Modern
	begins := !frame.Batch && m.Kind == wire.Request && m.Method == "initialize" && id == ""
	agreed := "" // the revision of the session
	switch {
	case p.modern, begins:
	case id == "":
		p.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, ID: m.ID, Msg: "no session: begin with initialize"})
		return
	case !p.attach():
		return
	default:
		agreed = p.session.Origin().Protocol
	}
	if refused = x.check(&frame, agreed); refused == nil && frame.Batch && agreed == "" {
		refused = &wire.Error{Code: wire.CodeInvalidRequest, Msg: "a batch before a revision is agreed on"}
	}
	if refused != nil {
		p.refuse(http.StatusBadRequest, refused)
		return
	}
	asks, err := p.room(&frame, begins)
	switch {
	case errors.Is(err, errIDInUse):
		p.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, ID: m.ID, Msg: err.Error()})
		return
	case err != nil:
		p.relay.refused(p.w, m.ID, err)
		return
	}
	if begins {
		p.w.Header().Set(headerSession, p.session.id)
	}
	if asks == nil {
		p.tell(body)
		return
	}
	p.ask(&frame, body, asks)
}

// room makes room for the answers to a frame, and for the frame itself if it has no session yet.
func (p *relayPost) room(frame *wire.Frame, begins bool) (asks *posted, err error) {
	switch {
	case p.modern:
		return p.share(frame)
	case begins:
		return p.begin(frame)
	}
	return p.session.board.post(frame, false)
}

// begin opens a session for an initialize.
func (p *relayPost) begin(frame *wire.Frame) (asks *posted, err error) {
	id := rand.Text()
	b := newBoard()
	if asks, err = b.post(frame, false); err != nil {
		return nil, err
	}
	p.session, err = p.relay.begin(p.q, p.principal, TransportHTTP, func() (Conn, error) { return b, nil }, func(s *relayed) {
		s.id, p.relay.sessions[id] = id, s.enter()
	})
	return asks, err
}

// share finds a connection of this client on which nothing is asked that could be taken for this, or opens one.
func (p *relayPost) share(frame *wire.Frame) (asks *posted, err error) {
	r, pool := p.relay, poolOf(p.q, p.principal)
	r.mu.Lock()
	for _, s := range r.pooled[pool] {
		if s.board.ended() {
			continue
		}
		if asks, err = s.board.post(frame, true); err == nil {
			p.session = s.enter()
			r.mu.Unlock()
			return asks, nil
		}
	}
	r.mu.Unlock()
	b := newBoard()
	if asks, err = b.post(frame, true); err != nil {
		return nil, err
	}
	p.session, err = r.begin(p.q, p.principal, TransportHTTP, func() (Conn, error) { return b, nil }, func(s *relayed) {
		s.pool, r.pooled[pool] = pool, append(r.pooled[pool], s.enter())
	})
	return asks, err
}

// tell passes on what has no answer.
func (p *relayPost) tell(body []byte) {
	if !p.session.board.give(body, p.q.Context().Done()) {
		reply(p.w, http.StatusNotFound, wire.ErrorReply("", wire.CodeUnavailable, "the session has ended"))
		return
	}
	p.w.WriteHeader(http.StatusAccepted)
}

// ask passes a frame with requests on and waits for the answers. A client that accepts a stream of events gets one at once.
// The answer to a probe of the era has a status that clients of the other era understand.
func (p *relayPost) ask(frame *wire.Frame, body []byte, asks *posted) {
	b := p.session.board
	probe := !frame.Batch && frame.Messages[0].Method == "server/discover"
	var s *stream
	if acceptsEvents(p.q.Header) && !probe {
		s = newStream(p.w)
		defer s.leave()
		b.listen(asks, s)
	}
	p.session.traced(frame, p.q.Header)
	given := b.give(body, p.q.Context().Done())
	if !given {
		p.session.untraced(frame)
	} else {
		p.relay.hold(p.q, b, s, asks.done)
	}
	left := b.leave(asks, given)
	if len(left) > 0 && !b.ended() { // the client has gone, or takes no more
		if given {
			p.gone(left)
		}
		return
	}
	answers := asks.answers
	for _, id := range left { // the pump has ended
		answers = append(answers, wire.ErrorReply(id, wire.CodeUnavailable, "the connection to the server ended before it answered"))
	}
	switch {
	case s != nil:
		for _, a := range answers {
			s.send(transport.AppendEvent(nil, a)) //nolint:errcheck // the client is gone, and nothing is left to do for it
		}
	case frame.Batch:
		reply(p.w, http.StatusOK, wire.Batch(answers))
	case probe:
		p.probed(answers[0])
	default:
		reply(p.w, http.StatusOK, answers[0])
	}
}

// probed answers a server/discover. A connection to a server that knows nothing of it is not used for anything else.
func (p *relayPost) probed(answer []byte) {
	status := http.StatusOK
	switch code := gjson.GetBytes(answer, "error.code"); {
	case code.Int() == codeMethodNotFound:
		status = http.StatusNotFound
	case code.Exists():
		status = http.StatusBadRequest
	}
	if status != http.StatusOK && p.session.board.idle() {
		p.session.board.end()
	}
	reply(p.w, status, answer)
}

const codeMethodNotFound = -32601 // JSON-RPC

// gone deals with requests whose client has hung up. Since 2026-07-28 that cancels them; before, it says nothing, but
// nobody is there any more for whom a call could be on hold.
func (p *relayPost) gone(ids []string) {
	for _, id := range ids {
		if !p.modern {
			p.session.abandon(id)
			continue
		}
		p.session.board.give(wire.Cancelled(id, "the client closed its stream"), nil)
	}
}
