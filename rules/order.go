package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/sequence"
)

// order is what rules with steps remember: for each of them the events that can be steps, and of these events what the
// rules can ask about, no more.
type order struct {
	policy  *Policy
	windows []*sequence.Window[*memo] // of each rule; nil for rules without steps
	feeds   []feed                    // of calls and results
	calls   *index                    // of feeds
	signals []feed
	turns   []feed
	judging *candidate            // the call whose verdict comes next, if it can be a step
	held    map[uint64]*candidate // such calls that wait for a person
	memos   map[uint64]*memo      // by Seq of the call
	swept   event.Time            // when those that have waited too long were last forgotten
	found   []int                 // scratch: feeds
	search  search                // scratch
}

// candidate is an event, and where it is to be remembered.
type candidate struct {
	*memo
	places []addition
}

// feed is a slot of a rule that takes events of a kind.
type feed struct {
	rule, slot int
	*step
}

// addition is an event in a slot, under a key.
type addition struct {
	feed
	key string
}

func newOrder(p *Policy) *order {
	o := &order{
		policy: p, windows: make([]*sequence.Window[*memo], len(p.rules)), calls: newIndex(),
		memos: map[uint64]*memo{}, held: map[uint64]*candidate{},
	}
	o.search.asks = o.search.holds
	for i, r := range p.rules {
		if r.steps == nil {
			continue
		}
		o.windows[i] = sequence.New(&r.steps.pattern, o.forget)
		for slot := range r.steps.pattern.Slots() {
			switch st := r.steps.slot(slot); {
			case st == nil:
			case st.kind == stepSignal:
				o.signals = append(o.signals, feed{i, slot, st})
			case st.kind == stepTurn:
				o.turns = append(o.turns, feed{i, slot, st})
			default:
				o.calls.add(len(o.feeds), st.on)
				o.feeds = append(o.feeds, feed{i, slot, st})
			}
		}
	}
	return o
}

// forget notes that a window no longer remembers m.
func (o *order) forget(m *memo) {
	if m.refs--; m.refs == 0 && m.seq != 0 {
		delete(o.memos, m.seq)
	}
}

// answerFor is how long a call that is answered late is waited for, as far as its result is a step.
const answerFor = 24 * time.Hour

// late reports whether m has waited too long.
func (m *memo) late(at event.Time) bool { return m.waits && at.Sub(m.at) >= answerFor }

// answered notes that m waits no longer.
func (o *order) answered(m *memo) {
	m.waits = false
	o.forget(m)
}

// sweep forgets that calls are waited for whose answer comes too late.
func (o *order) sweep(at event.Time) {
	for _, m := range o.memos {
		if m.late(at) {
			o.answered(m)
		}
	}
	o.swept = at
}

// call notes where a call is to be remembered if it passes. A call that continues another is the same step as that one.
func (o *order) call(e event.Event, c *expr.Call) {
	o.judging = nil
	if o.found = o.calls.find(o.found[:0], c.Server, c.Call.Tool); len(o.found) == 0 || c.Retry != 0 {
		return
	}
	if e.At.Sub(o.swept) >= answerFor {
		o.sweep(e.At)
	}
	m := &memo{seq: e.Seq, at: e.At, step: &expr.Step{Call: expr.NewCall(e, c.Tool)}}
	k := &candidate{memo: m}
	full := false
	for _, i := range o.found {
		f := o.feeds[i]
		steps := o.policy.rules[f.rule].steps
		m.keep, full = m.keep || steps.keep, full || steps.full || f.kind == stepResult
		m.waits = m.waits || f.kind == stepResult
		if f.kind == stepCall {
			o.place(k, c, f)
		}
	}
	if m.waits {
		m.refs++
	}
	if !full { // nobody will ask for the arguments again
		short := *c.Call
		short.Args, short.Findings = []byte("{}"), nil
		m.step = &expr.Step{Call: expr.NewCall(event.Event{Session: e.Session, Body: &short}, c.Tool)}
	}
	switch {
	case !m.waits && len(k.places) == 0:
	case c.Seen:
		o.pass(e, k)
	default:
		o.judging = k
	}
}

// place notes that k belongs into the slot of f, if it does. C is the call of k; it need not be the copy that k keeps. What was
// only seen counts against the calls that follow, and for none: who made it chose the name of its server.
func (o *order) place(k *candidate, c *expr.Call, f feed) {
	steps := o.policy.rules[f.rule].steps
	if c.Seen && (steps.require || f.slot >= len(steps.steps)) {
		return
	}
	key, err := keyOf(steps.by, c)
	if err != nil {
		return // what has no key never merges with anything
	}
	if f.early {
		// What cannot be decided is a step, but nothing that ends a match.
		if match, err := f.where.EvalWith(c, []expr.Bound{{Name: f.name, Step: k.step}}); !match && err == nil || err != nil && f.slot >= len(steps.steps) {
			return
		}
	}
	k.places = append(k.places, addition{f, key})
}

