package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
)

// allowRule names the allow list in verdicts, catalogRule what is done about doubtful tools where no rule says it.
const (
	allowRule   = "allow"
	catalogRule = "catalog"
)

// finding is what one rule has to say about one call.
type finding struct {
	fires    bool
	unknown  bool // the rule cannot tell, and a person has to
	why      string
	evidence []uint64
	origins  []event.Origin
	hint     string
	retry    time.Duration
}

// Decide returns the verdict on the call in e, or on the call whose hold the Review or the Expired in e ends. It reads what
// s knows and never changes it; of s it writes the scratch space alone. A panic within it is a deny.
func (s *State) Decide(e event.Event) (v event.Verdict) {
	defer func() {
		if r := recover(); r != nil {
			v = event.Verdict{Action: event.Deny, Why: fmt.Sprintf("the rules failed on this call: %v", r), Policy: s.policy.digest}
		}
	}()
	if _, ok := e.Body.(*event.Call); !ok {
		return s.settle(e)
	}
	return s.decide(e, false)
}

// decide judges a call at e.At. If a person has approved it, no rule can hold it any more, but every rule can deny it.
func (s *State) decide(e event.Event, approved bool) event.Verdict {
	call := e.Body.(*event.Call)
	p := s.policy
	v := event.Verdict{Action: event.Allow, Policy: p.digest}
	decided := event.Allow
	var excepted exempted
	report := func(r string, do event.Action, observed bool, f finding) {
		m := event.Match{Action: do, Rule: r, Why: f.why, Evidence: f.evidence, Observed: observed}
		if observed || do >= decided || approved && do == event.Hold {
			v.Also = append(v.Also, m)
			return
		}
		if v.Rule != "" { // a stricter rule takes over
			v.Also = append(v.Also, event.Match{Action: v.Action, Rule: v.Rule, Why: v.Why, Evidence: v.Evidence})
		}
		decided, v.Action, v.Rule, v.Why, v.Evidence, v.Origins, v.Hint = do, do, r, f.why, f.evidence, f.origins, f.hint
		v.RetryMS = int64((f.retry + time.Millisecond - 1) / time.Millisecond)
	}
	if p.allowed && !p.allows(call.Server, call.Tool) {
		report(allowRule, event.Deny, p.observe, finding{
			why:  fmt.Sprintf("%s/%s is not on the allow list", call.Server, call.Tool),
			hint: "use another tool",
		})
	}
	s.quiet = s.quiet[:0]
	s.look(e)
	doubts := s.catalog.Doubts(call.Server, call.Tool)
	if len(doubts) > 0 {
		s.doubtful(call, doubts, func(do event.Action, f finding) { report(catalogRule, do, p.observe, f) })
	}
	for n, i := range s.view.rules {
		f := s.judge(n, e, doubts)
		if !f.fires {
			continue
		}
		r := p.rules[i]
		do := r.do
		if f.unknown {
			do = event.Hold
		}
		observed := r.observe || p.observe
		if x := s.excepted(i, e.At); x != nil && !observed {
			v.Also = append(v.Also, event.Match{Action: do, Rule: r.name, Why: f.why, Evidence: f.evidence, Excepted: true, Exception: x.seq})
			excepted = excepted.add(r.name, x)
			continue
		}
		report(r.name, do, observed, f)
	}
	switch {
	case v.Rule != "":
	case len(excepted) > 0:
		v.Why = s.sentence(excepted.String())
	case approved:
		v.Why = s.sentence("no rule denies it")
	case len(v.Also) > 0:
		v.Why = s.sentence("no rule in force objects")
	default:
		v.Why = s.sentence("no rule objects")
	}
	return v
}

// chunkSize is how many bytes sentences share. Each is short, so most cost no allocation.
const chunkSize = 4 << 10

