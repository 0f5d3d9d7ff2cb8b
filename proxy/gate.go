// Package proxy stands between clients and servers: the Gate judges and records, a Link is one client-server pair, and
// the front ends move bytes over Streamable HTTP and stdio.
package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
)

// Recorder is where events become durable.
type Recorder interface {
	// Append queues events in the order of their Seq and calls done once, when they are on disk or cannot get there.
	Append(events []event.Event, done func(error))
	// Events yields what is on disk, from Seq from on.
	Events(from uint64) iter.Seq2[event.Event, error]
}

// ErrNotRecorded says that the history could not be written. What is not recorded does not pass.
var ErrNotRecorded = errors.New("not recorded")

// errUnjudged says that a call was to be recorded as if it had been judged.
var errUnjudged = errors.New("proxy: a call that was not seen elsewhere has to be judged")

// GateConfig says what a Gate works with.
type GateConfig struct {
	Recorder Recorder
	Policy   *rules.Policy
	HoldFor  time.Duration    // how long a call waits for a person; 0 is rules.HoldFor, which is also the most
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil discards

	Snapshots     Snapshots // nil: memory is always folded from the first event on
	SnapshotEvery uint64    // in events; 0 is the constant of this name
	Build         string    // names this program; snapshots of another one are not used
}

// Validate reports what is missing.
func (c GateConfig) Validate() error {
	if c.Recorder == nil || c.Policy == nil {
		return errors.New("proxy: a gate wants a recorder and a policy")
	}
	if c.HoldFor < 0 || c.HoldFor > rules.HoldFor {
		return fmt.Errorf("proxy: a call cannot be held for %s, but for %s at most", c.HoldFor, rules.HoldFor)
	}
	return nil
}

// Gate is the one place where events are made: whoever holds its lock stamps them, decides, applies and appends, in this
// order.
type Gate struct {
	recorder Recorder
	now      func() time.Time
	log      *slog.Logger
	holdFor  time.Duration
	desk     *review.Desk
	policy   atomic.Pointer[rules.Policy]
	flying   sync.WaitGroup        // Appends that are not done
	failure  atomic.Pointer[error] // an Append failed: memory is ahead of the disk and has to be dropped

	mu      sync.Mutex // guards what follows
	closed  bool
	mem     *memory
	retries retries
	strays  recurring // signals of calls that nobody has announced
	mending struct{ next time.Time }
	behind  bool // the clock is behind the history

	keeper keeper
}

// NewGate rebuilds memory from the history. What a former run left open is recorded as ended: its
// calls in flight as lost, its calls on hold as denied, its links to child processes and those that nobody has used for
// long as closed.
func NewGate(cfg GateConfig) (*Gate, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Gate{
		recorder: cfg.Recorder, now: cfg.Now, log: cfg.Log,
		retries: retries{}, holdFor: cmp.Or(cfg.HoldFor, rules.HoldFor),
	}
	g.keeper.Snapshots, g.keeper.build, g.keeper.every = cfg.Snapshots, cfg.Build, cmp.Or(cfg.SnapshotEvery, SnapshotEvery)
	g.desk = review.NewDesk(g)
	if g.now == nil {
		g.now = time.Now
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.policy.Store(cfg.Policy)
	var err error
	if g.mem, err = g.keeper.begin(g); err != nil {
		return nil, err
	}
	t := newTicket()
	if g.begin(t); t.Wait() != nil {
		return nil, t.err
	}
	return g, nil
}

// begin records what became of that which a former run left open, and the policy if it is another one.
func (g *Gate) begin(t *Ticket) {
	b := batch{gate: g, at: g.stamp()}
	const why = "umpire stopped before the answer came"
	for _, seq := range slices.Sorted(maps.Keys(g.mem.open)) {
		o := g.mem.open[seq]
		b.add(o.session, seq, lost(o.call, o.call.Retry, why))
	}
	used := g.mem.dir.used()
	for _, id := range slices.Sorted(maps.Keys(g.mem.links)) {
		reason := ""
		switch l := g.mem.links[id]; {
		case l.Transport != TransportHTTP:
			reason = "umpire stopped"
		case b.at.Sub(used[id]) > linkIdle: // its front end would have closed it
			reason = unused
		default: // its client may come back
			continue
		}
		b.add("", 0, &event.Closed{Link: id, Server: g.mem.links[id].Server, Reason: reason})
	}
	if p := g.Policy(); g.mem.loaded != p.Digest() {
		b.add("", 0, p.Loaded())
	}
	b.abandon("umpire stopped while the call was on hold")
	b.send(t)
}

// lost returns the Result of a call that nobody answered.
func lost(c *event.Call, root uint64, why string) *event.Result {
	return &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeLost, Root: root, Text: why, Seen: c.Seen}
}