// verdict remembers the call that has passed, at once or when its hold ended.
func (o *order) verdict(e event.Event, v *event.Verdict) {
	k := o.judging
	o.judging = nil
	if k == nil || k.seq != e.Cause {
		k = o.held[e.Cause]
	}
	delete(o.held, e.Cause)
	switch {
	case k == nil:
		return
	case v.Action == event.Hold:
		o.held[e.Cause] = k
		return
	case !v.Action.Passes():
		return
	}
	o.pass(e, k)
}

// pass remembers a call that has passed.
func (o *order) pass(e event.Event, k *candidate) {
	o.remember(e, k)
	if k.refs > 0 {
		o.memos[k.seq] = k.memo
	}
}

// remember puts k, which happened at e, into its places.
func (o *order) remember(e event.Event, k *candidate) {
	for _, a := range k.places {
		w, steps := o.windows[a.rule], o.policy.rules[a.rule].steps
		if a.slot == steps.pattern.UntilSlot() && (a.where == nil || a.early) {
			w.Reset(a.key, e.Seq) // whatever stands before it can be no part of a match
			continue
		}
		if w.Add(a.key, a.slot, newEntry(e, k.memo)) {
			k.refs++
		}
	}
}

// result notes what has become of a call, and remembers it where rules wait for results.
func (o *order) result(e event.Event, r *event.Result) {
	seq := e.Cause
	if r.Root != 0 {
		seq = r.Root
	}
	m := o.memos[seq]
	if m == nil {
		return
	}
	m.step.Answer(r, m.keep && len(r.Content) <= maxContent)
	if r.Outcome == event.OutcomeInput || r.Outcome == event.OutcomeStarted {
		return // that is not the end of it
	}
	if m.late(e.At) {
		o.answered(m)
	}
	if !m.waits {
		return
	}
	k := &candidate{memo: m}
	o.found = o.calls.find(o.found[:0], m.step.Server, m.step.Call.Call.Tool)
	for _, i := range o.found {
		if f := o.feeds[i]; f.kind == stepResult {
			o.place(k, m.step.Call, f)
		}
	}
	o.remember(e, k)
	o.answered(m)
}

func (o *order) signal(e event.Event) {
	o.noted(e, o.signals, e.Body.(*event.Signal).Name, expr.NewSignal)
}

func (o *order) turn(e event.Event) {
	o.noted(e, o.turns, speaker(e.Body.(*event.Turn)), expr.NewTurn)
}

// speaker returns whose words a turn holds, as far as that can be believed. What a form holds that a server has shown is
// among what comes from outside: a server could ask for some word of the user whenever a rule waits for one.
func speaker(t *event.Turn) string {
	if t.Trust != event.Trusted || t.Server != "" || !slices.Contains(turnRoles, string(t.Role)) {
		return string(event.RoleTool)
	}
	return string(t.Role)
}

// noted remembers an event that is no call where rules wait for one of its name.
func (o *order) noted(e event.Event, feeds []feed, name string, step func(event.Event) *expr.Step) {
	k := &candidate{memo: &memo{}}
	for _, f := range feeds {
		if f.named(name) {
			if k.step == nil {
				k.step = step(e)
			}
			o.place(k, k.step.Call, f)
		}
	}
	o.remember(e, k)
}

// judge asks rule i about a call.
func (o *order) judge(i int, c *expr.Call, e event.Event) finding {
	r := o.policy.rules[i]
	spec := r.steps
	q := &o.search
	q.begin(spec, c)
	if spec.last != nil {
		match, err := spec.last.EvalWith(c, nil)
		switch {
		case err == nil && !match: // whatever happened before
			return finding{}
		case err != nil && len(spec.last.Steps()) == 0:
			q.undecided = err
		}
	}
	key, err := keyOf(spec.by, c)
	if err != nil {
		return finding{fires: true, why: err.Error(), hint: "send the argument"}
	}
	match, unknown := o.windows[i].Find(e.At, key, q.asks)
	switch {
	case unknown:
	case spec.require && match == nil:
		return q.missing(o.windows[i], e.At, key)
	case spec.require || match == nil:
		return finding{}
	}
	within := document.FormatDuration(spec.pattern.Within)
	if unknown {
		return finding{fires: true, unknown: !spec.require, why: fmt.Sprintf("too much has happened in %s%s to tell whether the steps match", within, byText(spec.by, c))}
	}
	f := finding{fires: true}
	var parts []string
	for _, m := range slices.Backward(match) {
		parts = append(parts, fmt.Sprintf("%s after %s (#%d)", gap(e.At.Sub(m.At)), m.Value.name(), number(m)))
	}
	const shown = 4
	if more := len(parts) - shown; more > 0 {
		parts = append(parts[:shown], fmt.Sprintf("and %d more", more))
	}
	f.why = fmt.Sprintf("%s/%s %s, within %s%s", c.Server, c.Call.Tool, strings.Join(parts, ", "), within, byText(spec.by, c))
	if q.undecided != nil {
		f.why += fmt.Sprintf("; a condition cannot be decided (%v)", q.undecided)
	}
	for _, m := range match[max(0, len(match)-event.MaxEvidence):] {
		f.evidence = append(f.evidence, number(m))
	}
	return f
}

