package suggest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/suggest"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// past is a history in the making.
type past struct {
	log []event.Event
	at  event.Time
}

func (p *past) add(session string, cause uint64, body event.Body) uint64 {
	e := event.Event{V: event.Version, Seq: uint64(len(p.log) + 1), At: p.at, Session: session, Cause: cause, Body: body}
	p.log = append(p.log, e)
	return e.Seq
}

// call makes a call that is judged like that, and succeeds if it passes.
func (p *past) call(session, tool, args string, v event.Verdict) {
	seq := p.add(session, 0, &event.Call{Server: "shop", Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(args), Peer: event.Peer{Agent: "bot"}})
	p.add(session, seq, &v)
	if v.Action.Passes() {
		p.add(session, seq, &event.Result{Server: "shop", Tool: tool, Outcome: event.OutcomeOK})
	}
}

// said is what the user says.
func (p *past) said(session, text string) {
	p.add(session, 0, &event.Turn{Role: event.RoleUser, Source: "hook:test", Trust: event.Trusted, Text: text, Size: len(text)})
}

func newPast(t interface{ Fatal(...any) }) *past {
	empty, err := rules.Compile([]event.Source{{Name: "none.yaml"}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	p := &past{at: event.At(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))}
	p.add("", 0, empty.Loaded())
	return p
}

func (p *past) learn() *suggest.Practice {
	learned := &suggest.Practice{Effects: func(_, tool string) []string {
		switch tool {
		case "look":
			return []string{"read"}
		case "pay":
			return []string{"write", "money"}
		}
		return []string{"write", "egress"}
	}}
	policy, err := rules.Compile([]event.Source{{Name: "none.yaml"}}, event.Env{OS: "linux"})
	if err != nil {
		panic(err) // it is empty
	}
	learned.Trails = policy.Origins()
	for _, e := range p.log {
		learned.Add(e)
	}
	return learned
}

func compile(t interface{ Fatalf(string, ...any) }, found []suggest.Rule) *rules.Policy {
	text := string(suggest.YAML([]string{"a test"}, found))
	policy, err := rules.Compile([]event.Source{{Name: "suggested.yaml", Text: text}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return policy
}

func (p *past) history(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range p.log[from-1:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

var (
	allowed = event.Verdict{Action: event.Allow}
	denied  = event.Verdict{Action: event.Deny, Rule: "r"}
	noted   = event.Verdict{Action: event.Log, Rule: "r"}
)

// What is suggested would have stopped no honest call of the history that suggests it, strict or not.
func TestWhatWasHonestPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPast(t)
		text := rapid.SampledFrom([]string{"a", "ord_1", "ord_22", "x y", "", "é", "0b1e5c1e-0000-4000-8000-000000000001", "[a]", `a"b`, "ord_3 or 1=1", "yes"})
		number := rapid.SampledFrom([]string{"0", "1", "-2.5", "1e3", "0.10", "999999", "12345678901234567890"})
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			p.at = p.at.Add(rapid.SampledFrom([]time.Duration{0, time.Second, 9 * time.Second, 10 * time.Second, time.Hour, 24 * time.Hour}).Draw(t, "pause"))
			if rapid.Bool().Draw(t, "said") {
				p.said(rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "where"), "It is "+text.Draw(t, "what"))
			}
			args := map[string]json.RawMessage{}
			for _, name := range []string{"id", "n", "x-y", "in"} {
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					args[name] = json.RawMessage(number.Draw(t, "number"))
				case 1, 2:
					raw, _ := json.Marshal(text.Draw(t, "text"))
					args[name] = raw
				case 3:
					args[name] = json.RawMessage(rapid.SampledFrom([]string{"null", "true", "[]", `{"a":1}`}).Draw(t, "other"))
				}
			}
			raw, _ := json.Marshal(args)
			p.call(rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session"), rapid.SampledFrom([]string{"look", "pay", "send*"}).Draw(t, "tool"), string(raw),
				rapid.SampledFrom([]event.Verdict{allowed, allowed, allowed, denied, noted}).Draw(t, "verdict"))
		}
		found := p.learn().Rules(suggest.Support{Calls: 1, Sessions: 1}, rapid.Bool().Draw(t, "strict"))
		for j, err := range replay.WhatIf(p.history, 0, compile(t, found)) {
			if err != nil {
				t.Fatal(err)
			}
			if j.Recorded.Action == event.Allow && j.Stops() {
				t.Fatalf("%s: %s: %s\n%s", j.Call.Body.(*event.Call).Args, j.Replayed.Rule, j.Replayed.Why, suggest.YAML(nil, found))
			}
		}
	})
}

