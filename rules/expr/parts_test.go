package expr_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAConditionIsTakenApartAtItsOutermostAnd(t *testing.T) {
	e := env(t)
	for source, want := range map[string][]string{
		"args.n > 1":                               {"args.n > 1"},
		"args.n > 1 && args.t":                     {"args.n > 1", "args.t"},
		"(args.n > 1 && args.t)":                   {"args.n > 1", "args.t"},
		"(args.n > 1) && (args.t)":                 {"args.n > 1", "args.t"},
		"args.t && (args.t || args.f > 1) && true": {"args.t", "args.t || args.f > 1", "true"},
		"args.n > 1 || args.t && true":             {"args.n > 1 || args.t && true"},
		"args.t ? args.n > 1 : false && true":      {"args.t ? args.n > 1 : false && true"},
		"!(args.t && args.n > 1)":                  {"!(args.t && args.n > 1)"},
		`args.s == "a && b" && args.t`:             {`args.s == "a && b"`, "args.t"},
		`args.s == 'it\'s && (' && args.t`:         {`args.s == 'it\'s && ('`, "args.t"},
		`args.s != r'\d && \' && args.t`:           {`args.s != r'\d && \'`, "args.t"},
		`args.s == """a" && ")""" && args.t`:       {`args.s == """a" && ")"""`, "args.t"},
		"args.t // not && this\n && args.n > 1":    {"args.t", "args.n > 1"},
		"args.l.exists(x, x == 1 && x > 0) && true": {
			"args.l.exists(x, x == 1 && x > 0)", "true",
		},
		"{'a': args.t && true}['a'] && args.t": {"{'a': args.t && true}['a']", "args.t"},
	} {
		p, err := e.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		var got []string
		for _, part := range p.Parts() {
			got = append(got, strings.Join(strings.Fields(part.String()), " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

func TestAPartIsAboutTheCallOrAboutWhoseItIs(t *testing.T) {
	e := env(t)
	for source, about := range map[string]bool{
		"args.n > 1":                         true,
		"has(args.n)":                        false,
		"!has(args.n)":                       false,
		"has(args.n) == args.t":              true,
		"agent == 'bot' || server == 'a'":    false,
		"'money' in tool.effects":            false,
		"call.bound.missing":                 true,
		"origin(args.s).untrusted":           true,
		"asked(tool)":                        true,
		"session.touched('private')":         true,
		"session == 's1'":                    false,
		"args.l.exists(x, x == client.name)": true,
	} {
		p, err := e.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if parts := p.Parts(); len(parts) != 1 || parts[0].About != about {
			t.Errorf("%s: %+v", source, parts)
		}
	}
}

// Whatever a condition is made of: where it holds, all of its parts do, and where it is false, one of them is.
func TestPartsHoldWhereTheWholeDoes(t *testing.T) {
	e := env(t)
	atoms := []string{"args.n == 950", "args.t", "!args.t", "args.s == 'a && b'", `"(" == "("`, "has(args.o.a)", "args.l.exists(x, x == 1 && true)", "size(args.l) > 5", "agent == 'bot'"}
	rapid.Check(t, func(t *rapid.T) {
		var draw func(depth int) string
		draw = func(depth int) string {
			if depth == 0 || rapid.IntRange(0, 2).Draw(t, "atom") == 0 {
				return rapid.SampledFrom(atoms).Draw(t, "which")
			}
			text := draw(depth-1) + rapid.SampledFrom([]string{" && ", "&&", " || ", "\n&& // && (\n"}).Draw(t, "joined by") + draw(depth-1)
			switch rapid.IntRange(0, 3).Draw(t, "within") {
			case 0:
				return "(" + text + ")"
			case 1:
				return "((" + text + "))"
			}
			return text
		}
		source := draw(3)
		p, err := e.Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := p.Eval(call(args))
		all := true
		for _, part := range p.Parts() {
			match, partErr := part.Eval(call(args))
			if err == nil {
				err = partErr
			}
			all = all && match
		}
		if err != nil || all != whole {
			t.Fatalf("%s is %v, its parts %v: %v", source, whole, all, err)
		}
	})
}
