package baseline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// poisoned is thirty honest days, and then sixty on which each session asks for more and more orders: after a month it asks for
// three times as many.
func poisoned() *history {
	h := newHistory(21)
	h.days(30)
	for day := 30; day < 90; day++ {
		for i := range 10 {
			at := monday.AddDate(0, 0, day).Add(time.Duration(9*60+i*45) * time.Minute)
			calls := h.customer()[:1]
			for range 3 + (day-30)/5 {
				calls = append(calls, call{tool: "get_order", args: map[string]any{"order_id": h.order()}})
			}
			h.session(fmt.Sprintf("p%d-%d", day, i), at, calls...)
		}
	}
	return h
}

// until is the part of a history before so many days have passed.
func (h *history) until(days int) *history {
	end := event.At(monday.AddDate(0, 0, days))
	out := &history{rng: h.rng}
	for _, e := range h.events {
		if e.At < end {
			out.events = append(out.events, e)
		}
	}
	return out
}

func orders(b *baseline.Baseline) *baseline.Histogram {
	return &b.Agent("support").Tools["billing/get_order"].Args["order_id"].Distinct
}

func TestSlowPoisoningMovesAThresholdByTwoPerCentADayAtMostHoweverOftenItIsLearned(t *testing.T) {
	h := poisoned()
	live := learned(t, h.until(30), baseline.Learning{})
	if orders(live).Max() != 3 {
		t.Fatalf("honest sessions ask for %d orders at most", orders(live).Max())
	}
	for day := 31; day <= 60; day++ { // somebody promotes every day
		live = learned(t, h.until(day), baseline.Learning{Since: event.At(monday.AddDate(0, 0, day-30)), Live: live})
	}
	if got := orders(live); got.Max() < 4 || got.Max() > 5 || got.Ceiling > 3000*185/100 {
		t.Errorf("after a month, %d orders are normal (ceiling %d/1000)", got.Max(), got.Ceiling)
	}
	var told []string
	for _, c := range live.Capped {
		told = append(told, c.String())
	}
	if want := "support: distinct order_id of billing/get_order in this session, would have gone from "; !strings.Contains(strings.Join(told, "\n"), want) {
		t.Errorf("nothing tells of it: %v", told)
	}
	if loose := learned(t, h.until(60), baseline.Learning{Since: event.At(monday.AddDate(0, 0, 30))}); orders(loose).Max() < 8 {
		t.Errorf("without a baseline in force, nothing caps: %d", orders(loose).Max())
	}
}

func TestAClockThatWasSetBackMovesNothing(t *testing.T) {
	h := poisoned()
	late := learned(t, h.until(30), baseline.Learning{})
	late.Until = event.At(monday.AddDate(1, 0, 0)) // the clock was ahead when it was learned
	again := learned(t, h.until(60), baseline.Learning{Live: late})
	if got := orders(again).Max(); got != 3 {
		t.Errorf("%d orders are normal", got)
	}
}

func TestADifferenceIsToldInWords(t *testing.T) {
	h := newHistory(22)
	h.days(30)
	was := learned(t, h, baseline.Learning{})
	for day := 30; day < 34; day++ {
		at := monday.AddDate(0, 0, day).Add(10 * time.Hour)
		h.session(fmt.Sprintf("n%d", day), at, call{tool: "find_customer", args: map[string]any{"email": "a@example.com", "vip": true}},
			call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": 20, "reason": "goodwill"}},
			call{tool: "close_account", args: map[string]any{}})
		h.session(fmt.Sprintf("m%d", day), at.Add(time.Hour), call{tool: "send", agent: "mailer", server: "mail"})
	}
	now := learned(t, h, baseline.Learning{})
	var lines []string
	for _, c := range now.Diff(was) {
		lines = append(lines, c.Agent+": "+c.Text)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"mailer: is new: 4 sessions with 4 calls on 4 days",
		"mailer: too little is known: 4 of 30 sessions, 4 of 200 calls",
		"support: 304 sessions with ",
		"support: new tools: billing/close_account (4 sessions)",
		"billing/issue_refund after billing/find_customer (4 sessions)",
		"support: new arguments of billing/find_customer: vip (4 sessions)",
		"support: new values of reason of billing/issue_refund: goodwill (4 sessions)",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing says %q:\n%s", want, all)
		}
	}
	if same := now.Diff(now); len(same) > 0 {
		t.Errorf("it differs from itself: %v", same)
	}
}

