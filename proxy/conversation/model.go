package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// ModelConfig says in front of which model API a Model stands.
type ModelConfig struct {
	Name  string   // "anthropic"; turns have the source "model:anthropic"
	URL   *url.URL // what the paths of requests are added to
	Mount string   // the beginning of their paths that is not for the API, such as "/model/anthropic"
	Ear   *Ear
	Guard proxy.Guard
	Until context.Context // when it is done, connections end that are no longer HTTP
	Log   *slog.Logger    // nil discards
}

// Model is a reverse proxy in front of a model API that hears what passes. Requests and answers pass as they are, to the byte
// and at once; all hearing is done on a copy. Credentials are in headers and in the query, where nobody looks.
type Model struct {
	ModelConfig
	proxy   *httputil.ReverseProxy
	via     *http.Transport
	copies  budget
	hearing sync.WaitGroup

	mu   sync.Mutex
	live map[string][]*exchange // that are not heard to their end, by the key of their Talk
}

// NewModel returns a front end. Close ends it, once nothing is served any more.
func NewModel(cfg ModelConfig) (*Model, error) {
	if cfg.URL == nil || cfg.Ear == nil || cfg.Name == "" || cfg.Until == nil {
		return nil, errors.New("conversation: a model API wants a name, a URL, an ear and an end")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Model{ModelConfig: cfg, live: map[string][]*exchange{}, via: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // bytes stay as they are
		ForceAttemptHTTP2:   true,
	}}
	m.proxy = &httputil.ReverseProxy{
		Rewrite: m.rewrite, Transport: m.via, FlushInterval: -1, ModifyResponse: answered, ErrorHandler: m.unreachable,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return m, nil
}

// Close returns when all that was said is recorded.
func (m *Model) Close() {
	m.hearing.Wait()
	m.via.CloseIdleConnections()
}

// rewrite makes the request for the API: the client's own, but for where it goes.
func (m *Model) rewrite(r *httputil.ProxyRequest) {
	target := *m.URL
	path := strings.TrimSuffix(m.URL.EscapedPath(), "/") + strings.TrimPrefix(r.In.URL.EscapedPath(), m.Mount)
	if plain, err := url.PathUnescape(path); err == nil {
		target.Path, target.RawPath = plain, path
	}
	target.RawQuery, target.ForceQuery = r.In.URL.RawQuery, r.In.URL.ForceQuery
	r.Out.URL, r.Out.Host = &target, ""
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok { // another proxy's
			r.Out.Header[name] = values
		}
	}
}

// unreachable answers where the API does not, in a form that the clients of all of them understand.
func (m *Model) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	m.Log.Warn("a model API cannot be reached", "api", m.Name, "error", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadGateway)
	json.NewEncoder(w).Encode(map[string]any{"type": "error", "error": map[string]any{ //nolint:errcheck,errchkjson // the client is gone
		"type": "api_error", "code": http.StatusBadGateway, "status": "UNAVAILABLE",
		"message": fmt.Sprintf("umpire cannot reach the model API at %s", m.URL.Host),
	}})
}

// ServeHTTP implements http.Handler.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	principal, ok := m.Guard.Principal(w, r)
	if !ok || !byProgram(w, r) {
		return
	}
	if r.Header.Get("Upgrade") != "" {
		m.upgrade(w, r, principal)
		return
	}
	spoken := dialectOf(r.URL.Path)
	if m.Ear.Keep == KeepOff || spoken == nil || r.Method != http.MethodPost {
		m.proxy.ServeHTTP(w, r)
		return
	}
	x := &exchange{
		model: m, dialect: spoken, talk: m.talk(r, principal), asked: newTap(&m.copies), said: newTap(&m.copies),
		encoding: strings.Join(r.Header.Values("Content-Encoding"), ", "), answer: make(chan heardAnswer, 1),
	}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	r.Body = &tapped{ReadCloser: r.Body, tap: x.asked, left: r.ContentLength}
	before := m.enter(x)
	m.hearing.Go(func() { x.hear(before) })
	defer x.over()
	m.proxy.ServeHTTP(w, r)
}

