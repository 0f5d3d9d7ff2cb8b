package replay_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

func candidate(t testing.TB, text string, env event.Env) *rules.Policy {
	t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "new.yaml", Text: text}}, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judged returns every judgement and the totals.
func judged(t testing.TB, h replay.History, pruned event.Time, p *rules.Policy) (all []replay.Judgement, totals replay.Totals) {
	t.Helper()
	for j, err := range replay.WhatIf(h, pruned, p) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, j)
		totals.Add(j)
	}
	return all, totals
}

var linux = event.Env{OS: "linux"}

func TestTotalsNameTheRuleOfTheStricterSide(t *testing.T) {
	log := record(t, 12) // minutes 0 and 1 pass, 2 to 9 are denied, 10 and 11 pass
	_, totals := judged(t, history(log), 0, candidate(t, `rules:
  - {name: noted, on: a/b, do: log}
  - {name: day, on: a/b, rate: {max: 3, per: 24h}, do: deny}`, linux))
	want := map[replay.Change]int{
		{From: event.Allow, To: event.Deny, Rule: "day"}:  1,
		{From: event.Allow, To: event.Log, Rule: "noted"}: 3,
		{From: event.Deny, To: event.Log, Rule: "r"}:      8,
	}
	if !maps.Equal(totals.Changes, want) || totals.Calls != 12 || totals.Same != 0 || totals.Denials != 1 || len(totals.Observed) > 0 {
		t.Errorf("%+v", totals)
	}
}

// What "~" means is a matter of the machine on which the tools ran, not of the one on which somebody tries a policy.
func TestPathsMeanWhatTheyMeantOnTheMachineOfTheHistory(t *testing.T) {
	const text = `rules: [{name: home, on: a/b, where: '!path(args.path).within("~")', do: deny}]`
	var log []event.Event
	add := func(body event.Body) {
		log = append(log, event.Event{V: event.Version, Seq: uint64(len(log) + 1), At: begin, Cause: uint64(len(log)), Body: body})
	}
	write := func(path string) {
		add(&event.Call{Server: "a", Tool: "b", ID: json.RawMessage("1"), Args: json.RawMessage(`{"path":"` + path + `"}`)})
		add(&event.Verdict{Action: event.Allow})
	}
	for _, home := range []string{"/home/alice", "/home/bob", "/home/alice"} {
		add(candidate(t, "", event.Env{OS: "linux", Home: home}).Loaded())
		write("/home/alice/x")
		write("/home/bob/x")
	}
	all, totals := judged(t, history(log), 0, candidate(t, text, event.Env{OS: "linux", Home: "/root"}))
	var denied []bool
	for _, j := range all {
		denied = append(denied, j.NewDenial())
	}
	if !slices.Equal(denied, []bool{false, true, true, false, false, true}) || totals.Denials != 3 {
		t.Errorf("%v", denied)
	}
}

// A change of the machine changes the policy, not the windows: what happened before counts.
func TestWindowsOutliveAChangeOfMachine(t *testing.T) {
	log := record(t, 2)
	moved := candidate(t, "", event.Env{OS: "linux", Home: "/moved"}).Loaded()
	log = append(log, event.Event{V: 1, Seq: 6, At: log[4].At, Body: moved})
	log = append(log, event.Event{V: 1, Seq: 7, At: log[4].At, Session: "s1", Body: &event.Call{Server: "a", Tool: "b", Args: json.RawMessage("{}")}})
	log = append(log, event.Event{V: 1, Seq: 8, At: log[4].At, Session: "s1", Cause: 7, Body: &event.Verdict{Action: event.Allow}})
	all, _ := judged(t, history(log), 0, candidate(t, "rules: [{name: r, on: a/b, rate: {max: 2, per: 10m}, do: deny}]", linux))
	if last := all[len(all)-1]; !last.NewDenial() || !slices.Equal(last.Replayed.Evidence, []uint64{2, 4}) {
		t.Errorf("%+v", last)
	}
}

