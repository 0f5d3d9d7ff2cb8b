package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/catalog"
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
	windows  []*rate.Window // of each rule; nil for rules without rate
	catalog  *catalog.Catalog
	declared map[catalog.Key]declaration // what tools/list said
	waiting  map[uint64][]occurrence     // calls that are judged or held -> what to count once they pass
	judging  event.Event                 // the call whose first verdict comes next
	held     map[uint64]held             // calls that wait for a person
	order    *order                      // what rules with steps remember
	trails   *trails                     // what was said; nil if no rule asks for it, and no baseline in force
	habits   *baseline.Watch             // what agents do; nil if no rule asks for it

	exceptions exceptions
	scratch
}

// scratch is memory that a State uses again and again. It is no knowledge: an empty one does as well.
type scratch struct {
	view  view                          // the call that is being judged
	found []int                         // rules
	spare []occurrence                  // for the next entry of waiting
	sum   apd.Decimal                   // of a window
	quiet []byte                        // how close rules are that do not fire
	chunk strings.Builder               // sentences
	parts map[*expr.Program][]expr.Part // of conditions that somebody wanted to see taken apart
}

// declaration is a declared schema, or why there is none to go by.
type declaration struct {
	schema *shape.Schema
	why    string
	fields map[string]bool // names of properties, on whatever level; where values are traced
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
		catalog:  catalog.New(),
		declared: map[catalog.Key]declaration{},
		waiting:  map[uint64][]occurrence{},
		order:    newOrder(p),
		held:     map[uint64]held{},
	}
	s.exceptions.policy = p
	s.view.policy = p
	if p.trails {
		s.trails = newTrails(p, s.about)
	}
	if p.habits {
		s.habits = baseline.NewWatch(p.effects)
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
	s.exceptions.apply(e)
	switch b := e.Body.(type) {
	case *event.Catalog:
		s.catalog.Apply(e)
		for i := range b.Tools {
			s.declare(catalog.Key{Server: b.Server, Tool: b.Tools[i].Name}, e.Seq, &b.Tools[i])
		}
	case *event.Accepted:
		s.catalog.Apply(e)
	case *event.Call:
		s.call(e, b)
	case *event.Promoted:
		if s.habits != nil {
			read, _ := e.Read.(*baseline.Baseline)
			s.promoted(e, b, read)
		}
	case *event.Verdict:
		if s.habits != nil {
			s.pass(e, b)
		}
		s.verdict(e, b)
		s.order.verdict(e, b)
	case *event.Result:
		s.result(e, b)
		s.order.result(e, b)
		if s.trails != nil {
			s.trails.result(e, b)
		}
		if s.habits != nil {
			s.habits.Result(e, b)
		}
	case *event.Turn:
		s.order.turn(e)
		if s.trails != nil {
			s.trails.said(e, b)
		}
		if s.habits != nil {
			s.habits.Said()
		}
	case *event.Signal:
		s.order.signal(e)
	case *event.Opened, *event.Loaded, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Closed:
	}
}

// Catalog returns what is known of tools. It belongs to s.
func (s *State) Catalog() *catalog.Catalog { return s.catalog }

// declare notes what the newest definition of a tool, in the event of the given Seq, says about it.
func (s *State) declare(tool catalog.Key, seq uint64, t *event.Tool) {
	schema, why := compileDeclared(t.InputSchema)
	d := declaration{schema: schema, why: why}
	if s.policy.trails {
		d.fields = fieldsOf(t.InputSchema)
		if s.catalog.Find(tool.Server, tool.Tool) != nil {
			s.trails.describe(tool, seq, t)
		}
	}
	s.declared[tool] = d
}

// fieldsOf returns the names of the properties that a schema declares, on whatever level.
func fieldsOf(source []byte) map[string]bool {
	fields := map[string]bool{}
	var walk func(v gjson.Result)
	walk = func(v gjson.Result) {
		v.ForEach(func(key, value gjson.Result) bool {
			if key.Str == "properties" && value.IsObject() {
				value.ForEach(func(name, _ gjson.Result) bool {
					fields[name.Str] = true
					return true
				})
			}
			if value.IsObject() || value.IsArray() {
				walk(value)
			}
			return true
		})
	}
	if schema := gjson.ParseBytes(source); schema.IsObject() {
		walk(schema)
	}
	return fields
}

