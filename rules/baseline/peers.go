package baseline

import (
	"slices"
	"strings"
)

// like finds agents that use the same servers, directly or by way of others, and makes a group of each two or more.
func (l *learner) like(b *Baseline) {
	l.groups, l.strange = map[string]*Agent{}, map[string][]sample{}
	var groups [][]*Agent
	for _, a := range b.Agents {
		mine := []*Agent{a}
		rest := groups[:0:0]
		for _, g := range groups {
			if slices.ContainsFunc(g, func(o *Agent) bool { return a.shares(o) }) {
				mine = append(g, mine...)
			} else {
				rest = append(rest, g)
			}
		}
		groups = append(rest, mine)
	}
	for _, g := range groups {
		if len(g) < 2 {
			continue
		}
		var names []string
		for _, a := range g {
			names = append(names, a.Name)
		}
		group := newAgent("agents that use " + strings.Join(sorted(g[0].Servers.Seen), ", "))
		group.Members = names
		parts := min(len(g), folds)
		others := make([]*Agent, parts) // what all members but those of a part have taught
		for i := range others {
			others[i] = newAgent(group.Name)
		}
		for i, a := range g {
			group.merge(a)
			for k := range others {
				if i%parts != k {
					others[k].merge(a)
				}
			}
		}
		for _, o := range others {
			o.finish()
		}
		for i, a := range g {
			l.groups[a.Name] = others[i%parts]
		}
		group.finish()
		b.Groups = append(b.Groups, group)
	}
}

// shares reports whether both have used the same server.
func (a *Agent) shares(o *Agent) bool {
	for name := range a.Servers.Seen {
		if o.Servers.Seen[name] > 0 {
			return true
		}
	}
	return false
}

// peers finds out how strange the calls of members are to their groups.
func (l *learner) peers(b *Baseline) {
	for _, g := range b.Groups {
		g.Score = calibrate(l.strange[g.Name])
	}
}