// upgrade passes on what is HTTP no longer once it is accepted.
func (m *Model) upgrade(w http.ResponseWriter, r *http.Request, principal string) {
	talk := m.talk(r, principal)
	if _, ok := dialectOf(r.URL.Path).(*responses); !ok || !transport.IsWebSocket(r) || m.Ear.Keep == KeepOff {
		m.Ear.unheard(talk, "a conversation", errors.New("it is not held over plain HTTP"))
	} else {
		x := &exchange{model: m, talk: talk, asked: newTap(&m.copies), said: newTap(&m.copies), answer: make(chan heardAnswer, 1), socket: true}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		before := m.enter(x)
		m.hearing.Go(func() { x.hearSocket(before) })
		defer x.over()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(m.Until, cancel)()
	m.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// exchange is a request that is being heard, and its answer.
type exchange struct {
	model    *Model
	dialect  dialect
	talk     Talk
	asked    *tap
	encoding string
	said     *tap
	answer   chan heardAnswer // at most one; closed at the end
	begun    bool             // the answer
	socket   bool             // it asks for a WebSocket
}

// enter adds an exchange to those that are live, and returns those of its conversation that are.
func (m *Model) enter(x *exchange) (before []*exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := x.talk.key()
	before = slices.Clone(m.live[key])
	m.live[key] = append(m.live[key], x)
	return before
}

func (m *Model) leave(x *exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := x.talk.key()
	m.live[key] = slices.DeleteFunc(m.live[key], func(o *exchange) bool { return o == x })
	if len(m.live[key]) == 0 {
		delete(m.live, key)
	}
}

type exchangeKey struct{}

// heardAnswer says how an answer is to be read.
type heardAnswer struct {
	encoding, kind string
	extensions     string // of a WebSocket
}

// answered takes in the header of an answer.
func answered(resp *http.Response) error {
	x, ok := resp.Request.Context().Value(exchangeKey{}).(*exchange)
	if ok && x.socket {
		return x.switched(resp)
	}
	if !ok || x.begun || resp.StatusCode != http.StatusOK {
		return nil // what is refused was not said
	}
	x.begun = true
	x.said.begin()
	resp.Body = &tapped{ReadCloser: resp.Body, tap: x.said, left: resp.ContentLength}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		kind = "unknown"
	}
	x.answer <- heardAnswer{encoding: strings.Join(resp.Header.Values("Content-Encoding"), ", "), kind: kind}
	return nil
}

// switched takes in that a connection has become a WebSocket.
func (x *exchange) switched(resp *http.Response) error {
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || x.begun || resp.StatusCode != http.StatusSwitchingProtocols {
		return nil // what is refused was not said
	}
	x.begun = true
	x.said.begin()
	resp.Body = duplex{conn, x.said}
	x.answer <- heardAnswer{extensions: strings.Join(resp.Header.Values("Sec-Websocket-Extensions"), ", ")}
	return nil
}

// over says that the exchange has ended.
func (x *exchange) over() {
	x.asked.end(errHalf)
	x.said.end(errHalf)
	close(x.answer)
}

// hear listens to the exchange, on its copies, until it is over. What was said before it began is heard before.
func (x *exchange) hear(before []*exchange) {
	h := x.model.Ear.listen(x.talk)
	defer h.end()
	defer x.model.leave(x)
	defer func() {
		if p := recover(); p != nil {
			x.model.Ear.panicked(x.talk, p)
		}
		x.asked.leave()
		x.said.leave()
	}()
	for _, b := range before {
		b.said.caughtUp()
	}
	x.request(h)
	if a, ok := <-x.answer; ok {
		x.reply(h, a)
	}
}

// request hears what the client says.
func (x *exchange) request(h *hearing) {
	doc, release, err := x.document(x.asked, x.encoding)
	defer release()
	x.asked.leave()
	if errors.Is(err, errHalf) { // nobody has got it
		return
	}
	if err != nil {
		x.model.Ear.unheard(x.talk, "a request", err)
		return
	}
	request := gjson.ParseBytes(doc)
	h.about(request)
	h.hear(past(x.dialect.asked(request))...)
}

// document reads a JSON document that may be encoded.
func (x *exchange) document(r io.Reader, encoding string) (doc []byte, release func(), err error) {
	body, err := decoder(r, encoding)
	if err != nil {
		return nil, func() {}, err
	}
	defer body.Close() //nolint:errcheck // a decoder
	return x.model.copies.document(body)
}

// reply hears what the model says.
func (x *exchange) reply(h *hearing, a heardAnswer) {
	var err error
	switch a.kind {
	case "text/event-stream":
		err = x.stream(h, a)
	case "application/json":
		var doc []byte
		var release func()
		doc, release, err = x.document(x.said, a.encoding)
		defer release()
		if err == nil {
			h.hear(x.dialect.answered(gjson.ParseBytes(doc))...)
		}
	default:
		err = fmt.Errorf("it is of type %.60q", a.kind)
	}
	if err != nil {
		x.model.Ear.unheard(x.talk, "an answer", err)
	}
}

// stream hears server-sent events, to wherever they end.
func (x *exchange) stream(h *hearing, a heardAnswer) (err error) {
	defer func() { h.hear(x.dialect.rest(err == nil)...) }()
	body, err := decoder(x.said, a.encoding)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // a decoder
	held := 0
	defer func() { x.model.copies.give(held) }()
	events := transport.NewEvents(body, maxDocument)
	for {
		e, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(e.Data) == 0 || string(e.Data) == "[DONE]":
			continue
		case held+len(e.Data) > maxStream:
			return errLong
		case !x.model.copies.take(len(e.Data)):
			return errFull
		}
		held += len(e.Data)
		if err := wire.Check(e.Data); err != nil {
			return err
		}
		h.hear(x.dialect.event(gjson.ParseBytes(e.Data))...)
	}
}