func TestACandidateSaysHowManyPastCallsItWouldJudgeOtherwise(t *testing.T) {
	h := newHistory(23)
	h.days(30)
	was := learned(t, h, baseline.Learning{})
	for i := range 6 { // a new kind of work, which the new baseline knows
		h.session(fmt.Sprintf("n%d", i), monday.AddDate(0, 0, 30+i).Add(10*time.Hour), call{tool: "close_account", server: "accounts", args: map[string]any{"id": 1}})
	}
	now := learned(t, h, baseline.Learning{})
	none := func(string, string) []string { return nil }
	c, err := baseline.Compare(h.all, event.At(monday.AddDate(0, 0, 30)), was, now, strange, none, nil)
	if err != nil || c.Calls != 6 || c.Usual < 4 || c.Stranger > 0 || c.Unknown > 0 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = baseline.Compare(h.all, 0, nil, now, strange, none, nil)
	if err != nil || c.Usual != 0 || c.Both != 0 {
		t.Errorf("against nothing: %+v, %v", c, err)
	}
}

func TestABudgetIsTheThresholdThatWouldHaveKeptIt(t *testing.T) {
	const day = 24 * 60 * 60
	c := baseline.Calibration{From: 0, Until: 30 * day}
	for i := range 30 { // one call a day, each a little stranger than the one before
		c.Top = append(c.Top, baseline.Strange{Seq: uint64(i), At: int64(i) * day, Bits: baseline.Bits(1000 + i)})
	}
	for _, x := range []struct {
		alerts int
		per    time.Duration
		want   baseline.Bits
	}{
		{1, 7 * day * time.Second, 1029},  // only the last one
		{7, 7 * day * time.Second, 1000},  // all of them
		{3, 7 * day * time.Second, 1027},  // the last three
		{1, 90 * day * time.Second, 1030}, // a month is a third of the time: none
	} {
		if got := c.Budget(x.alerts, x.per); got != x.want {
			t.Errorf("%d in %s: %d, want %d", x.alerts, x.per, got, x.want)
		}
	}
}

func TestAnAgentThatChangesAsAWholeHasDriftedOnceADay(t *testing.T) {
	b, _ := trained(t)
	h := newHistory(24)
	w := watch(t, b)
	var judged event.Event
	told := map[string]int{}
	follow := func() {
		for _, e := range h.events {
			switch v := e.Body.(type) {
			case *event.Call:
				judged = e
			case *event.Verdict:
				w.Pass(judged, e)
				if text := w.Drift(); text != "" {
					told[e.At.Time().Format(time.DateOnly)]++
					if !strings.HasPrefix(text, `agent "support" has changed: 16 of its `) {
						t.Error(text)
					}
				}
			case *event.Result:
				w.Result(e, v)
			default:
			}
		}
		h.events = nil
	}
	h.days(5)
	follow()
	if len(told) > 0 {
		t.Errorf("honest days: %v", told)
	}
	for i := range 60 { // the same tools, in another order and at night
		h.session(fmt.Sprintf("x%d", i), later.AddDate(0, 0, i/30).Add(time.Duration(i%30)*10*time.Minute-10*time.Hour),
			call{tool: "issue_refund", args: map[string]any{"order_id": h.order(), "amount": 20, "reason": "late"}},
			call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", i)}})
	}
	for i := range h.events { // no number comes twice
		h.events[i].Seq += 100_000
		if h.events[i].Cause > 0 {
			h.events[i].Cause += 100_000
		}
	}
	follow()
	if len(told) != 2 || told["2026-03-16"] != 1 || told["2026-03-17"] != 1 {
		t.Errorf("told %v", told)
	}
}
