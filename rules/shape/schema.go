// Package shape says what arguments look like: JSON Schema, and canonical forms of paths, URLs and hosts.
package shape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/tidwall/gjson"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a compiled JSON Schema for the arguments of a tool.
type Schema struct {
	schema *jsonschema.Schema
	twins  map[string]string // lower-cased name of a declared argument -> the name as declared
}

const (
	schemaURL = "umpire://declared/schema"
	closedURL = "umpire://closed/schema"
)

// Compile compiles a schema, JSON Schema 2020-12 unless its $schema says otherwise. Formats are asserted, patterns are
// RE2, and references can reach only into the schema itself.
func Compile(schema []byte) (*Schema, error) {
	return compile(schema, false)
}

// CompileDeclared compiles the schema that a server declared for a tool and closes it: an argument that the schema does
// not speak of is refused, unless the schema says that it accepts any.
func CompileDeclared(schema []byte) (*Schema, error) {
	return compile(schema, true)
}

func compile(schema []byte, closed bool) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("schema is no JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nowhere{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, schemaError(err)
	}
	url := schemaURL
	if closed {
		// unevaluatedProperties sees through $ref, allOf and the like, and respects additionalProperties: true.
		url = closedURL
		wrapper := map[string]any{"$schema": jsonschema.Draft2020.String(), "$ref": schemaURL, "unevaluatedProperties": false}
		if err := c.AddResource(closedURL, wrapper); err != nil {
			return nil, schemaError(err)
		}
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, schemaError(err)
	}
	s := &Schema{schema: compiled, twins: map[string]string{}}
	if m, ok := doc.(map[string]any); ok {
		props, _ := m["properties"].(map[string]any)
		for name := range props {
			s.twins[strings.ToLower(name)] = name
		}
	}
	return s, nil
}

// nowhere refuses to load what a schema refers to outside itself: rules read no file and no network.
type nowhere struct{}

// Load implements jsonschema.URLLoader.
func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference outside the schema is not followed: %s", url)
}

func schemaError(err error) error {
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		err = invalid.Err
	}
	var v *jsonschema.ValidationError
	if errors.As(err, &v) {
		return fmt.Errorf("schema is not valid: %s", sentence(v, "schema"))
	}
	return fmt.Errorf("schema does not compile: %s", firstLine(err.Error()))
}

// Check returns what is wrong with the arguments, an object from Decode, in one sentence; empty if they fit.
func (s *Schema) Check(args map[string]any) string {
	if twin := s.twin(args); twin != "" {
		return twin
	}
	err := s.schema.Validate(args)
	if err == nil {
		return ""
	}
	var v *jsonschema.ValidationError
	if errors.As(err, &v) {
		return sentence(v, "args")
	}
	return firstLine(err.Error())
}

// Decode makes of JSON, which must be valid, what Check works on. It is several times as fast as encoding/json.
func Decode(r gjson.Result) any {
	switch {
	case r.IsObject():
		m := map[string]any{}
		r.ForEach(func(k, v gjson.Result) bool {
			m[k.Str] = Decode(v)
			return true
		})
		return m
	case r.IsArray():
		list := []any{}
		r.ForEach(func(_, v gjson.Result) bool {
			list = append(list, Decode(v))
			return true
		})
		return list
	case r.Type == gjson.String:
		return r.Str
	case r.Type == gjson.Number:
		return json.Number(r.Raw)
	case r.Type == gjson.Null:
		return nil
	}
	return r.Type == gjson.True
}

// twin finds an argument that differs from a declared one in case alone: some servers read it as the declared one. Of
// several it returns the first in the order of the alphabet.
func (s *Schema) twin(args map[string]any) string {
	first := ""
	for name := range args {
		if declared, ok := s.twins[strings.ToLower(name)]; ok && declared != name && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return ""
	}
	return fmt.Sprintf("args.%s differs from the declared %s in case alone, and servers disagree whether they are the same", first, s.twins[strings.ToLower(first)])
}

// maxProblems bounds how many problems a sentence lists.
const maxProblems = 3

// sentence puts the innermost problems into words.
func sentence(v *jsonschema.ValidationError, root string) string {
	var out, undeclared []string
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, c := range v.Causes {
			walk(c)
		}
		if len(v.Causes) > 0 {
			return
		}
		list := &out
		if _, ok := v.ErrorKind.(*kind.FalseSchema); ok {
			list = &undeclared
		}
		if p := problem(v, root); !slices.Contains(*list, p) {
			*list = append(*list, p)
		}
	}
	walk(v)
	if len(out) == 0 { // a declared argument with a wrong value counts as undeclared too
		out = undeclared
	}
	sort.Strings(out)
	if more := len(out) - maxProblems; more > 0 {
		out = append(out[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}

func problem(v *jsonschema.ValidationError, root string) string {
	at := root
	for _, part := range v.InstanceLocation {
		at += "." + part
	}
	switch k := v.ErrorKind.(type) {
	case *kind.Required:
		return fmt.Sprintf("%s is missing %s", at, strings.Join(k.Missing, ", "))
	case *kind.AdditionalProperties:
		unknown := slices.Sorted(slices.Values(k.Properties)) // the library lists them in any order
		return fmt.Sprintf("%s has the unknown %s", at, strings.Join(unknown, ", "))
	case *kind.FalseSchema:
		return at + " is not declared"
	case *kind.Type:
		return fmt.Sprintf("%s is of type %s, not %s", at, k.Got, strings.Join(k.Want, " or "))
	case *kind.Maximum:
		return fmt.Sprintf("%s is %s, at most %s is allowed", at, decimal(k.Got), decimal(k.Want))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("%s is %s, it must be less than %s", at, decimal(k.Got), decimal(k.Want))
	case *kind.Minimum:
		return fmt.Sprintf("%s is %s, at least %s is needed", at, decimal(k.Got), decimal(k.Want))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("%s is %s, it must be greater than %s", at, decimal(k.Got), decimal(k.Want))
	case *kind.MaxLength:
		return fmt.Sprintf("%s is %d characters long, at most %d are allowed", at, k.Got, k.Want)
	case *kind.Pattern:
		return fmt.Sprintf("%s is %s, which does not match %s", at, short(k.Got), k.Want)
	case *kind.Enum:
		want, _ := json.Marshal(k.Want)
		got, _ := json.Marshal(k.Got)
		return fmt.Sprintf("%s is %.60s, not one of %.120s", at, got, want)
	}
	return at + ": " + v.ErrorKind.LocalizedString(english)
}

var english = message.NewPrinter(language.English)

// decimal formats r as people write it, with at most ten decimals.
func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.RatString()
	}
	return strings.TrimRight(r.FloatString(10), "0")
}

func short(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%.60q…", s)
	}
	return fmt.Sprintf("%q", s)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
