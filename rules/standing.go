package rules

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
)

// Standing is how a rule stands to an event at a moment, for people. No verdict depends on it.
//
// A rule that does not fire came near to it (Near)
//   - with rate, if the window has at least 80 % of the limit, with the call; of counts, if that is two or more, so that the
//     first call is never near a limit of one;
//   - with sequence, if the event is the newest one of those that match all steps but the last, the call being judged: from
//     now on that call is all that is missing;
//   - with nothing but a condition, if all conditions that it joins by && hold but one, of at least two that ask what the
//     call does (its arguments, their origins, how it is bound), and not just whose call it is, of which tool, or whether an
//     argument is there.
//
// Rules with require, shape or catalog are never near.
type Standing struct {
	Rule
	Fires  bool          `json:"fires,omitempty"`
	Near   bool          `json:"near,omitempty"`
	Why    string        `json:"why,omitempty"` // as a verdict would say it, if it fires
	Window *RateStanding `json:"window,omitempty"`
	Order  *StepStanding `json:"order,omitempty"`
	Parts  []PartOf      `json:"parts,omitempty"` // what the condition joins by &&
}

// RateStanding is the window of a rule into which a call falls. Numbers are exact decimals.
type RateStanding struct {
	Measure string     `json:"measure"`         // "count", "sum", "distinct" or "in_flight"
	Of      string     `json:"of,omitempty"`    // the argument that is summed, or whose different values count
	By      string     `json:"by,omitempty"`    // the key: `session s3, args.order_id "ord_1"`
	Now     string     `json:"now"`             // what is in the window
	With    string     `json:"with"`            // the same with the call, if it is not in it
	Limit   string     `json:"limit"`           // up to which the rule does not fire
	Per     string     `json:"per"`             // its length
	Calls   []uint64   `json:"calls,omitempty"` // the newest in it, oldest first, at most event.MaxEvidence
	Frees   event.Time `json:"frees,omitzero"`  // when the oldest leaves it; 0 if there is none, or if there are too many to tell
	Full    bool       `json:"full,omitempty"`  // it can count no more
}

// PartOf is a part of a condition, and whether it holds: "true", "false", or why that cannot be decided.
type PartOf struct {
	Text  string `json:"text"`
	Holds string `json:"holds"`
	about bool
}

// Remembers reports whether the rule remembers something that matters to the event: a window that is not empty, or a step
// that is matched.
func (s *Standing) Remembers() bool {
	return s.Window != nil && len(s.Window.Calls) > 0 || s.Order != nil && (s.Order.Matched > 0 || s.Order.Steps[0].Count > 0)
}

// maxStandings bounds what Standings returns.
const maxStandings = 100

// Standings says how rules stand to the event e, a call, a turn or a signal, at the given time, which is not before the last
// event of s: those that judge the call, and those of which the event can be a step, in the order of the policy. Of more than
// a hundred, those are left out that neither fire nor are near. It may be asked before e is applied to s, as the rules will
// judge it, or at any time after that.
//
// If rules are named, those are left out that are not. It reads what s knows and never changes it. It is for people and
// takes longer than a decision: nothing that a call waits for may ask.
func (s *State) Standings(e event.Event, at event.Time, only ...string) []Standing {
	var out []Standing
	concerned := s.policy.concerned(e, s.order)
	if len(only) > 0 {
		concerned = slices.DeleteFunc(concerned, func(i int) bool { return !slices.Contains(only, s.policy.rules[i].name) })
	}
	switch b := e.Body.(type) {
	case *event.Call:
		e.At = at
		out = s.standings(e, b, concerned)
	case *event.Turn:
		out = s.standingsOf(expr.NewTurn(e), e, concerned, at)
	case *event.Signal:
		out = s.standingsOf(expr.NewSignal(e), e, concerned, at)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Result, *event.Expired, *event.Closed:
	}
	if len(out) > maxStandings {
		weight := func(st Standing) int {
			switch {
			case st.Fires:
				return 0
			case st.Near:
				return 1
			}
			return 2
		}
		slices.SortStableFunc(out, func(a, b Standing) int { return cmp.Compare(weight(a), weight(b)) })
		out = out[:maxStandings]
	}
	return out
}

