package console

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of a Tally: of each, the newest are kept.
const (
	maxMinutes = 20_000 // in which something was judged
	maxWaiting = 20_000 // calls whose answer has not come
	maxNotable = 100
	maxRules   = 2_000 // names of rules, of all policies that were in force
)

// Tally counts what became of calls, minute by minute, for charts. It decides nothing and can be made again from the
// history at any time. Its methods may be called by anyone at any time.
type Tally struct {
	mu      sync.Mutex
	minutes []*minute // oldest first
	dropped event.Time
	seq     uint64
	judging map[uint64]Notable    // calls about which more will be said
	passed  map[uint64]event.Time // when calls went to their servers, which have not answered
	order   []uint64              // of both, oldest first
	rules   map[string]bool
	notable []Notable // oldest first
	backwards
}

// minute is what happened in one.
type minute struct {
	at     int64 // minutes since the epoch
	counts Counts
	rules  map[string]*RuleCounts
	took   map[uint8]uint32 // how many answers took so long, see span
}

// Counts is what became of calls.
type Counts struct {
	Calls  int `json:"calls"`  // that were judged
	Denied int `json:"denied"` // in the end
	Held   int `json:"held"`   // for a person, whatever became of them
	Noted  int `json:"noted"`  // that passed with a note
	Failed int `json:"failed"` // that passed and failed
}

// RuleCounts is how often a rule matched, by what it did.
type RuleCounts struct {
	Denied   int `json:"denied"`
	Held     int `json:"held"`
	Noted    int `json:"noted"`
	Observed int `json:"observed"` // what it would have done, in observe mode
	Also     int `json:"also"`     // it matched, and another rule decided
	Near     int `json:"near"`     // it did not match, but came near: see rules.Standing
}

// Notable is a verdict that somebody may want to look at.
type Notable struct {
	Call    uint64       `json:"call"`
	At      event.Time   `json:"at"`
	Session string       `json:"session"`
	Server  string       `json:"server"`
	Tool    string       `json:"tool"`
	Agent   string       `json:"agent"`
	Action  event.Action `json:"action"`
	Rule    string       `json:"rule"`
	Why     string       `json:"why"`

	seq uint64 // of the verdict
}

// NewTally returns an empty Tally.
func NewTally() *Tally {
	return &Tally{judging: map[uint64]Notable{}, passed: map[uint64]event.Time{}, rules: map[string]bool{}}
}

// Begin says that what happened before at is not counted.
func (t *Tally) Begin(at event.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = at
}

// Kinds are the JSON keys of the bodies that a Tally looks at; events of others may come without their Body.
var Kinds = []string{`"call":{`, `"verdict":{`, `"result":{`}

