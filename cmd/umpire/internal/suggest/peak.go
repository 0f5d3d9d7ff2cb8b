package suggest

import (
	"slices"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
)

// peak counts calls in windows that slide.
type peak struct {
	times map[string][]event.Time
	seen  map[int]int // how many calls there were in the window -> how often
}

// add counts a call of somebody and returns how many calls of his there are in the window with it.
func (p *peak) add(who string, at event.Time, span time.Duration) int {
	if p.times == nil {
		p.times = map[string][]event.Time{}
	}
	p.times[who] = within(append(p.times[who], at), at, span)
	return len(p.times[who])
}

// note remembers how many calls there were in the window of an honest one.
func (p *peak) note(n int) {
	if p.seen == nil {
		p.seen = map[int]int{}
	}
	p.seen[n]++
}

// quantile returns how many calls so many of a thousand windows do not exceed; 1000 is the most there were.
func (p *peak) quantile(perMille int) int {
	total, ns := 0, make([]int, 0, len(p.seen))
	for n, times := range p.seen {
		total += times
		ns = append(ns, n)
	}
	slices.Sort(ns)
	below := 0
	for _, n := range ns {
		if below += p.seen[n]; below*1000 >= total*perMille {
			return n
		}
	}
	return 0
}

// total sums an argument in windows that slide.
type total struct {
	of   map[string][]amount
	most apd.Decimal
	bad  bool // some value cannot be summed
}

type amount struct {
	at event.Time
	n  *apd.Decimal
}

var exact = apd.BaseContext.WithPrecision(40)

func (t *total) add(who string, at event.Time, text string) {
	n, _, err := apd.NewFromString(text)
	if err != nil || n.Form != apd.Finite || n.Negative { // no rule can sum those
		t.bad = true
		return
	}
	if t.of == nil {
		t.of = map[string][]amount{}
	}
	list := append(t.of[who], amount{at, n})
	for len(list) > 0 && at.Sub(list[0].at) > daily {
		list = list[1:]
	}
	t.of[who] = list
	var sum apd.Decimal
	for _, a := range list {
		if _, err := exact.Add(&sum, &sum, a.n); err != nil {
			t.bad = true
			return
		}
	}
	if sum.Cmp(&t.most) > 0 {
		t.most.Set(&sum)
	}
}

// roomy returns the least of 1, 2, 3, 5, 10, 20, 30, 50 … that is not less than half as much again as n.
func roomy(n int64) int64 {
	n += (n + 1) / 2
	for unit := int64(1); ; unit *= 10 {
		for _, m := range []int64{1, 2, 3, 5} {
			if m*unit >= n || unit > 1<<58/10 {
				return max(m*unit, n)
			}
		}
	}
}
