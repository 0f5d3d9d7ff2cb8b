package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/proxy/console"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// The bounds of a part of a replay.
const (
	maxMoments     = 400
	maxPlayEvents  = 100_000         // that are looked at for one part
	playBack       = 2_000           // events before it that are looked at for what they have left behind
	playFor        = 2 * time.Minute // then a replay that nobody goes on with is forgotten
	nearFor        = 10 * time.Minute
	nearMissesBack = 30 * 24 * time.Hour
)

// moments is a part of a replay.
type moments struct {
	Moments []json.RawMessage `json:"moments"`
	Next    uint64            `json:"next"` // the from of the next part; 0 if there is no more
}

// moment is how rules stood at an event. See replay.Moment.
type moment struct {
	Seq       uint64           `json:"seq"`
	Standings []rules.Standing `json:"standings,omitempty"`
	Earlier   []rules.Standing `json:"earlier,omitempty"`
}

// playing is the replay that somebody looks at. There is one at a time: it holds all that rules remember.
type playing struct {
	mu      sync.Mutex
	player  *replay.Player // nil: there is none
	session string
	next    uint64          // the event that it takes next
	ctx     context.Context //nolint:containedctx // of who asks now: a policy that comes into force is folded for him
	forget  *time.Timer
}

// play answers with how the rules stood at the events of a session from from on.
func (d *Daemon) play(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := number(q, "limit", 100, 1, maxMoments)
	from, err2 := number(q, "from", 0, 0, 1<<62)
	if err = errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s, found, err := d.db.Session(q.Get("session"))
	if err == nil && !found {
		http.Error(w, "there is no such session", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	var out moments
	if err == nil {
		out, err = d.playing.part(ctx, &d.past, s, max(from, s.First), int(limit))
	}
	d.answer(w, out, err)
}

func (p *playing) part(ctx context.Context, past *past, of store.Session, from uint64, limit int) (out moments, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Moments = []json.RawMessage{}
	if from > of.Last {
		return out, nil
	}
	p.ctx = ctx
	if p.forget != nil {
		p.forget.Stop()
	}
	p.forget = time.AfterFunc(playFor, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.player = nil
	})
	defer func() {
		if err != nil {
			p.player = nil
		}
	}()
	if p.player == nil || p.session != of.ID || p.next > from || from-p.next > maxPlayEvents {
		p.player = nil // two at once would be too much
		p.session, p.next = of.ID, max(of.First, from-min(from, playBack))
		s, err := past.before(ctx, p.next)
		if err != nil {
			return out, err
		}
		p.player = replay.NewPlayer(s, of.ID, func(policy *rules.Policy, before uint64) (*rules.State, error) {
			return past.fold(p.ctx, policy, before)
		})
	}
	size, n := 0, 0
	for e, err := range past.db.Events(p.next) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return out, err
		}
		switch {
		case e.Seq < from:
			err = p.player.Skip(e)
		case e.Seq > of.Last || len(out.Moments) == limit || size > maxPageBytes || n > maxPlayEvents:
			out.Next = p.next
		default:
			n++
			var m replay.Moment
			if m, err = p.player.Add(e); err == nil && e.Session == of.ID {
				out.Moments = append(out.Moments, moment{e.Seq, m.Standings, m.Earlier}.json())
				size += len(out.Moments[len(out.Moments)-1])
			}
		}
		if err != nil {
			return out, err
		}
		if out.Next != 0 {
			break
		}
		p.next = e.Seq + 1
	}
	if out.Next > of.Last {
		out.Next = 0
	}
	return out, nil
}

func (m moment) json() json.RawMessage {
	text, err := json.Marshal(m)
	if err != nil {
		panic("daemon: " + err.Error()) // numbers and texts always marshal
	}
	return text
}

// nearing counts near-misses, while somebody wants to know of them.
type nearing struct {
	tally *console.Tally // nil: nobody does
	idle  *time.Timer
}

