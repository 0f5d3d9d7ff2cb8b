package proxy

import (
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// What a binder knows of the calls that were announced, for those who tell of them.

// announce completes to what a call belongs that the model's side has made: the turn that says so.
func (b *binder) announce(c *event.Call) {
	if c.Bound == nil {
		return
	}
	for _, u := range slices.Backward(b.uses) {
		if u.ID == c.Bound.Use && u.Peer.Principal == c.Principal && u.Peer.Agent == c.Agent {
			c.Bound.Turn = u.Turn
			return
		}
	}
}

// repeats returns the call whose result a turn says that it gives; 0 if that is no call that came. It is a claim, like the id.
func (b *binder) repeats(t *event.Turn) uint64 {
	if t.Role != event.RoleTool || len(t.Calls) != 1 {
		return 0
	}
	for _, u := range b.uses {
		if u.ID == t.Calls[0] && u.Peer.Principal == t.Principal && u.Call != 0 {
			return u.Call
		}
	}
	return 0
}

// heard returns what Gate.Heard does, and notes in uses the calls of who that are known.
func (b *binder) heard(who *event.Peer, conversation string, uses map[string]bool) (last string) {
	for _, u := range b.uses {
		if u.Peer.Principal == who.Principal && u.ID != "" {
			uses[u.ID] = true
		}
	}
	if k := b.talks[talkKey(who, conversation)]; k != nil {
		last = k.Last
	}
	return last
}

// announced returns what Gate.Announced does.
func (b *binder) announced(who *event.Peer, is func(u event.Use, turn uint64) bool) (announced, came bool) {
	for _, u := range b.uses {
		if is(u.Use, u.Turn) && u.Peer.Principal == who.Principal && u.Tool != "" {
			return true, u.Call != 0
		}
	}
	return false, false
}
