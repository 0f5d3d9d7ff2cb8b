package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

const holdsAndDenies = `rules:
  - {name: ask, on: "*/*", where: args.n > 1, do: hold}
  - {name: ask-a, on: a/*, where: "has(args.k)", do: hold}
  - {name: often, on: "*/*", rate: {max: 4, per: 1m, by: agent}, do: hold}
  - {name: never, on: "*/*", where: "has(args.k) && args.k == 'never'", do: deny}
  - {name: limit, on: "*/*", rate: {max: 9, per: 1m}, do: deny}
`

// drawnCall is a call as any client could send it: equal arguments in other forms, others that look alike, and what was taken
// out before it was stored.
func drawnCall(t *rapid.T) *event.Call {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	c := &event.Call{
		Server: pick("server", "a", "a", "b"), Tool: pick("tool", "x", "x", "y"), ID: json.RawMessage("1"),
		Peer: event.Peer{Principal: pick("principal", "local:u", "local:u", "token:1"), Agent: pick("agent", "m", "m", "m2", ""), Workspace: pick("workspace", "", "", "/w")},
		Args: json.RawMessage(pick("args",
			`{"k":"p","n":2}`, `{"n":2.0,"k":"p"}`, `{"k":"\u0070","n":20e-1}`, `{"k":"p","n":2,"m":null}`, `{"k":"p","n":"2"}`, `{"k":"P","n":2}`,
			`{"k":"p","N":2,"n":2}`, `{"k":"p","n":2.00000000000000000001}`, `{"k":"never","n":2}`, `{"k":["p"],"n":2}`, `{"k":"p","n":3}`, `{"n":9007199254740993}`,
			`{"n":9007199254740992}`, `{}`)),
	}
	if rapid.IntRange(0, 5).Draw(t, "hidden") == 0 {
		c.Findings = []event.Finding{{Kind: pick("finding", event.Redacted, event.Truncated), Path: pick("path", "args.k", "args.n", "args.other", "args")}}
	}
	return c
}

// read reads JSON so that equal values are deeply equal.
func read(t *rapid.T, raw []byte) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var exact func(v any) any
	exact = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			r, ok := new(big.Rat).SetString(v.String())
			if !ok {
				t.Fatalf("no number: %s", v)
			}
			return "number " + r.RatString()
		case string:
			return "text " + v
		case []any:
			for i := range v {
				v[i] = exact(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = exact(v[k])
			}
		}
		return v
	}
	return exact(v)
}

