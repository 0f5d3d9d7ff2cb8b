package baseline

import (
	"cmp"
	"slices"
	"time"
)

// Calibration says how strange honest calls are, as far as they did not teach: each was compared with what was learned of other
// sessions. So a score is a share of honest history, and what is new every day is not strange.
type Calibration struct {
	From      int64               `json:"from"`  // the first of them, in seconds since 1970
	Until     int64               `json:"until"` // the last one
	Calls     int64               `json:"calls"`
	Signals   [nSignals]Histogram `json:"signals"`   // surprise by each signal, in 1/8 bit
	All       Histogram           `json:"all"`       // of the strangeness that they make, in 1/8 bit
	Top       []Strange           `json:"top"`       // the strangest of them, in the order of their times: for budgets
	Reference Bits                `json:"reference"` // of Shift
	tails     [nSignals]tail
	all       tail
}

// Strange is how strange an honest call was.
type Strange struct {
	Seq  uint64 `json:"seq"`
	At   int64  `json:"at"` // seconds since 1970
	Bits Bits   `json:"bits"`
}

// maxTop bounds Top.
const maxTop = 1000

// grain is the unit of the histograms of Bits.
const grain = bit / 8

// tail is a Histogram of Bits as one asks it for shares. Where few were as surprising, an exponential goes on from the twentieth
// part that is most surprising (peaks over threshold).
type tail struct {
	h      *Histogram
	all    int64
	from   int64 // where the exponential begins, …
	above  int64 // … how many are above, …
	excess int64 // … and by how much, on average, in 1/16 grain
}

func tailOf(h *Histogram) tail {
	t := tail{h: h, all: h.Total()}
	want := max(t.all/20, 10)
	sum := int64(0)
	for i := len(h.Counts) - 1; i >= 0; i-- {
		c := h.Counts[i]
		if t.above > 0 && t.above+c[1] > want || c[0] == 0 {
			break
		}
		t.above += c[1]
		t.from = c[0]
	}
	for _, c := range h.Counts {
		if c[0] > t.from {
			sum += (c[0] - t.from) * c[1]
		}
	}
	const (
		least = 16 * 8 * 369 / 256 / 2 // what is a bit more surprising is at least a quarter as frequent
		prior = 10                     // as if so many had been counted of which that is so
	)
	t.excess = max(least, (16*sum+prior*least)/(t.above+prior))
	return t
}

// strangeness returns how surprising it is that something is as surprising as b: the share of honest history that is.
func (t *tail) strangeness(b Bits) Bits {
	if t.all == 0 || b <= 0 {
		return 0
	}
	n := round(int64(b / grain))
	var some int64
	for _, c := range t.h.Counts {
		if c[0] >= n {
			some += c[1]
		}
	}
	counted := odds(2*some+1, 2*(t.all+1))
	if n <= t.from || some >= 10 {
		return counted
	}
	// 2^(-x) for x of e-folds: log2(e) is 369/256.
	beyond := Bits(min((n-t.from)*16*369/t.excess, int64(maxBits)))
	b = min(odds(2*t.above+1, 2*(t.all+1))+beyond, maxBits)
	if some > 0 { // what was seen is no stranger than it was
		b = min(b, counted+bit)
	}
	return max(b, counted)
}

// prepare makes the tails.
func (c *Calibration) prepare() {
	for s := range c.Signals {
		c.tails[s] = tailOf(&c.Signals[s])
	}
	c.all = tailOf(&c.All)
}

// combine makes one number of how strange each signal is: the strangest counts in full, each of the next a quarter of the one
// before. Most signals come together, so that more of the others would drown one that stands alone.
func combine(strange surprise) Bits {
	slices.SortFunc(strange[:], func(a, b Bits) int { return int(b - a) })
	var sum Bits
	for i, b := range strange {
		sum += b >> (2 * i)
	}
	return sum
}

// memory is what a session remembers of how strange its calls were.
type memory struct {
	// Shift adds up what is new, call by call, beyond what one honest call in eight has (a cumulative sum, as Page has it): many
	// calls that are each a little strange are another job.
	Shift Bits
	// Vouched is, by signal, how strange a call was that a person has approved.
	Vouched surprise
}

// maxShift is how much one call may add to Shift: that is about many.
const maxShift = 6 * bit

