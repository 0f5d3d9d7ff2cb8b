package proxy_test

import (
	"encoding/json"
	"errors"
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

// Invariant 4: nothing is released before its record is committed; memory may run ahead of the disk.
func TestNothingIsReleasedBeforeItIsCommitted(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), nil)
	defer g.Close()
	disk.set(true, nil)
	var tickets []*proxy.Ticket
	for range 5 {
		tickets = append(tickets, g.Call(support, refund("{}"), proxy.Retry{}))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, tk := range tickets {
			if err := tk.Wait(); err != nil || tk.Verdict.Action.Passes() != (i < 3) {
				t.Errorf("call %d: %v %v", i, tk.Verdict, err)
			}
		}
	}()
	select {
	case <-done:
		t.Error("released without a commit")
	case <-time.After(50 * time.Millisecond):
	}
	disk.set(false, nil)
	<-done
}

// Invariant 4: if an append fails, all that is queued is denied, and memory is dropped and folded again: the slots of
// calls that never passed are free.
func TestAFailedAppendDeniesAndForgets(t *testing.T) {
	disk := &manual{}
	c := newClock()
	g := gate(t, disk, policy(t, threeRefunds), c)
	defer g.Close()
	judge(t, g, support, "{}")
	full := errors.New("no space left on device")
	disk.set(true, nil)
	queued := []*proxy.Ticket{g.Call(support, refund("{}"), proxy.Retry{}), g.Call(support, refund("{}"), proxy.Retry{})}
	disk.set(false, full)
	for _, tk := range queued {
		if err := tk.Wait(); !errors.Is(err, proxy.ErrNotRecorded) || !errors.Is(err, full) || tk.Verdict.Action.Passes() {
			t.Errorf("%v %v", tk.Verdict, err)
		}
	}
	tk := g.Call(support, refund("{}"), proxy.Retry{})
	if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() || !strings.Contains(tk.Verdict.Why, "no space left") {
		t.Errorf("with a full disk: %v %v", tk.Verdict, err)
	}
	disk.set(false, nil)
	var first *proxy.Ticket
	for range 300 { // it tries again once a second
		if first = g.Call(support, refund("{}"), proxy.Retry{}); first.Wait() == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if first.Wait() != nil || !strings.Contains(first.Verdict.Why, "2 of 3") {
		t.Errorf("after there was room again: %+v", first.Verdict)
	}
	verify(t, disk)
}

func TestARecorderThatPanicsDenies(t *testing.T) {
	disk := &manual{}
	g := gate(t, panicky{disk}, policy(t, threeRefunds), nil)
	defer g.Close()
	tk := g.Call(support, refund(`{"boom":1}`), proxy.Retry{})
	if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() {
		t.Errorf("%v %v", tk.Verdict, err)
	}
	if tk := judge(t, g, support, "{}"); !strings.Contains(tk.Verdict.Why, "1 of 3") {
		t.Errorf("the call that panicked counts: %v", tk.Verdict)
	}
}

type panicky struct{ *manual }

func (p panicky) Append(events []event.Event, done func(error)) {
	for _, e := range events {
		if c, ok := e.Body.(*event.Call); ok && strings.Contains(string(c.Args), "boom") {
			panic("boom")
		}
	}
	p.manual.Append(events, done)
}

// A history of which retention has removed all that is old goes on where it was, in Seq and in time.
func TestAHistoryThatWasPrunedGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	c := newClock()
	for i := range 3 {
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		g := gate(t, db, policy(t, threeRefunds), c)
		for range 2 {
			if tk := judge(t, g, support, "{}"); !tk.Verdict.Action.Passes() {
				t.Errorf("run %d: %+v", i, tk.Verdict)
			}
			c.add(time.Second)
		}
		g.Close()
		c.add(100 * 24 * time.Hour)
		now := event.At(c.now())
		if n, err := db.Prune(store.Retention{Before: now, Floor: now}); err != nil || n == 0 {
			t.Errorf("%d events removed, %v", n, err)
		}
		pruned, err := db.Pruned()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := replay.Verify(db.Events, pruned.At); err != nil || len(r.Differences) > 0 {
			t.Errorf("replay: %+v %v", r, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Check(t, path)
}

// What a restart finds: the counters, the sessions, and what was open when it ended.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	c := newClock()
	open := func() (*store.DB, *proxy.Gate) {
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return db, gate(t, db, policy(t, threeRefunds), c)
	}
	db, g := open()
	first := judge(t, g, support, `{"amount":1}`)
	judge(t, g, support, `{"amount":2}`)
	if err := g.Record(support, first.Seq, &event.Result{Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeOK}).Wait(); err != nil {
		t.Fatal(err)
	}
	g.Close()
	db.Close()

	db, g = open()
	events := log(t, db)
	if got := kinds(events); got != "loaded opened call verdict call verdict result result closed" {
		t.Errorf("%s", got)
	}
	lost := events[7]
	if r := lost.Body.(*event.Result); r.Outcome != event.OutcomeLost || lost.Cause != 5 || lost.Session != "s2" {
		t.Errorf("%+v %+v", lost, r)
	}
	c.add(time.Second)
	third, fourth := judge(t, g, support, `{}`), judge(t, g, support, `{}`)
	if !strings.Contains(third.Verdict.Why, "3 of 3") || fourth.Verdict.Action.Passes() {
		t.Errorf("%s; %s", third.Verdict.Why, fourth.Verdict.Why)
	}
	if events = log(t, db); events[len(events)-1].Session != "s2" {
		t.Errorf("the session is now %s", events[len(events)-1].Session)
	}
	g.Close()
	verify(t, db)
	db.Close()
	storetest.Check(t, path)
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

// Invariant 1: At never decreases, even if the clock is set back.
func TestTimeNeverRunsBack(t *testing.T) {
	c := newClock()
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), c)
	for range 3 {
		judge(t, g, support, "{}")
	}
	c.add(-time.Hour)
	if tk := judge(t, g, support, "{}"); tk.Verdict.Action.Passes() {
		t.Error("setting the clock back empties a window")
	}
	c.add(time.Hour + 11*time.Second)
	if tk := judge(t, g, support, "{}"); !tk.Verdict.Action.Passes() {
		t.Error("the window does not slide any more")
	}
	g.Close()
	before := event.Time(0)
	for _, e := range log(t, disk) {
		if e.At < before {
			t.Errorf("event %d happened before the one before it", e.Seq)
		}
		before = e.At
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

// A new policy has the windows that it would have had from the beginning, and a reload loses no call.
func TestLoadFoldsHistoryAgain(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	g := gate(t, db, policy(t, "rules: []"), nil)
	for range 3 {
		judge(t, g, support, "{}")
	}
	if err := g.Load(policy(t, threeRefunds)); err != nil {
		t.Fatal(err)
	}
	if tk := judge(t, g, support, "{}"); tk.Verdict.Action.Passes() {
		t.Error("the new rule does not know what happened before it was loaded")
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				judge(t, g, support, "{}")
			}
		})
		wg.Go(func() {
			for j := range 5 {
				if err := g.Load(policy(t, fmt.Sprintf("# %d %d\n%s", i, j, threeRefunds))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g.Close()
	verify(t, db)
}

// Invariant 2: a policy whose loading cannot be recorded judges nothing; the one before stays in force.
func TestAPolicyThatCannotBeRecordedIsNotInForce(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), nil)
	defer g.Close()
	before := g.Policy().Digest()
	full := errors.New("no space left on device")
	disk.set(false, full)
	if err := g.Load(policy(t, "rules: []")); !errors.Is(err, full) || g.Policy().Digest() != before {
		t.Errorf("%v, and %.8s is in force, not %.8s", err, g.Policy().Digest(), before)
	}
	disk.set(false, nil)
	for i := range 4 {
		if tk := judge(t, g, support, "{}"); tk.Verdict.Policy != before || tk.Verdict.Action.Passes() != (i < 3) {
			t.Errorf("call %d: %+v", i, tk.Verdict)
		}
	}
	verify(t, disk)
}

func TestAfterCloseEverythingFails(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), nil)
	g.Close()
	g.Close() // is of no consequence
	tk := g.Call(support, refund("{}"), proxy.Retry{})
	if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() {
		t.Errorf("%v %v", tk.Verdict, err)
	}
	if _, ok := g.Reopen(support.Link); ok {
		t.Error("a link is known")
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
