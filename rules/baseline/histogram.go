package baseline

import (
	"cmp"
	"slices"
)

// Histogram counts whole numbers. Those from -99 to 99 are exact, others are rounded towards zero to two significant digits,
// so that it stays small; adding two of them up is exact.
type Histogram struct {
	// Counts are pairs of a number and how often it was counted, the smallest number first.
	Counts [][2]int64 `json:"counts,omitempty"`
	// Floor and Ceiling bound what may be learned, in 1/1000. They move slowly: see DriftPerDay.
	Floor   int64 `json:"floor,omitempty"`
	Ceiling int64 `json:"ceiling,omitempty"`
}

// maxNumber bounds what is counted; its thousandfold still is an int64.
const maxNumber = 9_000_000_000_000_000

// round rounds towards zero to two significant digits.
func round(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 || n/unit <= -100 {
		unit *= 10
	}
	return n / unit * unit
}

// add counts n so many times. It fails if that takes a place and there is none.
func (h *Histogram) add(n, times int64, room *room) {
	n = round(min(max(n, -maxNumber), maxNumber))
	i, found := slices.BinarySearchFunc(h.Counts, n, func(c [2]int64, n int64) int { return cmp.Compare(c[0], n) })
	if !found {
		if !room.take() {
			return
		}
		h.Counts = slices.Insert(h.Counts, i, [2]int64{n, 0})
	}
	h.Counts[i][1] += times
}

func (h *Histogram) merge(other *Histogram, room *room) {
	for _, c := range other.Counts {
		h.add(c[0], c[1], room)
	}
}

// Total returns how often anything was counted.
func (h *Histogram) Total() (n int64) {
	for _, c := range h.Counts {
		n += c[1]
	}
	return n
}

// Max returns the greatest number; 0 if there is none.
func (h *Histogram) Max() int64 {
	if len(h.Counts) == 0 {
		return 0
	}
	return h.Counts[len(h.Counts)-1][0]
}

// Quantile returns the smallest number that so many of a thousand do not exceed; 0 if there is none.
func (h *Histogram) Quantile(perMille int64) int64 {
	left := (h.Total()*perMille + 999) / 1000
	for _, c := range h.Counts {
		if left -= c[1]; left <= 0 {
			return c[0]
		}
	}
	return h.Max()
}

// atLeast returns how many are n or more, and how many there are.
func (h *Histogram) atLeast(n int64) (some, all int64) {
	n = round(n)
	for _, c := range h.Counts {
		if all += c[1]; c[0] >= n {
			some += c[1]
		}
	}
	return some, all
}

// high returns how surprising a number is as the greatest so far. Beyond all that were counted it grows with the number: the
// share of what is twice as great is taken for an eighth.
func (h *Histogram) high(n int64) Bits {
	some, all := h.atLeast(n)
	b := odds(2*some+1, 2*(all+1))
	if top := max(h.Max(), 1); some == 0 && n > top {
		b += 3 * odds(top, n)
	}
	return min(b, maxBits)
}

// few is high where little may be known: it goes no further beyond what was counted than there is evidence for anything.
func (h *Histogram) few(n int64) Bits {
	some, all := h.atLeast(n)
	return min(h.high(n), 2*odds(2*some+1, 2*(all+1)))
}

// low is high for small numbers, which are 0 or more. Down to a half of the least so far they are the next ones.
func (h *Histogram) low(n int64) Bits {
	b := h.below(n)
	if len(h.Counts) > 0 && 2*n < h.Counts[0][0] {
		b += 3 * odds(2*n+1, h.Counts[0][0]+1)
	}
	return min(b, maxBits)
}

// near reports whether a number is no more than twice what was counted, and no less than a half of it.
func (h *Histogram) near(n int64) bool {
	if len(h.Counts) == 0 {
		return false
	}
	least, most := h.Counts[0][0], h.Max()
	return n >= min(least/2, 2*least) && n <= max(2*most, most/2)
}

// below is low for numbers of either sign, and for those of which little may be known: it goes no further than what was counted.
func (h *Histogram) below(n int64) Bits {
	n = round(n)
	var some, all int64
	for _, c := range h.Counts {
		if all += c[1]; c[0] <= n {
			some += c[1]
		}
	}
	return odds(2*some+1, 2*(all+1))
}

