package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// shows is a tools/call of the revision 2026-07-28, of a client that shows forms. Params are more of its params.
func shows(id, args, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"issue_refund","arguments":%s%s,`+
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}},`+
		`"io.modelcontextprotocol/clientInfo":{"name":"bot","version":"2"}}}}`, id, args, params)
}

// again are the params with which a client calls again.
func again(state, answer string) string {
	return fmt.Sprintf(`,"inputResponses":{"umpire":%s},"requestState":%q`, answer, state)
}

// inputRequired checks that a frame asks the user about the call with this raw id, and returns the state that the client gives back.
func inputRequired(t testing.TB, frame, id string) (state string) {
	t.Helper()
	r := gjson.Get(frame, "result")
	if _, err := wire.Parse([]byte(frame), wire.FromServer); err != nil || gjson.Get(frame, "id").Raw != id || r.Get("resultType").Str != "input_required" ||
		r.Get("inputRequests.umpire.method").Str != "elicitation/create" || r.Get("requestState").Str == "" {
		t.Fatalf("%s asks no user about %s (%v)", frame, id, err)
	}
	asked(t, r.Get("inputRequests.umpire.params"))
	return r.Get("requestState").Str
}

// Since 2026-07-28 the call is answered with the question, and made again with the answer. The server gets the call as it
// was made, but for its new id; it is one call, and it is recorded as one.
func TestAUserDecidesBeforeTheCallIsMadeAgain(t *testing.T) {
	for answer, want := range map[string]event.Review{yes: {Approve: true, Note: "Ann called"}, no: {Note: "not today"}, decline: {}} {
		x := inClient(t, heldRefunds)
		x.say(x.client, shows("7", `{ "amount":1.10 }`, ""))
		state := inputRequired(t, x.hear(x.client), "7")
		held(t, x.gate, 1)
		x.say(x.client, shows(`"x"`, `{ "amount":1.10 }`, again(state, answer)))
		if want.Approve {
			x.hears(x.server, shows(`"x"`, `{ "amount":1.10 }`, ""))
			x.say(x.server, result(`"x"`, okResult))
			x.hears(x.client, result(`"x"`, okResult))
		} else {
			frame := x.hear(x.client)
			if text, _ := denied(t, frame, `"x"`); !strings.Contains(text, "client:bot (local:alice) denied it") || gjson.Get(frame, "result.resultType").Str != "complete" {
				t.Error(frame)
			}
		}
		x.serverHeardNoMore()
		if r := x.reviewed(); r.Who != "client:bot (local:alice)" || r.Approve != want.Approve || r.Note != want.Note {
			t.Errorf("%s: %+v", answer, r)
		}
		if calls := logged[*event.Call](x); len(calls) != 1 || string(calls[0].ID) != "7" {
			t.Errorf("%d calls are recorded", len(calls))
		}
		if want.Approve {
			if got := kinds(x.log()); got != "loaded opened call verdict review verdict result" {
				t.Error(got)
			}
		}
	}
}

// What is no decision leaves the call on hold, and the client waits for the other reviewers as it does elsewhere.
func TestACallMadeAgainWithoutADecisionWaits(t *testing.T) {
	for i, answer := range []string{closes, `{}`, `{"action":"accept","content":{"decision":"yes"}}`, `[]`, `{"decision":"approve"}`} {
		x := inClient(t, heldRefunds)
		x.say(x.client, shows("1", "{}", ""))
		state := inputRequired(t, x.hear(x.client), "1")
		x.say(x.client, shows("2", "{}", again(state, answer)))
		x.serverHeardNoMore()
		d := approve
		if i%2 == 1 {
			d = refuse
		}
		decide(t, x.gate, held(t, x.gate, 1)[0].Call, d)
		if d.Approve {
			x.hears(x.server, shows("2", "{}", ""))
		} else {
			denied(t, x.hear(x.client), "2")
		}
		if r := x.reviewed(); r.Who != d.Who {
			t.Errorf("%+v", r)
		}
	}
}

