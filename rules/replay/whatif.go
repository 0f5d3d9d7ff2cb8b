package replay

import (
	"fmt"
	"iter"
	"slices"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// WhatIf yields what candidate, had it been in force all the time, would have said to every recorded call. Each call is
// judged against the history that happened: a call that candidate would have denied still counts if it passed, and one
// that was denied does not count, whatever candidate makes of it. What happened before pruned was removed by retention;
// 0 if nothing was.
//
// A call that was held is judged once, when its hold ended: a person's decision stands for the one that candidate would
// have asked for, if it would have held the call, too.
//
// "~" and the spellings of paths mean what they meant on the machine of the history, wherever WhatIf runs.
func WhatIf(history History, pruned event.Time, candidate *rules.Policy) iter.Seq2[Judgement, error] {
	return func(yield func(Judgement, error) bool) {
		t := NewTrial(history, pruned, candidate)
		for e, err := range history(1) {
			if err != nil {
				yield(Judgement{}, fmt.Errorf("replay: %w", err))
				return
			}
			one, judged, err := t.Add(e)
			if (judged || err != nil) && !yield(one, err) || err != nil {
				return
			}
		}
	}
}

// Trial is a WhatIf for whoever reads the history himself: it takes the events one after the other, from the first one on.
type Trial struct {
	judge   judge
	held    map[uint64]Judgement // calls that wait for a person
	stopped map[uint64]struct{}  // calls that passed and would not have
	loaded  *event.Loaded        // what was in force
	inForce map[string]*rules.Policy
}

// NewTrial returns the Trial of candidate. Where the history changes machines, it is read again up to there.
func NewTrial(history History, pruned event.Time, candidate *rules.Policy) *Trial {
	loaded := candidate.Loaded()
	machines := map[event.Env]*rules.Policy{loaded.Env: candidate}
	policy := func(l *event.Loaded) (p *rules.Policy, err error) {
		if p = machines[l.Env]; p == nil {
			p, err = rules.Compile(loaded.Sources, l.Env)
			machines[l.Env] = p
		}
		return p, err
	}
	return &Trial{
		judge: judge{history: history, pruned: pruned, policy: policy},
		held:  map[uint64]Judgement{}, stopped: map[uint64]struct{}{}, inForce: map[string]*rules.Policy{},
	}
}

// Amounts returns the arguments of the call that was judged last which rules sum, those of the candidate or those that were in
// force.
func (t *Trial) Amounts(j Judgement) []rules.Amount {
	out := t.judge.state.Policy().Amounts(j.Call)
	p, known := t.inForce[t.loaded.Digest]
	if !known {
		p, _ = rules.Compile(t.loaded.Sources, t.loaded.Env) //nolint:errcheck // of a policy that cannot be read any more, nothing is known
		t.inForce[t.loaded.Digest] = p
	}
	if p == nil {
		return out
	}
	for _, a := range p.Amounts(j.Call) {
		if !slices.ContainsFunc(out, func(b rules.Amount) bool { return b.Path == a.Path }) {
			out = append(out, a)
		}
	}
	return out
}

// Add takes the next event. If a call is judged by it once and for all, judged is true.
func (t *Trial) Add(e event.Event) (one Judgement, judged bool, err error) {
	if l, ok := e.Body.(*event.Loaded); ok {
		t.loaded = l
	}
	one, judged, err = t.judge.add(e)
	if err != nil || !judged {
		return one, false, err
	}
	if one.Recorded.Action == event.Hold {
		t.held[e.Cause] = one
		return one, false, nil
	}
	if first, ok := t.held[e.Cause]; ok {
		delete(t.held, e.Cause)
		one.Incomplete = one.Incomplete || first.Incomplete
		if first.Replayed.Action != event.Hold {
			one.Replayed = first.Replayed
		}
	}
	if one.Stops() {
		t.stopped[e.Cause] = struct{}{}
		for _, seq := range one.Replayed.Evidence {
			_, gone := t.stopped[seq]
			one.Leans = one.Leans || gone
		}
	}
	return one, true, nil
}

// Stops reports whether the call passed and would not, or not without a person.
func (j Judgement) Stops() bool { return j.Recorded.Action.Passes() && !j.Replayed.Action.Passes() }

// Releases reports whether the call did not pass and would.
func (j Judgement) Releases() bool { return !j.Recorded.Action.Passes() && j.Replayed.Action.Passes() }

// NewDenial reports whether the call passed and would be denied now.
func (j Judgement) NewDenial() bool {
	return j.Recorded.Action.Passes() && j.Replayed.Action == event.Deny
}

// Changed reports whether something else is done with the call now, or would be if all were enforced that is only
// observed now and was neither done nor observed then.
func (j Judgement) Changed() bool {
	if j.Replayed.Action != j.Recorded.Action {
		return true
	}
	now, ok := j.IfEnforced()
	if !ok {
		return false
	}
	then, ok := ifEnforced(j.Recorded)
	return !ok || now.Action < then.Action
}

// IfEnforced returns the strictest rule that would have decided otherwise, were it not in observe mode now.
func (j Judgement) IfEnforced() (m event.Match, ok bool) { return ifEnforced(j.Replayed) }

func ifEnforced(v event.Verdict) (m event.Match, ok bool) {
	m.Action = v.Action
	for _, a := range v.Also {
		if a.Observed && a.Action < m.Action {
			m, ok = a, true
		}
	}
	return m, ok
}

// Totals counts judgements. Its zero value has counted none.
type Totals struct {
	Calls      int
	Same       int // calls with which the same is done
	Denials    int // new ones, see NewDenial
	Incomplete int
	Changes    map[Change]int
	Observed   map[Change]int // what observed rules would do, see IfEnforced
}

// Change is another action, and the rule that makes the difference: that of the stricter side. Rule is empty if no rule
// decided.
type Change struct {
	From, To event.Action
	Rule     string
}

// Add counts one more.
func (t *Totals) Add(j Judgement) {
	if t.Changes == nil {
		t.Changes, t.Observed = map[Change]int{}, map[Change]int{}
	}
	t.Calls++
	if j.Incomplete {
		t.Incomplete++
	}
	if j.NewDenial() {
		t.Denials++
	}
	if m, ok := j.IfEnforced(); ok {
		t.Observed[Change{From: j.Replayed.Action, To: m.Action, Rule: m.Rule}]++
	}
	if j.Recorded.Action == j.Replayed.Action {
		t.Same++
		return
	}
	t.Changes[changeOf(j)]++
}

// changeOf names what is different.
func changeOf(j Judgement) Change {
	c := Change{From: j.Recorded.Action, To: j.Replayed.Action, Rule: j.Recorded.Rule}
	if c.To < c.From {
		c.Rule = j.Replayed.Rule
	}
	return c
}
