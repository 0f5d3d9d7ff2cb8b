package baseline

import (
	"fmt"
	"strings"
)

// place is where names are counted.
type place struct {
	kind placeKind
	of   string // the tool, or what came before
	path string // of an argument
}

type placeKind uint8

const (
	ofServers placeKind = iota
	ofTools
	ofEffects
	ofHours
	ofNext
	ofNext2
	// The others belong to a tool.
	ofKeys
	ofArgs
	// The others belong to an argument.
	ofTypes
	ofForms
	ofValues
	ofOrigins
)

// spot is a name in its place, or any that is new there.
type spot struct {
	place
	name string
	any  bool
}

// what says what a name is.
func (s spot) what() string {
	name := func(kind string) string {
		if s.any {
			return "any new " + kind
		}
		return kind + " " + s.name
	}
	after := s.of
	if after == "" {
		after = "the beginning"
	}
	switch s.kind {
	case ofServers:
		return name("server")
	case ofTools:
		return name("tool")
	case ofEffects:
		return name("effect")
	case ofHours:
		return s.name + ":00 to " + s.name + ":59 UTC"
	case ofNext, ofNext2:
		return strings.TrimPrefix(name("tool"), "tool ") + " after " + strings.ReplaceAll(after, " > ", " and ")
	case ofKeys:
		return name("arguments") + " of " + s.of
	case ofArgs:
		return name("argument") + " of " + s.of
	case ofTypes:
		return name("type") + " of " + s.path + " of " + s.of
	case ofForms:
		return name("form") + " of " + s.path + " of " + s.of
	case ofValues:
		return name("value") + " of " + s.path + " of " + s.of
	case ofOrigins:
		return name("origin") + " of " + s.path + " of " + s.of
	}
	return s.name
}

// hourName is an hour as a name.
func hourName(hour int) string { return fmt.Sprintf("%02d", hour) }

// tally returns the names in a place; nil if there is none, or if they are not counted in a Tally.
func (a *Agent) tally(p place) *Tally {
	switch p.kind {
	case ofServers:
		return &a.Servers
	case ofEffects:
		return &a.Effects
	case ofNext:
		return a.Next[p.of]
	case ofNext2:
		return a.Next2[p.of]
	case ofTools, ofHours, ofArgs:
		return nil
	case ofKeys, ofTypes, ofForms, ofValues, ofOrigins:
	}
	t := a.Tools[p.of]
	if t == nil {
		return nil
	}
	if p.kind == ofKeys {
		return &t.Keys
	}
	x := t.Args[p.path]
	if x == nil {
		return nil
	}
	switch p.kind {
	case ofTypes:
		return &x.Types
	case ofForms:
		return &x.Forms
	case ofValues:
		return &x.Values
	default:
		return &x.From
	}
}

// tallies visits all names that are counted in a Tally, in a fixed order.
func (a *Agent) tallies(do func(p place, t *Tally)) {
	do(place{kind: ofServers}, &a.Servers)
	do(place{kind: ofEffects}, &a.Effects)
	for _, before := range sorted(a.Next) {
		do(place{kind: ofNext, of: before}, a.Next[before])
	}
	for _, before := range sorted(a.Next2) {
		do(place{kind: ofNext2, of: before}, a.Next2[before])
	}
	for _, tool := range sorted(a.Tools) {
		t := a.Tools[tool]
		do(place{kind: ofKeys, of: tool}, &t.Keys)
		for _, path := range sorted(t.Args) {
			x := t.Args[path]
			do(place{kind: ofTypes, of: tool, path: path}, &x.Types)
			do(place{kind: ofForms, of: tool, path: path}, &x.Forms)
			do(place{kind: ofValues, of: tool, path: path}, &x.Values)
			do(place{kind: ofOrigins, of: tool, path: path}, &x.From)
		}
	}
}

// has reports whether a knows a name.
func (a *Agent) has(p place, name string) bool {
	switch p.kind {
	case ofTools:
		return a.Tools[name] != nil
	case ofHours:
		for i, n := range a.Hours {
			if n > 0 && hourName(i) == name {
				return true
			}
		}
		return false
	case ofArgs:
		t := a.Tools[p.of]
		return t != nil && t.Args[name] != nil
	case ofServers, ofEffects, ofNext, ofNext2, ofKeys, ofTypes, ofForms, ofValues, ofOrigins:
	}
	t := a.tally(p)
	return t != nil && (t.Open || t.Seen[name] > 0)
}

// lacks reports whether a name is new to a. What belongs to a tool or an argument that is new itself is not: there is nothing to
// compare it with.
func (a *Agent) lacks(p place, name string) bool {
	if t := a.Tools[p.of]; p.kind >= ofKeys && (t == nil || p.kind >= ofTypes && t.Args[p.path] == nil) {
		return false
	}
	return !a.has(p, name)
}

// names visits what a session has that counts by its name, in a fixed order.
func (s *lesson) names(do func(p place, name string)) {
	for i, active := range s.hours {
		if active {
			do(place{kind: ofHours}, hourName(i))
		}
	}
	every := func(p place, names map[string]bool) {
		for _, name := range sorted(names) {
			do(p, name)
		}
	}
	every(place{kind: ofServers}, s.servers)
	every(place{kind: ofEffects}, s.effects)
	for _, pair := range pairs(s.next) {
		do(place{kind: ofNext, of: pair[0]}, pair[1])
	}
	for _, pair := range pairs(s.next2) {
		do(place{kind: ofNext2, of: pair[0]}, pair[1])
	}
	for _, tool := range sorted(s.tools) {
		t := s.tools[tool]
		do(place{kind: ofTools}, tool)
		every(place{kind: ofKeys, of: tool}, t.keys)
		for _, path := range sorted(t.args) {
			x := t.args[path]
			do(place{kind: ofArgs, of: tool}, path)
			every(place{kind: ofTypes, of: tool, path: path}, x.types)
			every(place{kind: ofForms, of: tool, path: path}, x.forms)
			every(place{kind: ofValues, of: tool, path: path}, x.values)
			every(place{kind: ofOrigins, of: tool, path: path}, x.from)
		}
	}
}
