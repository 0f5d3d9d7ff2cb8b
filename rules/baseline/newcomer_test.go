package baseline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// daily learns from all that happened up to a day, under the baseline before.
func daily(t *testing.T, h *history, day int, live *baseline.Baseline) *baseline.Baseline {
	t.Helper()
	return learned(t, h.until(day), baseline.Learning{Live: live})
}

// honestly lets so many days of customers happen, and on some of them something else at noon.
func honestly(seed uint64, days int, noon map[int][]call) *history {
	h := newHistory(seed)
	for day := range days {
		date := monday.AddDate(0, 0, day)
		for i := range 10 {
			if i == 4 && noon[day] != nil {
				h.session(fmt.Sprintf("noon%d", day), date.Add(12*time.Hour), noon[day]...)
			}
			h.session(fmt.Sprintf("s%d-%d", day, i), date.Add(time.Duration(9*60+i*45+h.rng.IntN(20))*time.Minute), h.customer()...)
		}
	}
	return h
}

func told(list []baseline.Newcomer) string {
	var out []string
	for _, n := range list {
		out = append(out, n.String())
	}
	return strings.Join(out, "\n")
}

// probe is a call that nobody makes.
var probe = []call{
	{tool: "find_customer", args: map[string]any{"email": "c1@example.com"}},
	{tool: "close_account", args: map[string]any{"id": "a_1"}},
}

func TestANameIsKnownOnceItWasSeenInThreeSessionsOnThreeDays(t *testing.T) {
	noon := map[int][]call{30: probe, 31: probe, 33: probe}
	h := honestly(31, 36, noon)
	live := daily(t, h, 30, nil)
	for _, x := range []struct {
		day   int
		known bool
		told  string
	}{
		{31, false, "support: tool billing/close_account: seen in 1 session on 1 day; stays unknown until 3 sessions on 3 days"},
		{32, false, "support: tool billing/close_account: seen in 2 sessions on 2 days; stays unknown until 3 sessions on 3 days"},
		{33, false, "seen in 2 sessions on 2 days"},
		{34, true, ""},
		{35, true, ""},
	} {
		live = daily(t, h, x.day, live)
		if got := live.Agent("support").Tools["billing/close_account"] != nil; got != x.known {
			t.Errorf("before day %d: the tool is known: %t", x.day, got)
		}
		if got := told(live.Newcomers); !strings.Contains(got, x.told) || x.told == "" && strings.Contains(got, "close_account") {
			t.Errorf("before day %d it tells of\n%s", x.day, got)
		}
	}
	free := learned(t, h.until(31), baseline.Learning{})
	if free.Agent("support").Tools["billing/close_account"] == nil || len(free.Newcomers) > 0 {
		t.Error("where nothing is in force, something was kept apart")
	}
}

// As TestANameIsKnown…, for each kind of name, and for a person who says so.
func TestEveryKindOfNameHasToComeOnThreeDays(t *testing.T) {
	find := call{tool: "find_customer", args: map[string]any{"email": "c1@example.com"}}
	look := func(args map[string]any) call { return call{tool: "get_order", args: args} }
	refund := func(args map[string]any) call { return call{tool: "issue_refund", args: args} }
	order := map[string]any{"order_id": "ord_123456"}
	for what, calls := range map[string][]call{
		"server mail": {find, {tool: "send", server: "mail"}},
		"billing/issue_refund after billing/find_customer":           {find, refund(map[string]any{"order_id": "ord_123456", "amount": 20, "reason": "late"})},
		"billing/get_order after the beginning":                      {look(order)},
		"argument vip of billing/find_customer":                      {{tool: "find_customer", args: map[string]any{"email": "c1@example.com", "vip": true}}},
		"arguments email,vip of billing/find_customer":               {{tool: "find_customer", args: map[string]any{"email": "c1@example.com", "vip": true}}},
		"type number of order_id of billing/get_order":               {find, look(map[string]any{"order_id": 123456})},
		"form path of order_id of billing/get_order":                 {find, look(map[string]any{"order_id": "../../etc"})},
		"value my manager said so of reason of billing/issue_refund": {find, look(order), refund(map[string]any{"order_id": "ord_123456", "amount": 20, "reason": "my manager said so"})},
		"12:00 to 12:59 UTC":                                         nil, // as it is noon
		"effect money":                                               {find, {tool: "pay_out"}},
	} {
		effects := func(_, tool string) []string {
			if tool == "pay_out" {
				return []string{"money"}
			}
			return []string{"read"}
		}
		if calls == nil {
			calls = []call{find}
		}
		noon := map[int][]call{30: calls, 31: calls, 32: calls}
		h := newHistory(32)
		for day := range 34 {
			date := monday.AddDate(0, 0, day)
			for i := range 9 {
				h.session(fmt.Sprintf("s%d-%d", day, i), date.Add(time.Duration(13*60+i*30)*time.Minute), h.customer()...)
			}
			if noon[day] != nil { // after the others of the day, at noon of the next one
				h.session(fmt.Sprintf("noon%d", day), date.Add(36*time.Hour), noon[day]...)
			}
		}
		learn := func(day int, live *baseline.Baseline, accepted func(agent, what string) bool) *baseline.Baseline {
			return learned(t, h.until(day), baseline.Learning{Live: live, Effects: effects, Accepted: accepted})
		}
		live := learn(30, nil, nil)
		two, three := learn(33, live, nil), learn(34, live, nil)
		if got := told(two.Newcomers); !strings.Contains(got, "support: "+what+": seen in 2 sessions on 2 days; ") {
			t.Errorf("%s is not told:\n%s", what, got)
		}
		if got := told(three.Newcomers); strings.Contains(got, what+": ") {
			t.Errorf("%s is not known after 3 days:\n%s", what, got)
		}
		yes := learn(32, live, func(agent, w string) bool { return agent == "support" && w == what })
		if got := told(yes.Newcomers); strings.Contains(got, what+": ") || fmt.Sprint(yes.Accepted) != "[support: "+what+"]" {
			t.Errorf("a person said that %s is known, and %v is; waiting are\n%s", what, yes.Accepted, got)
		}
	}
}

