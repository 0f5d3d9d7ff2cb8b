// Package interchange writes a history in the forms of other programs, and reads theirs.
package interchange

import (
	"fmt"
	"iter"
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// History yields recorded events from Seq from on, in order. It can be asked again.
type History func(from uint64) iter.Seq2[event.Event, error]

// About says which calls are wanted, by the event of the call.
type About func(call event.Event) bool

// call is a recorded call with all that became of it.
type call struct {
	event.Event
	*event.Call
	first   event.Verdict // zero if nobody could judge it
	settled event.Verdict // what ended its hold; zero if it was not held, or is still
	end     ending
	related []uint64 // calls of the evidence; of what retention has removed nobody knows whether it was one

	settledAt event.Time
}

// last returns the verdict that counts.
func (c *call) last() *event.Verdict {
	if c.settled.After != 0 {
		return &c.settled
	}
	return &c.first
}

// rule returns the rule because of which the call was stopped, or would have been.
func (c *call) rule() string {
	if c.last().Rule == "" {
		return c.first.Rule
	}
	return c.last().Rule
}

// ending is how a call ended, as far as it is told where the call stands.
type ending struct {
	outcome event.Outcome
	at      event.Time
	code    int64
}

// stage is what has just happened to a call.
type stage uint8

const (
	judged  stage = iota // or seen, if nobody could
	settled              // its hold has ended
)

// walk tells of every call that is wanted, in the order in which they were judged, and of every hold when it has ended. It
// reads the history twice, and only what is there the first time: how a call ends is told with the call itself.
func walk(history History, about About, tell func(c *call, s stage) error) error {
	ends, verdicts, last, err := endings(history)
	if err != nil {
		return err
	}
	var asked event.Event
	var calls []uint64 // in order
	held := map[uint64]*call{}
	for e, err := range history(1) {
		if err != nil {
			return err
		}
		if e.Seq > last {
			return nil
		}
		switch b := e.Body.(type) {
		case *event.Call:
			calls = append(calls, e.Seq)
			if asked = e; b.Seen && about(e) {
				err = tell(&call{Event: e, Call: b, end: ends[e.Seq]}, judged)
			}
		case *event.Verdict:
			if h := held[e.Cause]; b.After != 0 {
				if delete(held, e.Cause); h != nil {
					h.settledAt = e.At
					err = tell(h, settled)
				}
				break
			}
			if asked.Seq != e.Cause || !about(asked) {
				break
			}
			body, ok := asked.Body.(*event.Call)
			if !ok {
				return fmt.Errorf("verdict %d is on event %d, which is no call", e.Seq, e.Cause)
			}
			c := &call{Event: asked, Call: body, first: *b, end: ends[e.Cause]}
			for _, seq := range b.Evidence {
				if _, found := slices.BinarySearch(calls, seq); found || seq < calls[0] {
					c.related = append(c.related, seq)
				}
			}
			if v := verdicts[e.Cause]; v != nil {
				c.settled = *v
				held[e.Cause] = c
			}
			err = tell(c, judged)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endings reads how calls ended, and what ended holds. Of a call with several results the last one counts.
func endings(history History) (ends map[uint64]ending, verdicts map[uint64]*event.Verdict, last uint64, err error) {
	ends, verdicts = map[uint64]ending{}, map[uint64]*event.Verdict{}
	names := map[event.Outcome]event.Outcome{} // each one once in memory
	for e, err := range history(1) {
		if err != nil {
			return nil, nil, 0, err
		}
		last = e.Seq
		switch b := e.Body.(type) {
		case *event.Result:
			if _, ok := names[b.Outcome]; !ok {
				names[b.Outcome] = b.Outcome
			}
			ends[e.Cause] = ending{outcome: names[b.Outcome], at: e.At, code: b.Code}
		case *event.Verdict:
			if b.After != 0 {
				verdicts[e.Cause] = b
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return ends, verdicts, last, nil
}
