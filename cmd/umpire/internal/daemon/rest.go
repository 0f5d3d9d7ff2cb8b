package daemon

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// The pace at which memory is given back.
const (
	restAfter = time.Second // without use
	restShare = 100         // of the time, one part at most goes into it
)

// rest gives memory back to the system when the daemon comes to rest: it waits for clients all day, and what it needed
// for many of them is not to be kept until then. While nobody uses it, nothing wakes up.
type rest struct {
	free func()

	awaited atomic.Bool // a timer runs
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool

	// Of the timer.
	freed int64     // when memory was given back, as busy is
	next  time.Time // not before
}

// await gives memory back once busy, when something last happened in Unix nanoseconds, lies some time back. It may be
// called at any time, and costs nothing while somebody else waits.
func (r *rest) await(busy *atomic.Int64) {
	if !r.awaited.Load() && r.awaited.CompareAndSwap(false, true) {
		r.look(busy)
	}
}

func (r *rest) look(busy *atomic.Int64) {
	if freed := r.freed; busy.Load() <= freed {
		r.awaited.Store(false)
		if busy.Load() > freed { // meanwhile
			r.await(busy)
		}
		return
	}
	now := time.Now()
	if wait := max(restAfter-now.Sub(time.Unix(0, busy.Load())), r.next.Sub(now)); wait > 0 {
		r.again(wait, busy)
		return
	}
	r.free()
	r.freed = now.UnixNano()
	r.next = now.Add(restShare * time.Since(now))
	r.again(time.Until(r.next), busy)
}

func (r *rest) again(wait time.Duration, busy *atomic.Int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.timer = time.AfterFunc(wait, func() { r.look(busy) })
	}
}

// stop ends the wait.
func (r *rest) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// freeMemory gives back what is not needed. A collection halves stacks that have become too large, so it takes some.
func freeMemory() {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
}