// What retention has removed cannot fill a window. The calls are judged all the same, so that no denial goes unseen, and
// it is said that they might be judged otherwise.
func TestWhatRetentionMadeUncertainIsJudgedAndMarked(t *testing.T) {
	log := record(t, 20)
	kept := append([]event.Event{log[0]}, log[9:]...) // the first four calls are gone
	pruned := log[8].At                               // minute 3
	p := candidate(t, "rules: [{name: r, on: a/b, rate: {max: 1, per: 10m}, do: deny}]", linux)
	all, totals := judged(t, history(kept), pruned, p)
	for _, j := range all {
		if want := j.Call.At <= pruned.Add(10*time.Minute+rules.HoldFor); j.Incomplete != want {
			t.Errorf("#%d at %s: incomplete is %v", j.Call.Seq, j.Call.At, j.Incomplete)
		}
	}
	if totals.Calls != 16 || totals.Incomplete != 15 || totals.Denials != 1 { // the one of minute 11, after that of minute 10
		t.Errorf("%+v", totals)
	}
	if _, totals := judged(t, history(kept), pruned, candidate(t, "rules: [{name: r, on: a/b, do: deny}]", linux)); totals.Incomplete != 0 || totals.Denials != 2 {
		t.Errorf("a policy without windows depends on nothing that is gone: %+v", totals)
	}
}

func TestWhatIfReadsNoFurtherThanItIsAsked(t *testing.T) {
	log, read := record(t, 20), 0
	h := func(uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for _, e := range log {
				if read++; !yield(e, nil) {
					return
				}
			}
		}
	}
	for range replay.WhatIf(h, 0, candidate(t, "", linux)) {
		break
	}
	if read > 5 { // the policy, once more when it is loaded, the call and its verdict
		t.Errorf("%d events were read for one call", read)
	}
}

func TestWhatIfRefusesWhatIsNoLog(t *testing.T) {
	log := record(t, 2)
	broken := errors.New("cannot be read now")
	for want, h := range map[string]replay.History{
		"before any policy": history(log[1:]),
		"does not follow":   history([]event.Event{log[0], log[2]}),
		broken.Error(): func(uint64) iter.Seq2[event.Event, error] {
			return func(yield func(event.Event, error) bool) {
				for _, e := range log[:3] {
					if !yield(e, nil) {
						return
					}
				}
				yield(event.Event{}, broken)
			}
		},
	} {
		var last error
		for _, err := range replay.WhatIf(h, 0, candidate(t, "", linux)) {
			if last != nil {
				t.Errorf("%s: it goes on after %v", want, last)
			}
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), want) {
			t.Errorf("%v, want %q", last, want)
		}
	}
}

// A call that nobody has judged yet, since the history ends there, is not judged.
func TestACallWithoutVerdictIsNoRecordedCall(t *testing.T) {
	log := record(t, 3)
	if all, _ := judged(t, history(log[:len(log)-1]), 0, candidate(t, "", linux)); len(all) != 2 {
		t.Errorf("%d calls", len(all))
	}
}

func ExampleWhatIf() {
	log := record(&testing.T{}, 5) // two in ten minutes were allowed
	p := candidate(&testing.T{}, "rules: [{name: one, on: a/b, rate: {max: 1, per: 10m}, do: deny}]", linux)
	for j, err := range replay.WhatIf(history(log), 0, p) {
		if err == nil && j.Changed() {
			fmt.Printf("#%d was %s, would be %s: %s\n", j.Call.Seq, j.Recorded.Action, j.Replayed.Action, j.Replayed.Why)
		}
	}
	// Output: #4 was allow, would be deny: 2nd call of a/b in 10m (limit 1), after #2
}

// A sum that is over the limit of the candidate already leaves nothing; less than nothing makes no sense to a reader.
func TestALimitThatIsExceededAlreadyLeavesNothing(t *testing.T) {
	var log []event.Event
	add := func(body event.Body) {
		log = append(log, event.Event{V: event.Version, Seq: uint64(len(log) + 1), At: begin, Cause: uint64(len(log)), Body: body})
	}
	add(candidate(t, "", linux).Loaded())
	for range 3 {
		add(&event.Call{Server: "a", Tool: "b", Args: json.RawMessage(`{"n": 40}`)})
		add(&event.Verdict{Action: event.Allow})
	}
	all, _ := judged(t, history(log), 0, candidate(t, "rules: [{name: r, on: a/b, rate: {sum: args.n, max: 50, per: 1h}, do: deny}]", linux))
	if got := all[1].Replayed.Hint; got != "at most 50 in 1h; 10 is left" {
		t.Error(got)
	}
	if got := all[2].Replayed.Hint; got != "at most 50 in 1h; 0 is left" {
		t.Error(got)
	}
}