// number returns the Seq under which people find an event of a match: the call's, else its own.
func number(e entry) uint64 {
	if e.Value.seq != 0 {
		return e.Value.seq
	}
	return e.Seq
}

// name formats what happened for a sentence.
func (m *memo) name() string {
	switch {
	case m.step.Signal != nil:
		return "the signal " + clip(m.step.Signal.Name)
	case m.step.Turn != nil:
		return "a turn of the " + speaker(m.step.Turn)
	}
	return m.step.Server + "/" + clip(m.step.Call.Call.Tool)
}

// gap formats the time between two events: 120ms, 4s, 14m59s, 2h5m0s.
func gap(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// missing explains that what is required did not happen.
func (q *search) missing(w *sequence.Window[*memo], at event.Time, key string) finding {
	var names, conditions []string
	n := 0
	for i := range q.spec.steps {
		st := &q.spec.steps[i]
		names = append(names, st.String())
		n += w.Len(at, key, i)
		if st.where != nil {
			conditions = append(conditions, oneLine(st.where))
		}
	}
	wanted := strings.Join(names, ", then ")
	f := finding{fires: true, hint: "first " + wanted}
	when := fmt.Sprintf("in the %s before it%s", document.FormatDuration(q.spec.pattern.Within), byText(q.spec.by, q.call))
	switch {
	case n == 0 || len(conditions) == 0:
		f.why = fmt.Sprintf("no %s %s", strings.TrimPrefix(wanted, "a "), when)
	case n == 1:
		f.why = fmt.Sprintf("the one %s %s does not fit", strings.TrimPrefix(wanted, "a "), when)
	default:
		f.why = fmt.Sprintf("none of the %d of %s %s fits", n, wanted, when)
	}
	if len(conditions) > 0 {
		f.hint += ", so that " + strings.Join(conditions, " and ")
	}
	return f
}

// search answers what sequence.Find asks about conditions.
type search struct {
	spec      *stepsSpec
	call      *expr.Call // the call being judged
	bound     []expr.Bound
	undecided error                 // the first condition that could not be decided and was taken to hold
	without   uint64                // the Seq of a call that is left out; 0 for none
	asks      sequence.Holds[*memo] // holds
}

// begin makes q a search for steps before a call.
func (q *search) begin(spec *stepsSpec, c *expr.Call) {
	*q = search{spec: spec, call: c, bound: q.bound, without: q.without, asks: q.asks}
}

// holds implements sequence.Holds. What cannot be decided is taken the way in which the rule fires.
func (q *search) holds(slot int, chosen []*entry, extra *entry) bool {
	if q.without != 0 && slot != sequence.Last {
		if at := cmp.Or(extra, chosen[min(slot, len(chosen)-1)]); at.Value.seq == q.without {
			return false
		}
	}
	q.bound = q.bound[:0]
	for i, name := range q.spec.names {
		if name == "" {
			continue
		}
		b := expr.Bound{Name: name}
		if i < len(chosen) && chosen[i] != nil {
			b.Step = chosen[i].Value.step
		}
		q.bound = append(q.bound, b)
	}
	switch {
	case slot != sequence.Last:
	case q.spec.last == nil || len(q.spec.last.Steps()) == 0:
		return true
	case q.misses(q.spec.last):
		match, err := q.spec.last.EvalWith(q.call, q.bound)
		return match || err != nil // what is missing is an error, unless the condition is false without it
	default:
		return q.ask(q.spec.last, q.call, true)
	}
	st := q.spec.slot(slot)
	if st.where == nil || st.early {
		return true
	}
	switch {
	case extra != nil:
		q.bound = append(q.bound, expr.Bound{Name: st.name, Step: extra.Value.step})
		return q.ask(st.where, extra.Value.step.Call, false)
	case q.spec.require:
		return q.ask(st.where, q.call, false)
	}
	return q.ask(st.where, chosen[slot].Value.step.Call, true)
}

// misses reports whether a step that the condition asks about is not chosen yet.
func (q *search) misses(p *expr.Program) bool {
	return slices.ContainsFunc(q.bound, func(b expr.Bound) bool { return b.Step == nil && slices.Contains(p.Steps(), b.Name) })
}

// ask evaluates a condition; undecided is what it is if it cannot be decided.
func (q *search) ask(p *expr.Program, own *expr.Call, undecided bool) bool {
	match, err := p.EvalWith(own, q.bound)
	if err == nil {
		return match
	}
	if undecided && q.undecided == nil {
		q.undecided = err
	}
	return undecided
}
