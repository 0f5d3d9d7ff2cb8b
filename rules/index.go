package rules

import "slices"

// index finds entries (rules, slots of rules) by the tool that their globs match, without asking every glob.
type index struct {
	exact   map[glob][]int // of one tool
	servers map[string][]globbed
	wild    []globbed // with a pattern for the server
}

// globbed is an entry and one of its globs.
type globbed struct {
	entry int
	glob
}

func newIndex() *index {
	return &index{exact: map[glob][]int{}, servers: map[string][]globbed{}}
}

// add notes that an entry is about what any of the globs match.
func (x *index) add(entry int, globs []glob) {
	for _, g := range globs {
		switch {
		case g.exact():
			x.exact[g] = append(x.exact[g], entry)
		case g.oneServer():
			x.servers[g.server] = append(x.servers[g.server], globbed{entry, g})
		default:
			x.wild = append(x.wild, globbed{entry, g})
		}
	}
}

// find appends to list, which must be empty, the entries that are about a tool, in order.
func (x *index) find(list []int, server, tool string) []int {
	list = append(list, x.exact[glob{server, tool}]...)
	for _, more := range [...][]globbed{x.servers[server], x.wild} {
		for _, g := range more {
			if g.match(server, tool) {
				list = append(list, g.entry)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