// call notes what to count if the call passes, and counts it at once where attempts count. A call that was only seen has
// happened: it counts at once everywhere.
func (s *State) call(e event.Event, b *event.Call) {
	if !b.Seen {
		s.judging = e
	}
	s.look(e)
	s.order.call(e, &s.view.call)
	if s.policy.trails && !b.Seen {
		s.trails.call(e, &s.view.call)
	}
	list := s.spare
	for n, i := range s.view.rules {
		spec := s.policy.rules[i].rate
		if spec == nil {
			continue
		}
		s.windows[i].Evict(e.At)
		x := s.view.rate(n, s.windows[i])
		if !x.applies || x.err != nil {
			continue
		}
		o := x.kept()
		o.rule, o.retry, o.entry.Seq = i, b.Retry, e.Seq
		if spec.counts == countAttempted || b.Seen {
			s.add(o, e.At)
		} else {
			list = append(list, o)
		}
	}
	if len(list) > 0 {
		s.waiting[e.Seq], s.spare = list, nil
	}
}

// about returns how a server describes a tool: as it was pinned, for as long as nobody has accepted anything else.
func (s *State) about(server, tool string) string {
	if e := s.catalog.Find(server, tool); e != nil && e.Pinned != nil {
		return e.Pinned.Description
	}
	return ""
}

// look makes the call in e the one that is judged, and lets conditions ask what was said in its session.
func (s *State) look(e event.Event) {
	s.view.look(e)
	if s.policy.trails {
		c := s.view.call.Call
		s.view.call.Follow(s.trails.peek(e), s.declared[catalog.Key{Server: c.Server, Tool: c.Tool}].fields)
	}
	if s.habits != nil {
		s.view.call.Compare(compared{s.habits, e})
	}
}

func (s *State) verdict(e event.Event, v *event.Verdict) {
	if v.Action == event.Hold {
		s.hold(e, v)
	} else {
		s.settled(e, v)
	}
	s.judging = event.Event{}
}

// settled counts a call that passes, and forgets that it waited.
func (s *State) settled(e event.Event, v *event.Verdict) {
	list := s.waiting[e.Cause]
	if v.Action.Passes() {
		for _, o := range list {
			s.add(o, e.At)
		}
	}
	if list != nil {
		delete(s.waiting, e.Cause)
		clear(list)
		s.spare = list[:0]
	}
	delete(s.held, e.Cause)
}

// add counts o from the given time on.
func (s *State) add(o occurrence, at event.Time) {
	w := s.windows[o.rule]
	if w.Evict(at); o.retry != 0 && w.Has(at, o.retry) || w.Full(at) {
		return
	}
	o.entry.At = at
	w.Add(o.key, o.entry)
}

// result gives slots back: those of failed calls where only successes count, those of answered calls in flight.
func (s *State) result(e event.Event, b *event.Result) {
	s.found = s.policy.index.find(s.found[:0], b.Server, b.Tool)
	for _, i := range s.found {
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

// continues reports whether a call is the continuation of one that rule i still counts at the given time.
func (s *State) continues(i int, c *event.Call, at event.Time) bool {
	return c.Retry != 0 && s.windows[i].Has(at, c.Retry)
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

// appendKey joins the parts of by; every part carries its length, so that no two lists of parts give the same key.
func appendKey(key []byte, by []byKey, c *expr.Call) ([]byte, error) {
	for _, k := range by {
		text, err := k.text(c)
		if err != nil {
			return key, err
		}
		key = append(append(strconv.AppendInt(key, int64(len(text)), 10), ':'), text...)
	}
	return key, nil
}

// keyOf returns the key under which steps of the same by find each other.
func keyOf(by []byKey, c *expr.Call) (string, error) {
	key, err := appendKey(nil, by, c)
	return string(key), err
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

// measure says what the call adds to a window.
func (spec *rateSpec) measure(c *expr.Call, x *rated) error {
	switch {
	case spec.limit != nil:
		x.entry.Amount = &x.amount
		return spec.amount(c, &x.amount)
	case spec.distinct.String() != "":
		return spec.value(c, &x.entry.Value)
	}
	return nil
}

func (spec *rateSpec) amount(c *expr.Call, d *apd.Decimal) error {
	s, found, err := spec.sum.Lookup(c)
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("%s is missing, and the rule sums it", spec.sum)
	}
	if err := rate.SetAmount(d, s.Text); err != nil {
		return fmt.Errorf("%s cannot be summed: %w", spec.sum, err)
	}
	return nil
}

// value sets the distinct value; a call without it adds none.
func (spec *rateSpec) value(c *expr.Call, value *string) error {
	s, found, err := spec.distinct.Lookup(c)
	if err != nil || !found {
		return err
	}
	if *value = s.Text; s.Text == "" || s.Text[0] == '=' {
		*value = "=" + s.Text // an empty text is a value, too
	}
	return nil
}
