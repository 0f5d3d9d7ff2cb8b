package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/expr"
)

// Effect is what a Difference means for calls.
type Effect string

// The effects.
const (
	Stricter Effect = "stricter" // no call is treated less strictly, and some may be treated more strictly
	Looser   Effect = "looser"
	Other    Effect = "other" // neither is certain
)

// Difference is something that one policy does otherwise than another.
type Difference struct {
	Rule   string   `json:"rule,omitempty"` // its name in the newer policy, if it is there; empty for the policy as a whole
	What   string   `json:"what"`           // "added", "removed", "renamed", "do", "mode", "on", "where", "limit", "per", "by", …
	Effect Effect   `json:"effect"`
	Text   string   `json:"text"`
	Old    string   `json:"old,omitempty"`
	New    string   `json:"new,omitempty"`
	Gained []string `json:"gained,omitempty"` // known tools about which the rule is now, and was not
	Lost   []string `json:"lost,omitempty"`   // known tools about which it was, and is no more
}

// differ compares two policies.
type differ struct {
	old, new *Policy
	known    []catalog.Key // tools
	forms    *expr.Forms
	found    []Difference
}

// Diff says what changes in effect from one policy to another, of the same machine: what is judged otherwise, and not what is
// written otherwise. The order of rules changes nothing, since the strictest of those that match decides; nor do the order of
// globs, of keys and of what stands in a schema, spaces, comments, and defaults that are spelled out. Known are tools that there
// are, to say which of them a rule gains or loses.
func Diff(old, changed *Policy, known []catalog.Key) ([]Difference, error) {
	forms, err := expr.NewForms()
	if err != nil {
		return nil, err
	}
	d := &differ{old: old, new: changed, known: slices.Clone(known), forms: forms}
	slices.SortFunc(d.known, func(a, b catalog.Key) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Tool, b.Tool))
	})
	d.policy()
	d.rules()
	d.hidden()
	return d.found, nil
}

// note adds a difference.
func (d *differ) note(rule, what string, effect Effect, was, is, format string, args ...any) *Difference {
	d.found = append(d.found, Difference{Rule: rule, What: what, Effect: effect, Text: fmt.Sprintf(format, args...), Old: was, New: is})
	return &d.found[len(d.found)-1]
}

// policy compares what is not in rules.
func (d *differ) policy() {
	if d.old.observe != d.new.observe {
		if d.new.observe {
			d.note("", "mode", Looser, "enforce", "observe", "the whole policy only observes: nothing is held or denied any more")
		} else {
			d.note("", "mode", Stricter, "observe", "enforce", "the whole policy is enforced: what it only observed, it does")
		}
	}
	d.allowLists()
	d.tools()
}

func (d *differ) allowLists() {
	was, is := d.old.allow, d.new.allow
	switch {
	case !d.old.allowed && !d.new.allowed:
		return
	case !d.old.allowed:
		n := d.note("", "allow", Stricter, "", globs(is), "an allow list: every tool but %s is denied", cmp.Or(globs(is), "none"))
		n.Lost = d.tooled(func(k catalog.Key) bool { return !d.new.allows(k.Server, k.Tool) })
		return
	case !d.new.allowed:
		n := d.note("", "allow", Looser, globs(was), "", "no allow list any more: tools that were not on it are judged by the rules alone")
		n.Gained = d.tooled(func(k catalog.Key) bool { return !d.old.allows(k.Server, k.Tool) })
		return
	}
	if more, fewer := covers(is, was), covers(was, is); !more || !fewer {
		effect, word := direction(more, fewer, Looser, Stricter), "others"
		if more {
			word = "more"
		} else if fewer {
			word = "fewer"
		}
		n := d.note("", "allow", effect, globs(was), globs(is), "the allow list has %s: %s -> %s", word, cmp.Or(globs(was), "none"), cmp.Or(globs(is), "none"))
		n.Gained = d.tooled(func(k catalog.Key) bool { return d.new.allows(k.Server, k.Tool) && !d.old.allows(k.Server, k.Tool) })
		n.Lost = d.tooled(func(k catalog.Key) bool { return !d.new.allows(k.Server, k.Tool) && d.old.allows(k.Server, k.Tool) })
	}
}

// direction returns a if all that was true before is still true, b if nothing became true, and else that it cannot be told.
func direction(more, fewer bool, a, b Effect) Effect {
	switch {
	case more:
		return a
	case fewer:
		return b
	}
	return Other
}

