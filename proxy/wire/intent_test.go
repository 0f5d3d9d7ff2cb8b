package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/wire"
)

func none(string) bool { return false }

// stripped returns what goes on of a call with these arguments, and the intent.
func stripped(t testing.TB, args string, declared func(string) bool) (raw, intent string) {
	t.Helper()
	m := parseCall(t, args)
	out, intent, err := wire.WithoutIntent(m, declared)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return string(out.Raw), intent
}

const around = " { \"jsonrpc\":\"2.0\",\n\"id\" : 1.0, \"method\":\"tools/call\", \"params\" : {\"_meta\":{\"umpire_intent\":\"no argument\"},\"arguments\":ARGS ,\"name\":\"p\\u0061y\"} }\n"

func parseCall(t testing.TB, args string) *wire.Message {
	t.Helper()
	frame, err := wire.Parse([]byte(strings.Replace(around, "ARGS", args, 1)), wire.FromClient)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return &frame.Messages[0]
}

func TestTheIntentIsTakenOutAndEveryOtherByteStays(t *testing.T) {
	for name, tc := range map[string]struct{ args, want, intent string }{
		"alone":                {`{"umpire_intent":"rent"}`, `{}`, "rent"},
		"alone, with spaces":   {`{ "umpire_intent" : "rent" }`, `{  }`, "rent"},
		"first":                {`{"umpire_intent":"rent", "amount":1.50}`, `{"amount":1.50}`, "rent"},
		"last":                 {`{"amount":1.50 , "umpire_intent":"rent" }`, `{"amount":1.50 }`, "rent"},
		"in the middle":        {`{"a":1 ,"umpire_intent":"rent", "b":[1,2] }`, `{"a":1 ,"b":[1,2] }`, "rent"},
		"of an older name":     {`{"umpire_intent_why":"rent","a":1}`, `{"a":1}`, "rent"},
		"two":                  {`{"umpire_intent":"rent","a":1,"umpire_intent_why":"due"}`, `{"a":1}`, "rent\ndue"},
		"two at the end":       {`{"a":1,"umpire_intent":"rent", "umpire_intent_why":"due"}`, `{"a":1}`, "rent\ndue"},
		"none but two":         {`{"umpire_intent":"rent","umpire_intent_why":"due"}`, `{}`, "rent\ndue"},
		"spelled with escapes": {`{"\u0075mpire\u005fintent":"r\u0065nt","a":"\u0061"}`, `{"a":"\u0061"}`, "rent"},
		"with commas in it":    {`{"umpire_intent":"a, \"b\": }","a":"},"}`, `{"a":"},"}`, `a, "b": }`},
		"no text":              {`{"umpire_intent":{"a":[1]},"b":1}`, `{"b":1}`, `{"a":[1]}`},
		"null":                 {`{"b":1,"umpire_intent":null}`, `{"b":1}`, ""},
		"within a value":       {`{"a":{"umpire_intent":"x"},"b":"umpire_intent"}`, `{"a":{"umpire_intent":"x"},"b":"umpire_intent"}`, ""},
		"almost its name":      {`{"umpire_intents":"x","Umpire_intent":1,"umpire_inten":2}`, `{"umpire_intents":"x","Umpire_intent":1,"umpire_inten":2}`, ""},
		"not there":            {`{"a":"\u0061"}`, `{"a":"\u0061"}`, ""},
		"no arguments":         {`null`, `null`, ""},
	} {
		got, intent := stripped(t, tc.args, none)
		if want := strings.Replace(around, "ARGS", tc.want, 1); got != want || intent != tc.intent {
			t.Errorf("%s\ngot  %s %q\nwant %s %q", name, got, intent, want, tc.intent)
		}
	}
}

// What the server itself declares under such a name is the server's.
func TestAnArgumentThatTheServerDeclaresStays(t *testing.T) {
	args := `{"umpire_intent":"theirs","umpire_intent_why":"ours"}`
	got, intent := stripped(t, args, func(name string) bool { return name == "umpire_intent" })
	if want := strings.Replace(around, "ARGS", `{"umpire_intent":"theirs"}`, 1); got != want || intent != "ours" {
		t.Errorf("%s %q", got, intent)
	}
	for schema, want := range map[string]bool{
		`{"properties":{"umpire_intent":{}}}`:                                   true,
		`{"allOf":[{"properties":{"umpire\u005fintent":true}}]}`:                true,
		`{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"umpire_intent":1}}}}`: true,
		`{"properties":{"a":{"description":"umpire_intent"}}}`:                  false,
		`{}`: false, ``: false, `true`: false,
	} {
		if got := wire.DeclaresArgument([]byte(schema), "umpire_intent"); got != want {
			t.Errorf("%s: %v", schema, got)
		}
	}
}

