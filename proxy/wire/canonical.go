package wire

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// CanonicalArgs returns arguments, which have been read before, in a form that is equal for arguments that are equal, without
// those that are Umpire's own.
func CanonicalArgs(raw []byte) []byte {
	if args := gjson.ParseBytes(raw); args.IsObject() {
		return appendObject(nil, args, IsIntent)
	}
	return appendCanonical(nil, gjson.ParseBytes(raw))
}

// appendCanonical appends a JSON value in a form that is equal for values that are equal: without spaces, members in the
// order of their names, texts and numbers spelled in one way. It is RFC 8785, but that numbers keep all their digits. The
// value has passed the scanner.
func appendCanonical(to []byte, v gjson.Result) []byte {
	switch {
	case v.IsObject():
		return appendObject(to, v, nil)
	case v.IsArray():
		to = append(to, '[')
		for i, e := range v.Array() {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendCanonical(to, e)
		}
		return append(to, ']')
	case v.Type == gjson.String:
		return append(to, marshal(v.Str)...)
	case v.Type == gjson.Number:
		return append(to, plainNumber(v.Raw)...)
	}
	return append(to, v.Raw...)
}

// appendObject appends the members of an object for which skip does not hold; a nil skip skips none.
func appendObject(to []byte, v gjson.Result, skip func(name string) bool) []byte {
	type member struct {
		name  string
		value gjson.Result
	}
	var members []member
	v.ForEach(func(k, e gjson.Result) bool {
		if skip == nil || !skip(k.Str) {
			members = append(members, member{k.Str, e})
		}
		return true
	})
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	to = append(to, '{')
	for i, m := range members {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(to, marshal(m.name)...), ':')
		to = appendCanonical(to, m.value)
	}
	return append(to, '}')
}

// plainNumber spells a number token in the one way that all tokens of its value share, without exponent if it is short.
func plainNumber(token string) string {
	canonical := canonicalNumber(token)
	mantissa, exponent, found := strings.Cut(canonical, "e")
	power, err := strconv.Atoi(exponent)
	if !found || err != nil {
		return canonical
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	const longest = 20
	switch {
	case power >= 0 && len(digits)+power <= longest:
		digits += strings.Repeat("0", power)
	case power < 0 && -power < longest:
		digits = strings.Repeat("0", max(0, 1-power-len(digits))) + digits
		digits = digits[:len(digits)+power] + "." + digits[len(digits)+power:]
	default:
		return canonical
	}
	if negative {
		return "-" + digits
	}
	return digits
}
