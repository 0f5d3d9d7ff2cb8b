package suggest

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
)

// arg is what the values of one argument have in common.
type arg struct {
	calls    int
	types    map[string]bool
	values   map[string]int // texts, while they are few
	forms    map[string]bool
	least    *apd.Decimal // of numbers
	most     *apd.Decimal
	longest  int  // characters of a text
	redacted bool // what is stored is not what was sent
}

const (
	maxValues = 64
	maxForms  = 3
	fewValues = 8 // that make an enumeration
)

// learn takes the arguments of an honest call.
func (t *tool) learn(c *call) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(c.Args, &fields) != nil {
		t.full = true
		return
	}
	for name, raw := range fields {
		a := t.keys[name]
		if a == nil {
			if len(t.keys) >= maxKeys {
				t.full = true
				continue
			}
			a = &arg{types: map[string]bool{}, values: map[string]int{}, forms: map[string]bool{}}
			t.keys[name] = a
		}
		a.calls++
		a.learn(raw)
		for _, f := range c.Findings {
			if f.Path == "args."+name || strings.HasPrefix(f.Path, "args."+name+".") || strings.HasPrefix(f.Path, "args."+name+"[") || !strings.HasPrefix(f.Path, "args.") {
				a.redacted = true
			}
		}
	}
}

func (a *arg) learn(raw json.RawMessage) {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		a.types["object"] = true
	case '[':
		a.types["array"] = true
	case 't', 'f':
		a.types["boolean"] = true
	case 'n':
		a.types["null"] = true
	case '"':
		a.types["string"] = true
		var text string
		if json.Unmarshal(raw, &text) != nil {
			a.redacted = true
			return
		}
		a.text(text)
	default:
		n, _, err := apd.NewFromString(string(raw))
		if err != nil {
			a.redacted = true
			return
		}
		var whole apd.Decimal
		kind := "number"
		if _, err := exact.RoundToIntegralExact(&whole, n); err == nil && whole.Cmp(n) == 0 {
			kind = "integer"
		}
		a.types[kind] = true
		if a.least == nil || n.Cmp(a.least) < 0 {
			a.least = n
		}
		if a.most == nil || n.Cmp(a.most) > 0 {
			a.most = n
		}
	}
}

func (a *arg) text(text string) {
	a.longest = max(a.longest, utf8.RuneCountInString(text))
	if a.values != nil {
		if a.values[text]++; len(a.values) > maxValues || len(text) > 60 {
			a.values = nil
		}
	}
	if a.forms != nil {
		if a.forms[formOf(text)] = true; len(a.forms) > maxForms || len(text) > 120 {
			a.forms = nil
		}
	}
}

var (
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	digits = regexp.MustCompile(`[0-9]+`)
)

// formOf returns a pattern for texts that differ in their numbers only.
func formOf(text string) string {
	if uuid.MatchString(text) {
		return strings.Trim(uuid.String(), "^$")
	}
	var out strings.Builder
	at := 0
	for _, run := range digits.FindAllStringIndex(text, -1) {
		out.WriteString(regexp.QuoteMeta(text[at:run[0]]) + "[0-9]+")
		at = run[1]
	}
	out.WriteString(regexp.QuoteMeta(text[at:]))
	return out.String()
}

// member is a member of a JSON Schema.
type member struct {
	name  string
	value any
}

// schema returns what all values have in common. Strict is as they were, else there is some room.
func (a *arg) schema(strict bool) (out []member) {
	kinds := slices.Sorted(maps.Keys(a.types))
	if a.types["number"] { // of which integers are a part
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "integer" })
	}
	if a.redacted {
		return nil
	}
	if len(kinds) == 1 {
		out = append(out, member{"type", kinds[0]})
	} else {
		out = append(out, member{"type", kinds})
	}
	if a.most != nil {
		out = append(out, a.bounds(strict)...)
	}
	if !a.types["string"] || len(kinds) > 1 {
		return out
	}
	switch n := len(a.values); {
	case n > 0 && n <= fewValues && a.calls >= 10*n:
		return append(out, member{"enum", slices.Sorted(maps.Keys(a.values))})
	case len(a.forms) > 0 && (n == 0 || n >= 10) && !slices.ContainsFunc(slices.Collect(maps.Keys(a.forms)), plain):
		out = append(out, member{"pattern", patternOf(slices.Sorted(maps.Keys(a.forms)))})
	}
	longest := int64(a.longest)
	if !strict {
		longest = roomy(longest)
	}
	return append(out, member{"maxLength", longest})
}

// plain reports whether a form has no numbers in it: it is one text and no form.
func plain(form string) bool { return !strings.Contains(form, "[0-9") }

func patternOf(forms []string) string {
	if len(forms) == 1 {
		return "^" + forms[0] + "$"
	}
	return "^(" + strings.Join(forms, "|") + ")$"
}

func (a *arg) bounds(strict bool) []member {
	number := func(d *apd.Decimal) json.Number { return json.Number(d.Text('f')) }
	if strict {
		return []member{{"minimum", number(a.least)}, {"maximum", number(a.most)}}
	}
	var out []member
	switch a.least.Sign() {
	case 1:
		out = append(out, member{"exclusiveMinimum", 0})
	case 0:
		out = append(out, member{"minimum", 0})
	default:
		if n, ok := roomyDecimal(new(apd.Decimal).Neg(a.least)); ok {
			out = append(out, member{"minimum", -n})
		}
	}
	if a.most.Sign() <= 0 {
		return append(out, member{"maximum", 0})
	}
	if n, ok := roomyDecimal(a.most); ok {
		out = append(out, member{"maximum", n})
	}
	return out
}

// roomyDecimal returns roomy of a positive number that is no greater than 10^15.
func roomyDecimal(d *apd.Decimal) (int64, bool) {
	var up apd.Decimal
	if _, err := exact.Ceil(&up, d); err != nil {
		return 0, false
	}
	n, err := up.Int64()
	return roomy(n), err == nil && n < 1e15
}

// scalars returns the texts and numbers among arguments, a number as it is written.
func scalars(args json.RawMessage) map[string]string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(args, &fields) != nil {
		return nil
	}
	out := map[string]string{}
	for name, raw := range fields {
		var text string
		switch raw = bytes.TrimSpace(raw); {
		case len(raw) > 400:
		case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
			out[name] = text
		case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
			out[name] = string(raw)
		}
	}
	return out
}
