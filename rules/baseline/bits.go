package baseline

import (
	"math"
	"math/bits"
)

// Bits says how surprising something is: -log2 of its probability, in 1/256. All of it is integer arithmetic, so that every
// architecture finds the same.
type Bits int32

const (
	bit     Bits = 256
	maxBits      = 40 * bit // nothing is more surprising: about one in 10¹²
)

// log2 returns the logarithm of n, which is at least 1, rounded down.
func log2(n int64) Bits {
	e := bits.Len64(uint64(n)) - 1
	x := uint64(n) << (63 - e) >> 32 // 1.31
	var frac Bits
	for range 8 {
		x = x * x >> 31
		if frac <<= 1; x >= 1<<32 {
			x >>= 1
			frac |= 1
		}
	}
	return Bits(e)<<8 | frac
}

// mulDiv returns a·b/c of numbers that are not negative, rounded up; c is at least 1.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return math.MaxInt64
	}
	quotient, rest := bits.Div64(hi, lo, uint64(c))
	if rest > 0 {
		quotient++
	}
	return int64(min(quotient, math.MaxInt64))
}

// odds returns how surprising a share of part in whole is; both are at least 1.
func odds(part, whole int64) Bits {
	return min(max(log2(whole)-log2(part), 0), maxBits)
}

// roots are 2^(-1/2), 2^(-1/4), … 2^(-1/256) in 1/2³².
var roots = [8]uint64{3037000500, 3611622603, 3938502376, 4112874773, 4202935003, 4248701965, 4271771996, 4283353945}

// Billion is the unit of shares.
const Billion = 1_000_000_000

// Share returns the share of what is at least as surprising, in billionths; at least 1.
func (b Bits) Share() int64 {
	b = min(max(b, 0), maxBits)
	x := uint64(1) << 32
	for i, root := range roots {
		if b&(1<<(7-i)) != 0 {
			x = x * root >> 32
		}
	}
	return max(int64(x*Billion>>32>>(b>>8)), 1)
}

// BitsOf returns the Bits of a share in billionths.
func BitsOf(share int64) Bits { return odds(min(max(share, 1), Billion), Billion) }
