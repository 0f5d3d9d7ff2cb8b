package review

import (
	"context"
	"sync"

	"github.com/umpire-dev/umpire/rules/event"
)

// Change says that a call has begun to wait, or that its hold has ended.
type Change struct {
	Held
	Ended *Ended `json:"ended,omitempty"` // nil while the call waits
}

// Ended is how a hold ended.
type Ended struct {
	At      event.Time    `json:"at"`
	How     string        `json:"how"` // such as "local:ann approved it", or "nobody decided within 5m"
	Verdict event.Verdict `json:"verdict"`
}

// Feed tells one follower what changes at a Desk, in order. The Desk never waits for a follower.
type Feed struct {
	desk *Desk
	more chan struct{} // something is there to take

	mu     sync.Mutex
	list   []Change
	bytes  int // of arguments in list
	lost   int
	closed bool
}

// What a follower may leave unread; beyond it, the oldest changes are lost to him.
const (
	maxUnread      = 2 * MaxHeld
	maxUnreadBytes = 16 << 20 // of arguments
)

// Follow returns what is on hold and on record, and what tells of everything that changes from then on. Stop ends it.
func (d *Desk) Follow() ([]Held, *Feed) {
	f := &Feed{desk: d, more: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		f.close()
	} else {
		d.feeds[f] = true
	}
	return d.list(func(s *Slot) bool { return s.told }), f
}

// Stop ends the feed.
func (f *Feed) Stop() {
	f.desk.mu.Lock()
	defer f.desk.mu.Unlock()
	delete(f.desk.feeds, f)
	f.close()
}

// Next waits for changes and returns them all, and how many before them were lost. More is false once ctx is done, or when
// these are the last ones: the feed was stopped, or the Desk has closed.
func (f *Feed) Next(ctx context.Context) (list []Change, lost int, more bool) {
	select {
	case <-f.more:
	case <-ctx.Done():
		return nil, 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, lost = f.list, f.lost
	f.list, f.bytes, f.lost = nil, 0, 0
	if f.closed {
		f.signal() // for whoever asks again
	}
	return list, lost, !f.closed
}

func (f *Feed) add(c Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, c)
	f.bytes += len(c.Args)
	n := 0
	for len(f.list)-n > maxUnread || f.bytes > maxUnreadBytes && len(f.list)-n > 1 {
		f.bytes -= len(f.list[n].Args)
		n++
	}
	if n > 0 {
		clear(f.list[:n])
		f.list, f.lost = f.list[n:], f.lost+n
	}
	f.signal()
}

func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.signal()
}

func (f *Feed) signal() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// tell tells every follower of a hold, and, if ended is not nil, that it has ended. The Desk is locked.
func (s *Slot) tell(ended *Ended) {
	if !s.told {
		s.told = true
		s.desk.tell(Change{Held: s.Held})
	}
	if ended != nil {
		s.desk.tell(Change{Held: s.Held, Ended: ended})
	}
}

func (d *Desk) tell(c Change) {
	for f := range d.feeds {
		f.add(c)
	}
}
