package wire

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Intent is the argument by which a model may declare why it makes a call. It and every name that begins with it and an
// underscore are Umpire's own: such an argument is taken out of every call, since clients keep lists of tools for long, but
// for one that the server has declared itself.
const Intent = "umpire_intent"

// maxIntents is how many arguments of a call may be Umpire's own.
const maxIntents = 16

// IsIntent reports whether an argument of this name is Umpire's own.
func IsIntent(name string) bool {
	rest, ok := strings.CutPrefix(name, Intent)
	return ok && (rest == "" || rest[0] == '_')
}

// WithoutIntent returns the tools/call m without the arguments that are Umpire's own, and what they say, as the model wrote
// it. Declared says which of them the server has declared. Every other byte of the message stays; without such arguments it is
// m itself. The error is an *Error.
func WithoutIntent(m *Message, declared func(name string) bool) (out *Message, intent string, err error) {
	if args := m.members.args; !holds(args, Intent) && !holds(args, `\u`) {
		return m, "", nil
	}
	args := member(member(gjson.ParseBytes(m.Raw), "params"), "arguments")
	var spans []memberSpan
	var texts []string
	named := 0
	args.ForEach(func(key, value gjson.Result) bool {
		s := memberSpan{from: key.Index, to: value.Index + len(value.Raw)}
		if IsIntent(key.Str) {
			if named++; named > maxIntents {
				return false
			}
			s.drop = !declared(key.Str)
		}
		if s.drop && value.Type != gjson.Null {
			texts = append(texts, value.String())
		}
		spans = append(spans, s)
		return true
	})
	if named > maxIntents {
		return nil, "", refuse(CodeInvalidRequest, "params.arguments", "more than %d arguments named %s…", maxIntents, Intent)
	}
	raw := cut(m.Raw, spans)
	if len(raw) == len(m.Raw) {
		return m, "", nil
	}
	frame, err := Parse(raw, FromClient)
	if err != nil {
		return nil, "", err
	}
	return &frame.Messages[0], strings.Join(texts, "\n"), nil
}

// member returns a member of an object, wherever it stands in a document.
func member(of gjson.Result, name string) (found gjson.Result) {
	of.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			found = value
		}
		return key.Str != name
	})
	return found
}

// memberSpan is where a member of an object stands, from its key to the end of its value.
type memberSpan struct {
	from, to int
	drop     bool
}

// cut returns raw without the members that are to be dropped, each with one of the commas beside it.
func cut(raw []byte, spans []memberSpan) []byte {
	out := make([]byte, 0, len(raw))
	done := 0
	kept := -1 // the last one that stays
	for i, s := range spans {
		if !s.drop {
			kept = i
			continue
		}
		from, to := s.from, s.to
		if next := slices.IndexFunc(spans[i:], func(s memberSpan) bool { return !s.drop }); next >= 0 {
			to = spans[i+next].from
		} else if kept >= 0 {
			from = spans[kept].to
		} else {
			from = spans[0].from
		}
		out = append(out, raw[done:max(done, from)]...)
		done = to
	}
	return append(out, raw[done:]...)
}

// DeclaresArgument reports whether a schema speaks of an argument of this name, wherever in it.
func DeclaresArgument(schema []byte, name string) bool { return speaks(gjson.ParseBytes(schema), name) }

func speaks(v gjson.Result, name string) (found bool) {
	if v.IsObject() || v.IsArray() {
		v.ForEach(func(key, value gjson.Result) bool {
			found = key.Str == name || speaks(value, name)
			return !found
		})
	}
	return found
}

// intentMeans is what a model reads about the argument.
const intentMeans = `{"type":"string","description":"Why you make this call: in a sentence, what the user has asked for that it serves. Whoever watches over calls reads it; the tool does not get it."}`

// WithIntent returns the definition of a tool with an argument by which the model may declare why it makes a call. A tool
// stays as it is if calls with the argument could break its schema, or if the schema speaks of such an argument itself.
func WithIntent(def gjson.Result, name string) string {
	schema := member(def, "inputSchema")
	if !schema.IsObject() || len(def.Raw) > maxDefinition || speaks(schema, name) || closed(schema) {
		return def.Raw
	}
	at := schema.Index - def.Index + 1 // behind the brace
	added, object := quote(name)+":"+intentMeans, schema
	if properties := member(schema, "properties"); properties.Exists() {
		at, object = properties.Index-def.Index+1, properties
	} else {
		added = `"properties":{` + added + "}"
	}
	if strings.TrimSpace(object.Raw[1:len(object.Raw)-1]) != "" {
		added += ","
	}
	return def.Raw[:at] + added + def.Raw[at:]
}

// Keywords of JSON Schema that can refuse an object for a property that they do not speak of: beside properties, and within
// the schemas that are applied to the same object.
var (
	closes = []string{"propertyNames", "maxProperties", "patternProperties", "not", "enum", "const"}
	within = []string{"additionalProperties", "unevaluatedProperties", "propertyNames", "maxProperties", "patternProperties", "not"}
	joins  = []string{
		"$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "dependencies", "extends",
	}
)

// closed reports whether one more entry of properties may not be enough to let one more property pass. It may say yes where
// it would be.
func closed(schema gjson.Result) (yes bool) {
	joined := false
	schema.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "type":
			yes = value.Str != "object"
		case "properties":
			yes = !value.IsObject()
		default:
			yes = slices.Contains(closes, key.Str)
			joined = joined || slices.Contains(joins, key.Str)
		}
		return !yes
	})
	if yes || !joined {
		return yes
	}
	schema.ForEach(func(key, value gjson.Result) bool { // what $ref means can be anywhere
		if key.Str != "additionalProperties" && key.Str != "unevaluatedProperties" {
			yes = yes || slices.ContainsFunc(within, func(word string) bool { return speaks(value, word) })
		}
		return !yes
	})
	return yes || !local(schema)
}

// local reports whether all that a schema refers to stands within it.
func local(v gjson.Result) bool {
	all := true
	if v.IsObject() || v.IsArray() {
		v.ForEach(func(key, value gjson.Result) bool {
			if strings.HasSuffix(key.Str, "ef") && key.Str[0] == '$' && !strings.HasPrefix(value.Str, "#") {
				all = false
			}
			all = all && local(value)
			return all
		})
	}
	return all
}