// Concerns returns the names of the rules about which Standings says something, in the order of the policy.
func (s *State) Concerns(e event.Event) []string {
	var names []string
	for _, i := range s.policy.concerned(e, s.order) {
		names = append(names, s.policy.rules[i].name)
	}
	return names
}

// concerned returns the rules that judge the call in e, and those of which e can be a step.
func (p *Policy) concerned(e event.Event, o *order) (list []int) {
	named := func(feeds []feed, name string) {
		for _, f := range feeds {
			if f.named(name) {
				list = append(list, f.rule)
			}
		}
	}
	switch b := e.Body.(type) {
	case *event.Call:
		list = p.index.find(nil, b.Server, b.Tool)
		for _, n := range o.calls.find(nil, b.Server, b.Tool) {
			list = append(list, o.feeds[n].rule)
		}
	case *event.Turn:
		named(o.turns, speaker(b))
	case *event.Signal:
		named(o.signals, b.Name)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Result, *event.Expired, *event.Closed:
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// NearCall returns the names of the rules with rate, or with nothing but a condition, that the call in e comes near to, which
// is not applied yet; see Standing. For counts over long histories it takes less time than Standings.
func (s *State) NearCall(e event.Event) (names []string) {
	s.look(e)
	for n, i := range s.view.rules {
		r, isNear := s.policy.rules[i], false
		switch {
		case r.rate != nil:
			isNear = s.nearRate(n, e)
		case r.kind() == "where":
			applies, _ := r.applies(&s.view.call)
			isNear = !applies && near(s.partsOf(r.where, &s.view.call))
		}
		if isNear {
			names = append(names, r.name)
		}
	}
	return names
}

func (s *State) standings(e event.Event, b *event.Call, concerned []int) (out []Standing) {
	s.view.call.Call = nil // conditions may ask what was said since
	s.look(e)
	defer func() { s.view.call.Call = nil }()
	c := &s.view.call
	doubts := s.catalog.Doubts(b.Server, b.Tool)
	for _, i := range concerned {
		r := s.policy.rules[i]
		st := Standing{Rule: s.policy.describe(i)}
		n, about := slices.BinarySearch(s.view.rules, i)
		if r.where != nil && about {
			st.Parts = s.partsOf(r.where, c)
		}
		switch {
		case r.rate != nil:
			s.rateStanding(&st, n, e)
		case r.steps != nil:
			applies, _ := r.applies(c)
			s.order.standing(&st, i, about && applies, c, e)
		default:
			f := s.judge(n, e, doubts)
			st.Fires, st.Why = f.fires, f.why
			st.Near = r.kind() == "where" && !st.Fires && near(st.Parts)
		}
		out = append(out, st)
	}
	return out
}

// partsOf returns the parts of a condition, and which of them hold for a call.
func (s *State) partsOf(p *expr.Program, c *expr.Call) []PartOf {
	parts, known := s.parts[p]
	if !known {
		parts = p.Parts()
		if s.parts == nil {
			s.parts = map[*expr.Program][]expr.Part{}
		}
		s.parts[p] = parts
	}
	out := make([]PartOf, len(parts))
	for i, part := range parts {
		match, err := part.Eval(c)
		out[i] = PartOf{Text: oneLine(part.Program), Holds: strconv.FormatBool(match), about: part.About}
		if err != nil {
			out[i].Holds = clip(err.Error())
		}
	}
	return out
}

// near reports whether a condition that does not hold came near to it; see Standing.
func near(parts []PartOf) bool {
	about, fail := 0, 0
	for _, p := range parts {
		if p.about {
			about++
		}
		switch {
		case p.Holds == "true":
		case p.Holds == "false" && p.about:
			fail++
		default:
			return false
		}
	}
	return about >= 2 && fail == 1
}

// nearRate reports whether a call comes near to the rate rule at index n of s.view.rules.
func (s *State) nearRate(n int, e event.Event) bool {
	i := s.view.rules[n]
	w := s.windows[i]
	x := s.view.rate(n, w)
	if !x.applies || x.err != nil || w.Full(e.At) {
		return false
	}
	q := s.question(i, x, e)
	return q.most() && !q.answer().fires
}

// question asks rule i about a call that may be in its window already.
func (s *State) question(i int, x *rated, e event.Event) question {
	c, w := &s.view.call, s.windows[i]
	return question{
		state: s, rule: s.policy.rules[i], window: w, call: c, at: e.At, occurrence: x.occurrence,
		counted: w.Has(e.At, e.Seq) || s.continues(i, c.Call, e.At),
	}
}

// rateStanding fills in how the rate rule at index n of s.view.rules stands to a call.
func (s *State) rateStanding(st *Standing, n int, e event.Event) {
	i := s.view.rules[n]
	w := s.windows[i]
	x := s.view.rate(n, w)
	switch {
	case !x.applies:
		return
	case x.err != nil:
		st.Fires, st.Why = true, x.err.Error()
		return
	}
	q := s.question(i, x, e)
	st.Window = q.standing()
	if st.Window.Full = w.Full(e.At); st.Window.Full && !w.Has(e.At, e.Seq) {
		f := s.judgeRate(n, e)
		st.Fires, st.Why = f.fires, f.why
		return
	}
	f := q.answer()
	st.Fires, st.Why = f.fires, f.why
	st.Near = !st.Fires && q.most()
}

// standing returns what is in the window.
func (q *question) standing() *RateStanding {
	spec := q.rule.rate
	w := &RateStanding{
		Measure: "count", By: strings.TrimPrefix(byText(spec.by, q.call), " by "), Per: document.FormatDuration(spec.per),
		Limit: strconv.Itoa(spec.max), Calls: q.evidence(), Frees: q.frees(),
	}
	switch {
	case spec.limit != nil:
		now, with := q.sums()
		w.Measure, w.Of, w.Now, w.With, w.Limit = "sum", spec.sum.String(), plain(now), plain(with), plain(spec.limit)
		return w
	case spec.distinct.String() != "":
		w.Measure, w.Of = "distinct", spec.distinct.String()
	case spec.inFlight:
		w.Measure = "in_flight"
	}
	now, with := q.counts()
	w.Now, w.With = strconv.Itoa(now), strconv.Itoa(with)
	return w
}

// sums returns the sum that is in the window, and the one with the call.
func (q *question) sums() (now, with *apd.Decimal) {
	now, with = new(apd.Decimal), new(apd.Decimal)
	q.window.Sum(q.at, q.key, now)
	if with.Set(now); !q.counted {
		rate.Add(with, with, q.entry.Amount)
	}
	return now, with
}

// counts returns how many calls, or different values, are in the window, and how many with the call.
func (q *question) counts() (now, with int) {
	if q.rule.rate.distinct.String() != "" {
		n, seen := q.window.Distinct(q.at, q.key, q.entry.Value)
		if q.counted || seen || q.entry.Value == "" {
			return n, n
		}
		return n, n + 1
	}
	n := q.window.Count(q.at, q.key)
	if q.counted {
		return n, n
	}
	return n, n + 1
}

// most reports whether the window has, with the call, at least 80 % of the limit; see Standing.
func (q *question) most() bool {
	spec := q.rule.rate
	if spec.limit == nil {
		_, with := q.counts()
		return with >= 2 && 10*with >= 8*spec.max
	}
	_, with := q.sums()
	return !spec.limit.IsZero() && with.Cmp(tenths(spec.limit, 8)) >= 0
}

// tenths returns n tenths of d.
func tenths(d *apd.Decimal, n int) *apd.Decimal {
	part, out := new(apd.Decimal).Set(d), new(apd.Decimal)
	part.Exponent--
	for range n {
		rate.Add(out, out, part)
	}
	return out
}

// frees returns when the oldest call leaves the window; 0 if there is none, or if there are too many to look at.
func (q *question) frees() event.Time {
	var oldest event.Time
	n := 0
	for e := range q.window.Newest(q.at, q.key) {
		if n++; n > maxWalk {
			return 0
		}
		oldest = e.At.Add(q.rule.rate.per)
	}
	return oldest
}
