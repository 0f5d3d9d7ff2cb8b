// Package habits reads out of a history what agents have done lately, and what a call looked like to the baseline that was in
// force. What that means is told in rules/baseline; here is how far back one has to read.
package habits

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// Log is a history. *store.DB and history.Reader are two.
type Log interface {
	Raw(from uint64) iter.Seq2[json.RawMessage, error]
	Last() uint64
}

// Frame is what one has to know before one begins to read.
type Frame struct {
	Policy   *rules.Policy
	Promoted event.Event // the last baseline that came into force before From; without Body if there is none
	From     uint64      // the first event to read
	Limit    uint64      // how many events are read for a Picture at most; 0 is MaxEvents
	Compares bool        // a baseline came into force at all
}

// ErrEmpty says that nothing was recorded.
var ErrEmpty = errors.New("the history is empty\nhint: put umpire serve in front of a server, or import what happened elsewhere")

// lasting are the JSON keys of the bodies of events that matter however old they are.
var lasting = [][]byte{[]byte(`"loaded":{`), []byte(`"promoted":{`)}

// Find returns the Frame of what happened from a time on and before an event, by reading all that is before it.
func Find(ctx context.Context, log Log, since event.Time, before uint64) (f Frame, err error) {
	if f.From, err = First(log, since, before); err != nil {
		return f, err
	}
	var loaded *event.Loaded
	for raw, err := range log.Raw(1) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return f, err
		}
		if seqOf(raw) >= before {
			break
		}
		if !slices.ContainsFunc(lasting, func(kind []byte) bool { return bytes.Contains(raw, kind) }) {
			continue
		}
		var e event.Event
		if err := e.UnmarshalJSON(raw); err != nil {
			return f, err
		}
		switch b := e.Body.(type) {
		case *event.Loaded:
			loaded = b
		case *event.Promoted:
			if f.Compares = true; e.Seq < f.From {
				f.Promoted = e
			}
		default: // an argument of a call has such a name
		}
	}
	if loaded == nil {
		return f, ErrEmpty
	}
	f.Policy, err = rules.Compile(loaded.Sources, loaded.Env)
	return f, err
}

// First returns the first event before the given one that happened at a time or later.
func First(log Log, since event.Time, before uint64) (uint64, error) {
	var err error
	n := sort.Search(int(before), func(i int) bool {
		if err != nil {
			return true
		}
		var at event.Time
		at, err = timeOf(log, uint64(i))
		return at >= since
	})
	return max(uint64(n), 1), err
}

// timeOf returns when an event happened, or the next one that is there; that of the end is far away.
func timeOf(log Log, seq uint64) (at event.Time, err error) {
	for raw, err := range log.Raw(seq) {
		if err != nil {
			return 0, err
		}
		return at, at.UnmarshalText([]byte(gjson.GetBytes(raw, "at").Str))
	}
	return 1<<63 - 1, nil
}

func seqOf(raw []byte) uint64 { return gjson.GetBytes(raw, "seq").Uint() }

// Since is from when on one has to read to know the last days before now.
func Since(now event.Time) event.Time {
	return now.Add(-baseline.LatelyDays*24*time.Hour - baseline.Horizon)
}

// Reading is what agents have done lately, as far as it was read. One goroutine adds events; anybody may look.
type Reading struct {
	mu     sync.Mutex
	state  *rules.State
	lately *baseline.Lately
	file   *baseline.Baseline // in place of what is in force; nil if it is that
	at     event.Time         // of the event that was added last
	seq    uint64
}

// New begins to read. A Frame without policy is that of an empty history.
func New(f Frame) (r *Reading, err error) {
	if f.Policy == nil {
		if f.Policy, err = rules.Compile(nil, event.Env{}); err != nil {
			return nil, err
		}
	}
	r = &Reading{state: rules.NewState(f.Policy.Habits()), lately: baseline.NewLately()}
	if f.Promoted.Body != nil {
		r.Add(f.Promoted)
	}
	return r, nil
}

// Compare begins to read, and compares what is read with a file, whatever was in force.
func Compare(f Frame, name string, text []byte, b *baseline.Baseline) (*Reading, error) {
	f.Promoted = event.Event{}
	r, err := New(f)
	if err != nil {
		return nil, err
	}
	r.file = b
	r.state.Habits().Promote(text, b)
	r.lately.InForce(baseline.Force{Name: name, Digest: b.Digest()})
	return r, nil
}

// Add takes the next event.
func (r *Reading) Add(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.seq = max(r.at, e.At), e.Seq
	if _, ok := e.Body.(*event.Promoted); ok && r.file != nil {
		return
	}
	r.lately.Add(r.state.Habits(), e)
	r.state.Apply(e)
}

