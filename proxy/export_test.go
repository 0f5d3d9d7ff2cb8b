package proxy

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/umpire-dev/umpire/rules/event"
)

// Memory returns what the gate knows, and what it would know if it were folded again from its recorder. Whole is false
// if memory is ahead of the disk, as it may be after an Append has failed. The gate has to be closed.
func (g *Gate) Memory() (live, folded string, whole bool) {
	fresh := newMemory(g.Policy())
	if err := fresh.refold(g.recorder, new(atomic.Bool)); err != nil {
		return "", err.Error(), true
	}
	return g.mem.dump(), fresh.dump(), g.failure.Load() == nil
}

// Links returns how many links the gate remembers, and how many of them its sessions do. The gate has to be closed.
func (g *Gate) Links() (known, inSessions int) {
	for _, s := range g.mem.dir.sessions {
		inSessions += len(s.links)
	}
	return len(g.mem.links), inSessions
}

// dump formats all of m, the state of the rules as a digest.
func (m *memory) dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "last %d at %s, policy %s\n", m.last, m.at, m.loaded)
	for _, k := range slices.Sorted(maps.Keys(m.dir.sessions)) {
		s := m.dir.sessions[k]
		fmt.Fprintf(&b, "session %s is %s, active %s, links %v\n", k, s.id, s.active, slices.Sorted(maps.Keys(s.links)))
	}
	for _, e := range m.state.Catalog().All() {
		fmt.Fprintf(&b, "tool %s %s %+v\n", e.Key, e.Now.Pin, e.Doubts)
	}
	for _, k := range slices.Sorted(maps.Keys(m.links)) {
		fmt.Fprintf(&b, "link %s %+v\n", k, *m.links[k])
	}
	for _, k := range slices.Sorted(maps.Keys(m.open)) {
		fmt.Fprintf(&b, "open %d %s %s %s\n", k, m.open[k].session, m.open[k].link, m.open[k].call.Tool)
	}
	for _, k := range slices.Sorted(maps.Keys(m.held)) {
		fmt.Fprintf(&b, "held %d since %s by %s\n", k, m.held[k].since, m.held[k].verdict.Rule)
	}
	whole, err := m.snapshot("")
	fmt.Fprintf(&b, "all %x %v\n", sha256.Sum256(whole), err)
	return b.String()
}

// Bindings returns how many announced calls, conversations and agents with hooks the gate remembers.
func (g *Gate) Bindings() (uses, talks, hooked int) {
	b := g.mem.binder
	return len(b.uses), len(b.talks), len(b.hooked)
}

// Binding returns what binds a call where n others are announced.
func Binding(n int) func() {
	b := newBinder()
	p := event.Peer{Principal: "local:alice", Agent: "agent", Asserted: map[string]string{"sessionId": "c1", "callId": "c"}}
	for i := range n {
		u := event.Use{ID: fmt.Sprint(i), Server: "s", Tool: "t", Args: fmt.Sprint(i)}
		b.apply(event.Event{Seq: uint64(i), Body: &event.Turn{Role: event.RoleAssistant, Uses: []event.Use{u}, Peer: p}})
	}
	c := &event.Call{Server: "s", Tool: "t", Args: []byte(`{"a":1}`), Peer: p}
	return func() { b.bind(&Origin{}, c, 0) }
}

// Any wants every request that Fail can end.
func Any(*request) bool { return true }

// Only wants the request that r let through.
func (r Ruling) Only() func(*request) bool {
	return func(other *request) bool { return other == r.asked }
}
