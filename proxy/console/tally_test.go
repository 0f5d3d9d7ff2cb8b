package console_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/console"
	"github.com/umpire-dev/umpire/rules/event"
)

var noon = event.At(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// told is a history that is told event by event.
type told struct {
	*console.Tally
	seq uint64
	at  event.Time
}

func (h *told) tell(cause uint64, body event.Body) uint64 {
	h.seq++
	h.Add(event.Event{V: event.Version, Seq: h.seq, At: h.at, Session: "s1", Cause: cause, Body: body})
	return h.seq
}

func (h *told) call(v event.Verdict) uint64 {
	c := h.tell(0, &event.Call{Server: "billing", Tool: "refund", Peer: event.Peer{Agent: "bot"}})
	h.tell(c, &v)
	return c
}

func begin() *told { return &told{Tally: console.NewTally(), at: noon} }

func TestATallyCountsWhatBecameOfCalls(t *testing.T) {
	h := begin()
	ok := h.call(event.Verdict{Action: event.Allow})
	h.at = h.at.Add(100 * time.Millisecond)
	h.tell(ok, &event.Result{Outcome: event.OutcomeOK})
	failed := h.call(event.Verdict{Action: event.Log, Rule: "look", Also: []event.Match{{Rule: "strict", Observed: true}, {Rule: "other"}}})
	h.at = h.at.Add(100 * time.Millisecond)
	h.tell(failed, &event.Result{Outcome: event.OutcomeFailed})
	h.tell(0, &event.Call{Server: "billing", Tool: "refund", Seen: true}) // was judged by nobody
	h.call(event.Verdict{Action: event.Deny, Rule: "burst", Why: "too many"})
	held := h.call(event.Verdict{Action: event.Hold, Rule: "big"})
	h.at = h.at.Add(2 * time.Minute)
	review := h.tell(held, &event.Review{Approve: true})
	h.tell(held, &event.Verdict{Action: event.Allow, Why: "ann approved it", After: review, Also: []event.Match{{Rule: "big"}}})
	h.at = h.at.Add(100 * time.Millisecond)
	h.tell(held, &event.Result{Outcome: event.OutcomeOK}) // two minutes of waiting for a person are not the server's
	c := h.Chart(h.at, time.Minute, 5)
	if want := (console.Counts{Calls: 4, Denied: 1, Held: 1, Noted: 1, Failed: 1}); c.Total != want {
		t.Errorf("%+v, want %+v", c.Total, want)
	}
	if c.Begin != noon.Add(-2*time.Minute) || c.Step != 60 || c.Steps[2].Calls != 4 || c.Steps[4].Calls != 0 || c.Seq != h.seq {
		t.Errorf("%+v", c)
	}
	for _, got := range []float64{c.P50, c.P95, c.Steps[4].P50} {
		if got < 87 || got > 113 {
			t.Errorf("100 ms are counted as %v", got)
		}
	}
	for rule, want := range map[string]console.RuleCounts{"look": {Noted: 1}, "strict": {Observed: 1}, "other": {Also: 1}, "burst": {Denied: 1}, "big": {Held: 1}} {
		if got := c.Rules[rule]; got == nil || *got != want || c.Hits[rule][2] != 1 {
			t.Errorf("%s: %+v, want %+v", rule, got, want)
		}
	}
	if len(c.Notable) != 4 || c.Notable[0].Call != held || c.Notable[0].Why != "ann approved it" || c.Notable[2].Rule != "burst" || c.Notable[2].Agent != "bot" {
		t.Errorf("%+v", c.Notable)
	}
}

// However steps are cut, every call that is recent enough is in one of them.
func TestStepsOfAChartHaveEveryCallOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := begin()
		n := rapid.IntRange(0, 200).Draw(t, "calls")
		for range n {
			h.at = h.at.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Minute)).Draw(t, "pause")))
			h.call(event.Verdict{Action: event.Action(rapid.IntRange(0, 3).Draw(t, "action")), Rule: "r"})
		}
		step := time.Duration(rapid.IntRange(1, 60).Draw(t, "step")) * time.Minute
		steps := int(h.at.Sub(noon)/step) + 2
		c := h.Chart(h.at, step, steps)
		var sum console.Counts
		hits := 0
		for i, s := range c.Steps {
			sum.Calls += s.Calls
			sum.Denied += s.Denied
			sum.Held += s.Held
			sum.Noted += s.Noted
			if len(c.Hits["r"]) > 0 {
				hits += c.Hits["r"][i]
			}
		}
		if sum != c.Total || c.Total.Calls != n || hits != c.Total.Denied+c.Total.Held+c.Total.Noted {
			t.Fatalf("%+v, %+v, %d hits of %d calls", sum, c.Total, hits, n)
		}
	})
}