// An exception never turns a denial into anything else, is never about a call that differs from the one that was remembered in
// anything that it says, and lets nothing pass that another rule holds. A state that was restored from a snapshot says the same.
func TestAnExceptionIsAboutNothingElse(t *testing.T) {
	p, err := compile(holdsAndDenies)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		with, without := rules.NewState(p), rules.NewState(p) // the second one hears of no exception
		seq, at := uint64(0), event.At(begin)
		made := map[uint64]*event.Call{} // exceptions that are not revoked -> the calls at which the person looked
		next := func(cause uint64, body event.Body) event.Event {
			seq++
			return event.Event{V: event.Version, Seq: seq, At: at, Session: "s1", Cause: cause, Body: body}
		}
		apply := func(e event.Event) {
			with.Apply(e)
			if e.Body.Kind() != "exception" && e.Body.Kind() != "revoked" {
				without.Apply(e)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at = at.Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, time.Hour, 13 * time.Hour}).Draw(t, "later"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				data, err := with.Snapshot(at)
				if err == nil {
					with, err = rules.RestoreState(p, data)
				}
				if err != nil {
					t.Fatal(err)
				}
				continue
			case 1:
				if list := with.Exceptions(at); len(list) > 0 {
					gone := rapid.SampledFrom(list).Draw(t, "revoked").Seq
					apply(next(gone, &event.Revoked{Who: "local:u"}))
					delete(made, gone)
				}
				continue
			}
			c := drawnCall(t)
			e := next(0, c)
			v, bare := with.Decide(e), without.Decide(e)
			apply(e)
			apply(next(e.Seq, &v))
			excepted := slices.DeleteFunc(slices.Clone(v.Also), func(m event.Match) bool { return !m.Excepted })
			switch {
			case v.Action == bare.Action && bare.Action != event.Hold && v.Why == bare.Why:
			case v.Action == event.Hold && bare.Action == event.Hold:
			case v.Action != event.Allow || bare.Action != event.Hold || len(excepted) == 0:
				t.Fatalf("without exceptions\n%+v\nwith them\n%+v", bare, v)
			default:
				passed++
			}
			for _, m := range excepted {
				was := made[m.Exception]
				if m.Action != event.Hold || was == nil {
					t.Fatalf("%+v of an exception that there is not", m)
				}
				x := with.Exceptions(at)[slices.IndexFunc(with.Exceptions(at), func(x rules.Exception) bool { return x.Seq == m.Exception })]
				same := was.Server == c.Server && was.Tool == c.Tool && was.Principal == c.Principal && was.Agent == c.Agent && was.Workspace == c.Workspace
				if len(x.With) == 0 {
					same = same && len(c.Findings) == 0 && reflect.DeepEqual(read(t, was.Args), read(t, c.Args))
				}
				for _, a := range x.With {
					name := strings.TrimPrefix(a.Path, "args.")
					then, now := read(t, was.Args).(map[string]any), read(t, c.Args).(map[string]any)
					hidden := slices.ContainsFunc(c.Findings, func(f event.Finding) bool { return f.Path == a.Path || f.Path == "args" })
					same = same && !hidden && reflect.DeepEqual(then[name], now[name])
				}
				if !same || x.Expires <= at {
					t.Fatalf("exception %+v of\n%+v\nis taken to be about\n%+v", x, was, c)
				}
			}
			if v.Action != event.Hold || rapid.Bool().Draw(t, "denied") {
				if v.Action == event.Hold {
					end := next(e.Seq, &event.Expired{Reason: "nobody decided"})
					v = with.Decide(end)
					apply(end)
					apply(next(e.Seq, &v))
				}
				continue
			}
			x, err := with.Propose(e.Seq, rapid.SampledFrom([][]string{nil, {"k"}, {"n"}, {"k", "n"}}).Draw(t, "where"))
			if err == nil {
				x.Who, x.Expires = "local:u", at.Add(rapid.SampledFrom([]time.Duration{time.Minute, 24 * time.Hour}).Draw(t, "for"))
				one := next(e.Seq, x)
				apply(one)
				made[one.Seq] = c
			}
			end := next(e.Seq, &event.Review{Who: "local:u", Approve: true})
			v = with.Decide(end)
			if err == nil && v.Action.Passes() && !slices.ContainsFunc(v.Also, func(m event.Match) bool { return m.Exception != 0 && m.Excepted }) {
				t.Fatalf("what is remembered is not about its own call: %+v\n%+v", x, v)
			}
			apply(end)
			apply(next(e.Seq, &v))
		}
	})
	if passed == 0 {
		t.Error("no exception was ever about a call")
	}
}