// sentence returns a sentence that ends with how close the rules are that do not fire.
func (s *State) sentence(begin string) string {
	if len(s.quiet) == 0 {
		return begin
	}
	if n := len(begin) + len(s.quiet); s.chunk.Cap()-s.chunk.Len() < n {
		s.chunk.Reset()
		s.chunk.Grow(max(n, chunkSize))
	}
	from := s.chunk.Len()
	s.chunk.WriteString(begin)
	s.chunk.Write(s.quiet)
	return s.chunk.String()[from:]
}

// judge asks the rule at index n of s.view.rules about a call.
func (s *State) judge(n int, e event.Event, doubts []catalog.Doubt) finding {
	i, c := s.view.rules[n], &s.view.call
	r := s.policy.rules[i]
	if r.rate != nil {
		return s.judgeRate(n, e)
	}
	applies, undecided := r.applies(c)
	if !applies {
		return finding{}
	}
	switch {
	case r.doubts != nil:
		return r.judgeDoubts(c.Call, doubts)
	case r.strange != nil:
		return s.judgeStrange(r, e)
	case r.steps != nil:
		return s.order.judge(i, c, e)
	case r.declared, r.schema != nil:
		return s.judgeShape(r, c)
	case undecided != nil:
		return finding{fires: true, why: fmt.Sprintf("%s: %s", undecided, oneLine(r.where)), hint: "send arguments of the expected names and types"}
	case r.where != nil:
		f := finding{fires: true, why: "its condition holds: " + oneLine(r.where)}
		if r.where.AsksTrail() {
			s.explain(&f, c)
		}
		if r.where.AsksBaseline() {
			s.compare(&f, r, e)
		}
		return f
	}
	return finding{fires: true, why: "the policy names " + r.over()}
}

// explain puts who asks for the call, and where its values came from, in front of the reason.
func (*State) explain(f *finding, c *expr.Call) {
	if why, evidence := followed(c); why != "" {
		f.why, f.evidence = why+"; "+f.why, evidence
	}
	f.origins = origins(c)
}

// oneLine formats a condition for a sentence.
func oneLine(condition *expr.Program) string {
	return strings.Join(strings.Fields(condition.String()), " ")
}

func (s *State) judgeShape(r *rule, c *expr.Call) finding {
	schema := r.schema
	if r.declared {
		d, known := s.declared[catalog.Key{Server: c.Server, Tool: c.Call.Tool}]
		if !known {
			return finding{
				fires: true,
				why:   fmt.Sprintf("%s has not listed a tool %s, so its arguments cannot be checked", c.Server, c.Call.Tool),
				hint:  "the client has to call tools/list first",
			}
		}
		if d.schema == nil {
			return finding{fires: true, why: fmt.Sprintf("the arguments of %s cannot be checked: %s", c.Call.Tool, d.why)}
		}
		schema = d.schema
	}
	if path, ok := c.Truncated(); ok {
		return finding{fires: true, why: path + " is longer than the history keeps, so the arguments cannot be checked"}
	}
	args, ok := c.Document()
	if !ok {
		return finding{fires: true, why: "the arguments are no JSON object"}
	}
	if problem := schema.Check(args); problem != "" {
		return finding{fires: true, why: problem, hint: "correct the arguments"}
	}
	return finding{}
}

func (s *State) judgeRate(n int, e event.Event) finding {
	i, c := s.view.rules[n], &s.view.call
	w := s.windows[i]
	x := s.view.rate(n, w)
	switch {
	case !x.applies:
		return finding{}
	case x.err != nil:
		return finding{fires: true, why: x.err.Error(), hint: "send the argument"}
	case w.Full(e.At):
		return finding{fires: true, why: fmt.Sprintf("it already tracks %d calls and can count no more", rate.MaxEntries)}
	}
	q := question{
		state: s, rule: s.policy.rules[i], window: w, call: c, at: e.At, occurrence: x.occurrence,
		counted: s.continues(i, c.Call, e.At) || s.counts(i, e.Seq, e.At),
	}
	return q.answer()
}

