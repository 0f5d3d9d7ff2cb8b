package rules_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// shop is a live run of one session: what happens in it is judged and remembered.
type shop struct {
	t     testing.TB
	state *rules.State
	seq   uint64
	at    event.Time
}

func newShop(t testing.TB, policy string) *shop {
	t.Helper()
	p, err := compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	return &shop{t: t, state: rules.NewState(p), at: event.At(begin)}
}

func (s *shop) event(cause uint64, body event.Body) event.Event {
	s.seq++
	return event.Event{V: event.Version, Seq: s.seq, At: s.at, Session: "s1", Cause: cause, Body: body}
}

// call judges a call a second later, and returns it with how rules stood to it, before it and after.
func (s *shop) call(name, args string) (call event.Event, before, after []rules.Standing) {
	s.t.Helper()
	server, tool, _ := strings.Cut(name, "/")
	s.at = s.at.Add(time.Second)
	e := s.event(0, &event.Call{Server: server, Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(args), Peer: event.Peer{Agent: "bot"}})
	before = s.state.Standings(e, e.At)
	v := s.state.Decide(e)
	s.state.Apply(e)
	s.state.Apply(s.event(e.Seq, &v))
	return e, before, s.state.Standings(e, s.at)
}

func (s *shop) result(call event.Event, outcome event.Outcome) {
	c := call.Body.(*event.Call)
	s.state.Apply(s.event(call.Seq, &event.Result{Server: c.Server, Tool: c.Tool, Outcome: outcome, Content: paid}))
}

// of returns how one rule stands.
func of(t testing.TB, all []rules.Standing, rule string) rules.Standing {
	t.Helper()
	for _, s := range all {
		if s.Cover.Rule == rule {
			return s
		}
	}
	t.Fatalf("nothing is said of %s: %+v", rule, all)
	return rules.Standing{}
}

func TestStandingsShowEveryWindowAsTheRuleSeesIt(t *testing.T) {
	s := newShop(t, `rules:
  - {name: burst, on: shop/pay, rate: {max: 5, per: 1m, by: session}, do: deny}
  - {name: total, on: shop/pay, where: args.n > 0, rate: {sum: args.n, max: 10.5, per: 1h, by: [agent, args.who]}, do: hold}
  - {name: probing, on: "shop/*", rate: {distinct: args.who, max: 3, per: 5m}, do: log}
  - {name: open, on: shop/pay, rate: {in_flight: 2}, do: deny}
  - {name: once, on: shop/pay, rate: {max: 1, per: 1h, by: args.id}, do: deny}
`)
	first, _, _ := s.call("shop/pay", `{"n":1.25,"who":"ann","id":1}`)
	_, before, after := s.call("shop/pay", `{"n":0.5,"who":"ann","id":2}`)
	for _, tc := range []struct {
		rule, measure, of, by, limit, per string
		was, would, is                    string // in the window before the call, with it, and after it
		near                              bool
	}{
		{"burst", "count", "", "session s1", "5", "1m", "1", "2", "2", false},
		{"total", "sum", "args.n", `agent "bot", args.who "ann"`, "10.5", "1h", "1.25", "1.75", "1.75", false},
		{"probing", "distinct", "args.who", "", "3", "5m", "1", "1", "1", false},
		{"open", "in_flight", "", "", "2", "10m", "1", "2", "2", true},
		{"once", "count", "", `args.id "2"`, "1", "1h", "0", "1", "1", false}, // a limit of one is not always near
	} {
		b, a := of(t, before, tc.rule), of(t, after, tc.rule)
		if w := b.Window; w == nil || w.Measure != tc.measure || w.Of != tc.of || w.By != tc.by || w.Limit != tc.limit || w.Per != tc.per || w.Now != tc.was || w.With != tc.would {
			t.Errorf("%s before the call: %+v", tc.rule, w)
		}
		if w := a.Window; w == nil || w.Now != tc.is || w.With != tc.is {
			t.Errorf("%s after the call: %+v", tc.rule, w)
		}
		if b.Near != tc.near || b.Fires || b.Why != "" {
			t.Errorf("%s: near is %v, fires %v (%q)", tc.rule, b.Near, b.Fires, b.Why)
		}
	}
	if w := of(t, after, "burst").Window; !slices.Equal(w.Calls, []uint64{1, 3}) || w.Frees != first.At.Add(time.Minute) {
		t.Errorf("the newest calls in it, and when there is room: %+v", w)
	}
	s.result(first, event.OutcomeOK)
	if w := of(t, s.state.Standings(first, s.at), "open").Window; w.Now != "1" {
		t.Errorf("an answered call is not in flight any more: %+v", w)
	}
	s.call("shop/pay", `{"n":7,"who":"ann","id":3}`)
	_, before, _ = s.call("shop/pay", `{"n":0.25,"who":"bea","id":4}`)
	if b := of(t, before, "burst"); !b.Near || b.Window.With != "4" {
		t.Errorf("four of five are near: %+v %+v", b, b.Window)
	}
	if b := of(t, before, "total"); b.Near || b.Window.Now != "0" {
		t.Errorf("of another customer there is nothing: %+v %+v", b, b.Window)
	}
	_, before, _ = s.call("shop/pay", `{"n":0,"who":"ann"}`)
	if b := of(t, before, "total"); b.Window != nil || b.Fires || len(b.Parts) != 1 || b.Parts[0].Holds != "false" {
		t.Errorf("the rule is not about such a call: %+v", b)
	}
	if b := of(t, before, "once"); !b.Fires || !strings.Contains(b.Why, "args.id is missing") {
		t.Errorf("without its key the rule fires: %+v", b)
	}
}

