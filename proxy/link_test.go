package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

const noDeletes = `rules: [{name: no-deletes, on: "billing/delete_*", do: deny}]`

// Ids that come back as they were sent: what is equal to a parser is not to another.
var rawIDs = []string{
	`1`, `1.0`, `1e3`, `1E+3`, `-0`, `-7`, `9007199254740993`, `123456789012345678901234567890`, `""`, `"1"`, `"a\u0062"`, `"\""`, `"<&>"`,
	"\"\u2028\"", `"\u2028"`, `"\ud83d\ude00"`, `"9f2c6a0e-4d5b-4a86-9a35-1b0c5d2f7e11"`,
}

// Invariant 5: what is judged is what is forwarded.
func TestAllowedBytesGoOnUnchanged(t *testing.T) {
	x := begin(t, noDeletes)
	for _, frame := range []string{
		`{"params":{"arguments":{"b":1,"a":2},"name":"read"},"id":101,"method":"tools/call","jsonrpc":"2.0"}`,
		` { "jsonrpc" : "2.0" ,	"id" : 2.50 , "method" : "tools/call" , "params" : { "name" : "read" } } `,
		`{"jsonrpc":"2.0","id":103,"method":"tools\/call","params":{"n\u0061me":"r\u0065ad","arguments":{"p":"\/\u00e9é<&>😀\ud83d\ude00"}}}`,
		`{"jsonrpc":"2.0","id":104,"method":"tools/call","params":{"name":"read","arguments":{"n":12345678901234567890123,"f":1.00,"e":1E2,"z":-0}}}`,
		`{"jsonrpc":"2.0","id":105,"method":"tools/call","params":{"name":"read","arguments":null,"x":[],"_meta":{"progressToken":0,"y":{}}},"z":true}`,
		`{"jsonrpc":"2.0","id":106,"method":"tools/call","params":{"name":"read","arguments":{"name":"delete_order","Name":1,"method":"x"}}}`,
		`{"jsonrpc":"2.0","id":107,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":108,"method":"unheard/of","params":null}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":99,"result":{"roots":[]}}`,
		`{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"x","data":{"Code":2}}}`,
	} {
		x.pass(frame)
	}
	for i, id := range rawIDs {
		x.pass(toolCall(id, "read", fmt.Sprintf(`{"i":%d}`, i)))
		answer := fmt.Sprintf(`{ "result":{"isError":false,"x":1.0,"content":[ ]},"id":%s,"jsonrpc":"2.0"}`, id)
		x.say(x.server, answer)
		x.hears(x.client, answer)
	}
	var ids []string
	for _, c := range logged[*event.Call](x) {
		ids = append(ids, string(c.ID))
	}
	if !slices.Equal(ids[6:], rawIDs) {
		t.Errorf("recorded ids: %q", ids)
	}
}

