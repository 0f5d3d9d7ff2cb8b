package baseline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// The ways past a baseline that were tried: what is below every threshold in one session, and spread over sessions, names, orders and
// spellings. Each is found out, and the reason is the one that it is.
func TestWhatIsSpreadToGetPastIsFoundOut(t *testing.T) {
	find := func(i int, after time.Duration) call {
		return call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", i*37%5000)}, after: after}
	}
	get := func(id any) call { return call{tool: "get_order", args: map[string]any{"order_id": id}} }
	id := func(n int) string { return fmt.Sprintf("ord_%d", n) }
	// a working day has ten sessions, as honest ones have
	patiently := func(h *history, n int, calls func(i int) []call) {
		for i := range n {
			at := later.Add(-2*time.Hour).AddDate(0, 0, i/10).Add(time.Duration(i%10)*45*time.Minute + time.Duration(h.rng.IntN(15))*time.Minute)
			h.session(fmt.Sprintf("x%d", i), at, append([]call{find(i, 0)}, calls(i)...)...)
		}
	}
	for _, x := range []struct {
		name   string
		make   func(h *history)
		within int // calls
		signal baseline.Signal
		says   string
	}{
		{"a burst over sessions", func(h *history) {
			for i := range 40 {
				o := h.order()
				h.session(fmt.Sprintf("x%d", i), later.Add(time.Duration(i)*2*time.Second), find(i, 0), get(o),
					call{tool: "issue_refund", args: map[string]any{"order_id": o, "amount": 20, "reason": "late"}})
			}
		}, 15, baseline.Rate, "calls of billing/"},
		{"two sweeps in turn", func(h *history) {
			patiently(h, 20, func(i int) []call { return []call{get(id(200_000 + i)), get(id(700_000 - i))} })
		}, 20, baseline.Sweep, "order_id goes up or down in small steps"},
		{"a sweep with another order after each", func(h *history) {
			patiently(h, 20, func(i int) []call { return []call{get(id(200_000 + i)), get(h.order())} })
		}, 20, baseline.Sweep, "order_id goes up or down in small steps"},
		{"a sweep of numbers, each written in another way", func(h *history) {
			patiently(h, 12, func(i int) []call {
				return []call{{tool: "get_invoice", server: "books", args: map[string]any{"number": rawNumber(fmt.Sprintf("%d%s", 5000+i, []string{"", ".0", ".00", "e0"}[i%4]))}}}
			})
		}, 20, baseline.Sweep, "number goes up or down in small steps"},
		{"digits of another script", func(h *history) {
			patiently(h, 3, func(i int) []call { return []call{get("ord_" + strings.Repeat("٣", 1+i))} })
		}, 2, baseline.Shape, `order_id never had the form "a_٩"`},
		{"numbers for texts", func(h *history) {
			patiently(h, 3, func(i int) []call { return []call{get(200_000 + i)} })
		}, 2, baseline.Shape, "order_id was never a number"},
		{"many in a list", func(h *history) {
			patiently(h, 3, func(int) []call { return []call{get([]string{"ord_1", "ord_2"})} })
		}, 2, baseline.Shape, `argument "order_id[]" is new`},
		{"many, deep in an object", func(h *history) {
			patiently(h, 3, func(int) []call { return []call{get(map[string]any{"in": []string{"ord_1", "ord_2"}})} })
		}, 2, baseline.Shape, `argument "order_id.in[]" is new`},
		{"more values than anybody looks at", func(h *history) {
			many := map[string]any{"order_id": "ord_123456"}
			for i := range 200 {
				many[fmt.Sprintf("a%d", i)] = 1
			}
			patiently(h, 1, func(int) []call { return []call{{tool: "get_order", args: many}} })
		}, 2, baseline.Shape, "were never sent together"},
	} {
		h := newHistory(51)
		for day := range 60 {
			for i := range 10 {
				calls := h.customer()
				if i%3 == 0 {
					calls = append(calls, call{tool: "get_invoice", server: "books", args: map[string]any{"number": 1000 + h.rng.IntN(90_000)}})
				}
				h.session(fmt.Sprintf("s%d-%d", day, i), monday.AddDate(0, 0, day).Add(time.Duration(9*60+i*45+h.rng.IntN(20))*time.Minute), calls...)
			}
		}
		b := learned(t, h, baseline.Learning{})
		h = newHistory(52)
		x.make(h)
		list := scores(watch(t, b), h, 0)
		at := slices.IndexFunc(list, func(s scored) bool { return s.Bits >= strange })
		if at < 0 || at >= x.within {
			t.Errorf("%s: found out by call %d of %d", x.name, at+1, len(list))
			continue
		}
		if !slices.ContainsFunc(list, func(s scored) bool {
			return s.Bits >= strange && slices.ContainsFunc(s.why, func(d baseline.Deviation) bool { return d.Signal == x.signal && strings.Contains(d.Text, x.says) })
		}) {
			t.Errorf("%s: nothing says %q: %v", x.name, x.says, list[at].why)
		}
	}
}

// rawNumber is a number as it is written.
type rawNumber string

// MarshalJSON implements json.Marshaler.
func (n rawNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// Gaps that a machine makes are as even as only a machine makes them, be there a tenth of chance in them.
func TestEvenGapsAreNamedThroughJitter(t *testing.T) {
	for _, percent := range []int{0, 1, 2, 5, 10} {
		b, h := trained(t)
		at := later.Add(-2 * time.Hour)
		for i := range 12 {
			gap := 40 * time.Minute
			at = at.Add(gap + gap*time.Duration(h.rng.IntN(2*percent+1)-percent)/100)
			h.session(fmt.Sprintf("x%d", i), at, call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", h.rng.IntN(5000))}, after: time.Second})
		}
		named := false
		for _, s := range scores(watch(t, b), h, 0) {
			for _, d := range s.why {
				named = named || d.Signal == baseline.Pace && d.Bits >= 8*256 && strings.HasPrefix(d.Text, "machine-regular: ")
			}
		}
		if !named {
			t.Errorf("within %d %% nobody says that they are even", percent)
		}
	}
}

// Names of agents are claims: who takes a new one is compared with agents like it or, where there are none, with nothing, so that
// rules apply.
func TestANewNameEscapesNothing(t *testing.T) {
	b, h := trained(t)
	for i := range 30 {
		c := call{tool: "issue_refund", args: map[string]any{"order_id": h.order(), "amount": 20, "reason": "late"}, agent: fmt.Sprintf("support%d", i)}
		h.session(fmt.Sprintf("x%d", i), later, c)
	}
	for i, s := range scores(watch(t, b), h, 0) {
		if s.Of != nil || !strings.Contains(s.Why, "does not know agent") {
			t.Errorf("call %d is compared with %v (%s)", i, s.Of, s.Why)
		}
	}
}
