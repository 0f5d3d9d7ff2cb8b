package suggest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// asked counts calls in which the user had said what an argument is.
type asked struct {
	calls    int
	sessions map[string]bool
	never    bool // or had not, once: or nobody knows
}

// The bounds of a text of which that is worth finding out: what is shorter anybody has said.
const (
	minAsked = 6
	maxAsked = 400
	maxNamed = 16 // arguments of a tool
)

// origins finds out which arguments of an honest call the user has said.
func (t *tool) origins(p *Practice, c *call, e event.Event, fields map[string]string) {
	if p.Trails == nil || t.reads {
		return
	}
	e.Session = c.session
	trail := p.Trails.Of(e)
	heard := trail.Heard()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text := fields[name]
		a := t.asked[name]
		switch {
		case a == nil && (len(t.asked) >= maxNamed || !spellable(name)):
			continue
		case a == nil:
			a = &asked{sessions: map[string]bool{}}
			t.asked[name] = a
		}
		if a.never {
			continue
		}
		if a.never = !heard || len(text) < minAsked || len(text) > maxAsked || !trail.Each([]string{text})[0].Said; !a.never {
			a.calls++
			a.sessions[c.session] = true
		}
	}
}

// said suggests which arguments of a tool that acts are the user's own words.
func (w *writer) said(k key, t *tool) {
	for _, name := range slices.Sorted(maps.Keys(t.asked)) {
		a, known := t.asked[name], t.keys[name]
		if a.never || !w.enough.met(a.calls, a.sessions) || known == nil || known.calls != a.calls || known.redacted {
			continue
		}
		w.rule(fmt.Sprintf("%s-%s-from-user", k, name), amounts(a.calls, a.sessions)+", no exception: the user had said it each time",
			w.head(k, fmt.Sprintf("has(args.%s) && !origin(args.%[1]s).user", name))...)
	}
}
