package proxy_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		crashing(path)
	}
	goleak.VerifyTestMain(m)
}

func policy(t testing.TB, text string) *rules.Policy {
	t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: text}}, event.Env{OS: "linux", Home: "/home/alice"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const threeRefunds = `rules: [{name: refund-burst, on: billing/issue_refund, rate: {max: 3, per: 10s, by: session}, do: deny}]`

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func gate(t testing.TB, r proxy.Recorder, p *rules.Policy, c *clock) *proxy.Gate {
	t.Helper()
	cfg := proxy.GateConfig{Recorder: r, Policy: p}
	if c != nil {
		cfg.Now = c.now
	}
	g, err := proxy.NewGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var support = proxy.Origin{
	Link: "stdio:billing:1", Server: "billing", Transport: proxy.TransportStdio, Protocol: "2025-11-25",
	Peer: event.Peer{Principal: "local:alice", Agent: "support", Process: "claude[1]", Workspace: "/w"},
}

func refund(args string) event.Call {
	return event.Call{
		Link: support.Link, Server: "billing", Tool: "issue_refund", ID: json.RawMessage("1"), Args: json.RawMessage(args), Peer: support.Peer,
	}
}

// judge asks for a verdict and waits for it.
func judge(t testing.TB, g *proxy.Gate, who proxy.Origin, args string) *proxy.Ticket {
	t.Helper()
	c := refund(args)
	c.Peer, c.Link = who.Peer, who.Link
	tk := g.Call(who, c, proxy.Retry{})
	if err := tk.Wait(); err != nil {
		t.Fatal(err)
	}
	return tk
}

func log(t testing.TB, r proxy.Recorder) (out []event.Event) {
	t.Helper()
	for e, err := range r.Events(1) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func kinds(events []event.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Body.Kind())
	}
	return strings.Join(out, " ")
}

func verify(t testing.TB, r proxy.Recorder) {
	t.Helper()
	report, err := replay.Verify(r.Events, 0)
	if err != nil || report.Same != report.Verdicts {
		t.Errorf("replay: %+v %v", report, err)
	}
}

// Attempts count from the moment they are judged: parallel calls cannot race past a limit.
func TestParallelCallsCannotRacePastALimit(t *testing.T) {
	for range 20 {
		db := storetest.Open(t, store.Config{})
		g := gate(t, db, policy(t, threeRefunds), nil)
		var passed, denied int
		var mu sync.Mutex
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 64 {
			wg.Go(func() {
				<-start
				tk := judge(t, g, support, fmt.Sprintf(`{"amount":%d}`, i))
				mu.Lock()
				defer mu.Unlock()
				if tk.Verdict.Action.Passes() {
					passed++
				} else {
					denied++
				}
			})
		}
		close(start)
		wg.Wait()
		g.Close()
		if passed != 3 || denied != 61 {
			t.Fatalf("%d passed and %d were denied", passed, denied)
		}
		verify(t, db)
	}
}

// manual is a Recorder whose disk does what the test says.
type manual struct {
	order  sync.Mutex // one commit at a time
	mu     sync.Mutex
	events []event.Event
	queue  []func() // commits, in their order
	hold   bool
	full   error
}

func (m *manual) Append(events []event.Event, done func(error)) {
	m.mu.Lock()
	m.queue = append(m.queue, func() {
		m.mu.Lock()
		err := m.full
		if next := uint64(len(m.events) + 1); err == nil && events[0].Seq != next {
			err = fmt.Errorf("event %d where %d is next", events[0].Seq, next)
		}
		if err == nil {
			m.events = append(m.events, events...)
		}
		m.mu.Unlock()
		done(err)
	})
	m.mu.Unlock()
	m.commit()
}

// commit does what may be done.
func (m *manual) commit() {
	m.order.Lock()
	defer m.order.Unlock()
	for {
		m.mu.Lock()
		if m.hold || len(m.queue) == 0 {
			m.mu.Unlock()
			return
		}
		next := m.queue[0]
		m.queue = m.queue[1:]
		m.mu.Unlock()
		next()
	}
}

func (m *manual) set(hold bool, full error) {
	m.mu.Lock()
	m.hold, m.full = hold, full
	m.mu.Unlock()
	m.commit()
}

func (m *manual) Events(from uint64) iter.Seq2[event.Event, error] {
	m.mu.Lock()
	events := m.events
	m.mu.Unlock()
	return func(yield func(event.Event, error) bool) {
		for _, e := range events {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

func TestSessions(t *testing.T) {
	c := newClock()
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), c)
	defer g.Close()
	session := func(change func(*proxy.Origin)) string {
		who := support
		change(&who)
		judge(t, g, who, "{}")
		events := log(t, disk)
		return events[len(events)-1].Session
	}
	same := func(*proxy.Origin) {}
	base := session(same)
	for name, tc := range map[string]struct {
		change func(*proxy.Origin)
		other  bool
	}{
		"the same client":                          {same, false},
		"another server of the same client":        {func(o *proxy.Origin) { o.Server, o.Link = "mail", "stdio:mail:1" }, false},
		"another connection":                       {func(o *proxy.Origin) { o.Link = "stdio:billing:2" }, false},
		"another process":                          {func(o *proxy.Origin) { o.Peer.Process = "claude[2]" }, true},
		"another workspace":                        {func(o *proxy.Origin) { o.Peer.Workspace = "/v" }, true},
		"another principal":                        {func(o *proxy.Origin) { o.Peer.Principal = "local:bob" }, true},
		"a conversation that the client names":     {func(o *proxy.Origin) { o.Peer.Asserted = map[string]string{"threadId": "t1"} }, true},
		"a client that is not local":               {func(o *proxy.Origin) { o.Peer.Process, o.Peer.Workspace = "", "" }, true},
		"another id that says nothing of sessions": {func(o *proxy.Origin) { o.Peer.Asserted = map[string]string{"x": "y"} }, false},
	} {
		if got := session(tc.change); (got != base) != tc.other {
			t.Errorf("%s: %s, the first was %s", name, got, base)
		}
	}
	thread := func(process string) string {
		return session(func(o *proxy.Origin) {
			o.Peer.Process, o.Peer.Asserted = process, map[string]string{"threadId": "t1"}
		})
	}
	if thread("a[1]") != thread("b[2]") {
		t.Error("one conversation over two processes is two sessions")
	}
	c.add(proxy.Idle)
	if got := session(same); got != base {
		t.Errorf("after %v: %s, want %s", proxy.Idle, got, base)
	}
	c.add(proxy.Idle + 1)
	if got := session(same); got == base {
		t.Errorf("after more than %v it is still %s", proxy.Idle, got)
	}
}

func TestRetriesAreOneCall(t *testing.T) {
	c := newClock()
	disk := &manual{}
	g := gate(t, disk, policy(t, `rules: [{name: once, on: "*/*", rate: {max: 1, per: 24h}, do: deny}]`), c)
	defer g.Close()
	ask := func(state, args string) proxy.Retry {
		return proxy.Retry{Continues: true, State: state, Args: []byte(args)}
	}
	call := func(r proxy.Retry) *proxy.Ticket {
		tk := g.Call(support, refund(`{"a":1}`), r)
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
		return tk
	}
	root := call(proxy.Retry{})
	g.Await(support, "issue_refund", ask("x", `{"a":1}`), root.Seq)
	for name, r := range map[string]proxy.Retry{
		"another state":   ask("y", `{"a":1}`),
		"other arguments": ask("x", `{"a":2}`),
		"no answer":       {},
	} {
		if tk := call(r); tk.Verdict.Action.Passes() || tk.Root != 0 {
			t.Errorf("%s counts as the same call", name)
		}
	}
	if tk := call(ask("x", `{"a":1}`)); !tk.Verdict.Action.Passes() || tk.Root != root.Seq {
		t.Errorf("the retry is a second call: %+v", tk.Verdict)
	}
	if tk := call(ask("x", `{"a":1}`)); tk.Verdict.Action.Passes() {
		t.Error("one question is good for two retries")
	}
	g.Await(support, "issue_refund", ask("x", `{"a":1}`), root.Seq)
	g.Reopen("") // Await does not wait: let the gate read the clock before it moves
	c.add(time.Hour + 1)
	if tk := call(ask("x", `{"a":1}`)); tk.Root != 0 {
		t.Error("a question is answered after more than an hour")
	}
	verify(t, disk)
}

func TestCatalogRecordsWhatIsNew(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), nil)
	defer g.Close()
	list := func(tools ...event.Tool) {
		t.Helper()
		if err := g.Record(support, 0, &event.Catalog{Server: "billing", Tools: tools}).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	list(event.Tool{Name: "a", Pin: "1"}, event.Tool{Name: "b", Pin: "1"})
	list(event.Tool{Name: "a", Pin: "1"})
	list(event.Tool{Name: "a", Pin: "2"}, event.Tool{Name: "b", Pin: "1"})
	var got []string
	for _, e := range log(t, disk) {
		if c, ok := e.Body.(*event.Catalog); ok {
			got = append(got, fmt.Sprint(c.Tools))
		}
	}
	if len(got) != 2 || strings.Contains(got[1], "{b") {
		t.Errorf("%v", got)
	}
}

func BenchmarkGate(b *testing.B) {
	for _, async := range []bool{false, true} {
		b.Run(fmt.Sprintf("async=%v", async), func(b *testing.B) {
			db, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "history.db"), Async: async})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close() //nolint:errcheck // not what is measured
			g := gate(b, db, policy(b, `rules: [{name: r, on: "*/*", rate: {max: 1000000, per: 1m, by: session}, do: deny}]`), nil)
			defer g.Close()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					judge(b, g, support, `{"amount":5,"order_id":"ord_1"}`)
				}
			})
		})
	}
}
