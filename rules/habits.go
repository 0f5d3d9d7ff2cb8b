package rules

import "github.com/umpire-dev/umpire/rules/baseline"

// Habits returns a policy that has no rules and asks how strange calls are: under it a State remembers what that takes, and
// nothing else. It is for those who want to see how calls were compared, whether or not p asks for it.
func (p *Policy) Habits() *Policy {
	bare := *p
	bare.rules, bare.index, bare.allow, bare.allowed = nil, newIndex(), nil, false
	bare.habits, bare.trails = true, false
	return &bare
}

// Habits returns what compares calls with the baseline in force; nil if nothing under s asks for that. It belongs to s.
func (s *State) Habits() *baseline.Watch { return s.habits }
