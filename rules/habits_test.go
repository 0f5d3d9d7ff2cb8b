package rules_test

import (
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// Whoever looks later, under no rule at all, sees what the rule has seen: where an account came from, and where it usually does.
func TestThePictureShowsWhereAValueCameFrom(t *testing.T) {
	b := custom(t, strangerThan)
	b.hear("x", "Please pay my invoice.")
	b.fetch("x", injected)
	held := b.pay("x", theirs)
	s := rules.NewState(b.state.Policy().Habits())
	for _, e := range b.events {
		c, ok := e.Body.(*event.Call)
		if !ok || c.Tool != "send" || e.Session != "x" {
			s.Apply(e)
			continue
		}
		p := s.Habits().Picture(e, nil)
		if !p.Strange || !strings.Contains(held.Why, "stranger than "+p.Than+" of honest calls") {
			t.Errorf("stranger than %s, and the rule says %s", p.Than, held.Why)
		}
		r := p.Reasons[0]
		if r.Signal != "origin" || r.Figure == nil || !strings.Contains(held.Why, r.Text) {
			t.Fatalf("%+v", p.Reasons)
		}
		if want := (baseline.Bar{Label: "the result of web/fetch", Mark: true}); r.Figure.Bars[1] != want || r.Figure.Bars[0].Label != "the user" || r.Figure.Bars[0].N == 0 {
			t.Errorf("%+v", r.Figure.Bars)
		}
		return
	}
	t.Error("nobody has paid")
}