// vouchedFor is how much stranger a call may be than one that was approved, and still not be strange: what is a number twice as great.
const vouchedFor = 3 * bit

// A call is unheard of if it is new in a way in which no honest call was, by unheardFrom.
const (
	unheardFrom = 2 * bit
	// unheard is what such a call has ahead by that signal: one asks by many, and by each of them some honest call is strange; what
	// none of them ever was does not have to compete with that.
	unheard = 4 * bit // one of nSignals
	// unheardAtAll is what it has ahead of what counting honest calls allows, if none of them was surprising by that signal.
	unheardAtAll = 5 * bit / 2
	surprising   = 7 * bit / 2
)

// unheard reports whether a call that is as surprising by one signal is unheard of.
func (c *Calibration) unheard(s Signal, b Bits) bool {
	return (s.novelty() && s != Argument || s == Hour) && b > Bits(c.Signals[s].Max())*grain+unheardFrom
}

// signal returns how strange a call is by one signal. How much the tail may say beyond what was counted is for the surprise itself
// to say, since that goes by how far a number is from others, and how often names were new.
func (c *Calibration) signal(s Signal, b Bits) Bits {
	strange := min(c.tails[s].strangeness(b), max(b, log2(2*(c.Calls+1))))
	if c.unheard(s, b) {
		strange = min(strange+unheard, maxBits)
	}
	return strange
}

// chosen is by how much the most surprising of all signals is that by chance: one of thirteen.
const chosen = 15 * bit / 4

// strangeness returns how strange a call is, of which s says how surprising it is by each signal and together what that makes: the
// share of honest calls that are as strange. It goes no further than counting allows, since the strangest of n+1 calls is any of
// them with the same chance, or else than a single surprise does.
func (c *Calibration) strangeness(s *surprise, together Bits) Bits {
	counted := log2(c.Calls + 1)
	most := counted
	for i, b := range s {
		most = max(most, b-chosen)
		if s := Signal(i); s != Hour && c.unheard(s, b) && Bits(c.Signals[s].Max())*grain <= surprising {
			most = max(most, counted+unheardAtAll)
		}
	}
	return min(c.all.strangeness(together), most)
}

// signals returns how strange a call is by each signal that does not depend on its session.
func (c *Calibration) signals(s *surprise) (by surprise) {
	for i := range Shift {
		by[i] = c.signal(i, s[i])
	}
	return by
}

// session adds to how strange a call is by each signal how strange its session is with it, and returns what that makes together, and
// what the session remembers then.
func (c *Calibration) session(by surprise, m memory) (_ surprise, together Bits, after memory) {
	after = m
	after.Shift = min(max(m.Shift+min(newsOf(&by), maxShift)-c.Reference, 0), maxBits)
	by[Shift] = min(c.tails[Shift].strangeness(after.Shift), log2(2*(c.Calls+1)))
	heard := by
	for i, b := range by {
		if v := m.Vouched[i]; v > 0 && b <= v+vouchedFor {
			heard[i] = 0
		}
	}
	return by, combine(heard), after
}

// newsOf returns how strange a call is by what is new about it.
func newsOf(by *surprise) (news Bits) {
	for i, b := range by {
		if Signal(i).novelty() {
			news = max(news, b)
		}
	}
	return news
}

// vouch notes that a person has approved a call.
func (m *memory) vouch(by surprise) {
	m.Shift = 0
	for i, b := range by {
		m.Vouched[i] = max(m.Vouched[i], b)
	}
}

// Budget returns the least strangeness at which no more than so many honest calls were as strange in any span of so much time.
// Where less time than that was learned, it is a part of the budget, rounded down.
func (c *Calibration) Budget(alerts int, per time.Duration) Bits {
	if len(c.Top) == 0 {
		return maxBits
	}
	span := int64(per / time.Second)
	if learned := c.Until - c.From; learned < span {
		alerts = int(int64(alerts) * max(learned, 0) / max(span, 1))
	}
	list := slices.Clone(c.Top)
	slices.SortStableFunc(list, func(a, b Strange) int { return cmp.Compare(b.Bits, a.Bits) })
	var times []int64 // of those that are as strange, in order
	for _, x := range list {
		i, _ := slices.BinarySearch(times, x.At)
		times = slices.Insert(times, i, x.At)
		for from := max(i-alerts, 0); from <= i && from+alerts < len(times); from++ {
			if times[from+alerts]-times[from] < span {
				return min(x.Bits+1, maxBits)
			}
		}
	}
	return list[len(list)-1].Bits
}

