package rules

import (
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// Origins remembers what was said in sessions, as a State does, for whoever learns where values come from.
type Origins struct{ trails *trails }

var _ baseline.Trails = &Origins{}

// Origins returns the Origins of an empty history. Texts are read when somebody asks for what is in them: of most sessions nobody
// does.
func (p *Policy) Origins() *Origins {
	t := newTrails(p, func(string, string) string { return "" })
	t.lazy = true
	return &Origins{t}
}

// Apply implements baseline.Trails.
func (o *Origins) Apply(e event.Event) {
	switch b := e.Body.(type) {
	case *event.Turn:
		o.trails.said(e, b)
	case *event.Result:
		o.trails.result(e, b)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Closed:
	}
}

// Of implements baseline.Trails.
func (o *Origins) Of(e event.Event) baseline.Trail { return o.trails.peek(e) }

// promoted puts a baseline into force. If it is the first that asks what is said, nobody remembers what was said before in sessions
// in which something has happened by then.
func (s *State) promoted(e event.Event, b *event.Promoted, read *baseline.Baseline) {
	s.habits.Promote(b.Baseline, read)
	before := s.trails
	s.follow()
	if before == nil && s.trails != nil {
		s.trails.deafen(e, s.habits.Sessions())
	}
}

// follow begins or ends to remember what is said, as the policy asks for it or the baseline in force.
func (s *State) follow() {
	follows := s.habits.Follows()
	switch {
	case !follows && !s.policy.trails:
		s.trails = nil
	case follows && s.trails == nil:
		s.trails = newTrails(s.policy, s.about)
	}
	if !follows {
		s.habits.Follow(nil)
		return
	}
	s.habits.Follow(func(e event.Event) baseline.Trail { return s.trails.peek(e) })
}

// deafen notes of sessions in which something has happened by now that not all was heard in them.
func (t *trails) deafen(e event.Event, sessions func(yield func(string) bool)) {
	for id := range sessions {
		at := e
		at.Session = id
		s := t.of(at)
		s.deaf = s.epoch
	}
}

// Heard implements baseline.Trail.
func (s *trail) Heard() bool {
	_, heard := s.touched[string(event.RoleUser)]
	return heard && s.deaf < 0
}

// Each implements baseline.Trail.
func (s *trail) Each(values []string) []lineage.Origin { return s.recall().Each(values) }
