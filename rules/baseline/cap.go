package baseline

import (
	"fmt"
	"math"
	"time"
)

// DriftPerDay is by how much of itself, in a hundred, a threshold may go further each day since the baseline before was learned.
// So whoever does a little more every day, until that is normal, needs a month for twice as much, and a person promotes it.
const DriftPerDay = 2

// Capped is a threshold that would have gone further than it may.
type Capped struct {
	Agent string `json:"agent"`
	What  string `json:"what"`  // "calls in 10s", "distinct args.order_id of billing/refund in this session"
	Was   int64  `json:"was"`   // of the baseline before
	Would int64  `json:"would"` // by what was learned
	Is    int64  `json:"is"`
	Milli bool   `json:"milli,omitempty"` // the three are thousandths
}

// end says on which ends of a Histogram what is beyond is strange.
type end uint8

const (
	upper end = 1 << iota
	lower
)

// visit is called with every Histogram by which calls are judged, and what it is about.
type visit func(what string, ends end, h *Histogram)

// each visits what is known of an agent, in a fixed order.
func (a *Agent) each(do visit) {
	a.Rates.each("calls", do)
	do("ms between calls", lower, &a.Gap)
	do("failures in this session", upper, &a.Failed)
	do("bytes of results in this session", upper, &a.Read)
	a.AnyTool.each("calls of one tool", do)
	a.AnyArg.each("one argument", do)
	for _, name := range sorted(a.Tools) {
		t := a.Tools[name]
		t.each("calls of "+name, do)
		do("bytes of arguments of "+name, upper, &t.Size)
		do("bytes of a result of "+name, upper, &t.Read)
		do("failures of "+name+" in this session", upper, &t.Failed)
		do("‰ of difference between gaps of "+name, lower, &t.Even)
		for _, path := range sorted(t.Args) {
			x := t.Args[path]
			of := path + " of " + name
			do("bytes of "+of, upper, &x.Length)
			do(numberOf+of, upper|lower, &x.Number)
			x.each(of, do)
		}
	}
	if a.Score != nil {
		for s := range a.Score.Signals {
			do("surprise of honest calls by "+Signal(s).String()+" (1/8 bit)", upper, &a.Score.Signals[s])
		}
		do("strangeness of honest calls (1/8 bit)", upper, &a.Score.All)
	}
}

// numberOf begins what a Histogram of thousandths is about.
const numberOf = "number "

func (r *Rates) each(what string, do visit) {
	for i, h := range r.list() {
		do(what+" in "+spans[i], upper, h)
	}
}

func (d *Distincts) each(of string, do visit) {
	do("distinct "+of+" in this session", upper, &d.Distinct)
	do("distinct "+of+" in a day", upper, &d.Day)
	do("values of "+of+" in a row", upper, &d.Sweep)
}

// cap keeps b from going too far from the baseline in force: thresholds, names that are new, and how frequent names are. It goes by
// the time between the two in which anything happened: where the clock went back there is none, and where it leapt ahead no more
// than the days with calls. An agent with which no call was compared in the baseline in force is as it was learned.
func (l *learner) cap(b *Baseline) {
	minutes := int64(0)
	if live := l.how.Live; live != nil {
		minutes = min(max(int64(b.Until-live.Until)/int64(time.Minute), 0), (l.active+1)*24*60)
	}
	done := map[string]*Agent{}
	for _, a := range b.Agents {
		if was := l.how.Live.armed(a.Name); was != nil {
			l.admit(b, a, was, l.arrived[a.Name], nil, minutes)
			b.bounds(a, was, minutes)
			done[a.Name] = a
			continue
		}
		b.bounds(a, nil, minutes)
		b.Uncapped = append(b.Uncapped, a.Name)
	}
	for _, g := range b.Groups {
		was := l.how.Live.groupBefore(g)
		if was == nil {
			b.bounds(g, nil, minutes)
			b.Uncapped = append(b.Uncapped, g.Name)
			continue
		}
		seen, members := arrivals{}, []*Agent(nil)
		for _, name := range g.Members {
			if a := done[name]; a != nil {
				members = append(members, a)
			}
			seen.merge(l.arrived[name])
		}
		l.admit(b, g, was, seen, members, minutes)
		b.bounds(g, was, minutes)
	}
}

// bounds moves all thresholds of a to their limits; was is what they are compared with, or nil.
func (b *Baseline) bounds(a, was *Agent, minutes int64) {
	before := map[string]*Histogram{}
	if was != nil {
		was.each(func(what string, _ end, h *Histogram) { before[what] = h })
	}
	a.each(func(what string, ends end, h *Histogram) {
		if len(h.Counts) > 0 {
			b.bound(a.Name, what, ends, h, before[what], minutes)
		}
	})
}

// bound moves what is beyond the limits of a threshold to them.
func (b *Baseline) bound(agent, what string, ends end, h, was *Histogram, minutes int64) {
	least, most := h.Counts[0][0], h.Max()
	h.Floor, h.Ceiling = least*1000, most*1000
	if was == nil || len(was.Counts) == 0 {
		return
	}
	note := func(was, would, is int64) {
		if round(was/1000) == would {
			return
		}
		milli := len(what) > len(numberOf) && what[:len(numberOf)] == numberOf
		b.Capped = append(b.Capped, Capped{Agent: agent, What: what, Was: was / 1000, Would: would, Is: is, Milli: milli})
	}
	if limit := was.Ceiling + drift(was.Ceiling, minutes); ends&upper != 0 {
		if most*1000 > limit {
			h.clip(limit / 1000)
			h.Ceiling = limit
			note(was.Ceiling, most, h.Max())
		} else {
			h.Ceiling = max(most*1000, was.Ceiling)
		}
	}
	if limit := was.Floor - drift(was.Floor, minutes); ends&lower != 0 {
		if least*1000 < limit {
			h.raise((limit + 999) / 1000)
			h.Floor = limit
			note(was.Floor, least, h.Counts[0][0])
		} else {
			h.Floor = min(least*1000, was.Floor)
		}
	}
}

// drift returns how far a threshold may go in so many minutes.
func drift(threshold, minutes int64) int64 {
	const (
		unit = 100 * 24 * 60 / DriftPerDay // so many minutes are as far again
		far  = 100 * 365 * 24 * 60         // minutes: by then, anything
	)
	threshold = max(threshold, -threshold)
	if minutes = min(minutes, far); threshold/unit > maxNumber/far {
		return min(threshold, maxNumber/far*minutes, math.MaxInt64-threshold) // more than anybody counts
	}
	return min(threshold/unit*minutes+threshold%unit*minutes/unit, math.MaxInt64-threshold)
}

// String says what was capped.
func (c Capped) String() string {
	n := number
	if c.Milli {
		n = milli
	}
	return fmt.Sprintf("%s: %s, would have gone from %s to %s, and is kept at %s", c.Agent, c.What, n(c.Was), n(c.Would), n(c.Is))
}
