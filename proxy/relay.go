package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// RelayConfig says in front of which server a Relay stands.
type RelayConfig struct {
	Server  string      // its name
	Headers http.Header // set on everything that is said to it
	Judge   Judge
	Cleaner *wire.Cleaner
	Hearer  Hearer // as in LinkConfig
	Intent  string // likewise
	Guard   Guard
	// Elicitor is as in HTTPConfig.
	Elicitor *Elicitor
	// Dial opens a connection to the server for one client, with Headers and those of the client that are for the server.
	// What the server answers instead is a *transport.StatusError. The context is for the dialling alone.
	Dial func(ctx context.Context, header http.Header) (Conn, error)
	// Max is how many connections there may be at the same time; 0 is 10,000.
	Max int
	// KeepAlive is how often a client hears of its call that is on hold, and that its stream is alive; 0 is every 15 s.
	KeepAlive time.Duration
	Log       *slog.Logger // nil discards
}

// Validate reports what is missing.
func (c RelayConfig) Validate() error {
	switch {
	case c.Server == "" || strings.ContainsAny(c.Server, "/ *?"):
		return fmt.Errorf("proxy: %q cannot be the name of a server", c.Server)
	case c.Judge == nil || c.Cleaner == nil || c.Dial == nil:
		return errors.New("proxy: want a judge, a cleaner and a way to the server")
	}
	return nil
}

// Relay is the front end of one server for every transport but stdio, whatever the server itself speaks: each client, or
// each session of the protocol, has a connection to the server of its own, and a Link that pumps between the two.
type Relay struct {
	RelayConfig
	born    string // tells the links of this Relay from those of another
	signals Quota
	done    chan struct{}
	running sync.WaitGroup // pumps, and sweep

	mu       sync.Mutex
	sessions map[string]*relayed // those of HTTP, by the id of the session
	pooled   map[string][]*relayed
	open     map[*relayed]bool
	dialling int
	serial   int
	closed   bool
}

// relayed is a client with its connection to the server.
type relayed struct {
	*Link
	board     *board // of a client over HTTP
	client    Conn
	server    Conn
	id        string
	principal string
	pool      string
	busy      int // requests over HTTP in progress
	used      time.Time
	ended     bool
	over      chan struct{} // closed when its pump has ended
}

// NewRelay returns a front end. Close ends it.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return newRelay(cfg), nil
}

func newRelay(cfg RelayConfig) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, keepAlive)
	cfg.Max = cmp.Or(cfg.Max, maxLinks)
	r := &Relay{
		RelayConfig: cfg, born: strings.ToLower(rand.Text()[:10]), done: make(chan struct{}),
		sessions: map[string]*relayed{}, pooled: map[string][]*relayed{}, open: map[*relayed]bool{},
	}
	r.running.Go(r.sweep)
	return r
}

// Close ends every connection, and returns when nothing of them is left.
func (r *Relay) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	close(r.done)
	var ends []*relayed
	for s := range r.open {
		ends = append(ends, s)
	}
	r.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range ends {
		closing.Go(s.hangUp)
	}
	closing.Wait()
	r.running.Wait()
}

// hangUp ends both connections at once.
func (s *relayed) hangUp() {
	s.client.Close() //nolint:errcheck // ends the pump
	s.server.Close() //nolint:errcheck // as above
}

// errFull says that there are too many connections; errStopping that Umpire ends.
var (
	errFull     = errors.New("as many connections to this server are open as may be")
	errStopping = errors.New("umpire is stopping")
)

// reserve makes room for a connection. At the bound, the session goes that nobody has used for the longest time.
func (r *Relay) reserve() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errStopping
	}
	if len(r.open)+r.dialling >= r.Max {
		var oldest *relayed
		for s := range r.open {
			if s.board != nil && s.busy == 0 && !s.ended && (oldest == nil || s.used.Before(oldest.used)) {
				oldest = s
			}
		}
		if oldest == nil {
			return errFull
		}
		r.drop(oldest)
	}
	r.dialling++
	return nil
}

// drop ends a session: its client has to begin a new one. r.mu is held.
func (r *Relay) drop(s *relayed) {
	s.ended = true
	delete(r.sessions, s.id)
	delete(r.open, s)
	r.pooled[s.pool] = slices.DeleteFunc(r.pooled[s.pool], func(o *relayed) bool { return o == s })
	if len(r.pooled[s.pool]) == 0 {
		delete(r.pooled, s.pool)
	}
	if s.board != nil {
		s.board.end()
	}
}

// begin opens a connection to the server for a client. Register is called, with r.mu held, before messages are pumped.
func (r *Relay) begin(q *http.Request, principal, kind string, accept func() (Conn, error), register func(*relayed)) (*relayed, error) {
	dial := func() (Conn, error) { return r.Dial(q.Context(), r.toServer(q.Header)) }
	return r.join(q, principal, kind, dial, accept, register)
}

