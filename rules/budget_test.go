package rules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// raced is set in binaries with the race detector.
var raced bool

// Every measure of rate, under keys that need no look at the arguments.
const rateRules = `rules:
  - {name: calls, on: shop/pay, rate: {max: 1000000, per: 1h, by: session}, do: deny}
  - {name: tries, on: "shop/*", rate: {max: 1000000, per: 1h, by: [agent, principal], count: attempted}, do: deny}
  - {name: done, on: "*/*", rate: {max: 1000000, per: 1h, by: [session, server, tool], count: succeeded}, do: deny}
  - {name: open, on: "*/pay", rate: {in_flight: 1000}, do: deny}
`

// The same under keys that are arguments, with sums and different values.
const argumentRules = `rules:
  - {name: customer, on: shop/pay, rate: {max: 1000000, per: 1h, by: [session, args.customer]}, do: deny}
  - {name: total, on: shop/pay, rate: {sum: args.amount, max: 1000000000, per: 1h, by: args.customer}, do: deny}
  - {name: probing, on: shop/pay, rate: {distinct: args.customer, max: 1000, per: 1h, by: session}, do: deny}
`

// TestDecisionsKeepToTheirBudget counts allocations: of Decide, and of everything that rules do about one call. Each call
// is new to the state, as live.
func TestDecisionsKeepToTheirBudget(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates, too")
	}
	for _, tc := range []struct {
		name, policy string
		decide, call float64
	}{
		// Sentences share chunks of memory, and keys are those of the windows. The two of a call are its Verdict and its
		// Result, which are the caller's.
		{"rate", rateRules, 0, 2},
		// The text of the arguments is copied once for all rules. An amount and a value that stay in a window are copies.
		{"rate by arguments", argumentRules, 1, 5},
		// The validator of schemas takes 20, most of them for exact numbers, and the arguments as it wants them 5. The rest are
		// the text of the arguments, a condition on two of them and the key of a sequence.
		{"all kinds", manyRules(100), 32, 36},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, calls := judged(t, tc.policy, pay)
			i := 0
			if n := testing.AllocsPerRun(1000, func() {
				if v := s.Decide(calls[i%len(calls)]); v.Action != event.Allow {
					t.Fatal(v)
				}
				i++
			}); n > tc.decide {
				t.Errorf("Decide makes %v allocations, at most %v are allowed", n, tc.decide)
			}
			next := calls[len(calls)-1]
			if n := testing.AllocsPerRun(1000, func() {
				next.Seq, next.At, next.Body = next.Seq+3, next.At.Add(time.Millisecond), calls[i%len(calls)].Body
				live(s, next)
				i++
			}); n > tc.call {
				t.Errorf("a call makes %v allocations, at most %v are allowed", n, tc.call)
			}
		})
	}
}

// Sentences share memory. None may change when the next is written.
func TestSentencesStay(t *testing.T) {
	s, calls := judged(t, rateRules+argumentRules[len("rules:\n"):], pay)
	var got, want []string
	for range 10 {
		for _, call := range calls {
			v := s.Decide(call)
			got, want = append(got, v.Why), append(want, strings.Clone(v.Why))
		}
	}
	if !slices.Equal(got, want) || !strings.HasPrefix(got[0], "no rule objects: calls 101 of 1000000, tries 1001 of 1000000, ") {
		t.Errorf("%q became %q", want[0], got[0])
	}
}