// tools compares what policies say that tools can do. The first entry that matches counts.
func (d *differ) tools() {
	said := func(t toolSpec) string {
		effects := slices.Clone(t.effects)
		slices.Sort(effects)
		return fmt.Sprintf("effects [%s], results %s", strings.Join(slices.Compact(effects), ", "), t.results)
	}
	index := func(list []toolSpec, g glob) int {
		return slices.IndexFunc(list, func(t toolSpec) bool { return t.glob == g })
	}
	for _, t := range d.old.tools {
		i := index(d.new.tools, t.glob)
		if i < 0 {
			d.note("", "tools", Other, said(t), "", "tools: nothing is said any more about %s, which was %s", t.glob, said(t))
			continue
		}
		if is := d.new.tools[i]; said(is) != said(t) {
			d.note("", "tools", Other, said(t), said(is), "tools: %s: %s -> %s", t.glob, said(t), said(is))
		}
	}
	for _, t := range d.new.tools {
		if index(d.old.tools, t.glob) < 0 {
			d.note("", "tools", Other, "", said(t), "tools: %s is %s", t.glob, said(t))
		}
	}
	for i, a := range d.old.tools {
		for _, b := range d.old.tools[i+1:] {
			x, y := index(d.new.tools, a.glob), index(d.new.tools, b.glob)
			if x >= 0 && y >= 0 && y < x && a.meets(b.glob) && said(a) != said(b) {
				d.note("", "tools", Other, a.String(), b.String(), "tools: for what both match, %s counts and not %s, since it stands first now", b.glob, a.glob)
			}
		}
	}
}

// rules compares the rules: those of the same name, then those that do the same under another.
func (d *differ) rules() {
	at := func(p *Policy, name string) *rule {
		i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.name == name })
		if i < 0 {
			return nil
		}
		return p.rules[i]
	}
	var gone, fresh []*rule
	for _, r := range d.old.rules {
		if at(d.new, r.name) == nil {
			gone = append(gone, r)
		}
	}
	for _, r := range d.new.rules {
		if was := at(d.old, r.name); was != nil {
			d.rule(was, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	for _, was := range gone {
		i := slices.IndexFunc(fresh, func(r *rule) bool { return d.same(was, r) })
		if i < 0 {
			d.removed(was)
			continue
		}
		d.note(fresh[i].name, "renamed", Other, was.name, fresh[i].name, "renamed, it was %s; what it does is the same", was.name)
		fresh = slices.Delete(fresh, i, i+1)
	}
	for _, r := range fresh {
		d.added(r)
	}
}

// same reports whether two rules differ in nothing but their names.
func (d *differ) same(a, b *rule) bool {
	alone := &differ{old: d.old, new: d.new, forms: d.forms}
	alone.rule(a, b)
	return len(alone.found) == 0
}

func (d *differ) added(r *rule) {
	n := d.note(r.name, "added", d.weight(r, d.new, Stricter), "", "", "new: %s", d.words(r))
	n.Gained = d.tooled(func(k catalog.Key) bool { return r.about(k) })
}

func (d *differ) removed(r *rule) {
	effect := d.weight(r, d.old, Looser)
	n := d.note(r.name, "removed", effect, "", "", "gone: it %s", d.words(r))
	n.Lost = d.tooled(func(k catalog.Key) bool { return r.about(k) })
}

// weight is the effect of a rule that comes, or goes: none is certain of one that stops nothing, or that takes the place of
// what is done by default.
func (d *differ) weight(r *rule, p *Policy, effect Effect) Effect {
	switch {
	case r.doubts != nil:
		stricter := !slices.ContainsFunc(r.doubts, func(kind string) bool { return r.do > byDefault(kind) })
		looser := !slices.ContainsFunc(r.doubts, func(kind string) bool { return r.do < byDefault(kind) })
		if r.observe || p.observe || stricter == looser || len(r.doubts) == 0 {
			return Other
		}
		if (effect == Stricter) == stricter {
			return Stricter
		}
		return Looser
	case r.observe || p.observe || r.do.Passes():
		return Other
	}
	return effect
}

// about reports whether r is about a tool.
func (r *rule) about(k catalog.Key) bool {
	return slices.ContainsFunc(r.on, func(g glob) bool { return g.match(k.Server, k.Tool) })
}

// tooled returns the known tools of which something is true.
func (d *differ) tooled(is func(catalog.Key) bool) (out []string) {
	for _, k := range d.known {
		if is(k) {
			out = append(out, k.Server+"/"+k.Tool)
		}
	}
	return out
}

// hidden notes which rules do not matter any more, or matter again, because of another one.
func (d *differ) hidden() {
	why := func(p *Policy) map[string]string {
		out := map[string]string{}
		for i, r := range p.rules {
			out[r.name], _ = p.hidden(i)
		}
		return out
	}
	was, is := why(d.old), why(d.new)
	for _, r := range d.new.rules {
		before, known := was[r.name]
		switch now := is[r.name]; {
		case now != "" && (!known || before == ""):
			d.note(r.name, "hidden", Other, "", now, "%s", now)
		case now == "" && known && before != "":
			d.note(r.name, "hidden", Other, before, "", "matters again; before, it %s", before)
		}
	}
}

// globs formats globs in an order of their own, so that theirs makes no difference.
func globs(list []glob) string {
	names := make([]string, len(list))
	for i, g := range list {
		names[i] = g.String()
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