// nearMisses returns the counts of near-misses. The first time, it begins to count, which goes on in the background, until
// nobody has asked for a while: what rules remember takes memory.
func (d *Daemon) nearMisses() (*console.Tally, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.nearing.tally != nil:
		d.nearing.idle.Reset(nearFor)
		return d.nearing.tally, nil
	case d.ctx.Err() != nil:
		return nil, errors.New("umpire is stopping")
	}
	t := console.NewTally()
	ctx, cancel := context.WithCancel(d.ctx)
	d.nearing.tally, d.nearing.idle = t, time.AfterFunc(nearFor, cancel)
	d.running.Go(func() {
		defer cancel()
		if err := d.countNear(ctx, t); err != nil && ctx.Err() == nil {
			d.opts.Log.Error("near-misses cannot be counted", "error", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.nearing.idle.Stop()
		if d.nearing.tally == t {
			d.nearing.tally = nil
		}
	})
	return t, nil
}

// countNear counts which rules calls came near to, as judged by the policies that were in force.
func (d *Daemon) countNear(ctx context.Context, t *console.Tally) error {
	begin := event.At(d.opts.Now().Add(-nearMissesBack))
	from, err := d.past.since(begin, d.db.Last()+1)
	if err != nil {
		return err
	}
	if from <= 1 {
		from = 1
	} else {
		t.Begin(begin)
	}
	var s *rules.State
	if loaded, _, err := d.past.read(ctx, from); err != nil {
		return err
	} else if len(loaded) > 0 {
		if s, err = d.past.before(ctx, from); err != nil {
			return err
		}
	}
	c := nearCounter{tally: t, state: s, calls: map[uint64]*nearCall{}, fold: func(l *event.Loaded, before uint64) (*rules.State, error) {
		p, err := d.past.policy(l)
		if err != nil {
			return nil, err
		}
		return d.past.fold(ctx, p, before)
	}}
	for raw, err := range d.db.Watch(ctx.Done(), from) {
		var e event.Event
		if err == nil {
			err = e.UnmarshalJSON(raw)
		}
		if err == nil {
			err = c.add(e)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// nearCounter finds near-misses. Each rule counts once for a call, a turn or a signal.
type nearCounter struct {
	tally *console.Tally
	state *rules.State // nil before the first policy
	fold  func(l *event.Loaded, before uint64) (*rules.State, error)
	calls map[uint64]*nearCall // that can still become a step
	order []uint64
}

type nearCall struct {
	event.Event
	counted []string // rules for which it was
}

// maxNearCalls bounds the calls whose result can be a near-miss.
const maxNearCalls = 20_000

func (c *nearCounter) add(e event.Event) (err error) {
	if l, ok := e.Body.(*event.Loaded); ok && (c.state == nil || c.state.Policy().Digest() != l.Digest) {
		if c.state, err = c.fold(l, e.Seq); err != nil {
			return err
		}
	}
	if c.state == nil {
		return nil
	}
	var near []string
	switch b := e.Body.(type) {
	case *event.Call:
		if !b.Seen {
			near = c.state.NearCall(e)
		}
		c.state.Apply(e)
		c.calls[e.Seq] = &nearCall{Event: e}
		if c.order = append(c.order, e.Seq); len(c.order) > maxNearCalls {
			delete(c.calls, c.order[0])
			c.order = c.order[1:]
		}
	case *event.Turn, *event.Signal:
		c.state.Apply(e)
		near = c.state.NearStep(e, e.At)
	case *event.Verdict:
		c.state.Apply(e)
		near = c.step(e.Cause, e.At, b.Action.Passes())
		if b.Action == event.Deny {
			delete(c.calls, e.Cause)
		}
	case *event.Result:
		c.state.Apply(e)
		near = c.step(e.Cause, e.At, true)
		if b.Outcome != event.OutcomeInput && b.Outcome != event.OutcomeStarted {
			delete(c.calls, e.Cause)
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Review, *event.Expired, *event.Closed:
		c.state.Apply(e)
	}
	c.tally.Near(e, near)
	return nil
}

// step returns the rules of which everything but the last step has happened now that a call has passed, or was answered.
func (c *nearCounter) step(call uint64, at event.Time, passes bool) []string {
	k := c.calls[call]
	if k == nil || !passes {
		return nil
	}
	near := slices.DeleteFunc(c.state.NearStep(k.Event, at), func(rule string) bool { return slices.Contains(k.counted, rule) })
	k.counted = append(k.counted, near...)
	return near
}
