package rules_test

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// TestWhatIfTranscripts plays testdata/whatif/*.txtar: the policy that was in force, the candidate, and a transcript of
// what happened, as in TestTranscripts. The indented lines are what was decided, and what the candidate would have said.
func TestWhatIfTranscripts(t *testing.T) {
	archives(t, "whatif", func(t *testing.T, a *transcript.Archive) []byte {
		var policies []*rules.Policy
		for _, s := range a.Sources() {
			p, err := rules.Compile([]event.Source{s}, a.Env)
			if err != nil {
				t.Fatal(err)
			}
			policies = append(policies, p)
		}
		text := a.Format(false)
		for _, f := range txtar.Parse(text).Files {
			if f.Name == "transcript" {
				return with(text, f.Name, playWhatIf(t, policies[0], policies[1], string(f.Data)))
			}
		}
		t.Fatal("no transcript")
		return nil
	})
}

// playWhatIf records a transcript under one policy, and returns it with what another would have said.
func playWhatIf(t *testing.T, inForce, candidate *rules.Policy, text string) string {
	t.Helper()
	state := rules.NewState(inForce)
	var log []event.Event
	add := func(e event.Event) event.Event {
		e.V, e.Seq = event.Version, uint64(len(log))
		state.Apply(e)
		log = append(log, e)
		return e
	}
	add(event.Event{At: event.At(begin), Body: inForce.Loaded()}) // number 0, so that calls have the numbers of TestTranscripts
	lines := map[uint64]int{}                                     // call -> line
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		if out = append(out, line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		happens, err := transcript.Expand(line)
		if err != nil || len(happens) != 1 {
			t.Fatal(line, err)
		}
		e := happens[0].Event
		e.At, e.Session = event.At(begin.Add(happens[0].At)), cmp.Or(e.Session, "s1")
		if r, ok := e.Body.(*event.Result); ok {
			c := log[e.Cause].Body.(*event.Call)
			r.Server, r.Tool = c.Server, c.Tool
		}
		var v event.Verdict
		if e.Body.Kind() == "call" {
			e.Seq = uint64(len(log))
			v = state.Decide(e)
			lines[e.Seq] = len(out) - 1
		}
		if e = add(e); e.Body.Kind() == "call" {
			add(event.Event{At: e.At, Session: e.Session, Cause: e.Seq, Body: &v})
		}
	}
	history := func(uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for _, e := range log {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	var totals replay.Totals
	for j, err := range replay.WhatIf(history, 0, candidate) {
		if err != nil {
			t.Fatal(err)
		}
		totals.Add(j)
		var b strings.Builder
		fmt.Fprintf(&b, "\n  was %s %s", j.Recorded.Action, j.Recorded.Rule)
		fmt.Fprintf(&b, "\n  would %s %s: %s", j.Replayed.Action, j.Replayed.Rule, j.Replayed.Why)
		if m, ok := j.IfEnforced(); ok {
			fmt.Fprintf(&b, "\n  if enforced %s %s: %s", m.Action, m.Rule, m.Why)
		}
		if j.Changed() {
			b.WriteString("\n  changed")
		}
		out[lines[j.Call.Seq]] += strings.NewReplacer(" :", ":", " \n", "\n").Replace(b.String())
	}
	return strings.Join(out, "\n") + fmt.Sprintf("\n  %d of %d the same, %d new denials\n", totals.Same, totals.Calls, totals.Denials)
}

// Invariant 10, and "the same code": over random policies and histories, what is said to each call is what a state says
// to it that has folded the recorded events before it, and nothing else.
func TestWhatIfJudgesEachCallAgainstTheHistoryThatHappened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := randomHistory(t, rapid.IntRange(1, 3).Draw(t, "policies"))
		before := strings.Join(w.log, "\n")
		candidate := genPolicy(t)
		var log []event.Event
		for e, err := range w.events(1) {
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, e)
		}
		said := map[uint64]replay.Judgement{}
		for j, err := range replay.WhatIf(w.events, 0, candidate) {
			if err != nil {
				t.Fatal(err)
			}
			said[j.Call.Seq] = j
		}
		model := rules.NewState(candidate)
		first := map[uint64]event.Verdict{} // of calls that were held
		for i, e := range log {
			switch e.Body.(type) {
			case *event.Call, *event.Review, *event.Expired:
				if c, ok := e.Body.(*event.Call); ok && c.Seen {
					break // nobody could judge it, so nobody would have
				}
				call := log[i+1].Cause
				want, recorded := model.Decide(e), log[i+1].Body.(*event.Verdict)
				if recorded.Action == event.Hold {
					first[call] = want
					break
				}
				if then, held := first[call]; held && then.Action != event.Hold { // nobody would have been asked
					want = then
				}
				if j := said[call]; !same(want, j.Replayed) || !same(*recorded, j.Recorded) {
					t.Fatalf("#%d: %+v, want\n%+v", e.Seq, j, want)
				}
				delete(said, call)
			case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
			}
			model.Apply(e)
		}
		if len(said) > 0 {
			t.Fatalf("there are no such calls: %v", said)
		}
		if strings.Join(w.log, "\n") != before {
			t.Fatal("the history was changed")
		}
	})
}

// Texts may be read ahead, by whoever has time: over random policies and histories, the judgements are the same.
func TestReadingAheadChangesNoJudgement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := randomHistory(t, 1)
		candidate := genPolicy(t)
		ahead := func(from uint64) iter.Seq2[event.Event, error] {
			return func(yield func(event.Event, error) bool) {
				for e, err := range w.events(from) {
					if err == nil {
						e.Read = candidate.Read(e.Body)
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}
		var plain []replay.Judgement
		for j, err := range replay.WhatIf(w.events, 0, candidate) {
			if err != nil {
				t.Fatal(err)
			}
			plain = append(plain, j)
		}
		n := 0
		for j, err := range replay.WhatIf(ahead, 0, candidate) {
			if err != nil || n >= len(plain) || !same(j.Replayed, plain[n].Replayed) {
				t.Fatalf("%v %+v", err, j)
			}
			n++
		}
		if n != len(plain) {
			t.Fatalf("%d judgements, %d", n, len(plain))
		}
	})
}

// What was in force changes nothing: over random policies and histories, what-if says what Verify says.
func TestWhatIfUnderThePolicyInForceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := randomHistory(t, 1)
		var totals replay.Totals
		for j, err := range replay.WhatIf(w.events, 0, w.state.Policy()) {
			if err != nil {
				t.Fatal(err)
			}
			if totals.Add(j); j.Changed() || j.NewDenial() || !reflect.DeepEqual(j.Recorded, j.Replayed) {
				t.Fatalf("#%d changes: %+v", j.Call.Seq, j)
			}
		}
		r, err := replay.Verify(w.events, 0)
		held := 0 // such calls have two verdicts, or have none yet that counts
		for e := range w.events(1) {
			if v, ok := e.Body.(*event.Verdict); ok && v.Action == event.Hold {
				held++
			}
		}
		if err != nil || r.Same != totals.Same+held || r.Verdicts != totals.Calls+held || len(totals.Changes) > 0 || totals.Denials > 0 {
			t.Fatalf("%+v, but Verify says %+v %v", totals, r, err)
		}
	})
}

// randomHistory lets things happen under so many policies, one after the other.
func randomHistory(t *rapid.T, policies int) *world {
	w := &world{t: t, at: event.At(begin)}
	for range policies {
		w.load(genPolicy(t))
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			w.step()
		}
	}
	return w
}
