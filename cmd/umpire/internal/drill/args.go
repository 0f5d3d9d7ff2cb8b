package drill

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// args returns valid arguments of a tool, with values in slots: an id is a number, which makes it another one. A slot that the
// tool does not have is left out.
func args(c *cast, values ...any) (string, error) {
	properties, _ := c.schema["properties"].(object)
	out := object{}
	required, _ := c.schema["required"].([]any)
	for _, r := range required {
		if name, ok := r.(string); ok {
			schema, _ := properties[name].(object)
			out[name] = example(schema, 0)
		}
	}
	for i := 0; i+1 < len(values); i += 2 {
		slot, ok := values[i].(string)
		if !ok {
			return "", fmt.Errorf("%v is no slot", values[i])
		}
		name := c.slots[slot]
		if name == "" {
			continue
		}
		schema, _ := properties[name].(object)
		switch n, isNumber := values[i+1].(int); {
		case isNumber && slot == "id":
			if out[name] = another(c.id, n); c.id == nil {
				out[name] = another(example(schema, 0), n)
			}
		case isNumber:
			out[name] = within(schema, float64(n))
		case schema["type"] == "array":
			out[name] = []any{values[i+1]}
		default:
			out[name] = values[i+1]
		}
	}
	text, err := json.Marshal(out)
	return string(text), err
}

// depth bounds how deep examples go.
const depth = 8

// such finds an example in a description: "such as ord_1001".
var such = regexp.MustCompile(`(?i)(?:such as|e\.g\.|for example|example:)\s+["'\x60]?([A-Za-z0-9_./:@-]*[A-Za-z0-9_/@-])`)

// example returns a value that a schema allows, as far as it can be seen.
func example(schema object, level int) any {
	for _, k := range []string{"const", "default"} {
		if v, ok := schema[k]; ok {
			return v
		}
	}
	for _, k := range []string{"enum", "examples"} {
		if list, ok := schema[k].([]any); ok && len(list) > 0 {
			return list[0]
		}
	}
	kind, _ := schema["type"].(string)
	if list, ok := schema["type"].([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	switch kind {
	case "integer", "number":
		return within(schema, 5)
	case "boolean":
		return false
	case "array":
		items, _ := schema["items"].(object)
		if n, ok := number(schema["minItems"]); ok && n > 0 && level < depth {
			return []any{example(items, level+1)}
		}
		return []any{}
	case "object":
		out := object{}
		properties, _ := schema["properties"].(object)
		required, _ := schema["required"].([]any)
		for _, r := range required {
			if name, ok := r.(string); ok && level < depth {
				property, _ := properties[name].(object)
				out[name] = example(property, level+1)
			}
		}
		return out
	}
	return word(schema)
}

// word returns a text that a schema allows.
func word(schema object) string {
	description, _ := schema["description"].(string)
	pattern, _ := schema["pattern"].(string)
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "1001"
	}
	candidates := []string{"1001", "x1001"}
	if m := such.FindStringSubmatch(description); m != nil {
		candidates = slices.Insert(candidates, 0, m[1])
	}
	switch schema["format"] {
	case "email":
		candidates = []string{"customer1001@example.com"}
	case "uri", "url":
		candidates = []string{"https://example.com/1001"}
	case "date":
		return "2026-11-23"
	case "date-time":
		return "2026-11-23T08:00:00Z"
	}
	if tree, err := syntax.Parse(pattern, syntax.Perl); err == nil && pattern != "" {
		candidates = append(candidates, matching(tree.Simplify(), 0))
	}
	for _, c := range candidates {
		if re.MatchString(c) {
			return c
		}
	}
	return candidates[len(candidates)-1]
}

// matching returns a text that a pattern without look-around matches, in most cases.
func matching(re *syntax.Regexp, level int) string {
	if level > 50 {
		return ""
	}
	var out strings.Builder
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		for _, want := range "1a" { // a digit, so that there can be another one
			for i := 0; i+1 < len(re.Rune); i += 2 {
				if re.Rune[i] <= want && want <= re.Rune[i+1] {
					return string(want)
				}
			}
		}
		if len(re.Rune) > 0 {
			return string(re.Rune[0])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "1"
	case syntax.OpPlus:
		return strings.Repeat(matching(re.Sub[0], level+1), 4)
	case syntax.OpRepeat:
		return strings.Repeat(matching(re.Sub[0], level+1), min(re.Min, 100))
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			out.WriteString(matching(sub, level+1))
		}
	case syntax.OpAlternate:
		return matching(re.Sub[0], level+1)
	default: // what may be left out, and what stands between letters
	}
	return out.String()
}

// digits are the last ones of a text.
var digits = regexp.MustCompile(`^(.*?)(\d+)(\D*)$`)

// another returns the nth value of the form of v.
func another(v any, n int) any {
	switch v := v.(type) {
	case string:
		m := digits.FindStringSubmatch(v)
		if m == nil {
			return v + strconv.Itoa(n)
		}
		last, err := strconv.ParseUint(m[2], 10, 63)
		if err != nil {
			return v + strconv.Itoa(n)
		}
		return fmt.Sprintf("%s%0*d%s", m[1], len(m[2]), last+uint64(max(n, 0)), m[3])
	case float64:
		return v + float64(n)
	}
	return v
}

// within returns a number, or the next one that a schema allows.
func within(schema object, n float64) float64 {
	if least, ok := number(schema["minimum"]); ok {
		n = max(n, least)
	}
	if least, ok := number(schema["exclusiveMinimum"]); ok && n <= least {
		n = least + 1
	}
	if most, ok := number(schema["maximum"]); ok {
		n = min(n, most)
	}
	return n
}

// number reads a number of JSON or YAML.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	}
	return 0, false
}
