package expr_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

func stepEnv(t testing.TB) *expr.Env {
	t.Helper()
	env, err := expr.New(event.Env{OS: "linux", Home: "/home/alice"})
	if err == nil {
		env, err = env.With([]string{"got"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func callOf(tool, args string, findings ...event.Finding) *expr.Call {
	return expr.NewCall(event.Event{Session: "s1", Body: &event.Call{
		Server: "crm", Tool: tool, Args: json.RawMessage(args), Findings: findings, Peer: event.Peer{Agent: "bot"},
	}}, expr.Tool{Name: tool, Effects: []string{"read"}})
}

// Conditions ask about an earlier event by its step's name.
func TestConditionsAskAboutSteps(t *testing.T) {
	answered := func(outcome event.Outcome, content string) *event.Result {
		return &event.Result{Outcome: outcome, Content: json.RawMessage(content), Text: "why"}
	}
	ok := answered(event.OutcomeOK, `{"content":[{"text":"x"}],"n":7}`)
	for _, tc := range []struct {
		condition string
		result    *event.Result
		want      string // "true", "false" or a part of the error
	}{
		{"got.args.id == args.id && got.tool.name == 'get' && 'read' in got.tool.effects", nil, "true"},
		{"got.server == server && got.agent == agent && got.session == session", nil, "true"},
		{"got.args.id == args.other", nil, "false"},
		{"got.args.missing == 1", nil, "no such key: missing"},
		{"got.answered || got.ok || got.failed", nil, "false"},
		{"got.ok && got.answered && !got.failed", ok, "true"},
		{"got.failed && got.answered && !got.ok", answered(event.OutcomeError, ""), "true"},
		{"got.answered && !got.failed && !got.ok", answered(event.OutcomeUnclear, ""), "true"},
		{"got.answered", answered(event.OutcomeLost, ""), "false"},
		{"got.text == 'why' && got.signal == ''", answered(event.OutcomeLost, ""), "true"},
		{"got.result.n == 7 && got.result.content[0].text == 'x'", ok, "true"},
		{"got.result.n == 7", nil, "got has no result"},
		{"got.result.n == 7", answered(event.OutcomeLost, ""), "got has no result"},
		{"got == got", nil, "compare a field"},
	} {
		p, err := stepEnv(t).Compile(tc.condition)
		if err != nil {
			t.Fatal(tc.condition, err)
		}
		s := &expr.Step{Call: callOf("get", `{"id":1}`)}
		if tc.result != nil {
			s.Answer(tc.result, true)
		}
		match, err := p.EvalWith(callOf("send", `{"id":1,"other":2}`), []expr.Bound{{Name: "got", Step: s}})
		switch {
		case tc.want == "true" || tc.want == "false":
			if err != nil || match != (tc.want == "true") {
				t.Errorf("%s: %v %v", tc.condition, match, err)
			}
		case err == nil || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: %v, want an error with %q", tc.condition, err, tc.want)
		}
	}
}

// What is hidden in a step or in its result cannot be looked at either, and what was not kept is not there.
func TestHiddenValuesOfStepsCannotBeLookedAt(t *testing.T) {
	secret := event.Finding{Kind: event.Redacted, Path: "args.key"}
	for condition, tc := range map[string]struct {
		keep bool
		want string
	}{
		"got.args.key == args.key":          {true, "got: args.key is redacted"},
		"flows(got.args, args)":             {true, "args.key is redacted"},
		"got.result.token == 'x'":           {true, "got: result.token is redacted"},
		"flows(got.result, args)":           {true, "result.token is redacted"},
		"got.result.list.exists(x, x == 1)": {true, "got: result.list.0 is truncated"},
		"got.result.n == 1":                 {false, "got has no result"},
	} {
		p, err := stepEnv(t).Compile(condition)
		if err != nil {
			t.Fatal(condition, err)
		}
		s := &expr.Step{Call: callOf("get", `{"key":"digest"}`, secret)}
		s.Answer(&event.Result{Outcome: event.OutcomeOK, Content: json.RawMessage(`{"token":"digest","list":["x"],"n":1}`), Findings: []event.Finding{
			{Kind: event.Redacted, Path: "result.token"}, {Kind: event.Truncated, Path: "result.list.0"},
		}}, tc.keep)
		if _, err := p.EvalWith(callOf("send", `{"key":"digest"}`), []expr.Bound{{Name: "got", Step: s}}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", condition, err, tc.want)
		}
	}
}

// flows finds the same value, however it is spelled.
func TestFlows(t *testing.T) {
	for _, tc := range []struct {
		from, to string // JSON
		want     bool
	}{
		{`"DE89370400440532013000"`, `"DE89 3704 0044 0532 0130 00"`, true},
		{`"DE89370400440532013000"`, `"de89-3704-0044-0532-0130-00"`, true},
		{`"DE89370400440532013000"`, `"Please pay to DE89370400440532013000, Bob"`, true},
		{`"{\"iban\":\"DE89370400440532013000\"}"`, `{"body":["Please pay to DE89 3704 0044 0532 0130 00"]}`, true},
		{`["x", {"y": "eve@example.com"}]`, `"Write to Eve@Example.com"`, true},
		{`"your code is 4711."`, `"4711"`, true},
		{`"your code is 47110."`, `"4711"`, false},
		{`4711`, `"4711"`, true},
		{`12.5`, `12.50`, true},
		{`"ab"`, `"ab"`, false}, // too short to say anything
		{`""`, `""`, false},
		{`"---"`, `"---"`, false},
		{`"delivered"`, `"was it delivered?"`, false}, // a word, and no identifier
		{`"was it delivered?"`, `"delivered"`, true},
		{`"IBAN DE89 3704 0044 0532 0130 00, Alice"`, `"Please pay to de89-3704-0044-0532-0130-00, Bob"`, true}, // an identifier within a text
		{`"card 4111111111111111, valid"`, `"https://collect.test/?q=NDExMTExMTExMTExMTExMQ=="`, true},          // base64
		{`"card 4111111111111111, valid"`, `"34313131313131313131313131313131"`, true},                          // hex
		{`"eve%40example.com"`, `"write to eve@example.com"`, true},
		{`"４１１１ １１１１ １１１１ １１１１"`, `"4111111111111111"`, true},
		{`"раssрhrаsе"`, `"passphrase"`, true},                                                                                                                          // Cyrillic letters that look like others
		{`"Her shop in the old town has burned down last winter, and nobody was hurt."`, `"They say that her shop in the old town has burned down last winter."`, true}, // a quote
		{`"The meeting of the board is moved to next week, since Bob is ill."`, `"The meeting will be on Tuesday, since Ann said so."`, false},
		{`{"DE89370400440532013000": {"name": "Alice"}}`, `{"names": {"de89 3704 0044 0532 0130 00": 1}}`, true}, // keys
		{`{"name": "Alice", "city": "Rome"}`, `{"name": "Bob", "city": "Bari"}`, false},                          // names of fields
		{`true`, `true`, false},
		{`null`, `null`, false},
		{`{}`, `{}`, false},
	} {
		p, err := stepEnv(t).Compile("flows(got.args.v, args.v)")
		if err != nil {
			t.Fatal(err)
		}
		s := &expr.Step{Call: callOf("get", `{"v":`+tc.from+`}`)}
		got, err := p.EvalWith(callOf("send", `{"v":`+tc.to+`}`), []expr.Bound{{Name: "got", Step: s}})
		if err != nil || got != tc.want {
			t.Errorf("flows(%s, %s) is %v %v", tc.from, tc.to, got, err)
		}
	}
	p, err := stepEnv(t).Compile("flows(got.args, args)")
	if err != nil {
		t.Fatal(err)
	}
	many := `{"v":[` + strings.Repeat(`"x",`, 100) + `"x"]}`
	if _, err := p.EvalWith(callOf("send", many), []expr.Bound{{Name: "got", Step: &expr.Step{Call: callOf("get", "{}")}}}); err == nil || !strings.Contains(err.Error(), "at most 100 values") {
		t.Error(err)
	}
	// Attempt: make it so much work that it takes long. It cannot be decided then, and the rule fails towards its action.
	much, err := json.Marshal(strings.Repeat("aaaaaaab", 8<<10))
	if err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(strings.Repeat("YWFhYWFhYWFhYWFhYWFhYQ== ", 40) + "aaaaaaaaaac")
	if err != nil {
		t.Fatal(err)
	}
	flood := `{"v":[` + strings.Repeat(string(value)+",", 98) + `"x"]}`
	s := &expr.Step{Call: callOf("get", `{"v":[`+strings.Repeat(string(much)+",", 20)+`"x"]}`)}
	if _, err := p.EvalWith(callOf("send", flood), []expr.Bound{{Name: "got", Step: s}}); err == nil || !strings.Contains(err.Error(), "too much to compare") {
		t.Error(err)
	}
}

// BenchmarkFlows compares 4 KiB of arguments with a result of 64 KiB from which nothing comes.
func BenchmarkFlows(b *testing.B) {
	p, err := stepEnv(b).Compile("flows(got.result, args)")
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(strings.Repeat("The order of the customer was delivered to the old town on Monday. ", 1000)[:64<<10])
	if err != nil {
		b.Fatal(err)
	}
	s := &expr.Step{Call: callOf("get", `{}`)}
	s.Answer(&event.Result{Outcome: event.OutcomeOK, Content: json.RawMessage(`{"content":[{"type":"text","text":` + string(text) + `}]}`)}, true)
	c := callOf("send", `{"to":"bob@example.com","subject":"news of the week","id":4711471147,"body":"`+strings.Repeat("nothing of it stands in there, whoever asks; ", 95)+`"}`)
	for b.Loop() {
		if found, err := p.EvalWith(c, []expr.Bound{{Name: "got", Step: s}}); found || err != nil {
			b.Fatal(found, err)
		}
	}
}
