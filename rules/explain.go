package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// followed says in a sentence what a condition was told that asked who asks for a call, and where its values came from. It
// returns the calls as evidence.
func followed(c *expr.Call) (why string, evidence []uint64) {
	var parts []string
	cite := func(sources []lineage.Source) {
		for _, s := range sources {
			if !slices.Contains(evidence, s.Seq) && len(evidence) < event.MaxEvidence {
				evidence = append(evidence, s.Seq)
			}
		}
	}
	for _, a := range c.Answers() {
		parts = append(parts, a.Why)
		cite(a.From)
	}
	for _, t := range c.Traced() {
		if len(t.Sources) == 0 && !t.Lost && !t.Model || t.Said {
			continue
		}
		path := c.Leaf(t.Path, t.Value)
		if path == "" {
			path = "a value"
		}
		part := fmt.Sprintf("%s %q", strings.TrimPrefix(path, "args."), clip(t.Value))
		switch {
		case len(t.Sources) > 0:
			s := t.Sources[0]
			from := s.Server + "/" + clip(s.Tool)
			switch {
			case s.Described:
				from = "the description of " + from
			case s.Server == "":
				from = "a turn of the " + clip(s.Tool)
			}
			part += fmt.Sprintf(" came from %s #%d", from, s.Seq)
			if t.Class&lineage.Spoken != 0 {
				part += ", from a passage that asks or gives orders"
			}
		case t.Lost:
			part += " may have come from something that is not remembered"
		default:
			part += " stands nowhere, so the model made it up"
		}
		if part += ", not from the user"; !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
		cite(t.Sources)
	}
	slices.Sort(evidence)
	return strings.Join(parts, "; "), evidence
}

// origins says where the values stand about which a condition asked: for each the worst one, in the text from which it came.
func origins(c *expr.Call) (out []event.Origin) {
	for _, t := range c.Traced() {
		if t.Said || len(t.Sources) == 0 || len(out) == event.MaxEvidence {
			continue
		}
		o := event.Origin{Path: c.Leaf(t.Path, t.Value), Seq: t.Sources[0].Seq}
		o.From, o.To = c.Locate(t.Sources[0], t.Value)
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}
