package proxy_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// books is what the soak knows of every call from all sides: its clients, the recorder and the servers. A call is known
// by the number n among its arguments.
type books struct {
	t  testing.TB
	mu sync.Mutex
	of []fate // by n

	wrong int
	dice  *rand.Rand
}

// fate is what has become of a call.
type fate uint8

const (
	cleared fate = 1 << iota // a verdict that lets it through is on disk
	reached                  // its server has it
	refused                  // its client was told that it was denied
)

// draw returns a number below n.
func (b *books) draw(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dice.IntN(n)
}

// number returns the number of a new call.
func (b *books) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of = append(b.of, 0)
	return len(b.of) - 1
}

// note adds to the fate of a call, and checks what must not come together: nothing reaches a server that is not cleared
// (invariant 4), nothing that its client was told is denied (invariant 5), and nothing twice.
func (b *books) note(n int, news fate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n < 0 || n >= len(b.of) {
		b.complain("call %d was never made", n)
		return
	}
	was := b.of[n]
	b.of[n] |= news
	switch now := b.of[n]; {
	case now&reached != 0 && now&cleared == 0:
		b.complain("call %d reached its server, and no verdict on disk lets it through", n)
	case now&reached != 0 && now&refused != 0:
		b.complain("call %d reached its server, and its client was told that it was denied", n)
	case news == reached && was&reached != 0:
		b.complain("call %d reached its server twice", n)
	}
}

// reachedServer reports whether a server got call n.
func (b *books) reachedServer(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[n]&reached != 0
}

// totals counts the calls, and of them those that were cleared, that reached a server and that were refused.
func (b *books) totals() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var c, r, d int
	for _, f := range b.of {
		c += int(f & cleared)
		r += int(f & reached / reached)
		d += int(f & refused / refused)
	}
	return fmt.Sprintf("%d calls: %d cleared, %d reached their server, %d refused", len(b.of), c, r, d)
}

// fault reports a violation.
func (b *books) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complain(format, args...)
}

// complain reports the first violations; more of them say no more.
func (b *books) complain(format string, args ...any) {
	if b.wrong++; b.wrong <= 20 {
		b.t.Errorf(format, args...)
	}
}

// flaky is a Recorder that fails when it is told to. What it has written it enters into the books, before anybody is told.
type flaky struct {
	proxy.Recorder
	books *books
	mu    sync.Mutex
	next  failure
	held  map[uint64]int // Seq -> n of calls on hold
	ever  bool           // it has failed
}

// failure is how the next Append ends.
type failure int

const (
	atOnce   failure = iota + 1 // it fails before it returns
	later                       // it fails when others may be queued behind it
	panicked                    // it panics
)

var errDisk = errors.New("no space left on device")

// fail makes the next Append fail.
func (f *flaky) fail(how failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.ever = how, true
}

// failed reports whether it ever failed.
func (f *flaky) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ever
}

// Append implements proxy.Recorder.
func (f *flaky) Append(events []event.Event, done func(error)) {
	f.mu.Lock()
	how := f.next
	f.next = 0
	f.mu.Unlock()
	switch how {
	case atOnce:
		done(errDisk)
	case later:
		go done(errDisk)
	case panicked:
		panic("the recorder is broken")
	default:
		f.Recorder.Append(events, func(err error) {
			if err == nil {
				f.enter(events)
			}
			done(err)
		})
	}
}

// enter notes the verdicts that let a call through.
func (f *flaky) enter(events []event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[uint64]int{}
	for _, e := range events {
		switch b := e.Body.(type) {
		case *event.Call:
			n[e.Seq] = number(b)
		case *event.Verdict:
			call, fresh := n[e.Cause]
			if !fresh {
				call = f.held[e.Cause]
			}
			delete(f.held, e.Cause)
			if b.Action == event.Hold {
				f.held[e.Cause] = call
			} else if b.Action.Passes() {
				f.books.note(call, cleared)
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
	}
}

// Events implements proxy.Recorder.
func (f *flaky) Events(from uint64) iter.Seq2[event.Event, error] { return f.Recorder.Events(from) }

// number returns the n of a call.
func number(c *event.Call) int { return int(gjson.GetBytes(c.Args, "n").Int()) }