// Whoever gets one session through cannot make any value usual by sending more of them than are listed.
func TestTooManyValuesToListTakeAWeek(t *testing.T) {
	noon := map[int][]call{}
	for day := 30; day < 45; day++ {
		for i := range 5 {
			noon[day] = append(noon[day], call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": 20, "reason": fmt.Sprintf("because %c%c", 'a'+day-30, 'a'+i)}})
		}
		if day == 30 {
			for i := range 50 {
				noon[day] = append(noon[day], call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": 20, "reason": fmt.Sprintf("reason %c%c", 'a'+i/26, 'a'+i%26)}})
			}
		}
	}
	h := honestly(33, 46, noon)
	live := daily(t, h, 30, nil)
	reasons := func(b *baseline.Baseline) *baseline.Tally {
		return &b.Agent("support").Tools["billing/issue_refund"].Args["reason"].Values
	}
	for day := 31; day < 46; day++ {
		live = daily(t, h, day, live)
		if want := day >= 40; reasons(live).Open != want { // ten sessions on as many days
			t.Errorf("before day %d any reason will do: %t", day, !want)
		}
		if day == 31 && !strings.Contains(told(live.Newcomers), "any new value of reason of billing/issue_refund: seen in 1 session on 1 day; stays unknown until 10 sessions on 7 days") {
			t.Errorf("nothing tells of it:\n%s", told(live.Newcomers))
		}
	}
}

// What is known and rare cannot be made frequent in a day, and what is told is by how much it would have been.
func TestANameBecomesAtMostTwiceAsFrequentInADay(t *testing.T) {
	rare := []call{{tool: "find_customer", args: map[string]any{"email": "c1@example.com"}}, {tool: "drop_tables", args: map[string]any{}}}
	h := honestly(34, 30, map[int][]call{3: rare})
	for day := 30; day < 34; day++ {
		for i := range 60 {
			h.session(fmt.Sprintf("x%d-%d", day, i), monday.AddDate(0, 0, day).Add(9*time.Hour+time.Duration(i)*8*time.Minute), rare...)
		}
	}
	live := daily(t, h, 30, nil)
	was := live.Agent("support").Next["billing/find_customer"].Seen
	if was["billing/drop_tables"] != 1 {
		t.Fatalf("%v", was)
	}
	for i, most := range []int64{3, 7, 15} { // a little more than 2, since there are more sessions
		live = daily(t, h, 31+i, live)
		if got := live.Agent("support").Next["billing/find_customer"].Seen["billing/drop_tables"]; got > most || got < most/2 {
			t.Errorf("day %d: %d sessions, at most %d", 31+i, got, most)
		}
		var lines []string
		for _, c := range live.Capped {
			lines = append(lines, c.String())
		}
		if !strings.Contains(strings.Join(lines, "\n"), "support: sessions with billing/drop_tables after billing/find_customer, would have gone from ") {
			t.Errorf("nothing tells of it: %v", lines)
		}
	}
	if got := learned(t, h.until(33), baseline.Learning{}).Agent("support").Next["billing/find_customer"].Seen["billing/drop_tables"]; got < 150 {
		t.Errorf("without a cap there are %d: the test shows nothing", got)
	}
}

// A name that waits is as strange as one that never was, and more of them make none less strange.
func TestWhatWaitsIsAsStrangeAsWhatIsNew(t *testing.T) {
	noon := map[int][]call{}
	for i := range 30 { // many names in one session
		noon[30] = append(noon[30], call{tool: fmt.Sprintf("probe%d", i)})
	}
	noon[30] = append(noon[30], probe...)
	h := honestly(35, 32, noon)
	live := daily(t, h, 30, nil)
	next := daily(t, h, 31, live)
	score := func(b *baseline.Baseline, tool string) baseline.Bits {
		w := watch(t, b)
		e := event.Event{V: 1, Seq: 1, At: event.At(monday.AddDate(0, 0, 40).Add(10 * time.Hour)), Session: "n", Body: call{tool: tool, args: map[string]any{"id": "a_1"}}.body()}
		return w.Score(e).By[baseline.News]
	}
	if was, is := score(live, "close_account"), score(next, "close_account"); is+2*256 < was {
		t.Errorf("it was seen once, and its strangeness fell from %d to %d", was, is)
	}
	if waiting, fresh := score(next, "close_account"), score(next, "never_seen"); waiting != fresh {
		t.Errorf("what waits has %d, what is new %d", waiting, fresh)
	}
	w := watch(t, next)
	e := event.Event{V: 1, Seq: 1, At: event.At(monday.AddDate(0, 0, 40).Add(10 * time.Hour)), Session: "n", Body: call{tool: "close_account"}.body()}
	s := w.Score(e)
	why := fmt.Sprint(w.Explain(e, &s))
	if !strings.Contains(why, "billing/close_account was used in 1 session, too few to be known") {
		t.Errorf("it says %s", why)
	}
}

// Clocks that leap make no time in which anybody could have looked.
func TestAClockThatLeapsAheadGivesNoMoreRoomThanDaysWithCalls(t *testing.T) {
	h := poisoned()
	live := learned(t, h.until(30), baseline.Learning{})
	leap := newHistory(21)
	leap.events = h.until(30).events
	many := call{tool: "get_order", args: map[string]any{"order_id": "ord_1"}}
	calls := []call{{tool: "find_customer", args: map[string]any{"email": "c@example.com"}}}
	for i := range 30 {
		many.args = map[string]any{"order_id": fmt.Sprintf("ord_%d", 200_000+7*i*i)}
		calls = append(calls, many)
	}
	leap.session("leap", monday.AddDate(10, 0, 0).Add(12*time.Hour), calls...)
	next := learned(t, leap, baseline.Learning{Live: live})
	if got := orders(next); got.Max() > 3 {
		t.Errorf("after a leap of ten years %d orders are normal", got.Max())
	}
}

// An agent with which nothing was compared yet is no measure for what it becomes.
func TestWhatWasNotArmedCapsNothing(t *testing.T) {
	h := honestly(36, 20, nil)
	few := learned(t, h.until(2), baseline.Learning{})
	if few.Agent("support").Missing() == "" {
		t.Fatal("two days are enough")
	}
	b := learned(t, h, baseline.Learning{Live: few})
	if len(b.Capped) > 0 || len(b.Newcomers) > 0 || fmt.Sprint(b.Uncapped) != "[support]" {
		t.Errorf("capped %v, waiting %v, uncapped %v", b.Capped, b.Newcomers, b.Uncapped)
	}
}

// A group is what unknown agents are compared with: neither a new server, by which it gets another name, nor a new member makes
// anything normal in it at once.
func TestAGroupIsPoisonedNoFasterThanItsMembers(t *testing.T) {
	h := newHistory(37)
	day := func(day int, more func(at time.Time)) {
		for i, agent := range []string{"anna", "ben", "carl"} {
			for k := range 5 {
				calls := h.customer()
				for c := range calls {
					calls[c].agent = agent
				}
				h.session(fmt.Sprintf("%s-%d-%d", agent, day, k), monday.AddDate(0, 0, day).Add(9*time.Hour+time.Duration(i*5+k)*20*time.Minute), calls...)
			}
		}
		if more != nil {
			more(monday.AddDate(0, 0, day).Add(20 * time.Hour))
		}
	}
	for d := range 12 {
		day(d, nil)
	}
	how := baseline.Learning{Enough: baseline.Evidence{Sessions: 30, Calls: 100, Days: 3}}
	how.Live = learned(t, h, how)
	if len(how.Live.Groups) != 1 {
		t.Fatal("there is no group")
	}
	day(12, func(at time.Time) {
		h.session("evil", at, call{agent: "anna", server: "vault", tool: "read_secret"}, call{agent: "anna", tool: "close_account"})
		for i := range 40 {
			h.session(fmt.Sprintf("eve%d", i), at.Add(time.Duration(i)*time.Minute), call{agent: "eve", tool: "close_account"}, call{agent: "eve", tool: "get_order", args: map[string]any{"order_id": "x", "evil": 1}})
		}
	})
	day(13, nil)
	b := learned(t, h, how)
	if len(b.Groups) != 1 || b.Groups[0].Name == how.Live.Groups[0].Name {
		t.Fatalf("%v", b.Groups[0].Name)
	}
	g := b.Groups[0]
	if g.Tools["billing/close_account"] != nil || g.Tools["vault/read_secret"] != nil || g.Servers.Seen["vault"] > 0 || g.Tools["billing/get_order"].Args["evil"] != nil {
		t.Errorf("the group knows %v, servers %v", g.Tools, g.Servers)
	}
	if !strings.Contains(told(b.Newcomers), g.Name+": tool billing/close_account: ") {
		t.Errorf("it is not told:\n%s", told(b.Newcomers))
	}
}
