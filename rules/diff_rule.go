package rules

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/expr"
)

// spoken are the fields of a rule about which rule says what has changed. Of whatever else a rule has, it says that it has.
var spoken = []string{"name", "on", "where", "rate", "shape", "sequence", "require", "catalog", "baseline", "by", "within", "until", "do", "mode", "except"}

// rule compares two rules that are taken to be the same one.
func (d *differ) rule(was, is *rule) {
	if was.kind() != is.kind() && (was.kind() != "" && was.kind() != "where" || is.kind() != "" && is.kind() != "where") {
		d.note(is.name, "kind", Other, was.kind(), is.kind(), "another rule under the same name: it %s; it %s now", d.words(was), d.words(is))
		return
	}
	if was.do != is.do {
		effect := Looser
		if is.do < was.do {
			effect = Stricter
		}
		d.note(is.name, "do", effect, was.do.String(), is.do.String(), "%s -> %s", was.do, is.do)
	}
	if was.observe != is.observe && !d.old.observe && !d.new.observe {
		if is.observe {
			d.note(is.name, "mode", Looser, "enforce", "observe", "it only observes now")
		} else {
			d.note(is.name, "mode", Stricter, "observe", "enforce", "it is enforced now, and only observed before")
		}
	}
	d.scope(was, is)
	d.condition(is, "where", "condition", was.where, is.where)
	switch {
	case is.rate != nil:
		d.rate(is, was.rate, is.rate)
	case is.steps != nil:
		d.steps(was, is)
	case is.schema != nil || is.declared:
		d.shape(was, is)
	case is.doubts != nil:
		d.doubts(was, is)
	case is.strange != nil:
		d.strange(is.name, was.strange, is.strange)
	}
	d.exceptions(was, is)
	d.rest(was, is)
}

// scope compares what rules are about.
func (d *differ) scope(was, is *rule) {
	more, fewer := covers(is.on, was.on), covers(was.on, is.on)
	if more && fewer {
		return
	}
	word := "about other tools"
	if more {
		word = "about more tools"
	} else if fewer {
		word = "about fewer tools"
	}
	effect := direction(more, fewer, Stricter, Looser)
	if is.doubts != nil || is.unsteady() {
		effect = Other
	}
	n := d.note(is.name, "on", effect, globs(was.on), globs(is.on), "%s: %s -> %s", word, globs(was.on), globs(is.on))
	n.Gained = d.tooled(func(k catalog.Key) bool { return is.about(k) && !was.about(k) })
	n.Lost = d.tooled(func(k catalog.Key) bool { return was.about(k) && !is.about(k) })
}

// condition compares the conditions on which a rule fires.
func (d *differ) condition(r *rule, what, name string, was, is *expr.Program) {
	a, b := d.forms.Of(was), d.forms.Of(is)
	if a == b {
		return
	}
	effect := direction(b == "", a == "", Stricter, Looser)
	if r.doubts != nil || r.unsteady() {
		effect = Other
	}
	switch {
	case a == "":
		d.note(r.name, what, effect, "", b, "a %s: only where %s", name, b)
	case b == "":
		d.note(r.name, what, effect, a, "", "no %s any more; it was: %s", name, a)
	default:
		d.note(r.name, what, effect, a, b, "another %s: %s -> %s", name, a, b)
	}
}

// unsteady reports whether r can have room for a call because it has counted more: a value that was seen before is no new one.
func (r *rule) unsteady() bool { return r.rate != nil && r.rate.distinct.String() != "" }

// rate compares windows.
func (d *differ) rate(r *rule, was, is *rateSpec) {
	rule := r.name
	if a, b := was.measures(), is.measures(); a != b {
		d.note(rule, "rate", Other, a, b, "it counts something else: %s -> %s", a, b)
		return
	}
	if was.limit != nil {
		if c := is.limit.Cmp(was.limit); c != 0 {
			d.note(rule, "limit", fewerIs(c < 0, Stricter), plain(was.limit), plain(is.limit), "%s at most: %s -> %s", is.measures(), plain(was.limit), plain(is.limit))
		}
	} else if was.max != is.max {
		d.note(rule, "limit", fewerIs(is.max < was.max, Stricter), fmt.Sprint(was.max), fmt.Sprint(is.max), "%s at most: %d -> %d", is.measures(), was.max, is.max)
	}
	begun := len(d.found)
	d.span(rule, "per", was.per, is.per, Stricter)
	d.keys(rule, was.by, is.by, Looser)
	if was.counts != is.counts {
		effect := Other // an attempt counts from when it was made, and a call from its approval: neither window holds the other
		if was.counts != countAttempted && is.counts != countAttempted {
			effect = fewerIs(is.counts == countAllowed, Stricter)
		}
		a, b := was.counts.String(), is.counts.String()
		d.note(rule, "count", effect, a, b, "what counts: %s -> %s", a, b)
	}
	if r.unsteady() {
		for i := range d.found[begun:] {
			d.found[begun+i].Effect = Other
		}
	}
}

