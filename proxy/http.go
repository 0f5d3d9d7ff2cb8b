package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// HTTPConfig says in front of which server an HTTP front end stands.
type HTTPConfig struct {
	Server  string      // its name
	URL     *url.URL    // its Streamable HTTP endpoint
	Headers http.Header // set on every request to it
	Judge   Judge
	Cleaner *wire.Cleaner
	Hearer  Hearer // as in LinkConfig
	Intent  string // likewise
	Guard   Guard
	// Elicitor asks users about calls that are on hold; nil if nobody does.
	Elicitor *Elicitor
	// KeepAlive is how often a client hears of its call that is on hold; 0 is every 15 s.
	KeepAlive time.Duration
	Log       *slog.Logger // nil discards
}

// Validate reports what is missing.
func (c HTTPConfig) Validate() error {
	switch {
	case c.Server == "" || strings.ContainsAny(c.Server, "/ *?"):
		return fmt.Errorf("proxy: %q cannot be the name of a server", c.Server)
	case c.URL == nil || c.URL.Host == "" || c.URL.Scheme != "http" && c.URL.Scheme != "https":
		return fmt.Errorf("proxy: server %s: want an http or https URL", c.Server)
	case c.Judge == nil || c.Cleaner == nil:
		return errors.New("proxy: want a judge and a cleaner")
	}
	return nil
}

// HTTP is the front end of one server for Streamable HTTP, in both eras: revisions up to 2025-11-25 with sessions, GET
// streams and DELETE, and 2026-07-28 without; and for HTTP+SSE in front of a server that speaks it. It is a reverse proxy:
// statuses, headers and bytes are the server's own, as far as they may pass.
type HTTP struct {
	HTTPConfig
	upstream upstream
	metadata atomic.Pointer[url.URL] // where the server's last challenge led
	asks     atomic.Bool             // a challenge of the server has asked for a token
	legacy   *Relay                  // of its sessions of HTTP+SSE, if it turns out to speak that

	signals Quota
	inputs  questions

	mu    sync.Mutex
	links map[string]*httpLink // by session id of the protocol
	known map[string]Origin    // who clients without session said they are, by principal and User-Agent
	done  chan struct{}
}

// httpLink is the Link of a protocol session.
type httpLink struct {
	*Link
	used    time.Time
	streams int                 // exchanges in progress
	given   [][sha256.Size]byte // digests of the last events that the client can ask for again
}

// The bounds of links: most clients never send the DELETE, so a session of the protocol counts as ended after some time
// without a request; and its id is what the client says, so there must not be any number of them.
const (
	linkIdle = time.Hour
	maxLinks = 10_000
	unused   = "not used for an hour"
)

// NewHTTP returns a front end. Close ends it.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &HTTP{
		HTTPConfig: cfg, links: map[string]*httpLink{}, known: map[string]Origin{}, done: make(chan struct{}),
		upstream: newUpstream(cfg.URL),
		legacy: newRelay(RelayConfig{
			Server: cfg.Server, Headers: cfg.Headers, Judge: cfg.Judge, Cleaner: cfg.Cleaner, Hearer: cfg.Hearer, Intent: cfg.Intent, Elicitor: cfg.Elicitor, KeepAlive: cfg.KeepAlive, Log: cfg.Log,
		}),
	}
	go h.sweep()
	return h, nil
}

// upstream is the way to a server. A request that has no connection yet may be tried again, and no other.
type upstream interface {
	Send(req *http.Request, body []byte) (*http.Response, error)
	CloseIdleConnections()
}

// netHTTP is net/http's way.
type netHTTP struct{ *http.Transport }

// Send implements upstream.
func (t netHTTP) Send(req *http.Request, body []byte) (*http.Response, error) {
	req.Body, req.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	return t.RoundTrip(req)
}

// newUpstream returns the shortest way to u: net/http's own only where it needs TLS or leads through another proxy. Tools may
// take as long as they like to answer.
func newUpstream(u *url.URL) upstream {
	through, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if u.Scheme == "http" && through == nil && err == nil && transport.Quiet {
		return transport.NewClient(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	}
	return netHTTP{&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 256, // the default of 2 halves the throughput
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // bytes are judged as they are
		ForceAttemptHTTP2:   true,
	}}
}

// Close gives up what is unanswered and closes the connections to the server. The sessions of the protocol are the
// server's and go on: after a restart of Umpire their links are opened again.
func (h *HTTP) Close() {
	close(h.done)
	h.legacy.Close()
	h.mu.Lock()
	links := h.links
	h.links = map[string]*httpLink{}
	h.mu.Unlock()
	for _, l := range links {
		l.Fail(wire.CodeUnavailable, event.OutcomeLost, "umpire stopped before the answer came", nil)
	}
	h.upstream.CloseIdleConnections()
}

// sweep ends links that are no longer used.
func (h *HTTP) sweep() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-h.done:
			return
		case now := <-tick.C:
			var idle []*httpLink
			h.mu.Lock()
			for id, l := range h.links {
				if l.streams == 0 && now.Sub(l.used) > linkIdle {
					idle = append(idle, l)
					delete(h.links, id)
				}
			}
			h.mu.Unlock()
			for _, l := range idle {
				l.Close(unused)
			}
		}
	}
}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	principal, ok := h.Guard.Principal(w, r)
	if !ok {
		return
	}
	x := &exchange{http: h, w: w, r: r, asked: r, principal: principal}
	if id, began, ok := sessionOf(r.URL); ok {
		x.r = r.WithContext(r.Context())
		x.r.URL = began
		x.message(id)
		return
	}
	switch r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet, http.MethodDelete:
		status, refused := http.StatusBadRequest, repeated(r.Header)
		if refused == nil {
			status, refused = http.StatusServiceUnavailable, x.attach()
		}
		if refused != nil {
			x.refuse(status, refused)
			break
		}
		if r.Method == http.MethodGet && x.link == nil {
			var ctx context.Context
			ctx, x.hangUp = context.WithCancel(r.Context())
			defer x.hangUp()
			x.r = r.WithContext(ctx)
		}
		x.roundTrip(nil)
	case http.MethodOptions:
		x.roundTrip(nil)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE, OPTIONS")
		reply(w, http.StatusMethodNotAllowed, wire.ErrorReply("", wire.CodeInvalidRequest, r.Method+" is no method of Streamable HTTP"))
	}
	x.end()
}
