package conversation

import (
	"fmt"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// lostEvery is how often it is recorded of a conversation that more was said than is recorded.
const lostEvery = time.Minute

// Said implements proxy.Hearer. Everything is recorded each time, as the results of calls are; what there is no room for, and
// the words of others where no text is kept, are recorded as words that are missing: rules take what they do not find
// elsewhere to have come from there.
func (e *Ear) Said(who proxy.Origin, said ...proxy.Said) (tickets []*proxy.Ticket) {
	m := e.memory(Talk{Source: event.MCP, Peer: who.Peer, ID: fmt.Sprintf("%q %q", who.Link, who.Peer.Asserted)})
	m.mu.Lock()
	defer m.mu.Unlock()
	left, size := 0, 0
	for _, s := range said {
		switch {
		case s.Text == "", e.Keep == KeepOff && s.Trust == event.Trusted:
		case !e.admit(m, len(s.Text)):
			left++
			size += len(s.Text)
		default:
			tickets = append(tickets, e.overhear(who, s))
		}
	}
	now := e.Now()
	if left == 0 || !m.lost.IsZero() && now.Sub(m.lost) < lostEvery {
		return tickets
	}
	m.lost = now
	e.note(who, event.MCP, "flood", who.Server, fmt.Sprintf("%d turns are not recorded: too much is said in a short time", left))
	return append(tickets, e.Recorder.Record(who, 0, &event.Turn{
		Role: event.RoleTool, Source: event.MCP, Trust: event.Untrusted, Server: who.Server, Size: size, Peer: who.Peer,
		Findings: missing(size),
	}))
}

// overhear makes what was said an event.
func (e *Ear) overhear(who proxy.Origin, s proxy.Said) *proxy.Ticket {
	turn := &event.Turn{Role: s.Role, Source: event.MCP + ":" + s.Method, Trust: s.Trust, Server: who.Server, Peer: who.Peer}
	e.Keep.Write(turn, e.Cleaner, s.Text)
	if e.Keep != KeepText && s.Trust != event.Trusted {
		turn.Findings = missing(len(s.Text))
	}
	return e.Recorder.Record(who, 0, turn)
}

// missing says that of a text nothing is there.
func missing(size int) []event.Finding {
	return []event.Finding{{Kind: event.Truncated, Path: "text", Size: size}}
}