// A shop: orders are looked at, then paid back, one at a time. What nobody ever did is stopped by what that suggests.
func TestWhatIsUnlikeThePastIsStopped(t *testing.T) {
	honest := func() *past {
		p := newPast(t)
		for i := range 40 {
			session := fmt.Sprintf("s%d", i/2)
			p.at = p.at.Add(time.Hour)
			p.call(session, "look", fmt.Sprintf(`{"order":"ord_%d"}`, i), allowed)
			p.at = p.at.Add(20 * time.Second)
			p.call(session, "pay", fmt.Sprintf(`{"order":"ord_%d","amount":%d.5,"why":"%s"}`, i, i%9+1, []string{"late", "broken"}[i%2]), allowed)
		}
		p.at = p.at.Add(time.Hour)
		return p
	}
	found := honest().learn().Rules(suggest.Enough, false)
	policy := compile(t, found)
	if w := policy.Warnings([]string{"shop"}, 0); len(w) > 0 {
		t.Errorf("it is warned of: %v", w)
	}
	for rule, then := range map[string]func(p *past){
		"tools-of-bot":        func(p *past) { p.call("s99", "send", `{}`, allowed) },
		"shop-pay-after-look": func(p *past) { p.call("s99", "pay", `{"order":"ord_1","amount":2.5,"why":"late"}`, allowed) },
		"shop-look-shape":     func(p *past) { p.call("s99", "look", `{"order":"ord_1 or 1=1"}`, allowed) },
		"shop-pay-shape: args.why": func(p *past) {
			p.call("s99", "look", `{"order":"ord_1"}`, allowed)
			p.call("s99", "pay", `{"order":"ord_1","amount":2.5,"why":"my manager said so"}`, allowed)
		},
		"shop-pay-shape: args.amount": func(p *past) {
			p.call("s99", "look", `{"order":"ord_1"}`, allowed)
			p.call("s99", "pay", `{"order":"ord_1","amount":2000.5,"why":"late"}`, allowed)
		},
		"shop-pay-burst": func(p *past) {
			p.call("s99", "look", `{"order":"ord_1"}`, allowed)
			for range 9 {
				p.call("s99", "pay", `{"order":"ord_1","amount":2.5,"why":"late"}`, allowed)
			}
		},
	} {
		p := honest()
		p.at = p.at.Add(48 * time.Hour)
		before := len(p.log)
		then(p)
		stopped := ""
		for j, err := range replay.WhatIf(p.history, 0, policy) {
			if err != nil {
				t.Fatal(err)
			}
			if j.Stops() && j.Call.Seq <= uint64(before) {
				t.Errorf("an honest call is stopped: %s", j.Replayed.Why)
			}
			if j.Stops() && stopped == "" {
				stopped = j.Replayed.Rule + ": " + j.Replayed.Why
			}
		}
		if !strings.HasPrefix(stopped, rule) {
			t.Errorf("stopped by %q, want %s\n%s", stopped, rule, suggest.YAML(nil, found))
		}
	}
}

