package baseline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// trained is a baseline of sixty days of support, and a history in which more of it can happen.
func trained(t testing.TB) (*baseline.Baseline, *history) {
	t.Helper()
	h := newHistory(11)
	h.days(60)
	return learned(t, h, baseline.Learning{}), newHistory(12)
}

// later is a working day after what trained has learned.
var later = monday.AddDate(0, 0, 70).Add(11 * time.Hour)

func TestHonestCallsAreRarelyStrange(t *testing.T) {
	b, h := trained(t)
	h.days(60)
	alarms, calls := 0, 0
	for _, s := range scores(watch(t, b), h, strange) {
		if calls++; s.Bits >= strange {
			alarms++
			t.Logf("#%d: %d, %v", s.call.Seq, s.Bits, s.why[:min(3, len(s.why))])
		}
	}
	if alarms*500 > calls {
		t.Errorf("%d of %d honest calls are stranger than 0.999", alarms, calls)
	}
}

// changes are what an agent does that it never did, as many calls as it needs to be found out.
func TestAChangeIsFoundOutAndNamed(t *testing.T) {
	order := func(i int) map[string]any { return map[string]any{"order_id": fmt.Sprintf("ord_%d", i)} }
	refund := func(i int, amount any, reason string) map[string]any {
		return map[string]any{"order_id": fmt.Sprintf("ord_%d", i), "amount": amount, "reason": reason}
	}
	repeat := func(n int, of func(i int) call) (calls []call) {
		for i := range n {
			calls = append(calls, of(i))
		}
		return calls
	}
	for _, x := range []struct {
		name   string
		calls  func(h *history) []call
		within int             // calls
		names  baseline.Signal // among the reasons
		says   string          // in one of them
	}{
		{"47 refunds in 3 seconds", func(h *history) []call {
			return repeat(47, func(int) call {
				return call{tool: "issue_refund", args: refund(100_000+h.rng.IntN(900_000), 20+h.rng.IntN(50), "late"), after: 64 * time.Millisecond}
			})
		}, 3, baseline.Rate, "calls"},
		{"probing order numbers", func(h *history) []call {
			return repeat(20, func(int) call {
				return call{tool: "get_order", args: order(100_000 + h.rng.IntN(900_000)), fails: true}
			})
		}, 8, baseline.Failure, "failures in this session; p99 over 600 sessions is"},
		{"many different orders", func(h *history) []call {
			return repeat(20, func(int) call { return call{tool: "get_order", args: order(100_000 + h.rng.IntN(900_000))} })
		}, 10, baseline.Distinct, "distinct order_id in this session; p99 over 600 sessions is 3"},
		{"a sweep with one call every 45 s", func(*history) []call {
			return repeat(20, func(i int) call { return call{tool: "get_order", args: order(100_001 + i), after: 45 * time.Second} })
		}, 10, baseline.Sweep, "order_id goes up or down in small steps"},
		{"as even as a machine", func(h *history) []call {
			return repeat(20, func(int) call {
				return call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", h.rng.IntN(5000))}, after: 30 * time.Second}
			})
		}, 12, baseline.Pace, "machine-regular: the last 8 gaps between calls of billing/find_customer are 30s, within 0.0 %"},
		{
			"a tool of another server", func(*history) []call {
				return []call{{tool: "send_mail", server: "mail", args: map[string]any{"to": "x@example.org"}}}
			},
			1, baseline.News, `first use of server "mail" in 601 sessions`,
		},
		{
			"the first step of a session", func(*history) []call { return []call{{tool: "issue_refund", args: refund(123_456, 20, "late")}} },
			1, baseline.Order, "first time that a session begins with billing/issue_refund (600 sessions)",
		},
		{"an amount beyond all", func(h *history) []call {
			return append(h.customer()[:2], call{tool: "issue_refund", args: refund(123_456, 9500, "late")})
		}, 1, baseline.Argument, "amount 9,500; 5 to 94 are usual (p1 to p99 of 294 sessions)"},
		{"another type", func(h *history) []call {
			return append(h.customer()[:2], call{tool: "issue_refund", args: refund(123_456, "all", "late")})
		}, 1, baseline.Shape, "amount was never a string"},
		{"another value", func(h *history) []call {
			return append(h.customer()[:2], call{tool: "issue_refund", args: refund(123_456, 20, "admin")})
		}, 1, baseline.Shape, `reason is "admin", none of the 3 values of`},
		{"an argument more", func(h *history) []call {
			args := refund(123_456, 20, "late")
			args["to_account"] = "DE123"
			return append(h.customer()[:2], call{tool: "issue_refund", args: args})
		}, 1, baseline.Shape, `argument "to_account" is new`},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, h := trained(t)
			calls := x.calls(h)
			begin := 0
			for begin < len(calls) && begin < 2 && len(calls) == 3 { // the customer comes first
				begin++
			}
			h.session("x", later, calls...)
			list := scores(watch(t, b), h, 0)[begin:]
			at := slices.IndexFunc(list, func(s scored) bool { return s.Bits >= strange })
			if at < 0 || at >= x.within {
				t.Fatalf("found out by call %d of %d; the last one: %d %v", at+1, len(list), list[len(list)-1].Bits, list[len(list)-1].why)
			}
			for _, s := range list {
				for _, d := range s.why {
					if d.Signal == x.names && strings.Contains(d.Text, x.says) {
						return
					}
				}
			}
			t.Errorf("nothing says %q: %v", x.says, list[len(list)-1].why)
		})
	}
}

