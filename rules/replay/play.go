package replay

import (
	"fmt"
	"iter"
	"slices"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Moment is an event of a session, and how the rules stood when it had happened.
type Moment struct {
	Event event.Event
	// Standings say how rules stand to Event, or to the call that it is about: to a call as they judged it, to everything
	// else as it is afterwards.
	Standings []rules.Standing
	// Earlier say how rules stand afterwards that earlier events of the session concern and this one does not, by the newest
	// of these events for which the rule remembers something; at most maxEarlier.
	Earlier []rules.Standing
}

// The bounds of what is looked for in what was before a moment.
const (
	maxEarlier = 20
	maxTries   = 3 // events of a rule
)

// Before folds a history up to the event before, which is left out, under the policy that was in force then.
func Before(history History, before uint64) (*rules.State, error) {
	var loaded event.Event
	for e, err := range history(1) {
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if e.Seq >= before {
			break
		}
		if _, ok := e.Body.(*event.Loaded); ok {
			loaded = e
		}
	}
	l, ok := loaded.Body.(*event.Loaded)
	if !ok {
		return nil, fmt.Errorf("replay: no policy was loaded before event %d", before)
	}
	p, err := compile(map[string]*rules.Policy{}, l)
	if err != nil {
		return nil, fmt.Errorf("replay: the policy of event %d: %w", loaded.Seq, err)
	}
	return Fold(p, history, before)
}

// Fold returns the State under p of what happened before an event.
func Fold(p *rules.Policy, history History, before uint64) (*rules.State, error) {
	s := rules.NewState(p)
	for e, err := range history(1) {
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if e.Seq >= before {
			break
		}
		s.Apply(e)
	}
	return s, nil
}

// Play steps through a session: it yields its events from first to last, each with how the rules stood then. S is the State
// before first, and belongs to Play from now on. Events of other sessions in between count, as they did. When another policy
// comes into force, everything before that is folded once more.
func Play(s *rules.State, history History, session string, first, last uint64) iter.Seq2[Moment, error] {
	return func(yield func(Moment, error) bool) {
		p := NewPlayer(s, session, func(p *rules.Policy, before uint64) (*rules.State, error) { return Fold(p, history, before) })
		for e, err := range history(first) {
			if err != nil {
				yield(Moment{}, fmt.Errorf("replay: %w", err))
				return
			}
			if e.Seq > last {
				return
			}
			m, err := p.Add(e)
			if err != nil {
				yield(Moment{}, err)
				return
			}
			if e.Session == session && !yield(m, nil) {
				return
			}
		}
	}
}

// Player steps through a session, for who has the events.
type Player struct {
	state    *rules.State
	session  string
	fold     func(*rules.Policy, uint64) (*rules.State, error)
	policies map[string]*rules.Policy
	calls    map[uint64]event.Event // of the session, about which more can happen
	order    []uint64               // of calls
	concern  []concern              // by the newest event
}

// NewPlayer returns a Player of a session. S is the State before the first event that it gets, and belongs to it from now
// on. Fold returns the State of what happened before an event under another policy, when that comes into force.
func NewPlayer(s *rules.State, session string, fold func(p *rules.Policy, before uint64) (*rules.State, error)) *Player {
	return &Player{state: s, session: session, fold: fold, calls: map[uint64]event.Event{}, policies: map[string]*rules.Policy{}}
}

// concern is a rule and the newest events of the session that concern it, the newest first.
type concern struct {
	rule   string
	events []event.Event
}

// maxOpen bounds the calls of a session that are remembered: what is said of one that is older is shown without.
const maxOpen = 10_000

// Add takes the next event, of whatever session. For one of another session nothing is said.
func (p *Player) Add(e event.Event) (m Moment, err error) {
	m.Event = e
	var before []rules.Standing
	if _, ok := e.Body.(*event.Call); ok && e.Session == p.session {
		before = p.state.Standings(e, e.At)
	}
	if err := p.Skip(e); err != nil || e.Session != p.session {
		return m, err
	}
	switch b := e.Body.(type) {
	case *event.Call:
		m.Standings = before
	case *event.Turn, *event.Signal:
		m.Standings = p.state.Standings(e, e.At)
	case *event.Verdict, *event.Review, *event.Expired, *event.Result:
		call := e.Cause
		if r, ok := b.(*event.Result); ok && r.Root != 0 {
			call = r.Root
		}
		if about := p.calls[call]; about.Body != nil {
			m.Standings = p.state.Standings(about, e.At)
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Closed:
	}
	m.Earlier = p.earlier(m.Standings, e.At)
	return m, nil
}

// Skip takes the next event, of which nothing has to be said.
func (p *Player) Skip(e event.Event) error {
	if l, ok := e.Body.(*event.Loaded); ok {
		policy, err := compile(p.policies, l)
		if err == nil && policy.Digest() != p.state.Policy().Digest() {
			p.state, err = p.fold(policy, e.Seq)
			p.concern = nil
		}
		if err != nil {
			return fmt.Errorf("replay: the policy of event %d: %w", e.Seq, err)
		}
	}
	p.state.Apply(e)
	if e.Session != p.session {
		return nil
	}
	switch e.Body.(type) {
	case *event.Call:
		p.open(e)
		p.note(e)
	case *event.Turn, *event.Signal:
		p.note(e)
	default:
	}
	return nil
}

// open remembers a call.
func (p *Player) open(e event.Event) {
	p.calls[e.Seq] = e
	if p.order = append(p.order, e.Seq); len(p.order) > maxOpen {
		delete(p.calls, p.order[0])
		p.order = p.order[1:]
	}
}

// note remembers which rules an event concerns.
func (p *Player) note(e event.Event) {
	for _, rule := range slices.Backward(p.state.Concerns(e)) {
		c := concern{rule: rule}
		if i := slices.IndexFunc(p.concern, func(c concern) bool { return c.rule == rule }); i >= 0 {
			c = p.concern[i]
			p.concern = slices.Delete(p.concern, i, i+1)
		}
		c.events = append([]event.Event{e}, c.events[:min(len(c.events), maxTries-1)]...)
		p.concern = append([]concern{c}, p.concern[:min(len(p.concern), 2*maxEarlier-1)]...)
	}
}

// earlier says how rules stand now that have not been spoken of.
func (p *Player) earlier(but []rules.Standing, at event.Time) (out []rules.Standing) {
	for _, c := range p.concern {
		if len(out) == maxEarlier || slices.ContainsFunc(but, func(s rules.Standing) bool { return s.Cover.Rule == c.rule }) {
			continue
		}
		for _, e := range c.events {
			s := p.state.Standings(e, at, c.rule)
			if len(s) == 1 && s[0].Remembers() {
				s[0].Fires, s[0].Near, s[0].Why, s[0].Parts = false, false, "", nil // that was then
				out = append(out, s[0])
				break
			}
		}
	}
	return out
}
