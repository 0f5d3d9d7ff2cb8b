package sequence

import (
	"iter"
	"sort"

	"github.com/umpire-dev/umpire/rules/event"
)

// Place is where a Window remembers an entry.
type Place struct {
	Key  string
	Slot int
}

// Entries yields the entries that w remembers, in the order in which they were added. Added to an empty Window in this
// order, they and what Full returns make one that finds the same from the last Evict on.
func (w *Window[T]) Entries() iter.Seq2[Place, Entry[T]] {
	return func(yield func(Place, Entry[T]) bool) {
		for _, p := range w.order {
			if e := w.at(p); e != nil && !yield(Place{p.key, p.slot}, *e) {
				return
			}
		}
	}
}

// at returns the entry of a place, nil if it is forgotten.
func (w *Window[T]) at(p place) *Entry[T] {
	s := w.keys[p.key]
	if s == nil || p.slot == fullMark {
		return nil
	}
	list := s.of[p.slot]
	i := sort.Search(len(list), func(i int) bool { return list[i].Seq >= p.seq })
	if i == len(list) || list[i].Seq != p.seq {
		return nil
	}
	return &list[i]
}

// Full returns when w last had no room, in all and under each key; 0 and no key where that is too long ago to matter at
// the given time.
func (w *Window[T]) Full(at event.Time) (all event.Time, keys map[string]event.Time) {
	matters := func(full event.Time) bool { return full != 0 && at.Sub(full) < w.pattern.Within }
	if matters(w.full) {
		all = w.full
	}
	for key, s := range w.keys {
		if matters(s.full) {
			if keys == nil {
				keys = map[string]event.Time{}
			}
			keys[key] = s.full
		}
	}
	return all, keys
}

// SetFull notes what Full has returned.
func (w *Window[T]) SetFull(all event.Time, keys map[string]event.Time) {
	w.full = all
	for key, full := range keys {
		w.mark(key, w.slots(key), full)
	}
}

// Total returns how many entries w remembers.
func (w *Window[T]) Total() int { return w.n }
