package catalog

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// News returns what of a list has to be recorded, with what is doubtful about it: tools that are new, and definitions
// that are not the last one of their tool. It does not change c. Lists differ between clients, come in pages, and can
// name a tool twice.
func (c *Catalog) News(list *event.Catalog) *event.Catalog {
	n := news{Catalog: c, first: map[string]*event.Tool{}, looks: map[string]string{}}
	out := &event.Catalog{Server: list.Server, Complete: list.Complete && !c.complete[list.Server]}
	last := make(map[string]int, len(list.Tools))
	for i := range list.Tools {
		last[list.Tools[i].Name] = i
	}
	for i := range list.Tools {
		if t, ok := n.tool(list.Server, &list.Tools[i], last[list.Tools[i].Name] == i); ok {
			out.Tools = append(out.Tools, t)
		}
	}
	return out
}

// news is one list.
type news struct {
	*Catalog
	first map[string]*event.Tool // tools that nobody named before this list
	looks map[string]string      // such tools by what their names look like
}

// tool returns t as it has to be recorded, if it has to be; last says that the list does not name it again.
func (n *news) tool(server string, t *event.Tool, last bool) (out event.Tool, ok bool) {
	out = *t
	e := n.Find(server, t.Name)
	was := n.first[t.Name]
	if e != nil && e.Pinned != nil {
		was = e.Pinned
		switch known := slices.Contains(e.pins, t.Pin); {
		case known && (e.Now.Pin == t.Pin || !last): // of two definitions in one list, the last one is the newest
			return out, false
		case known:
			out.Doubts = nil
			return out, true
		case e.Now.Pin == t.Pin && slices.ContainsFunc(e.Doubts, func(d Doubt) bool { return d.Kind == event.Changed && d.Tool.Pin == t.Pin }):
			return out, false
		}
	}
	out.Doubts = slices.Clone(t.Doubts)
	switch {
	case was != nil && was.Pin == t.Pin:
		return out, false
	case was != nil:
		out.Doubts = append(out.Doubts, event.Doubt{Kind: event.Changed, Text: strings.Join(Parts(was, t), ", ")})
		return out, true
	case e == nil && n.full:
		return out, false
	}
	n.first[t.Name] = t
	if twin := n.twin(server, t); twin != "" {
		out.Doubts = append(out.Doubts, event.Doubt{Kind: event.Twin, Path: "name", Text: twin})
	}
	if e == nil && n.complete[server] {
		out.Doubts = append(out.Doubts, event.Doubt{Kind: event.Added})
	}
	return out, true
}

// twin returns a tool of another name that looks the same; empty if there is none.
func (n *news) twin(server string, t *event.Tool) string {
	look := cmp.Or(t.Skeleton, t.Name)
	for _, k := range n.skeletons[look] {
		if k.Tool != t.Name {
			return k.String()
		}
	}
	if other, ok := n.looks[look]; ok && other != t.Name {
		return server + "/" + other
	}
	n.looks[look] = t.Name
	return ""
}

// Parts names the parts of two definitions that differ.
func Parts(a, b *event.Tool) (out []string) {
	if a.Long > 0 || b.Long > 0 {
		return []string{"a definition that is too long to keep"}
	}
	for _, p := range [...]struct {
		name   string
		differ bool
	}{
		{"title", a.Title != b.Title},
		{"description", a.Description != b.Description},
		{"inputSchema", !bytes.Equal(a.InputSchema, b.InputSchema)},
		{"outputSchema", !bytes.Equal(a.OutputSchema, b.OutputSchema)},
		{"annotations", !bytes.Equal(a.Annotations, b.Annotations)},
		{"more", !bytes.Equal(a.More, b.More)},
	} {
		if p.differ {
			out = append(out, p.name)
		}
	}
	return out
}
