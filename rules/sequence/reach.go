package sequence

import (
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// Reach is how far a pattern is matched: the events that were chosen for its first steps.
type Reach[T any] struct {
	Steps [][]Entry[T] // of each step that is matched, from the first one on
	// Next is how many events fit the step behind them, which takes more than that.
	Next    int
	Unknown bool // there were too many events, or too many ways to choose, to tell; Steps is what was found
}

// Reach finds the longest beginning of the pattern that events under key match at the given time, without the call that
// is judged; of many, one whose first event is among the newest. If last is not nil, all steps have to be matched, and the
// newest event has to be one of which last is true; else nothing is.
func (w *Window[T]) Reach(at event.Time, key string, holds Holds[T], last func(*Entry[T]) bool) Reach[T] {
	s := w.keys[key]
	if s == nil {
		return Reach[T]{Unknown: w.lacked(at, w.full)}
	}
	f := finder[T]{pattern: w.pattern, holds: holds, chosen: make([]*Entry[T], len(w.pattern.Steps)), reach: &reach[T]{last: last, rising: w.pattern.Steps[0].Runs > 1}}
	for slot := range w.pattern.Slots() {
		f.slots = append(f.slots, s.live(slot, at, w.pattern.Within))
	}
	all := f.step(0, 0)
	r := f.reach.Reach
	if last != nil && !all {
		r.Steps, r.Next = nil, 0
	}
	r.Unknown = f.checks > MaxChecks || w.lacked(at, w.full) || w.lacked(at, s.full)
	return r
}

// lacked reports whether there was no room at a time that still matters.
func (w *Window[T]) lacked(at, full event.Time) bool {
	return !w.pattern.Keep && full != 0 && at.Sub(full) < w.pattern.Within
}

// reach is what a search notes that asks how far it gets.
type reach[T any] struct {
	Reach[T]
	last   func(*Entry[T]) bool
	bounds []int // in the match: where the events of each step begin
	rising bool  // the first step is repeated: the search comes from the oldest events to the newest
}

// note is told that all steps before i are chosen, and whether that still stands. It reports whether that is the end of the
// search.
func (r *reach[T]) note(i int, match []Entry[T], steps int, stays bool) bool {
	r.bounds = append(r.bounds[:i], len(match))
	if !stays || i == steps && r.last != nil && !r.last(&match[len(match)-1]) {
		return false
	}
	if i > len(r.Steps) || r.rising && i == len(r.Steps) && i > 0 {
		r.Steps, r.Next = make([][]Entry[T], i), 0
		for n := range i {
			r.Steps[n] = slices.Clone(match[r.bounds[n]:r.bounds[n+1]])
		}
	}
	return i == steps
}

// run is told how many events are chosen for step i, which takes more.
func (r *reach[T]) run(i, n int) {
	if i == len(r.Steps) {
		r.Next = max(r.Next, n)
	}
}
