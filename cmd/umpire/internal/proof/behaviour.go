// Package proof measures how well a baseline tells changed behaviour from honest behaviour, beside simpler methods that learn
// from the same history and see the same calls.
//
// Behaviour is made by seeded generators, the same for every method and made without asking any of them, or it is read: from
// labelled sessions, or from a user's own history.
package proof

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// step is one call and what comes back.
type step struct {
	server, tool string
	args         map[string]any
	fails        bool
	bytes        int           // of the result
	after        time.Duration // the step before began, or the session
	strange      bool          // it is part of a change
}

func (s *step) name() string { return s.server + "/" + s.tool }

// copied returns the step with arguments of its own.
func (s step) copied() step {
	s.args = maps.Clone(s.args)
	return s
}

// session is what an agent does in one go.
type session struct {
	agent, id string
	at        time.Time
	steps     []step
}

// copied returns the session with steps of its own.
func (s session) copied() session {
	steps := make([]step, len(s.steps))
	for i := range s.steps {
		steps[i] = s.steps[i].copied()
	}
	s.steps = steps
	return s
}

// calls returns the number of steps of all sessions.
func calls(sessions []session) (n int) {
	for i := range sessions {
		n += len(sessions[i].steps)
	}
	return n
}

// past is a history as a log has it, and which of its calls are strange.
type past struct {
	events  []event.Event
	strange map[uint64]bool // by Seq
}

// from is a baseline.History.
func (p *past) from(seq uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range p.events[min(seq-1, uint64(len(p.events))):] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// record lets sessions happen, each at its time, be it that others go on meanwhile. Everything passes.
func record(sessions []session) *past {
	type moment struct {
		at      time.Time
		session *session
		step    *step
		result  bool
	}
	var moments []moment
	for i := range sessions {
		s := &sessions[i]
		at := s.at
		for k := range s.steps {
			x := &s.steps[k]
			at = at.Add(x.after)
			moments = append(moments, moment{at, s, x, false}, moment{at.Add(5*time.Millisecond + time.Duration(x.bytes)*10*time.Microsecond), s, x, true})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	p := &past{strange: map[uint64]bool{}, events: make([]event.Event, 0, len(moments)*3/2)}
	add := func(m *moment, cause uint64, b event.Body) uint64 {
		seq := uint64(len(p.events) + 1)
		p.events = append(p.events, event.Event{V: event.Version, Seq: seq, At: event.At(m.at), Session: m.session.id, Cause: cause, Body: b})
		return seq
	}
	asked := map[*step]uint64{}
	for i := range moments {
		m := &moments[i]
		x := m.step
		if m.result {
			r := &event.Result{Server: x.server, Tool: x.tool, Outcome: event.OutcomeOK, Size: x.bytes}
			if x.fails {
				r.Outcome = event.OutcomeFailed
			}
			add(m, asked[x], r)
			continue
		}
		args, err := json.Marshal(x.args)
		if err != nil {
			panic(err) // what was made here, or read from JSON
		}
		seq := add(m, 0, &event.Call{Link: "proof", Server: x.server, Tool: x.tool, Args: args, Size: len(args), Peer: event.Peer{Principal: "local:proof", Agent: m.session.agent}})
		asked[x], p.strange[seq] = seq, x.strange
		add(m, seq, &event.Verdict{Action: event.Allow})
	}
	return p
}

// chance is a source of chance that is the same for the same seed and names, whatever else is made.
func chance(seed uint64, names ...any) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, c := range []byte(fmt.Sprint(names...)) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h)) //nolint:gosec // it is to be the same every time
}

// pause is a time that somebody takes who thinks: half of them are shorter than the middle one, and some are much longer.
func pause(r *rand.Rand, middle time.Duration) time.Duration {
	return time.Duration(float64(middle) * math.Exp(0.9*r.NormFloat64()))
}

// several is how often something happens that happens so often on average (Poisson).
func several(r *rand.Rand, mean float64) (n int) {
	for p := r.Float64(); p > math.Exp(-mean); n++ {
		p *= r.Float64()
	}
	return n
}

// between returns a number from low to high.
func between(r *rand.Rand, low, high int) int { return low + r.IntN(high-low+1) }

// one returns one of a list.
func one[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