// The 80 % are exact, also where the limit has no tenths that a float could tell.
func TestNearBeginsAtExactlyEightTenthsOfASum(t *testing.T) {
	for n, near := range map[string]bool{"0.23999999999999999999": false, "0.24": true, "0.3": true} {
		s := newShop(t, "rules: [{name: r, on: a/b, rate: {sum: args.n, max: 0.3, per: 1h}, do: deny}]")
		_, before, _ := s.call("a/b", `{"n":`+n+`}`)
		if of(t, before, "r").Near != near {
			t.Errorf("%s of 0.3: near is %v", n, !near)
		}
	}
}

func TestStandingsShowWhichStepsAreMatchedAndWhatIsAwaited(t *testing.T) {
	s := newShop(t, `rules:
  - name: leak
    sequence:
      - {name: secret, on: "files/*", where: "args.path == '.env'"}
      - {on: result files/*, runs: 2..}
      - {on: mail/send, where: "args.to != 'me'"}
    by: session
    within: 15m
    do: deny
`)
	_, _, after := s.call("files/read", `{"path":"a.txt"}`)
	if r := of(t, after, "leak"); r.Order == nil || r.Order.Matched != 0 || r.Order.Until != 0 || r.Near || len(r.Order.Steps) != 3 {
		t.Errorf("nothing is matched yet: %+v", r.Order)
	}
	secret, _, after := s.call("files/read", `{"path":".env"}`)
	r := of(t, after, "leak")
	if r.Order.Matched != 1 || !slices.Equal(r.Order.Steps[0].Events, []uint64{secret.Seq}) || r.Order.Until != secret.At.Add(15*time.Minute) || r.Near {
		t.Errorf("the secret was read: %+v", r.Order)
	}
	if st := r.Order.Steps[0]; st.Name != "secret" || st.On != "files/*" || st.Where != "args.path == '.env'" || st.Runs != 1 {
		t.Errorf("%+v", st)
	}
	if last := r.Order.Steps[2]; last.On != "mail/send" || last.Where != "args.to != 'me'" || last.Count != 0 {
		t.Errorf("%+v", last)
	}
	s.result(secret, event.OutcomeOK)
	if r := of(t, s.state.Standings(secret, s.at), "leak"); r.Order.Matched != 1 || r.Order.Steps[1].Count != 1 || r.Order.Steps[1].Runs != 2 || r.Near {
		t.Errorf("one result of two: %+v", r.Order)
	}
	other, _, _ := s.call("files/read", `{"path":"b.txt"}`)
	s.result(other, event.OutcomeOK)
	for call, near := range map[event.Event]bool{other: true, secret: false} {
		if r := of(t, s.state.Standings(call, s.at), "leak"); r.Order.Matched != 2 || r.Near != near {
			t.Errorf("#%d: near is %v: %+v", call.Seq, r.Near, r.Order)
		}
	}
	for to, fires := range map[string]bool{"me": false, "them": true} {
		_, before, after := s.call("mail/send", `{"to":"`+to+`"}`)
		for _, r := range []rules.Standing{of(t, before, "leak"), of(t, after, "leak")} {
			if r.Fires != fires || r.Near || r.Order.Matched != 2 || (r.Order.Steps[2].Count == 1) != fires {
				t.Errorf("to %s: %+v %+v", to, r, r.Order)
			}
		}
	}
	s.at = secret.At.Add(15 * time.Minute)
	if r := of(t, s.state.Standings(other, s.at), "leak"); r.Order.Matched != 0 {
		t.Errorf("it is too long ago: %+v", r.Order)
	}
}

