// Package rate counts what happened in sliding windows, exactly.
//
// A window of length per, looked at at time t, holds what happened in (t−per, t]: something that happened exactly per
// ago is no longer in it. Counts are integers, sums exact decimals; nothing is estimated and nothing is rounded.
package rate

import (
	"iter"
	"sort"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
)

// MaxEntries is how many entries one Window holds at most. A window that is Full forgets nothing; its owner has to
// refuse what it can no longer count.
const MaxEntries = 1 << 20

// Entry is one thing that happened.
type Entry struct {
	Seq    uint64
	At     event.Time
	Amount *apd.Decimal // added to the sum of the key; nil counts as zero
	Value  string       // one of the distinct values of the key; empty for none
}

// Window is a log of entries under keys. Entries are added in the order of At, and most of them in the order of Seq: a
// call that was held is added later than some that came after it. A Window has one owner: it may be read by many, but not
// while it is written.
type Window struct {
	per  time.Duration
	log  []slot // in order of slot.order; log[:head] is evicted
	head int
	base int // position of log[0] since the beginning of time, so that positions survive compaction
	dead int // slots in log[head:] that were removed
	keys map[string]*tally
	late map[uint64]int // Seq -> position+1 of the live slots that came out of order; nil if there never were any
}

// slot is an entry in the log. The slots of one key form a chain from newest to oldest.
type slot struct {
	Entry
	order uint64 // the greatest Seq up to here
	key   string
	prev  int // position+1 of the key's slot before, 0 if none
	gone  bool
}

// tally is what is known of one key over every slot in log[head:].
type tally struct {
	slots  int // slots, removed ones included
	count  int
	sum    apd.Decimal
	values map[string]int // live slots per distinct value
	last   int            // position+1 of the newest slot
}

// exact adds and subtracts without rounding.
var exact = &apd.BaseContext

// New returns an empty window of length per, which must be positive.
func New(per time.Duration) *Window {
	return &Window{per: per, keys: map[string]*tally{}}
}

// Per returns the length of the window.
func (w *Window) Per() time.Duration { return w.per }

// Len returns the number of entries held, some of which may have left the window since the last Evict.
func (w *Window) Len() int { return len(w.log) - w.head - w.dead }

// Full reports whether an Add at time t would exceed MaxEntries.
func (w *Window) Full(t event.Time) bool {
	if w.Len() < MaxEntries {
		return false
	}
	oldest := w.head
	for w.log[oldest].gone {
		oldest++
	}
	return w.inside(w.log[oldest].At, t)
}

// Key returns key as a string. If something is counted under it, that costs no allocation.
func (w *Window) Key(key []byte) string {
	if k := w.keys[string(key)]; k != nil {
		return w.log[k.last-1-w.base].key
	}
	return string(key)
}

// Add records e under key. It also evicts what has left the window at e.At.
func (w *Window) Add(key string, e Entry) {
	w.Evict(e.At)
	k := w.keys[key]
	if k == nil {
		k = &tally{}
		w.keys[key] = k
	}
	s := slot{Entry: e, order: e.Seq, key: key, prev: k.last}
	if n := len(w.log); n > w.head && w.log[n-1].order > e.Seq {
		s.order = w.log[n-1].order
	}
	w.log = append(w.log, s)
	k.last = w.base + len(w.log)
	w.note(s)
	k.slots++
	k.add(e)
}

// Has reports whether the entry with the given Seq is in the window at t.
func (w *Window) Has(t event.Time, seq uint64) bool {
	i := w.find(seq)
	return i >= 0 && !w.log[i].gone && w.inside(w.log[i].At, t)
}

// find returns the index of the slot with the given Seq, -1 if there is none.
func (w *Window) find(seq uint64) int {
	if pos, ok := w.late[seq]; ok {
		return pos - 1 - w.base
	}
	live := w.log[w.head:]
	i := sort.Search(len(live), func(i int) bool { return live[i].order >= seq })
	if i == len(live) || live[i].Seq != seq {
		return -1
	}
	return w.head + i
}

// note keeps where the newest slot is, if it came out of order.
func (w *Window) note(s slot) {
	if s.order == s.Seq {
		return
	}
	if w.late == nil {
		w.late = map[uint64]int{}
	}
	w.late[s.Seq] = w.base + len(w.log)
}

// Remove takes the entry with the given Seq out again, whatever its key; it does nothing if there is none.
func (w *Window) Remove(seq uint64) {
	i := w.find(seq)
	if i < 0 || w.log[i].gone {
		return
	}
	s := &w.log[i]
	s.gone = true
	w.keys[s.key].remove(s.Entry)
	w.dead++
	if w.dead > 64 && w.dead > (len(w.log)-w.head)/2 {
		w.compact()
	}
}

