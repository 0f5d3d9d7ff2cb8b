package hook

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// pending is a call that has passed.
type pending struct {
	seq  uint64
	call *event.Call
}

// judge asks for a verdict on a call of a tool that no proxy sees.
func (h *Hooks) judge(ctx context.Context, t *talk, in *Input) Answer {
	args, findings := h.Cleaner.Clean("args", in.Args)
	who := t.by(in.Subagent)
	id, err := json.Marshal(in.Use)
	if err != nil {
		return in.Client.Deny("Umpire denied " + in.Tool + ": its id cannot be written.")
	}
	call := event.Call{
		Link: who.Link, Server: Server, Tool: in.Tool, ID: id, Args: args, Size: len(in.Args), Peer: who.Peer, Findings: findings,
	}
	call.Asserted = maps.Clone(who.Peer.Asserted)
	if in.Client.Use != "" {
		call.Asserted[in.Client.Use] = in.Use
	}
	ticket := h.Gate.Call(who, call, proxy.Retry{})
	if err := ticket.Wait(); err == nil && ticket.Hold != nil {
		select {
		case <-ticket.Hold.Done():
		case <-ctx.Done():
			ticket.Hold.Leave("the client gave up")
		}
	}
	v, err := ticket.Settled()
	if err != nil || !v.Action.Passes() {
		return in.Client.Deny(proxy.Explain(Server+"/"+in.Tool, v))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if key := in.key(); t.open < maxPending && (in.Use == "" || len(t.pending[key]) == 0) {
		t.pending[key] = append(t.pending[key], pending{seq: ticket.Seq, call: &call})
		t.open++
	} else {
		h.Gate.Record(t.who, ticket.Seq, &event.Result{
			Server: Server, Tool: in.Tool, Outcome: event.OutcomeLost, Text: "the client has another call with this id, or too many",
		})
	}
	return in.Client.passes(in.asked)
}

// result records how a call ended. t.mu is held.
func (h *Hooks) result(t *talk, in *Input, from Caller) *proxy.Ticket {
	outcome := event.OutcomeOK
	if in.Kind == Failed {
		outcome = event.OutcomeFailed
	}
	announced, came := false, false
	if in.MCP != nil {
		if announced, came = h.announced(t, in); announced {
			h.stray(in, from, came)
		}
	}
	if p, ours := t.ended(in); ours {
		raw := asResult(in.Response, in.Text)
		clean, findings := h.Cleaner.Clean("result", raw)
		return h.Gate.Record(t.by(in.Subagent), p.seq, &event.Result{
			Server: Server, Tool: in.Tool, Outcome: outcome, Content: clean, Size: len(raw), Findings: findings,
		})
	}
	if in.refused {
		return nil
	}
	if announced {
		if came || in.Kind == Failed {
			return nil // the proxy has the result, or there is none
		}
		return h.signal(t, in, "passed-by", in.Tool+" was called, and the call did not come through Umpire")
	}
	if in.Use == "" && in.MCP != nil { // announced to a daemon before this one
		if _, known := h.Gate.FindTool(in.MCP); known {
			return nil
		}
	}
	text := flat(in.Response)
	if text == "" {
		text = in.Text
	}
	turn := h.turn(t, in, from, event.RoleTool, text)
	if turn.ID = ""; in.Use != "" {
		turn.Calls = []string{in.Use}
	}
	return h.Gate.Record(t.by(in.Subagent), 0, turn)
}

// ended returns the call that has ended, if it was judged here.
func (t *talk) ended(in *Input) (p pending, ours bool) {
	key := in.key()
	calls := t.pending[key]
	if len(calls) == 0 || calls[0].call.Tool != in.Tool {
		return p, false
	}
	if t.open--; len(calls) == 1 {
		delete(t.pending, key)
	} else {
		t.pending[key] = calls[1:]
	}
	return calls[0], true
}

// announced reports whether a call was announced, and whether it came.
func (h *Hooks) announced(t *talk, in *Input) (announced, came bool) {
	if in.Use != "" {
		return h.Gate.Announced(&t.who.Peer, func(u event.Use, _ uint64) bool { return u.ID == in.Use })
	}
	key := in.key()
	turns := t.told[key]
	if len(turns) == 0 {
		return false, false
	}
	if len(turns) == 1 {
		delete(t.told, key)
	} else {
		t.told[key] = turns[1:]
	}
	return h.Gate.Announced(&t.who.Peer, func(_ event.Use, turn uint64) bool { return turn == turns[0] })
}

// stray notes whether a call that was announced came, or went to its server by another way.
func (h *Hooks) stray(in *Input, from Caller, came bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch key := in.tool(from); {
	case came:
		delete(h.astray, key)
	case in.Kind == After && len(h.astray) < maxAstray:
		h.astray[key] = true
	}
}

// strayed reports whether the last call of the tool of in did not come through Umpire: then its hook judges it as well, until one
// comes.
func (h *Hooks) strayed(in *Input, from Caller) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.astray[in.tool(from)] || len(h.astray) >= maxAstray
}

// tell notes which Turn has announced a call without an id. t.mu is held.
func (t *talk) tell(key string, turn uint64) {
	if turns := t.told[key]; len(turns) < maxAlike && (len(turns) > 0 || len(t.told) < maxPending) {
		t.told[key] = append(turns, turn)
	}
}

// abandon records that the client will not tell any more how calls ended. t.mu is held; nobody waits for the record.
func (h *Hooks) abandon(t *talk, reason string, which func(*event.Call) bool) {
	for key, calls := range t.pending {
		t.pending[key] = slices.DeleteFunc(calls, func(p pending) bool {
			if !which(p.call) {
				return false
			}
			t.open--
			h.Gate.Record(t.who, p.seq, &event.Result{Server: Server, Tool: p.call.Tool, Outcome: event.OutcomeLost, Text: reason})
			return true
		})
		if len(t.pending[key]) == 0 {
			delete(t.pending, key)
		}
	}
}