// question is: may this call be added to what is in the window?
type question struct {
	occurrence
	state   *State
	rule    *rule
	window  *rate.Window
	call    *expr.Call
	at      event.Time
	counted bool // the call is in the window already, or continues one that is
}

func (q *question) answer() finding {
	switch spec := q.rule.rate; {
	case spec.limit != nil:
		return q.sum()
	case spec.distinct.String() != "":
		return q.distinct()
	case spec.inFlight:
		return q.inFlight()
	}
	return q.count()
}

// below notes how close the rule is, which does not fire: "refund-burst 2 of 3 …".
func (q *question) below(n, limit int, what, of string) finding {
	b := strconv.AppendInt(q.near(), int64(n), 10)
	b = strconv.AppendInt(append(b, " of "...), int64(limit), 10)
	q.state.quiet = append(append(b, what...), of...)
	return finding{}
}

// near begins the note of how close the rule is.
func (q *question) near() []byte {
	separator := ", "
	if len(q.state.quiet) == 0 {
		separator = ": "
	}
	return append(append(append(q.state.quiet, separator...), q.rule.name...), ' ')
}

func (q *question) count() finding {
	n, limit := q.window.Count(q.at, q.key), q.rule.rate.max
	if !q.counted {
		n++
	}
	if n <= limit {
		return q.below(n, limit, "", "")
	}
	f := finding{fires: true, evidence: q.evidence(), retry: q.free(limit)}
	f.why = fmt.Sprintf("%s call of %s in %s%s (limit %d)%s",
		ordinal(n), q.rule.over(), document.FormatDuration(q.rule.rate.per), q.by(), limit, after(f.evidence))
	f.hint = fmt.Sprintf("at most %d in %s", limit, document.FormatDuration(q.rule.rate.per))
	return f
}

func (q *question) inFlight() finding {
	n, limit := q.window.Count(q.at, q.key), q.rule.rate.max
	if q.counted || n < limit {
		return q.below(n, limit, " in flight", "")
	}
	f := finding{fires: true, evidence: q.evidence()}
	f.why = fmt.Sprintf("%d of %s still unanswered%s (limit %d)%s", n, q.rule.over(), q.by(), limit, after(f.evidence))
	f.hint = "wait for the answer of the call before"
	return f
}

func (q *question) sum() finding {
	spec := q.rule.rate
	sum := &q.state.sum
	q.window.Sum(q.at, q.key, sum)
	if !q.counted {
		rate.Add(sum, sum, q.entry.Amount)
	}
	if sum.Cmp(spec.limit) <= 0 {
		q.state.quiet = appendPlain(append(appendPlain(q.near(), sum), " of "...), spec.limit)
		return finding{}
	}
	f := finding{fires: true, evidence: q.evidence(), retry: q.freeSum()}
	f.why = fmt.Sprintf("%s %s makes the sum %s in %s%s (limit %s)%s", spec.sum, plain(q.entry.Amount), plain(sum),
		document.FormatDuration(spec.per), q.by(), plain(spec.limit), after(f.evidence))
	rate.Sub(sum, sum, q.entry.Amount)
	left := sum
	if rate.Sub(left, spec.limit, sum); left.Negative { // more was approved, or the policy was tightened
		left.SetInt64(0)
	}
	f.hint = fmt.Sprintf("at most %s in %s; %s is left", plain(spec.limit), document.FormatDuration(spec.per), plain(left))
	return f
}

func (q *question) distinct() finding {
	spec := q.rule.rate
	n, seen := q.window.Distinct(q.at, q.key, q.entry.Value)
	if q.entry.Value == "" || seen {
		return q.below(n, spec.max, " different ", spec.distinct.String())
	}
	if n++; n <= spec.max {
		return q.below(n, spec.max, " different ", spec.distinct.String())
	}
	f := finding{fires: true, evidence: q.evidence(), retry: q.freeDistinct()}
	f.why = fmt.Sprintf("%s different %s in %s%s (limit %d)%s", ordinal(n), spec.distinct,
		document.FormatDuration(spec.per), q.by(), spec.max, after(f.evidence))
	f.hint = fmt.Sprintf("at most %d different %s in %s; those already used are still allowed", spec.max, spec.distinct, document.FormatDuration(spec.per))
	return f
}

