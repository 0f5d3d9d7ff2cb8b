package baseline

import (
	"cmp"
	"slices"
)

// Graph is which tool comes after which.
type Graph struct {
	// Nodes are tools; the first one is the beginning of a session, and has no name.
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"` // the most frequent first
	// MoreNodes and MoreEdges are how many were learned and are not shown.
	MoreNodes int `json:"more_nodes,omitempty"`
	MoreEdges int `json:"more_edges,omitempty"`
}

// Node is a tool.
type Node struct {
	Tool     string `json:"tool"`
	Sessions int64  `json:"sessions"` // in which it was
	Calls    int64  `json:"calls"`
	Column   int    `json:"column"` // how many tools come before it, if each comes after the one that it comes after most often
	New      bool   `json:"new,omitempty"`
}

// Edge is that a tool came right after another.
type Edge struct {
	From     int   `json:"from"` // a Node
	To       int   `json:"to"`
	Sessions int64 `json:"sessions"` // in which it did
	PerMille int64 `json:"per_mille"`
	// New says that it was never learned, and has come this week: so many times, of which some were stopped.
	New     bool   `json:"new,omitempty"`
	Times   int64  `json:"times,omitempty"`
	Stopped int64  `json:"stopped,omitempty"`
	Seq     uint64 `json:"seq,omitempty"` // the first call
	Session string `json:"session,omitempty"`
}

// The bounds of a Graph.
const (
	maxNodes    = 14
	maxNewNodes = 6
	maxEdges    = 40
	maxNewEdges = 20
)

// graphOf returns what was learned of an agent, with what is new this week.
func graphOf(a *Agent, week []Novelty) Graph {
	g := Graph{Nodes: []Node{{Sessions: a.Sessions}}, Edges: []Edge{}}
	at := map[string]int{"": 0} // by the names that are shown
	add := func(n Node) {
		if _, there := at[n.Tool]; !there {
			at[n.Tool] = len(g.Nodes)
			g.Nodes = append(g.Nodes, n)
		}
	}
	tools := slices.SortedFunc(slices.Values(sorted(a.Tools)), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.Tools[y].Sessions, a.Tools[x].Sessions), cmp.Compare(a.Tools[y].Calls, a.Tools[x].Calls), cmp.Compare(x, y))
	})
	learned := func(name string) Node {
		return Node{Tool: shown(name, maxShort), Sessions: a.Tools[name].Sessions, Calls: a.Tools[name].Calls}
	}
	for i, name := range tools {
		if i < maxNodes {
			add(learned(name))
		}
	}
	known := map[string]string{} // by what is shown
	for _, name := range tools {
		known[shown(name, maxShort)] = name
	}
	var fresh []Novelty
	for _, x := range week {
		if x.Kind != NewTool && x.Kind != NewStep || len(fresh) == maxNewEdges {
			continue
		}
		fresh = append(fresh, x)
		for _, name := range [...]string{x.After, x.Tool} {
			if len(g.Nodes) > maxNodes+maxNewNodes {
				break
			}
			if tool, ok := known[name]; ok {
				add(learned(tool))
			} else {
				add(Node{Tool: name, New: true})
			}
		}
	}
	for _, before := range sorted(a.Next) {
		t := a.Next[before]
		for _, after := range sorted(t.Seen) {
			from, ok := at[shown(before, maxShort)]
			to, ok2 := at[shown(after, maxShort)]
			if !ok || !ok2 {
				g.MoreEdges++
				continue
			}
			g.Edges = append(g.Edges, Edge{From: from, To: to, Sessions: t.Seen[after], PerMille: 1000 * t.Seen[after] / max(t.Total(), 1)})
		}
	}
	slices.SortStableFunc(g.Edges, func(x, y Edge) int { return cmp.Compare(y.Sessions, x.Sessions) })
	if more := len(g.Edges) - maxEdges; more > 0 {
		g.Edges, g.MoreEdges = g.Edges[:maxEdges], g.MoreEdges+more
	}
	for _, x := range fresh {
		from, ok := at[x.After]
		to, ok2 := at[x.Tool]
		if ok && ok2 {
			g.Edges = append(g.Edges, Edge{From: from, To: to, New: true, Times: x.Times, Stopped: x.Stopped, Seq: x.Seq, Session: x.Session})
		}
	}
	for _, name := range tools {
		if _, shows := at[shown(name, maxShort)]; !shows {
			g.MoreNodes++
		}
	}
	g.columns()
	return g
}

// columns puts each Node behind the one that it comes after most often, from the beginning on (a spanning tree of the most frequent
// edges, as Prim has it). One that nobody knows how to reach is in the second column.
func (g *Graph) columns() {
	placed := make([]bool, len(g.Nodes))
	placed[0] = true
	for range g.Nodes {
		best := -1
		for i := range g.Edges {
			e := &g.Edges[i]
			if placed[e.From] && !placed[e.To] && (best < 0 || e.Sessions > g.Edges[best].Sessions) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		e := g.Edges[best]
		placed[e.To], g.Nodes[e.To].Column = true, g.Nodes[e.From].Column+1
	}
	for i := range g.Nodes {
		if !placed[i] {
			g.Nodes[i].Column = 1
		}
	}
}