// What is beyond the most exceptions has no effect, and neither have those that no person makes: of nothing in particular, or for
// longer than people can.
func TestAnExceptionThatNobodyMakesHasNoEffect(t *testing.T) {
	p, err := compile(`rules: [{name: ask, on: "*/*", do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	s := rules.NewState(p)
	at := event.At(begin)
	call := event.Event{V: 1, Seq: 1, At: at, Session: "s1", Body: &event.Call{Server: "a", Tool: "x", Args: json.RawMessage(`{"k":1}`), Peer: event.Peer{Principal: "u", Agent: "m"}}}
	v := s.Decide(call)
	s.Apply(call)
	s.Apply(event.Event{V: 1, Seq: 2, At: at, Session: "s1", Cause: 1, Body: &v})
	real, err := s.Propose(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	real.Expires = at.Add(365 * 24 * time.Hour)
	for name, change := range map[string]func(x *event.Exception){
		"of all arguments": func(x *event.Exception) { x.Args = "" },
		"of a path that is none": func(x *event.Exception) {
			x.Args, x.With = "", []event.Argument{{Path: "k", Value: json.RawMessage("1")}}
		},
		"of a value that is none": func(x *event.Exception) {
			x.Args, x.With = "", []event.Argument{{Path: "args.k", Value: json.RawMessage("[1")}}
		},
		"of a list": func(x *event.Exception) {
			x.Args, x.With = "", []event.Argument{{Path: "args.k", Value: json.RawMessage("[1]")}}
		},
		"of every principal": func(x *event.Exception) { x.Principal = "" },
		"of every tool":      func(x *event.Exception) { x.Tool = "*" },
		"of every rule":      func(x *event.Exception) { x.Rules = nil },
		"of any definition":  func(x *event.Exception) { x.Rules = []event.Ruling{{Name: "ask"}} },
		"that is over":       func(x *event.Exception) { x.Expires = at },
	} {
		forged := *real
		change(&forged)
		s := rules.NewState(p)
		s.Apply(event.Event{V: 1, Seq: 3, At: at, Body: &forged})
		if v := s.Decide(call); v.Action != event.Hold {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for i := range rules.MaxExceptions + 1 {
		x := *real
		if i < rules.MaxExceptions {
			x.Tool = fmt.Sprint(i)
		}
		s.Apply(event.Event{V: 1, Seq: 3 + uint64(i), At: at, Body: &x})
	}
	if v := s.Decide(call); v.Action != event.Hold || len(s.Exceptions(at)) != rules.MaxExceptions {
		t.Errorf("%+v", v)
	}
	later := at.Add(rules.MaxExcepted)
	if n := len(s.Exceptions(later - 1)); n != rules.MaxExceptions {
		t.Errorf("%d are in force", n)
	}
	if n := len(s.Exceptions(later)); n != 0 {
		t.Errorf("%d are in force after %v", n, rules.MaxExcepted)
	}
}

// Whatever a policy looks like and whatever is remembered, the edits say the same as the exception, and nothing else changes.
func TestWhatIsRememberedCanBeWrittenIntoThePolicy(t *testing.T) {
	styles := []string{
		"rules: [{name: ask, on: a/x, do: hold}]",
		"rules:\n- name: ask\n  do: hold\n  on: a/x\n",
		"# é 😀\nrules:\n  - on: [a/x, b/*]  # both\n    name: ask\n    do: 'hold' # or not\n    # the end\n\n  - {name: other, on: c/d, do: deny}\n",
		"rules:\r\n    -   name: ask\r\n        on: a/x\r\n        do: hold\r\n",
		"rules:\n  - name: ask\n    except:\n    - {on: b/c, until: 2026-12-01}\n    do: hold\n    on: a/x\n",
		"rules:\n  - name: ask\n    except: # some\n\n        # more\n        -  on: b/c\n           until: 2026-12-01\n    do: hold\n    on: a/x\n",
		"rules:\n  - {name: é-less, on: 'a/é', do: log}\n  - {on: a/x, where: '\"é😀\" != args.k', name: ask, except: [ {on: b/c, until: 2026-12-01}], do: hold}\n",
		"rules:\n  - name: ask\n    on: a/x\n    where: |\n      true &&\n        true\n    do: hold\n  - {name: ask2, on: a/*, do: hold}\n",
	}
	values := []string{
		`"p"`, `""`, `"true"`, `"no"`, `"007"`, `"1e5"`, `"~"`, `"- x: {y}"`, `"a: b # c"`, `"é😀\u202e\u0000\n\t\"\\"`, `"2026-12-01"`, `"\ufeff"`, `" x "`, `"%x"`, `"` + strings.Repeat("x", 2000) + `"`,
		"1", "-0", "0.10", "1e5", "1E400", "-1.5e-7", "12345678901234567890.5", "123456789012345678901234567890", "true", "false", "null", "[]", `[1,[{"é: {":null}],"x"]`, `{"a":{"b":"c"}}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom(styles).Draw(t, "policy")
		p, err := compile(strings.ReplaceAll(text, "é-less", "e-less"))
		if err != nil {
			t.Fatal(err)
		}
		s := rules.NewState(p)
		at := event.At(begin)
		args := fmt.Sprintf(`{"k":%s,"n m":%s}`, rapid.SampledFrom(values).Draw(t, "k"), rapid.SampledFrom(values).Draw(t, "n"))
		peer := event.Peer{Principal: "local:u", Agent: rapid.SampledFrom([]string{"m", "no", "a: b", "é\u202e", "x\n- y", "'", `"`}).Draw(t, "agent"), Workspace: rapid.SampledFrom([]string{"", "/w", `C:\é w`}).Draw(t, "workspace")}
		call := event.Event{V: 1, Seq: 1, At: at, Session: "s1", Body: &event.Call{Server: "a", Tool: "x", Args: json.RawMessage(args), Peer: peer}}
		v := s.Decide(call)
		s.Apply(call)
		s.Apply(event.Event{V: 1, Seq: 2, At: at, Session: "s1", Cause: 1, Body: &v})
		x, err := s.Propose(1, rapid.SampledFrom([][]string{nil, {"k"}, {"n m", "k"}}).Draw(t, "where"))
		if err != nil {
			return // a list, or nothing
		}
		x.Who, x.Note, x.Expires = "local:u", rapid.SampledFrom([]string{"", "x: y # z\n\u202e"}).Draw(t, "note"), at.Add(24*time.Hour)
		edits, err := p.Except(x, []byte(args))
		if err != nil && len(x.With) > 0 && (strings.Contains(args, "1E400") || strings.Contains(args, "123456789012345678901234567890")) {
			return // no number in YAML: it is refused
		}
		if err != nil {
			t.Fatalf("%s: %+v: %v", text, x, err)
		}
		amended, err := compile(rules.Rewrite(p.Loaded().Sources[0].Text, 0, edits))
		if err != nil {
			t.Fatal(err)
		}
		if v := rules.NewState(amended).Decide(call); v.Action != event.Allow || !strings.Contains(v.Why, " by the policy until 2026-11-24T08:00:00Z") {
			t.Fatalf("%s\n%+v", rules.Rewrite(p.Loaded().Sources[0].Text, 0, edits), v)
		}
		other := *call.Body.(*event.Call)
		other.Args = json.RawMessage(strings.Replace(args, `{"k":`, `{"k":0,"K":`, 1))
		call.Body = &other
		if v := rules.NewState(amended).Decide(call); v.Action != event.Hold {
			t.Fatalf("%+v", v)
		}
	})
}