// All is what is shown of all agents.
type All struct {
	Baseline baseline.Force     `json:"baseline"` // that is in force; empty if none is
	Learned  *Learned           `json:"learned,omitempty"`
	Agents   []baseline.Summary `json:"agents"`
	Crowded  bool               `json:"crowded,omitempty"` // there were more agents
	Counting
}

// One is what is shown of one agent.
type One struct {
	Baseline baseline.Force  `json:"baseline"`
	Learned  *Learned        `json:"learned,omitempty"`
	Agent    baseline.Habits `json:"agent"`
	Counting
}

// Learned says of what a baseline was learned.
type Learned struct {
	From   event.Time        `json:"from"`
	Until  event.Time        `json:"until"`
	Enough baseline.Evidence `json:"enough"`
}

// Counting says how far the history was read.
type Counting struct {
	Counting bool       `json:"counting,omitempty"` // it goes on
	Seq      uint64     `json:"seq"`                // of the last event that was read
	At       event.Time `json:"at,omitempty"`       // when that happened
}

// All returns all agents, as they are now.
func (r *Reading) All(now event.Time) All {
	r.mu.Lock()
	defer r.mu.Unlock()
	force, learned := r.force()
	return All{force, learned, r.lately.Summaries(r.live(), now), r.lately.Crowded(), Counting{Seq: r.seq, At: r.at}}
}

// One returns an agent as it is now; ok is false if nobody knows it.
func (r *Reading) One(name string, now event.Time) (o One, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	force, learned := r.force()
	h, ok := r.lately.Habits(r.live(), name, now)
	return One{force, learned, h, Counting{Seq: r.seq, At: r.at}}, ok
}

// Live returns what calls are compared with; nil if there is nothing, and then why, if something came into force.
func (r *Reading) Live() (b *baseline.Baseline, broken string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	force, _ := r.force()
	return r.live(), force.Broken
}

func (r *Reading) live() *baseline.Baseline {
	if r.file != nil {
		return r.file
	}
	return r.state.Habits().Live()
}

func (r *Reading) force() (f baseline.Force, learned *Learned) {
	f = r.lately.Force()
	if b := r.live(); b != nil {
		return f, &Learned{b.From, b.Until, b.Enough}
	}
	if f.Seq != 0 {
		f.Broken = r.state.Habits().Broken()
	}
	return f, nil
}

// Before returns the Frame of a Picture of a call.
func Before(ctx context.Context, log Log, call event.Event) (Frame, error) {
	return Find(ctx, log, call.At.Add(-baseline.Horizon), call.Seq)
}

// MaxEvents bounds how many events are read for one Picture: a few seconds.
const MaxEvents = 250_000

// Picture says why a call has its score, as it was judged. F is what Before returns.
func Picture(ctx context.Context, log Log, f Frame, call event.Event) (p baseline.Picture, err error) {
	c, ok := call.Body.(*event.Call)
	if !ok {
		return p, fmt.Errorf("event %d is no call", call.Seq)
	}
	from, short, limit := f.From, false, cmp.Or(f.Limit, MaxEvents)
	if call.Seq > limit && from < call.Seq-limit {
		from, short = call.Seq-limit, true
		if f.Promoted, err = newest(log, f, from); err != nil {
			return p, err
		}
	}
	s := rules.NewState(f.Policy.Habits())
	if f.Promoted.Body != nil {
		s.Apply(f.Promoted)
	}
	var near, judging []event.Event
	for e, err := range store.Decode(log.Raw(from)) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return p, err
		}
		if e.Seq >= call.Seq {
			break
		}
		switch b := e.Body.(type) {
		case *event.Call:
			if judging = judging[:0]; b.Agent == c.Agent && b.Server == c.Server && b.Tool == c.Tool && !b.Seen {
				judging = append(judging, e)
			}
		case *event.Verdict:
			if len(judging) > 0 && judging[0].Seq == e.Cause && b.Action.Passes() {
				near = append(near[max(0, len(near)-baseline.NearCalls):], judging[0])
			}
			judging = judging[:0]
		default:
		}
		s.Apply(e)
	}
	p = s.Habits().Picture(call, near)
	p.Short = short
	return p, nil
}

// newest returns the last baseline that came into force before an event, as far as f does not know it.
func newest(log Log, f Frame, before uint64) (event.Event, error) {
	out := f.Promoted
	for raw, err := range log.Raw(f.From) {
		if err != nil {
			return out, err
		}
		if seqOf(raw) >= before {
			break
		}
		if !bytes.Contains(raw, lasting[1]) {
			continue
		}
		var e event.Event
		if err := e.UnmarshalJSON(raw); err != nil {
			return out, err
		}
		if _, ok := e.Body.(*event.Promoted); ok {
			out = e
		}
	}
	return out, nil
}
