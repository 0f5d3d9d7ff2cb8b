// Package replay judges recorded history again.
package replay

import (
	"fmt"
	"iter"
	"reflect"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// History yields recorded events from Seq from on, in order. It can be asked again.
type History func(from uint64) iter.Seq2[event.Event, error]

// Report is what Verify found.
type Report struct {
	Events   int
	Verdicts int // judged again
	Same     int // of these, the same as recorded
	Policies int // different policies that were in force
	// Unverified verdicts depend on history that retention has removed.
	Unverified  int
	Differences []Difference
}

// Difference is a verdict that came out otherwise.
type Difference struct {
	Call     event.Event // zero if retention has removed it
	Recorded event.Verdict
	Replayed event.Verdict
}

// Verify folds a history again, each part under the policy that was in force, and compares every verdict with the
// recorded one. What happened before pruned was removed by retention; 0 if nothing was.
func Verify(history History, pruned event.Time) (Report, error) {
	var r Report
	policies := map[string]*rules.Policy{}
	var state *rules.State
	var judged uint64 // the call whose verdict comes next
	var call event.Event
	var replayed event.Verdict
	for e, err := range history(1) {
		if err != nil {
			return r, fmt.Errorf("replay: %w", err)
		}
		r.Events++
		switch b := e.Body.(type) {
		case *event.Loaded:
			p, err := compile(policies, b)
			if err != nil {
				return r, fmt.Errorf("replay: the policy of event %d: %w", e.Seq, err)
			}
			if state, err = fold(history, p, e.Seq); err != nil {
				return r, err
			}
		case *event.Call:
			if state == nil {
				return r, fmt.Errorf("replay: call %d was judged before any policy was loaded", e.Seq)
			}
			judged, call, replayed = e.Seq, e, state.Decide(e)
		case *event.Review, *event.Expired:
			if state == nil {
				return r, fmt.Errorf("replay: the hold of call %d ended before any policy was loaded", e.Cause)
			}
			judged, replayed = e.Cause, state.Decide(e)
			call, _, _ = state.Held(e.Cause)
		case *event.Verdict:
			switch {
			case judged != e.Cause:
				return r, fmt.Errorf("replay: verdict %d does not follow its call %d", e.Seq, e.Cause)
			case pruned != 0 && e.At.Add(-state.Policy().Horizon()) <= pruned:
				r.Unverified++
			default:
				r.compare(call, *b, replayed)
			}
		case *event.Opened, *event.Catalog, *event.Result, *event.Signal, *event.Closed:
		}
		if state != nil {
			state.Apply(e)
		}
	}
	r.Policies = len(policies)
	return r, nil
}

func (r *Report) compare(call event.Event, recorded, replayed event.Verdict) {
	r.Verdicts++
	if reflect.DeepEqual(recorded, replayed) {
		r.Same++
		return
	}
	r.Differences = append(r.Differences, Difference{Call: call, Recorded: recorded, Replayed: replayed})
}

func compile(known map[string]*rules.Policy, l *event.Loaded) (*rules.Policy, error) {
	if p := known[l.Digest]; p != nil {
		return p, nil
	}
	p, err := rules.Compile(l.Sources, l.Env)
	if err != nil {
		return nil, err
	}
	if p.Digest() != l.Digest {
		return nil, fmt.Errorf("its digest is %.12s, recorded was %.12s", p.Digest(), l.Digest)
	}
	known[l.Digest] = p
	return p, nil
}

// fold returns the state under p of the history before an event: a policy judges by the whole history, not only by what
// happened since it was loaded.
func fold(history History, p *rules.Policy, before uint64) (*rules.State, error) {
	s := rules.NewState(p)
	for e, err := range history(1) {
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if e.Seq >= before {
			break
		}
		s.Apply(e)
	}
	return s, nil
}