func TestATallyForgetsTheOldestAndSaysSo(t *testing.T) {
	h := begin()
	var first uint64
	for i := range 21_000 { // more minutes, and more calls without answer, than it remembers
		c := h.call(event.Verdict{Action: event.Allow})
		if i == 0 {
			first = c
		}
		h.at = h.at.Add(time.Minute)
	}
	h.tell(first, &event.Result{Outcome: event.OutcomeOK})
	c := h.Chart(h.at, 24*time.Hour, 20)
	if c.Since == nil || *c.Since != noon.Add(1000*time.Minute) || c.P50 != 0 || c.Total.Calls >= 21_000 || c.Total.Calls < 19_000 {
		t.Errorf("%v %+v %v", c.Since, c.Total, c.P50)
	}
	for i := range 3_000 {
		h.call(event.Verdict{Action: event.Deny, Rule: "rule-" + string(rune('a'+i%26)) + time.Duration(i).String()})
	}
	if c := h.Chart(h.at, time.Minute, 1); len(c.Rules) != 2_000 || len(c.Notable) != 100 || c.Total.Denied != 3_000 {
		t.Errorf("%d rules, %d notable, %d denied", len(c.Rules), len(c.Notable), c.Total.Denied)
	}
}

// Whatever is counted forwards, and whatever from the end to the beginning: the charts are the same.
func TestCountingBackwardsGivesTheSameCharts(t *testing.T) {
	outcomes := []event.Outcome{event.OutcomeOK, event.OutcomeFailed, event.OutcomeLost, event.OutcomeInput, event.OutcomeStarted}
	rapid.Check(t, func(t *rapid.T) {
		var log []event.Event
		at := noon
		add := func(cause uint64, body event.Body) uint64 {
			at = at.Add(rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 20 * time.Second, 3 * time.Minute}).Draw(t, "later"))
			log = append(log, event.Event{V: event.Version, Seq: uint64(len(log) + 1), At: at, Session: "s1", Cause: cause, Body: body})
			return uint64(len(log))
		}
		var open, held []uint64
		take := func(from *[]uint64) uint64 {
			i := rapid.IntRange(0, len(*from)-1).Draw(t, "which")
			call := (*from)[i]
			*from = append((*from)[:i:i], (*from)[i+1:]...)
			return call
		}
		judge := func(call, after uint64) {
			v := event.Verdict{Action: event.Action(rapid.IntRange(0, 3).Draw(t, "action")), After: after, Why: "so"}
			if after != 0 && v.Action == event.Hold {
				v.Action = event.Deny
			}
			if v.Action != event.Allow {
				v.Rule = rapid.SampledFrom([]string{"r", "q"}).Draw(t, "rule")
				v.Also = []event.Match{{Rule: "also", Observed: rapid.Bool().Draw(t, "observed")}}
			}
			add(call, &v)
			switch {
			case v.Action == event.Hold:
				held = append(held, call)
			case v.Action.Passes():
				open = append(open, call)
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case what == 0 && len(held) > 0:
				call := take(&held)
				judge(call, add(call, &event.Review{}))
			case what <= 2 && len(open) > 0:
				call := take(&open)
				r := &event.Result{Outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome")}
				if add(call, r); r.Outcome == event.OutcomeInput || r.Outcome == event.OutcomeStarted || rapid.IntRange(0, 5).Draw(t, "again") == 0 {
					open = append(open, call)
				}
			default:
				seen := rapid.IntRange(0, 5).Draw(t, "seen") == 0
				call := add(0, &event.Call{Server: "billing", Tool: "refund", Seen: seen, Peer: event.Peer{Agent: "bot"}})
				if !seen {
					judge(call, 0)
				}
			}
		}
		forwards, both := console.NewTally(), console.NewTally()
		for _, e := range log {
			forwards.Add(e)
		}
		cut := func(low int) int { // a call and its verdict are appended as one
			n := rapid.IntRange(low, len(log)).Draw(t, "cut")
			if n < len(log) {
				if v, ok := log[n].Body.(*event.Verdict); ok && v.After == 0 {
					n++
				}
			}
			return n
		}
		middle := cut(0)
		both.Back(uint64(middle))
		late := cut(middle) // while it counts backwards, more happens
		for _, e := range log[middle:late] {
			both.Add(e)
		}
		for _, e := range slices.Backward(log[:middle]) {
			both.Before(e)
		}
		if late == len(log) {
			both.Reached(true)
		}
		for _, e := range log[late:] {
			both.Add(e)
		}
		want, got := forwards.Chart(at, time.Minute, 200), both.Chart(at, time.Minute, 200)
		if late < len(log) || len(log) == middle {
			want.Since, got.Since, want.Counts, got.Counts, want.Seq, got.Seq = nil, nil, false, false, 0, 0
		}
		a, err := json.Marshal(want)
		b, err2 := json.Marshal(got)
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			lines := func(text []byte) string {
				return strings.NewReplacer(`{"calls":0,"denied":0,"held":0,"noted":0,"failed":0,"p50":0,"p95":0},`, "").Replace(string(text))
			}
			t.Fatalf("forwards\n%s\nfrom %d of %d backwards, %d came meanwhile\n%s", lines(a), middle, len(log), late-middle, lines(b))
		}
	})
}
