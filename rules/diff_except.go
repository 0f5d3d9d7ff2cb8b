package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/document"
)

// String says which calls are too strange.
func (s *strangeSpec) String() string {
	if s.alerts == 0 {
		return "stranger than " + s.text + " of the honest ones"
	}
	return fmt.Sprintf("stranger than all but %d of the honest ones of an agent in %s", s.alerts, document.FormatDuration(s.per))
}

// strange compares from when on calls are too strange. A greater budget is a lower threshold.
func (d *differ) strange(rule string, was, is *strangeSpec) {
	if was.share == is.share && was.alerts == is.alerts && was.per == is.per {
		return
	}
	effect := Other
	switch more, longer := cmp.Compare(is.alerts, was.alerts), cmp.Compare(is.per, was.per); {
	case was.alerts == 0 && is.alerts == 0:
		effect = fewerIs(is.share < was.share, Stricter)
	case was.alerts == 0 || is.alerts == 0: // what a budget comes to depends on what was learned
	case more >= 0 && longer <= 0:
		effect = Stricter
	case more <= 0 && longer >= 0:
		effect = Looser
	}
	d.note(rule, "baseline", effect, was.String(), is.String(), "too strange: %s -> %s", was, is)
}

// exceptions compares what rules let pass.
func (d *differ) exceptions(was, is *rule) {
	when := func(x *exemption) string { return x.until.Time().Format(time.RFC3339) }
	rest := slices.Clone(was.except)
	for i := range is.except {
		x := &is.except[i]
		from := x.from()
		k := slices.IndexFunc(rest, func(o exemption) bool { return o.from() == from && o.until == x.until })
		if k < 0 {
			k = slices.IndexFunc(rest, func(o exemption) bool { return o.from() == from })
		}
		if k < 0 {
			d.note(is.name, "except", Looser, "", from, "an exception until %s: %s", when(x), from)
			continue
		}
		if o := &rest[k]; o.until != x.until {
			d.note(is.name, "except", fewerIs(x.until < o.until, Stricter), when(o), when(x), "an exception until %s, which was until %s: %s", when(x), when(o), from)
		}
		rest = slices.Delete(rest, k, k+1)
	}
	for i := range rest {
		from := rest[i].from()
		d.note(is.name, "except", Stricter, from, "", "no exception any more until %s: %s", when(&rest[i]), from)
	}
}

// from says which calls an exception of the policy is about.
func (x *exemption) from() string {
	var parts []string
	for _, f := range x.at.Fields() {
		switch f.Name {
		case "until", "note":
		case "on":
			parts = append(parts, "on: "+globs(x.on))
		case "args":
			parts = append(parts, "args: "+digestPrefix+x.args)
		default:
			parts = append(parts, f.Name+": "+respelled(f.Value.JSON()))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
