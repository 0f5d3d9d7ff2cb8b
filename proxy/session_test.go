package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// Invariant 11: a session is kept alive by its calls and by nothing else, so that it ends at the same moment whether
// Umpire was restarted meanwhile or not.
func TestASessionEndsAtTheSameMomentAfterARestart(t *testing.T) {
	for _, restart := range []bool{false, true} {
		disk, c := &manual{}, newClock()
		who := support
		who.Transport = proxy.TransportHTTP // which a restart does not close
		g := gate(t, disk, policy(t, "rules: []"), c)
		first := judge(t, g, who, "{}")
		c.add(proxy.Idle - time.Minute)
		if err := g.Record(who, 0, &event.Signal{Source: "wire", Name: "refused", Text: "junk"}).Wait(); err != nil {
			t.Fatal(err)
		}
		if restart {
			g.Close()
			g = gate(t, disk, policy(t, "rules: []"), c)
		}
		c.add(2 * time.Minute)
		second := judge(t, g, who, "{}")
		g.Close()
		if live, folded, whole := g.Memory(); !whole || live != folded {
			t.Errorf("live\n%s\nfolded\n%s", live, folded)
		}
		sessions := map[uint64]string{}
		for _, e := range log(t, disk) {
			sessions[e.Seq] = e.Session
		}
		if sessions[first.Seq] == sessions[second.Seq] {
			t.Errorf("restarted %v: half an hour after its last call session %s goes on", restart, sessions[first.Seq])
		}
	}
}

// Who talks to an agent is still there: a turn opens a session and keeps it alive as a call does, live and after a restart.
func TestATurnBelongsToTheSessionOfItsPeer(t *testing.T) {
	for _, restart := range []bool{false, true} {
		disk, c := &manual{}, newClock()
		who := support
		who.Transport = proxy.TransportHTTP
		g := gate(t, disk, policy(t, "rules: []"), c)
		for _, text := range []string{"pay the rent", "and the gas"} {
			turn := &event.Turn{Role: event.RoleUser, Source: "api", Trust: event.Trusted, Text: text, Size: len(text), Peer: who.Peer}
			if err := g.Record(who, 0, turn).Wait(); err != nil {
				t.Fatal(err)
			}
			c.add(proxy.Idle - time.Minute)
		}
		if restart {
			g.Close()
			g = gate(t, disk, policy(t, "rules: []"), c)
		}
		judge(t, g, who, "{}")
		g.Close()
		if live, folded, whole := g.Memory(); !whole || live != folded {
			t.Errorf("live\n%s\nfolded\n%s", live, folded)
		}
		sessions := map[string]int{}
		for _, e := range log(t, disk) {
			switch e.Body.(type) {
			case *event.Turn, *event.Call:
				sessions[e.Session]++
			default:
			}
		}
		if len(sessions) != 1 || sessions[""] > 0 {
			t.Errorf("restarted %v: two turns and a call are in sessions %v, want one", restart, sessions)
		}
	}
}

// What is over is forgotten: sessions of the protocol that end leave no link in memory.
func TestLinksThatAreClosedAreForgotten(t *testing.T) {
	n := 0
	f := stand(t, noRules, func(w http.ResponseWriter, r *http.Request, body string) {
		if gjson.Get(body, "method").Str == "initialize" {
			n++
			w.Header().Set("Mcp-Session-Id", fmt.Sprint("session-", n))
		}
		obey(w, r, body)
	})
	for range 300 {
		id := "Mcp-Session-Id: " + f.post(initialize).Header.Get("Mcp-Session-Id")
		if a := f.post(call("1", "refund", `{}`), id); a.body != done("1") {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		f.send(http.MethodDelete, "", id)
	}
	f.close()
	if known, inSessions := f.gate.Links(); known+inSessions > 0 {
		t.Errorf("%d links are remembered, %d in sessions", known, inSessions)
	}
}

// Most clients never end their sessions. Those that were open when Umpire was restarted go on after it, if their client
// comes back within an hour; the others are closed by the next start.
func TestLinksThatNobodyUsesAreClosedByARestart(t *testing.T) {
	disk, c := &manual{}, newClock()
	who := support
	who.Transport, who.Peer.Process = proxy.TransportHTTP, ""
	const many = 10_000
	var g *proxy.Gate
	for run, tc := range []struct {
		later time.Duration
		links int
	}{{0, many}, {50 * time.Minute, many}, {61 * time.Minute, 0}, {time.Minute, 0}} {
		c.add(tc.later)
		g = gate(t, disk, policy(t, noRules), c)
		if run == 0 {
			for i := range many {
				who.Link = fmt.Sprint("http:billing:", i)
				judge(t, g, who, "{}")
			}
		}
		if _, ok := g.Reopen("http:billing:7"); ok != (tc.links > 0) {
			t.Errorf("run %d: the link is known: %v", run, ok)
		}
		g.Close()
		if known, inSessions := g.Links(); known != tc.links || inSessions != tc.links {
			t.Errorf("run %d: %d links are remembered, %d in sessions, want %d", run, known, inSessions, tc.links)
		}
	}
}
