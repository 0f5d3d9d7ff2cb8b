package proxy

import (
	"errors"
	"fmt"

	"github.com/umpire-dev/umpire/rules/event"
)

// ErrDescribed says that a tool is not described as the person saw it who accepts it.
var ErrDescribed = errors.New("is described in another way by now")

// Accept records that a person accepts tools as they are described now, and returns once that is on disk: all of them, or
// none if a pin is not that of the newest definition. Tools about which nothing is doubtful are left out.
func (g *Gate) Accept(who string, list []event.Accepted) error {
	t := newTicket()
	var refused error
	g.do(t, func() {
		known := g.mem.state.Catalog()
		b := batch{gate: g, at: g.stamp()}
		var bodies []*event.Accepted
		for _, a := range list {
			body := &event.Accepted{Who: who, Server: a.Server}
			for _, p := range a.Tools {
				switch e := known.Find(a.Server, p.Name); {
				case e == nil:
					refused = fmt.Errorf("%q was never listed", a.Server+"/"+p.Name)
				case e.Now.Pin != p.Pin:
					refused = fmt.Errorf("%q %w", e.Key, ErrDescribed)
				case len(e.Doubts) > 0:
					body.Tools = append(body.Tools, p)
				}
			}
			if len(body.Tools) > 0 {
				bodies = append(bodies, body)
			}
		}
		if refused == nil {
			for _, body := range bodies {
				b.add("", 0, body)
			}
		}
		b.send(t)
	})
	return errors.Join(refused, t.Wait())
}
