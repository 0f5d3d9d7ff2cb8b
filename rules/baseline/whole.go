package baseline

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The bounds of what a file may say, so that no number in it is too great for what is made of it.
const (
	maxCount   = 1 << 36 // of sessions, calls …
	maxCounts  = 4 * maxPlaces
	maxSeconds = 1 << 40 // from 1970, in both directions
)

// whole reports what is missing in b, or cannot be, so that nothing that reads it meets a hole or an overflow.
func (b *Baseline) whole() error {
	switch e := b.Enough; {
	case b.Until < b.From:
		return errors.New("it ends before it begins")
	case min(e.Sessions, e.Calls, e.Days) < 1 || max(e.Sessions, e.Calls, e.Days) > maxCount:
		return errors.New("it does not say how much is enough")
	case len(b.Agents) > maxAgents || len(b.Groups) > maxAgents:
		return fmt.Errorf("it has more than %d agents", maxAgents)
	case b.MoreNewcomers < 0:
		return errors.New("it has less than no newcomers")
	}
	names := map[string]bool{}
	for _, a := range slices.Concat(b.Agents, b.Groups) {
		switch {
		case a == nil:
			return errors.New("an agent is missing")
		case names[a.Name]:
			return fmt.Errorf("it has agent %q twice", shown(a.Name, maxName))
		}
		names[a.Name] = true
		if err := a.whole(); err != nil {
			return fmt.Errorf("agent %q: %w", shown(a.Name, maxName), err)
		}
	}
	return nil
}

// checker notes the first thing that is wrong.
type checker struct {
	places int
	err    error
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) count(what string, least int64, counts ...int64) {
	for _, n := range counts {
		if n < least || n > maxCount {
			c.fail("%s: %d is no number of them", what, n)
		}
	}
}

func (c *checker) names(what string, names map[string]int64) {
	c.places += len(names)
	for _, n := range names {
		c.count(what, 1, n)
	}
}

func (c *checker) tally(what string, t *Tally) {
	if t == nil {
		c.fail("nothing is said of %s", what)
		return
	}
	c.names(what, t.Seen)
	c.names(what, t.Wait)
	if t.Open && len(t.Seen)+len(t.Wait) > 0 {
		c.fail("%s: there are names, and too many to list", what)
	}
	for name := range t.Wait {
		if t.Seen[name] > 0 {
			c.fail("%s: %q is known, and is not", what, shown(name, maxName))
		}
	}
}

// histogram checks that numbers go up, and are not less than least.
func (c *checker) histogram(what string, h *Histogram, least, most int64) {
	c.places += len(h.Counts)
	for i, x := range h.Counts {
		if c.count(what, 1, x[1]); x[0] < least || x[0] > most || i > 0 && x[0] <= h.Counts[i-1][0] {
			c.fail("%s: %d is not where it can be", what, x[0])
		}
	}
	for _, limit := range [...]int64{h.Floor, h.Ceiling} {
		if limit > maxNumber*1000 || limit < -maxNumber*1000 {
			c.fail("%s: %d is no limit", what, limit)
		}
	}
}

// whole is that of Baseline, for one agent.
func (a *Agent) whole() error {
	c := &checker{}
	c.count("sessions", 0, a.Sessions)
	c.count("calls", 0, a.Calls, a.Denied)
	c.count("hours", 0, a.Hours[:]...)
	if a.Until < a.From {
		c.fail("it ends before it begins")
	}
	if len(a.Days) > maxDays {
		c.fail("it has more than %d days", maxDays)
	}
	for day, n := range a.Days {
		if c.count("days", 1, n); len(day) != len(time.DateOnly) {
			c.fail("%q is no day", shown(day, maxName))
		}
	}
	c.names("waiting", a.Waiting)
	for _, name := range sorted(a.Tools) {
		t := a.Tools[name]
		if t == nil {
			c.fail("nothing is said of tool %q", shown(name, maxName))
			return c.err
		}
		if c.places++; a.Waiting[name] > 0 {
			c.fail("tool %q is known, and is not", shown(name, maxName))
		}
		c.count("sessions", 0, t.Sessions, t.Calls)
		for path, x := range t.Args {
			if x == nil {
				c.fail("nothing is said of argument %q of tool %q", shown(path, maxName), shown(name, maxName))
				return c.err
			}
			c.places++
			c.count("sessions", 0, x.Sessions)
		}
	}
	a.tallies(func(p place, t *Tally) {
		c.places++
		c.tally(spot{place: p, any: true}.what(), t)
	})
	a.each(func(what string, ends end, h *Histogram) {
		least := int64(0)
		if ends == upper|lower {
			least = -maxNumber
		}
		c.histogram(what, h, least, maxNumber)
	})
	if c.places > maxCounts {
		c.fail("it has %d counts, and %d are the most", c.places, maxCounts)
	}
	if s := a.Score; s != nil {
		c.score(s)
	}
	return c.err
}

func (c *checker) score(s *Calibration) {
	c.count("calls", 0, s.Calls)
	if s.Until < s.From || min(s.From, -s.Until) < -maxSeconds || len(s.Top) > maxTop || s.Reference < 0 || s.Reference > maxBits {
		c.fail("its scores are none")
	}
	for i := range s.Signals {
		c.histogram(Signal(i).String(), &s.Signals[i], 0, int64(maxBits))
	}
	c.histogram("scores", &s.All, 0, int64(maxBits))
	for i, x := range s.Top {
		if x.Bits < 0 || x.Bits > maxBits || min(x.At, -x.At) < -maxSeconds || i > 0 && x.Seq < s.Top[i-1].Seq {
			c.fail("its strangest calls are none")
		}
	}
}
