package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/match"

	"github.com/umpire-dev/umpire/rules/document"
)

// Len returns the number of rules.
func (p *Policy) Len() int { return len(p.rules) }

// Warnings returns what is allowed but probably not meant: rules, steps and tool entries that can never match, rules that
// another hides, steps that a call without an argument escapes, windows longer than the history is kept, and conditions
// that take a call without an argument for a match. Servers are the names of the configured servers, nil if they are not
// known; keep is 0 if it is not known.
func (p *Policy) Warnings(servers []string, keep time.Duration) document.Errors {
	var out document.Errors
	for i, r := range p.rules {
		warn := func(at document.Node, hint, format string, args ...any) {
			out = append(out, at.Error(hint, "rule %s %s", r.name, fmt.Sprintf(format, args...)))
		}
		named := func(g glob) bool {
			return servers == nil || slices.ContainsFunc(servers, func(s string) bool { return match.Match(s, g.server) })
		}
		for _, g := range r.on {
			switch {
			case !named(g):
				warn(r.at, "configured: "+strings.Join(servers, ", "), "can never match: no server is named %s", g.server)
			case p.allowed && !slices.ContainsFunc(p.allow, g.meets):
				warn(r.at, "", "can never matter: nothing that matches %s is on the allow list", g)
			}
		}
		if r.steps != nil {
			for slot := range r.steps.pattern.Slots() {
				st := r.steps.slot(slot)
				if st == nil {
					continue
				}
				if st.where != nil && st.where.Never() {
					warn(st.at, "", "waits for something that never happens: the condition is always false")
				}
				for _, g := range st.on {
					if !named(g) {
						warn(st.at, "configured: "+strings.Join(servers, ", "), "waits for something that never happens: no server is named %s", g.server)
					}
				}
			}
			out = append(out, p.keyless(i)...)
			if r.steps.last != nil && r.steps.last.Never() {
				warn(r.at, "", "can never match: the condition of its last step is always false")
			}
		}
		if back := r.lookback(); keep > 0 && back > keep {
			warn(r.at, "history: {keep: "+document.FormatDuration(back)+"}",
				"looks back %s, but the history is kept for %s", document.FormatDuration(back), document.FormatDuration(keep))
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
		if why, hint := p.hidden(i); why != "" {
			warn(r.at, hint, "%s", why)
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
