package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// desk is a support desk with a history: customers ask, and the agent looks at an order or two.
type desk struct {
	t      testing.TB
	state  *rules.State
	events []event.Event
	at     time.Time
	n      int
}

func newDesk(t testing.TB, policy string) *desk {
	t.Helper()
	p, err := compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, state: rules.NewState(p), at: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)}
	d.add("", 0, p.Loaded())
	return d
}

func (d *desk) add(session string, cause uint64, body event.Body) event.Event {
	e := event.Event{V: event.Version, Seq: uint64(len(d.events) + 1), At: event.At(d.at), Session: session, Cause: cause, Body: body}
	if _, judged := body.(*event.Call); judged {
		v := d.state.Decide(e)
		d.state.Apply(e)
		d.events = append(d.events, e)
		return d.add(session, e.Seq, &v)
	}
	d.state.Apply(e)
	d.events = append(d.events, e)
	return e
}

// call returns the verdict on a call that comes after a pause, and lets it succeed if it passes.
func (d *desk) call(session, agent string, after time.Duration, order int) event.Verdict {
	d.at = d.at.Add(after)
	args := fmt.Sprintf(`{"order_id": "ord_%d"}`, order)
	e := d.add(session, 0, &event.Call{
		Server: "billing", Tool: "get_order", ID: json.RawMessage("1"), Args: json.RawMessage(args), Size: len(args), Peer: event.Peer{Agent: agent},
	})
	v := *e.Body.(*event.Verdict)
	if v.Action.Passes() {
		d.add(session, e.Cause, &event.Result{Server: "billing", Tool: "get_order", Outcome: event.OutcomeOK, Size: 100})
	}
	return v
}

// order is a number that looks like any other.
func (d *desk) order() int {
	d.n++
	return 100_000 + d.n*7919%899_981
}

// work lets so many honest days pass, with ten customers each.
func (d *desk) work(days int) {
	for range days {
		for range 10 {
			d.n++
			id := fmt.Sprintf("s%d", d.n)
			for k := range 2 + d.n%3 {
				d.call(id, "bot", time.Duration(5+(d.n*(k+3))%17)*time.Second, d.order())
			}
			d.at = d.at.Add(20 * time.Minute)
		}
		d.at = d.at.Truncate(24 * time.Hour).Add(33 * time.Hour)
	}
}