// Close ends what is on hold and waits for what is being written. Whatever is asked afterwards fails.
func (g *Gate) Close() {
	g.desk.Close("umpire is stopping")
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.keeper.quit.Store(true)
	g.flying.Wait()
	g.keeper.running.Wait()
	if k := &g.keeper; g.failure.Load() == nil && k.due(g.mem.last, max(1, k.every/10)) {
		k.keep(g, g.mem)
	}
}

// Policy returns the policy in force.
func (g *Gate) Policy() *rules.Policy { return g.policy.Load() }

// do runs op on memory that is whole, while nobody else touches it. Else t fails.
func (g *Gate) do(t *Ticket, op func()) *Ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		t.finish(errors.New("umpire is stopping"))
		return t
	}
	defer func() {
		if r := recover(); r != nil { // memory may be half way between two events
			err := fmt.Errorf("the gate panicked: %v", r)
			g.log.Error(err.Error(), "stack", string(debug.Stack()))
			g.fail(err)
			if !t.finished() {
				t.finish(err)
			}
		}
	}()
	if err := g.mend(); err != nil {
		t.finish(err)
		return t
	}
	op()
	g.keeper.check(g)
	return t
}

// Call implements Judge.
func (g *Gate) Call(who Origin, call event.Call, retry Retry) *Ticket {
	t := newTicket()
	return g.do(t, func() {
		b := batch{gate: g, at: g.stamp()}
		var announced *use
		call.Bound, announced = g.mem.binder.bind(&who, &call, b.at)
		announced.joins(call.Bound, &who.Peer)
		announced.joins(call.Bound, &call.Peer)
		t.Peer = call.Peer
		session := b.open(who)
		if call.Bound != nil && call.Bound.Missing {
			if missed, ok := g.strays.take(session, &call, b.at); ok {
				b.add(session, 0, unannounced(&call, missed))
			}
		}
		if retry.Continues {
			call.Retry = g.retries.claim(retry.key(who, call.Tool), b.at)
		}
		c := b.seal(session, 0, &call)
		t.Seq, t.Root, t.Verdict = c.Seq, call.Retry, g.mem.state.Decide(c)
		b.fold(c)
		v := t.Verdict
		b.add(session, c.Seq, &v)
		if v.Action == event.Hold {
			b.park(t)
		} else if v.Action.Passes() {
			b.drifted(session, call.Server)
		}
		b.send(t)
	})
}

// Record implements Judge.
func (g *Gate) Record(who Origin, cause uint64, body event.Body) *Ticket {
	t := newTicket()
	read := g.read(cause, body)
	return g.do(t, func() {
		b := batch{gate: g, at: g.stamp(), read: read}
		switch body := body.(type) {
		case *event.Closed:
			if _, opened := g.mem.links[who.Link]; !opened { // nothing worth recording ever happened on it
				t.finish(nil)
				return
			}
			session, _ := g.mem.dir.find(&who.Peer, who.Link, b.at, 0)
			b.add(session, cause, body)
		case *event.Result:
			session := g.mem.open[cause].session
			if cause == 0 {
				if cause, session = g.mem.tasks.ended(who, body); cause == 0 {
					break
				}
			}
			b.add(session, cause, body)
		case *event.Catalog:
			if news := g.mem.state.Catalog().News(body); len(news.Tools) > 0 || news.Complete {
				b.add(b.open(who), cause, news)
			}
		case *event.Opened, *event.Loaded, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Signal:
			b.add(b.open(who), cause, body)
		case *event.Call:
			if !body.Seen {
				t.finish(errUnjudged)
				return
			}
			g.mem.binder.announce(body)
			b.add(b.open(who), cause, body)
			t.Seq = g.mem.last
		case *event.Turn:
			body.Repeats = g.mem.binder.repeats(body)
			b.add(b.open(who), cause, body)
			t.Seq = g.mem.last
		}
		b.send(t)
	})
}

