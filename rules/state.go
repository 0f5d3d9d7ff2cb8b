package rules

import (
	"fmt"
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
	"github.com/umpire-dev/umpire/rules/shape"
)

// State is the fold of history under a Policy. It has one owner, which feeds it every event in order:
//
//	live:    v := s.Decide(e); s.Apply(e); s.Apply(v)
//	recover: s.Apply(e)
//	verify:  v := s.Decide(e); compare(v, recorded); s.Apply(e)
type State struct {
	policy   *Policy
	windows  []*rate.Window          // of each rule; nil for rules without rate
	declared map[string]declaration  // server/tool -> what tools/list said
	waiting  map[uint64][]occurrence // calls that are judged or held -> what to count once they pass
	judging  event.Event             // the call whose first verdict comes next
	held     map[uint64]held         // calls that wait for a person
	order    *order                  // what rules with steps remember
}

// declaration is a declared schema, or why there is none to go by.
type declaration struct {
	schema *shape.Schema
	why    string
}

// occurrence is a call under one rate rule.
type occurrence struct {
	rule  int
	retry uint64 // the call continues this one, which counts already if it is still in the window
	key   string
	entry rate.Entry
}

// NewState returns the State of an empty history.
func NewState(p *Policy) *State {
	s := &State{
		policy:   p,
		windows:  make([]*rate.Window, len(p.rules)),
		declared: map[string]declaration{},
		waiting:  map[uint64][]occurrence{},
		order:    newOrder(p),
		held:     map[uint64]held{},
	}
	for i, r := range p.rules {
		if r.rate != nil {
			s.windows[i] = rate.New(r.rate.per)
		}
	}
	return s
}

// Policy returns the policy under which s folds.
func (s *State) Policy() *Policy { return s.policy }

// Apply adds e to the history. Events come in order of Seq.
func (s *State) Apply(e event.Event) {
	switch b := e.Body.(type) {
	case *event.Catalog:
		s.catalog(b)
	case *event.Call:
		s.call(e, b)
	case *event.Verdict:
		s.verdict(e, b)
		s.order.verdict(e, b)
	case *event.Result:
		s.result(e, b)
		s.order.result(e, b)
	case *event.Signal:
		s.order.signal(e)
	case *event.Opened, *event.Loaded, *event.Review, *event.Expired, *event.Closed:
	}
}

func (s *State) catalog(c *event.Catalog) {
	for _, t := range c.Tools {
		schema, why := compileDeclared(t.InputSchema)
		s.declared[c.Server+"/"+t.Name] = declaration{schema: schema, why: why}
	}
}

// call notes what to count if the call passes, and counts it at once where attempts count.
func (s *State) call(e event.Event, b *event.Call) {
	s.judging = e
	c := expr.NewCall(e, s.policy.tool(b.Server, b.Tool))
	s.order.call(e, c)
	for _, i := range s.policy.matching(b.Server, b.Tool) {
		r := s.policy.rules[i]
		if r.rate == nil {
			continue
		}
		s.windows[i].Evict(e.At)
		if applies, _ := r.applies(c); !applies {
			continue
		}
		o, err := r.occurrence(c)
		if err != nil {
			continue
		}
		o.rule, o.retry, o.entry.Seq = i, b.Retry, e.Seq
		if r.rate.counts == countAttempted {
			s.add(o, e.At)
		} else {
			s.waiting[e.Seq] = append(s.waiting[e.Seq], o)
		}
	}
}

func (s *State) verdict(e event.Event, v *event.Verdict) {
	if v.Action == event.Hold {
		s.hold(e, v)
		return
	}
	if v.Action.Passes() {
		for _, o := range s.waiting[e.Cause] {
			s.add(o, e.At)
		}
	}
	delete(s.waiting, e.Cause)
	delete(s.held, e.Cause)
}

// add counts o from the given time on.
func (s *State) add(o occurrence, at event.Time) {
	w := s.windows[o.rule]
	if w.Evict(at); o.retry != 0 && w.Has(o.retry) || w.Full(at) {
		return
	}
	o.entry.At = at
	w.Add(o.key, o.entry)
}

// result gives slots back: those of failed calls where only successes count, those of answered calls in flight.
func (s *State) result(e event.Event, b *event.Result) {
	for _, i := range s.policy.matching(b.Server, b.Tool) {
		spec := s.policy.rules[i].rate
		if spec == nil {
			continue
		}
		if spec.inFlight && b.Outcome.Answered() || spec.counts == countSucceeded && b.Outcome.Failed() {
			s.windows[i].Remove(e.Cause)
			if b.Root != 0 {
				s.windows[i].Remove(b.Root)
			}
		}
	}
}

// continues reports whether a call is the continuation of one that rule i still counts.
func (s *State) continues(i int, c *event.Call) bool {
	return c.Retry != 0 && s.windows[i].Has(c.Retry)
}

// applies reports whether the call is one that r is about. A condition that cannot be decided applies; err says why.
func (r *rule) applies(c *expr.Call) (bool, error) {
	if r.where == nil {
		return true, nil
	}
	match, err := r.where.Eval(c)
	if err != nil {
		return true, fmt.Errorf("its condition cannot be decided (%w)", err)
	}
	return match, nil
}

// occurrence returns the key under which r counts the call, and what it adds.
func (r *rule) occurrence(c *expr.Call) (o occurrence, err error) {
	if o.key, err = keyOf(r.rate.by, c); err != nil {
		return o, err
	}
	switch spec := r.rate; {
	case spec.limit != nil:
		o.entry.Amount, err = spec.amount(c)
	case spec.distinct.String() != "":
		o.entry.Value, err = spec.value(c)
	}
	return o, err
}

// keyOf joins the parts of by; every part carries its length, so that no two lists of parts give the same key.
func keyOf(by []byKey, c *expr.Call) (string, error) {
	var key []byte
	for _, k := range by {
		text, err := k.text(c)
		if err != nil {
			return "", err
		}
		key = append(append(strconv.AppendInt(key, int64(len(text)), 10), ':'), text...)
	}
	return string(key), nil
}

// text returns the part of the key; a part that is missing is an error, so that calls without it never share a key.
func (k byKey) text(c *expr.Call) (string, error) {
	var text string
	switch k.name {
	case "session":
		text = c.Session
	case "agent":
		text = c.Agent
	case "principal":
		text = c.Principal
	case "server":
		text = c.Server
	case "tool":
		text = c.Call.Tool
	default:
		s, found, err := k.arg.Lookup(c)
		if err != nil {
			return "", err
		}
		if found {
			return s.Text, nil
		}
	}
	if text == "" {
		return "", fmt.Errorf("%s is missing, and the rule goes by it", k)
	}
	return text, nil
}

func (spec *rateSpec) amount(c *expr.Call) (*apd.Decimal, error) {
	s, found, err := spec.sum.Lookup(c)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("%s is missing, and the rule sums it", spec.sum)
	}
	d, err := rate.Amount(s.Text)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be summed: %w", spec.sum, err)
	}
	return d, nil
}

// value returns the distinct value; a call without it adds none.
func (spec *rateSpec) value(c *expr.Call) (string, error) {
	s, found, err := spec.distinct.Lookup(c)
	if err != nil || !found {
		return "", err
	}
	return "=" + s.Text, nil // an empty text is a value, too
}
