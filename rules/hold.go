package rules

import (
	"fmt"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// HoldFor is how long a call waits for a person at most.
const HoldFor = 5 * time.Minute

// AskAgain is the Hint on a call whose hold ended without a decision: nobody has said no.
const AskAgain = "the same call again, once a person is there to decide"

// held is a call that waits for a person, and why.
type held struct {
	call    event.Event
	verdict *event.Verdict
}

// Held returns the call with the given Seq and the verdict that holds it, if it is on hold.
func (s *State) Held(call uint64) (c event.Event, v *event.Verdict, ok bool) {
	h, ok := s.held[call]
	return h.call, h.verdict, ok
}

// hold parks the call that is being judged. It counts nowhere, but where attempts count, until it is approved.
func (s *State) hold(e event.Event, v *event.Verdict) {
	if s.judging.Seq == e.Cause { // else retention has removed the call
		s.held[e.Cause] = held{call: s.judging, verdict: v}
	}
}

// settle returns the verdict that ends a hold. A call that was approved is judged again, by the history of this moment:
// the person's word stands in for the rules that hold, and for no rule that denies.
func (s *State) settle(e event.Event) (v event.Verdict) {
	h, ok := s.held[e.Cause]
	if !ok {
		return event.Verdict{Action: event.Deny, Why: fmt.Sprintf("call #%d is not on hold", e.Cause), Policy: s.policy.digest, After: e.Seq}
	}
	v = event.Verdict{Action: event.Deny, Rule: h.verdict.Rule, Evidence: h.verdict.Evidence, Policy: s.policy.digest}
	switch b := e.Body.(type) {
	case *event.Review:
		decided := b.Who + " denied it"
		if b.Approve {
			decided = b.Who + " approved it"
		}
		if b.Note != "" {
			decided += fmt.Sprintf(" (%q)", b.Note)
		}
		if !b.Approve {
			v.Why = decided + "; it was on hold: " + h.verdict.Why
			break
		}
		again := h.call
		if s.trails != nil {
			s.view.call.Call = nil // what was said meanwhile counts, too
		}
		again.At = e.At
		if v = s.decide(again, true); v.Action.Passes() {
			v.Why = decided + "; " + v.Why
		} else {
			v.Why += ", although " + decided
		}
	case *event.Expired:
		v.Why, v.Hint = b.Reason+"; it was on hold: "+h.verdict.Why, AskAgain
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		v.Why = "a call is not judged by a " + b.Kind()
	}
	v.After = e.Seq
	return v
}

// counts reports whether rule i counts the held call at the given time already, as it does where attempts count.
func (s *State) counts(i int, call uint64, at event.Time) bool {
	_, ok := s.held[call]
	return ok && s.windows[i].Has(at, call)
}