// sample is an honest call with its surprise.
type sample struct {
	seq     uint64
	at      int64
	fold    int
	session uint64
	by      surprise
}

// calibrate makes a Calibration of honest calls, in their order. What the signals of a call make together is found out by how
// strange those of other folds are by each: else the strangest by any signal would not be as strange as the next one will be.
func calibrate(samples []sample) *Calibration {
	c := &Calibration{}
	c.learn(samples, -1)
	if len(samples) == 0 {
		return c
	}
	c.From, c.Until = samples[0].at, samples[len(samples)-1].at
	by, news := make([]surprise, len(samples)), make([]Bits, len(samples))
	for f := range folds {
		others := &Calibration{}
		others.learn(samples, f)
		for i := range samples {
			if samples[i].fold == f {
				by[i] = others.signals(&samples[i].by)
				news[i] = newsOf(&by[i])
			}
		}
	}
	c.Reference = quantile(news, 875)
	_, shifts := c.sessions(samples, by, maxBits)
	for _, b := range decluster(samples, func(i int) Bits { return shifts[i] }) {
		c.Signals[Shift].add(int64(b/grain), 1, nil)
	}
	c.prepare()
	together, _ := c.sessions(samples, by, maxBits)
	together, _ = c.sessions(samples, by, quantile(together, approved))
	for _, b := range together {
		c.All.add(int64(b/grain), 1, nil)
	}
	c.prepare()
	for i := range samples {
		x := &samples[i]
		c.Top = append(c.Top, Strange{Seq: x.seq, At: x.at, Bits: c.strangeness(&x.by, together[i])})
	}
	slices.SortStableFunc(c.Top, func(a, b Strange) int { return int(b.Bits - a.Bits) })
	c.Top = slices.Clip(c.Top[:min(len(c.Top), maxTop)])
	slices.SortFunc(c.Top, func(a, b Strange) int { return cmp.Compare(a.Seq, b.Seq) })
	return c
}

// sessions finds out what the signals of each call make together, and the Shift with it, if a person approves what is stranger than
// that.
func (c *Calibration) sessions(samples []sample, by []surprise, approves Bits) (together, shifts []Bits) {
	together, shifts = make([]Bits, len(samples)), make([]Bits, len(samples))
	sessions := map[uint64]memory{}
	for i := range samples {
		strange, b, m := c.session(by[i], sessions[samples[i].session])
		together[i], shifts[i] = b, m.Shift
		if b > approves {
			m.vouch(strange)
		}
		sessions[samples[i].session] = m
	}
	return together, shifts
}

// quantile returns what so many of a thousand do not exceed.
func quantile(list []Bits, perMille int) Bits {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)*perMille/1000]
}

// approved is what is taken for strange, in 1/1000, as long as nobody knows what is: what goes beyond it would be asked about.
const approved = 980

// learn counts how surprising calls are by each signal, but for those of one fold.
func (c *Calibration) learn(samples []sample, except int) {
	samples = slices.DeleteFunc(slices.Clone(samples), func(x sample) bool { return x.fold == except })
	if c.Calls = int64(len(samples)); c.Calls == 0 {
		return
	}
	for s := range Shift {
		for _, b := range decluster(samples, func(i int) Bits { return samples[i].by[s] }) {
			c.Signals[s].add(int64(b/grain), 1, nil)
		}
	}
	c.prepare()
}

// decluster returns values of calls, but of those of a session that go beyond most calls only the greatest counts: such a session is
// one that is strange, as a person would say who is asked, and not as many as it has calls.
func decluster(samples []sample, of func(i int) Bits) []Bits {
	out := make([]Bits, len(samples))
	for i := range samples {
		out[i] = of(i)
	}
	most := map[uint64]int{}
	from := quantile(out, 900)
	for i, b := range out {
		if b <= from {
			continue
		}
		session := samples[i].session
		if was, ok := most[session]; !ok {
			most[session] = i
		} else if b > out[was] {
			out[was], most[session] = 0, i
		} else {
			out[i] = 0
		}
	}
	return out
}
