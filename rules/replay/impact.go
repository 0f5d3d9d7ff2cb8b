package replay

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Group is the calls of one tool with which the same rule makes the same difference.
type Group struct {
	Change
	Server, Tool string // empty if there are more than maxGroups groups, and for all that do not fit
}

// maxGroups bounds the groups: agents choose the names of tools.
const maxGroups = 10_000

// Stopped counts calls that passed and would not, by what is known to have become of them. Each is in one of the last five.
type Stopped struct {
	Calls     int `json:"calls"`
	Approved  int `json:"approved"`  // by a person
	Succeeded int `json:"succeeded"` // and no rule had anything to say about them, not even one that is only observed
	Noted     int `json:"noted"`     // they succeeded, and a rule had noted them
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"` // no answer is recorded, or none that says what happened
}

// Honest are those that were in order, as far as anybody can tell: a person said so, or they succeeded and nobody and
// nothing complained.
func (s Stopped) Honest() int { return s.Approved + s.Succeeded }

// Known are those of which it is known what became of them.
func (s Stopped) Known() int { return s.Calls - s.Unknown }

// Released counts calls that did not pass and would, by who stopped them.
type Released struct {
	Calls     int `json:"calls"`
	Denied    int `json:"denied"`    // by a rule
	Refused   int `json:"refused"`   // by a person
	Undecided int `json:"undecided"` // they were held, and nobody decided
}

// Sum is what a group adds up to.
type Sum struct {
	Calls    int
	Sessions map[string]struct{}
	Amounts  map[string]*apd.Decimal // by path: what rules sum of the arguments
	Stopped  Stopped
	Released Released
}

// Impact counts what a candidate would change. It takes the judgements of a Trial and the events of the history in the order
// in which they come. Its zero value has counted nothing.
type Impact struct {
	Totals
	Groups   map[Group]*Sum
	Stopped  Stopped
	Released Released
	Leaning  int            // stopped calls that lean on others, see Judgement.Leans
	Honest   int            // calls that were in order, whatever is made of them now; see Stopped.Honest
	Sessions map[string]int // of the calls that were counted -> how many of its calls would be stopped
	Stricter int            // calls with which something stricter is done than was
	Looser   int

	Keep        int // so many FalseAlarms are kept
	FalseAlarms []Judgement

	open map[uint64]passed // calls that passed, and of which it is not known yet what became of them
}

// passed is a call that passed. What it counts under is nil if it would pass again.
type passed struct {
	quiet bool // no rule had anything to say about it
	sum   *Sum
	one   Judgement // if it may be kept
}

// Judge counts a judgement. Amounts are the arguments of its call that rules sum, if something else is done with it.
func (i *Impact) Judge(j Judgement, amounts []rules.Amount) {
	if i.Sessions == nil {
		i.Groups, i.Sessions, i.open = map[Group]*Sum{}, map[string]int{}, map[uint64]passed{}
	}
	i.Add(j)
	i.Sessions[j.Call.Session] += 0
	var sum *Sum
	if j.Replayed.Action != j.Recorded.Action {
		if j.Replayed.Action < j.Recorded.Action {
			i.Stricter++
		} else {
			i.Looser++
		}
		sum = i.group(j)
		sum.add(j, amounts)
	}
	switch {
	case j.Releases():
		i.Released.add(j)
		sum.Released.add(j)
		return
	case !j.Recorded.Action.Passes():
		return
	case j.Stops():
		i.Sessions[j.Call.Session]++
		i.Stopped.Calls++
		sum.Stopped.Calls++
		if j.Leans {
			i.Leaning++
		}
	default:
		sum = nil
	}
	p := passed{quiet: j.Recorded.Action == event.Allow && len(j.Recorded.Also) == 0, sum: sum}
	if sum != nil && len(i.FalseAlarms) < i.Keep {
		p.one = j
	}
	if r, ok := j.End.(*event.Review); ok && r.Approve {
		i.end(p, func(s *Stopped) { s.Approved++ }, true)
		return
	}
	i.Stopped.unknown(p, 1)
	i.open[j.Call.Seq] = p
}

// Happened takes what became of calls.
func (i *Impact) Happened(e event.Event) {
	r, ok := e.Body.(*event.Result)
	if !ok || r.Outcome == event.OutcomeInput || r.Outcome == event.OutcomeStarted {
		return
	}
	for _, seq := range []uint64{e.Cause, r.Root} {
		p, ok := i.open[seq]
		if !ok {
			continue
		}
		delete(i.open, seq)
		switch {
		case r.Outcome == event.OutcomeOK && p.quiet:
			i.Stopped.unknown(p, -1)
			i.end(p, func(s *Stopped) { s.Succeeded++ }, true)
		case r.Outcome == event.OutcomeOK:
			i.Stopped.unknown(p, -1)
			i.end(p, func(s *Stopped) { s.Noted++ }, false)
		case r.Outcome.Failed():
			i.Stopped.unknown(p, -1)
			i.end(p, func(s *Stopped) { s.Failed++ }, false)
		}
	}
}

// unknown notes how many more calls there are of which nothing is known, if p would be stopped.
func (s *Stopped) unknown(p passed, n int) {
	if p.sum != nil {
		s.Unknown += n
		p.sum.Stopped.Unknown += n
	}
}

// end notes what became of a call.
func (i *Impact) end(p passed, count func(*Stopped), honest bool) {
	if honest {
		i.Honest++
	}
	if p.sum == nil {
		return
	}
	count(&i.Stopped)
	count(&p.sum.Stopped)
	if honest && p.one.Call.Body != nil && len(i.FalseAlarms) < i.Keep {
		i.FalseAlarms = append(i.FalseAlarms, p.one)
	}
}

func (i *Impact) group(j Judgement) *Sum {
	call := j.Call.Body.(*event.Call)
	g := Group{changeOf(j), call.Server, call.Tool}
	if i.Groups[g] == nil && len(i.Groups) >= maxGroups {
		g.Server, g.Tool = "", ""
	}
	if i.Groups[g] == nil {
		i.Groups[g] = &Sum{Sessions: map[string]struct{}{}, Amounts: map[string]*apd.Decimal{}}
	}
	return i.Groups[g]
}

func (s *Sum) add(j Judgement, amounts []rules.Amount) {
	s.Calls++
	s.Sessions[j.Call.Session] = struct{}{}
	for _, a := range amounts {
		if s.Amounts[a.Path] == nil {
			s.Amounts[a.Path] = new(apd.Decimal)
		}
		rules.AddAmount(s.Amounts[a.Path], a.Value)
	}
}

func (r *Released) add(j Judgement) {
	r.Calls++
	switch j.End.(type) {
	case nil:
		r.Denied++
	case *event.Review:
		if j.End.(*event.Review).Approve { // and a rule denied it all the same
			r.Denied++
		} else {
			r.Refused++
		}
	default:
		r.Undecided++
	}
}

// Hit returns the sessions of which calls would be stopped, the one with the most first.
func (i *Impact) Hit() []string {
	hit := slices.DeleteFunc(slices.Collect(maps.Keys(i.Sessions)), func(s string) bool { return i.Sessions[s] == 0 })
	slices.SortFunc(hit, func(a, b string) int {
		return cmp.Or(cmp.Compare(i.Sessions[b], i.Sessions[a]), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return hit
}
