package replay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// past is a history that a test tells, under a policy that may be another one than the one tried.
type past struct {
	t     *testing.T
	log   []event.Event
	state *rules.State
}

func under(t *testing.T, policy string) *past {
	p := &past{t: t, state: rules.NewState(candidate(t, policy, linux))}
	p.add("", 0, p.state.Policy().Loaded())
	return p
}

func (p *past) add(session string, cause uint64, body event.Body) uint64 {
	e := event.Event{V: event.Version, Seq: uint64(len(p.log) + 1), At: begin, Session: session, Cause: cause, Body: body}
	p.log = append(p.log, e)
	p.state.Apply(e)
	return e.Seq
}

// call makes a call, and notes what is decided.
func (p *past) call(session, tool string, amount int) uint64 {
	e := event.Event{Seq: uint64(len(p.log) + 1), At: begin, Session: session, Body: &event.Call{Server: "bank", Tool: tool, ID: json.RawMessage("1"), Args: fmt.Appendf(nil, `{"amount":%d.25}`, amount)}}
	v := p.state.Decide(e)
	seq := p.add(session, 0, e.Body)
	p.add(session, seq, &v)
	return seq
}

// ends ends the hold of a call.
func (p *past) ends(session string, call uint64, body event.Body) {
	e := event.Event{Seq: uint64(len(p.log) + 1), At: begin, Cause: call, Session: session, Body: body}
	v := p.state.Decide(e)
	v.After = p.add(session, call, body)
	p.add(session, call, &v)
}

func (p *past) answer(session string, call uint64, o event.Outcome) {
	p.add(session, call, &event.Result{Server: "bank", Tool: "pay", Outcome: o})
}

// tried returns what a policy would change.
func (p *past) tried(policy string, keep int) *replay.Impact {
	p.t.Helper()
	impact := &replay.Impact{Keep: keep}
	trial := replay.NewTrial(history(p.log), 0, candidate(p.t, policy, linux))
	for _, e := range p.log {
		j, judged, err := trial.Add(e)
		if err != nil {
			p.t.Fatal(err)
		}
		if impact.Happened(e); judged {
			impact.Judge(j, trial.Amounts(j))
		}
	}
	return impact
}

const noPay = "rules: [{name: no-pay, on: bank/pay, do: deny}, {name: total, on: bank/*, rate: {sum: args.amount, max: 100000, per: 1h}, do: log}]"

func TestWhatBecameOfStoppedCallsSaysWhichWereInOrder(t *testing.T) {
	p := under(t, `rules:
  - {name: noted, on: bank/pay, where: args.amount > 300, do: log}
  - {name: large, on: bank/pay, where: args.amount > 900, do: hold}`)
	p.answer("s1", p.call("s1", "pay", 1), event.OutcomeOK)
	p.answer("s1", p.call("s1", "pay", 2), event.OutcomeFailed)
	p.answer("s1", p.call("s1", "pay", 4), event.OutcomeLost)
	p.call("s1", "pay", 8)
	p.answer("s2", p.call("s2", "pay", 400), event.OutcomeOK)
	approved := p.call("s2", "pay", 1000)
	p.ends("s2", approved, &event.Review{Who: "ann", Approve: true})
	p.answer("s2", approved, event.OutcomeFailed)
	started := p.call("s3", "pay", 16)
	p.answer("s3", started, event.OutcomeStarted)
	p.answer("s3", started, event.OutcomeOK)
	p.answer("s4", p.call("s4", "look", 0), event.OutcomeOK)

	i := p.tried(noPay, 2)
	if want := (replay.Stopped{Calls: 7, Approved: 1, Succeeded: 2, Noted: 1, Failed: 1, Unknown: 2}); i.Stopped != want || i.Stopped.Honest() != 3 || i.Stopped.Known() != 5 {
		t.Errorf("%+v", i.Stopped)
	}
	if i.Honest != 4 || i.Stricter != 7 || i.Looser != 0 {
		t.Errorf("%d honest, %d stricter, %d looser", i.Honest, i.Stricter, i.Looser)
	}
	if hit := i.Hit(); !slices.Equal(hit, []string{"s1", "s2", "s3"}) || i.Sessions["s1"] != 4 || len(i.Sessions) != 4 {
		t.Errorf("%v %v", hit, i.Sessions)
	}
	if len(i.FalseAlarms) != 2 || i.FalseAlarms[0].Call.Seq != 2 || i.FalseAlarms[1].Call.Seq != approved {
		t.Errorf("%v", i.FalseAlarms)
	}
	var sums []string
	for g, s := range i.Groups {
		sums = append(sums, fmt.Sprintf("%s->%s %s %s/%s %d in %d: %s", g.From, g.To, g.Rule, g.Server, g.Tool, s.Calls, len(s.Sessions), rules.FormatAmount(s.Amounts["args.amount"])))
	}
	slices.Sort(sums)
	if want := []string{"allow->deny no-pay bank/pay 5 in 2: 32.25", "log->deny no-pay bank/pay 2 in 1: 1400.5"}; !slices.Equal(sums, want) {
		t.Errorf("%q", sums)
	}
}