// Evict forgets what has left the window at t.
func (w *Window) Evict(t event.Time) {
	for w.head < len(w.log) && !w.inside(w.log[w.head].At, t) {
		s := &w.log[w.head]
		k := w.keys[s.key]
		if s.gone {
			w.dead--
		} else {
			k.remove(s.Entry)
		}
		if k.slots--; k.slots == 0 {
			delete(w.keys, s.key)
		}
		delete(w.late, s.Seq)
		*s = slot{}
		w.head++
	}
	if w.head > 64 && w.head > len(w.log)/2 {
		n := copy(w.log, w.log[w.head:])
		clear(w.log[n:])
		w.log = w.log[:n]
		w.base += w.head
		w.head = 0
	}
}

// Count returns the number of entries of key in the window at t.
func (w *Window) Count(t event.Time, key string) int {
	k := w.keys[key]
	if k == nil {
		return 0
	}
	n := k.count
	for range w.expired(t, key) {
		n--
	}
	return n
}

// Sum sets sum to the total of the amounts of key in the window at t.
func (w *Window) Sum(t event.Time, key string, sum *apd.Decimal) {
	sum.SetInt64(0)
	k := w.keys[key]
	if k == nil {
		return
	}
	sum.Set(&k.sum)
	for e := range w.expired(t, key) {
		if e.Amount != nil {
			Sub(sum, sum, e.Amount)
		}
	}
}

// Distinct returns the number of different values of key in the window at t, and whether value is one of them.
func (w *Window) Distinct(t event.Time, key, value string) (n int, seen bool) {
	k := w.keys[key]
	if k == nil {
		return 0, false
	}
	n, refs := len(k.values), k.values[value]
	var left map[string]int
	for e := range w.expired(t, key) {
		if e.Value == "" {
			continue
		}
		if left == nil {
			left = map[string]int{}
		}
		if left[e.Value]++; left[e.Value] == k.values[e.Value] {
			n--
		}
	}
	return n, refs > left[value]
}

// Newest yields the entries of key in the window at t, newest first.
func (w *Window) Newest(t event.Time, key string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		k := w.keys[key]
		if k == nil {
			return
		}
		for pos := k.last; pos > w.base+w.head; {
			s := &w.log[pos-1-w.base]
			if !w.inside(s.At, t) || (!s.gone && !yield(s.Entry)) {
				return
			}
			pos = s.prev
		}
	}
}

// inside reports whether something that happened at is in the window at t.
func (w *Window) inside(at, t event.Time) bool { return at > t.Add(-w.per) }

// expired yields the live entries of key that are still held but have left the window at t: few, because every Add and
// Evict forgets them.
func (w *Window) expired(t event.Time, key string) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for i := w.head; i < len(w.log) && !w.inside(w.log[i].At, t); i++ {
			if s := &w.log[i]; s.key == key && !s.gone && !yield(&s.Entry) {
				return
			}
		}
	}
}

// compact drops removed slots from the log.
func (w *Window) compact() {
	old := w.log[w.head:]
	w.base += len(w.log)
	w.log, w.head, w.dead = make([]slot, 0, len(old)-w.dead), 0, 0
	for _, k := range w.keys {
		k.last, k.slots = 0, 0
	}
	clear(w.late)
	for _, s := range old {
		if s.gone {
			continue
		}
		k := w.keys[s.key]
		s.prev = k.last
		w.log = append(w.log, s)
		k.last = w.base + len(w.log)
		k.slots++
		w.note(s)
	}
	for key, k := range w.keys {
		if k.slots == 0 {
			delete(w.keys, key)
		}
	}
}

func (k *tally) add(e Entry) {
	k.count++
	if e.Amount != nil {
		Add(&k.sum, &k.sum, e.Amount)
	}
	if e.Value != "" {
		if k.values == nil {
			k.values = map[string]int{}
		}
		k.values[e.Value]++
	}
}

func (k *tally) remove(e Entry) {
	k.count--
	if e.Amount != nil {
		Sub(&k.sum, &k.sum, e.Amount)
	}
	if e.Value == "" {
		return
	}
	if k.values[e.Value]--; k.values[e.Value] == 0 {
		delete(k.values, e.Value)
	}
}

// Add sets sum to x+y, exactly.
func Add(sum, x, y *apd.Decimal) { must(exact.Add(sum, x, y)) }

// Sub sets difference to x-y, exactly.
func Sub(difference, x, y *apd.Decimal) { must(exact.Sub(difference, x, y)) }

// must asserts that exact arithmetic on bounded decimals cannot fail; see Amount for the bounds.
func must(_ apd.Condition, err error) {
	if err != nil {
		panic("rate: " + err.Error())
	}
}
