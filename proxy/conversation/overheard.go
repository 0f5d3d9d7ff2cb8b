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
	if left == 0 || !m.lost.Due(e.Now()) {
		return tickets
	}
	e.note(who, event.MCP, "flood", who.Server, fmt.Sprintf("%d turns are not recorded: too much is said in a short time", left))
	turn := Unheard(event.MCP, who.Peer, size)
	turn.Server = who.Server
	return append(tickets, e.Recorder.Record(who, 0, turn))
}

// Unheard is the Turn of words that are not recorded, of whoever is not believed: rules take what they do not find elsewhere to
// have come from there.
func Unheard(source string, who event.Peer, size int) *event.Turn {
	return &event.Turn{Role: event.RoleTool, Source: source, Trust: event.Untrusted, Size: size, Peer: who, Findings: missing(size)}
}

// Losing says when it was recorded last of a conversation that more was said. The zero Losing is never.
type Losing struct{ at time.Time }

// Due reports whether it is to be recorded again, and then takes it to be.
func (l *Losing) Due(now time.Time) bool {
	if !l.at.IsZero() && now.Sub(l.at) < lostEvery {
		return false
	}
	l.at = now
	return true
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
