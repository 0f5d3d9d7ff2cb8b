package baseline

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestLogarithmsAreThoseOfMathematicsToAHundredthOfABit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, math.MaxInt64).Draw(t, "n")
		if got, want := float64(log2(n))/256, math.Log2(float64(n)); got > want+1e-9 || got < want-0.01 {
			t.Fatalf("log2(%d) = %f, want %f", n, got, want)
		}
		b := Bits(rapid.IntRange(0, int(29*bit)).Draw(t, "bits"))
		share := b.Share()
		if want := Billion * math.Exp2(-float64(b)/256); math.Abs(float64(share)-want) > 1+want/1e6 {
			t.Fatalf("the share of %d is %d, want %f", b, share, want)
		}
	})
}

func TestNumbersAreRoundedTowardsZeroToTwoDigits(t *testing.T) {
	for n, want := range map[int64]int64{0: 0, 7: 7, 99: 99, 100: 100, 119: 110, -119: -110, 123_456: 120_000, -99: -99} {
		if got := round(n); got != want {
			t.Errorf("round(%d) = %d, want %d", n, got, want)
		}
	}
}

func histogramOf(numbers []int64) *Histogram {
	h := &Histogram{}
	for _, n := range numbers {
		h.add(n, 1, nil)
	}
	return h
}

func TestHistogramsAddUpExactlyAndMoreIsNeverLessSurprising(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.Int64Range(-1e6, 1e12))
		a, b := numbers.Draw(t, "a"), numbers.Draw(t, "b")
		both := histogramOf(a)
		both.merge(histogramOf(b), nil)
		if want := histogramOf(append(a, b...)); !reflect.DeepEqual(both, want) {
			t.Fatalf("%v and %v are %v together, not %v", a, b, both, want)
		}
		x := rapid.Int64Range(0, 1e13).Draw(t, "x")
		y := rapid.Int64Range(x, 1e13).Draw(t, "y")
		if both.high(x) > both.high(y) || both.few(x) > both.few(y) || both.low(x) < both.low(y) {
			t.Fatalf("%d and %d, greater, surprise in the wrong order: %v", x, y, both)
		}
	})
}

func TestAQuantileIsTheSmallestNumberThatSoManyDoNotExceed(t *testing.T) {
	h := histogramOf([]int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 50})
	for perMille, want := range map[int64]int64{1: 1, 500: 1, 900: 1, 901: 50, 999: 50} {
		if got := h.Quantile(perMille); got != want {
			t.Errorf("quantile %d is %d, want %d", perMille, got, want)
		}
	}
}

func TestATallyCountsUntilNamesAreTooManyWhateverTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})).Draw(t, "names")
		split := rapid.IntRange(0, len(names)).Draw(t, "split")
		of := func(names []string) *Tally {
			x := &Tally{}
			for _, n := range names {
				x.add(n, 1, 3, nil)
			}
			return x
		}
		both := of(names[:split])
		both.merge(of(names[split:]), 3, nil)
		if want := of(names); !reflect.DeepEqual(both, want) && len(names) > 0 && len(want.Seen) > 0 {
			t.Fatalf("%v split at %d: %v, want %v", names, split, both, want)
		}
	})
}

func TestThousandthsOfNumbersAreExact(t *testing.T) {
	for raw, want := range map[string]int64{
		"0": 0, "1": 1000, "-1.5": -1500, "0.0004": 0, "19.999": 19999, "19.9999": 19999, "2e3": 2_000_000, "25e-1": 2500, "1.25E+2": 125_000,
		"1e300": maxNumber, "-1e300": -maxNumber, "1e-300": 0, "123456789012345678901234567890": maxNumber, "1e99999999999999999999": maxNumber,
		"1e-99999999999999999999": 0, "0e5": 0, "0.000e9": 0,
	} {
		if got := thousandths(raw); got != want {
			t.Errorf("thousandths(%s) = %d, want %d", raw, got, want)
		}
	}
}

func TestTheFormOfATextIsWhatItLooksLike(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "ord_1001": "a_9", "ord_77": "a_9", "#W123": "#a9", "a@example.com": "email", "https://example.com/x": "https url",
		"/etc/passwd": "path", "2026-01-31": "9-9-9", "123e4567-e89b-12d3-a456-426614174000": "uuid", "please send it to me": "text",
		"late": "a", "3/4": "9/9", "Ünï": "a",
	} {
		if got := formOf(text); got != want {
			t.Errorf("formOf(%q) = %q, want %q", text, got, want)
		}
	}
}
