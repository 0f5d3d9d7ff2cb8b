package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// allKinds is a policy that remembers something of every kind.
const allKinds = `
rules:
  - {name: burst, on: "*/issue_refund", rate: {max: 5, per: 1m, by: session}, do: deny}
  - {name: total, on: "*/issue_refund", rate: {sum: args.amount, max: 900, per: 24h, by: agent, count: succeeded}, do: deny}
  - {name: orders, on: "*/*", rate: {distinct: args.order, max: 8, per: 5m, by: [agent, server]}, do: log}
  - {name: race, on: "*/*", rate: {in_flight: 3, by: args.order}, do: deny}
  - {name: tries, on: "*/send", rate: {max: 20, per: 1h, by: session, count: attempted}, do: deny}
  - {name: declared, on: "*/send", shape: declared, do: log}
  - {name: large, on: "*/issue_refund", where: "has(args.amount) && args.amount > 80", do: hold}
  - name: looked
    on: "*/issue_refund"
    require: [{name: o, on: "*/get_order", where: "o.ok && o.args.order == args.order"}]
    within: 10m
    do: log
  - name: leak
    sequence: [{name: r, on: "result */get_order"}, {unless: {on: "signal unknown*"}}, {on: "*/send", where: "flows(r.result, args.order)"}]
    by: session
    within: 15m
    do: deny
`