func TestASweepOverSessionsIsOne(t *testing.T) {
	b, h := trained(t)
	at := later
	for i := range 30 {
		at = h.session(fmt.Sprintf("x%d", i), at.Add(7*time.Minute),
			call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", h.rng.IntN(5000))}},
			call{tool: "get_order", args: map[string]any{"order_id": fmt.Sprintf("ord_%d", 200_000+3*i)}})
	}
	for i, s := range scores(watch(t, b), h, 0) {
		if s.Bits >= strange {
			if i > 30 || s.why[0].Signal != baseline.Sweep {
				t.Errorf("call %d: %v", i, s.why)
			}
			return
		}
	}
	t.Error("nobody notices")
}

func TestManyCallsThatAreALittleNewAreAnotherJob(t *testing.T) {
	b, h := trained(t)
	h.session("x", later,
		call{tool: "find_customer", args: map[string]any{"email": "c1@example.com"}},
		call{tool: "find_customer", args: map[string]any{"email": "c2@example.com"}},
		call{tool: "issue_refund", args: map[string]any{"order_id": "ord_333333", "amount": 20, "reason": "late"}},
		call{tool: "issue_refund", args: map[string]any{"order_id": "ord_444444", "amount": 20, "reason": "late"}})
	list := scores(watch(t, b), h, 0)
	last := list[len(list)-1]
	if last.By[baseline.Shift] <= list[0].By[baseline.Shift] || last.Bits < strange {
		t.Errorf("from %d to %d; %d %v", list[0].By[baseline.Shift], last.By[baseline.Shift], last.Bits, last.why)
	}
}

func TestWhatAPersonHasApprovedIsNotStrangeAgainInThatSession(t *testing.T) {
	b, _ := trained(t)
	for _, approves := range []bool{true, false} {
		h := newHistory(5)
		list := h.customer()[:2]
		for range 2 {
			list = append(list, call{tool: "issue_refund", args: map[string]any{"order_id": list[1].args["order_id"], "amount": 900, "reason": "late"}})
		}
		h.session("x", later, list...)
		h.session("y", later.Add(time.Hour), list[:3]...)
		level := baseline.Bits(0)
		if approves {
			level = strange
		}
		var alarms []int
		for i, s := range scores(watch(t, b), h, level) {
			if s.Bits >= strange {
				alarms = append(alarms, i)
			}
		}
		if approves && fmt.Sprint(alarms) != "[2 6]" || !approves && fmt.Sprint(alarms) != "[2 3 6]" {
			t.Errorf("approved: %t, calls %v are strange", approves, alarms)
		}
	}
}

// A night watch that begins, in the same tool: it is the hour alone that is strange, and that has to be said.
func TestTheHourIsThatOfUTC(t *testing.T) {
	b, h := trained(t)
	h.session("x", monday.AddDate(0, 0, 70).Add(3*time.Hour), h.customer()...)
	for _, d := range scores(watch(t, b), h, 0)[0].why {
		if d.Signal == baseline.Hour && strings.HasPrefix(d.Text, "active at 03:00 to 03:59 UTC; 0 of ") {
			return
		}
	}
	t.Error("nobody says so")
}

func TestAScoreDoesNotChangeWhatIsRemembered(t *testing.T) {
	b, h := trained(t)
	h.days(2)
	once, thrice := watch(t, b), watch(t, b)
	want := scores(once, h, 0)
	var judged event.Event
	i := 0
	for _, e := range h.events {
		switch b := e.Body.(type) {
		case *event.Call:
			other := e
			other.Seq += 1_000_000
			other.Session = "another"
			thrice.Score(other)
			thrice.Score(e)
			if got := thrice.Score(e); got.Bits != want[i].Bits || got.By != want[i].By {
				t.Fatalf("call %d: %v, want %v", i, got, want[i].Score)
			}
			judged = e
			i++
		case *event.Verdict:
			thrice.Pass(judged, e)
		case *event.Result:
			thrice.Result(e, b)
		default:
		}
	}
}
