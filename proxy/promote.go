package proxy

import (
	"fmt"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// Promote puts the baseline into force that file holds, which has the given name. Calls that are on hold stay there.
func (g *Gate) Promote(who, name string, file []byte) error {
	read, err := baseline.Parse(file)
	if err != nil {
		return err
	}
	body := &event.Promoted{Who: who, Digest: read.Digest(), Name: name, Baseline: file}
	t := newTicket()
	g.do(t, func() {
		b := batch{gate: g, at: g.stamp(), read: read}
		b.add("", 0, body)
		b.send(t)
	})
	if err := t.Wait(); err != nil {
		return fmt.Errorf("the baseline was %w", err)
	}
	return nil
}

// drifted adds a signal if the agent has changed as a whole whose call has passed.
func (b *batch) drifted(session, server string) {
	if text := b.gate.mem.state.Drift(); text != "" {
		b.add(session, 0, &event.Signal{Source: "baseline", Name: "drift", Server: server, Text: text})
	}
}