// agents are clients that call themselves otherwise over MCP than to a model API, by the beginning of their User-Agent.
var agents = map[string]string{"claude-cli": "claude-code", "codex": "codex-mcp-client"}

// sessionHeaders name the conversation, and what of it the same client asserts over MCP: with that, turns and calls are one
// session.
var sessionHeaders = []struct{ header, asserted string }{
	{"X-Claude-Code-Session-Id", "CLAUDE_CODE_SESSION_ID"},
	{"Session-Id", "sessionId"},
	{"Session_id", "sessionId"},
	{"Thread-Id", "threadId"},
	{"X-Session-Id", ""},
}

// talk says who sends a request, and in which conversation.
func (m *Model) talk(r *http.Request, principal string) Talk {
	peer, conversation := proxy.PeerOf(r, principal), ""
	for product, agent := range agents {
		if strings.HasPrefix(peer.Agent, product) {
			peer.Agent = agent
		}
	}
	for _, h := range sessionHeaders {
		id := r.Header.Get(h.header)
		if id == "" || len(id) > maxID {
			continue
		}
		conversation = cmp.Or(conversation, id)
		if h.asserted != "" {
			if peer.Asserted == nil {
				peer.Asserted = map[string]string{}
			}
			peer.Asserted[h.asserted] = id
		}
	}
	return Talk{Source: proxy.ModelSource + m.Name, Peer: peer, ID: conversation, Trace: proxy.TraceOf(r.Header)}
}

// about takes in what a request says of its place: which conversation it is of, and what was said before and is not told again.
func (h *hearing) about(request gjson.Result) {
	id, after := "", ""
	request.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "metadata": // Claude Code
			id = cmp.Or(id, gjson.Get(v.Get("user_id").Str, "session_id").Str)
		case "client_metadata": // Codex
			id = cmp.Or(id, v.Get("session_id").Str)
		case "conversation": // OpenAI's own: the API has what was said, and nothing names how far that goes
			name := cmp.Or(v.Get("id").Str, v.Str)
			id = cmp.Or(id, name)
			if name != "" {
				after = h.ear.unique()
			}
		case "previous_response_id":
			after = v.Str
		}
		return true
	})
	if h.talk.ID == "" && len(id) <= maxID {
		h.talk.ID = strings.Clone(id)
	}
	if after != "" {
		h.after(after)
	}
}

// after says that what is told now goes on after what has this name.
func (h *hearing) after(name string) { h.last = h.ear.Cleaner.Digest("after", name) }