// A tool whose name is a pattern to policies cannot be written into one, and so it is not remembered.
func TestWhatCannotBeShownIsNotRemembered(t *testing.T) {
	p, err := compile(`rules: [{name: ask, on: "*/*", do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"*", "x?", `x\`, "x y"} {
		s, at := rules.NewState(p), event.At(begin)
		call := event.Event{V: 1, Seq: 1, At: at, Session: "s1", Body: &event.Call{Server: "a", Tool: tool, Args: json.RawMessage(`{}`), Peer: event.Peer{Principal: "u", Agent: "m"}}}
		v := s.Decide(call)
		s.Apply(call)
		s.Apply(event.Event{V: 1, Seq: 2, At: at, Session: "s1", Cause: 1, Body: &v})
		x, err := s.Propose(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		x.Expires = at.Add(time.Hour)
		if edits, err := p.Except(x, []byte("{}")); err == nil {
			t.Errorf("%q: %+v", tool, edits)
		}
	}
}

// Exceptions are from rules with do: hold: not from the doubts about a tool, and not from a rule that denies and cannot tell.
func TestNothingElseIsExceptedThanWhatHolds(t *testing.T) {
	p, err := compile(`rules: [{name: ask, on: "a/*", do: hold}, {name: tools, on: "b/*", catalog: changed, do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ server, want string }{{"a", "catalog holds it for what its tool says about itself"}, {"b", "tools holds it for what its tool says about itself"}} {
		s, at, seq := rules.NewState(p), event.At(begin), uint64(0)
		apply := func(cause uint64, body event.Body) uint64 {
			seq++
			s.Apply(event.Event{V: 1, Seq: seq, At: at, Session: "s1", Cause: cause, Body: body})
			return seq
		}
		apply(0, &event.Catalog{Server: tc.server, Tools: []event.Tool{{Name: "x", Pin: "1"}}})
		apply(0, &event.Catalog{Server: tc.server, Tools: []event.Tool{{Name: "x", Pin: "2", Doubts: []event.Doubt{{Kind: event.Changed}}}}})
		c := &event.Call{Server: tc.server, Tool: "x", Args: json.RawMessage(`{}`), Peer: event.Peer{Principal: "u", Agent: "m"}}
		v := s.Decide(event.Event{V: 1, Seq: 3, At: at, Session: "s1", Body: c})
		call := apply(0, c)
		apply(call, &v)
		if _, err := s.Propose(call, nil); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "umpire tools accept") {
			t.Errorf("%s: %v after %+v", tc.server, err, v)
		}
	}
}