// Whoever decides first, decides. But what its own user does not want, although somebody has approved it, is not sent: it can still be
// kept from the server.
func TestWhatIsDecidedElsewhereIsCollected(t *testing.T) {
	for name, tc := range map[string]struct {
		how          review.Decision
		answer       string
		passes       bool
		event, words string
	}{
		"approved":                      {approve, yes, true, "call verdict review verdict result", ""},
		"approved, and no answer":       {approve, closes, true, "call verdict review verdict result", ""},
		"denied, and approved too late": {refuse, yes, false, "call verdict review verdict", "local:bob denied it"},
		"approved, and declined":        {approve, decline, false, "call verdict review verdict result", "its user declined it in the client (although local:ann approved it"},
		"approved, and denied":          {approve, no, false, "call verdict review verdict result", "its user declined it in the client"},
	} {
		x := inClient(t, heldRefunds)
		x.say(x.client, shows("1", "{}", ""))
		state := inputRequired(t, x.hear(x.client), "1")
		decide(t, x.gate, held(t, x.gate, 1)[0].Call, tc.how)
		x.say(x.client, shows("2", "{}", again(state, tc.answer)))
		if tc.passes {
			x.hears(x.server, shows("2", "{}", ""))
			x.say(x.server, result("2", okResult))
			x.hears(x.client, result("2", okResult))
		} else if text, _ := denied(t, x.hear(x.client), "2"); !strings.Contains(text, tc.words) {
			t.Errorf("%s: %s", name, text)
		}
		x.serverHeardNoMore()
		if got := kinds(x.log()); got != "loaded opened "+tc.event {
			t.Errorf("%s: %s", name, got)
		}
		for _, r := range logged[*event.Result](x) {
			if tc.passes != (r.Outcome == event.OutcomeOK) || !tc.passes && r.Outcome != event.OutcomeError {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// An approval is good for one call, and for no other.
func TestTheStateOfAQuestionIsForOneCall(t *testing.T) {
	x := inClient(t, `rules: [{name: ask, on: "billing/*", do: hold}]`)
	x.say(x.client, shows("1", `{"amount":1}`, ""))
	state := inputRequired(t, x.hear(x.client), "1")
	var others []string
	for what, frame := range map[string]string{
		"other arguments":           shows("2", `{"amount":1000}`, again(state, yes)),
		"the same, spelt otherwise": shows("2", `{"amount":1.0}`, again(state, yes)),
		"another tool":              strings.Replace(shows("2", `{"amount":1}`, again(state, yes)), "issue_refund", "issue_credit", 1),
		"another client":            strings.Replace(shows("9", `{"amount":1}`, again(state, yes)), `"bot"`, `"boy"`, 1),
		"another conversation":      strings.Replace(shows("2", `{"amount":1}`, again(state, yes)), `"_meta":{`, `"_meta":{"sessionId":"c2",`, 1),
	} {
		x.say(x.client, frame)
		if what == "another client" { // one that is not asked
			x.serverHeardNoMore()
		} else if other := inputRequired(t, x.hear(x.client), "2"); other == state {
			t.Errorf("%s: the same question", what)
		} else {
			others = append(others, other)
		}
		x.noted("not-asked", "call #")
	}
	x.serverHeardNoMore()
	if len(logged[*event.Review](x)) != 0 || len(others) != 4 {
		t.Error(kinds(x.log()))
	}
	forged := state[:len(state)-1] + map[bool]string{true: "A", false: "w"}[state[len(state)-1] != 'A']
	for _, theirs := range []string{forged, "umpire:", "umpire:3:2", "umpire::", strings.ToUpper(state), state + " "} { // a server's, perhaps: the call is held as any other
		x.say(x.client, shows("3", `{"amount":2}`, again(theirs, yes)))
		fresh := inputRequired(t, x.hear(x.client), "3")
		x.say(x.client, shows("4", `{"amount":2}`, again(fresh, decline)))
		denied(t, x.hear(x.client), "4")
	}
	x.say(x.client, shows("5", `{"amount":1}`, again(state, yes)))
	x.hears(x.server, shows("5", `{"amount":1}`, ""))
	for range 3 { // a replay is a call of its own
		x.say(x.client, shows("6", `{"amount":1}`, again(state, yes)))
		fresh := inputRequired(t, x.hear(x.client), "6")
		x.say(x.client, shows("7", `{"amount":1}`, again(fresh, no)))
		denied(t, x.hear(x.client), "7")
	}
	x.serverHeardNoMore()
}

// Two that bring the same approval at the same time are one that passes and one that is asked about anew.
func TestAnApprovalIsCollectedOnce(t *testing.T) {
	for range 5 {
		f := stand(t, heldRefunds, obey, func(c *proxy.HTTPConfig) { c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), "*") })
		state := inputRequired(t, f.post(shows("1", "{}", "")).body, "1")
		answers := make(chan answer, 8)
		for range cap(answers) {
			go func() { answers <- f.post(shows("2", "{}", again(state, yes)), "Accept: application/json") }()
		}
		passed, asked := 0, map[string]bool{}
		for range cap(answers) {
			if a := receive(t, answers, "an answer"); a.body == done("2") {
				passed++
			} else {
				asked[inputRequired(t, a.body, "2")] = true
			}
		}
		if n := len(f.requests()); passed != 1 || n != 1 || len(asked) != 7 || asked[state] {
			t.Fatalf("%d passed, the server got %d, %d are asked about", passed, n, len(asked))
		}
	}
}

// A call that answers a server's question is held and made again with Umpire's; what is the server's of it stays the server's, byte for byte.
func TestTheServersOwnStateSurvivesTheQuestion(t *testing.T) {
	x := inClient(t, heldRefunds)
	const input = `,"inputResponses":{"a":{"action":"accept","content":{"name" : "Ann"}},"umpire":{"action":"accept","content":{"decision":"approve"}}},"requestState":"s\u0031"`
	x.say(x.client, shows("1", "{}", input)) // with an answer to what Umpire has not asked
	state := inputRequired(t, x.hear(x.client), "1")
	x.say(x.client, shows("2", "{}", again(state, yes)))
	got := x.hear(x.server)
	for member, want := range map[string]string{
		"requestState": `"s\u0031"`, "inputResponses": `{"a":{"action":"accept","content":{"name" : "Ann"}},"umpire":{"action":"accept","content":{"decision":"approve"}}}`, "arguments": "{}",
	} {
		if v := gjson.Get(got, "params."+member).Raw; v != want {
			t.Errorf("%s is %s", member, v)
		}
	}
	if strings.Contains(got, state) {
		t.Error(got)
	}
	// A server asks after the approval: its question is not Umpire's, and the retry is a call that is held again.
	asks := result("2", `{"resultType":"input_required","inputRequests":{"umpire":{"method":"elicitation/create","params":{"message":"?"}}},"requestState":"s2"}`)
	x.say(x.server, asks)
	x.hears(x.client, asks)
	x.say(x.client, shows("3", "{}", again("s2", yes)))
	state = inputRequired(t, x.hear(x.client), "3")
	x.say(x.client, shows("4", "{}", again(state, yes)))
	if got := x.hear(x.server); gjson.Get(got, "params.requestState").Str != "s2" || gjson.Get(got, "params.inputResponses.umpire.action").Str != "accept" {
		t.Error(got)
	}
	if calls := logged[*event.Call](x); len(calls) != 2 || calls[1].Retry == 0 {
		t.Errorf("%d calls", len(calls))
	}
	// What is too long to keep waits at the Desk.
	x.say(x.client, shows("5", "{}", `,"requestState":"`+strings.Repeat("s", 64<<10)+`"`))
	list := held(t, x.gate, 1)
	x.clientHeardNoMore()
	decide(t, x.gate, list[0].Call, refuse)
	denied(t, x.hear(x.client), "5")
}

// A client that never comes back leaves its call to the other reviewers until its time is over. One that comes back after that is asked anew.
func TestAClientThatDoesNotComeBack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		by    *review.Decision
		event string
	}{
		{"nobody decides", nil, "expired verdict"}, {"somebody approves", &approve, "review verdict result"}, {"somebody denies", &refuse, "review verdict"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := inClient(t, heldRefunds)
				x.say(x.client, shows("1", "{}", ""))
				state := inputRequired(t, x.hear(x.client), "1")
				if tc.by != nil {
					decide(t, x.gate, held(t, x.gate, 1)[0].Call, *tc.by)
				}
				time.Sleep(rules.HoldFor + time.Second)
				if got := kinds(x.log()); got != "loaded opened call verdict "+tc.event {
					t.Error(got)
				}
				for _, r := range logged[*event.Result](x) {
					if r.Outcome != event.OutcomeError || r.Text != "it was approved, but the client did not come back for it in time" {
						t.Errorf("%+v", r)
					}
				}
				x.say(x.client, shows("2", "{}", again(state, yes)))
				if fresh := inputRequired(t, x.hear(x.client), "2"); fresh == state {
					t.Error("the same question")
				}
				x.serverHeardNoMore()
			})
		})
	}
}

