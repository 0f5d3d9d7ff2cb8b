// Package canonical spells JSON values in one way: equal values give equal texts, and others give others.
package canonical

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Digest returns the hex SHA-256 of a JSON value in canonical form.
func Digest(raw []byte) string {
	sum := sha256.Sum256(Append(nil, gjson.ParseBytes(raw)))
	return hex.EncodeToString(sum[:])
}

// Append appends a JSON value in a form that is equal for values that are equal: without spaces, members in the order of
// their names, texts and numbers spelled in one way. It is RFC 8785, but that numbers keep all their digits. The value is
// one that package wire lets through.
func Append(to []byte, v gjson.Result) []byte {
	switch {
	case v.IsObject():
		return AppendObject(to, v, nil)
	case v.IsArray():
		to = append(to, '[')
		for i, e := range v.Array() {
			if i > 0 {
				to = append(to, ',')
			}
			to = Append(to, e)
		}
		return append(to, ']')
	case v.Type == gjson.String:
		return append(to, quoted(v.Str)...)
	case v.Type == gjson.Number:
		return append(to, plainNumber(v.Raw)...)
	}
	return append(to, v.Raw...)
}

// AppendObject appends the members of an object for which skip does not hold; a nil skip skips none.
func AppendObject(to []byte, v gjson.Result, skip func(name string) bool) []byte {
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
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	to = append(to, '{')
	for i, m := range members {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(to, quoted(m.name)...), ':')
		to = Append(to, m.value)
	}
	return append(to, '}')
}

func quoted(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("canonical: " + err.Error()) // strings always marshal
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// plainNumber spells a number token in the one way that all tokens of its value share, without exponent if it is short.
func plainNumber(token string) string {
	number := Number(token)
	mantissa, exponent, found := strings.Cut(number, "e")
	power, err := strconv.Atoi(exponent)
	if !found || err != nil {
		return number
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
		return number
	}
	if negative {
		return "-" + digits
	}
	return digits
}

// Number maps number tokens of equal value to equal texts: digits without zeros at their ends, and a power of ten.
func Number(token string) string {
	if plainInteger(token) {
		return token + "e0"
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(token), "e")
	sign, digits := "", mantissa
	if d, negative := strings.CutPrefix(mantissa, "-"); negative {
		sign, digits = "-", d
	}
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil {
			return token
		}
	}
	whole, frac, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+frac, "0")
	power -= len(frac)
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	return fmt.Sprintf("%s%se%d", sign, short, power+len(digits)-len(short))
}

// plainInteger reports whether a token is made of digits alone, without zeros at its ends.
func plainInteger(token string) bool {
	for _, c := range []byte(token) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return token != "" && token[0] != '0' && token[len(token)-1] != '0'
}