// derived is a gate on a history, with snapshots every n events.
func derived(t testing.TB, db *store.DB, p *rules.Policy, c *clock, n uint64, build string, log io.Writer) *proxy.Gate {
	t.Helper()
	g, err := proxy.NewGate(proxy.GateConfig{
		Recorder: db, Snapshots: db, SnapshotEvery: n, Build: build, Policy: p, Now: c.now,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// crowd is clients that do as they like.
type crowd struct {
	testing.TB
	*rand.Rand
	*clock
	gate *proxy.Gate
	open map[string][]*proxy.Ticket // by link
	held []uint64
}

func (c *crowd) who(session int) proxy.Origin {
	o := proxy.Origin{
		Link: fmt.Sprint("stdio:", session), Server: []string{"billing", "mail"}[session%2], Transport: proxy.TransportStdio,
		Peer: event.Peer{Principal: "local:alice", Agent: fmt.Sprint("agent", session%7), Process: fmt.Sprint("p", session), Workspace: "/w"},
	}
	if session%3 == 0 {
		o.Link, o.Transport = fmt.Sprint("http:", session), proxy.TransportHTTP
		o.Peer.Process, o.Peer.Workspace, o.Peer.Asserted = "", "", map[string]string{"threadId": fmt.Sprint(session)}
	}
	return o
}

// step lets a session do something.
func (c *crowd) step(session int) {
	who := c.who(session)
	c.add([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Second}[c.IntN(4)])
	record := func(cause uint64, body event.Body) {
		if err := c.gate.Record(who, cause, body).Wait(); err != nil {
			c.Fatal(err)
		}
	}
	switch n := c.IntN(20); {
	case n < 10:
		call := event.Call{
			Link: who.Link, Server: who.Server, Tool: []string{"issue_refund", "get_order", "send"}[c.IntN(3)], ID: json.RawMessage("1"), Peer: who.Peer,
			Args: fmt.Appendf(nil, `{"order":"ord_%d","amount":%d.50}`, c.IntN(40), c.IntN(100)),
		}
		var t *proxy.Ticket
		if call.Seen = c.IntN(8) == 0; call.Seen {
			t = c.gate.Record(who, 0, &call)
		} else {
			t = c.gate.Call(who, call, proxy.Retry{})
		}
		if err := t.Wait(); err != nil {
			c.Fatal(err)
		}
		switch {
		case call.Seen:
			c.open[who.Link] = append(c.open[who.Link], t)
		case t.Hold != nil:
			c.held = append(c.held, t.Seq)
		case t.Verdict.Action.Passes():
			c.open[who.Link] = append(c.open[who.Link], t)
		}
	case n < 11:
		record(0, &event.Result{Task: fmt.Sprint(c.IntN(4)), Outcome: event.OutcomeFailed, Size: c.IntN(2)})
	case n < 16:
		if open := c.open[who.Link]; len(open) > 0 {
			c.open[who.Link] = open[1:]
			if c.IntN(3) == 0 {
				record(open[0].Seq, &event.Result{Server: who.Server, Tool: "get_order", Outcome: event.OutcomeStarted, Task: fmt.Sprint(c.IntN(4))})
				break
			}
			record(open[0].Seq, &event.Result{
				Server: who.Server, Tool: "get_order", Outcome: []event.Outcome{event.OutcomeOK, event.OutcomeFailed, event.OutcomeLost}[c.IntN(3)],
				Content: fmt.Appendf(nil, `{"text":"it is ord_%d"}`, c.IntN(40)),
			})
		}
	case n < 17:
		record(0, &event.Catalog{Server: who.Server, Tools: []event.Tool{{
			Name: "send", Pin: fmt.Sprint(c.IntN(2)), InputSchema: json.RawMessage(`{"properties":{"order":{"type":"string"}}}`),
		}}})
		if c.IntN(2) == 0 { // a person accepts it, unless it is another one by now
			err := c.gate.Accept("local:ann", []event.Accepted{{Server: who.Server, Tools: []event.Pin{{Name: "send", Pin: fmt.Sprint(c.IntN(2))}}}})
			if err != nil && !errors.Is(err, proxy.ErrDescribed) {
				c.Fatal(err)
			}
		}
	case n < 18:
		record(0, &event.Signal{Source: "wire", Name: "unknown-id", Server: who.Server})
	case n < 19:
		if len(c.held) > 0 {
			call := c.held[0]
			c.held = c.held[1:]
			if _, err := c.gate.Desk().Decide(call, review.Decision{Who: "local:bob", Approve: c.IntN(2) == 0}); err != nil && !errors.Is(err, review.ErrGone) {
				c.Fatal(err)
			}
		}
	default:
		record(0, &event.Closed{Link: who.Link, Server: who.Server})
		delete(c.open, who.Link)
	}
}

// without deletes buckets of a closed history.
func without(t testing.TB, path string, buckets ...string) {
	t.Helper()
	if err := remove(path, buckets...); err != nil {
		t.Fatal(err)
	}
}

func remove(path string, buckets ...string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if err := tx.DeleteBucket([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
}

func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(store.Config{Path: path, Async: true})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// stateOf returns all that a gate knows that opens the history, and up to which event. What was left open is ended first.
func stateOf(t testing.TB, path string, p *rules.Policy, c *clock) (seq uint64, state []byte, log string) {
	t.Helper()
	var said bytes.Buffer
	db := open(t, path)
	derived(t, db, p, c, 1, "test", &said).Close()
	seq, state, err := db.Snapshot()
	if err := errors.Join(err, db.Close()); err != nil || seq == 0 {
		t.Fatalf("#%d, %v", seq, err)
	}
	return seq, state, said.String()
}

// Invariant 11: the log is the truth. After 300 random sessions, over which memory was restored from snapshots many
// times, every derived bucket is deleted, and what the gate knows comes back identical, to the byte.
func TestEverythingThatIsDerivedCanBeDeleted(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	path := filepath.Join(t.TempDir(), "history.db")
	p := policy(t, allKinds)
	c := &crowd{TB: t, Rand: rand.New(rand.NewPCG(seed, 1)), clock: newClock(), open: map[string][]*proxy.Ticket{}}
	const sessions, runs = 300, 12
	for run := range runs {
		db := open(t, path)
		var said bytes.Buffer
		c.gate = derived(t, db, p, c.clock, 50, "test", &said)
		for i := range sessions * 18 / runs {
			c.step((run*(i%2)+c.IntN(run+1)*(1-i%2))*sessions/runs + c.IntN(sessions/runs)) // every other one is of an older session
		}
		c.gate.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(said.String(), "level=WARN") || run > 0 && strings.Contains(said.String(), "snapshot=0") {
			t.Errorf("no snapshot was used in run %d:\n%s", run, said.String())
		}
		c.open, c.held = map[string][]*proxy.Ticket{}, nil
	}
	_, _, _ = stateOf(t, path, p, c.clock) // ends what the last run left open
	seq, before, log := stateOf(t, path, p, c.clock)
	if !strings.Contains(log, fmt.Sprintf("events=0 snapshot=%d", seq)) {
		t.Errorf("it was not restored:\n%s", log)
	}
	without(t, path, "snapshots", "sessions", "calls", "tools")
	again, after, log := stateOf(t, path, p, c.clock)
	if !strings.Contains(log, fmt.Sprintf("events=%d snapshot=0", seq)) {
		t.Errorf("it was not folded:\n%s", log)
	}
	if again != seq || !bytes.Equal(before, after) {
		t.Errorf("%d bytes up to #%d, and %d bytes up to #%d", len(before), seq, len(after), again)
	}
	db := storetest.Open(t, store.Config{Path: path})
	verify(t, db)
	if s, err := db.Sessions(); err != nil || len(s) < sessions/2 || len(before) < 10_000 {
		t.Errorf("%d sessions, %d bytes of state, %v", len(s), len(before), err)
	}
}

// A snapshot that does not fit is ignored, with a warning, and the whole history is folded: to the same bytes.
func TestASnapshotThatDoesNotFitIsIgnored(t *testing.T) {
	p := policy(t, allKinds)
	tight := policy(t, strings.Replace(allKinds, "max: 5, per: 1m", "max: 1, per: 1h", 1))
	for what, tc := range map[string]struct {
		policy *rules.Policy
		build  string
		damage func(db *store.DB) error
		want   string
	}{
		"the policy changed while nobody ran": {tight, "test", nil, "it is of policy"},
		"another umpire made it":              {p, "other", nil, "another build"},
		"it is garbage": {p, "test", func(db *store.DB) error {
			return db.SaveSnapshot(db.Last(), bytes.Repeat([]byte("garbage"), 1000))
		}, "damaged"},
		"it is empty": {p, "test", func(db *store.DB) error { return db.SaveSnapshot(db.Last(), nil) }, "damaged"},
		"it claims to be older": {p, "test", func(db *store.DB) error {
			_, data, err := db.Snapshot()
			return errors.Join(err, db.SaveSnapshot(db.Last()-1, data))
		}, "it ends at event"},
		"it claims to be newer": {p, "test", func(db *store.DB) error {
			_, data, err := db.Snapshot()
			more := storetest.Call(db.Last()+1, "s", "x", event.Deny)
			for i := range more {
				more[i].At = storetest.Begin.Add(time.Hour)
			}
			return errors.Join(err, storetest.Append(db, more...), db.SaveSnapshot(more[1].Seq, data))
		}, "it ends at event"},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			c := &crowd{TB: t, Rand: rand.New(rand.NewPCG(1, 1)), clock: newClock(), open: map[string][]*proxy.Ticket{}}
			c.at = storetest.Begin.Time()
			db := open(t, path)
			c.gate = derived(t, db, p, c.clock, 1, "test", io.Discard)
			for i := range 200 {
				c.step(i % 5)
			}
			c.gate.Close()
			if tc.damage != nil {
				if err := tc.damage(db); err != nil {
					t.Fatal(err)
				}
			}
			c.add(time.Hour)
			var said bytes.Buffer
			derived(t, db, tc.policy, c.clock, 1, tc.build, &said).Close()
			if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), tc.want) || !strings.Contains(said.String(), "snapshot=0") {
				t.Errorf("want %q in\n%s", tc.want, said.String())
			}
			_, before, err := db.Snapshot()
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			without(t, path, "snapshots")
			db = storetest.Open(t, store.Config{Path: path})
			derived(t, db, tc.policy, c.clock, 1, tc.build, io.Discard).Close()
			if _, after, err := db.Snapshot(); err != nil || !bytes.Equal(before, after) {
				t.Errorf("%d bytes, folded again %d, %v", len(before), len(after), err)
			}
		})
	}
}

// After a restart from a snapshot, the links are open that would be after one from the log: those that were used within an
// hour, also in sessions that have ended meanwhile.
func TestASnapshotKnowsTheLinksOfSessionsThatHaveEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	p, c := policy(t, `rules: []`), newClock()
	who := support
	who.Link, who.Transport, who.Peer.Process = "http:billing:1", proxy.TransportHTTP, ""
	for idle, want := range map[time.Duration]bool{0: true, 45 * time.Minute: true, 2 * time.Hour: false} {
		db := open(t, path)
		g := derived(t, db, p, c, 1, "test", io.Discard)
		judge(t, g, who, `{}`)
		c.add(idle)
		judge(t, g, support, `{}`) // by then, memory knows how late it is
		g.Close()
		var said bytes.Buffer
		g = derived(t, db, p, c, 1, "test", &said)
		if _, ok := g.Reopen(who.Link); ok != want || strings.Contains(said.String(), "snapshot=0") {
			t.Errorf("after %s the link is open: %v\n%s", idle, ok, said.String())
		}
		g.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The windows of a policy that was loaded are those of the whole history, whatever the snapshot was made for.
func TestALoadedPolicyHasItsOwnSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	c := newClock()
	db := open(t, path)
	g := derived(t, db, policy(t, `rules: []`), c, 4, "test", io.Discard)
	for range 3 {
		if tk := judge(t, g, support, `{}`); !tk.Verdict.Action.Passes() {
			t.Fatal(tk.Verdict)
		}
	}
	if err := g.Load(policy(t, threeRefunds)); err != nil {
		t.Fatal(err)
	}
	g.Close()
	var said bytes.Buffer
	g = derived(t, db, policy(t, threeRefunds), c, 4, "test", &said)
	if tk := judge(t, g, support, `{}`); tk.Verdict.Action != event.Deny || !strings.Contains(said.String(), "events=0") {
		t.Errorf("%+v\n%s", tk.Verdict, said.String())
	}
	g.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

const crashEnv = "UMPIRE_TEST_CRASH"

// crashing is a gate that judges calls as fast as it can, with snapshots all the time, until it is killed.
func crashing(path string) {
	p, err := rules.Compile([]event.Source{{Name: "p", Text: allKinds}}, event.Env{OS: "linux"})
	if err != nil {
		panic(err)
	}
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		panic(err)
	}
	g, err := proxy.NewGate(proxy.GateConfig{Recorder: db, Snapshots: db, SnapshotEvery: 5, Build: "test", Policy: p})
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		c := refund(fmt.Sprintf(`{"order":"ord_%d","amount":1}`, i))
		t := g.Call(support, c, proxy.Retry{})
		if err := t.Wait(); err != nil {
			panic(err)
		}
		fmt.Println(t.Seq)
		if t.Verdict.Action.Passes() {
			g.Record(support, t.Seq, &event.Result{Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeOK})
		}
	}
}

