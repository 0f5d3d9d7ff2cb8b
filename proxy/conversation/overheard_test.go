package conversation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/rules/event"
)

var files = proxy.Origin{
	Link: "stdio:files:1", Server: "files", Transport: proxy.TransportStdio, Peer: event.Peer{Principal: "local:alice", Agent: "bot"},
}

func resource(text string) proxy.Said {
	return proxy.Said{Method: "resources/read", Role: event.RoleTool, Trust: event.Untrusted, Text: text}
}

func (r *room) overhears(said ...proxy.Said) {
	r.t.Helper()
	for _, ticket := range r.ear.Said(files, said...) {
		if err := ticket.Wait(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// lost reports whether a turn says that something of it is missing.
func lost(t *event.Turn) bool {
	return len(t.Findings) == 1 && t.Findings[0].Kind == event.Truncated && t.Findings[0].Path == "text" && t.Trust == event.Untrusted
}

func TestWhatIsSaidOverMCPIsRecordedEachTimeWithoutItsSecrets(t *testing.T) {
	r := newRoom(t)
	r.overhears(resource("The password is hunter2."), resource(""), resource("more"))
	r.overhears(resource("more"))
	r.overhears(resource(strings.Repeat("x", maxValue+1)))
	all := r.turns()
	if len(all) != 4 || strings.Contains(all[0].Text, "hunter2") || len(all[0].Findings) != 1 || all[1].Text != "more" || all[2].Text != "more" || !lost(all[3]) {
		t.Errorf("%s", said(all))
	}
	for _, turn := range all {
		if turn.Source != "mcp:resources/read" || turn.Server != "files" || turn.Agent != "bot" {
			t.Errorf("%+v", turn)
		}
	}
}

// Where no text is kept, rules know that there was one: what they do not find may have come from there.
func TestWordsOfOthersThatAreNotKeptAreMissing(t *testing.T) {
	mine := proxy.Said{Method: "elicitation/create", Role: event.RoleUser, Trust: event.Trusted, Text: "DE75"}
	for keep, want := range map[conversation.Keep]int{conversation.KeepDigest: 2, conversation.KeepOff: 1} {
		r := newRoom(t, func(c *conversation.Config) { c.Keep = keep })
		r.overhears(resource("The rent is 980."), mine)
		all := r.turns()
		if len(all) != want || !lost(all[0]) || all[0].Text != "" || all[0].Size != 16 || (all[0].Digest == "") != (keep == conversation.KeepOff) {
			t.Fatalf("%s: %+v", keep, all)
		}
		if want > 1 && (len(all[1].Findings) > 0 || all[1].Text != "" || all[1].Digest == "") {
			t.Errorf("%s: %+v", keep, all[1])
		}
	}
}

// A flood ends in a turn that says so, once a minute, and never in silence.
func TestAFloodOverMCPIsLostAndNotForgotten(t *testing.T) {
	r := newRoom(t)
	const at = 10_000
	var flood []proxy.Said
	for i := range at + 500 {
		flood = append(flood, resource(fmt.Sprint(i)))
	}
	r.overhears(flood...)
	r.overhears(flood...)
	markers := func() (n int) {
		for _, turn := range r.turns() {
			if lost(turn) {
				n++
			}
		}
		return n
	}
	if n := len(r.turns()); n != at+1 || markers() != 1 {
		t.Errorf("%d turns, %d say that there were more", n, markers())
	}
	r.now = r.now.Add(time.Minute)
	r.overhears(flood...)
	if markers() != 2 {
		t.Errorf("%d turns say that there were more", markers())
	}
	signals := recorded[*event.Signal](r)
	if len(signals) != 2 || signals[0].Name != "flood" || signals[0].Link != files.Link || signals[0].Server != "files" {
		t.Errorf("%+v", signals)
	}
	// Another conversation has room of its own, and all of them together have an end.
	r.ear.Spend(1 << 20)
	other := files
	other.Peer.Asserted = map[string]string{"sessionId": "c2"}
	if tickets := r.ear.Said(other, resource("hello")); len(tickets) != 1 || tickets[0].Wait() != nil || markers() != 3 {
		t.Errorf("%d tickets, %d turns say that there were more", len(tickets), markers())
	}
}
