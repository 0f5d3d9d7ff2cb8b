package rules_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// hiddenRules returns the rules of which the policy says that they never decide.
func hiddenRules(p *rules.Policy) map[string]bool {
	found := map[string]bool{}
	for _, w := range p.Warnings(nil, 0) {
		if words := strings.Fields(w.Msg); strings.Contains(w.Msg, " never decides: ") {
			found[words[1]] = true
		}
	}
	return found
}

func TestHiddenRules(t *testing.T) {
	for _, tc := range []struct {
		a, b string // two rules, in this order
		want string // which of them never decides
	}{
		{"on: a/x, rate: {max: 3, per: 1m}", "on: a/x, rate: {max: 3, per: 10s}", "b"},
		{"on: a/x, rate: {max: 3, per: 10s}", "on: a/x, rate: {max: 3, per: 1m}", ""}, // the first decides while it fires
		{"on: a/x, rate: {max: 3, per: 10s}, do: log", "on: a/x, rate: {max: 3, per: 1m}", "a"},
		{"on: a/x, rate: {max: 3, per: 10s}, do: log", "on: a/x, rate: {max: 3, per: 1m}, do: hold", ""}, // approved, it is logged
		{"on: 'a/*', rate: {max: 3, per: 1m}", "on: [a/x, 'a/y*'], rate: {max: 5, per: 1m}", "b"},
		{"on: a/x, rate: {max: 3, per: 1m}", "on: 'a/*', rate: {max: 5, per: 1m}", ""},
		{"on: a/x, rate: {max: 3, per: 1m, by: agent}", "on: a/x, rate: {max: 3, per: 1m, by: [agent, session]}", "b"},
		{"on: a/x, rate: {max: 3, per: 1m, by: agent}", "on: a/x, rate: {max: 3, per: 1m, by: session}", ""},
		{"on: a/x, rate: {max: 3, per: 1m}", "on: a/x, rate: {max: 3, per: 1m, by: args.k}", ""}, // a call without k
		{"on: a/x, rate: {max: 3, per: 1m}", "on: a/x, where: args.n > 1, rate: {max: 3, per: 1m}", "b"},
		{"on: a/x, where: args.n > 1, rate: {max: 3, per: 1m}", "on: a/x, where: 'args.n  > 1', rate: {max: 4, per: 1m}", "b"},
		{"on: a/x, where: args.n > 1, rate: {max: 3, per: 1m}", "on: a/x, rate: {max: 4, per: 1m}", ""},
		{"on: a/x, rate: {max: 3, per: 1m}", "on: a/x, rate: {max: 3, per: 1m, count: succeeded}", "b"},
		{"on: a/x, rate: {max: 3, per: 1m, count: attempted}", "on: a/x, rate: {max: 3, per: 1m}", ""}, // an approval comes later
		{"on: a/x, rate: {sum: args.n, max: 3, per: 1m}", "on: a/x, rate: {sum: args.n, max: 3.5, per: 1m}", "b"},
		{"on: a/x, rate: {sum: args.n, max: 3, per: 1m}", "on: a/x, rate: {max: 30, per: 1m}", ""},
		{"on: a/x, rate: {distinct: args.k, max: 3, per: 1m}", "on: a/x, rate: {distinct: args.k, max: 4, per: 1m}", "b"},
		{"on: a/x, rate: {distinct: args.k, max: 3, per: 1h}", "on: a/x, rate: {distinct: args.k, max: 4, per: 1m}", ""}, // it knows the value
		{"on: 'a/*', rate: {distinct: args.k, max: 3, per: 1m}", "on: a/x, rate: {distinct: args.k, max: 4, per: 1m}", ""},
		{"on: a/x, rate: {in_flight: 1}", "on: a/x, rate: {in_flight: 2, by: session}", "b"},
		{"on: a/x, where: args.n > 1", "on: a/x, where: args.n > 1, rate: {max: 1, per: 1m}", "b"},
		{"on: a/x, where: args.n > 1, do: log", "on: a/x, where: args.n > 1, do: hold", ""},
		{"on: a/x, where: args.n > 1", "on: a/x, where: args.n > 1, mode: observe", ""},
		{"on: a/x, where: args.n > 1, mode: observe", "on: a/x, where: args.n > 1", ""},
		{"on: a/x, shape: {required: [k]}", "on: a/x, shape: {required: [k]}, do: log", "b"},
		{"on: a/x, shape: {required: [k]}", "on: a/x, shape: {required: [n]}", ""},
		{"sequence: [{on: a/y}, {on: a/x}], within: 1m", "sequence: [{on: a/y}, {on: a/x}], within: 1m, do: log", "b"},
		{"sequence: [{on: a/y}, {on: a/x}], within: 1m, do: log", "sequence: [{on: a/y}, {on: a/x}], within: 1m", ""}, // both may hold
		{"sequence: [{on: a/y}, {on: a/x}], within: 1h", "sequence: [{on: a/y}, {on: a/x}], within: 1m", ""},          // it may be full
		{"on: a/x, do: log", "sequence: [{on: a/y}, {on: a/x}], within: 1m, do: log", ""},                             // which may hold
		{"on: a/x, rate: {max: 1, per: 1m}", "on: 'a/*'", ""},                                                         // it says why while it fires; the warning is another
		{"on: a/x, rate: {max: 1, per: 1m}, do: hold", "on: 'a/*'", "a"},
	} {
		text := fmt.Sprintf("rules:\n  - {name: a, %s}\n  - {name: b, %s}\n", tc.a, tc.b)
		p, err := compile(text)
		if err != nil {
			t.Fatalf("%s%v", text, err)
		}
		found := hiddenRules(p)
		if got := strings.Join(slices.Sorted(maps.Keys(found)), ""); got != tc.want {
			t.Errorf("%shidden: %q, want %q", text, got, tc.want)
		}
	}
}