// A call that is a step is no step before itself, whenever it is asked about.
func TestACallIsNoStepBeforeItself(t *testing.T) {
	s := newShop(t, "rules: [{name: again, sequence: [{on: a/b}, {on: a/b}], within: 1h, do: log}]")
	for n := range 2 {
		_, before, after := s.call("a/b", "{}")
		for _, r := range []rules.Standing{of(t, before, "again"), of(t, after, "again")} {
			if r.Fires != (n == 1) {
				t.Errorf("call %d: %+v", n, r)
			}
		}
	}
}

func TestStandingsSayWhatARequiredStepIsAndWhetherItIsThere(t *testing.T) {
	s := newShop(t, `rules:
  - {name: look, on: shop/pay, require: [{name: order, on: shop/get, where: "order.ok && order.args.id == args.id"}], within: 10m, do: deny}
`)
	get, _, _ := s.call("shop/get", `{"id":7}`)
	s.result(get, event.OutcomeOK)
	_, before, _ := s.call("shop/pay", `{"id":8}`)
	if r := of(t, before, "look"); !r.Fires || r.Near || r.Order.Matched != 0 || r.Order.Steps[1].Count != 0 || !strings.Contains(r.Why, "does not fit") {
		t.Errorf("of another order: %+v %+v", r, r.Order)
	}
	_, before, _ = s.call("shop/pay", `{"id":7}`)
	if r := of(t, before, "look"); r.Fires || r.Near || !slices.Equal(r.Order.Steps[0].Events, []uint64{get.Seq}) || r.Order.Steps[1].Count != 1 {
		t.Errorf("of this one: %+v %+v", r, r.Order)
	}
}

func TestATurnAndASignalAreStepsOfTheirOwn(t *testing.T) {
	s := newShop(t, `rules:
  - {name: told, sequence: [{on: turn user}, {on: a/b}], by: session, within: 1h, do: deny}
  - {name: odd, sequence: [{on: signal odd-*}, {on: a/b}], by: session, within: 1h, do: deny}
`)
	for rule, body := range map[string]event.Body{
		"told": &event.Turn{Role: event.RoleUser, Trust: event.Trusted, Text: "go", Size: 2},
		"odd":  &event.Signal{Source: "wire", Name: "odd-name"},
	} {
		e := s.event(0, body)
		s.state.Apply(e)
		all := s.state.Standings(e, s.at)
		if r := of(t, all, rule); len(all) != 1 || !r.Near || r.Order.Matched != 1 || !slices.Equal(r.Order.Steps[0].Events, []uint64{e.Seq}) {
			t.Errorf("%s: %+v", rule, all)
		}
		if got := s.state.Concerns(e); !slices.Equal(got, []string{rule}) {
			t.Errorf("%v", got)
		}
	}
}

