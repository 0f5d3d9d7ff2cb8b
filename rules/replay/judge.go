package replay

import (
	"fmt"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Judgement is a recorded call with the verdict that was given when it happened and the one that is given now, against
// the same history: what passed then counts and what was denied then does not, whatever is said of it now.
type Judgement struct {
	Call     event.Event
	Recorded event.Verdict
	Replayed event.Verdict
	// End is the Review or the Expired that ended the hold of the call; nil if it was not held.
	End event.Body
	// Incomplete says that retention has removed history on which Replayed can depend.
	Incomplete bool
	// Leans says that Replayed stops a call that passed because of a call that passed, too, and would have been stopped. Live,
	// that one would not have happened, and this one might pass.
	Leans bool
}

// judge judges the calls of a history again. It takes the events in order, from the beginning.
type judge struct {
	history  History
	pruned   event.Time                                 // what happened up to then is gone; 0 if nothing is
	policy   func(*event.Loaded) (*rules.Policy, error) // by what to judge from this event on
	state    *rules.State                               // nil before the first Loaded
	next     uint64                                     // the call whose verdict comes next, …
	call     event.Event                                // … zero if retention has removed it, …
	end      event.Body                                 // … what ended its hold, …
	replayed event.Verdict                              // … and what is made of it
}

// add takes the next event. If it is a verdict, that makes a Judgement: of a call that was held, one when it was, and one
// when the hold ended.
func (j *judge) add(e event.Event) (out Judgement, judged bool, err error) {
	switch b := e.Body.(type) {
	case *event.Loaded:
		if err := j.load(e.Seq, b); err != nil {
			return out, false, err
		}
	case *event.Call:
		if b.Seen {
			break
		}
		if j.state == nil {
			return out, false, fmt.Errorf("replay: call %d was judged before any policy was loaded", e.Seq)
		}
		j.next, j.call, j.end, j.replayed = e.Seq, e, nil, j.state.Decide(e)
	case *event.Review, *event.Expired:
		if j.state == nil {
			return out, false, fmt.Errorf("replay: the hold of call %d ended before any policy was loaded", e.Cause)
		}
		j.next, j.end, j.replayed = e.Cause, e.Body, j.state.Decide(e)
		j.call, _, _ = j.state.Held(e.Cause)
	case *event.Verdict:
		if j.next != e.Cause || j.state == nil {
			return out, false, fmt.Errorf("replay: verdict %d does not follow its call %d", e.Seq, e.Cause)
		}
		out = Judgement{Call: j.call, Recorded: *b, Replayed: j.replayed, End: j.end, Incomplete: j.incomplete(e.At)}
		judged = true
	case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	if j.state != nil {
		j.state.Apply(e)
	}
	return out, judged, nil
}

// load changes the policy. One policy judges by the whole history, not only by what happened since it was loaded.
func (j *judge) load(seq uint64, l *event.Loaded) error {
	p, err := j.policy(l)
	if err != nil {
		return fmt.Errorf("replay: the policy of event %d: %w", seq, err)
	}
	if j.state != nil && j.state.Policy() == p {
		return nil
	}
	j.state = rules.NewState(p)
	for e, err := range j.history(1) {
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		if e.Seq >= seq {
			break
		}
		j.state.Apply(e)
	}
	return nil
}

// incomplete reports whether a verdict at this time can depend on what is gone.
func (j *judge) incomplete(at event.Time) bool {
	return j.pruned != 0 && at.Add(-j.state.Policy().Horizon()) <= j.pruned
}
