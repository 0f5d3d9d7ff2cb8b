package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/match"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// Len returns the number of rules.
func (p *Policy) Len() int { return len(p.rules) }

// Warnings returns what is allowed but probably not meant: rules and tool entries that can never match, and conditions
// that take a call without an argument for a match. Servers are the names of the configured servers; nil if they are
// not known.
func (p *Policy) Warnings(servers []string) document.Errors {
	var out document.Errors
	for i, r := range p.rules {
		warn := func(at document.Node, hint, format string, args ...any) {
			out = append(out, at.Error(hint, "rule %s %s", r.name, fmt.Sprintf(format, args...)))
		}
		for _, g := range r.on {
			switch {
			case servers != nil && !slices.ContainsFunc(servers, func(s string) bool { return match.Match(s, g.server) }):
				warn(r.at, "configured: "+strings.Join(servers, ", "), "can never match: no server is named %s", g.server)
			case p.allowed && !slices.ContainsFunc(p.allow, g.meets):
				warn(r.at, "", "can never matter: nothing that matches %s is on the allow list", g)
			}
		}
		if r.where != nil && r.where.Never() {
			warn(r.whereAt, "", "can never match: its condition is always false")
		}
		if r.where != nil && !slices.ContainsFunc(r.on, glob.exact) {
			if bare := r.where.Unguarded(); len(bare) > 0 {
				warn(r.whereAt, fmt.Sprintf("if it should not, begin with has(args.%s) &&", bare[0]),
					"also matches every call without %s", "args."+strings.Join(bare, ", args."))
			}
		}
		if j := p.hidden(i); j >= 0 {
			warn(r.at, "", "never decides: rule %s denies all of it", p.rules[j].name)
		}
	}
	for i, t := range p.tools {
		for _, before := range p.tools[:i] {
			if before.covers(t.glob) {
				out = append(out, t.at.Error("the first entry that matches counts: put the narrower one first",
					"tools entry %s never counts: %s before it matches the same tools", t.glob, before.glob))
				break
			}
		}
	}
	return out
}

// hidden returns the index of a rule that denies every call to which rule i applies, whatever it asks; -1 if there is
// none.
func (p *Policy) hidden(i int) int {
	for j, r := range p.rules {
		if i == j || !r.outright() || r.do != event.Deny || r.observe || p.rules[i].outright() && j > i {
			continue
		}
		if !slices.ContainsFunc(p.rules[i].on, func(g glob) bool {
			return !slices.ContainsFunc(r.on, func(o glob) bool { return o.covers(g) })
		}) {
			return j
		}
	}
	return -1
}
