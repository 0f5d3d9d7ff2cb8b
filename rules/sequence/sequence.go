// Package sequence finds events in order: does some choice of earlier events, in their order and with anything between
// them, satisfy every step of a pattern?
//
// A Window remembers events that may be steps, by key, for as long as the pattern looks back. Nothing is decided when an
// event arrives: Find chooses when a call is judged, with everything that is known by then, so that a decoy cannot use a
// match up and a result counts from the moment it is there. Memory grows with the events, not with their combinations.
package sequence

import (
	"slices"
	"sort"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of a Window. At each of them Find says that it cannot tell.
const (
	MaxEntries = 10_000  // per key
	MaxTotal   = 200_000 // in all
	MaxBytes   = 64 << 20
	MaxChecks  = 20_000 // conditions that one Find may ask for
)

// Pattern is what a Window looks for. The last step of a rule, the call being judged, is not part of it.
type Pattern struct {
	Steps  []Step
	Within time.Duration // from the first chosen event to the call being judged
	// Until says that events of the slot UntilSlot end a match if they fall behind its first step.
	Until bool
	// Keep forgets the oldest events of a key at the bound instead of giving up: right where an event is what is wanted.
	Keep bool
}

// Step is one step. Its events are in the slot of its index.
type Step struct {
	Runs int // how many events it takes, at least; the condition on each of them is the same
	// Unless says that no event of the slot UnlessSlot of this step may stand between this step's event and the next
	// one's (the call being judged behind the last step).
	Unless bool
	// Asked says that a later condition asks about the event chosen here.
	Asked bool
	// Sift says that the condition on the call being judged asks about this step and about others. Find asks it about each
	// event alone first: of many ways to choose, most cannot be a match for one of their events.
	Sift bool
}

// UnlessSlot returns the slot of the events that may not stand behind step i.
func (p *Pattern) UnlessSlot(i int) int { return len(p.Steps) + i }

// UntilSlot returns the slot of the events that end a match.
func (p *Pattern) UntilSlot() int { return 2 * len(p.Steps) }

// Slots returns how many slots there are.
func (p *Pattern) Slots() int { return 2*len(p.Steps) + 1 }

// Entry is an event that may be a step. Seqs are unique within a slot and rise.
type Entry[T any] struct {
	Seq   uint64
	At    event.Time
	Size  int // bytes that it keeps in memory, about
	Value T
}

// Window holds entries by key. It has one owner.
type Window[T any] struct {
	pattern *Pattern
	drop    func(T) // called for each entry that is forgotten
	keys    map[string]*slots[T]
	order   []place // of all entries, oldest first; some of them may be forgotten
	n       int     // entries in all
	bytes   int
	full    event.Time // when it last had no room
}

// slots is what is remembered under one key.
type slots[T any] struct {
	of   [][]Entry[T]
	n    int
	full event.Time // when it last had no room
}

// fullMark is the slot of a place that stands for the time at which a key last had no room.
const fullMark = -1

type place struct {
	key  string
	slot int
	seq  uint64
	at   event.Time
}

// New returns an empty Window. Drop is called for each entry that is forgotten.
func New[T any](p *Pattern, drop func(T)) *Window[T] {
	return &Window[T]{pattern: p, drop: drop, keys: map[string]*slots[T]{}}
}

// Add remembers an entry. It reports whether it did: at the bounds it may not.
func (w *Window[T]) Add(key string, slot int, e Entry[T]) bool {
	w.Evict(e.At)
	s := w.slots(key)
	switch {
	case w.n >= MaxTotal, w.bytes+e.Size > MaxBytes:
		w.full = e.At
		w.tidy(key, s)
		return false
	case s.n >= MaxEntries && (!w.pattern.Keep || len(s.of[slot]) == 0):
		w.mark(key, s, e.At)
		return false
	case s.n >= MaxEntries:
		w.forget(s, slot, s.of[slot][0].Seq)
	}
	s.of[slot] = append(s.of[slot], e)
	s.n++
	w.n++
	w.bytes += e.Size
	w.order = append(w.order, place{key, slot, e.Seq, e.At})
	if len(w.order) > 2*w.n+64 {
		w.order = slices.DeleteFunc(w.order, func(p place) bool { return p.slot != fullMark && w.at(p) == nil })
	}
	return true
}

// slots returns what is remembered under a key, nothing so far if it is new.
func (w *Window[T]) slots(key string) *slots[T] {
	s := w.keys[key]
	if s == nil {
		s = &slots[T]{of: make([][]Entry[T], w.pattern.Slots())}
		w.keys[key] = s
	}
	return s
}

// mark notes that a key had no room.
func (w *Window[T]) mark(key string, s *slots[T], at event.Time) {
	if s.full == 0 {
		w.order = append(w.order, place{key, fullMark, 0, at})
	}
	s.full = at
}

// Reset forgets all entries of a key that stand before seq.
func (w *Window[T]) Reset(key string, seq uint64) {
	s := w.keys[key]
	if s == nil {
		return
	}
	for slot, list := range s.of {
		for len(list) > 0 && list[0].Seq < seq {
			w.forget(s, slot, list[0].Seq)
			list = s.of[slot]
		}
	}
	w.tidy(key, s)
}

// Evict forgets what is too old to be part of a match at the given time.
func (w *Window[T]) Evict(at event.Time) {
	n := 0
	for n < len(w.order) && at.Sub(w.order[n].at) >= w.pattern.Within {
		p := w.order[n]
		n++
		s := w.keys[p.key]
		switch {
		case s == nil:
			continue
		case p.slot != fullMark:
			w.forget(s, p.slot, p.seq)
		case s.full == p.at:
			s.full = 0
		case s.full != 0: // it was full again since
			w.order = append(w.order, place{p.key, fullMark, 0, s.full})
		}
		w.tidy(p.key, s)
	}
	if w.order = w.order[n:]; len(w.order) == 0 {
		w.order = nil
	}
}

// forget drops the oldest entry of a slot if it is seq.
func (w *Window[T]) forget(s *slots[T], slot int, seq uint64) {
	list := s.of[slot]
	if len(list) == 0 || list[0].Seq != seq {
		return // it was forgotten before its time
	}
	w.drop(list[0].Value)
	w.bytes -= list[0].Size
	if s.of[slot] = list[1:]; len(list) == 1 {
		s.of[slot] = nil
	}
	s.n--
	w.n--
}

func (w *Window[T]) tidy(key string, s *slots[T]) {
	if s.n == 0 && s.full == 0 {
		delete(w.keys, key)
	}
}

// Len returns how many entries are remembered under key in a slot at the given time.
func (w *Window[T]) Len(at event.Time, key string, slot int) int {
	if s := w.keys[key]; s != nil {
		return len(s.live(slot, at, w.pattern.Within))
	}
	return 0
}

// live returns the entries of a slot that are not too old.
func (s *slots[T]) live(slot int, at event.Time, within time.Duration) []Entry[T] {
	list := s.of[slot]
	return list[sort.Search(len(list), func(i int) bool { return at.Sub(list[i].At) < within }):]
}

// Holds reports whether the condition of a slot holds for the events chosen so far. Chosen has one entry a step (of a
// repeated one the event that is asked about); the entry of an Unless or Until slot is the extra one. The slot Last is
// the call being judged.
type Holds[T any] func(slot int, chosen []*Entry[T], extra *Entry[T]) bool

// Last is the slot of the call being judged, whose condition may ask about every step. While some of those that it asks
// about are missing in chosen, the question is whether it still may hold.
const Last = -1

// Find looks for a match under key at the given time. It returns the events of the match, oldest first, or says that it
// cannot tell: there were too many events, or too many ways to choose.
func (w *Window[T]) Find(at event.Time, key string, holds Holds[T]) (match []Entry[T], unknown bool) {
	s := w.keys[key]
	if w.lacked(at, w.full) {
		return nil, true
	}
	if s == nil {
		return nil, false
	}
	if w.lacked(at, s.full) {
		return nil, true
	}
	f := finder[T]{pattern: w.pattern, holds: holds, chosen: make([]*Entry[T], len(w.pattern.Steps))}
	for slot := range w.pattern.Slots() {
		f.slots = append(f.slots, s.live(slot, at, w.pattern.Within))
	}
	if f.sift() && f.step(0, 0) {
		return f.match, false
	}
	return nil, f.checks > MaxChecks
}

// finder is one search.
type finder[T any] struct {
	pattern *Pattern
	slots   [][]Entry[T]
	holds   Holds[T]
	chosen  []*Entry[T]
	match   []Entry[T]
	checks  int
	reach   *reach[T] // nil if the question is whether there is a match
}

func (f *finder[T]) ask(slot int, extra *Entry[T]) bool {
	f.checks++
	return f.checks <= MaxChecks && f.holds(slot, f.chosen, extra)
}

// sift leaves out the events that can be part of no match, whatever else is chosen. It reports whether enough are left.
func (f *finder[T]) sift() bool {
	for i, step := range f.pattern.Steps {
		if !step.Sift {
			continue
		}
		var left []Entry[T]
		for n := range f.slots[i] {
			f.chosen[i] = &f.slots[i][n]
			if f.ask(Last, nil) {
				left = append(left, f.slots[i][n])
			}
		}
		f.chosen[i] = nil
		if f.slots[i] = left; len(left) < step.Runs {
			return false
		}
	}
	return true
}

// step chooses an event for step i and all steps behind it; events have to stand behind seq.
func (f *finder[T]) step(i int, seq uint64) bool {
	switch {
	case f.reach != nil && f.reach.note(i, f.match, len(f.pattern.Steps), f.stays(i)):
		return true
	case i == len(f.pattern.Steps):
		return f.reach == nil && f.stays(i) && f.ask(Last, nil)
	}
	step := f.pattern.Steps[i]
	list := f.slots[i]
	list = list[sort.Search(len(list), func(n int) bool { return list[n].Seq > seq }):]
	if step.Runs > 1 {
		return f.runs(i, list)
	}
	newest := len(f.pattern.Steps) == 1 || f.reach != nil && i == 0 // any order finds a match; the newest explains best
	defer func() { f.chosen[i] = nil }()
	for n := range list {
		e := &list[n]
		if newest {
			e = &list[len(list)-1-n]
		}
		f.chosen[i] = e
		if !f.free(i, e.Seq) || !f.ask(i, nil) {
			if f.checks > MaxChecks {
				return false
			}
			continue
		}
		f.match = append(f.match, *e)
		if f.step(i+1, e.Seq) {
			return true
		}
		f.match = f.match[:len(f.match)-1]
		if f.checks > MaxChecks {
			return false
		}
		// A later event for this step leaves less room for those behind it. If nothing else depends on the choice, none
		// can do better.
		if !newest && f.reach == nil && !step.Asked && !step.Unless && (i > 0 || !f.pattern.Until) {
			return false
		}
	}
	return false
}

// runs chooses events for a repeated step: as many as it wants, up to each that fits. A condition that asks about the
// step has to hold for each of them.
func (f *finder[T]) runs(i int, list []Entry[T]) bool {
	step := f.pattern.Steps[i]
	defer func() { f.chosen[i] = nil }()
	from, found := len(f.match), false
	for n := range list {
		if len(f.match) == from && !f.free(i, list[n].Seq) {
			break // nor is the way to a later one
		}
		f.chosen[i] = &list[n]
		if !f.ask(i, nil) || step.Asked && f.reach == nil && !f.ask(Last, nil) {
			continue
		}
		if f.match = append(f.match, list[n]); f.reach != nil && len(f.match)-from < step.Runs {
			f.reach.run(i, len(f.match)-from)
		}
		if i == 0 && len(f.match) > step.Runs {
			f.match = f.match[1:] // the later the first event, the less an Until stands behind it
		}
		chosen := len(f.match)
		if len(f.match)-from >= step.Runs && f.step(i+1, list[n].Seq) {
			if f.reach == nil || i > 0 {
				return true
			}
			found, f.match = true, f.match[:chosen] // the newest is wanted
		}
		if f.checks > MaxChecks {
			break
		}
	}
	f.match = f.match[:from]
	return found
}

// free reports whether no Unless of the step before it stands in the way of the event chosen for step i.
func (f *finder[T]) free(i int, seq uint64) bool {
	return i == 0 || !f.pattern.Steps[i-1].Unless || !f.stands(f.pattern.UnlessSlot(i-1), f.match[len(f.match)-1].Seq, seq)
}

// stays reports whether nothing stands behind the events that are chosen for the steps before i that ends the match: no
// Unless of the last of them, and no Until.
func (f *finder[T]) stays(i int) bool {
	const now = ^uint64(0)
	return i == 0 || f.free(i, now) && (!f.pattern.Until || !f.stands(f.pattern.UntilSlot(), f.match[0].Seq, now))
}

// stands reports whether an event of the slot whose condition holds stands between two others.
func (f *finder[T]) stands(slot int, after, before uint64) bool {
	list := f.slots[slot]
	list = list[sort.Search(len(list), func(n int) bool { return list[n].Seq > after }):]
	for n := range list {
		if list[n].Seq >= before {
			break
		}
		if f.ask(slot, &list[n]) {
			return true
		}
	}
	return f.checks > MaxChecks
}