// Attempts to have one argument judged and another forwarded. Two keys of one name are refused before, as ever.
func TestAnIntentIsNoWayToSmuggle(t *testing.T) {
	for _, args := range []string{
		`{"umpire_intent":"a","umpire_intent":"b"}`, `{"umpire_intent":"a","umpire\u005fintent":"b"}`, `{"a":1,"umpire_intent":"x","a":2}`,
	} {
		if _, err := wire.Parse([]byte(strings.Replace(around, "ARGS", args, 1)), wire.FromClient); err == nil {
			t.Errorf("%s is read", args)
		}
	}
}

// Attempt: so many of them that taking them out is work.
func TestACallHasNotAnyNumberOfIntents(t *testing.T) {
	asked, args := 0, make([]string, 100_000)
	for i := range args {
		args[i] = fmt.Sprintf(`"umpire_intent_%d":1`, i)
	}
	_, _, err := wire.WithoutIntent(parseCall(t, "{"+strings.Join(args, ",")+"}"), func(string) bool {
		asked++
		return false
	})
	if err == nil || asked > 16 || !strings.Contains(err.Error(), "more than 16 arguments named umpire_intent") {
		t.Errorf("%v after %d questions", err, asked)
	}
}

// Whatever a call's arguments are: with an intent put into them and taken out again, they are what they were.
func TestTakingTheIntentOutUndoesPuttingItIn(t *testing.T) {
	space := rapid.SampledFrom([]string{"", " ", "\n\t", "  "})
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "members")
		at := rapid.IntRange(0, n).Draw(t, "at")
		var with, without []string
		for i := range n + 1 {
			key, value := fmt.Sprintf("k%d", i), rapid.SampledFrom([]string{`1.50`, `"},{"`, `{"a":[]}`, `[1 , 2]`, `"\u00e9\\"`}).Draw(t, "value")
			if i == at {
				text, err := json.Marshal(rapid.String().Draw(t, "intent"))
				if err != nil {
					t.Fatal(err)
				}
				key, value = wire.Intent, string(text)
			}
			member := `"` + key + `"` + space.Draw(t, "space") + ":" + space.Draw(t, "space") + value
			if with = append(with, member); i != at {
				without = append(without, member)
			}
		}
		args := "{" + strings.Join(with, ",") + "}"
		frame, err := wire.Parse([]byte(strings.Replace(around, "ARGS", args, 1)), wire.FromClient)
		if err != nil {
			t.Skip(err) // half a surrogate pair
		}
		out, intent, err := wire.WithoutIntent(&frame.Messages[0], none)
		want := strings.Replace(around, "ARGS", "{"+strings.Join(without, ",")+"}", 1)
		if err != nil || string(out.Raw) != want || intent != gjson.Get(args, wire.Intent).Str {
			t.Fatalf("%s\ngot  %s %q %v\nwant %s", args, out.Raw, intent, err, want)
		}
	})
}