// A rule of which check says that it never decides never does, whatever happens.
func TestAHiddenRuleNeverDecides(t *testing.T) {
	hidden := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, at: event.At(begin)}
		p := genPair(t)
		found := hiddenRules(p)
		hidden += len(found)
		w.load(p)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			w.step()
		}
		for e := range w.events(1) {
			if v, ok := e.Body.(*event.Verdict); ok && found[v.Rule] {
				t.Fatalf("%s\n%+v", p.Loaded().Sources[0].Text, v)
			}
		}
	})
	if hidden == 0 {
		t.Error("no rule was hidden")
	}
}

// genPair draws a policy of two rules that are alike.
func genPair(t *rapid.T) *rules.Policy {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 2 {
		fmt.Fprintf(&b, "  - {name: r%d, do: %s, ", i, pick("do", "deny", "deny", "log", "hold"))
		if kind == 5 {
			fmt.Fprintf(&b, "sequence: [{on: a/x}, {on: '*/*'}], by: session, within: %s}\n", pick("per", "5s", "1m"))
			continue
		}
		fmt.Fprintf(&b, "on: %s, ", pick("on", "a/x", "'a/*'"))
		if w := pick("where", "", "", "args.n > 2", "has(args.k) && args.k == 'p'"); w != "" {
			fmt.Fprintf(&b, "where: %q, ", w)
		}
		by, per := pick("by", "[]", "[]", "session", "args.k", "[session, args.k]", "[session, tool]"), pick("per", "5s", "5s", "1m")
		count := pick("count", "allowed", "allowed", "succeeded", "attempted")
		switch kind {
		case 0:
			fmt.Fprintf(&b, "rate: {max: %d, per: %s, by: %s, count: %s}}\n", rapid.IntRange(0, 3).Draw(t, "max"), per, by, count)
		case 1:
			fmt.Fprintf(&b, "rate: {sum: args.n, max: %d, per: %s, by: %s, count: %s}}\n", rapid.IntRange(0, 4).Draw(t, "max"), per, by, count)
		case 2:
			fmt.Fprintf(&b, "rate: {distinct: args.k, max: %d, per: %s, by: %s, count: %s}}\n", rapid.IntRange(0, 2).Draw(t, "max"), per, by, count)
		case 3:
			fmt.Fprintf(&b, "rate: {in_flight: %d, by: %s}}\n", rapid.IntRange(1, 3).Draw(t, "max"), by)
		case 4:
			b.WriteString(pick("shape", "}", "shape: {required: [k]}}", "shape: declared}") + "\n")
		}
	}
	p, err := compile(b.String())
	if err != nil {
		t.Fatalf("%s\n%v", b.String(), err)
	}
	return p
}
