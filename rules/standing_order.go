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
	var own func(*entry) bool
	if !spec.require {
		own = func(x *entry) bool { return x.Value.seq == e.Seq }
	}
	o.reach(st, i, c, key, e.At, own)
	if last := &st.Order.Steps[len(st.Order.Steps)-1]; judges && st.Fires != spec.require {
		last.Count, last.Events = 1, []uint64{e.Seq}
	}
}

// reach fills in how far rule i is matched under a key, and whether that is near: the newest event that matches is one of
// which own is true.
func (o *order) reach(st *Standing, i int, c *expr.Call, key string, at event.Time, own func(*entry) bool) {
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
	if st.Fires || own == nil || len(found.Steps) < len(spec.steps) {
		return
	}
	if newest := found.Steps[len(found.Steps)-1]; own(&newest[len(newest)-1]) {
		st.Near = true
		return
	}
	q.begin(spec, c)
	st.Near = len(w.Reach(at, key, q.asks, own).Steps) > 0
}

// standingsOf says how rules stand to a turn or a signal: those of which it can be a step.
func (s *State) standingsOf(step *expr.Step, e event.Event, concerned []int, at event.Time) (out []Standing) {
	for _, i := range concerned {
		st := Standing{Rule: s.policy.describe(i)}
		spec := s.policy.rules[i].steps
		if key, err := keyOf(spec.by, step.Call); err == nil {
			var own func(*entry) bool
			if !spec.require {
				own = func(x *entry) bool { return x.Seq == e.Seq }
			}
			s.order.reach(&st, i, step.Call, key, at, own)
		}
		out = append(out, st)
	}
	return out
}