func TestWhatWouldBeReleasedSaysWhoStoppedIt(t *testing.T) {
	p := under(t, `rules:
  - {name: large, on: bank/pay, where: args.amount > 900, do: hold}
  - {name: total, on: bank/pay, rate: {sum: args.amount, max: 2000, per: 1h}, do: deny}`)
	p.call("s1", "pay", 3000)
	p.ends("s1", p.call("s1", "pay", 1000), &event.Review{Who: "ann"})
	p.ends("s1", p.call("s1", "pay", 1000), &event.Expired{Reason: "nobody decided"})
	first, second := p.call("s1", "pay", 1500), p.call("s1", "pay", 1500)
	p.ends("s1", first, &event.Review{Who: "ann", Approve: true})
	p.ends("s1", second, &event.Review{Who: "ann", Approve: true}) // too much by then

	i := p.tried("", 0)
	if want := (replay.Released{Calls: 4, Denied: 2, Refused: 1, Undecided: 1}); i.Released != want || i.Looser != 4 || i.Stricter != 0 || i.Stopped.Calls != 0 {
		t.Errorf("%+v %d", i.Released, i.Looser)
	}
	for g, s := range i.Groups { // what was summed when it happened
		if g.From == event.Deny && g.Rule == "total" && rules.FormatAmount(s.Amounts["args.amount"]) != "4500.5" {
			t.Errorf("%+v %v", g, s.Amounts)
		}
	}
}

// A call that is stopped because of another that would have been stopped itself might pass, live.
func TestWhatLeansOnStoppedCallsIsCounted(t *testing.T) {
	p := under(t, "")
	for range 4 {
		p.call("s1", "pay", 1)
	}
	if i := p.tried("rules: [{name: two, on: bank/pay, rate: {max: 2, per: 1h}, do: deny}]", 0); i.Denials != 2 || i.Leaning != 1 {
		t.Errorf("%d denials, %d lean", i.Denials, i.Leaning)
	}
	if i := p.tried("rules: [{name: none, on: bank/pay, do: deny}]", 0); i.Denials != 4 || i.Leaning != 0 {
		t.Errorf("%d denials, %d lean", i.Denials, i.Leaning)
	}
}

// Agents choose the names of tools: there can be as many as there are calls.
func TestManyToolsAreCountedTogether(t *testing.T) {
	p := under(t, "")
	const n = 10_100
	for k := range n {
		p.call("s1", fmt.Sprint("tool-", k), 1)
	}
	i := p.tried(`rules: [{name: none, on: "*/*", do: deny}]`, 0)
	calls := 0
	for _, s := range i.Groups {
		calls += s.Calls
	}
	rest := i.Groups[replay.Group{Change: replay.Change{From: event.Allow, To: event.Deny, Rule: "none"}}]
	if len(i.Groups) != 10_001 || calls != n || rest.Calls != 100 {
		t.Errorf("%d groups of %d calls", len(i.Groups), calls)
	}
}