func TestAConditionIsNearIfAllButOneOfWhatItAsksHold(t *testing.T) {
	const policy = `rules: [{name: r, on: a/b, where: %q, do: deny}]`
	for _, tc := range []struct {
		where, args string
		near        bool
	}{
		{"args.n > 100 && args.to == 'x'", `{"n":200,"to":"y"}`, true},
		{"args.n > 100 && args.to == 'x'", `{"n":1,"to":"y"}`, false},
		{"args.n > 100", `{"n":1}`, false},                                             // else every call would be
		{"has(args.n) && args.n > 100", `{"n":1}`, false},                              // has asks whether there is anything to ask
		{"agent == 'bot' && args.n > 100", `{"n":1}`, false},                           // nor does it matter whose call it is
		{"agent == 'x' && args.n > 1 && args.to == 'x'", `{"n":9,"to":"y"}`, false},    // a rule about another agent
		{"has(args.n) && (args.n > 1 && args.to == 'x')", `{"n":9,"to":"y"}`, true},    // brackets join nothing else
		{"args.n > 1 || args.to == 'x' && args.z", `{"n":0,"to":"y","z":true}`, false}, // nor is that joined by &&
		{"args.n > 1 && args.to == 'x' && args.z", `{"n":9,"to":"x"}`, false},          // it cannot be decided, and fires
	} {
		s := newShop(t, fmt.Sprintf(policy, tc.where))
		_, before, _ := s.call("a/b", tc.args)
		if r := of(t, before, "r"); r.Near != tc.near {
			t.Errorf("%s of %s: near is %v: %+v", tc.where, tc.args, r.Near, r.Parts)
		}
	}
}

// A policy of a thousand rules about one tool does not make an answer of a thousand: those that say something are in it.
func TestStandingsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 300 {
		limit := 100
		if i == 299 {
			limit = 0
		}
		fmt.Fprintf(&b, "  - {name: r%d, on: a/b, rate: {max: %d, per: 1h}, do: deny}\n", i, limit)
	}
	s := newShop(t, b.String())
	_, before, _ := s.call("a/b", "{}")
	if len(before) != 100 || !of(t, before, "r299").Fires {
		t.Errorf("%d", len(before))
	}
	if only := s.state.Standings(s.event(0, &event.Call{Server: "a", Tool: "b", Args: json.RawMessage("{}")}), s.at, "r7", "r250"); len(only) != 2 {
		t.Errorf("%d", len(only))
	}
}

// BenchmarkStandings is what it takes to tell people how five rules stand to a call of 1 KiB. Decide is there to compare.
func BenchmarkStandings(b *testing.B) {
	s, calls := judged(b, manyRules(100), pay)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if e := calls[i%len(calls)]; len(s.Standings(e, e.At)) != 5 {
			b.Fatal("five rules are about it")
		}
	}
}

func ExampleState_Standings() {
	s := newShop(&testing.T{}, "rules: [{name: burst, on: shop/pay, rate: {max: 3, per: 10s, by: session}, do: deny}]")
	for range 4 {
		_, before, _ := s.call("shop/pay", "{}")
		r := before[0]
		fmt.Printf("%s: %s of %s in %s; near %v, fires %v\n", r.Cover.Rule, r.Window.With, r.Window.Limit, r.Window.Per, r.Near, r.Fires)
	}
	// Output:
	// burst: 1 of 3 in 10s; near false, fires false
	// burst: 2 of 3 in 10s; near false, fires false
	// burst: 3 of 3 in 10s; near true, fires false
	// burst: 4 of 3 in 10s; near false, fires true
}