// evidence returns the newest calls in the window, oldest first.
func (q *question) evidence() []uint64 {
	var seqs []uint64
	for e := range q.window.Newest(q.at, q.key) {
		if seqs = append(seqs, e.Seq); len(seqs) == event.MaxEvidence {
			break
		}
	}
	slices.Reverse(seqs)
	return seqs
}

// maxWalk bounds how far back a denial looks for the moment when there is room again.
const maxWalk = 10_000

// free returns how long until fewer than limit calls are left in the window, 0 if waiting does not help.
func (q *question) free(limit int) time.Duration {
	n := 0
	for e := range q.window.Newest(q.at, q.key) {
		if n++; n == limit {
			return q.until(e)
		}
		if n == maxWalk {
			break
		}
	}
	return 0
}

// freeSum returns how long until the sum has room for the amount, 0 if it never has.
func (q *question) freeSum() time.Duration {
	total := new(apd.Decimal).Set(q.entry.Amount)
	n := 0
	for e := range q.window.Newest(q.at, q.key) {
		if e.Amount != nil {
			rate.Add(total, total, e.Amount)
		}
		if total.Cmp(q.rule.rate.limit) > 0 && q.entry.Amount.Cmp(q.rule.rate.limit) <= 0 {
			return q.until(e)
		}
		if n++; n == maxWalk {
			break
		}
	}
	return 0
}

// freeDistinct returns how long until there is room for one more value.
func (q *question) freeDistinct() time.Duration {
	values := map[string]bool{}
	n := 0
	for e := range q.window.Newest(q.at, q.key) {
		if e.Value != "" {
			values[e.Value] = true
		}
		if len(values) == q.rule.rate.max && q.rule.rate.max > 0 {
			return q.until(e)
		}
		if n++; n == maxWalk {
			break
		}
	}
	return 0
}

// until returns how long e stays in the window.
func (q *question) until(e rate.Entry) time.Duration {
	return e.At.Add(q.rule.rate.per).Sub(q.at)
}

// by formats the key: ` by session s3, args.order_id "ord_1"`.
func (q *question) by() string { return byText(q.rule.rate.by, q.call) }

func byText(by []byKey, c *expr.Call) string {
	if len(by) == 0 {
		return ""
	}
	parts := make([]string, len(by))
	for i, k := range by {
		text, err := k.text(c)
		if err != nil { // the key was built from the same parts
			text = "?"
		}
		if k.name == "" || k.name == "agent" {
			text = strconv.Quote(clip(text))
		}
		parts[i] = k.String() + " " + text
	}
	return " by " + strings.Join(parts, ", ")
}

// after formats evidence: ", after #41 #42 #43".
func after(seqs []uint64) string {
	if len(seqs) == 0 {
		return ""
	}
	const shown = 5
	var b strings.Builder
	b.WriteString(", after")
	if more := len(seqs) - shown; more > 0 {
		b.WriteString(" …")
		seqs = seqs[more:]
	}
	for _, seq := range seqs {
		fmt.Fprintf(&b, " #%d", seq)
	}
	return b.String()
}

// plain formats d without exponent and needless zeros.
func plain(d *apd.Decimal) string { return string(appendPlain(nil, d)) }

func appendPlain(to []byte, d *apd.Decimal) []byte {
	from := len(to)
	if to = d.Append(to, 'f'); bytes.IndexByte(to[from:], '.') >= 0 {
		to = bytes.TrimRight(bytes.TrimRight(to, "0"), ".")
	}
	return to
}

// clip shortens what came from a call for a sentence.
func clip(s string) string {
	const longest = 60
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}
