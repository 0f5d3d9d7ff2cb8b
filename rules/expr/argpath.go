package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// ArgPath names one argument: "args.order_id", "args.items[0].sku", "args.meta[\"x-id\"]".
type ArgPath struct {
	text  string
	steps []step
}

type step struct {
	key     string
	index   int
	isIndex bool
	path    string // from the top to here, as findings spell it: "args.items.0"
}

var stepPattern = regexp.MustCompile(`^(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,6})\]|\[("(?:[^"\\]|\\.)*")\])`)

// ParseArgPath reads a path; it must start with "args".
func ParseArgPath(text string) (ArgPath, error) {
	rest, ok := strings.CutPrefix(text, "args")
	if !ok || rest == "" {
		return ArgPath{}, fmt.Errorf("%q is no path of an argument, such as args.order_id", text)
	}
	p := ArgPath{text: text}
	path := "args"
	for rest != "" {
		m := stepPattern.FindStringSubmatch(rest)
		if m == nil {
			return ArgPath{}, fmt.Errorf("%q is no path of an argument: cannot read %q", text, rest)
		}
		switch {
		case m[2] != "":
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return ArgPath{}, fmt.Errorf("%q: %w", text, err)
			}
			path += "." + strconv.Itoa(n)
			p.steps = append(p.steps, step{index: n, isIndex: true, path: path})
		case m[3] != "":
			key, err := strconv.Unquote(m[3])
			if err != nil {
				return ArgPath{}, fmt.Errorf("%q: %s is no string", text, m[3])
			}
			path += "." + key
			p.steps = append(p.steps, step{key: key, path: path})
		default:
			path += "." + m[1]
			p.steps = append(p.steps, step{key: m[1], path: path})
		}
		rest = rest[len(m[0]):]
	}
	return p, nil
}

// String returns the path as written.
func (p ArgPath) String() string { return p.text }

// Keys returns the keys on the way to the argument; ok is false if an element of a list is on it.
func (p ArgPath) Keys() (keys []string, ok bool) {
	for _, st := range p.steps {
		if st.isIndex {
			return nil, false
		}
		keys = append(keys, st.key)
	}
	return keys, len(keys) > 0
}

// Scalar is a string, number or boolean argument.
type Scalar struct {
	Text     string // a string's own text; the token of a number, without needless zeros; "true" or "false"
	IsString bool
}

// ParseScalar reads a JSON text, number or boolean.
func ParseScalar(raw []byte) (s Scalar, ok bool) {
	if !gjson.ValidBytes(raw) {
		return s, false
	}
	return scalarOf(gjson.ParseBytes(raw))
}

func scalarOf(v gjson.Result) (s Scalar, ok bool) {
	switch v.Type {
	case gjson.String:
		return Scalar{Text: v.Str, IsString: true}, true
	case gjson.Number:
		return Scalar{Text: canonicalNumber(v.Raw)}, true
	case gjson.True, gjson.False:
		return Scalar{Text: v.Raw}, true
	}
	return s, false
}

// JSON returns what ParseScalar reads.
func (s Scalar) JSON() ([]byte, error) {
	if !s.IsString {
		return []byte(s.Text), nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s.Text)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Hidden reports whether the argument at p, or something in which it is, is not stored as it was sent, and what was done to it.
func (p ArgPath) Hidden(c *Call) (hidden bool, why string) {
	if why = c.hidden["args"]; why != "" {
		return true, why
	}
	for _, st := range p.steps {
		if why = c.hidden[st.path]; why != "" {
			return true, why
		}
	}
	return false, ""
}

// Lookup returns the argument at p. Found is false if it is missing or null. It is an error if the argument is an
// object or an array, if it is not stored in full, or if a key on the way differs from another in case alone.
func (p ArgPath) Lookup(c *Call) (s Scalar, found bool, err error) {
	if c.hidden["args"] != "" {
		return Scalar{}, false, errors.New("the arguments are longer than the history keeps")
	}
	root := c.root()
	at, path := root.json, "args"
	for i, st := range p.steps {
		switch {
		case st.isIndex && at.IsArray():
			elems := at.Array()
			if st.index >= len(elems) {
				return Scalar{}, false, nil
			}
			at = elems[st.index]
		case !st.isIndex && at.IsObject():
			var obj members
			if i == 0 {
				obj = root.members()
			} else {
				obj = membersOf(at, nil)
			}
			v, ok, err := obj.find(st.key)
			if err != nil {
				return Scalar{}, false, err
			}
			if !ok {
				return Scalar{}, false, nil
			}
			at = v
		default:
			return Scalar{}, false, fmt.Errorf("%s cannot be read: %s is no %s", p, path, container(st))
		}
		if path = st.path; c.hidden[path] == event.Truncated {
			return Scalar{}, false, fmt.Errorf("%s is longer than the history keeps", path)
		}
	}
	if at.Type == gjson.Null {
		return Scalar{}, false, nil
	}
	if s, ok := scalarOf(at); ok {
		return s, true, nil
	}
	return Scalar{}, false, fmt.Errorf("%s is not a string, number or boolean", p)
}

func container(s step) string {
	if s.isIndex {
		return "list"
	}
	return "object"
}

// canonicalNumber gives equal numbers equal texts: 42, 42.0 and 4.2e1 are "42". Exponents beyond ±400 stay as they are.
func canonicalNumber(raw string) string {
	if !strings.ContainsAny(raw, "eE") && !strings.HasPrefix(raw, "0") && !strings.HasPrefix(raw, "-") { // nothing moves
		if strings.Contains(raw, ".") {
			return strings.TrimSuffix(strings.TrimRight(raw, "0"), ".")
		}
		return raw
	}
	mantissa, exponent := raw, ""
	if i := strings.IndexAny(raw, "eE"); i >= 0 {
		mantissa, exponent = raw[:i], raw[i+1:]
	}
	negative := strings.HasPrefix(mantissa, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	exp, err := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	if exponent != "" && (err != nil || exp > 400 || exp < -400) {
		return raw
	}
	// Move the point by exp digits.
	if exp > 0 {
		frac += strings.Repeat("0", max(0, exp-len(frac)))
		whole, frac = whole+frac[:exp], frac[exp:]
	} else if exp < 0 {
		whole = strings.Repeat("0", max(0, -exp-len(whole))) + whole
		cut := len(whole) + exp
		whole, frac = whole[:cut], whole[cut:]+frac
	}
	whole, frac = strings.TrimLeft(whole, "0"), strings.TrimRight(frac, "0")
	if whole == "" {
		whole = "0"
	}
	if frac != "" {
		whole += "." + frac
	}
	if negative && whole != "0" {
		return "-" + whole
	}
	return whole
}