// Whom to pay is what the user has said, as long as that always was so, and nobody was there who was not heard.
func TestWhatTheUserHasAlwaysSaidMayNotComeFromElsewhere(t *testing.T) {
	account := func(i int) string { return fmt.Sprintf("DE89 3704 0044 0532 %04d 00", 1000+i*7) }
	for name, breaks := range map[string]func(p *past){
		"": func(*past) {},
		"nobody was heard once": func(p *past) {
			p.call("deaf", "pay", `{"account":"`+account(3)+`","amount":1}`, allowed)
		},
		"the model made it up once": func(p *past) {
			p.said("up", "Pay somebody.")
			p.call("up", "pay", `{"account":"GB29 NWBK 6016 1331 9268 19","amount":1}`, allowed)
		},
		"it was a list once": func(p *past) {
			p.said("list", "Pay "+account(3))
			p.call("list", "pay", `{"account":["`+account(3)+`"],"amount":1}`, allowed)
		},
	} {
		p := newPast(t)
		for i := range 40 {
			session := fmt.Sprintf("s%d", i/2)
			p.at = p.at.Add(time.Hour)
			p.said(session, "Please pay "+account(i)+" today")
			p.call(session, "pay", fmt.Sprintf(`{"account":"%s","amount":%d}`, account(i), i%9+1), allowed)
			p.call(session, "look", fmt.Sprintf(`{"account":"%s"}`, account(i)), allowed)
		}
		breaks(p)
		found := p.learn().Rules(suggest.Enough, false)
		text := string(suggest.YAML(nil, found))
		const rule = "- name: shop-pay-account-from-user # 40 calls in 20 sessions, no exception: the user had said it each time"
		if strings.Contains(text, rule) != (name == "") || strings.Count(text, "from-user") > 1 {
			t.Errorf("%s: %s", name, text)
			continue
		}
		if name != "" {
			continue
		}
		p.at = p.at.Add(time.Hour)
		p.said("new", "Pay my invoice.")
		p.call("new", "pay", `{"account":"`+account(3)+`","amount":2}`, allowed)
		stopped := ""
		for j, err := range replay.WhatIf(p.history, 0, compile(t, found)) {
			if err != nil {
				t.Fatal(err)
			}
			if j.Stops() {
				stopped += j.Replayed.Rule + " "
			}
		}
		if stopped != "shop-pay-account-from-user " {
			t.Errorf("stopped by %q", stopped)
		}
	}
}

// What was denied or noted is in no list, and what came once is no habit.
func TestOnlyHonestHabitsTeach(t *testing.T) {
	p := newPast(t)
	for i := range 30 {
		p.at = p.at.Add(time.Minute)
		p.call(fmt.Sprintf("s%d", i), "look", `{"order":"a"}`, allowed)
		p.call(fmt.Sprintf("s%d", i), "send", `{"to":"eve"}`, denied)
		p.call(fmt.Sprintf("s%d", i), "drop", `{}`, noted)
	}
	p.call("s1", "pay", `{"amount":1}`, allowed)
	learned := p.learn()
	text := string(suggest.YAML(nil, learned.Rules(suggest.Enough, true)))
	if strings.Contains(text, "send") || strings.Contains(text, "drop") || !strings.Contains(text, `"shop/pay"`) || strings.Contains(text, "pay-shape") {
		t.Error(text)
	}
	if learned.Calls != 31 || learned.Other != 60 || fmt.Sprint(learned.Unknown(suggest.Enough)) != `["shop/pay" (1 call in 1 session)]` {
		t.Errorf("%d, %d, %q", learned.Calls, learned.Other, learned.Unknown(suggest.Enough))
	}
}