// outside returns how surprising a number is that is greater or less than others. Numbers count up, and what is next is little news:
// one that is no farther from all others than they are from each other surprises half as much.
func (h *Histogram) outside(n int64) Bits {
	b := max(h.few(n), h.below(n))
	least, most := h.Counts[0][0], h.Max()
	if n > most && n-most <= most-least || n < least && least-n <= most-least {
		b /= 2
	}
	return b
}

// clip counts what is above a number as that number.
func (h *Histogram) clip(most int64) {
	most, clipped := round(most), int64(0)
	for i := len(h.Counts) - 1; i >= 0 && h.Counts[i][0] > most; i-- {
		clipped += h.Counts[i][1]
		h.Counts = h.Counts[:i]
	}
	if clipped > 0 {
		h.add(most, clipped, nil) // in the place of one that went
	}
}

// raise is clip for what is below.
func (h *Histogram) raise(least int64) {
	raised := int64(0)
	for len(h.Counts) > 0 && h.Counts[0][0] < least {
		raised += h.Counts[0][1]
		h.Counts = h.Counts[1:]
	}
	if raised > 0 {
		h.add(least, raised, nil)
	}
}

// Tally counts names.
type Tally struct {
	Seen map[string]int64 `json:"seen,omitempty"`
	// Open says that there were more names than are worth counting: any may come.
	Open bool `json:"open,omitempty"`
	// Wait are names that were seen too seldom to be known (see Newcomer): each is still as surprising as any that is new.
	Wait map[string]int64 `json:"wait,omitempty"`

	all, once int64 // what was counted, and names that were counted once
}

// add counts a name so many times. More than most names open the Tally; 0 is no bound.
func (t *Tally) add(name string, times int64, most int, room *room) {
	if t.Open {
		return
	}
	was, known := t.Seen[name]
	switch {
	case !known && most > 0 && len(t.Seen) >= most:
		t.open(room)
		return
	case !known && !room.take():
		return
	case t.Seen == nil:
		t.Seen = map[string]int64{}
	}
	t.Seen[name] = was + times
	t.count(was, was+times)
}

func (t *Tally) open(room *room) {
	room.give(len(t.Seen))
	*t = Tally{Open: true}
}

// count notes that a name was counted so often, and is now.
func (t *Tally) count(was, is int64) {
	t.all += is - was
	if was == 1 {
		t.once--
	}
	if is == 1 {
		t.once++
	}
}

// recount finds out what is not stored.
func (t *Tally) recount() {
	t.all, t.once = 0, 0
	for _, n := range t.Seen {
		t.count(0, n)
	}
	for _, n := range t.Wait {
		t.count(0, n)
	}
}

func (t *Tally) merge(other *Tally, most int, room *room) {
	if other.Open && !t.Open {
		t.open(room)
	}
	for _, name := range sorted(other.Seen) {
		t.add(name, other.Seen[name], most, room)
	}
}

// Total returns how often any of the names was counted.
func (t *Tally) Total() int64 { return t.all }

// new returns how surprising it is that a name comes which was never counted: by how many were counted once (Good and Turing).
func (t *Tally) new() Bits {
	if t.Open {
		return 0
	}
	return odds(2*t.once+1, 2*(t.all+1))
}

// of returns how surprising it is that a name comes which was counted as seldom, and whether it was counted.
func (t *Tally) of(name string) (b Bits, known bool) {
	n := t.Seen[name]
	switch {
	case t.Open:
		return 0, true
	case n == 0:
		return t.new(), false
	}
	return t.seldom(n, nil), true
}

// seldom returns how surprising it is that a name comes which was counted n times or less, of those that are not among others.
func (t *Tally) seldom(n int64, others *Tally) Bits {
	var some, all int64
	for name, k := range t.Seen {
		if others != nil && others.Seen[name] > 0 {
			continue
		}
		if all += k; k <= n {
			some += k
		}
	}
	return odds(max(some, 1), max(all, 1))
}

// room counts places for what is learned of one agent, so that there is an end to it. A nil room is endless.
type room struct {
	Left int
	Full bool // something found no place
}

func (r *room) take() bool {
	switch {
	case r == nil:
		return true
	case r.Left == 0:
		r.Full = true
		return false
	}
	r.Left--
	return true
}

func (r *room) give(n int) {
	if r != nil {
		r.Left += n
	}
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
