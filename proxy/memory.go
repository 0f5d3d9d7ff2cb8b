package proxy

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// memory is all that the gate knows: the fold of the log. Live traffic and recovery run the same fold, so that memory
// can be dropped at any time and made again.
type memory struct {
	state   *rules.State
	dir     *directory
	binder  *binder
	links   map[string]*event.Opened // links that are not closed
	open    map[uint64]openCall      // calls that passed, or were seen, and have no result
	held    map[uint64]heldCall      // calls that wait for a person
	tasks   tasks                    // calls that were answered with a task
	judging openCall                 // the call whose first verdict comes next
	loaded  string                   // digest of the policy that came into force last
	last    uint64
	at      event.Time
	folded  int // events, since memory was new or restored
}

type openCall struct {
	session, link string
	call          *event.Call
}

func newMemory(p *rules.Policy) *memory {
	return &memory{
		state: rules.NewState(p), dir: newDirectory(), binder: newBinder(),
		links: map[string]*event.Opened{}, open: map[uint64]openCall{}, held: map[uint64]heldCall{},
		tasks: newTasks(),
	}
}

// fold adds the next event.
func (m *memory) fold(e event.Event) {
	m.last, m.at = e.Seq, e.At
	m.folded++
	m.dir.apply(e)
	m.binder.apply(e)
	switch b := e.Body.(type) {
	case *event.Opened:
		m.links[b.Link] = b
	case *event.Loaded:
		m.loaded = b.Digest
	case *event.Call:
		if c := (openCall{session: e.Session, link: b.Link, call: b}); b.Seen {
			m.open[e.Seq] = c
		} else {
			m.judging = c
		}
	case *event.Verdict:
		c := m.judging
		if b.After != 0 {
			c = m.held[e.Cause].openCall
		}
		delete(m.held, e.Cause)
		switch {
		case c.call == nil: // retention has removed the call
		case b.Action == event.Hold:
			m.held[e.Cause] = heldCall{openCall: c, verdict: b, since: e.At}
		case b.Action.Passes():
			m.open[e.Cause] = c
		}
		m.judging = openCall{}
	case *event.Result:
		if o, ok := m.open[e.Cause]; ok && b.Outcome == event.OutcomeStarted && b.Task != "" {
			m.tasks.start(e.Cause, o, m.child(o.link), b.Task)
		} else {
			m.tasks.result(e.Cause, b)
		}
		delete(m.open, e.Cause)
	case *event.Closed:
		if m.child(b.Link) {
			m.tasks.close(b.Link)
		}
		delete(m.links, b.Link)
	case *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn:
	}
	m.state.Apply(e)
}

// child reports whether a link leads to a child process, which ends with it.
func (m *memory) child(link string) bool {
	l := m.links[link]
	return l != nil && l.Transport == TransportStdio
}

// errQuit says that somebody did not want to wait for the end of a refold.
var errQuit = errors.New("proxy: umpire is stopping")

// refold builds memory from what is on disk, from the event after m's last one on, or until quit.
func (m *memory) refold(r Recorder, quit *atomic.Bool) error {
	for e, err := range r.Events(m.last + 1) {
		switch {
		case err != nil:
			return fmt.Errorf("proxy: reading the history: %w", err)
		case quit.Load():
			return errQuit
		}
		m.fold(e)
	}
	return nil
}