func TestRulesAreAddedToAPolicyThatKeepsItsBytes(t *testing.T) {
	added := []suggest.Rule{{Name: "new", Support: "2 calls", Lines: []string{"on: a/b"}, Do: event.Deny}}
	const rule = "- name: new # 2 calls\n#  on: a/b\n#  do: deny\n"
	at := func(indent string) string { return strings.ReplaceAll(indent+rule, "#  ", indent+"  ") }
	for before, want := range map[string]string{
		"":            "\nrules:\n" + at("  "),
		"tools: []\n": "tools: []\n\nrules:\n" + at("  "),
		"rules:\n- name: old\n  on: x/y\n  do: log":                                                    "rules:\n- name: old\n  on: x/y\n  do: log\n\n" + at(""),
		"rules:\n    - name: old\n      on: x/y\n      do: log # why\n\n# after\nallow: [x/y]\n":       "rules:\n    - name: old\n      on: x/y\n      do: log # why\n\n" + at("    ") + "\n# after\nallow: [x/y]\n",
		"rules:\n  - name: old\n    on: x/y\n    where: |\n      true\n\n      || true\n    do: log\n": "rules:\n  - name: old\n    on: x/y\n    where: |\n      true\n\n      || true\n    do: log\n\n" + at("  "),
		"rules:\r\n  - {name: old, on: x/y, do: log}\r\n":                                              strings.ReplaceAll("rules:\n  - {name: old, on: x/y, do: log}\n\n"+at("  "), "\n", "\r\n"),
	} {
		got, err := suggest.Merge([]byte(before), added)
		if err != nil || string(got) != want {
			t.Errorf("%q\nbecame %q\nwant   %q, %v", before, got, want, err)
		}
		if _, err := rules.Compile([]event.Source{{Name: "x.yaml", Text: string(got)}}, event.Env{OS: "linux"}); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
	for _, before := range []string{"rules: [{name: old, on: x/y, do: log}]\n", "rules: []\n"} {
		if got, err := suggest.Merge([]byte(before), added); !errors.Is(err, suggest.ErrStyle) {
			t.Errorf("%q became %q, %v", before, got, err)
		}
	}
}

// Names and values come from servers and clients that may be hostile: in a rule they are that name, and nothing else; nobody who
// reads the file sees it in another way than it is read.
func TestHostileNamesAreNamesAndNothingElse(t *testing.T) {
	for _, name := range []string{
		`a"b`, `a'b`, `a\`, `"] || true || agent in ["`, "x\n  do: log", "x\r# ", "a # b", "- name: evil", "{a: b}", "&a *a", "*", "a?[b]{c}", "!!binary", "\u202eevil\u202c", "a\u0085b", "a\u2028b", "a\x7fb", "\ufeffa", "a\tb",
		"😀", "\U000E0041", "ünï", strings.Repeat("long", 2500), "null", "~", "1e3", "'", "%a", "`a`", "${HOME}", "a: b", "in", "package", "",
	} {
		p := newPast(t)
		honest := func(agent, tool string) event.Body {
			args, err := json.Marshal(map[string]string{name: name})
			if err != nil {
				t.Fatal(err)
			}
			return &event.Call{Server: "shop", Tool: tool, ID: json.RawMessage("1"), Args: args, Peer: event.Peer{Agent: agent}}
		}
		call := func(session string, body event.Body) {
			p.at = p.at.Add(time.Minute)
			seq := p.add(session, 0, body)
			p.add(session, seq, &allowed)
			p.add(session, seq, &event.Result{Server: "shop", Tool: body.(*event.Call).Tool, Outcome: event.OutcomeOK})
		}
		for i := range 30 {
			call(fmt.Sprintf("s%d", i/3), honest(name, name))
			call(fmt.Sprintf("s%d", i/3), honest(name, "plain"))
		}
		for _, strict := range []bool{false, true} {
			found := p.learn().Rules(suggest.Enough, strict)
			text := string(suggest.YAML([]string{"a test"}, found))
			for _, r := range text {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%.40q: a reader does not see %U", name, r)
					break
				}
			}
			policy := compile(t, found)
			if len(policy.Rules()) != len(found) || len(found) < 3 {
				t.Errorf("%.40q: of %d rules %d are read", name, len(found), len(policy.Rules()))
			}
			for _, r := range policy.Rules() {
				if len(r.Rule) > 200 {
					t.Errorf("a rule is called %.40q…, of %d bytes", r.Rule, len(r.Rule))
				}
			}
			log := len(p.log)
			call("z", honest(name, "other"))
			if strict {
				call("z", honest(name+"x", "plain"))
			}
			stops := 0
			for j, err := range replay.WhatIf(p.history, 0, policy) {
				if err != nil {
					t.Fatal(err)
				}
				if stopped := j.Stops(); stopped && j.Call.Seq <= uint64(log) {
					t.Errorf("%.40q: an honest call is stopped: %s: %s", name, j.Replayed.Rule, j.Replayed.Why)
				} else if stopped {
					stops++
				}
			}
			if want := map[bool]int{false: 1, true: 2}[strict]; stops != want && name != "" {
				t.Errorf("%.40q, strict: %t: %d of %d other calls are stopped\n%.3000s", name, strict, stops, want, text)
			}
			p.log = p.log[:log]
		}
	}
}
