package rate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// The bounds of an amount: generous for money, and small enough that sums of MaxEntries amounts stay exact and cheap.
const (
	maxDigits   = 40
	maxExponent = 40
)

// ErrAmount says that a token is not an amount that can be summed.
var ErrAmount = errors.New("not a decimal number that can be summed")

// Amount reads a JSON number token, or a string that has the same grammar, as an exact decimal. Numbers with more than
// 40 digits or an exponent beyond ±40 are refused, and so are negative ones: they would make room in a sum.
func Amount(token string) (*apd.Decimal, error) {
	d := new(apd.Decimal)
	if err := SetAmount(d, token); err != nil {
		return nil, err
	}
	return d, nil
}

// SetAmount sets d to the Amount that token is; after an error d is of no use.
func SetAmount(d *apd.Decimal, token string) error {
	if !isNumber(token) || len(token) > 2*maxDigits {
		return fmt.Errorf("%w: %.40q", ErrAmount, token)
	}
	if !setShort(d, token) {
		if _, _, err := d.SetString(token); err != nil || d.Form != apd.Finite {
			return fmt.Errorf("%w: %.40q", ErrAmount, token)
		}
	}
	if d.NumDigits() > maxDigits || d.Exponent > maxExponent || d.Exponent < -maxExponent {
		return fmt.Errorf("%w: %.40q has more than %d digits or an exponent beyond ±%d", ErrAmount, token, maxDigits, maxExponent)
	}
	if d.Negative && !d.IsZero() {
		return fmt.Errorf("%w: %s is negative", ErrAmount, token)
	}
	d.Negative = false
	return nil
}

// setShort sets d to a number of up to 18 digits, which may have a point, without allocating; it reports whether token is one.
func setShort(d *apd.Decimal, token string) bool {
	if len(token) > 18 {
		return false
	}
	var digits int64
	point := len(token) - 1
	for i := range len(token) {
		switch c := token[i]; {
		case c == '.':
			point = i
		case c < '0' || c > '9':
			return false
		default:
			digits = 10*digits + int64(c-'0')
		}
	}
	d.SetFinite(digits, int32(point+1-len(token)))
	return true
}

// isNumber reports whether s is a JSON number.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if strings.HasPrefix(s, "0") && len(s) > 1 && s[1] >= '0' && s[1] <= '9' || !digits() {
		return false
	}
	if strings.HasPrefix(s, ".") {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		return digits() && s == ""
	}
	return s == ""
}