func (d *desk) history(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range d.events[from-1:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// learn returns the file of a baseline of all that happened.
func (d *desk) learn() []byte {
	d.t.Helper()
	b, err := baseline.Learn(d.history, baseline.Learning{})
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := b.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

func (d *desk) promote(text []byte) {
	d.add("", 0, &event.Promoted{Who: "local:ann", Digest: "d", Name: "baseline.json", Baseline: text})
}

// trained returns a desk under a policy with a baseline in force, which was learned under none.
func trained(t testing.TB, policy string) *desk {
	t.Helper()
	before := newDesk(t, "rules: []")
	before.work(30)
	d := newDesk(t, policy)
	d.at, d.n = before.at, before.n
	d.promote(before.learn())
	return d
}

const strangerThan = `rules: [{name: strange, on: "*/*", baseline: {stranger_than: 0.999}, do: hold}]`

func TestWhatIsStrangerThanHonestCallsIsHeldAndSaysWhy(t *testing.T) {
	d := trained(t, strangerThan)
	d.work(5)
	held := func() (n int) {
		for _, e := range d.events {
			if v, ok := e.Body.(*event.Verdict); ok && v.Action == event.Hold {
				n++
			}
		}
		return n
	}
	if n := held(); n > 0 {
		t.Errorf("%d of %d honest events are held", n, len(d.events))
	}
	for i := range 40 {
		v := d.call("x", "bot", 40*time.Millisecond, d.order())
		if v.Action != event.Hold {
			continue
		}
		if i > 10 || v.Rule != "strange" || !strings.HasPrefix(v.Why, "stranger than 0.999") || !strings.Contains(v.Why, "; 40ms after the call before; the shortest gap over 300 sessions is 5s") {
			t.Errorf("call %d: %+v", i, v)
		}
		return
	}
	t.Error("nothing is held")
}

func TestWithoutABaselineARuleThatAsksForOneApplies(t *testing.T) {
	d := newDesk(t, strangerThan)
	if v := d.call("s", "bot", time.Second, 1); v.Action != event.Hold || v.Why != "nobody can tell how strange it is: no baseline is in force" {
		t.Errorf("%+v", v)
	}
	d.promote([]byte(`{"umpire_baseline":2,"digest":"x","baseline":{}}`))
	if v := d.call("s", "bot", time.Second, 1); v.Action != event.Hold || !strings.Contains(v.Why, "it was changed after it was written") {
		t.Errorf("%+v", v)
	}
	d = trained(t, strangerThan)
	if v := d.call("s", "stranger", time.Second, 1); v.Action != event.Hold || !strings.Contains(v.Why, `the baseline does not know agent "stranger"`) {
		t.Errorf("%+v", v)
	}
}

func TestConditionsCanAskForSingleSignals(t *testing.T) {
	for condition, within := range map[string]int{
		"baseline.score > 0.999":              10,
		"baseline.rate > 0.999":               15,
		"baseline.distinct('order_id') > 8":   9,
		"baseline.calls('10s') > 12":          13,
		"baseline.pace > 0.99":                2,
		"baseline.calls('fortnight') > 1":     1, // cannot be decided
		"baseline.calls('session') > args.no": 1, // likewise
	} {
		d := trained(t, fmt.Sprintf("rules: [{name: c, on: '*/*', where: %q, do: deny}]", condition))
		var at []int
		for i := range 20 {
			if v := d.call("x", "bot", 40*time.Millisecond, d.order()); v.Action == event.Deny {
				at = append(at, i+1)
			}
		}
		if len(at) == 0 || at[0] > within {
			t.Errorf("%s is true of calls %v", condition, at)
		}
	}
}

func TestABudgetOfAlertsIsKeptByWhatWasLearned(t *testing.T) {
	d := trained(t, `rules: [{name: strange, on: "*/*", baseline: {alerts: 1, per: 7d}, do: hold}]`)
	d.work(14)
	for i, e := range d.events {
		if v, ok := e.Body.(*event.Verdict); ok && v.Action == event.Hold {
			t.Logf("event %d is held: %s", i, v.Why)
		}
	}
	for i := range 40 {
		if v := d.call("x", "bot", 40*time.Millisecond, d.order()); v.Action == event.Hold {
			if i > 15 || !strings.Contains(v.Why, ", 1 of them in 7d; learned from 1050 of bot)") {
				t.Errorf("call %d: %s", i, v.Why)
			}
			return
		}
	}
	t.Error("nothing is held")
}

// Whoever is approved is not asked about the same again in that session: what the person has seen is no news.
func TestAnApprovedCallVouchesForItsSession(t *testing.T) {
	d := trained(t, strangerThan)
	for i := range 40 {
		v := d.call("x", "bot", 7*time.Second, d.order())
		if v.Action != event.Hold {
			continue
		}
		call := d.events[len(d.events)-2]
		e := event.Event{V: event.Version, Seq: uint64(len(d.events) + 1), At: event.At(d.at), Session: "x", Cause: call.Seq, Body: &event.Review{Who: "local:ann", Approve: true}}
		settled := d.state.Decide(e)
		d.state.Apply(e)
		d.events = append(d.events, e)
		d.add("x", call.Seq, &settled)
		if !settled.Action.Passes() {
			t.Fatalf("%+v", settled)
		}
		if v := d.call("x", "bot", 7*time.Second, d.order()); v.Action != event.Allow {
			t.Errorf("call %d, after one was approved: %s", i, v.Why)
		}
		return
	}
	t.Error("nothing is held")
}

func TestTheSameBaselineJudgesOnReplayAndFromASnapshot(t *testing.T) {
	d := trained(t, strangerThan)
	d.work(3)
	for range 30 {
		d.call("x", "bot", 40*time.Millisecond, d.order())
	}
	report, err := replay.Verify(d.history, 0)
	if err != nil || len(report.Differences) > 0 || report.Same != report.Verdicts || report.Verdicts < 100 {
		t.Fatalf("%+v, %v", report, err)
	}
	p := d.state.Policy()
	data, err := d.state.Snapshot(event.At(d.at))
	if err != nil {
		t.Fatal(err)
	}
	again, err := rules.RestoreState(p, data)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := again.Snapshot(event.At(d.at))
	if err != nil || !bytes.Equal(data, twice) {
		t.Fatalf("a restored state is written down in another way: %v", err)
	}
	// Retention leaves what the horizon needs, and the baseline whatever its age.
	d.at = d.at.Add(24 * time.Hour)
	d.work(12)
	floor := event.At(d.at.Add(-p.Horizon()))
	pruned := rules.NewState(p)
	for _, e := range d.events {
		if _, keeps := e.Body.(*event.Promoted); keeps || e.At >= floor {
			pruned.Apply(e)
		}
	}
	for range 20 {
		seq := uint64(len(d.events) + 1)
		d.at = d.at.Add(3 * time.Second)
		args := json.RawMessage(fmt.Sprintf(`{"order_id": "ord_%d"}`, d.order()))
		e := event.Event{V: event.Version, Seq: seq, At: event.At(d.at), Session: "y", Body: &event.Call{Server: "billing", Tool: "get_order", ID: json.RawMessage("1"), Args: args, Peer: event.Peer{Agent: "bot"}}}
		want, got := d.state.Decide(e), pruned.Decide(e)
		if want.Action != got.Action || want.Why != got.Why {
			t.Fatalf("after retention: %s, before: %s", got.Why, want.Why)
		}
		verdict := event.Event{V: event.Version, Seq: seq + 1, At: e.At, Session: "y", Cause: seq, Body: &want}
		for _, s := range []*rules.State{d.state, pruned} {
			s.Apply(e)
			s.Apply(verdict)
		}
		d.events = append(d.events, e, verdict)
	}
}

func TestWhatCannotBeABaselineRuleSaysWhy(t *testing.T) {
	for rule, want := range map[string]string{
		`baseline: {}`:          "want stranger_than, or alerts and per",
		`baseline: {alerts: 1}`: "want stranger_than, or alerts and per",
		`baseline: {stranger_than: 0.9, alerts: 1, per: 7d}`:      "stranger_than and alerts",
		`baseline: {stranger_than: 1}`:                            "want a share from 0.5 to 0.999999999, not 1",
		`baseline: {stranger_than: 0.3}`:                          "want a share from 0.5",
		`baseline: {stranger_than: 1e-3}`:                         "want a number",
		`baseline: {stranger_than: 0.99999999999}`:                "want a share from 0.5",
		`baseline: {stranger_than: often}`:                        "want a number",
		`baseline: {stranger_than: 0.9}, rate: {max: 1, per: 1s}`: "rate and baseline in one rule",
		`where: baseline.nothing > 0`:                             "undefined field 'nothing'",
	} {
		_, err := compile(`rules: [{name: r, on: "*/*", ` + rule + `, do: hold}]`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", rule, err, want)
		}
	}
	_, err := compile(`rules: [{name: r, sequence: [{on: "a/*", where: "baseline.score > 0.9"}, {on: "b/*"}], within: 1h, do: deny}]`)
	if err == nil || !strings.Contains(err.Error(), "baseline is about the call being judged") {
		t.Errorf("an earlier step that asks: %v", err)
	}
}