// When the connection ends over which a client was asked, nobody waits for its calls any more.
func TestWhoWasAskedAndIsGoneLeavesNothingOnHold(t *testing.T) {
	x := inClient(t, heldRefunds)
	for i := range 3 {
		x.say(x.client, shows(fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i), ""))
		inputRequired(t, x.hear(x.client), fmt.Sprint(i))
	}
	list := held(t, x.gate, 3)
	decide(t, x.gate, list[1].Call, approve)
	x.client.Close()
	x.hangUp() //nolint:errcheck // it has ended
	held(t, x.gate, 0)
	if n := len(logged[*event.Expired](x)); n != 2 {
		t.Errorf("%d holds expired", n)
	}
	if r := logged[*event.Result](x); len(r) != 1 || r[0].Outcome != event.OutcomeError || !strings.HasPrefix(r[0].Text, "it was approved, but ") {
		t.Errorf("%+v", r)
	}
}

// Approved under a policy that is no longer in force, a call is judged by the new one.
func TestAnApprovalDoesNotOutliveItsPolicy(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.say(x.client, shows("1", "{}", ""))
	state := inputRequired(t, x.hear(x.client), "1")
	decide(t, x.gate, held(t, x.gate, 1)[0].Call, approve)
	if err := x.gate.Load(policy(t, `rules: [{name: never, on: billing/issue_refund, do: deny}]`)); err != nil {
		t.Fatal(err)
	}
	x.say(x.client, shows("2", "{}", again(state, yes)))
	if text, _ := denied(t, x.hear(x.client), "2"); !strings.Contains(text, "never") {
		t.Error(text)
	}
	x.serverHeardNoMore()
}

