package rules

import (
	"fmt"
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// hidden says why rule i can never be the one that decides, or why it might as well not be there, and where the rule
// stands that hides it; both are empty if that is not certain.
func (p *Policy) hidden(i int) (why, hint string) {
	for j, other := range p.rules {
		if i == j || other.observe || len(other.except) > 0 || p.rules[i].observe || !covers(other.on, p.rules[i].on) {
			continue
		}
		at := other.at.Error("", "")
		hint = fmt.Sprintf("%s stands at %s:%d", other.name, at.File, at.Line)
		switch r := p.rules[i]; {
		case other.outright() && other.do == event.Deny && p.outranks(j, i):
			return fmt.Sprintf("never decides: rule %s denies all of it", other.name), hint
		case other.outright() && other.do == event.Deny && !r.outright():
			return fmt.Sprintf("changes nothing: rule %s denies all of it", other.name), hint
		case p.outranks(j, i) && other.implied(r, j < i):
			return fmt.Sprintf("never decides: rule %s %s whatever it would %s", other.name, does(other.do), r.do), hint
		}
	}
	return "", ""
}

func does(a event.Action) string {
	return map[event.Action]string{event.Deny: "denies", event.Hold: "holds", event.Log: "logs"}[a]
}

// covers reports whether whatever one of the globs on matches, one of wide matches, too. It may say no when the answer is
// yes.
func covers(wide, on []glob) bool {
	return !slices.ContainsFunc(on, func(g glob) bool {
		return !slices.ContainsFunc(wide, func(w glob) bool { return w.covers(g) })
	})
}

// outranks reports whether rule j decides wherever both j and i fire. A rule that holds decides over one that logs only
// until a person approves the call, and a rule that logs does not decide over a sequence that logs: that one holds what it
// cannot tell.
func (p *Policy) outranks(j, i int) bool {
	a, b := p.rules[j], p.rules[i]
	if a.do != b.do {
		return a.do == event.Deny
	}
	return j < i && (a.do != event.Log || b.steps == nil || a.steps != nil)
}

// implied reports whether r fires on every call on which other fires, if on covers that of other; first says that r
// stands before it. It may say no when the answer is yes.
func (r *rule) implied(other *rule, first bool) bool {
	if r.where != nil && (other.where == nil || oneLine(r.where) != oneLine(other.where)) {
		return false
	}
	switch {
	case r.rate != nil:
		return other.rate != nil && r.rate.tighter(other.rate, covers(other.on, r.on) && (r.where == nil) == (other.where == nil))
	case r.steps != nil: // both hold where they cannot tell, and then the first decides
		return first && other.steps != nil && r.says(other, "sequence", "require", "by", "within", "until")
	case r.schema != nil, r.declared:
		return r.says(other, "shape")
	case r.doubts != nil:
		return other.doubts != nil && !slices.ContainsFunc(other.doubts, func(kind string) bool { return !slices.Contains(r.doubts, kind) })
	case r.strange != nil:
		return other.strange != nil && r.says(other, "baseline")
	}
	return true // it fires on whatever it applies to
}

// says reports whether r and other say the same in the named fields, word for word.
func (r *rule) says(other *rule, names ...string) bool {
	text := func(r *rule) map[string]string {
		said := map[string]string{}
		for _, f := range r.at.Fields() {
			if slices.Contains(names, f.Name) {
				said[f.Name] = string(f.Value.JSON())
			}
		}
		return said
	}
	a, b := text(r), text(other)
	for _, name := range names {
		if a[name] != b[name] {
			return false
		}
	}
	return true
}

// tighter reports whether spec has no room for a call for which other has none, if spec is about all calls that other is
// about; same says that they are about the same calls.
func (spec *rateSpec) tighter(other *rateSpec, same bool) bool {
	if spec.sum.String() != other.sum.String() || spec.distinct.String() != other.distinct.String() || spec.inFlight != other.inFlight {
		return false
	}
	// A call counts from its approval, an attempt from when it was made: of these windows neither holds the other.
	counts := spec.counts == other.counts || spec.counts == countAllowed && other.counts == countSucceeded
	if !counts || spec.per < other.per || !spec.coarser(other) {
		return false
	}
	switch {
	case spec.limit != nil:
		return spec.limit.Cmp(other.limit) <= 0
	case spec.distinct.String() != "": // a value that a wider window has seen is no new one there
		return same && spec.max <= other.max && spec.per == other.per && spec.counts == other.counts && slices.EqualFunc(spec.by, other.by, byKey.equal)
	}
	return spec.max <= other.max
}

// coarser reports whether calls that other counts together spec counts together, too, and whether spec has a key for
// every call for which other has one: only the server, the tool and the session are never missing.
func (spec *rateSpec) coarser(other *rateSpec) bool {
	in := func(k byKey, by []byKey) bool { return slices.ContainsFunc(by, k.equal) }
	for _, k := range spec.by {
		if !in(k, other.by) {
			return false
		}
	}
	for _, k := range other.by {
		if !in(k, spec.by) && !slices.Contains([]string{"server", "tool", "session"}, k.name) {
			return false
		}
	}
	return true
}

func (k byKey) equal(other byKey) bool { return k.String() == other.String() }
