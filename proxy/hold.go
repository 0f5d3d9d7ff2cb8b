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
// call, is void: the hold has expired, and nothing is remembered.
func (g *Gate) Review(call uint64, d review.Decision) (event.Verdict, error) {
	if d.Remember != nil { // what takes long, before the lock is taken
		if _, err := g.Propose(call, d); err != nil {
			return event.Verdict{}, err
		}
	}
	return g.settle(call, func(h heldCall, b *batch) (event.Body, error) {
		expires := h.since.Add(g.holdFor)
		switch {
		case h.verdict.Policy != g.Policy().Digest():
			return h.expired(review.PolicyChanged), nil
		case b.at >= expires:
			return h.expired("the decision came after " + b.at.Sub(h.since).Round(time.Second).String()), nil
		}
		if d.Remember != nil {
			x, err := g.propose(call, d, b.at)
			if err != nil {
				return nil, err
			}
			b.add("", call, x)
		}
		args := sha256.Sum256(h.call.Args)
		return &event.Review{
			Who: d.Who, Approve: d.Approve, Note: d.Note, Server: h.call.Server, Tool: h.call.Tool,
			Args: hex.EncodeToString(args[:]), Policy: h.verdict.Policy, Expires: expires,
		}, nil
	})
}

// Expire implements review.Gate.
func (g *Gate) Expire(call uint64, reason string) (event.Verdict, error) {
	return g.settle(call, func(h heldCall, _ *batch) (event.Body, error) { return h.expired(reason), nil })
}

// settle ends a hold in the gate, so that of several decisions one counts. If there is no end, the hold goes on.
func (g *Gate) settle(call uint64, end func(heldCall, *batch) (event.Body, error)) (event.Verdict, error) {
	t := newTicket()
	var refused error
	g.do(t, func() {
		h, ok := g.mem.held[call]
		if !ok {
			refused = review.ErrGone
			t.finish(nil)
			return
		}
		b := batch{gate: g, at: g.stamp()}
		body, err := end(h, &b)
		if refused = err; err == nil {
			t.Verdict = b.settle(call, h, body)
		}
		b.send(t)
	})
	if err := t.Wait(); err != nil {
		return t.Verdict, err
	}
	return t.Verdict, refused
}
