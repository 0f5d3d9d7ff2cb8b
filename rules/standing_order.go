package rules

import (
	"strings"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// StepStanding is how far the steps of a rule are matched, for the key of a call.
type StepStanding struct {
	By      string     `json:"by,omitempty"`      // the key: `session s3`
	Within  string     `json:"within"`            // from the first event that matches to the call being judged
	Steps   []StepOf   `json:"steps"`             // in the order of the rule; the last one is the call being judged
	Matched int        `json:"matched"`           // so many steps, from the first one on
	Until   event.Time `json:"until,omitzero"`    // when the first event that matches is too old; 0 if none matches
	Unknown bool       `json:"unknown,omitempty"` // too much has happened to tell; Matched is what is known
}

// StepOf is a step, and the events that match it. Of many ways to match, one of the newest is shown.
type StepOf struct {
	Name   string   `json:"name,omitempty"`
	On     string   `json:"on"` // what it waits for, as in the policy
	Where  string   `json:"where,omitempty"`
	Runs   int      `json:"runs"`             // how many events it takes
	Count  int      `json:"count"`            // how many of them there are
	Events []uint64 `json:"events,omitempty"` // those, the newest event.MaxEvidence at most; of calls and results, the calls
}

// standing fills in how rule i stands to a call; judges says whether it judges the call, or the call can only be a step.
func (o *order) standing(st *Standing, i int, judges bool, c *expr.Call, e event.Event) {
	spec := o.policy.rules[i].steps
	if judges {
		o.search.without = e.Seq
		f := o.judge(i, c, e)
		o.search.without = 0
		st.Fires, st.Why = f.fires, f.why
	}
	key, err := keyOf(spec.by, c)
	if err != nil {
		return // it has no key, so it is no step, and finds none
	}
	o.reach(st, i, c, key, e, e.At)
	if last := &st.Order.Steps[len(st.Order.Steps)-1]; judges && st.Fires != spec.require {
		last.Count, last.Events = 1, []uint64{e.Seq}
	}
}

// NearStep returns the names of the rules with sequence of which everything but the call being judged has happened at the given
// time, and e is the newest part of that: a call, when it has passed or its result is there, a turn or a signal. E is applied;
// see Standing.
func (s *State) NearStep(e event.Event, at event.Time) (names []string) {
	var c *expr.Call
	for _, i := range s.policy.concerned(e, s.order) {
		r := s.policy.rules[i]
		if r.steps == nil || r.steps.require {
			continue
		}
		if c == nil {
			c = s.callOf(e)
		}
		key, err := keyOf(r.steps.by, c)
		if err == nil && s.order.completes(i, c, key, e, at) {
			names = append(names, r.name)
		}
	}
	return names
}

// callOf returns the call in e, or what stands for one where e is a turn or a signal.
func (s *State) callOf(e event.Event) *expr.Call {
	switch b := e.Body.(type) {
	case *event.Turn:
		return expr.NewTurn(e).Call
	case *event.Signal:
		return expr.NewSignal(e).Call
	case *event.Call:
		return expr.NewCall(e, s.policy.tool(b.Server, b.Tool))
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Verdict, *event.Review, *event.Result, *event.Expired, *event.Closed:
	}
	return nil
}

// completes reports whether e is the newest of events that match all steps of rule i but the call being judged.
func (o *order) completes(i int, c *expr.Call, key string, e event.Event, at event.Time) bool {
	q := &o.search
	q.begin(o.policy.rules[i].steps, c)
	own := func(x *entry) bool { return x.Seq == e.Seq || x.Value.seq == e.Seq }
	return len(o.windows[i].Reach(at, key, q.asks, own).Steps) > 0
}

// reach fills in how far rule i is matched under a key, and whether e makes that near.
func (o *order) reach(st *Standing, i int, c *expr.Call, key string, e event.Event, at event.Time) {
	r := o.policy.rules[i]
	spec, w := r.steps, o.windows[i]
	q := &o.search
	q.begin(spec, c)
	found := w.Reach(at, key, q.asks, nil)
	st.Order = &StepStanding{
		By: strings.TrimPrefix(byText(spec.by, c), " by "), Within: document.FormatDuration(spec.pattern.Within),
		Matched: len(found.Steps), Unknown: found.Unknown,
	}
	for n := range spec.steps {
		step := &spec.steps[n]
		of := StepOf{Name: step.name, On: step.String(), Runs: spec.pattern.Steps[n].Runs}
		if step.where != nil {
			of.Where = oneLine(step.where)
		}
		switch {
		case n < len(found.Steps):
			of.Count = len(found.Steps[n])
			for _, x := range found.Steps[n][max(0, of.Count-event.MaxEvidence):] {
				of.Events = append(of.Events, number(x))
			}
		case n == len(found.Steps):
			of.Count = found.Next
		}
		st.Order.Steps = append(st.Order.Steps, of)
	}
	last := StepOf{On: r.over(), Runs: 1}
	switch {
	case spec.last != nil:
		last.Where = oneLine(spec.last)
	case r.where != nil:
		last.Where = oneLine(r.where)
	}
	st.Order.Steps = append(st.Order.Steps, last)
	if len(found.Steps) > 0 {
		st.Order.Until = found.Steps[0][0].At.Add(spec.pattern.Within)
	}
	st.Near = !st.Fires && !spec.require && len(found.Steps) == len(spec.steps) && o.completes(i, c, key, e, at)
}

// standingsOf says how rules stand to a turn or a signal: those of which it can be a step.
func (s *State) standingsOf(step *expr.Step, e event.Event, concerned []int, at event.Time) (out []Standing) {
	for _, i := range concerned {
		st := Standing{Rule: s.policy.describe(i)}
		if key, err := keyOf(s.policy.rules[i].steps.by, step.Call); err == nil {
			s.order.reach(&st, i, step.Call, key, e, at)
		}
		out = append(out, st)
	}
	return out
}