func TestADeniedCallIsAnsweredAsAToolResult(t *testing.T) {
	for name, meta := range map[string]string{
		"": "", "modern": `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`,
	} {
		x := begin(t, noDeletes)
		for _, id := range rawIDs {
			frame := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"delete_order","arguments":{"order":"o1"}%s}}`, id, meta)
			x.say(x.client, frame)
			reply := x.hear(x.client)
			text, verdict := denied(t, reply, id)
			want := "Umpire denied billing/delete_order: the policy names billing/delete_* (rule no-deletes). Repeating the same call will not help."
			if text != want {
				t.Errorf("got  %s\nwant %s", text, want)
			}
			if kind := gjson.Get(reply, "result.resultType").Str; kind != map[string]string{"": "", "modern": "complete"}[name] {
				t.Errorf("%s: resultType %q", name, kind)
			}
			events := x.log()
			last := events[len(events)-2]
			if c, ok := last.Body.(*event.Call); !ok || string(c.ID) != id || verdict.Get("call").Uint() != last.Seq || verdict.Get("rule").Str != "no-deletes" {
				t.Errorf("%s does not name %+v", verdict.Raw, last)
			}
		}
		x.serverHeardNoMore()
	}
}

func TestADenialSaysWhatWouldPass(t *testing.T) {
	for _, tc := range []struct {
		v    event.Verdict
		want string
	}{
		{event.Verdict{Why: "no"}, "Umpire denied a/b: no. Repeating the same call will not help."},
		{event.Verdict{Why: "no", Rule: "r", Hint: "less"}, "Umpire denied a/b: no (rule r). Allowed: less. Repeating the same call will not help."},
		{event.Verdict{Why: "no", RetryMS: 1}, "Umpire denied a/b: no. This call can pass in 100ms, not before."},
		{event.Verdict{Why: "no", RetryMS: 9_701}, "Umpire denied a/b: no. This call can pass in 9.8s, not before."},
		{event.Verdict{Why: "no", RetryMS: 60_000}, "Umpire denied a/b: no. This call can pass in 1m, not before."},
		{event.Verdict{Why: "no", RetryMS: 270_500}, "Umpire denied a/b: no. This call can pass in 4m31s, not before."},
		{event.Verdict{Why: "no", RetryMS: 600_000}, "Umpire denied a/b: no. This call can pass in 10m, not before."},
		{event.Verdict{Why: "no", RetryMS: 3_600_000}, "Umpire denied a/b: no. This call can pass in 1h, not before."},
		{event.Verdict{Why: "no", RetryMS: 83_990_000}, "Umpire denied a/b: no. This call can pass in 23h20m, not before."},
		{event.Verdict{Why: "no", RetryMS: 36_000_000}, "Umpire denied a/b: no. This call can pass in 10h, not before."},
	} {
		if got := proxy.Explain("a/b", tc.v); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

// The model is never told to come back too early.
func TestARetryIsNotBeforeItsTime(t *testing.T) {
	for ms := int64(1); ms < 200_000_000; ms = ms*3/2 + 1 {
		text := proxy.Explain("a/b", event.Verdict{Why: "no", RetryMS: ms})
		_, rest, _ := strings.Cut(text, "can pass in ")
		wait, _, _ := strings.Cut(rest, ",")
		if d, err := time.ParseDuration(wait); err != nil || d < time.Duration(ms)*time.Millisecond {
			t.Errorf("%d ms: %s (%v)", ms, text, err)
		}
	}
}

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestToolsThatThePolicyDeniesAreLeftOut(t *testing.T) {
	const (
		read = `{"name":"read_order","description":"Reads <b>","inputSchema": {"type":"object"},"annotations":{"readOnlyHint":true}}`
		del  = `{ "name" : "delete_order" }`
		more = `{"name":"r\u0065fund","x":1.50}`
	)
	for name, tc := range map[string]struct{ policy, want string }{
		"a rule":                {noDeletes, `[` + read + `,` + more + `]`},
		"a rule that observes":  {`{mode: observe, rules: [{name: n, on: "billing/*", do: deny}]}`, ""},
		"a rule with condition": {`rules: [{name: n, on: "billing/*", where: "args.x == 1", do: deny}]`, ""},
		"another server's rule": {`rules: [{name: n, on: "mail/*", do: deny}]`, ""},
		"an allow list":         {`allow: [billing/read_order]`, `[` + read + `]`},
		"an allow list, escape": {`allow: [billing/refund]`, `[` + more + `]`},
		"an empty allow list":   {`allow: []`, `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, tc.policy)
			x.pass(listTools)
			list := `{"jsonrpc":"2.0", "id":1,"result":{"_meta":{"k":1},"tools":[` + read + `,` + del + `,` + more + `],"nextCursor":"c\u0032"} }`
			want := list
			if tc.want != "" {
				want = strings.Replace(list, `[`+read+`,`+del+`,`+more+`]`, tc.want, 1)
			}
			x.say(x.server, list)
			x.hears(x.client, want)
			catalogs := logged[*event.Catalog](x)
			if len(catalogs) != 1 || len(catalogs[0].Tools) != 3 { // what is hidden is known nevertheless
				t.Fatalf("%+v", catalogs)
			}
			if r := catalogs[0].Tools[0]; r.Description != "Reads <b>" || string(r.InputSchema) != `{"type":"object"}` || len(r.Pin) != 64 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestACallOffTheAllowListIsDenied(t *testing.T) {
	x := begin(t, `allow: [billing/read_order]`)
	x.pass(toolCall("1", "read_order", "{}"))
	for _, tool := range []string{"delete_order", "READ_ORDER", "read_order ", " read_order", "read_order/x", "read_order\u0000", "read＿order"} {
		x.say(x.client, toolCall("2", tool, "{}"))
		if _, v := denied(t, x.hear(x.client), "2"); v.Get("rule").Str != "allow" {
			t.Errorf("%q: %s", tool, v.Raw)
		}
	}
	x.serverHeardNoMore()
}