// Capabilities are those of the request, and the policy names the client.
func TestAModernClientIsAskedOnlyWhereItSaysSo(t *testing.T) {
	const offers = `/clientCapabilities":{"elicitation":{"form":{}}}`
	for name, tc := range map[string]struct{ from, to string }{
		"no forms":           {offers, `/clientCapabilities":{}`},
		"URLs alone":         {offers, `/clientCapabilities":{"elicitation":{"url":{}}}`},
		"no capabilities":    {offers, `/other":{}`},
		"another client":     {`"name":"bot"`, `"name":"boy"`},
		"a revision between": {"2026-07-28", "2026-01-01"},
	} {
		x := inClient(t, heldRefunds)
		frame := strings.Replace(shows("1", "{}", ""), tc.from, tc.to, 1)
		if strings.Contains(frame, tc.from) {
			t.Fatal(frame)
		}
		x.say(x.client, frame)
		list := held(t, x.gate, 1)
		x.clientHeardNoMore()
		decide(t, x.gate, list[0].Call, approve)
		x.hears(x.server, frame)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// Over HTTP, in both front ends: the call is answered with the question at once, without a stream, and the approved call, which
// comes over another connection, with the server's own answer. A client beyond the bound of dialogs gets a stream, and the
// question on it once there is room.
func TestAUserIsAskedInTheAnswerOverHTTP(t *testing.T) {
	fronts := map[string]func(t *testing.T) (f *front, got func() []string){
		"HTTP": func(t *testing.T) (*front, func() []string) {
			f := stand(t, heldRefunds, obey, func(c *proxy.HTTPConfig) {
				c.KeepAlive = time.Millisecond
				c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), "*")
			})
			return f, func() (bodies []string) {
				for _, r := range f.requests() {
					bodies = append(bodies, r.body)
				}
				return bodies
			}
		},
		"relay": func(t *testing.T) (*front, func() []string) {
			s := relayed(t, heldRefunds, func(c *proxy.RelayConfig) {
				c.KeepAlive = time.Millisecond
				c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), "*")
			})
			var got bodies
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			go func() {
				for {
					select {
					case server := <-s.servers:
						go obeysNoting(server, &got)
					case <-done:
						return
					}
				}
			}()
			return s.front, func() []string { return got.sorted("") }
		},
	}
	for name, stand := range fronts {
		t.Run(name, func(t *testing.T) {
			f, got := stand(t)
			headers := []string{"Mcp-Method: tools/call", "Mcp-Name: issue_refund", "Mcp-Protocol-Version: 2026-07-28", "Accept: application/json"}
			var states []string
			for i := range 8 {
				a := f.post(shows("1", fmt.Sprintf(`{"n":%d}`, i), ""), headers...)
				if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
					t.Fatal(a.Status, a.Header, a.body)
				}
				states = append(states, inputRequired(t, a.body, "1"))
			}
			listen := listener(f.open(f.request(t.Context(), http.MethodPost, shows("1", `{"n":8}`, ""))))
			held(t, f.gate, 9)
			a := f.post(shows("2", `{"n":0}`, again(states[0], yes)), headers...)
			if a.body != done("2") {
				t.Error(a.Status, a.body)
			}
			if bodies := got(); len(bodies) != 1 || bodies[0] != shows("2", `{"n":0}`, "") {
				t.Errorf("%q", bodies)
			}
			for data := ""; ; {
				e, err := listen()
				if err != nil {
					t.Fatal(err)
				}
				if data = string(e.Data); gjson.Get(data, "result").Exists() {
					states = append(states, inputRequired(t, data, "1"))
					break
				}
			}
			if a = f.post(shows("2", `{"n":8}`, again(states[8], no)), headers...); a.get("result.resultType").Str != "complete" {
				t.Error(a.body)
			}
			denied(t, a.body, "2")
		})
	}
}

// obeysNoting is obeys, and keeps what the server gets.
func obeysNoting(server *plug, got *bodies) {
	for {
		data, err := server.Read()
		if err != nil {
			server.Close()
			return
		}
		got.add(string(data))
		server.Write([]byte(done(gjson.GetBytes(data, "id").Raw))) //nolint:errcheck // the client may be gone
	}
}
