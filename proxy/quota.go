package proxy

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// The signals of one name that become events: so many at once, and one more each time that this has passed.
const (
	maxSignals  = 100
	signalEvery = time.Second
)

// Quota bounds the signals that become events, since neither a client that sends junk nor a server that logs to stdout
// must fill the disk. Each name has its own share: many of one kind hide none of another. What is left out is counted,
// and the next one that is recorded says how many it stands for; a rule that asks whether there was such a signal within
// some time gets the same answer, a second later at most. The zero Quota has room.
type Quota struct {
	mu   sync.Mutex
	left map[string]*allowance // by name
}

type allowance struct {
	room   int
	from   time.Time // when room was last added
	missed int       // since the last one that was recorded
}

// Take reports whether a signal may be recorded now, and how many were not since the last one that was.
func (q *Quota) Take(name string, now time.Time) (missed int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.left[name]
	if a == nil {
		if q.left == nil {
			q.left = map[string]*allowance{}
		}
		a = &allowance{room: maxSignals, from: now}
		q.left[name] = a
	}
	if more := int(now.Sub(a.from) / signalEvery); more > 0 {
		a.room = min(a.room+more, maxSignals)
		a.from = a.from.Add(time.Duration(more) * signalEvery)
	}
	if a.room == 0 {
		a.missed++
		return 0, false
	}
	a.room--
	missed, a.missed = a.missed, 0
	return missed, true
}

// recurring bounds a signal that every call can cause: one a second for calls of the same tool in the same session. No
// window of a rule is shorter than that, so that a rule which waits for the signal finds one whenever a call that causes it
// is judged; how many it stands for, the next one says. It counts in the time of events, and its owner guards it. The zero
// recurring is ready.
type recurring map[string]*recurrence

type recurrence struct {
	at     event.Time // of the last one that was recorded
	missed int        // since
}

// maxRecurring is how many recurrences there may be before those are forgotten that no longer matter.
const maxRecurring = 1000

// take reports whether the signal of a call may be recorded at the given time, and how many were not since the last one.
func (r *recurring) take(session string, c *event.Call, at event.Time) (missed int, ok bool) {
	key := fmt.Sprintf("%s %q %q", session, c.Server, c.Tool)
	last := (*r)[key]
	switch {
	case last != nil && at.Sub(last.at) < signalEvery:
		last.missed++
		return 0, false
	case last != nil:
		missed = last.missed
	case *r == nil:
		*r = recurring{}
	case len(*r) >= maxRecurring:
		maps.DeleteFunc(*r, func(_ string, old *recurrence) bool { return at.Sub(old.at) >= signalEvery })
	}
	(*r)[key] = &recurrence{at: at}
	return missed, true
}
