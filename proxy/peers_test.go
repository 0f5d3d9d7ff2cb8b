package proxy_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/server"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Real clients and servers of both Go libraries, over Streamable HTTP, in both eras.
var (
	peerClients = map[string]func(way way, revision string, news chan<- struct{}) peer{"official": newOfficialPeer, "mark3": newMark3Peer}
	peerServers = map[string]func(*house) http.Handler{
		"official": func(h *house) http.Handler {
			return official(h, &sdk.StreamableHTTPOptions{PropagateRequestCancellation: true})
		},
		"official, resumable": func(h *house) http.Handler {
			return official(h, &sdk.StreamableHTTPOptions{PropagateRequestCancellation: true, EventStore: sdk.NewMemoryEventStore(nil)})
		},
		"official, JSON": func(h *house) http.Handler {
			return official(h, &sdk.StreamableHTTPOptions{PropagateRequestCancellation: true, JSONResponse: true})
		},
		"official, stateless": func(h *house) http.Handler {
			return official(h, &sdk.StreamableHTTPOptions{PropagateRequestCancellation: true, Stateless: true})
		},
		"mark3":           func(h *house) http.Handler { return mark3(h) },
		"mark3, stateful": func(h *house) http.Handler { return mark3(h, server.WithStateful(true)) },
		"mark3, resumable": func(h *house) http.Handler {
			return mark3(h, server.WithStateful(true), server.WithEventStore(server.NewInMemoryEventStore()))
		},
		"mark3, stateless": func(h *house) http.Handler { return mark3(h, server.WithStateLess(true)) },
	}
	peerRevisions = []string{"2025-03-26", "2025-11-25", ""}
)

// eachPair runs a test for every client, server and revision.
func eachPair(t *testing.T, run func(t *testing.T, pair pair)) {
	for _, c := range []string{"official", "mark3"} {
		for s := range peerServers {
			for _, revision := range peerRevisions {
				p := pair{client: c, server: s, revision: revision}
				if !p.interoperate() {
					continue
				}
				t.Run(fmt.Sprintf("%s client, %s server, %s", c, s, cmp.Or(revision, "latest")), func(t *testing.T) {
					t.Parallel()
					run(t, p)
				})
			}
		}
	}
}

// pair says who meets. The revision is "" for the newest that both speak.
type pair struct {
	client, server, revision string
	piped                    bool // the server speaks over a pipe, where all of them know the newest revision
	mute, deaf               bool // the libraries do not ask the client over these transports, or do not cancel
}

// modern reports whether the two speak 2026-07-28. The official server does only without sessions.
func (p pair) modern() bool {
	return p.revision == "" && (p.piped || p.server == "official, stateless" || strings.HasPrefix(p.server, "mark3"))
}

// interoperate reports whether the two find a revision. The official server with sessions says that it speaks
// 2026-07-28 and then does not, which the official client gets over and mcp-go's does not.
func (p pair) interoperate() bool {
	return p.revision != "" || p.client == "official" || p.modern()
}

// asks reports whether the server can ask the client: without sessions, only since 2026-07-28.
func (p pair) asks() bool { return !p.mute && (p.modern() || !strings.Contains(p.server, "stateless")) }

// cancels reports whether the libraries pass a cancellation on. Before 2026-07-28 mcp-go's client only hangs up, which
// the official server takes for no cancellation; without sessions it cannot connect the official client's with a call.
func (p pair) cancels() bool {
	return !p.deaf && (p.modern() || strings.HasPrefix(p.server, "mark3") || p.client == "official" && p.server != "official, stateless")
}

// meeting is a client that talks to a server, with Umpire between them or not.
type meeting struct {
	peer
	house          *house
	sent, received *bodies
	ended          atomic.Int64  // sessions of the protocol that the client ended
	listening      chan struct{} // closed when the client's GET stream has begun
	disk           *manual       // nil without Umpire
	url            string
	server         *url.URL // where the server is, if it is elsewhere
	end            func()
}

