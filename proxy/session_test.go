package proxy_test

import (
	"testing"
	"time"

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
