package proxy

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Judge decides on calls and records what happens. The Gate is one; where no daemon runs, Denier denies.
type Judge interface {
	// Call asks for a verdict. Nothing is released before the Ticket's Wait returns.
	Call(who Origin, call event.Call, retry Retry) *Ticket
	// Record appends what is no call, or a call that was seen and cannot be judged. Cause is the Seq of the event that led to it, or 0. A Result without cause is how
	// the task ended that it names: its cause is the call of who that started the task, and without one it is not recorded.
	Record(who Origin, cause uint64, body event.Body) *Ticket
	// Await says that the server asked for input to go on with the call root: the retry is the same call.
	Await(who Origin, tool string, retry Retry, root uint64)
	// Reopen returns what is known of a link that was opened before and not closed, possibly by a former process.
	Reopen(link string) (event.Opened, bool)
	// Policy returns the policy in force.
	Policy() *rules.Policy
	// Declares reports whether the server has declared an argument of this name for a tool, as that was listed last.
	Declares(server, tool, argument string) bool
}

// The transports of a link, as events name them.
const (
	TransportHTTP  = "http" // Streamable HTTP
	TransportSSE   = "sse"  // HTTP+SSE of 2024-11-05
	TransportWS    = "ws"   // WebSocket
	TransportStdio = "stdio"
	TransportHook  = "hook" // a client tells of its own tools: there is no connection
)

// Origin is the client-server pair that causes an event.
type Origin struct {
	Link      string // names the pair, and in the log
	Server    string
	Transport string
	Protocol  string // the revision that they speak, as far as it is known
	Peer      event.Peer
}

// Ticket is the promise of a record, and for a call of a verdict.
type Ticket struct {
	Seq     uint64 // of the call, judged or seen, or of the turn; 0 if it was not recorded
	Root    uint64 // of the first attempt, if the call continues one
	Verdict event.Verdict
	Peer    event.Peer   // who calls, with the conversation that the call was found to belong to
	Hold    *review.Slot // if the call is on hold: the Slot has the verdict that counts
	err     error
	over    atomic.Bool
	done    sync.WaitGroup
}

func newTicket() *Ticket {
	t := &Ticket{}
	t.done.Add(1)
	return t
}

// Wait returns once the record is on disk. If it cannot be, the error is ErrNotRecorded and the verdict denies. The
// fields of t may be read afterwards.
func (t *Ticket) Wait() error {
	t.done.Wait()
	return t.err
}

// Settled returns the verdict that counts, once there is one: if the call is held, when the hold ends.
func (t *Ticket) Settled() (event.Verdict, error) {
	if err := t.Wait(); err != nil || t.Hold == nil {
		return t.Verdict, err
	}
	<-t.Hold.Done()
	return t.Hold.Verdict(), nil
}

// finish keeps Wait's promise.
func (t *Ticket) finish(err error) {
	if err == nil && t.Hold != nil {
		t.Hold.Recorded()
	}
	if err != nil {
		t.err = fmt.Errorf("%w: %w", ErrNotRecorded, err)
		t.Verdict = event.Verdict{Action: event.Deny, Why: t.err.Error()}
		if t.Hold != nil {
			t.Hold.Drop()
			t.Hold = nil
		}
	}
	t.over.Store(true)
	t.done.Done()
}

func (t *Ticket) finished() bool { return t.over.Load() }

// Denier is the Judge where nothing can be judged: it denies every call and records nothing.
type Denier struct {
	Reason string
}

// Call implements Judge.
func (d Denier) Call(Origin, event.Call, Retry) *Ticket {
	t := newTicket()
	t.Verdict = event.Verdict{Action: event.Deny, Why: d.Reason}
	t.finish(nil)
	return t
}

// Record implements Judge.
func (d Denier) Record(Origin, uint64, event.Body) *Ticket {
	t := newTicket()
	t.finish(nil)
	return t
}

// Await implements Judge.
func (d Denier) Await(Origin, string, Retry, uint64) {}

// Reopen implements Judge.
func (d Denier) Reopen(string) (event.Opened, bool) { return event.Opened{}, false }

// Policy implements Judge.
func (d Denier) Policy() *rules.Policy { return nil }

// Declares implements Judge.
func (d Denier) Declares(string, string, string) bool { return false }

// Retry connects a call to the one that it continues (MCP 2026-07-28, multi round-trip requests): the same client calls
// the same tool with the same arguments and gives back the server's requestState.
type Retry struct {
	Continues bool // the call answers an input_required
	State     string
	Args      []byte // the arguments as sent
}

func (r Retry) key(who Origin, tool string) string {
	return fmt.Sprintf("%q %q %q %q %q %x", who.Peer.Principal, who.Peer.Agent, who.Server, tool, r.State, sha256.Sum256(r.Args))
}

// retries remembers which calls wait for input. Each is good for one retry; a retry that matches none is a call of its
// own, which is stricter.
type retries map[string][]awaited

type awaited struct {
	root uint64
	at   event.Time
}

// The bounds of retries: a person may take long to answer, and a server must not fill the memory.
const (
	maxAwait   = time.Hour
	maxAwaited = 10_000
)

func (r retries) await(key string, root uint64, at event.Time) {
	if len(r) >= maxAwaited {
		for k, list := range r {
			if at.Sub(list[len(list)-1].at) > maxAwait {
				delete(r, k)
			}
		}
	}
	if len(r) < maxAwaited && len(r[key]) < maxAwaited {
		r[key] = append(r[key], awaited{root: root, at: at})
	}
}

// claim returns the Seq of the first attempt, 0 if there is none.
func (r retries) claim(key string, at event.Time) uint64 {
	list := r[key]
	for len(list) > 0 && at.Sub(list[0].at) > maxAwait {
		list = list[1:]
	}
	var root uint64
	if len(list) > 0 {
		root, list = list[0].root, list[1:]
	}
	if r[key] = list; len(list) == 0 {
		delete(r, key)
	}
	return root
}