// String says which calls count.
func (c counting) String() string {
	switch c {
	case countSucceeded:
		return "calls that passed and did not fail"
	case countAttempted:
		return "all calls, denied ones too"
	case countAllowed:
	}
	return "calls that passed"
}

// measures says what a window counts.
func (spec *rateSpec) measures() string {
	switch {
	case spec.sum.String() != "":
		return "the sum of " + spec.sum.String()
	case spec.distinct.String() != "":
		return "different " + spec.distinct.String()
	case spec.inFlight:
		return "calls in flight"
	}
	return "calls"
}

// fewerIs returns e if something is so, else its opposite.
func fewerIs(so bool, e Effect) Effect {
	if so == (e == Stricter) {
		return Stricter
	}
	return Looser
}

// span compares durations; longer is what a longer one means.
func (d *differ) span(rule, what string, was, is time.Duration, longer Effect) {
	if was == is {
		return
	}
	a, b := document.FormatDuration(was), document.FormatDuration(is)
	d.note(rule, what, fewerIs(is > was, longer), a, b, "%s: %s -> %s", map[string]string{"per": "window", "within": "within"}[what], a, b)
}

// keys compares what splits windows; more is what more keys mean. Of a key that a call can lack it is not certain: a call without
// it is taken to be beyond the limit.
func (d *differ) keys(rule string, was, is []byKey, more Effect) {
	a, b := keyNames(was), keyNames(is)
	if slices.Equal(a, b) {
		return
	}
	lacks := func(list, of []string) (out []string) {
		return slices.DeleteFunc(slices.Clone(of), func(s string) bool { return slices.Contains(list, s) })
	}
	came, went := lacks(a, b), lacks(b, a)
	effect := direction(len(went) == 0, len(came) == 0, more, fewerIs(false, more))
	if slices.ContainsFunc(append(came, went...), func(s string) bool { return !slices.Contains([]string{"session", "server", "tool"}, s) }) {
		effect = Other
	}
	x, y := cmp.Or(strings.Join(a, ", "), "nothing"), cmp.Or(strings.Join(b, ", "), "nothing")
	d.note(rule, "by", effect, x, y, "counted by: %s -> %s", x, y)
}

func keyNames(by []byKey) []string {
	out := make([]string, len(by))
	for i, k := range by {
		out[i] = k.String()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// doubts compares about which doubts rules are.
func (d *differ) doubts(was, is *rule) {
	kinds := func(r *rule) string {
		list := slices.Clone(r.doubts)
		slices.Sort(list)
		return strings.Join(slices.Compact(list), ", ")
	}
	if a, b := kinds(was), kinds(is); a != b {
		d.note(is.name, "catalog", Other, a, b, "about other doubts: %s -> %s", a, b)
	}
}

// rest compares the fields that nobody here knows.
func (d *differ) rest(was, is *rule) {
	texts := func(r *rule) map[string]string {
		out := map[string]string{}
		for _, f := range r.at.Fields() {
			if !slices.Contains(spoken, f.Name) {
				out[f.Name] = respelled(f.Value.JSON())
			}
		}
		return out
	}
	a, b := texts(was), texts(is)
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if a[name] != b[name] {
			d.note(is.name, name, Other, a[name], b[name], "%s: %s -> %s", name, cmp.Or(a[name], "nothing"), cmp.Or(b[name], "nothing"))
		}
	}
}

// words says what a rule does: "denies billing/issue_refund: more than 3 calls in 10s by session".
func (d *differ) words(r *rule) string {
	verb := does(r.do)
	if r.observe || d.old.observe && d.new.observe {
		verb = "only notes that it would have been what " + verb
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s", verb, r.over())
	part := ": "
	add := func(format string, args ...any) {
		fmt.Fprintf(&b, part+format, args...)
		part = ", "
	}
	switch {
	case r.rate != nil && r.rate.limit != nil:
		add("%s more than %s in %s%s", r.rate.measures(), plain(r.rate.limit), document.FormatDuration(r.rate.per), byWords(r.rate.by))
	case r.rate != nil:
		add("more than %d %s in %s%s", r.rate.max, r.rate.measures(), document.FormatDuration(r.rate.per), byWords(r.rate.by))
	case r.steps != nil:
		var steps []string
		for i := range r.steps.steps {
			steps = append(steps, r.steps.steps[i].String())
		}
		word := "after "
		if r.steps.require {
			word = "without "
		}
		add("%s%s, within %s%s", word, strings.Join(steps, ", then "), document.FormatDuration(r.steps.pattern.Within), byWords(r.steps.by))
	case r.declared:
		add("arguments that its server did not declare")
	case r.schema != nil:
		add("arguments of another shape")
	case r.doubts != nil:
		add("tools that are %s", strings.Join(r.doubts, " or "))
	case r.strange != nil:
		add("calls %s", r.strange)
	}
	if where := d.forms.Of(r.where); where != "" {
		add("where %s", where)
	}
	if r.steps != nil {
		if where := d.forms.Of(r.steps.last); where != "" {
			add("where %s", where)
		}
	}
	return b.String()
}

func byWords(by []byKey) string {
	if len(by) == 0 {
		return ""
	}
	return " by " + strings.Join(keyNames(by), ", ")
}
