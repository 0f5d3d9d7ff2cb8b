package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"reflect"
	"strings"
	"testing"
)

// object is a JSON object whose members have an order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		text, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%q:%s", m.name, text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// schemas makes a JSON Schema of the types that a record holds.
type schemas struct {
	t     *testing.T
	docs  map[string]string // of "Type" and "Type.Field"
	defs  object
	named map[reflect.Type]bool // are in defs
}

func newSchemas(t *testing.T) *schemas {
	s := &schemas{t: t, docs: map[string]string{}, named: map[reflect.Type]bool{}}
	for _, decl := range source().Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			s.docs[spec.Name.Name] = line(d.Doc)
			of, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range of.Fields.List {
				for _, name := range f.Names {
					s.docs[spec.Name.Name+"."+name.Name] = strings.TrimSpace(line(f.Doc) + " " + line(f.Comment))
				}
			}
		}
	}
	return s
}

// line is a comment in one line.
func line(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// text returns the schema of an event.
func (s *schemas) text(t *testing.T) []byte {
	properties := object{
		{"v", object{{"const", Version}, {"description", "version of this form"}}},
		{"seq", object{{"type", "integer"}, {"minimum", 1}, {"description", "position in the log"}}},
		{"at", object{{"type", "string"}, {"format", "date-time"}, {"description", "when it was judged or seen, in UTC; never before the event before"}}},
		{"session", object{{"type", "string"}, {"description", "missing in events of the whole installation"}}},
		{"cause", object{{"type", "integer"}, {"minimum", 1}, {"description", "seq of the event that led to this one"}}},
	}
	var one []object
	caused := object{}
	for f := range reflect.TypeFor[record]().Fields() {
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties = append(properties, member{name, s.of(f.Type.Elem())})
		one = append(one, object{{"required", []string{name}}})
		if strings.Contains(s.docs[f.Type.Elem().Name()], "(Cause is the ") {
			caused = append(caused, member{name, []string{"cause"}})
		}
	}
	text, err := json.MarshalIndent(object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", fmt.Sprintf("https://github.com/umpire-dev/umpire/rules/event/v%d/event.schema.json", Version)},
		{"title", fmt.Sprintf("Umpire event, version %d", Version)},
		{"description", "One line of what umpire export prints. The form grows by new fields and kinds: a program that reads " +
			"what a later umpire of the same version writes ignores what it does not know."},
		{"type", "object"},
		{"properties", properties},
		{"required", []string{"v", "seq", "at"}},
		{"oneOf", one},
		{"dependentRequired", caused},
		{"additionalProperties", false},
		{"$defs", s.defs},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"<", ">", "&"} { // what MarshalIndent has escaped
		text = bytes.ReplaceAll(text, fmt.Appendf(nil, `\u%04x`, c[0]), []byte(c))
	}
	return append(text, '\n')
}

// of returns the schema of a type: a reference, if it has a name of its own.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	case reflect.TypeFor[Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case reflect.TypeFor[Action]():
		return object{{"enum", actionNames}}
	case reflect.TypeFor[[]byte]():
		return object{{"type", "string"}, {"contentEncoding", "base64"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		if !s.named[t] {
			s.named[t] = true
			at := len(s.defs)
			s.defs = append(s.defs, member{t.Name(), nil}) // before those that it refers to
			s.defs[at].value = s.object(t)
		}
		return object{{"$ref", "#/$defs/" + t.Name()}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", s.of(t.Elem())}}
	case reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", s.of(t.Elem())}}
	case reflect.String:
		if all := constants[t.Name()]; all != nil {
			return object{{"enum", all}}
		}
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Uint64:
		return object{{"type", "integer"}, {"minimum", 0}}
	case reflect.Int, reflect.Int64:
		return object{{"type", "integer"}}
	}
	s.t.Fatalf("%s has no schema", t)
	return nil
}

func (s *schemas) object(t reflect.Type) object {
	out := object{{"type", "object"}}
	if doc := s.docs[t.Name()]; doc != "" {
		out = append(out, member{"description", doc})
	}
	properties, required := s.fields(t)
	out = append(out, member{"properties", properties})
	if len(required) > 0 {
		out = append(out, member{"required", required})
	}
	return append(out, member{"additionalProperties", false})
}

func (s *schemas) fields(t reflect.Type) (properties object, required []string) {
	for f := range t.Fields() {
		if f.Anonymous { // its members stand among the others
			p, r := s.fields(f.Type)
			properties, required = append(properties, p...), append(required, r...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			s.t.Fatalf("%s.%s has no name in JSON", t, f.Name)
		}
		of := s.of(f.Type)
		switch {
		case t == reflect.TypeFor[Call]() && f.Name == "ID":
			of = object{{"type", []string{"string", "number", "null"}}}
		case t == reflect.TypeFor[Call]() && f.Name == "Args", t == reflect.TypeFor[Promoted]() && f.Name == "Baseline":
			of = object{{"type", "object"}}
		case t == reflect.TypeFor[Argument]() && f.Name == "Value":
			of = object{{"type", []string{"string", "number", "boolean"}}}
		case options != "omitempty" && f.Type.Kind() == reflect.Slice: // none of them
			of[0].value = []string{"array", "null"}
		}
		if doc := s.docs[t.Name()+"."+f.Name]; doc != "" {
			of = append(of, member{"description", doc})
		}
		properties = append(properties, member{name, of})
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return properties, required
}
