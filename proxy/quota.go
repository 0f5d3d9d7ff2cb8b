package proxy

import (
	"sync"
	"time"
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
