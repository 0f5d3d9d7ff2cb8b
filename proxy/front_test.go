package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// front is a front end for Streamable HTTP with a test on both of its sides: a client that sends what the test says, and
// a server that the test scripts.
type front struct {
	t     testing.TB
	url   string
	http  *proxy.HTTP
	gate  *proxy.Gate
	disk  *manual
	close func() // the front end, not the server behind it
	*upstream
}

// upstream is the scripted server. It notes what it gets.
type upstream struct {
	server *httptest.Server
	mu     sync.Mutex
	seen   []received
}

// received is a request as the server got it.
type received struct {
	method, host, query, body string
	header                    http.Header
}

// script answers a request whose body was read.
type script func(w http.ResponseWriter, r *http.Request, body string)

func serve(t testing.TB, answer script) *upstream {
	u := &upstream{}
	u.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the server got a broken request: %v", err)
		}
		u.mu.Lock()
		u.seen = append(u.seen, received{r.Method, r.Host, r.URL.RawQuery, string(body), r.Header.Clone()})
		u.mu.Unlock()
		answer(w, r, string(body))
	}))
	t.Cleanup(u.server.Close)
	return u
}

// requests returns what the server got so far.
func (u *upstream) requests() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]received(nil), u.seen...)
}

// stand puts a front end with a policy before a server. The configuration can be changed.
func stand(t testing.TB, policyText string, answer script, change ...func(*proxy.HTTPConfig)) *front {
	t.Helper()
	return standBefore(t, &manual{}, policyText, serve(t, answer), change...)
}

func standBefore(t testing.TB, disk *manual, policyText string, u *upstream, change ...func(*proxy.HTTPConfig)) *front {
	t.Helper()
	clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: wire.DefaultRedact, MaxValue: 64 << 10, Secret: []byte("test")})
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, disk: disk, gate: gate(t, disk, policy(t, policyText), nil), upstream: u}
	cfg := proxy.HTTPConfig{Server: "billing", Judge: f.gate, Cleaner: clean, Guard: proxy.Guard{User: "alice"}}
	if cfg.URL, err = url.Parse(u.server.URL + "/mcp"); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&cfg)
	}
	if f.http, err = proxy.NewHTTP(cfg); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(f.http)
	f.url = s.URL
	f.close = sync.OnceFunc(func() {
		s.CloseClientConnections()
		s.Close()
		f.http.Close()
		f.gate.Close()
		verify(t, disk)
	})
	t.Cleanup(f.close)
	return f
}

// request makes a request with headers such as "Mcp-Session-Id: 1", which are sent besides the usual ones.
func (f *front) request(ctx context.Context, method, body string, headers ...string) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, f.url, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"} {
		if _, given := r.Header[name]; !given && method == http.MethodPost {
			r.Header.Set(name, value)
		}
	}
	return r
}

// open sends a request and returns the response once its header is there.
func (f *front) open(r *http.Request) *http.Response {
	f.t.Helper()
	c := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// answer is a response and its whole body.
type answer struct {
	*http.Response
	body string
}

func (f *front) send(method, body string, headers ...string) answer {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	resp := f.open(f.request(ctx, method, body, headers...))
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

func (f *front) post(body string, headers ...string) answer {
	f.t.Helper()
	return f.send(http.MethodPost, body, headers...)
}

// get returns a member of the answer's JSON.
func (a answer) get(path string) gjson.Result { return gjson.Get(a.body, path) }

// log returns what is recorded by now.
func (f *front) log() []event.Event {
	f.t.Helper()
	f.gate.Reopen("") // whatever was asked before is done after
	return log(f.t, f.disk)
}

// await waits until the log holds what want looks for.
func await[B event.Body](f *front, what string, want func(e event.Event, b B) bool) event.Event {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, e := range f.log() {
			if b, ok := e.Body.(B); ok && want(e, b) {
				return e
			}
		}
	}
	f.t.Fatalf("%s is not in the log: %s", what, kinds(f.log()))
	return event.Event{}
}

// ended waits until a call has ended with an outcome, and returns how.
func (f *front) ended(outcome event.Outcome) *event.Result {
	f.t.Helper()
	e := await(f, "a call that is "+string(outcome), func(_ event.Event, r *event.Result) bool { return r.Outcome == outcome })
	return e.Body.(*event.Result)
}

// signalled waits for a signal.
func (f *front) signalled(name string) *event.Signal {
	f.t.Helper()
	e := await(f, "the signal "+name, func(_ event.Event, s *event.Signal) bool { return s.Name == name })
	return e.Body.(*event.Signal)
}

// results returns how the calls ended.
func (f *front) results() (outcomes []event.Outcome) {
	f.t.Helper()
	for _, e := range f.log() {
		if r, ok := e.Body.(*event.Result); ok {
			outcomes = append(outcomes, r.Outcome)
		}
	}
	return outcomes
}

// call is a tools/call.
func call(id, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, tool, args)
}

// modern is a request of the revision 2026-07-28.
func modern(id, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bot","version":"2"}}}}`, id, method, params)
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bot","version":"2"}}}`

// done is the answer to a request.
func done(id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done %s"}]}}`, id, strings.Trim(id, `"`))
}

// give writes a JSON response.
func give(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// obey is a server without sessions that does what it is asked, and answers batches as such.
func obey(w http.ResponseWriter, _ *http.Request, body string) {
	message := gjson.Parse(body)
	var replies []string
	for _, m := range message.Array() {
		if id := m.Get("id"); id.Exists() && m.Get("method").Exists() {
			replies = append(replies, done(id.Raw))
		}
	}
	switch {
	case len(replies) == 0:
		w.WriteHeader(http.StatusAccepted)
	case message.IsArray():
		give(w, http.StatusOK, "["+strings.Join(replies, ",")+"]")
	default:
		give(w, http.StatusOK, replies[0])
	}
}

// stream begins a response of server-sent events and returns what sends one.
func stream(w http.ResponseWriter) func(raw string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := func() { http.NewResponseController(w).Flush() }
	flush()
	return func(raw string) {
		io.WriteString(w, raw)
		flush()
	}
}

// listener reads the events of a response.
func listener(r *http.Response) func() (transport.Event, error) {
	return transport.NewEvents(r.Body, 1<<20).Next
}

// next returns the bytes of the next event, "" at the end of the stream.
func (f *front) next(listen func() (transport.Event, error)) string {
	f.t.Helper()
	e, err := listen()
	if err != nil && !errors.Is(err, io.EOF) {
		f.t.Fatal(err)
	}
	return string(e.Raw)
}

// receive waits for what a channel brings.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not come", what)
	}
	return v
}
