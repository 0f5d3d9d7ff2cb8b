package baseline_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// Some agents do the same every day, at the same time and pace. What is a little otherwise with them is no more than that.
func TestWhatARegularAgentDoesALittleOtherwiseIsNotStrange(t *testing.T) {
	const pause = 30 * time.Second
	lookUp := func(i int, after time.Duration) call {
		return call{tool: "get_order", args: map[string]any{"order_id": fmt.Sprintf("ord_%d", 100_000+i*7919%899_999)}, after: after}
	}
	routine := func(day int) []call {
		list := call{tool: "list_orders", args: map[string]any{"region": []string{"north", "south", "east", "west", "home"}[day%5], "page": 1}, after: pause}
		send := call{tool: "send", server: "mail", args: map[string]any{"to": "bob@example.com", "body": fmt.Sprintf("The report of day %d.", day)}, after: pause}
		return []call{list, lookUp(4*day, pause), lookUp(4*day+1, pause), lookUp(4*day+2, pause), lookUp(4*day+3, pause), send}
	}
	h := newHistory(21)
	const days = 60
	for day := range days {
		h.session(fmt.Sprintf("s%d", day), monday.AddDate(0, 0, day).Add(9*time.Hour), routine(day)...)
	}
	b := learned(t, h, baseline.Learning{})
	for _, x := range []struct {
		name string
		at   time.Duration // of the day
		turn func(calls []call) []call
	}{
		{"the same", 9 * time.Hour, func(calls []call) []call { return calls }},
		{"a little faster", 9 * time.Hour, func(calls []call) []call {
			for i := range calls {
				calls[i].after = pause * 6 / 10
			}
			return calls
		}},
		{"slower", 9 * time.Hour, func(calls []call) []call {
			for i := range calls {
				calls[i].after = 3 * pause
			}
			return calls
		}},
		{"one look-up more", 9 * time.Hour, func(calls []call) []call { return slices.Insert(calls, 2, lookUp(7777, pause)) }},
		{"one look-up fewer", 9 * time.Hour, func(calls []call) []call { return slices.Delete(calls, 2, 3) }},
		{"an hour later", 10 * time.Hour, func(calls []call) []call { return calls }},
		{"a longer text", 9 * time.Hour, func(calls []call) []call {
			calls[len(calls)-1].args["body"] = "The report of day 61, by Kim."
			return calls
		}},
		{"a failure", 9 * time.Hour, func(calls []call) []call { calls[2].fails = true; return calls }},
		{"the second page", 9 * time.Hour, func(calls []call) []call { calls[0].args["page"] = 2; return calls }},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHistory(22)
			h.session("later", monday.AddDate(0, 0, days).Add(x.at), x.turn(routine(days))...)
			for i, s := range scores(watch(t, b), h, strange) {
				if s.Bits >= strange {
					t.Errorf("call %d: %d bits/256: %v", i, s.Bits, s.why)
				}
			}
		})
	}
}
