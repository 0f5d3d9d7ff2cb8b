package rules_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

func compile(text string) (*rules.Policy, error) {
	return rules.Compile([]event.Source{{Name: "policy.yaml", Text: text}}, event.Env{OS: "linux", Home: "/home/alice"})
}

// wrong lists policies that do not compile, each with line, column, what is said and the hint.
var wrong = []struct {
	text, at, msg, hint string
}{
	{"rulez: []", "1:1", `unknown field "rulez"`, "did you mean rules?"},
	{"rules: 3", "1:8", "want a list, not the number 3", "dash"},
	{"rules:\n  - {on: a/b, do: deny}", "2:5", "a rule without name", "verdicts name"},
	{"rules:\n  - {name: x, do: deny}", "2:5", "a rule without on", "every tool"},
	{"rules:\n  - {name: allow, on: a/b}", "2:5", `"allow" cannot be the name`, "allow and catalog are taken"},
	{"rules:\n  - {name: a b, on: a/b}", "2:5", `"a b" cannot be the name`, "letters"},
	{"rules:\n  - {name: x, on: a/b}\n  - {name: x, on: a/b}", "3:12", `a second rule named "x"`, "the first stands at policy.yaml:2"},
	{"rules:\n  - {name: catalog, on: a/b}", "2:5", `"catalog" cannot be the name`, "allow and catalog are taken"},
	{"rules:\n  - {name: x, on: a/b, catalog: []}", "2:33", "want one or more of changed, hidden, twin, added", ""},
	{"rules:\n  - {name: x, on: a/b, catalog: [changed, hiden]}", "2:43", `"hiden" is not one of changed, hidden, twin, added`, "did you mean hidden?"},
	{"rules:\n  - {name: x, on: a/b, catalog: changed, shape: declared}", "2:5", "shape and catalog in one rule", "write two rules"},
	{"rules:\n  - {name: x, catalog: changed}", "2:5", "a rule without on", "every tool"},
	{"rules:\n  - {name: x, on: refund}", "2:19", `"refund": want server/tool`, ""},
	{"rules:\n  - {name: x, on: a/b, do: park}", "2:28", `"park" is not one of log, hold, deny`, "known here: log, hold, deny"},
	{"rules:\n  - {name: x, on: a/b, do: dney}", "2:28", `"dney" is not one of`, "did you mean deny?"},
	{"rules:\n  - {name: x, on: a/b, where: \"arg.amount > 3\"}", "2:32", "undeclared reference to 'arg'", "conditions may use args"},
	{"rules:\n  - {name: x, on: a/b, where: \"args.amount >\"}", "2:45", "ends too early", ""},
	{"rules:\n  - {name: x, on: a/b, where: \"args.a == 1 && tool.efects == []\"}", "2:51", "undefined field 'efects'", ""},
	{"rules:\n  - name: x\n    on: a/b\n    where: |\n      has(args.a) &&\n        nope(args.a)", "6:13", "undeclared reference to 'nope'", ""},
	{"rules:\n  - {name: x, on: a/b, where: \"args.a\"}\n  - {name: y, on: a/b, where: \"1 + 1\"}", "3:32", "the condition is a int, not a bool", ""},
	{"rules:\n  - {name: x, on: a/b, where: \"args.a.matches('(')\"}", "2:47", "invalid matches argument", ""},
	{"rules:\n  - {name: x, on: a/b, where: \"\"}", "2:31", "an empty condition", ""},
	{"rules:\n  - {name: x, on: a/b, where: 3}", "2:31", "want text, not the number 3", "quotes"},
	{"rules:\n  - {name: x, on: a/b, rate: {per: 10s}}", "2:30", "want max", "max: 3"},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3}}", "2:30", "want per", "per: 10s"},
	{"rules:\n  - {name: x, on: a/b, rate: {max: -1, per: 10s}}", "2:36", "want a whole number from 0", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 1.5, per: 10s}}", "2:36", "want a whole number", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3, per: 10}}", "2:44", `"10" is no duration`, "10s or 30d"},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3, per: 100ms}}", "2:44", "100ms is not from 1s to 90d", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3, per: 91d}}", "2:44", "91d is not from 1s to 90d", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3, per: 1m, by: sesion}}", "2:52", `"sesion" is nothing to count by`, "by may be session"},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 3, per: 1m, by: args.}}", "2:52", "no path of an argument", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {sum: amount, max: 3, per: 1m}}", "2:36", `"amount" is no path of an argument`, ""},
	{"rules:\n  - {name: x, on: a/b, rate: {sum: args.a, max: -3, per: 1m}}", "2:49", "-3 is negative", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {sum: args.a, distinct: args.b, max: 3, per: 1m}}", "2:30", "more than one of sum", "one rule for each"},
	{"rules:\n  - {name: x, on: a/b, rate: {in_flight: 1, max: 3}}", "2:30", "in_flight and max", "the limit itself"},
	{"rules:\n  - {name: x, on: a/b, rate: {in_flight: 0}}", "2:42", "want a whole number from 1", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {in_flight: 1, count: succeeded}}", "2:30", "count does not go with it", ""},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 1, per: 1m}, shape: declared}", "2:5", "rate and shape in one rule", "two rules"},
	{"rules:\n  - {name: x, on: a/b, shape: declard}", "2:31", `"declard" is not one of declared`, "did you mean declared?"},
	{"rules:\n  - {name: x, on: a/b, shape: {type: objct}}", "2:31", "schema is not valid", ""},
	{"rules:\n  - {name: x, on: a/b, shape: {$ref: 'file:///etc/passwd'}}", "2:31", "a reference outside the schema is not followed", ""},
	{"rules:\n  - {name: x, on: a/b, require: [{name: y}]}", "2:34", `a step without on`, ""},
	{"rules:\n  - {name: x, on: a/b, require: [{on: a/c}]}", "2:5", `a rule with steps wants within`, "within: 10m"},
	{"rules:\n  - {name: x, on: a/b, require: [], within: 1m}", "2:33", `nothing is required`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b}], within: 1m}", "2:25", `a sequence of 1 steps`, "the last step is the call being judged"},
	{"rules:\n  - {name: x, on: a/b, sequence: [{on: a/b}, {on: a/c}], within: 1m}", "2:19", `on next to sequence`, "into the last step"},
	{"rules:\n  - {name: x, on: a/b, rate: {max: 1, per: 1s}, require: [{on: a/c}], within: 1m}", "2:5", `rate and require in one rule`, "two rules"},
	{"rules:\n  - {name: x, on: a/b, within: 1m}", "2:32", `within is for rules with sequence or require`, ""},
	{"rules:\n  - {name: x, sequence: [{name: args, on: a/b}, {on: a/c}], within: 1m}", "2:33", `"args" already means something`, ""},
	{"rules:\n  - {name: x, sequence: [{name: A, on: a/b}, {on: a/c}], within: 1m}", "2:33", `"A" cannot be the name of a step`, "lower-case"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {name: y, on: a/c}, {on: a/d}], within: 1m}", "2:53", `a second step named "y"`, ""},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b, where: z.ok}, {name: z, on: a/c}, {on: a/d}], within: 1m}", "2:52", `undeclared reference to 'z'`, "and those before it: y"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b, where: y.okay}, {on: a/d}], within: 1m}", "2:53", `undefined field 'okay'`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {on: result a/d}], within: 1m}", "2:37", `the last step can be nothing but a single call`, ""},
	{"rules:\n  - {name: x, sequence: [{on: turn boss}, {on: a/d}], within: 1m}", "2:31", `"boss" is nobody who speaks`, "want user, assistant, system, tool, *"},
	{"rules:\n  - {name: x, sequence: [{on: reslt a/b}, {on: a/d}], within: 1m}", "2:31", `"reslt" is no kind of event`, "result server/tool"},
	{"rules:\n  - {name: x, sequence: [{on: a/b, runs: 3}, {on: a/d}], within: 1m}", "2:42", `"3" is no number of times`, "3.."},
	{"rules:\n  - {name: x, sequence: [{on: a/b, runs: 1..}, {on: a/d}], within: 1m}", "2:42", `"1.." is no number of times`, "from 2"},
	{"rules:\n  - {name: x, sequence: [{unless: {on: a/b}}, {on: a/c}], within: 1m}", "2:26", `unless stands between two steps`, ""},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b, runs: 2..}, {name: z, on: a/c, where: y.ok}, {on: a/d}], within: 1m}", "2:25", `only the last step can ask about the repeated step y`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {unless: {name: v, on: a/v}}, {name: v, on: a/c}, {on: a/d}], within: 1m}", "2:74", `a second step named "v"`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {unless: {name: v, on: a/v}}, {on: a/d, where: v.ok}], within: 1m}", "2:84", `undeclared reference to 'v'`, "its own step"},
	{"rules:\n  - {name: x, on: a/b, except: [{on: a/b, until: 2026-12-01}]}", "2:32", `exceptions are from rules with do: hold`, "into its where"},
	{"rules:\n  - {name: x, on: a/b, catalog: changed, do: hold, except: [{on: a/b, until: 2026-12-01}]}", "2:60", `and not from those with catalog`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: {on: a/b, until: 2026-12-01}}", "2:42", `want a list`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{on: a/b}]}", "2:43", `an exception without until`, "for ever"},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{until: 2026-12-01}]}", "2:43", `does not say from what`, "on, principal"},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{on: a/b, until: soon}]}", "2:60", `"soon" is no time`, "2026-12-01T08:00:00Z"},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{args: all, until: 2026-12-01}]}", "2:50", `want sha256:`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{args: [1], until: 2026-12-01}]}", "2:50", `want all arguments`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{with: {to: A}, until: 2026-12-01}]}", "2:51", `"to" is no path of an argument`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{with: {args.to: [A]}, until: 2026-12-01}]}", "2:60", `want a text, a number or a boolean`, ""},
	{"rules:\n  - {name: x, on: a/b, do: hold, except: [{who: me, until: 2026-12-01}]}", "2:44", `unknown field "who"`, ""},
	// What would need memory without bounds.
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {on: a/c}]}", "2:5", `a rule with steps wants within`, "what happened before that is forgotten"},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {on: a/c}], within: 91d}", "2:57", `91d is not from 1s to 90d`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {on: a/c}], within: 0s}", "2:57", `0s is not from 1s to 90d`, ""},
	{"rules:\n  - {name: x, sequence: [{on: a/b, runs: 1001..}, {on: a/d}], within: 1m}", "2:42", `"1001.." is no number of times`, "to 1000"},
	{"rules:\n  - {name: x, sequence: [{on: a/b}, {on: a/b}, {on: a/b}, {on: a/b}, {on: a/b}, {on: a/b}, {on: a/b}, {on: a/b}, {on: a/c}], within: 1m}", "2:25", `9 steps; at most 8`, ""},
	// Steps ask about themselves and those before them, so that no two can ask about each other.
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b, where: z.ok}, {name: z, on: a/c, where: y.ok}, {on: a/d}], within: 1m}", "2:52", `undeclared reference to 'z'`, "not about later ones: z"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {unless: {on: a/v, where: z.ok}}, {name: z, on: a/c}, {on: a/d}], within: 1m}", "2:72", `undeclared reference to 'z'`, "not about later ones: z"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {name: z, on: a/d, where: z.ok}], within: 1m}", "2:72", `undeclared reference to 'z'`, "those before it: y"},
	{"rules:\n  - {name: x, on: a/d, require: [{name: y, on: a/b, where: z.ok}, {name: z, on: a/c}], within: 1m}", "2:60", `undeclared reference to 'z'`, "not about later ones: z"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {on: a/d, where: x.ok}], within: 1m}", "2:63", `undeclared reference to 'x'`, "those before it: y"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {on: a/d}], until: {on: a/u, where: z.ok}, within: 1m}", "2:82", `undeclared reference to 'z'`, "those before it: y"},
	{"rules:\n  - {name: x, sequence: [{name: y, on: a/b}, {name: y, on: a/d}], within: 1m}", "2:53", `a second step named "y"`, ""},
	{"rules:\n  - {name: x, on: a/b, require: [{on: a/c}, {unless: {on: a/d}}], within: 1m}", "2:54", `require has no unless`, "a where that does not hold"},
	{"tools:\n  - {effects: [read]}", "2:5", "want match", ""},
	{"tools:\n  - {match: a/b, effects: [Read It]}", "2:28", "a lower-case word", ""},
	{"allow: [a]", "1:9", `"a": want server/tool`, ""},
	{"mode: on", "1:7", `"on" is not one of enforce, observe`, ""},
	{"rules: &x []\nallow: *x", "1:8", "anchor", ""},
	{"rules: [\n", "1:8", "", ""},
	{"rules: []\nrules: []", "2:1", "already defined", ""},
	{"mode: observe\n---\nmode: enforce", "3:1", "a second document", ""},
	{"\tmode: observe", "1:5", "tab", ""},
}

