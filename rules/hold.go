package rules

import (
	"crypto/sha256"
	"encoding/hex"
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
		if other := h.differs(e, b); other != "" {
			v.Why = fmt.Sprintf("%s, but as a call %s; it was on hold: %s", decided, other, h.verdict.Why)
			break
		}
		again := h.call
		if s.trails != nil || s.habits != nil {
			s.view.call.Call = nil // what was said and done meanwhile counts, too
		}
		again.At = e.At
		if v = s.decide(again, true); v.Action.Passes() {
			v.Why = decided + "; " + v.Why
		} else {
			v.Why += ", although " + decided
		}
	case *event.Expired:
		v.Why, v.Hint = b.Reason+"; it was on hold: "+h.verdict.Why, AskAgain
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		v.Why = "a call is not judged by a " + b.Kind()
	}
	v.After = e.Seq
	return v
}

// differs says in what an approval is not of the call on hold: "" if it is of that one. What it leaves out, as those do that are
// written in a transcript, differs in nothing.
func (h *held) differs(e event.Event, b *event.Review) string {
	c := h.call.Body.(*event.Call)
	args := func() string {
		sum := sha256.Sum256(c.Args)
		return hex.EncodeToString(sum[:])
	}
	switch {
	case e.Session != "" && e.Session != h.call.Session:
		return "of another session"
	case b.Server != "" && b.Server != c.Server:
		return "to another server"
	case b.Tool != "" && b.Tool != c.Tool:
		return "to another tool"
	case b.Args != "" && b.Args != args():
		return "with other arguments"
	case b.Policy != "" && b.Policy != h.verdict.Policy:
		return "under another policy"
	case b.Expires != 0 && e.At >= b.Expires:
		return "whose hold is over"
	}
	return ""
}

// counts reports whether rule i counts the held call at the given time already, as it does where attempts count.
func (s *State) counts(i int, call uint64, at event.Time) bool {
	_, ok := s.held[call]
	return ok && s.windows[i].Has(at, call)
}
