package baseline

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of a call: what is beyond them in its arguments is not looked at, but for that it is there.
const (
	maxFields = 48
	maxDepth  = 6
	maxName   = 80 // bytes of a path that are kept
	maxShown  = 48 // bytes of a value that are kept; a longer one is named by its digest
)

// field is a value among the arguments of a call.
type field struct {
	path   string
	kind   string // "string", "number", "bool", "null", "secret", "cut"
	text   string
	form   string
	number int64 // thousandths, of a number
	size   int64 // bytes, of a text
	hash   uint64
}

// flatten appends the values in the arguments of a call, and returns which arguments there are.
func flatten(c *event.Call, to []field) (out []field, keys string) {
	root := gjson.ParseBytes(c.Args)
	var names []string
	var walk func(path string, v gjson.Result, depth int)
	walk = func(path string, v gjson.Result, depth int) {
		switch {
		case len(to) >= maxFields:
		case depth < maxDepth && v.IsObject():
			v.ForEach(func(key, v gjson.Result) bool {
				name := key.Str
				if path != "" {
					name = path + "." + name
				}
				walk(clip(name), v, depth+1)
				return len(to) < maxFields
			})
		case depth < maxDepth && v.IsArray():
			v.ForEach(func(_, v gjson.Result) bool {
				walk(clip(path+"[]"), v, depth+1)
				return len(to) < maxFields
			})
		default:
			to = append(to, fieldOf(path, v))
		}
	}
	root.ForEach(func(key, v gjson.Result) bool {
		if len(names) < maxFields {
			names = append(names, clip(key.Str))
		}
		walk(clip(key.Str), v, 1)
		return len(to) < maxFields
	})
	hidden(c.Findings, to)
	for i := range to {
		to[i].hash = hashOf(to[i].path, to[i].text)
	}
	return to, keysOf(names)
}

// hidden marks what is not stored as it was sent.
func hidden(findings []event.Finding, fields []field) {
	for _, f := range findings {
		path := generic(strings.TrimPrefix(f.Path, "args."))
		for i := range fields {
			if fields[i].path != path {
				continue
			}
			x := &fields[i]
			x.size, x.number = int64(f.Size), 0
			if x.kind, x.form = "secret", "secret"; f.Kind == event.Truncated {
				x.kind, x.form = "string", "text"
			}
		}
	}
}

// generic turns the path of a finding into that of a field: "items.0.sku" is "items[].sku".
func generic(path string) string {
	parts := strings.Split(path, ".")
	var b strings.Builder
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil && i > 0 {
			b.WriteString("[]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return clip(b.String())
}

// keysOf joins names, sorted.
func keysOf(names []string) string {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return shown(strings.Join(sorted(set), ","), 400)
}

func fieldOf(path string, v gjson.Result) field {
	f := field{path: path}
	switch v.Type {
	case gjson.Null:
		f.kind = "null"
	case gjson.True, gjson.False:
		f.kind, f.text = "bool", v.Raw
	case gjson.Number:
		f.kind, f.text = "number", v.Raw
		f.number = thousandths(v.Raw)
	case gjson.String:
		f.kind, f.text, f.size = "string", v.Str, int64(len(v.Str))
		f.form = formOf(v.Str)
	case gjson.JSON: // empty, or deeper than anybody looks
		f.kind, f.text, f.size = "object", v.Raw, int64(len(v.Raw))
		if v.IsArray() {
			f.kind = "array"
		}
	}
	return f
}

// thousandths reads a JSON number; what is too great is the greatest that is counted.
func thousandths(raw string) int64 {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(raw), "e")
	negative := strings.HasPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil || shift > 400 || shift < -400 {
			shift = 400
			if strings.HasPrefix(exponent, "-") {
				shift = -400
			}
		}
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	shift += 3 - len(fraction) // of the decimal point, from behind the last digit
	n := int64(0)
	switch {
	case digits == "":
	case len(digits)+shift > 15:
		n = maxNumber
	case len(digits)+shift <= 0:
	default:
		if shift < 0 {
			digits, shift = digits[:len(digits)+shift], 0
		}
		n, _ = strconv.ParseInt(digits+strings.Repeat("0", shift), 10, 64) //nolint:errcheck // at most 15 digits
	}
	if negative {
		n = -n
	}
	return n
}

// formOf says what a text looks like: "email", "url", "path", "uuid", "date", "text" for prose, or else what its letters and
// digits are, as in "a_9" for ord_1001.
func formOf(s string) string {
	switch {
	case s == "":
		return "empty"
	case strings.Contains(s, "://"):
		scheme, _, _ := strings.Cut(s, "://")
		if len(scheme) <= 10 && !strings.ContainsAny(scheme, " \n") {
			return strings.ToLower(scheme) + " url"
		}
	case len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-':
		return "uuid"
	}
	if strings.Count(s, " ") > 2 || len(s) > 256 || strings.ContainsAny(s, "\n\t") {
		return "text"
	}
	if at := strings.IndexByte(s, '@'); at > 0 && strings.IndexByte(s[at:], '.') > 0 && !strings.Contains(s, " ") {
		return "email"
	}
	if strings.ContainsAny(s, "/\\") && !strings.Contains(s, " ") && strings.Trim(s, "0123456789/") != "" {
		return "path"
	}
	var b strings.Builder
	last := rune(-1)
	for _, r := range s {
		switch {
		case unicode.IsLetter(r), r == utf8.RuneError:
			r = 'a'
		case '0' <= r && r <= '9':
			r = '9'
		case unicode.IsDigit(r): // of another script: a server may read it as the same number
			r = '٩'
		}
		if r == last {
			continue
		}
		if last = r; b.Len() >= 16 {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hashOf names a value of an argument.
func hashOf(path, text string) uint64 {
	var buf [128]byte
	b := append(append(append(buf[:0], path...), 0), text...)
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:8])
}

// value returns a text as it is counted among the values of an argument.
func (f *field) value() string { return shown(f.text, maxShown) }

// shown returns a text, or its beginning and its digest if it is longer than that.
func shown(s string, most int) string {
	if len(s) <= most && utf8.ValidString(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:min(len(s), most/2)], "") + "…" + strconv.FormatUint(binary.LittleEndian.Uint64(sum[:8]), 36)
}

func clip(name string) string { return shown(name, maxName) }

// serial takes a text that ends with a number apart, as ids do.
func (f *field) serial() (prefix string, n int64, ok bool) {
	switch {
	case f.kind == "number": // however it is written: 5, 5.0 or 50e-1
		return "", f.number / 1000, f.number >= 0 && f.number < maxNumber && f.number%1000 == 0
	case f.kind != "string":
		return "", 0, false
	}
	i := len(f.text)
	for i > 0 && f.text[i-1] >= '0' && f.text[i-1] <= '9' {
		i--
	}
	if len(f.text)-i == 0 || len(f.text)-i > 15 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(f.text[i:], 10, 64)
	return f.text[:i], n, err == nil
}

// dated reports whether a text is a month or a day.
func dated(s string) bool {
	layout := time.DateOnly[:min(len(s), len(time.DateOnly))]
	_, err := time.Parse(layout, s)
	return len(s) >= len("2006-01") && err == nil
}
