package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write event.schema.json again")

// The published schema is made of the types and of what their comments say.
func TestTheSchemaIsThatOfTheTypes(t *testing.T) {
	made := newSchemas(t).text(t)
	if *update {
		if err := os.WriteFile("event.schema.json", made, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if JSONSchema() != string(made) {
		t.Error("event.schema.json is not that of the types: go test ./rules/event -run ThatOfTheTypes -update")
	}
}

// Whatever is written conforms to the schema.
func TestEveryEventConformsToTheSchema(t *testing.T) {
	schema := compiled(t)
	kinds := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		e := drawn(t)
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(schema, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		kinds[e.Body.Kind()] = true
	})
	if want := len(bodies); len(kinds) != want {
		t.Errorf("only %d of %d kinds were drawn: %v", len(kinds), want, kinds)
	}
}

// Whatever was recorded conforms to the schema.
func TestEveryRecordedSessionConformsToTheSchema(t *testing.T) {
	schema := compiled(t)
	files, err := filepath.Glob("../../testdata/sessions/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			if err := validate(schema, line); err != nil {
				t.Errorf("%s:%d: %v", file, n+1, err)
			}
		}
	}
}

func TestTheSchemaRefusesWhatIsNoEvent(t *testing.T) {
	schema := compiled(t)
	good := `{"v":1,"seq":2,"at":"2026-11-23T08:00:00Z","cause":1,"verdict":{"action":"deny","policy":"d"}}`
	if err := validate(schema, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"v":1`, `"v":2`},
		{`"v":1,`, ``},
		{`"seq":2`, `"seq":"2"`},
		{`"seq":2`, `"seq":0`},
		{`"seq":2`, `"seq":2.5`},
		{`2026-11-23T08:00:00Z`, `yesterday`},
		{`"cause":1,`, ``},
		{`"deny"`, `"permit"`},
		{`"policy":"d"`, `"policy":7`},
		{`,"policy":"d"`, ``},
		{`"policy":"d"`, `"policy":"d","soul":1`},
		{`"policy":"d"`, `"policy":"d","evidence":[-1]`},
		{`"cause"`, `"because":1,"cause"`},
		{`"verdict"`, `"judgement"`},
		{`"verdict"`, `"closed":{"link":"l","server":"s","reason":"r"},"verdict"`},
		{good, `[` + good + `]`},
		{good, `{"v":1,"seq":2,"at":"2026-11-23T08:00:00Z"}`},
	} {
		if text := strings.Replace(good, change[0], change[1], 1); text == good || validate(schema, []byte(text)) == nil {
			t.Errorf("conforms: %s", text)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("event.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// bodies are the kinds, as a record has them.
var bodies = func() map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range reflect.TypeFor[record]().Fields() {
		if f.Type.Kind() == reflect.Pointer {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			out[name] = f.Type.Elem()
		}
	}
	return out
}()

// drawn is any event that the types can tell, of any kind, with values that their comments allow.
func drawn(t *rapid.T) Event {
	kind := rapid.SampledFrom(slices.Sorted(maps.Keys(bodies))).Draw(t, "kind")
	body := reflect.New(bodies[kind])
	fill(t, body.Elem(), kind)
	e := Event{V: Version, Seq: rapid.Uint64Min(1).Draw(t, "seq"), At: Time(rapid.Int64().Draw(t, "at")), Body: body.Interface().(Body)}
	e.Session, e.Cause = rapid.String().Draw(t, "session"), rapid.Uint64Min(1).Draw(t, "cause")
	return e
}

// fill draws a value. Every named string is drawn from its constants.
func fill(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case json.RawMessage:
		raw := map[string][]string{"ID": {`1`, `"<a>"`, `null`}, "Args": {`{}`, `{"a":[1.10,"<&>"]}`}, "Value": {`"<a>"`, `1.10`, `true`}}[name]
		if raw == nil {
			raw = []string{`{}`, `{"a":[1,"<&>"],"é":null}`}
		}
		v.Set(reflect.ValueOf(json.RawMessage(rapid.SampledFrom(raw).Draw(t, name))))
		return
	case Action:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]Action{Deny, Hold, Log, Allow}).Draw(t, name)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), name)
		}
	case reflect.Slice:
		for range rapid.IntRange(0, 2).Draw(t, name) {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			fill(t, v.Index(v.Len()-1), name)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, name)))
	case reflect.String:
		if all := constants[v.Type().Name()]; all != nil {
			v.SetString(rapid.SampledFrom(all).Draw(t, name))
		} else {
			v.SetString(rapid.String().Draw(t, name))
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(rapid.Uint64Max(1<<(v.Type().Bits()-1)).Draw(t, name))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, name))
	default:
		t.Fatalf("no %s is drawn", v.Type())
	}
}

// constants are the values of the named strings of this package. A turn can have other roles than those that have names.
var constants = func() map[string][]string {
	out := map[string][]string{}
	for _, decl := range source().Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST {
			continue
		}
		for _, spec := range d.Specs {
			s := spec.(*ast.ValueSpec)
			name, ok := s.Type.(*ast.Ident)
			if !ok || name.Name == "Role" {
				continue
			}
			text, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				panic(err)
			}
			out[name.Name] = append(out[name.Name], text)
		}
	}
	return out
}()

func source() *ast.File {
	f, err := parser.ParseFile(token.NewFileSet(), "body.go", nil, parser.ParseComments)
	if err != nil {
		panic(err)
	}
	return f
}
