package baseline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// stream remembers what passed, and waits for what it comes back with. Fields have names for snapshots.
type stream struct {
	Tracker tracker
	Open    map[uint64]open // calls that passed and have no result
}

// open is a call that passed.
type open struct {
	Agent, Session, Tool string
	Day                  int64
	Honest               bool
}

// whole reports what is missing after it was read.
func (s *stream) whole() error {
	if s.Tracker.Agents == nil || s.Open == nil {
		return errors.New("baseline: nothing is said of agents")
	}
	for name, a := range s.Tracker.Agents {
		if a == nil || a.Tools == nil {
			return fmt.Errorf("baseline: nothing is said of agent %q", name)
		}
		for _, t := range a.Tools {
			if t == nil || t.Serial == nil {
				return fmt.Errorf("baseline: nothing is said of a tool of %q", name)
			}
			for _, r := range t.Serial {
				if r == nil {
					return fmt.Errorf("baseline: a run of %q is missing", name)
				}
			}
		}
		for _, x := range a.Sessions {
			if x == nil || x.Tools == nil || x.Seen == nil || x.Distinct == nil {
				return fmt.Errorf("baseline: a session of %q is missing", name)
			}
			for _, t := range x.Tools {
				if t == nil {
					return fmt.Errorf("baseline: a tool of a session of %q is missing", name)
				}
			}
		}
	}
	return nil
}

// maxOpen bounds the calls whose results are waited for.
const maxOpen = 10_000

func newStream() *stream {
	return &stream{Tracker: tracker{Agents: map[string]*agentTrack{}}, Open: map[uint64]open{}}
}

// Untold begins why a rule matches that asks how strange a call is, where nobody can tell: the rule has nothing against the call.
const Untold = "nobody can tell how strange it is: "

// Honest reports whether a call that passed may teach: no rule had anything to say about it, be it observed, or a person has
// approved it. That one which is observed cannot tell how strange the call is, is nothing: else none would ever be learned.
func Honest(v *event.Verdict) bool {
	objects := func(m event.Match) bool { return !m.Observed || !strings.HasPrefix(m.Why, Untold) }
	return v.Action == event.Allow && (v.After != 0 || !slices.ContainsFunc(v.Also, objects))
}

// pass adds the call of the given Seq, at which l looks: it passes.
func (s *stream) pass(call uint64, l *look, honest bool) {
	s.Tracker.pass(l)
	if day := dayOf(l.at); len(s.Open) < maxOpen || s.forget(day) {
		s.Open[call] = open{Agent: l.agent, Session: l.session, Tool: l.tool, Day: day, Honest: honest}
	}
}

// forget forgets calls whose results would come too late; it reports whether there were any.
func (s *stream) forget(day int64) bool {
	n := len(s.Open)
	for seq, o := range s.Open {
		if o.Day < day {
			delete(s.Open, seq)
		}
	}
	return len(s.Open) < n
}

// result adds the answer to a call that passed; ok is false if nobody waits for it.
func (s *stream) result(e event.Event, r *event.Result) (o open, ok bool) {
	o, ok = s.Open[e.Cause]
	if !ok || o.Day < dayOf(e.At)-1 {
		delete(s.Open, e.Cause)
		return o, false
	}
	if r.Outcome != event.OutcomeStarted {
		delete(s.Open, e.Cause)
	}
	s.Tracker.result(o.Agent, o.Session, o.Tool, e.At, r)
	return o, true
}

// calls finds the call that a verdict is about. Its zero value knows of none.
type calls struct {
	judging event.Event            // the call whose first verdict comes next
	held    map[uint64]event.Event // calls that wait for a person
}

// call notes the call in e. One that was only seen is nobody's habit: nobody has judged it.
func (c *calls) call(e event.Event, b *event.Call) {
	if c.judging = e; b.Seen {
		c.judging = event.Event{}
	}
}

// settled returns the call about which the verdict in e is the last one, and whether it passes; one without body if it waits, or
// is not known.
func (c *calls) settled(e event.Event, v *event.Verdict) (call event.Event, passes bool) {
	call = c.judging
	c.judging = event.Event{}
	if v.After != 0 {
		call = c.held[e.Cause]
		delete(c.held, e.Cause)
	}
	switch {
	case call.Body == nil || call.Seq != e.Cause: // retention has removed it
		return event.Event{}, false
	case v.Action == event.Hold:
		if c.held == nil {
			c.held = map[uint64]event.Event{}
		}
		c.held[e.Cause] = call
		return event.Event{}, false
	}
	return call, v.Action.Passes()
}
