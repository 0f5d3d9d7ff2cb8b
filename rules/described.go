package rules

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// The bounds of what descriptions of tools say to the assistant, of all tools together. Beyond, they urge to everything.
const (
	maxDescribed = 256 << 10 // bytes
	maxDescribes = 1000      // tools
)

// described is what a tool's description says to the assistant.
type described struct {
	seq   uint64 // of the list of tools
	texts []string
}

// describe notes what the newest description of a tool says to the assistant. It is known by what was found when the list
// was read: in lists of before that, nothing was.
func (t *trails) describe(tool catalog.Key, seq uint64, d *event.Tool) {
	if _, was := t.described[tool]; !was && len(d.Passages) == 0 {
		return
	}
	t.overheard = nil
	delete(t.described, tool)
	if len(d.Passages) == 0 {
		return
	}
	x := described{seq: seq}
	add := func(text string) {
		if lineage.Described(text) != "" {
			x.texts = append(x.texts, text)
		}
	}
	if d.Long > 0 { // there are no texts
		for _, p := range d.Passages {
			x.texts = append(x.texts, p.Text)
		}
	}
	var walk func(v gjson.Result)
	walk = func(v gjson.Result) {
		if v.Type == gjson.String {
			add(v.Str)
		}
		if v.IsObject() || v.IsArray() {
			v.ForEach(func(key, value gjson.Result) bool {
				add(key.Str)
				walk(value)
				return true
			})
		}
	}
	for _, text := range []string{d.Name, d.Title, d.Description} {
		add(text)
	}
	for _, raw := range [][]byte{d.InputSchema, d.OutputSchema, d.Annotations, d.More} {
		walk(gjson.ParseBytes(raw))
	}
	t.described[tool] = x
}

// overhear returns what descriptions say to the assistant; nil if they say nothing.
func (t *trails) overhear() *lineage.Memory {
	if t.overheard != nil || len(t.described) == 0 {
		return t.overheard
	}
	t.overheard = &lineage.Memory{}
	room := maxDescribed
	tools := slices.SortedFunc(maps.Keys(t.described), func(a, b catalog.Key) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Tool, b.Tool))
	})
	for i, tool := range tools {
		x := t.described[tool]
		for _, text := range x.texts {
			if room -= len(text); room < 0 || i >= maxDescribes {
				t.overheard.Crowd()
				return t.overheard
			}
			source := lineage.Source{Seq: x.seq, Server: tool.Server, Tool: tool.Tool, Class: lineage.Untrusted, Described: true}
			t.overheard.Overhear(source, text)
		}
	}
	return t.overheard
}