// meet brings a pair together; with a policy, through Umpire.
func meet(t *testing.T, p pair, policyText string, change ...func(*proxy.HTTPConfig)) *meeting {
	t.Helper()
	m := &meeting{house: newHouse(), sent: &bodies{}, received: &bodies{}, listening: make(chan struct{})}
	var once sync.Once
	handler := peerServers[p.server](m.house)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			m.received.add(string(body))
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		status := &statusWriter{ResponseWriter: w, begun: func() {}}
		if r.Method == http.MethodGet {
			status.begun = func() { once.Do(func() { close(m.listening) }) }
		}
		handler.ServeHTTP(status, r)
		if r.Method == http.MethodDelete && status.code < 300 {
			m.ended.Add(1)
		}
	}))
	m.url = upstream.URL + "/mcp"
	ends := []func(){upstream.Close}
	if policyText != "" {
		m.disk = &manual{}
		g := gate(t, m.disk, policy(t, policyText), nil)
		clean, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: 256 << 10, Secret: []byte("peers")})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(m.url)
		if err != nil {
			t.Fatal(err)
		}
		cfg := proxy.HTTPConfig{Server: "peer", URL: u, Judge: g, Cleaner: clean, Guard: proxy.Guard{User: "ann"}}
		for _, c := range change {
			c(&cfg)
		}
		front, err := proxy.NewHTTP(cfg)
		if err != nil {
			t.Fatal(err)
		}
		umpire := httptest.NewServer(front)
		m.url = umpire.URL + "/mcp"
		ends = append(ends, g.Close, front.Close, umpire.Close)
	}
	tr := &posts{Transport: &http.Transport{}, kept: m.sent}
	m.peer = peerClients[p.client](overHTTP(m.url, &http.Client{Transport: tr}), p.revision, m.house.heard)
	m.end = func() {
		close(m.house.over)
		tr.CloseIdleConnections()
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	return m
}

// statusWriter keeps the status, and says when a stream begins.
type statusWriter struct {
	http.ResponseWriter
	code  int
	begun func()
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Flush implements http.Flusher.
func (w *statusWriter) Flush() {
	w.ResponseWriter.(http.Flusher).Flush()
	w.begun()
}

// FlushError is for http.ResponseController.
func (w *statusWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.begun()
	return err
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// RoundTrip implements http.RoundTripper.
func (p *posts) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		p.kept.add(string(body))
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return p.Transport.RoundTrip(r)
}

const patience = 20 * time.Second

// converse does what a client can do and returns what it got.
func (m *meeting) converse(t *testing.T, p pair) (said []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	say := func(step, got string, err error) {
		if err != nil {
			got = "error: " + err.Error()
		}
		said = append(said, step+" -> "+strings.ReplaceAll(got, m.url, "URL"))
	}
	got, err := m.Connect(ctx)
	say("connect", got, err)
	if err != nil {
		return said
	}
	if p.asks() && !p.modern() { // what the server asks goes by this stream, or is lost
		receive(t, m.listening, "the GET stream")
	}
	got, err = m.Tools(ctx)
	say("tools", got, err)
	for _, call := range []struct {
		tool     string
		args     any
		progress bool
	}{
		{tool: "echo", args: map[string]any{"text": "é<&>\u2028 \"x\"", "n": 12345678901234567}},
		{tool: "echo"},
		{tool: "fail"},
		{tool: "nobody"},
		{tool: "work", progress: true},
		{tool: "ask"},
		{tool: "roots"},
	} {
		if !p.asks() && (call.tool == "ask" || call.tool == "roots") {
			continue
		}
		got, err = m.Call(ctx, call.tool, call.args, call.progress)
		say("call "+call.tool, got, err)
	}
	got, err = m.Read(ctx, "note://1")
	say("read", got, err)
	got, err = m.Read(ctx, "note://2")
	say("read nothing", got, err)
	got, err = m.Prompt(ctx, "greet")
	say("prompt", got, err)
	said = append(said, m.Heard()...)
	if p.cancels() {
		said = append(said, m.hangUp(ctx, t))
	}
	say("close", "", m.Close())
	return said
}

// hangUp cancels a call while the server works on it.
func (m *meeting) hangUp(ctx context.Context, t *testing.T) string {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := m.Call(call, "wait", nil, false)
		done <- err
	}()
	select {
	case <-m.house.waiting:
	case err := <-done:
		return fmt.Sprintf("wait -> %v", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled call succeeded")
	}
	select {
	case <-m.house.cancelled:
		return "cancelled, and the server knows"
	case <-ctx.Done():
		return "cancelled, but the server does not know"
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s through Umpire:\n%s\n\n%s, what it should be:\n%s", what, strings.Join(got, "\n"), what, strings.Join(want, "\n"))
	}
}

// A client sees the same through Umpire as without it, the server hears the same bytes, and the history that Umpire
// kept gives the same verdicts.
func TestPeersSeeTheSameThroughUmpire(t *testing.T) {
	eachPair(t, func(t *testing.T, p pair) {
		direct, through := meet(t, p, ""), meet(t, p, "rules: []")
		want, got := direct.converse(t, p), through.converse(t, p)
		direct.end()
		through.end()
		p.check(t, strings.Join(want, "\n"))
		same(t, "what the client sees", got, want)
		same(t, "what runs", through.house.tools(), direct.house.tools())
		same(t, "what the server hears", through.received.sorted(""), through.sent.sorted(""))
		through.check(t)
	})
}

// check makes sure that the two could do without Umpire what is compared afterwards.
func (p pair) check(t *testing.T, said string) {
	t.Helper()
	want := []string{"it failed", "worked", "a note", "hello", "progress tok: 1 of 3 busy", "progress tok: 3 of 3 busy", `"name":"purge"`}
	if p.asks() {
		want = append(want, "elicit your name?", "sample 9", "acceptmap[name:Ann]bard")
	}
	if p.cancels() {
		want = append(want, "the server knows")
	}
	switch {
	case p.modern():
		want = append(want, `"protocolVersion":"2026-07-28"`)
	case p.revision != "":
		want = append(want, fmt.Sprintf(`"protocolVersion":%q`, p.revision))
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("the two do not get on: no %q in\n%s", w, said)
		}
	}
}

