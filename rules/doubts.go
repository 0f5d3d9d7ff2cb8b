package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
)

var doubtKinds = []string{event.Changed, event.Hidden, event.Twin, event.Added}

// byDefault says what is done about a doubtful tool where no rule with catalog: is about it and this kind of doubt. A tool
// that was added needs a look; one that is not what it was, or not what it seems, needs a person.
func byDefault(kind string) event.Action {
	if kind == event.Added {
		return event.Log
	}
	return event.Hold
}

// doubtful reports what the default makes of the doubts about a tool.
func (s *State) doubtful(c *event.Call, doubts []catalog.Doubt, report func(event.Action, finding)) {
	for _, do := range []event.Action{event.Hold, event.Log} {
		var left []catalog.Doubt
		for _, d := range doubts {
			if byDefault(d.Kind) == do && !s.policy.minds(s.view.rules, d.Kind) {
				left = append(left, d)
			}
		}
		if len(left) > 0 {
			report(do, explainDoubts(c, left))
		}
	}
}

// minds reports whether one of the given rules says what to do about doubts of this kind.
func (p *Policy) minds(rules []int, kind string) bool {
	return slices.ContainsFunc(rules, func(i int) bool { return slices.Contains(p.rules[i].doubts, kind) })
}

// judgeDoubts asks a rule with catalog: about a call.
func (r *rule) judgeDoubts(c *event.Call, doubts []catalog.Doubt) finding {
	var found []catalog.Doubt
	for _, d := range doubts {
		if slices.Contains(r.doubts, d.Kind) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return finding{}
	}
	return explainDoubts(c, found)
}

// explainDoubts says what is doubtful about the tool of a call, and what a person can do about it.
func explainDoubts(c *event.Call, doubts []catalog.Doubt) finding {
	const most = 3
	f := finding{fires: true}
	var parts []string
	for _, d := range doubts {
		if len(parts) < most {
			parts = append(parts, explainDoubt(d))
		}
		if d.Seq != 0 && !slices.Contains(f.evidence, d.Seq) {
			f.evidence = append(f.evidence, d.Seq)
		}
	}
	if more := len(doubts) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	slices.Sort(f.evidence)
	f.evidence = f.evidence[max(0, len(f.evidence)-event.MaxEvidence):]
	tool := c.Server + "/" + c.Tool
	f.why = fmt.Sprintf("%s %s, and nobody has accepted it as it is: umpire tools diff %[1]s", visible(tool), strings.Join(parts, "; "))
	f.hint = "once a person has accepted it: umpire tools accept " + visible(tool)
	return f
}

func explainDoubt(d catalog.Doubt) string {
	at := ""
	if d.Seq != 0 {
		at = fmt.Sprintf(" (#%d)", d.Seq)
	}
	switch d.Kind {
	case event.Changed:
		return fmt.Sprintf("is not described any more as it was when it was pinned: %s%s", clip(d.Text), at)
	case event.Hidden:
		return fmt.Sprintf("has characters in its %s that nobody sees: %s%s", visible(d.Path), clip(d.Text), at)
	case event.Twin:
		return fmt.Sprintf("looks like %s, which is another tool%s", visible(d.Text), at)
	}
	return "was added after its server had listed its tools" + at
}

// visible returns s as it can be read, and typed in a shell: a name that looks like another is spelled out.
func visible(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r)
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return strconv.QuoteToASCII(clip(s))
}
