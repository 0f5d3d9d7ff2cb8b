package rules_test

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// turned are words of a policy, and what somebody could write in their place.
var turned = []struct {
	word *regexp.Regexp
	into []string
}{
	{regexp.MustCompile(`do: \w+`), []string{"do: log", "do: hold", "do: deny"}},
	{regexp.MustCompile(`mode: \w+`), []string{"mode: enforce", "mode: observe"}},
	{regexp.MustCompile(`max: [\d.]+`), []string{"max: 0", "max: 1", "max: 3", "max: 7"}},
	{regexp.MustCompile(`in_flight: \d`), []string{"in_flight: 1", "in_flight: 2", "in_flight: 4"}},
	{regexp.MustCompile(`per: \w+`), []string{"per: 1s", "per: 5s", "per: 1m", "per: 60s", "per: 2h"}},
	{regexp.MustCompile(`within: \w+`), []string{"within: 1s", "within: 5s", "within: 60s", "within: 2h"}},
	{regexp.MustCompile(`by: (\w+(\.k)?|\[[^]]*\])`), []string{"by: []", "by: session", "by: [session, tool]", "by: [tool, session]", "by: [agent]", "by: args.k", "by: [server, args.k]"}},
	{regexp.MustCompile(`count: \w+`), []string{"count: allowed", "count: succeeded", "count: attempted"}},
	{regexp.MustCompile(`on: "[^"]*"`), []string{`on: "a/x"`, `on: ["a/*", "b/y"]`, `on: ["b/y", "a/*"]`, `on: "*/*"`, `on: "b/y"`}},
	{regexp.MustCompile(`where: "[^"]*"`), []string{`where: "true"`, `where: "(true)"`, `where: "args.n > 2"`, `where: "( args.n>2 )"`}},
	{regexp.MustCompile(`allow: .*`), []string{`allow: ["a/*"]`, `allow: ["*/*"]`, `allow: []`}},
	{regexp.MustCompile(`catalog: .*`), []string{"catalog: changed", "catalog: [twin, hidden]"}},
	{regexp.MustCompile(`name: r(\d)\n`), []string{"name: r7\n", "name: r8\n"}},
	{regexp.MustCompile(`maximum: 3`), []string{"maximum: 2", "maximum: 3.0", "maximum: 5"}},
	{regexp.MustCompile(`results: \w+|effects: \[\w+\]`), []string{"effects: [read]", "effects: [money, write]"}},
}

// turn writes one to three words of a policy otherwise.
func turn(t *rapid.T, text string) string {
	for range rapid.IntRange(1, 3).Draw(t, "turns") {
		w := rapid.SampledFrom(turned).Draw(t, "word")
		places := w.word.FindAllStringIndex(text, -1)
		if len(places) == 0 {
			continue
		}
		at := rapid.SampledFrom(places).Draw(t, "place")
		text = text[:at[0]] + rapid.SampledFrom(w.into).Draw(t, "into") + text[at[1]:]
	}
	return text
}

// What Diff says is true of every call: over random policies, what somebody could write in their place, and random histories,
// no difference is none, stricter is never looser, and looser never stricter.
func TestWhatDiffSaysIsTrueOfEveryCall(t *testing.T) {
	said := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		old := genPolicy(t)
		text := old.Loaded().Sources[0].Text
		changed, err := compile(turn(t, text))
		if err != nil {
			t.Skip("not a policy any more")
		}
		found, err := rules.Diff(old, changed, nil)
		if err != nil {
			t.Fatal(err)
		}
		stricter, looser := true, true
		for _, d := range found {
			stricter = stricter && (d.Effect == rules.Stricter || d.What == "renamed")
			looser = looser && (d.Effect == rules.Looser || d.What == "renamed")
		}
		if !stricter && !looser {
			said["other"]++
			return
		}
		w := randomHistory(t, 1)
		next, stop := iter.Pull2(replay.WhatIf(w.events, 0, changed))
		defer stop()
		for was, err := range replay.WhatIf(w.events, 0, old) {
			is, other, more := next()
			if err != nil || other != nil || !more {
				t.Fatal(err, other, more)
			}
			a, b := was.Replayed.Action, is.Replayed.Action
			if stricter && b > a || looser && b < a {
				t.Fatalf("#%d: %s (%s: %s) -> %s (%s: %s), but the difference is %+v\n%s", was.Call.Seq, a, was.Replayed.Rule, was.Replayed.Why,
					b, is.Replayed.Rule, is.Replayed.Why, found, changed.Loaded().Sources[0].Text)
			}
			if a != b {
				said["seen"]++
			}
		}
		said[fmt.Sprintf("stricter %v, looser %v", stricter, looser)]++
	})
	t.Log(said)
}

func TestDiffNamesTheToolsThatARuleGainsAndLoses(t *testing.T) {
	policy := func(text string) *rules.Policy {
		p, err := compile(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	known := []catalog.Key{{Server: "files", Tool: "write"}, {Server: "files", Tool: "read"}, {Server: "mail", Tool: "send"}}
	found, err := rules.Diff(policy(`rules: [{name: r, on: "files/*", do: deny}]`), policy(`rules: [{name: r, on: ["*/read", "*/send"], do: deny}]`), known)
	if err != nil || len(found) != 1 || found[0].Effect != rules.Other || !slices.Equal(found[0].Gained, []string{"mail/send"}) || !slices.Equal(found[0].Lost, []string{"files/write"}) {
		t.Errorf("%+v %v", found, err)
	}
}

// A policy that gets a field of which this comparison has never heard would be passed over.
func TestDiffKnowsEveryFieldOfAPolicy(t *testing.T) {
	if got := rules.Fields(); !slices.Equal(got, []string{"mode", "tools", "allow", "rules"}) {
		t.Errorf("Diff compares mode, tools, allow and rules; there is %v", got)
	}
}

func ExampleDiff() {
	compiled := func(text string) *rules.Policy {
		p, err := rules.Compile([]event.Source{{Text: text}}, event.Env{OS: "linux"})
		if err != nil {
			panic(err)
		}
		return p
	}
	found, err := rules.Diff(
		compiled("rules: [{name: burst, on: bank/pay, rate: {max: 3, per: 10s}, do: deny}]"),
		compiled("rules: [{name: burst, do: deny, rate: {per: 10s, max: 5}, on: [bank/pay]}]"), nil)
	for _, d := range found {
		fmt.Println(d.Effect, d.Rule, d.Text)
	}
	fmt.Println(err)
	// Output:
	// looser burst calls at most: 3 -> 5
	// <nil>
}