// read reads what a body says, before the lock is taken: a long text takes time, and it is not that of others. What memory has
// no room for is not read. If it fails, it fails again where memory is guarded.
func (g *Gate) read(cause uint64, body event.Body) (out any) {
	defer func() {
		if r := recover(); r != nil {
			g.log.Error(fmt.Sprintf("a text cannot be read: %v", r), "stack", string(debug.Stack()))
			out = nil
		}
	}()
	if r, ok := body.(*event.Result); ok && len(r.Content) > 0 && g.forgets(cause, r) {
		return nil
	}
	p := g.Policy()
	if out := p.Read(body); out != nil || !p.AsksBaseline() || !g.follows() {
		return out
	}
	return rules.ReadText(body)
}

// follows reports whether what is said is remembered.
func (g *Gate) follows() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mem.state.Follows()
}

func (g *Gate) forgets(cause uint64, r *event.Result) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.mem.open[cause]
	return ok && g.mem.state.Forgets(o.session, len(r.Content), event.At(g.now()))
}

// Heard returns the id of the last piece of a conversation's transcript that was recorded, and whether a call in it is
// known, by the id that it has there.
func (g *Gate) Heard(who *event.Peer, conversation string) (last string, known func(use string) bool) {
	t, uses := newTicket(), map[string]bool{}
	g.do(t, func() {
		last = g.mem.binder.heard(who, conversation, uses)
		t.finish(nil)
	})
	return last, func(use string) bool { return uses[use] }
}

// Announced reports whether who has announced the call for which is holds, by what was announced and in which Turn, and
// whether that came.
func (g *Gate) Announced(who *event.Peer, is func(u event.Use, turn uint64) bool) (announced, came bool) {
	t := newTicket()
	g.do(t, func() {
		announced, came = g.mem.binder.announced(who, is)
		t.finish(nil)
	})
	return announced, came
}

// FindTool returns the tool, of all that servers have listed, for which is holds; ok is false unless it is one.
func (g *Gate) FindTool(is func(server, tool string) bool) (found catalog.Key, ok bool) {
	t := newTicket()
	g.do(t, func() {
		n := 0
		for key := range g.mem.state.Catalog().Keys() {
			if is(key.Server, key.Tool) {
				found = key
				n++
			}
		}
		ok = n == 1
		t.finish(nil)
	})
	return found, ok
}

// Declares implements Judge. What a definition declares that is too long to keep is not known, so it could be anything.
func (g *Gate) Declares(server, tool, argument string) (declares bool) {
	g.do(newTicket(), func() {
		if known := g.mem.state.Catalog().Find(server, tool); known != nil {
			declares = known.Now.Long > 0 || wire.DeclaresArgument(known.Now.InputSchema, argument)
		}
	})
	return declares
}

// Await implements Judge.
func (g *Gate) Await(who Origin, tool string, retry Retry, root uint64) {
	g.do(newTicket(), func() { g.retries.await(retry.key(who, tool), root, g.stamp()) })
}

// Reopen implements Judge.
func (g *Gate) Reopen(link string) (opened event.Opened, ok bool) {
	t := newTicket()
	g.do(t, func() {
		var o *event.Opened
		if o, ok = g.mem.links[link]; ok {
			opened = *o
		}
		t.finish(nil)
	})
	if t.Wait() != nil {
		return event.Opened{}, false
	}
	return opened, ok
}