func TestACatalogIsRecordedOnceAndWhenItChanges(t *testing.T) {
	x := begin(t, noDeletes)
	for _, tools := range []string{
		`{"name":"a"},{"name":"b"}`, `{"name":"a"},{"name":"b"}`, `{"name":"b"},{"name":"a","description":"now evil"}`, `{"name":"b"}`, `{"x":1},7,{"name":5}`,
	} {
		x.pass(listTools)
		x.say(x.server, result("1", `{"tools":[`+tools+`]}`))
		x.hears(x.client, result("1", `{"tools":[`+tools+`]}`))
	}
	var got []string
	for _, c := range logged[*event.Catalog](x) {
		for _, tool := range c.Tools {
			got = append(got, tool.Name+" "+tool.Description)
		}
	}
	if want := []string{"a ", "b ", "a now evil"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A definition that is too long to keep is still known by its digest.
func TestALongDefinitionIsNotKept(t *testing.T) {
	x := begin(t, noDeletes)
	for _, last := range []string{"x", "y"} {
		x.pass(listTools)
		list := result("1", `{"tools":[{"name":"a","description":"`+strings.Repeat("x", 256<<10)+last+`"}]}`)
		x.say(x.server, list)
		x.hears(x.client, list)
	}
	if got := logged[*event.Catalog](x); len(got) != 2 || got[0].Tools[0].Description != "" || got[0].Tools[0].Pin == got[1].Tools[0].Pin {
		t.Errorf("%d catalogs", len(got))
	}
}

const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"claude-code","version":"2.1"}}}`

func TestInitializeTellsWhoTalks(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(hello)
	welcome := result("0", `{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`)
	x.say(x.server, welcome)
	x.hears(x.client, welcome)
	x.pass(toolCall("1", "read", "{}"))
	opened := logged[*event.Opened](x)
	if len(opened) != 1 || opened[0].Protocol != "2025-06-18" || opened[0].Agent != "claude-code" || opened[0].Client != (event.Client{Name: "claude-code", Version: "2.1"}) {
		t.Errorf("%+v", opened)
	}
	if c := logged[*event.Call](x)[0]; c.Agent != "claude-code" || c.Principal != support.Peer.Principal || c.Process != support.Peer.Process {
		t.Errorf("%+v", c.Peer)
	}
}

func TestModernRequestsTellWhoTalks(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"codex","version":"9"}}}}`)
	if o := logged[*event.Opened](x)[0]; o.Protocol != "2026-07-28" || o.Agent != "codex" || o.Client.Version != "9" {
		t.Errorf("%+v", o)
	}
}

// Ids that a client asserts refine the session, and only for the message that has them.
func TestConversationsOfOneConnectionAreSessionsOfTheirOwn(t *testing.T) {
	x := begin(t, noDeletes)
	sessions := map[string]string{}
	for i, tc := range []struct{ meta, as string }{
		{`{}`, "none"},
		{`{"sessionId":"s1"}`, "s1"},
		{`{"sessionId":"s2"}`, "s2"},
		{`{"threadId":"s1"}`, "thread s1"},
		{`{"sessionId":"s1","threadId":"t9"}`, "s1"},
		{`{"sessionId":7,"x":"s1"}`, "none"},
		{`{"sessionId":""}`, "none"},
		{`{"sessionId":"s1"}`, "s1"},
		{`{}`, "none"},
	} {
		x.pass(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"read","_meta":%s}}`, i, tc.meta))
		events := x.log()
		last := events[len(events)-1].Session
		if was, ok := sessions[tc.as]; ok && was != last {
			t.Errorf("%s is session %s, it was %s", tc.meta, last, was)
		}
		sessions[tc.as] = last
	}
	distinct := map[string]bool{}
	for _, s := range sessions {
		distinct[s] = true
	}
	if len(distinct) != 4 {
		t.Errorf("%v", sessions)
	}
	if c := logged[*event.Call](x)[4]; c.Asserted["sessionId"] != "s1" || c.Asserted["threadId"] != "t9" {
		t.Errorf("%+v", c.Peer)
	}
}

// What Codex says of a call in its _meta is recorded, and binds it to what its stream has announced under the id of an item.
func TestTheIdsOfACodexCallBindIt(t *testing.T) {
	x := begin(t, noDeletes)
	turn := &event.Turn{
		Role: event.RoleAssistant, Source: "model:openai", Trust: event.Trusted, Peer: support.Peer,
		Uses: []event.Use{{Item: "fc_1", Server: "billing", Tool: "read"}, {Item: "fc_2", Server: "billing", Tool: "read"}},
	}
	if err := x.gate.Record(support, 0, turn).Wait(); err != nil {
		t.Fatal(err)
	}
	x.pass(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","_meta":{"itemId":"fc_2","threadId":"t1","progressToken":0,"x-codex-turn-metadata":{"turn_id":"7"},"itemid":"fc_1"}}}`)
	c := logged[*event.Call](x)[0]
	if c.Bound == nil || c.Bound.By != event.ByItem || c.Bound.Confidence != event.Exact || c.Asserted["itemId"] != "fc_2" || c.Asserted["turnId"] != "7" {
		t.Errorf("%+v %+v", c.Bound, c.Asserted)
	}
}