// Add counts an event. Events come in order, some may be missing.
func (t *Tally) Add(e event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq = e.Seq
	switch b := e.Body.(type) {
	case *event.Call:
		if !b.Seen {
			t.remember(Notable{Call: e.Seq, Session: e.Session, Server: b.Server, Tool: b.Tool, Agent: b.Agent})
		}
	case *event.Verdict:
		t.verdict(e, b)
	case *event.Result:
		at, ok := t.passed[e.Cause]
		switch {
		case b.Outcome == event.OutcomeStarted || b.Outcome == event.OutcomeInput:
		case ok:
			delete(t.passed, e.Cause)
			t.minute(e.At).answered(answer{e.At, b.Outcome}, at)
		case e.Cause < t.start: // its call may still be reached
			t.minute(e.At)
			t.answeredBefore(e, b, false)
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
	}
}

// Near notes that an event came near to rules, at its time. Who counts near-misses has a Tally for them alone: to find them,
// the history has to be folded, and counts of everything else need not wait for that.
func (t *Tally) Near(e event.Event, rules []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq = e.Seq
	for _, name := range rules {
		if r := t.rule(t.minute(e.At), name); r != nil {
			r.Near++
		}
	}
}

// answer is the result of a call.
type answer struct {
	at      event.Time
	outcome event.Outcome
}

// answered counts the answer to a call that has passed at the given time.
func (m *minute) answered(a answer, passed event.Time) {
	if a.outcome.Failed() {
		m.counts.Failed++
	}
	if a.outcome != event.OutcomeLost {
		m.took[span(a.at.Sub(passed))]++
	}
}

// remember keeps a call until it is answered, or denied, or others need the room.
func (t *Tally) remember(call Notable) {
	t.judging[call.Call] = call
	t.wait(call.Call)
}

// wait notes that a call is remembered.
func (t *Tally) wait(call uint64) {
	if t.order = append(t.order, call); len(t.order) > maxWaiting {
		delete(t.judging, t.order[0])
		delete(t.passed, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *Tally) verdict(e event.Event, v *event.Verdict) {
	t.judged(t.minute(e.At), v)
	call, known := t.judging[e.Cause]
	if !known && e.Cause >= t.start {
		return
	}
	if v.Action.Passes() {
		t.passed[e.Cause] = e.At
	}
	if !known { // it may still be reached
		t.wait(e.Cause)
		t.noteBefore(e, v)
		return
	}
	if v.Action != event.Hold {
		delete(t.judging, e.Cause)
	}
	if notable(v) {
		t.notable = append(t.notable, call.judged(e, v))
		t.notable = t.notable[max(0, len(t.notable)-maxNotable):]
	}
}

// notable reports whether somebody may want to look at a verdict.
func notable(v *event.Verdict) bool { return v.Action != event.Allow || v.After != 0 }

// judged returns the call with what became of it.
func (n Notable) judged(e event.Event, v *event.Verdict) Notable {
	n.At, n.Action, n.Rule, n.Why, n.seq = e.At, v.Action, v.Rule, v.Why, e.Seq
	return n
}

// judged counts a verdict in its minute.
func (t *Tally) judged(m *minute, v *event.Verdict) {
	if v.After == 0 {
		m.counts.Calls++
	}
	switch v.Action {
	case event.Deny:
		m.counts.Denied++
	case event.Hold:
		m.counts.Held++
	case event.Log:
		m.counts.Noted++
	case event.Allow:
	}
	if v.Rule != "" {
		if r := t.rule(m, v.Rule); r != nil {
			r.count(v.Action)
		}
	}
	for _, also := range v.Also {
		switch r := t.rule(m, also.Rule); {
		case r == nil, v.After != 0: // it was counted when the call was held
		case also.Observed:
			r.Observed++
		default:
			r.Also++
		}
	}
}

func (r *RuleCounts) count(a event.Action) {
	switch a {
	case event.Deny:
		r.Denied++
	case event.Hold:
		r.Held++
	case event.Log:
		r.Noted++
	case event.Allow:
	}
}

func (r *RuleCounts) add(o *RuleCounts) {
	r.Denied += o.Denied
	r.Held += o.Held
	r.Noted += o.Noted
	r.Observed += o.Observed
	r.Also += o.Also
	r.Near += o.Near
}

// total is how often the rule matched.
func (r *RuleCounts) total() int { return r.Denied + r.Held + r.Noted + r.Observed + r.Also }

// rule returns what m counts of a rule; nil if there are too many rules.
func (t *Tally) rule(m *minute, name string) *RuleCounts {
	if !t.rules[name] {
		if len(t.rules) >= maxRules {
			return nil
		}
		t.rules[name] = true
	}
	r := m.rules[name]
	if r == nil {
		r = &RuleCounts{}
		m.rules[name] = r
	}
	return r
}

// minute returns the newest minute, which is that of at: time never runs back.
func (t *Tally) minute(at event.Time) *minute {
	n := int64(at) / int64(time.Minute)
	if len(t.minutes) > 0 && t.minutes[len(t.minutes)-1].at >= n {
		return t.minutes[len(t.minutes)-1]
	}
	m := newMinute(n)
	t.minutes = append(t.minutes, m)
	switch {
	case len(t.minutes)+len(t.older) <= maxMinutes:
	case len(t.older) > 0:
		n := len(t.older) - 1
		t.dropped = event.Time((t.older[n].at + 1) * int64(time.Minute))
		t.older[n], t.older = nil, t.older[:n]
	default:
		t.dropped = event.Time(t.minutes[1].at * int64(time.Minute))
		t.minutes[0], t.minutes = nil, t.minutes[1:]
	}
	return m
}

func newMinute(n int64) *minute {
	return &minute{at: n, rules: map[string]*RuleCounts{}, took: map[uint8]uint32{}}
}

// span is the class of a duration: four to each doubling, from 1 µs on.
func span(d time.Duration) uint8 {
	us := uint64(max(d/time.Microsecond, 1))
	n := bits.Len64(us) - 1
	quarter := uint64(0)
	if n >= 2 {
		quarter = us >> (n - 2) & 3
	}
	return uint8(4*n) + uint8(quarter)
}

// millis is the middle of a span, in milliseconds.
func millis(s uint8) float64 {
	n, quarter := s/4, float64(s%4)
	return float64(uint64(1)<<n) * (1 + (quarter+0.5)/4) / 1000
}

// Chart is a Tally over some time, in steps of equal length.
type Chart struct {
	Begin   event.Time             `json:"begin"` // of the first step
	Step    int                    `json:"step"`  // in seconds
	Steps   []Step                 `json:"steps"`
	Total   Counts                 `json:"total"`
	P50     float64                `json:"p50"` // milliseconds from the verdict to the answer
	P95     float64                `json:"p95"`
	Rules   map[string]*RuleCounts `json:"rules"`
	Hits    map[string][]int       `json:"hits"`            // of each rule in each step, whatever it did
	Near    map[string][]int       `json:"near,omitempty"`  // how often calls came near to each rule in each step
	Notable []Notable              `json:"notable"`         // the newest first, at whatever time
	Seq     uint64                 `json:"seq"`             // up to which the history is counted
	Since   *event.Time            `json:"since,omitempty"` // what was before is not counted, or not yet
	Counts  bool                   `json:"counting"`        // what was before Since will be, soon
	NearSeq uint64                 `json:"near_seq"`        // up to which near-misses are counted
}

// Step is one step of a Chart.
type Step struct {
	Counts
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// Chart returns the n steps of the given length, a whole number of minutes, that end with the one in which now is.
func (t *Tally) Chart(now event.Time, step time.Duration, n int) Chart {
	t.mu.Lock()
	defer t.mu.Unlock()
	per := int64(step / time.Minute)
	last := int64(now) / int64(time.Minute) / per
	first := (last - int64(n) + 1) * per // in minutes
	c := Chart{
		Begin: event.Time(first * int64(time.Minute)), Step: int(step / time.Second), Steps: make([]Step, n),
		Rules: map[string]*RuleCounts{}, Hits: map[string][]int{}, Near: map[string][]int{}, Seq: t.seq, Counts: t.past != nil,
	}
	notable := append(slices.Clone(t.noted), t.notable...)
	slices.SortFunc(notable, func(a, b Notable) int { return cmp.Compare(a.seq, b.seq) })
	c.Notable = append([]Notable{}, notable[max(0, len(notable)-maxNotable):]...)
	slices.Reverse(c.Notable)
	if dropped := t.dropped; dropped > c.Begin {
		c.Since = &dropped
	}
	all, took := map[uint8]uint32{}, make([]map[uint8]uint32, n)
	begin := sort.Search(len(t.minutes), func(i int) bool { return t.minutes[i].at >= first })
	end := sort.Search(len(t.older), func(i int) bool { return t.older[i].at < first })
	for _, m := range slices.Concat(t.older[:end], t.minutes[begin:]) {
		i := int((m.at - first) / per)
		if i >= n {
			continue // of a clock that was set back
		}
		c.Steps[i].add(m.counts)
		c.Total.add(m.counts)
		for name, r := range m.rules {
			if c.Rules[name] == nil {
				c.Rules[name], c.Hits[name], c.Near[name] = &RuleCounts{}, make([]int, n), make([]int, n)
			}
			c.Rules[name].add(r)
			c.Hits[name][i] += r.total()
			c.Near[name][i] += r.Near
		}
		if took[i] == nil {
			took[i] = map[uint8]uint32{}
		}
		for s, count := range m.took {
			took[i][s] += count
			all[s] += count
		}
	}
	for i := range c.Steps {
		c.Steps[i].P50, c.Steps[i].P95 = quantile(took[i], 50), quantile(took[i], 95)
	}
	c.P50, c.P95 = quantile(all, 50), quantile(all, 95)
	return c
}

// AddNear takes the near-misses of another Chart of the same steps over.
func (c *Chart) AddNear(o Chart) {
	c.Near, c.NearSeq = o.Near, o.Seq
	for name, r := range o.Rules {
		if c.Rules[name] == nil {
			c.Rules[name], c.Hits[name] = &RuleCounts{}, make([]int, len(c.Steps))
		}
		c.Rules[name].Near = r.Near
	}
}

func (c *Counts) add(o Counts) {
	c.Calls += o.Calls
	c.Denied += o.Denied
	c.Held += o.Held
	c.Noted += o.Noted
	c.Failed += o.Failed
}

// quantile returns how many milliseconds so many percent of answers took at most, give or take an eighth; 0 if there are none.
func quantile(took map[uint8]uint32, percent uint64) float64 {
	total := uint64(0)
	for _, n := range took {
		total += uint64(n)
	}
	seen := uint64(0)
	for _, s := range slices.Sorted(maps.Keys(took)) {
		if seen += uint64(took[s]); seen*100 >= total*percent {
			return millis(s)
		}
	}
	return 0
}
