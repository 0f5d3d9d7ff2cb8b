package reissue

import (
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/rules/event"
)

// Call is a recorded call that can be made again.
type Call struct {
	Seq    uint64
	Result uint64 // Seq of its result
	Tool   string
}

// Plan is what is to be made again, in the order in which it was recorded. It is made from the events of a history, in order.
type Plan struct {
	Calls   []Call
	Skipped map[string]int // calls that passed and are not made again, by the reason
	Servers []string       // of the calls that passed

	open map[uint64]string // calls that are to be made, if they have a result -> tool
}

// The reasons for which a call is not made again.
const (
	Hidden    = "arguments are redacted or cut in the history"
	Retried   = "it continues a call that asked for input"
	Unknown   = "no answer was recorded"
	Deferred  = "it asked for input, or started a task"
	Unclear   = "the recorded answer does not say what happened"
	Elsewhere = "the client or the model made it, and no MCP server"
)

// Passed adds a call that passed.
func (p *Plan) Passed(e event.Event) {
	if p.open == nil {
		p.open, p.Skipped = map[uint64]string{}, map[string]int{}
	}
	c := e.Body.(*event.Call)
	if c.Seen || c.Server == hook.Server || strings.HasPrefix(c.Server, "model:") {
		p.Skipped[Elsewhere]++
		return
	}
	if !slices.Contains(p.Servers, c.Server) {
		p.Servers = append(p.Servers, c.Server)
	}
	switch {
	case len(c.Findings) > 0:
		p.Skipped[Hidden]++
	case c.Retry != 0:
		p.Skipped[Retried]++
	default:
		p.open[e.Seq] = c.Tool
	}
}

// Answered adds what became of a call.
func (p *Plan) Answered(e event.Event) {
	r, ok := e.Body.(*event.Result)
	tool, waits := p.open[e.Cause]
	if !ok || !waits {
		return
	}
	delete(p.open, e.Cause)
	switch {
	case r.Outcome == event.OutcomeInput || r.Outcome == event.OutcomeStarted:
		p.Skipped[Deferred]++
	case r.Outcome == event.OutcomeOK || r.Outcome.Failed():
		p.Calls = append(p.Calls, Call{e.Cause, e.Seq, tool})
	default:
		p.Skipped[Unclear]++
	}
}

// End says that there are no more events.
func (p *Plan) End() {
	if n := len(p.open); n > 0 {
		p.Skipped[Unknown] += n
	}
	p.open = nil
	slices.SortFunc(p.Calls, func(a, b Call) int { return int(int64(a.Seq - b.Seq)) })
}