// Attempt: two requests under ids that are one for the server, so that an answer could belong to either.
func TestAnIDInFlightCannotBeUsedAgain(t *testing.T) {
	for _, tc := range []struct {
		first, second string
		same          bool
	}{
		{"1", "1", true},
		{"1", "1.0", true},
		{"1", "1e0", true},
		{"1e1", "10", true},
		{"0", "-0", true},
		{"0", "0e99", true},
		{"1e40", "10E39", true},
		{`"a"`, `"\u0061"`, true},
		{`"/"`, `"\/"`, true},
		{`"\""`, `"\u0022"`, true},
		{"1", `"1"`, false},
		{`""`, "0", false},
		{`"\""`, `"\\"`, false},
		{`"\"a"`, `"a"`, false},
		{"9007199254740993", "9007199254740992", false},
	} {
		t.Run(tc.first+" and "+tc.second, func(t *testing.T) {
			x := begin(t, noDeletes)
			x.pass(toolCall(tc.first, "read", "{}"))
			for _, again := range []string{toolCall(tc.second, "read", "{}"), fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, tc.second)} {
				if !tc.same {
					x.pass(again)
					break
				}
				x.say(x.client, again)
				failed(t, x.hear(x.client), tc.second, wire.CodeInvalidRequest)
				x.noted("id-in-use", tc.second)
			}
			x.serverHeardNoMore()
			x.say(x.server, result(tc.first, okResult))
			x.hears(x.client, result(tc.first, okResult))
			if tc.same {
				x.pass(toolCall(tc.second, "read", "{}")) // it was answered
			}
		})
	}
}

// The id of a call that was denied is free again.
func TestADeniedIDIsFree(t *testing.T) {
	x := begin(t, noDeletes)
	for range 3 {
		x.say(x.client, toolCall("1", "delete_order", "{}"))
		denied(t, x.hear(x.client), "1")
	}
	x.pass(toolCall("1", "read", "{}"))
}

func TestSecretsAreForwardedAndNotStored(t *testing.T) {
	x := begin(t, noDeletes)
	const password, token = "hunter2-hunter2", "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	x.pass(toolCall("1", "login", `{"user":"ann","PassWord":"`+password+`","note":"use `+token+`","esc":"\u0067hp_0123456789abcdefghijABCDEFGHIJ012345"}`))
	answer := result("1", `{"content":[{"type":"text","text":"`+token+`"}],"structuredContent":{"deep":[{"access_token":"`+password+`"}]}}`)
	x.say(x.server, answer)
	x.hears(x.client, answer)
	x.pass(toolCall("2", "login", `{"password":{"inner":"`+password+`"}}`))
	answer = `{"jsonrpc":"2.0","id":2,"error":{"code":5,"message":"bad token ` + token + `"}}`
	x.say(x.server, answer)
	x.hears(x.client, answer)
	x.say(x.client, `{"jsonrpc":"2.0","id":3,"method":"ping","`+token+`":1,"`+token+`":2}`)
	failed(t, x.hear(x.client), "3", wire.CodeInvalidRequest)
	x.say(x.server, `{"jsonrpc":"2.0","id":"`+token+`","result":{}}`)
	x.clientHeardNoMore()
	for _, e := range x.log() {
		text, err := e.MarshalJSON()
		if err != nil || strings.Contains(string(text), password) || strings.Contains(string(text), token) {
			t.Errorf("%s (%v)", text, err)
		}
	}
	c := logged[*event.Call](x)[0]
	if len(c.Findings) != 3 || c.Findings[0].Kind != event.Redacted || gjson.GetBytes(c.Args, "user").Str != "ann" {
		t.Errorf("%s %+v", c.Args, c.Findings)
	}
	if r := logged[*event.Result](x)[0]; len(r.Findings) != 2 {
		t.Errorf("%+v", r.Findings)
	}
}

// Over HTTP, who waits for an answer ends what is his when the server leaves it unanswered: not what another, with the same
// id, has asked since it was answered.
func TestWhoUsesAnIDAgainIsAnsweredForHimself(t *testing.T) {
	g := gate(t, &manual{}, policy(t, noDeletes), nil)
	defer g.Close()
	link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support})
	for _, text := range []string{toolCall("1", "read", "{}"), `{"jsonrpc":"2.0","id":1,"method":"ping"}`} {
		frame, err := wire.Parse([]byte(text), wire.FromClient)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := wire.Parse([]byte(result("1", okResult)), wire.FromServer)
		if err != nil {
			t.Fatal(err)
		}
		first := link.FromClient(&frame.Messages[0])
		first.Wait()
		if got, _ := link.FromServer(&answer.Messages[0]).Wait(); got == nil {
			t.Fatalf("%s is not answered", text)
		}
		second := link.FromClient(&frame.Messages[0])
		second.Wait()
		if lost := link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, "x", first.Only()); len(lost) > 0 {
			t.Errorf("who asked %s first was answered and ended the second: %s", text, lost)
		}
		if got, _ := link.FromServer(&answer.Messages[0]).Wait(); got == nil {
			t.Errorf("the second %s is not answered", text)
		}
	}
}