func TestErrorsSayWhatWhereAndWhatToDo(t *testing.T) {
	for _, tc := range wrong {
		_, err := compile(tc.text)
		var list document.Errors
		if !errors.As(err, &list) || len(list) == 0 {
			t.Errorf("%s\ncompiles: %v", tc.text, err)
			continue
		}
		e := list[0]
		if at := fmt.Sprintf("%d:%d", e.Line, e.Col); at != tc.at || !strings.Contains(e.Msg, tc.msg) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%s\n%s\nwant %s: …%s… with hint …%s…", tc.text, e.Detail(), tc.at, tc.msg, tc.hint)
		}
	}
}

func TestAllErrorsAreReported(t *testing.T) {
	_, err := rules.Compile([]event.Source{
		{Name: "one.yaml", Text: "rules:\n  - {name: x, on: a, do: nope}\n"},
		{Name: "two.yaml", Text: "mod: observe"},
	}, event.Env{})
	var list document.Errors
	if !errors.As(err, &list) || len(list) != 3 || list[2].File != "two.yaml" {
		t.Errorf("%v", err)
	}
}

func TestWarnings(t *testing.T) {
	p, err := compile(`
allow: ["shop/*"]
tools:
  - {match: "shop/*", effects: [read]}
  - {match: "shop/refund", effects: [money]}
rules:
  - {name: elsewhere, on: "bank/pay", do: deny}
  - {name: unlisted, on: "*/pay", rate: {max: 1, per: 1h}, do: deny}
  - {name: typo, on: "shopp/pay", do: deny}
  - {name: never, on: "shop/pay", where: "1 > 2", do: deny}
  - {name: bare, on: "shop/*", where: "args.amount > 3 && args.amount < 9", do: deny}
  - {name: guarded, on: "shop/*", where: "has(args.amount) && args.amount > 3", do: deny}
  - {name: exact, on: "shop/pay", where: "args.amount > 3", do: deny}
  - {name: no-drops, on: "shop/drop_*", do: deny}
  - {name: hidden, on: "shop/drop_table", rate: {max: 1, per: 1h}, do: deny}
  - {name: long, on: "shop/pay", rate: {max: 1, per: 30d}, do: deny}
  - name: vain
    sequence: [{on: "bak/look"}, {on: "shop/look", where: "false"}, {on: shop/pay, where: "1 > 2"}]
    within: 1h
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range p.Warnings([]string{"shop", "bank"}, 24*time.Hour) {
		got = append(got, fmt.Sprintf("%d: %s", w.Line, w.Msg))
	}
	want := []string{
		"7: rule elsewhere can never matter: nothing that matches bank/pay is on the allow list",
		"9: rule typo can never match: no server is named shopp",
		"10: rule never can never match: its condition is always false",
		"11: rule bare also matches every call without args.amount",
		"15: rule hidden never decides: rule no-drops denies all of it",
		"16: rule long looks back 30d, but the history is kept for 24h",
		"18: rule vain waits for something that never happens: no server is named bak",
		"18: rule vain waits for something that never happens: the condition is always false",
		"17: rule vain can never match: the condition of its last step is always false",
		"5: tools entry shop/refund never counts: shop/* before it matches the same tools",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDigest(t *testing.T) {
	a := rules.Digest([]event.Source{{Name: "a", Text: "mode: observe"}}, event.Env{OS: "linux"})
	for name, other := range map[string]string{
		"name": rules.Digest([]event.Source{{Name: "b", Text: "mode: observe"}}, event.Env{OS: "linux"}),
	} {
		if other != a {
			t.Errorf("another %s gives another digest", name)
		}
	}
	for name, other := range map[string]string{
		"text":        rules.Digest([]event.Source{{Text: "mode: enforce"}}, event.Env{OS: "linux"}),
		"environment": rules.Digest([]event.Source{{Text: "mode: observe"}}, event.Env{OS: "darwin"}),
		"split":       rules.Digest([]event.Source{{Text: "mode: "}, {Text: "observe"}}, event.Env{OS: "linux"}),
	} {
		if other == a {
			t.Errorf("another %s gives the same digest", name)
		}
	}
}

func TestHides(t *testing.T) {
	text := `
allow: ["shop/*"]
rules:
  - {name: a, on: "shop/drop", do: deny}
  - {name: b, on: "shop/pay", where: "args.x == 1", do: deny}
  - {name: c, on: "shop/look", do: log}
  - {name: d, on: "shop/trial", do: deny, mode: observe}
`
	for mode, want := range map[string]map[string]bool{
		"enforce": {"shop/drop": true, "shop/pay": false, "shop/look": false, "shop/trial": false, "bank/pay": true},
		"observe": {"shop/drop": false, "bank/pay": false},
	} {
		p, err := compile("mode: " + mode + text)
		if err != nil {
			t.Fatal(err)
		}
		for name, hidden := range want {
			server, tool, _ := strings.Cut(name, "/")
			if p.Hides(server, tool) != hidden {
				t.Errorf("%s in mode %s: hidden %v, want %v", name, mode, !hidden, hidden)
			}
		}
	}
}

// The published schema and the compiler agree on every policy of this repository.
func TestSchemaForEditors(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(rules.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema := c.MustCompile("policy.schema.json")
	check := func(name, text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(name, err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(name, err)
		}
		return schema.Validate(instance)
	}
	for name, text := range allPolicies(t) {
		if err := check(name, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := compile(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := 0
	for _, tc := range wrong {
		if check(tc.msg, tc.text) != nil {
			refused++
		}
	}
	if refused < len(wrong)/2 { // the rest takes CEL, JSON Schema or other rules to see
		t.Errorf("the schema refuses only %d of %d wrong policies", refused, len(wrong))
	}
}

// allPolicies returns the examples and those of the transcripts.
func allPolicies(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := policies.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := policies.Files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	files, err := filepath.Glob("../testdata/rules/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := transcript.Parse(f, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range a.Sources() {
			out[f+" "+src.Name] = src.Text
		}
	}
	return out
}

// Compile never panics, and what it accepts can judge.
func FuzzCompile(f *testing.F) {
	for _, tc := range wrong {
		f.Add(tc.text)
	}
	f.Add(policies.Starter().Text)
	f.Add("rules:\n  - {name: x, on: '*/*', where: \"args.a.matches('^x') || path(args.b).within('/x')\", do: log}")
	f.Add("rules:\n  - {name: x, on: '*/*', rate: {sum: args.a, max: 1e3, per: 90d, by: [args[\"x y\"], agent]}, do: log}")
	f.Add("rules:\n  - {name: x, on: '*/*', shape: {anyOf: [{type: object}, {$ref: '#/$defs/x'}], $defs: {x: {type: array}}}}")
	call := event.Event{V: 1, Seq: 1, At: 1, Session: "s1", Body: &event.Call{
		Server: "a", Tool: "b", Args: json.RawMessage(`{"a":"x","b":"/x/y","c":[1,2.5,null,true,{"d":{}}]}`), Peer: event.Peer{Agent: "bot"},
	}}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := compile(text)
		if err != nil {
			var list document.Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("%q: an error without a place: %v", text, err)
			}
			for _, e := range list {
				_ = e.Detail()
			}
			return
		}
		p.Warnings([]string{"a"}, time.Hour)
		s := rules.NewState(p)
		v := s.Decide(call)
		if v.Why == "" || strings.Contains(v.Why, "the rules failed") {
			t.Fatalf("%q: %+v", text, v)
		}
		s.Apply(call)
		s.Apply(event.Event{Seq: 2, At: 1, Cause: 1, Body: &v})
	})
}

func ExampleState_Decide() {
	p, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: `
rules:
  - {name: refund-burst, on: billing/issue_refund, rate: {max: 1, per: 10s, by: session}, do: deny}
`}}, event.Env{OS: "linux"})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := rules.NewState(p)
	for seq := uint64(1); seq < 4; seq += 2 {
		call := event.Event{V: 1, Seq: seq, At: event.At(begin), Session: "s1", Body: &event.Call{
			Server: "billing", Tool: "issue_refund", Args: json.RawMessage(`{"amount": 5}`),
		}}
		v := s.Decide(call)
		fmt.Println(v.Action, v.Why)
		s.Apply(call)
		s.Apply(event.Event{V: 1, Seq: seq + 1, At: call.At, Session: "s1", Cause: seq, Body: &v})
	}
	// Output:
	// allow no rule objects: refund-burst 1 of 1
	// deny 2nd call of billing/issue_refund in 10s by session s1 (limit 1), after #1
}

func ExampleCompile() {
	_, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: "rules:\n  - {name: x, on: a/b, do: dney}"}}, event.Env{})
	fmt.Println(err)
	// Output: policy.yaml:2:28: rules[0].do: "dney" is not one of log, hold, deny
}

// What was said is known of the call that is judged: a condition about an earlier step cannot ask for it.
func TestEarlierStepsHaveNoOrigin(t *testing.T) {
	for _, policy := range []string{
		"rules: [{name: r, sequence: [{name: a, on: x/y, where: 'origin(args.k).user'}, {on: x/z}], within: 1m, do: deny}]",
		"rules: [{name: r, on: x/z, require: [{on: x/y, where: 'asked(tool)'}], within: 1m, do: deny}]",
		"rules: [{name: r, sequence: [{on: x/y}, {on: x/z}], until: {on: x/u, where: \"session.touched('money')\"}, within: 1m, do: deny}]",
	} {
		if _, err := compile(policy); err == nil || !strings.Contains(err.Error(), "about the call being judged") {
			t.Errorf("%s: %v", policy, err)
		}
	}
	if _, err := compile("rules: [{name: r, sequence: [{on: x/y}, {on: x/z, where: 'origin(args.k).untrusted'}], within: 1m, do: deny}]"); err != nil {
		t.Error(err)
	}
}
