package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// heldCall is a call that waits for a person.
type heldCall struct {
	openCall
	verdict *event.Verdict
	since   event.Time
}

// Desk returns where held calls wait.
func (g *Gate) Desk() *review.Desk { return g.desk }

// park puts the call on hold whose verdict t has. If the Desk has no room for it, the hold ends at once.
func (b *batch) park(t *Ticket) {
	g := b.gate
	h := g.mem.held[t.Seq]
	var refused string
	t.Hold, refused = g.desk.Park(review.Held{
		Call: t.Seq, Session: h.session, Since: h.since, Expires: h.since.Add(g.holdFor),
		Principal: h.call.Principal, Agent: h.call.Agent, Server: h.call.Server, Tool: h.call.Tool, Args: h.call.Args,
		Rule: h.verdict.Rule, Why: h.verdict.Why, Policy: h.verdict.Policy,
	}, g.holdFor)
	if t.Hold == nil {
		t.Verdict = b.settle(t.Seq, h, h.expired(refused))
		return
	}
	g.log.Info("a call is on hold: umpire review", "call", t.Seq, "server", h.call.Server, "rule", h.verdict.Rule)
}

// settle adds how a hold ended and the verdict that follows.
func (b *batch) settle(call uint64, h heldCall, end event.Body) event.Verdict {
	e := b.seal(h.session, call, end)
	v := b.gate.mem.state.Decide(e)
	b.fold(e)
	recorded := v
	b.add(h.session, call, &recorded)
	if v.Action.Passes() {
		b.drifted(h.session, h.call.Server)
	}
	return v
}

func (h heldCall) expired(reason string) *event.Expired {
	return &event.Expired{Server: h.call.Server, Tool: h.call.Tool, Reason: reason}
}

// abandon ends all that a former run left on hold.
func (b *batch) abandon(reason string) {
	held := b.gate.mem.held
	for _, call := range slices.Sorted(maps.Keys(held)) {
		h := held[call]
		b.settle(call, h, h.expired(reason))
	}
}

// Review implements review.Gate. A decision that comes too late, or under another policy than the one that held the
// call, is void: the hold has expired.
func (g *Gate) Review(call uint64, d review.Decision) (event.Verdict, error) {
	return g.settle(call, func(h heldCall, at event.Time) event.Body {
		expires := h.since.Add(g.holdFor)
		switch {
		case h.verdict.Policy != g.Policy().Digest():
			return h.expired(review.PolicyChanged)
		case at >= expires:
			return h.expired("the decision came after " + at.Sub(h.since).Round(time.Second).String())
		}
		args := sha256.Sum256(h.call.Args)
		return &event.Review{
			Who: d.Who, Approve: d.Approve, Note: d.Note, Server: h.call.Server, Tool: h.call.Tool,
			Args: hex.EncodeToString(args[:]), Policy: h.verdict.Policy, Expires: expires,
		}
	})
}

// Expire implements review.Gate.
func (g *Gate) Expire(call uint64, reason string) (event.Verdict, error) {
	return g.settle(call, func(h heldCall, _ event.Time) event.Body { return h.expired(reason) })
}

// settle ends a hold in the gate, so that of several decisions one counts.
func (g *Gate) settle(call uint64, end func(heldCall, event.Time) event.Body) (event.Verdict, error) {
	t := newTicket()
	gone := false
	g.do(t, func() {
		h, ok := g.mem.held[call]
		if gone = !ok; gone {
			t.finish(nil)
			return
		}
		b := batch{gate: g, at: g.stamp()}
		t.Verdict = b.settle(call, h, end(h, b.at))
		b.send(t)
	})
	switch err := t.Wait(); {
	case err != nil:
		return t.Verdict, err
	case gone:
		return event.Verdict{}, review.ErrGone
	}
	return t.Verdict, nil
}
