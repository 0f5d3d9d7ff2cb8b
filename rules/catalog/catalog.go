// Package catalog knows the tools of every server: how each was described when it was pinned, how it is described now,
// and what a person should look at before it is used. It is a fold of Catalog and Accepted events.
//
// A tool is pinned as it is listed first. Whatever is listed later under its name and says something else is a change,
// whoever it is listed to and whatever stood in between; it stays one until a person accepts the tool.
package catalog

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// Catalog is the fold. It has one owner.
type Catalog struct {
	tools     map[Key]*Entry
	skeletons map[string][]Key // tools by what their names look like, the first one first
	complete  map[string]bool  // servers of which a whole list was seen
	full      bool             // a tool found no room
}

// Key names a tool.
type Key struct {
	_            struct{} `cbor:",toarray"`
	Server, Tool string
}

// String returns server/tool.
func (k Key) String() string { return k.Server + "/" + k.Tool }

// Entry is what is known of a tool. It belongs to its Catalog.
type Entry struct {
	Key
	Pinned *event.Tool // as it was listed first, or accepted last; nil in histories from before tools were pinned
	Now    *event.Tool // as it was listed last
	Seq    uint64      // of the event that has Now
	Doubts []Doubt     // that nobody has settled, oldest first
	pins   []string    // of definitions that are no change, oldest first
}

// Doubt is a doubt about one definition of a tool.
type Doubt struct {
	event.Doubt
	Tool *event.Tool // the definition
	Seq  uint64      // of the event in which it was found
}

// The bounds of a Catalog.
const (
	MaxTools  = 100_000 // of all servers; calls to any other tool are as doubtful as if it had changed
	maxPins   = 16      // of a tool: a server may describe it to each client in another way
	maxDoubts = 20      // of a tool; of each kind there is one at least
)

// New returns an empty Catalog.
func New() *Catalog {
	return &Catalog{tools: map[Key]*Entry{}, skeletons: map[string][]Key{}, complete: map[string]bool{}}
}

// Find returns what is known of a tool; nil if it was never listed.
func (c *Catalog) Find(server, tool string) *Entry { return c.tools[Key{Server: server, Tool: tool}] }

// Doubts returns what is doubtful about a tool.
func (c *Catalog) Doubts(server, tool string) []Doubt {
	switch e := c.Find(server, tool); {
	case e != nil:
		return e.Doubts
	case c.full:
		return []Doubt{{Doubt: event.Doubt{Kind: event.Changed, Text: fmt.Sprintf("%d tools are pinned, and there is no room for it", MaxTools)}}}
	}
	return nil
}

// Keys yields every tool that was ever listed, in no order.
func (c *Catalog) Keys() iter.Seq[Key] { return maps.Keys(c.tools) }

// All returns every tool that was ever listed, by server and name.
func (c *Catalog) All() []*Entry {
	out := make([]*Entry, 0, len(c.tools))
	for _, e := range c.tools {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *Entry) int {
		return cmp.Or(strings.Compare(a.Server, b.Server), strings.Compare(a.Tool, b.Tool))
	})
	return out
}

// Apply adds e to the history.
func (c *Catalog) Apply(e event.Event) {
	switch b := e.Body.(type) {
	case *event.Catalog:
		for i := range b.Tools {
			c.list(e.Seq, b.Server, &b.Tools[i])
		}
		if b.Complete {
			c.complete[b.Server] = true
		}
	case *event.Accepted:
		for _, p := range b.Tools {
			if tool := c.Find(b.Server, p.Name); tool != nil && tool.Now.Pin == p.Pin {
				tool.pin(tool.Now)
				tool.Doubts = nil
			}
		}
	case *event.Opened, *event.Loaded, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
}

func (c *Catalog) list(seq uint64, server string, t *event.Tool) {
	k := Key{Server: server, Tool: t.Name}
	e := c.tools[k]
	if e == nil {
		if c.full = c.full || len(c.tools) >= MaxTools; c.full {
			return
		}
		e = &Entry{Key: k}
		c.tools[k] = e
	}
	c.looks(e, t)
	e.Now, e.Seq = t, seq
	if t.Pin == "" {
		return
	}
	if e.Pinned == nil {
		e.pin(t)
	}
	for _, d := range t.Doubts {
		if other := c.named(d); other != nil && ascii(t.Name) && !ascii(other.Tool) { // the other one is the odd one
			other.doubt(Doubt{event.Doubt{Kind: d.Kind, Path: d.Path, Text: k.String()}, other.Now, seq})
			continue
		}
		e.doubt(Doubt{d, t, seq})
	}
}

// looks notes what the name of e looks like: another version of Umpire may have seen that otherwise.
func (c *Catalog) looks(e *Entry, t *event.Tool) {
	look := cmp.Or(t.Skeleton, t.Name)
	if e.Now != nil {
		was := cmp.Or(e.Now.Skeleton, e.Now.Name)
		if was == look {
			return
		}
		c.skeletons[was] = slices.DeleteFunc(c.skeletons[was], func(k Key) bool { return k == e.Key })
	}
	c.skeletons[look] = append(c.skeletons[look], e.Key)
}

// named returns the tool that a Twin looks like.
func (c *Catalog) named(d event.Doubt) *Entry {
	if d.Kind != event.Twin {
		return nil
	}
	server, tool, _ := strings.Cut(d.Text, "/")
	return c.Find(server, tool)
}

func ascii(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) }

// pin makes t what e is compared with.
func (e *Entry) pin(t *event.Tool) {
	e.Pinned = t
	e.pins = slices.DeleteFunc(e.pins, func(p string) bool { return p == t.Pin })
	if e.pins = append(e.pins, t.Pin); len(e.pins) > maxPins {
		e.pins = e.pins[1:]
	}
}

func (e *Entry) doubt(d Doubt) {
	same := func(o Doubt) bool { return o.Kind == d.Kind && o.Path == d.Path && o.Tool.Pin == d.Tool.Pin }
	kind := func(o Doubt) bool { return o.Kind == d.Kind }
	if !slices.ContainsFunc(e.Doubts, same) && (len(e.Doubts) < maxDoubts || !slices.ContainsFunc(e.Doubts, kind)) {
		e.Doubts = append(e.Doubts, d)
	}
}
