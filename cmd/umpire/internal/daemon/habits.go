package daemon

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/habits"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// practising is what agents have done lately, while somebody wants to know of it.
type practising struct {
	reading *habits.Reading // nil: nobody does, or it is not known yet where to begin
	begun   bool
	last    uint64 // the last event when it began
	idle    *time.Timer
}

// practice returns what agents have done lately; nil if it is not known yet. The first time, it begins to read, which goes on in
// the background, until nobody has asked for a while: what is remembered takes memory.
func (d *Daemon) practice() (r *habits.Reading, last uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch p := &d.practising; {
	case p.begun:
		p.idle.Reset(nearFor)
		return p.reading, p.last, nil
	case d.ctx.Err() != nil:
		return nil, 0, errors.New("umpire is stopping")
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.practising = practising{begun: true, last: d.db.Last(), idle: time.AfterFunc(nearFor, cancel)}
	d.running.Go(func() {
		defer cancel()
		if err := d.practise(ctx); err != nil && ctx.Err() == nil {
			d.opts.Log.Error("what agents do cannot be read", "error", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.practising.idle.Stop()
		d.practising = practising{}
	})
	return nil, d.practising.last, nil
}

// practise reads what agents have done in the last days, and goes on as more happens. What tools can do is as the policy says that is
// in force when it begins.
func (d *Daemon) practise(ctx context.Context) error {
	frame, err := habits.Find(ctx, d.db, habits.Since(event.At(d.opts.Now())), d.db.Last()+1)
	if err != nil {
		return err
	}
	r, err := habits.New(frame)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.practising.reading = r
	d.mu.Unlock()
	next := frame.From
	for e, err := range d.db.Events(next) { // several at a time
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		r.Add(e)
		next = e.Seq + 1
	}
	for raw, err := range d.db.Watch(ctx.Done(), next) {
		var e event.Event
		if err == nil {
			err = e.UnmarshalJSON(raw)
		}
		if err != nil {
			return err
		}
		r.Add(e)
	}
	return nil
}

// allHabits returns every agent, in what state it is and what is new about it.
func (d *Daemon) allHabits(url.Values) (any, error) {
	r, last, err := d.practice()
	if err != nil || r == nil {
		return habits.All{Agents: []baseline.Summary{}, Counting: habits.Counting{Counting: true}}, err
	}
	all := r.All(event.At(d.opts.Now()))
	all.Counting.Counting = all.Seq < last
	return all, nil
}

// habitsOf returns one agent, be it that nothing is known of it.
func (d *Daemon) habitsOf(q url.Values) (any, error) {
	r, last, err := d.practice()
	if err != nil || r == nil {
		return habits.One{Counting: habits.Counting{Counting: true}}, err
	}
	one, _ := r.One(q.Get("agent"), event.At(d.opts.Now()))
	one.Counting.Counting = one.Seq < last
	return one, nil
}

// pictures are those that were drawn last. One is drawn at a time: it takes a State of its own.
type pictures struct {
	mu    sync.Mutex
	drawn map[uint64]*baseline.Picture
	order []uint64
}

const maxPictures = 64

// picture answers with why a call has its score by the baseline that was in force; null if none was.
func (d *Daemon) picture(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil {
		http.Error(w, "want the number of a call", http.StatusBadRequest)
		return
	}
	e, found, err := d.db.Get(seq)
	if c, ok := e.Body.(*event.Call); err == nil && (!found || !ok || c.Seen) {
		http.Error(w, "there is no such call, or nobody has judged it", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	var p *baseline.Picture
	if err == nil {
		p, err = d.pictures.of(ctx, &d.past, e)
	}
	d.answer(w, p, err)
}

func (p *pictures) of(ctx context.Context, past *past, call event.Event) (*baseline.Picture, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if drawn, ok := p.drawn[call.Seq]; ok {
		return drawn, nil
	}
	frame, ok, err := past.frame(ctx, call)
	var out *baseline.Picture
	if err == nil && ok {
		var x baseline.Picture
		x, err = habits.Picture(ctx, past.db, frame, call)
		out = &x
	}
	if err != nil {
		return nil, err
	}
	if p.drawn == nil {
		p.drawn = map[uint64]*baseline.Picture{}
	}
	p.drawn[call.Seq] = out
	if p.order = append(p.order, call.Seq); len(p.order) > maxPictures {
		delete(p.drawn, p.order[0])
		p.order = slices.Delete(p.order, 0, 1)
	}
	return out, nil
}