// Whenever the process is killed, the snapshot that is there and the events since then give what all events give.
func TestAKillBetweenEventsAndSnapshotsLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	p, err := rules.Compile([]event.Source{{Name: "p", Text: allKinds}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	restored := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		last := ""
		for range 5 + 3*round + rand.IntN(10) {
			if !lines.Scan() {
				break
			}
			last = lines.Text()
		}
		cmd.Process.Kill()
		cmd.Wait()
		if last == "" {
			t.Fatal("it judged nothing")
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		folded := filepath.Join(t.TempDir(), "folded.db")
		if err := os.WriteFile(folded, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := remove(folded, "snapshots"); err != nil && (round > 0 || !errors.Is(err, berrors.ErrBucketNotFound)) {
			t.Fatal(err) // only the first one may have been killed before its first snapshot began
		}
		c := newClock()
		c.at = time.Now().Add(time.Second) // what is recorded at the start has the same time in both
		seq, one, log := stateOf(t, path, p, c)
		again, other, _ := stateOf(t, folded, p, c)
		if seq != again || !bytes.Equal(one, other) {
			t.Errorf("round %d: %d bytes up to #%d from a snapshot, %d bytes up to #%d from the log", round, len(one), seq, len(other), again)
		}
		if strings.Contains(log, "level=WARN") {
			t.Error(log)
		}
		if !strings.Contains(log, "snapshot=0") {
			restored++
		}
	}
	if restored < 4 {
		t.Errorf("a snapshot was there in %d of 8 rounds", restored)
	}
	storetest.Check(t, path)
}