// Load puts a policy into force. Its windows are those that it would have had from the beginning: the whole history is
// folded again, most of it while traffic goes on. If that cannot be recorded, the policy before stays in force.
func (g *Gate) Load(p *rules.Policy) error {
	fresh := newMemory(p)
	if err := fresh.refold(g.recorder, &g.keeper.quit); err != nil {
		return err
	}
	var saved uint64
	if k := &g.keeper; k.Snapshots != nil && fresh.last >= k.every {
		saved = k.keep(g, fresh)
	}
	t, recorded := newTicket(), newTicket()
	g.do(t, func() {
		g.flying.Wait()
		if err := fresh.refold(g.recorder, &g.keeper.quit); err != nil {
			t.finish(err)
			return
		}
		old := g.mem
		g.mem = fresh
		b := batch{gate: g, at: g.stamp()}
		b.add("", 0, p.Loaded())
		b.send(recorded)
		if recorded.Wait() == nil { // nothing is judged by a policy that the log does not know
			g.policy.Store(p)
			g.keeper.saved.Store(saved)
		} else {
			g.mem = old
		}
		t.finish(nil)
	})
	if err := t.Wait(); err != nil {
		return err
	}
	if err := recorded.Wait(); err != nil {
		return err
	}
	g.desk.Reload(p.Digest())
	return nil
}

// fail notes that memory is ahead of the disk.
func (g *Gate) fail(err error) { g.failure.CompareAndSwap(nil, &err) }

// mend drops memory and folds it again after an Append has failed. It tries at most once a second, and less often where
// folding takes long; in between everything is denied.
func (g *Gate) mend() error {
	failure := g.failure.Load()
	if failure == nil {
		return nil
	}
	begin := time.Now()
	if begin.Before(g.mending.next) {
		return *failure
	}
	g.flying.Wait()
	fresh, _, err := g.recover(g.Policy())
	g.mending.next = begin.Add(max(time.Second, 5*time.Since(begin)))
	if err != nil {
		return err
	}
	g.mem = fresh
	g.failure.Store(nil)
	return nil
}

// stamp returns the time of the next event: now, but never before the event before. If the clock was set back, while
// Umpire ran or while it did not, time stands still until the clock has caught up: windows do not slide, so that limits
// stay used up and nothing is forgotten. Holds end all the same, since their timers go by no clock.
func (g *Gate) stamp() event.Time {
	now := event.At(g.now())
	behind := g.mem.at.Sub(now)
	if was := g.behind; behind > time.Second != was {
		if g.behind = !was; g.behind {
			g.log.Warn("the clock is behind the history: until it has caught up, time stands still and windows do not slide",
				"behind", behind.Round(time.Second), "history", g.mem.at)
		} else {
			g.log.Info("the clock has caught up with the history")
		}
	}
	return max(now, g.mem.at)
}

// batch is events that are appended together.
type batch struct {
	gate   *Gate
	at     event.Time
	read   any // what was read of the result or the turn
	events []event.Event
}

// open returns the session of who; it adds the Opened event that comes first if the link has none in it yet.
func (b *batch) open(who Origin) (session string) {
	session, opened := b.gate.mem.dir.find(&who.Peer, who.Link, b.at, b.gate.mem.last+1)
	if !opened {
		b.add(session, 0, &event.Opened{
			Link: who.Link, Server: who.Server, Transport: who.Transport, Protocol: who.Protocol, Peer: who.Peer,
		})
	}
	return session
}

// seal makes an event of body. It has to be folded before the next one is sealed.
func (b *batch) seal(session string, cause uint64, body event.Body) event.Event {
	return event.Event{V: event.Version, Seq: b.gate.mem.last + 1, At: b.at, Session: session, Cause: cause, Body: body}
}

func (b *batch) fold(e event.Event) {
	switch e.Body.(type) {
	case *event.Result, *event.Turn, *event.Promoted:
		e.Read = b.read
	default: // of which nothing is read
	}
	b.gate.mem.fold(e)
	e.Read = nil
	b.events = append(b.events, e)
}

func (b *batch) add(session string, cause uint64, body event.Body) {
	b.fold(b.seal(session, cause, body))
}

// send appends the events; t is finished once they are on disk.
func (b *batch) send(t *Ticket) {
	if len(b.events) == 0 {
		t.finish(nil)
		return
	}
	g := b.gate
	g.flying.Add(1)
	var once sync.Once
	done := func(err error) {
		once.Do(func() {
			if err != nil {
				g.fail(err)
			}
			t.finish(err)
			g.flying.Done()
		})
	}
	defer func() {
		if r := recover(); r != nil {
			done(fmt.Errorf("the recorder panicked: %v", r))
		}
	}()
	g.recorder.Append(b.events, done)
}