// join is begin with another way to the server.
func (r *Relay) join(q *http.Request, principal, kind string, dial, accept func() (Conn, error), register func(*relayed)) (*relayed, error) {
	if err := r.reserve(); err != nil {
		return nil, err
	}
	s, err := r.connect(principal, dial, accept)
	r.mu.Lock()
	r.dialling--
	if err == nil && r.closed {
		err = errStopping
	}
	if err != nil {
		r.mu.Unlock()
		if s != nil {
			s.hangUp()
		}
		return nil, err
	}
	r.serial++
	s.Link = NewLink(LinkConfig{
		Judge: r.Judge, Cleaner: r.Cleaner, Hearer: r.Hearer, Intent: r.Intent, Elicitor: r.Elicitor, KeepAlive: r.KeepAlive, Log: r.Log,
		Origin: Origin{
			Link: fmt.Sprintf("%s:%s:%s-%d", kind, r.Server, r.born, r.serial), Server: r.Server, Transport: kind, Peer: PeerOf(q, principal),
		},
	})
	s.signals = &r.signals
	if s.board != nil {
		s.board.lost = s.unheard
	}
	r.open[s] = true
	if register != nil {
		register(s)
	}
	r.running.Go(func() {
		if err := s.Pump(s.client, s.server); err != nil {
			r.Log.Warn("a connection ended with an error", "server", r.Server, "transport", kind, "error", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.drop(s)
		close(s.over)
	})
	r.mu.Unlock()
	return s, nil
}

// connect opens both ends: first the server's, so that the client can still be told that there is none.
func (r *Relay) connect(principal string, dial, accept func() (Conn, error)) (*relayed, error) {
	server, err := dial()
	if err != nil {
		return nil, err
	}
	client, err := accept()
	if err != nil {
		server.Close() //nolint:errcheck // it was not used
		return nil, err
	}
	s := &relayed{client: client, server: server, principal: principal, used: time.Now(), over: make(chan struct{})}
	s.board, _ = client.(*board)
	return s, nil
}

// unheard notes what a client has not been told because it did not listen.
func (s *relayed) unheard(frames [][]byte) {
	method := gjson.GetBytes(frames[0], "method").Str // nothing that answers is kept
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal("unheard", fmt.Sprintf("the client does not listen, and has lost %d of the messages that are kept for it, %.60q first: %d of them, or %d MiB, are as many as may be",
		len(frames), method, maxBacklog, maxBacklogBytes>>20))
}

// PeerOf says who sends a request, as far as its headers tell.
func PeerOf(q *http.Request, principal string) event.Peer {
	agent, _, _ := strings.Cut(q.UserAgent(), " ")
	product, version, _ := strings.Cut(agent, "/")
	return event.Peer{Principal: principal, Agent: product, Client: event.Client{Name: product, Version: version}}
}

// ofRequest are the headers that belong to one request, or to the transport between a client and Umpire, besides those of
// its connection and those of MCP.
var ofRequest = []string{
	"Accept", "Accept-Encoding", "Baggage", "Cache-Control", "Content-Type", "Content-Encoding", "Idempotency-Key",
	"X-Idempotency-Key", "Last-Event-Id", "Origin", "Referer", "Sec-Websocket-Extensions", "Sec-Websocket-Key",
	"Sec-Websocket-Protocol", "Sec-Websocket-Version", "Sec-Websocket-Accept", "Traceparent", "Tracestate", "X-Request-Id",
}

// forServer returns the headers of a client's request that are for the server whatever the client asks, its credentials
// among them.
func forServer(h http.Header) http.Header {
	out := http.Header{}
	copyHeaders(out, h)
	maps.DeleteFunc(out, func(name string, _ []string) bool {
		return strings.HasPrefix(name, "Mcp-") || slices.Contains(ofRequest, name)
	})
	return out
}

// toServer returns what the server is told: what a client's request has for it, and the headers of the configuration.
func (r *Relay) toServer(h http.Header) http.Header {
	out := forServer(h)
	maps.Copy(out, r.Headers)
	return out
}

// poolOf names the connections that a request without session may share: those that were opened by the same principal with
// the same headers. On any other, the server would take its calls for those of somebody else.
func poolOf(q *http.Request, principal string) string {
	sum := sha256.New()
	forServer(q.Header).Write(sum) //nolint:errcheck // a hash takes it
	return principal + " " + hex.EncodeToString(sum.Sum(nil))
}

// poolIdle is how long a connection without session is kept, which its client does not miss.
const poolIdle = 10 * time.Minute

// sweep ends sessions that are no longer used.
func (r *Relay) sweep() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case now := <-tick.C:
			r.mu.Lock()
			for s := range r.open {
				idle := linkIdle
				if s.pool != "" {
					idle = poolIdle
				}
				if s.board != nil && s.busy == 0 && now.Sub(s.used) > idle {
					r.drop(s)
				}
			}
			r.mu.Unlock()
		}
	}
}

// enter notes that a request over HTTP uses a session; leave that it has ended. r.mu is held by enter's caller.
func (s *relayed) enter() *relayed {
	s.busy++
	s.used = time.Now()
	return s
}

func (r *Relay) leave(s *relayed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.busy--
	s.used = time.Now()
}

// find returns the session of the protocol that has this id and belongs to this principal.
func (r *Relay) find(id, principal string) *relayed {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil || s.principal != principal {
		return nil
	}
	return s.enter()
}
