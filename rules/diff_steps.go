package rules

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// steps compares sequences and requirements.
func (d *differ) steps(was, is *rule) {
	a, b, rule := was.steps, is.steps, is.name
	longer, more := Stricter, Looser
	if is.steps.require {
		longer, more = Looser, Stricter
	}
	d.span(rule, "within", a.pattern.Within, b.pattern.Within, longer)
	d.keys(rule, a.by, b.by, more)
	x, y := d.listed(a), d.listed(b)
	if !slices.Equal(x, y) {
		d.note(rule, "steps", Other, strings.Join(x, "; "), strings.Join(y, "; "), "other steps: %s -> %s", strings.Join(x, "; "), strings.Join(y, "; "))
	}
	d.condition(is, "where", "condition on the call that is judged", a.last, b.last)
	if x, y := d.step(a, a.until), d.step(b, b.until); x != y {
		effect := Other
		if !b.require && (x == "" || y == "") {
			effect = fewerIs(y == "", Stricter)
		}
		d.note(rule, "until", effect, x, y, "until: %s -> %s", cmp.Or(x, "nothing"), cmp.Or(y, "nothing"))
	}
}

// listed writes the steps in order, with what may not stand between them.
func (d *differ) listed(s *stepsSpec) (out []string) {
	for i := range s.steps {
		text := d.step(s, &s.steps[i])
		if n := s.pattern.Steps[i].Runs; n > 1 {
			text += fmt.Sprintf(" %d times", n)
		}
		out = append(out, text)
		if u := s.unless[i]; u != nil {
			out = append(out, "unless "+d.step(s, u))
		}
	}
	return out
}

// step writes a step with its condition. Its name stands there if some condition asks about it.
func (d *differ) step(s *stepsSpec, st *step) string {
	if st == nil {
		return ""
	}
	sorted := *st
	sorted.names = slices.Compact(slices.Sorted(slices.Values(st.names)))
	sorted.on = slices.SortedFunc(slices.Values(st.on), func(a, b glob) int { return cmp.Compare(a.String(), b.String()) })
	sorted.on = slices.Compact(sorted.on)
	text := sorted.String()
	if st.name != "" && s.asks(st.name) {
		text += " as " + st.name
	}
	if where := d.forms.Of(st.where); where != "" {
		text += " where " + where
	}
	return text
}

// asks reports whether some condition asks about the step of this name.
func (s *stepsSpec) asks(name string) bool {
	if s.last != nil && slices.Contains(s.last.Steps(), name) {
		return true
	}
	for i := range s.pattern.Slots() {
		if st := s.slot(i); st != nil && st.where != nil && slices.Contains(st.where.Steps(), name) {
			return true
		}
	}
	return false
}

// shape compares schemas, keyword by keyword.
func (d *differ) shape(was, is *rule) {
	if was.declared != is.declared {
		word := map[bool]string{true: "the schema that the server declares", false: "a schema of its own"}
		d.note(is.name, "shape", Other, word[was.declared], word[is.declared], "arguments are checked by %s -> %s", word[was.declared], word[is.declared])
		return
	}
	if is.declared {
		return
	}
	a, b := was.leaves(), is.leaves()
	names := slices.Sorted(maps.Keys(a))
	for name := range b {
		if _, known := a[name]; !known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, path := range names {
		if a[path] != b[path] {
			d.note(is.name, "shape", tightens(path, a[path], b[path]), a[path], b[path], "shape: %s: %s -> %s", path, cmp.Or(a[path], "nothing"), cmp.Or(b[path], "nothing"))
		}
	}
}

// leaves returns what stands where in the schema of a rule, with lists whose order does not matter in an order of their own.
func (r *rule) leaves() map[string]string {
	out := map[string]string{}
	for _, f := range r.at.Fields() {
		if f.Name == "shape" {
			flatten(out, "", decoded(f.Value.JSON()))
		}
	}
	return out
}

func flatten(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			flatten(out, strings.TrimPrefix(path+"."+name, "."), value)
		}
		if len(v) == 0 && path != "" {
			out[path] = "{}"
		}
	case []any:
		name := path[strings.LastIndexByte(path, '.')+1:]
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = encoded(item)
		}
		if slices.Contains([]string{"required", "enum", "type", "allOf", "anyOf", "oneOf"}, name) {
			slices.Sort(items)
			items = slices.Compact(items)
		}
		out[path] = "[" + strings.Join(items, ", ") + "]"
	default:
		out[path] = encoded(v)
	}
}

// tightens says what a change of a keyword means: a bound that is lower, or higher, or there. Of names of arguments it is not
// certain, since one can be called like a keyword.
func tightens(path, was, is string) Effect {
	parts := strings.Split(path, ".")
	keyword := parts[len(parts)-1]
	if len(parts) > 1 && parts[len(parts)-2] == "properties" {
		return Other
	}
	upper := []string{"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
	lower := []string{"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
	if !slices.Contains(upper, keyword) && !slices.Contains(lower, keyword) || slices.Contains(parts, "not") || slices.Contains(parts, "if") ||
		slices.Contains(parts, "contains") || slices.Contains(parts, "oneOf") || slices.Contains(parts, "anyOf") {
		return Other
	}
	switch {
	case was == "":
		return Stricter
	case is == "":
		return Looser
	}
	a, _, err := apd.NewFromString(was)
	b, _, other := apd.NewFromString(is)
	if err != nil || other != nil {
		return Other
	}
	return fewerIs(b.Cmp(a) < 0, map[bool]Effect{true: Stricter, false: Looser}[slices.Contains(upper, keyword)])
}

// respelled writes JSON in one way.
func respelled(raw []byte) string { return encoded(decoded(raw)) }

// decoded reads JSON. Numbers that are equal are written in the same way.
func decoded(raw []byte) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return string(raw)
	}
	return reduced(v)
}

func reduced(v any) any {
	switch v := v.(type) {
	case json.Number:
		if x, _, err := apd.NewFromString(v.String()); err == nil && x.Exponent < 100 && x.Exponent > -100 {
			return json.Number(plain(x))
		}
	case map[string]any:
		for name, value := range v {
			v[name] = reduced(value)
		}
	case []any:
		for i, value := range v {
			v[i] = reduced(value)
		}
	}
	return v
}

func encoded(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}