// BenchmarkWithoutIntent is a call that declares an intent, and one that does not.
func BenchmarkWithoutIntent(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, intent := range []string{"", `"umpire_intent":"The user wants it.",`} {
			b.Run(fmt.Sprintf("bytes=%d/intent=%v", size, intent != ""), func(b *testing.B) {
				m := parseCall(b, "{"+intent+`"text":"`+strings.Repeat("umbrellas, ", size/11)+`"}`)
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := wire.WithoutIntent(m, none); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// valid reports whether arguments are what a schema wants.
func valid(t testing.TB, schema, args string) bool {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("test:schema", doc); err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	compiled, err := c.Compile("test:schema")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(args)))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(v) == nil
}

// Where the argument is added, calls with it are what the schema wants, and where they would not be, the tool stays as it is.
func TestTheIntentIsAddedWhereNoSchemaRefusesIt(t *testing.T) {
	const own = `{"type":"object","properties":{"a":{"type":"number"}},"additionalProperties":false}`
	for schema, added := range map[string]bool{
		`{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]}`: true,
		own:                                  true,
		`{ "type" : "object" }`:              true,
		`{}`:                                 true,
		`{"type":"object","properties":{ }}`: true,
		`{"type":"object","additionalProperties":{"type":"number"}}`:                     true,
		`{"type":"object","properties":{"a":{}},"unevaluatedProperties":false}`:          true,
		`{"type":"object","allOf":[{"properties":{"a":{"type":"number"}}}]}`:             true,
		`{"type":"object","allOf":[` + own + `]}`:                                        false,
		`{"type":"object","oneOf":[{"required":["a"]},{"required":["b"]}]}`:              true,
		`{"type":"object","anyOf":[` + own + `,{"required":["b"]}]}`:                     false,
		`{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"a":{"type":"number"}}}}}`:      true,
		`{"$ref":"#/$defs/x","$defs":{"x":` + own + `}}`:                                 false,
		`{"type":"object","if":{"required":["a"]},"then":` + own + `}`:                   false,
		`{"type":"object","allOf":[{"not":{"required":["umpire_intent"]}}]}`:             false,
		`{"type":"object","not":{"minProperties":2}}`:                                    false,
		`{"type":"object","maxProperties":1}`:                                            false,
		`{"type":"object","propertyNames":{"maxLength":3}}`:                              false,
		`{"type":"object","patternProperties":{".":{"type":"number"}}}`:                  false,
		`{"type":"object","dependentSchemas":{"a":{"maxProperties":1}}}`:                 false,
		`{"type":"object","enum":[{"a":1}]}`:                                             false,
		`{"type":"object","properties":{"umpire_intent":{"type":"number"}}}`:             false,
		`{"type":"object","allOf":[{"properties":{"umpire_intent":{"type":"number"}}}]}`: false,
	} {
		def := ` {"name":"t" , "inputSchema": ` + schema + ` ,"x":1.50}`
		got := wire.WithIntent(gjson.Parse(def), wire.Intent)
		if changed := got != strings.TrimSpace(def); changed != added {
			t.Errorf("%s: added %v", schema, changed)
		}
		out := gjson.Get(got, "inputSchema").Raw
		if !gjson.Valid(got) || gjson.Get(got, "inputSchema.required").Raw != gjson.Get(schema, "required").Raw {
			t.Errorf("%s becomes %s", schema, got)
		}
		if !added {
			continue
		}
		if gjson.Get(got, "inputSchema.properties.umpire_intent.type").Str != "string" {
			t.Errorf("%s becomes %s", schema, got)
		}
		for _, args := range []string{`{}`, `{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`, `{"a":"x"}`} {
			with := strings.Replace(strings.Replace(args, "{", `{"umpire_intent":"rent",`, 1), ",}", "}", 1)
			if before := valid(t, schema, args); valid(t, out, args) != before || valid(t, out, with) != before {
				t.Errorf("%s: %s is %v, and with the intent in\n%s it is not", schema, args, before, out)
			}
		}
	}
	for name, def := range map[string]string{
		"no schema":            `{"name":"t"}`,
		"a schema of no kind":  `{"name":"t","inputSchema":true}`,
		"of a list":            `{"name":"t","inputSchema":{"type":"array"}}`,
		"properties of a kind": `{"name":"t","inputSchema":{"type":"object","properties":[]}}`,
		"elsewhere":            `{"name":"t","inputSchema":{"$ref":"https://example.com/schema"}}`,
		"too long to be kept":  `{"name":"t","description":"` + strings.Repeat("x", 256<<10) + `","inputSchema":{}}`,
		"no tool":              `[]`,
	} {
		if got := wire.WithIntent(gjson.Parse(def), wire.Intent); got != def {
			t.Errorf("%s: %.200s", name, got)
		}
	}
}

// Within a list, every tool is edited where it stands, and what is pinned is what the server has said.
func TestAListWithIntentsSaysWhatTheServerSaid(t *testing.T) {
	list := `{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"n","tools":[ {"name":"a","inputSchema":{"type":"object"}} , {"name":"b"},{"inputSchema":{"properties":{"x":{}}},"name":"c"}],"cacheScope":"public"}}`
	frame, err := wire.Parse([]byte(list), wire.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	m := &frame.Messages[0]
	out, err := wire.EditTools(m, func(def gjson.Result) (string, bool) { return wire.WithIntent(def, "umpire_intent_why"), true })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tool := range gjson.GetBytes(out, "result.tools").Array() {
		got = append(got, fmt.Sprint(tool.Get("name").Str, " ", tool.Get("inputSchema.properties.umpire_intent_why").Exists(), " ", tool.Get("inputSchema.properties.x").Exists()))
	}
	if want := []string{"a true false", "b false false", "c true true"}; !slices.Equal(got, want) || gjson.GetBytes(out, "result.cacheScope").Str != "public" {
		t.Errorf("%s: %v", out, got)
	}
}
