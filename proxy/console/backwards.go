package console

import (
	"sort"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// backwards is the part of a Tally that is counted from the newest event to the oldest: what happened last is what people
// want to see first, and a long history takes a while.
type backwards struct {
	start uint64    // what is before it is counted backwards
	older []*minute // newest first
	noted []Notable
	past  map[uint64]*pastCall // calls that were not reached yet, by what came of them; nil: there is nothing to reach
	notes int                  // notable verdicts on them, and in noted
}

// pastCall is what is known of a call before it is reached.
type pastCall struct {
	answer  *answer
	notable []Notable // without what only the call says
	settled bool      // its hold has ended
	held    bool      // it has not
}

// Back says that events up to the given one will come through Before, and later ones through Add.
func (t *Tally) Back(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq, t.start, t.past = last, last+1, map[uint64]*pastCall{}
}

// Before counts an event that was before all others that it was told of. Events come in order, from the newest to the oldest;
// some may be missing. It reports whether it has room for more; if not, it says so in its charts.
func (t *Tally) Before(e event.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch b := e.Body.(type) {
	case *event.Call:
		p := t.past[e.Seq]
		delete(t.past, e.Seq)
		if p == nil || b.Seen {
			break
		}
		for _, n := range p.notable {
			n.Call, n.Session, n.Server, n.Tool, n.Agent = e.Seq, e.Session, b.Server, b.Tool, b.Agent
			t.noted = append(t.noted, n)
		}
		if p.held && len(t.order) < maxWaiting {
			t.remember(Notable{Call: e.Seq, Session: e.Session, Server: b.Server, Tool: b.Tool, Agent: b.Agent})
		}
	case *event.Verdict:
		t.judged(t.earlier(e.At), b)
		t.noteBefore(e, b)
		p := t.of(e.Cause)
		if p == nil {
			break
		}
		p.settled, p.held = p.settled || b.After != 0, b.Action == event.Hold && !p.settled
		switch _, known := t.passed[e.Cause]; {
		case !b.Action.Passes() || known:
		case p.answer != nil:
			t.earlier(p.answer.at).answered(*p.answer, e.At)
		case len(t.order) < maxWaiting:
			t.passed[e.Cause] = e.At
			t.wait(e.Cause)
		}
	case *event.Result:
		if b.Outcome != event.OutcomeStarted && b.Outcome != event.OutcomeInput {
			t.earlier(e.At)
			t.answeredBefore(e, b, true)
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
	}
	if e.At != 0 {
		t.dropped = e.At
	}
	return len(t.minutes)+len(t.older) < maxMinutes
}

// Reached says that nothing more comes through Before; with all, that there is nothing.
func (t *Tally) Reached(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.past = nil; all {
		t.dropped = 0
	}
}

// of returns what is known of a call that is to be reached; nil if there is no room.
func (t *Tally) of(call uint64) *pastCall {
	p := t.past[call]
	if p == nil && t.past != nil && len(t.past) < maxWaiting {
		p = &pastCall{}
		t.past[call] = p
	}
	return p
}

// answeredBefore keeps the answer to a call that is to be reached: the first that it got. Sooner says that this one is before
// those that are known.
func (t *Tally) answeredBefore(e event.Event, b *event.Result, sooner bool) {
	if p := t.of(e.Cause); p != nil && (p.answer == nil || sooner) {
		p.answer = &answer{e.At, b.Outcome}
	}
}

// noteBefore keeps a notable verdict on a call that is to be reached.
func (t *Tally) noteBefore(e event.Event, v *event.Verdict) {
	if !notable(v) || t.notes >= maxNotable {
		return
	}
	if p := t.of(e.Cause); p != nil {
		t.notes++
		p.notable = append(p.notable, Notable{}.judged(e, v))
	}
}

// earlier returns the minute of a time that is not after the others, or one of those.
func (t *Tally) earlier(at event.Time) *minute {
	n := int64(at) / int64(time.Minute)
	if len(t.minutes) > 0 && n >= t.minutes[0].at {
		i := sort.Search(len(t.minutes), func(i int) bool { return t.minutes[i].at > n })
		return t.minutes[i-1]
	}
	i := sort.Search(len(t.older), func(i int) bool { return t.older[i].at <= n })
	if i == len(t.older) {
		t.older = append(t.older, newMinute(n))
	}
	return t.older[i]
}
