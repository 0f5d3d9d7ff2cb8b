package expr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

func env(t testing.TB) *expr.Env {
	t.Helper()
	e, err := expr.New(event.Env{OS: "linux", Home: "/home/alice"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func call(args string, findings ...event.Finding) *expr.Call {
	return expr.NewCall(event.Event{Session: "s1", Body: &event.Call{
		Server: "billing", Tool: "refund", Args: json.RawMessage(args), Findings: findings,
		Peer: event.Peer{Principal: "local:alice", Agent: "bot", Client: event.Client{Name: "bot", Version: "2"}, Workspace: "/w", Process: "bot[1]"},
	}}, expr.Tool{Name: "refund", Effects: []string{"write", "money"}, Results: "untrusted"})
}

const args = `{"n": 950, "f": 1.5, "big": 9007199254740993, "s": "x\u0041", "t": true, "none": null, "o": {"a": {"b": 1}}, "l": [1, "2", {"x": 3}], "": 1}`

func TestEval(t *testing.T) {
	e := env(t)
	for _, tc := range []struct{ source, want string }{
		{`args.n == 950 && args.n > 949.5 && args.f < 2`, "true"},
		{`args.big == 9007199254740993 && args.big != 9007199254740992`, "true"},
		{`args.s == "xA" && args.s.startsWith("x")`, "true"},
		{`args.t && args.none == null`, "true"},
		{`args.o.a.b == 1 && has(args.o.a) && !has(args.o.c)`, "true"},
		{`args.l[0] == 1 && args.l[1] == "2" && args.l[2].x == 3 && size(args.l) == 3`, "true"},
		{`args[""] == 1 && "n" in args && !("z" in args) && size(args) == 9`, "true"},
		{`args.l.exists(x, x == "2") && args.o.all(k, k == "a")`, "true"},
		{`args.o == {"a": {"b": 1}} && args.l == [1, "2", {"x": 3}]`, "true"},
		{`client.version == "2" && client.workspace == "/w" && client.process == "bot[1]"`, "true"},
		{`"money" in tool.effects && "x,y".split(",").size() == 2`, "true"},
		{`args.nope == 1 || args.n == 950`, "true"},
		{`args.nope == 1 && args.n == 951`, "false"},
		{`args.nope == 1`, "no such key: nope"},
		{`args.s > 1`, "not of the type"},
		{`args.s.b == 1`, "no such key"},
		{`has(args.s.b)`, "no such key"},
		{`args.l[7] == 1`, "index"},
		{`args.n / 0 == 1`, "division by zero"},
		{`args.n`, "a int, not a bool"},
		{`path(args.n).name == "x"`, "path() wants a string"},
		{`url(args.s).host == "x"`, "has no scheme"},
		{`host(args.none).private`, "host() wants a string"},
		{`tool == tool`, "compare a field"},
	} {
		p, err := e.Compile(tc.source)
		if err != nil {
			t.Errorf("%s: %v", tc.source, err)
			continue
		}
		match, err := p.Eval(call(args))
		got := fmt.Sprint(match)
		if err != nil {
			got = err.Error()
		}
		if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%s: %s, want %s", tc.source, got, tc.want)
		}
	}
}

func TestHiddenValuesAreThereButCannotBeLookedAt(t *testing.T) {
	e := env(t)
	for source, want := range map[string]string{
		`has(args.pw)`:                   "true",
		`args.pw == "x"`:                 "args.pw is redacted",
		`args.pw.contains("x")`:          "args.pw is redacted",
		`size(args.long) < 10`:           "args.long is truncated",
		`path(args.pw).name == "x"`:      "args.pw is redacted",
		`args.list[1].matches("x")`:      "args.list.1 is truncated",
		`args.list == ["a", "x"]`:        "args.list.1 is truncated",
		`args.o == {"list": ["a", "x"]}`: "args.o.list.0 is truncated",
		`[args.o] != [{"list": []}]`:     "args.o.list.0 is truncated",
		`args.o.k == 1 && has(args.k)`:   "true",
		`"x" in args.list`:               "args.list.1 is truncated",
		`args.exists(k, args[k] == "y")`: "args.pw is redacted",
	} {
		p, err := e.Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		match, err := p.Eval(call(`{"pw": "[redacted 00]", "long": "xxx", "list": ["a", "x"], "k": 1, "o": {"k": 1, "list": ["a"]}}`,
			event.Finding{Kind: event.Redacted, Path: "args.pw"},
			event.Finding{Kind: event.Truncated, Path: "args.long"},
			event.Finding{Kind: event.Truncated, Path: "args.list.1"},
			event.Finding{Kind: event.Truncated, Path: "args.o.list.0"}))
		got := fmt.Sprint(match)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
	p, err := e.Compile(`has(args.anything)`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(call(`{}`, event.Finding{Kind: event.Truncated, Path: "args"})); err == nil {
		t.Error("arguments that were not kept at all can be asked for their members")
	}
}

// Attempt: encoding/json and mcp-go fill the field amount from Amount, AMOUNT or, for k and s, from their look-alikes.
func TestKeysThatDifferInCaseAloneAreNotRead(t *testing.T) {
	e := env(t)
	for _, tc := range []struct{ source, args string }{
		{`args.amount > 5`, `{"amount": 1, "Amount": 100}`},
		{`args.amount > 5`, `{"AMOUNT": 100}`},
		{`has(args.amount)`, `{"Amount": 100}`},
		{`"amount" in args`, `{"Amount": 100}`},
		{`args.risk > 5`, `{"ri\u017fk": 100}`},
		{`args.risk > 5`, `{"ris\u212a": 100}`},
		{`args.o.risk > 5`, `{"o": {"Risk": 100}}`},
	} {
		p, err := e.Compile(tc.source)
		if err != nil {
			t.Fatal(err)
		}
		if match, err := p.Eval(call(tc.args)); err == nil || !strings.Contains(err.Error(), "case alone") {
			t.Errorf("%s on %s: %v, %v", tc.source, tc.args, match, err)
		}
	}
	for _, name := range []string{"args.amount", "args.o.k"} {
		p, err := expr.ParseArgPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Lookup(call(`{"Amount": 1, "o": {"\u212a": 1}}`)); !errors.Is(err, expr.ErrAmbiguousKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Attempt: a condition that loops over what the model sends keeps the one loop busy.
func TestLoopsAreBounded(t *testing.T) {
	p, err := env(t).Compile(`args.l.all(x, args.l.all(y, x == y))`)
	if err != nil {
		t.Fatal(err)
	}
	long := "[" + strings.Repeat("1,", 50_000) + "1]"
	if _, err := p.Eval(call(`{"l": ` + long + `}`)); err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("%v", err)
	}
	if _, err := env(t).Compile(`args.a.all(a, a.all(b, b.all(c, c.all(d, d == 1))))`); err == nil {
		t.Error("four nested loops compile")
	}
}

func TestNeverAndUnguarded(t *testing.T) {
	e := env(t)
	for source, want := range map[string]struct {
		never bool
		bare  []string
	}{
		`1 > 2`:                             {true, nil},
		`args.a == 1 && false`:              {true, []string{"a"}},
		`args.a == 1`:                       {false, []string{"a"}},
		`has(args.a) && args.a == args.b.c`: {false, []string{"b"}},
		`tool.name == "x"`:                  {false, nil},
	} {
		p, err := e.Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if p.Never() != want.never || !slices.Equal(p.Unguarded(), want.bare) {
			t.Errorf("%s: never %v, unguarded %v", source, p.Never(), p.Unguarded())
		}
	}
}

func TestArgPath(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"args.n", "950"},
		{"args.f", "1.5"},
		{"args.s", "xA"},
		{"args.t", "true"},
		{"args.none", "missing"},
		{"args.nope", "missing"},
		{"args.o.a.b", "1"},
		{"args.l[1]", "2"},
		{"args.l[2].x", "3"},
		{"args.l[9]", "missing"},
		{`args[""]`, "1"},
		{"args.o", "not a string"},
		{"args.l", "not a string"},
		{"args.n.x", "no object"},
		{"args.o[0]", "no list"},
		{"args.l.x", "no object"},
	} {
		p, err := expr.ParseArgPath(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		s, found, err := p.Lookup(call(args))
		got := s.Text
		if err != nil {
			got = err.Error()
		} else if !found {
			got = "missing"
		}
		if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
	for _, bad := range []string{"", "args", "args.", "arg.x", "args.x.", "args[x]", "args[-1]", "args.x y", `args["x]`, "args[9999999]", "args.ä"} {
		if p, err := expr.ParseArgPath(bad); err == nil {
			t.Errorf("%q is the path %s", bad, p)
		}
	}
}

func TestEqualNumbersHaveEqualKeys(t *testing.T) {
	p, err := expr.ParseArgPath("args.n")
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{
		"42": "42", "42.0": "42", "4.2e1": "42", "420E-1": "42", "-0": "0", "-0.0": "0", "0.10": "0.1", "1e3": "1000", "1e-3": "0.001",
		"-12.50": "-12.5", "100": "100", "9007199254740993": "9007199254740993", "1e300": "1" + strings.Repeat("0", 300),
	} {
		s, _, err := p.Lookup(call(`{"n": ` + token + `}`))
		if err != nil || s.Text != want {
			t.Errorf("%s: %q, %v", token, s.Text, err)
		}
	}
}

func ExampleProgram_Eval() {
	e, err := expr.New(event.Env{OS: "linux"})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := e.Compile(`'money' in tool.effects && args.amount > 200`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, args := range []string{`{"amount": 950}`, `{"amount": 50}`, `{}`} {
		c := expr.NewCall(event.Event{Body: &event.Call{Args: json.RawMessage(args)}}, expr.Tool{Effects: []string{"money"}})
		fmt.Println(p.Eval(c))
	}
	// Output:
	// true <nil>
	// false <nil>
	// false no such key: amount
}

func BenchmarkEval(b *testing.B) {
	for name, source := range map[string]string{
		"compare": `has(args.n) && args.n > 2000`,
		"effects": `"egress" in tool.effects`,
		"path":    `path("/srv/data/" + args.s).within("/srv/data")`,
	} {
		b.Run(name, func(b *testing.B) {
			p, err := env(b).Compile(source)
			if err != nil {
				b.Fatal(err)
			}
			c := call(args)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