// check looks at what was recorded: each call that passed has an answer, each session of the protocol that the client
// ended is closed, and the verdicts are those of a replay.
func (m *meeting) check(t *testing.T) {
	t.Helper()
	called, open, closed := map[uint64]string{}, map[uint64]string{}, 0
	late := "" // what is said of an answer to the call that the client has given up, if the server has one
	for _, e := range log(t, m.disk) {
		switch b := e.Body.(type) {
		case *event.Call:
			called[e.Seq] = b.Tool
			if b.Tool == "wait" {
				late = fmt.Sprintf("the server answered %s,", b.ID)
			}
		case *event.Verdict:
			if b.Action.Passes() {
				open[e.Cause] = called[e.Cause]
			}
		case *event.Result:
			if open[e.Cause] != b.Tool {
				t.Errorf("#%d is a second answer, or one to nothing: %+v", e.Seq, b)
			}
			if lost := b.Outcome == event.OutcomeLost; b.Tool != "wait" && lost || b.Tool == "wait" && !lost && b.Outcome != event.OutcomeError {
				t.Errorf("#%d %s ended as %s", e.Seq, b.Tool, b.Outcome)
			}
			delete(open, e.Cause)
		case *event.Closed:
			closed++
		case *event.Signal:
			if late == "" || !strings.HasPrefix(b.Text, late) {
				t.Errorf("#%d a message was refused: %s", e.Seq, b.Text)
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Turn:
		}
	}
	if len(open) > 0 {
		t.Errorf("calls without an answer: %v", open)
	}
	if ended := int(m.ended.Load()); closed != ended {
		t.Errorf("%d links were closed, where %d sessions were ended", closed, ended)
	}
	verify(t, m.disk)
}

const houseRules = `
rules:
  - {name: no-purge, on: peer/purge, do: deny}
  - {name: short, on: peer/echo, shape: {properties: {text: {maxLength: 5}}}, do: deny}
  - {name: one-question, on: peer/ask, rate: {max: 1, per: 1h}, do: deny}
`

// A denied call reaches the client as a result that its model can read, whatever the library, and never the server; a
// tool that is always denied is not even listed. A call that asked for input and is continued counts once.
func TestPeersUnderstandADenial(t *testing.T) {
	eachPair(t, func(t *testing.T, p pair) {
		m := meet(t, p, houseRules)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := m.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		if p.asks() && !p.modern() { // what the server asks goes by this stream, or is lost
			receive(t, m.listening, "the GET stream")
		}
		list, err := m.Tools(ctx)
		if err != nil || strings.Contains(list, "purge") || strings.Count(list, `"name":`) < 6 {
			t.Errorf("the list: %v %s", err, list)
		}
		if p.modern() && !strings.Contains(list, `"cacheScope":"private"`) {
			t.Errorf("a filtered list is for all: %s", list)
		}
		calls := []struct{ tool, text, denied string }{
			{tool: "purge", text: "denied 1", denied: "no-purge"},
			{tool: "echo", text: "short"},
			{tool: "echo", text: "denied 2", denied: "short"},
		}
		if p.asks() {
			calls = append(calls, calls[1], struct{ tool, text, denied string }{tool: "ask", text: "1"})
			calls = append(calls, struct{ tool, text, denied string }{tool: "ask", text: "denied 3", denied: "one-question"})
		}
		for _, c := range calls {
			got, err := m.Call(ctx, c.tool, map[string]any{"text": c.text}, false)
			refusal := fmt.Sprintf("Umpire denied peer/%s: ", c.tool)
			switch {
			case err != nil:
				t.Errorf("%s %s: %v", c.tool, c.text, err)
			case c.denied == "":
				if strings.Contains(got, `"isError":true`) || strings.Contains(got, "umpire") {
					t.Errorf("%s %s: %s", c.tool, c.text, got)
				}
			case !strings.Contains(got, `"isError":true`) || !strings.Contains(got, refusal) ||
				!strings.Contains(got, "(rule "+c.denied+")") || !strings.Contains(got, `"umpire/verdict":{"action":"deny"`):
				t.Errorf("%s %s: %s", c.tool, c.text, got)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		m.end()
		if ran := strings.Join(m.house.tools(), " "); strings.Contains(ran, "denied") || !strings.Contains(ran, "short") {
			t.Errorf("the server ran %s", ran)
		}
		same(t, "what the server hears", m.received.sorted(""), m.sent.sorted("denied"))
		m.check(t)
	})
}
