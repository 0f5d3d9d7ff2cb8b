package proxy_test

import (
	"errors"
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
	"github.com/umpire-dev/umpire/rules/event"
)

// elicitor asks the users of the clients that are named.
func elicitor(t testing.TB, g *proxy.Gate, clients ...string) *proxy.Elicitor {
	t.Helper()
	e, err := proxy.NewElicitor(proxy.ElicitorConfig{Desk: g.Desk(), Clients: clients, Secret: []byte("history")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// inClient starts a talk in which the users of clients named bot are asked about calls on hold.
func inClient(t testing.TB, policyText string) *talk {
	t.Helper()
	disk := &manual{}
	g := gate(t, disk, policy(t, policyText), nil)
	t.Cleanup(func() {
		g.Close()
		verify(t, disk)
	})
	who := support
	who.Protocol = ""
	e := elicitor(t, g, "bot")
	return join(t, disk, g, who, func(c *proxy.LinkConfig) { c.Elicitor = e })
}

// hail is an initialize of a client with capabilities.
func hail(agent, revision, capabilities string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":%q,"version":"2"}}}`, revision, capabilities, agent)
}

// greet lets a client with capabilities begin.
func (x *talk) greet(agent, revision, capabilities string) {
	x.t.Helper()
	x.pass(hail(agent, revision, capabilities))
	welcome := result("0", `{"protocolVersion":"`+revision+`","capabilities":{}}`)
	x.say(x.server, welcome)
	x.hears(x.client, welcome)
}

const showsForms = `{"elicitation":{}}`

// elicited checks that a frame asks a user about a call, and returns the raw id of the request.
func elicited(t testing.TB, frame string) (id string) {
	t.Helper()
	if _, err := wire.Parse([]byte(frame), wire.FromServer); err != nil || gjson.Get(frame, "method").Str != "elicitation/create" {
		t.Fatalf("%s asks no user (%v)", frame, err)
	}
	asked(t, gjson.Get(frame, "params"))
	return gjson.Get(frame, "id").Raw
}

// asked checks the question itself.
func asked(t testing.TB, params gjson.Result) {
	t.Helper()
	if schema := params.Get("requestedSchema"); schema.Get("properties.decision.enum").Raw != `["deny","approve"]` || schema.Get("required").Raw != `["decision"]` ||
		!strings.HasPrefix(params.Get("message").Str, "Umpire holds a call of your agent's") || strings.Contains(schema.Raw, `"default"`) {
		t.Errorf("the user is asked %s", params.Raw)
	}
}

const (
	yes     = `{"action":"accept","content":{"decision":"approve","note":"Ann called"}}`
	no      = `{"action":"accept","content":{"decision":"deny","note":"not today"}}`
	decline = `{"action":"decline"}`
	closes  = `{"action":"cancel"}`
)

// reviewed returns the last decision of a person that is recorded; nil if there is none.
func (x *talk) reviewed() *event.Review {
	x.t.Helper()
	if all := logged[*event.Review](x); len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// A user decides in the client: what he approves goes on byte for byte, what he denies or declines does not, and the record
// says where that was decided. The server hears of none of it.
func TestAUserDecidesInTheClient(t *testing.T) {
	for answer, want := range map[string]event.Review{
		yes:     {Approve: true, Note: "Ann called"},
		no:      {Note: "not today"},
		decline: {},
		`{"action":"decline","content":{"decision":"approve"}}`:                  {},
		`{"content":{"note":"","decision":"approve","x":[1]},"action":"accept"}`: {Approve: true},
	} {
		for _, revision := range []string{"2025-06-18", "2025-11-25"} {
			x := inClient(t, heldRefunds)
			x.greet("bot", revision, showsForms)
			frame := toolCall("7", "issue_refund", `{ "amount":1.10 }`)
			x.say(x.client, frame)
			id := elicited(t, x.hear(x.client))
			x.pass(toolCall("8", "read", "{}")) // the pipe goes on
			x.say(x.client, result(id, answer))
			if want.Approve {
				x.hears(x.server, frame)
				x.say(x.server, result("7", okResult))
				x.hears(x.client, result("7", okResult))
			} else if text, _ := denied(t, x.hear(x.client), "7"); !strings.Contains(text, "client:bot (local:alice) denied it") {
				t.Error(text)
			}
			x.serverHeardNoMore()
			x.clientHeardNoMore()
			if r := x.reviewed(); r.Who != "client:bot (local:alice)" || r.Approve != want.Approve || r.Note != want.Note {
				t.Errorf("%s: %+v", answer, r)
			}
		}
	}
}

// A form that is closed, an error, and an answer that is none leave the call to the other reviewers. It is not asked again.
func TestWhatIsNoDecisionLeavesTheCallOnHold(t *testing.T) {
	for _, answer := range []string{
		closes, `{}`, `{"action":"accept"}`, `{"action":"accept","content":{}}`, `{"action":"accept","content":{"decision":true}}`,
		`{"action":"accept","content":{"decision":"Approve"}}`, `{"action":"accept","content":{"decision":["approve"]}}`,
		`{"action":"accept","content":[{"decision":"approve"}]}`, `{"action":"ACCEPT","content":{"decision":"approve"}}`,
		`{"action":"approve","decision":"approve"}`, `{"task":{"taskId":"1","status":"working"}}`, "error",
	} {
		x := inClient(t, heldRefunds)
		x.greet("bot", "2025-11-25", showsForms)
		x.say(x.client, toolCall("7", "issue_refund", "{}"))
		id := elicited(t, x.hear(x.client))
		if answer == "error" {
			x.say(x.client, `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-1,"message":"approve"}}`)
		} else {
			x.say(x.client, result(id, answer))
		}
		x.say(x.client, result(id, yes)) // a second answer is none
		x.serverHeardNoMore()
		decide(t, x.gate, held(t, x.gate, 1)[0].Call, approve)
		x.hears(x.server, toolCall("7", "issue_refund", "{}"))
		if r := x.reviewed(); r.Who != approve.Who {
			t.Errorf("%s: %+v", answer, r)
		}
		x.clientHeardNoMore() // nothing is withdrawn that was answered
	}
}

// When somebody else is first, the client is told, before it hears what became of the call, and a late answer is ignored.
func TestWhatIsDecidedElsewhereIsWithdrawn(t *testing.T) {
	for name, tc := range map[string]struct {
		how    review.Decision
		answer string
	}{"approved": {approve, no}, "denied": {refuse, yes}} {
		x := inClient(t, heldRefunds)
		x.greet("bot", "2025-11-25", showsForms)
		x.say(x.client, toolCall("7", "issue_refund", "{}"))
		id := elicited(t, x.hear(x.client))
		decide(t, x.gate, held(t, x.gate, 1)[0].Call, tc.how)
		if note := x.hear(x.client); gjson.Get(note, "method").Str != "notifications/cancelled" || gjson.Get(note, "params.requestId").Raw != id {
			t.Errorf("%s: %s", name, note)
		}
		if tc.how.Approve {
			x.hears(x.server, toolCall("7", "issue_refund", "{}"))
		} else {
			denied(t, x.hear(x.client), "7")
		}
		x.say(x.client, result(id, tc.answer))
		x.serverHeardNoMore()
		if all := logged[*event.Review](x); len(all) != 1 || all[0].Who != tc.how.Who {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// A user and a reviewer decide at the same time: one of them counts, the call goes as he says, and the client hears one answer.
func TestAUserAndAReviewerDecideAtOnce(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	for i := range 60 {
		id, mine, other := fmt.Sprint(i+1), yes, refuse
		if i%2 == 0 {
			mine, other = no, approve
		}
		x.say(x.client, toolCall(id, "issue_refund", "{}"))
		question := elicited(t, x.hear(x.client))
		call := held(t, x.gate, 1)[0].Call
		first := make(chan error, 1)
		go func() {
			_, err := x.gate.Desk().Decide(call, other)
			first <- err
		}()
		x.say(x.client, result(question, mine))
		approved := other.Approve
		if err := receive(t, first, "the decision"); errors.Is(err, review.ErrGone) && strings.Contains(err.Error(), "client:bot") {
			approved = mine == yes
		} else if err != nil {
			t.Fatal(err)
		}
		if approved {
			x.hears(x.server, toolCall(id, "issue_refund", "{}"))
			x.say(x.server, result(id, okResult))
		}
		for heard := x.hear(x.client); gjson.Get(heard, "id").Raw != id; heard = x.hear(x.client) {
			if gjson.Get(heard, "params.requestId").Raw != question { // withdrawn before it was answered
				t.Fatal(heard)
			}
		}
		if n := len(logged[*event.Review](x)); n != i+1 {
			t.Fatalf("%d decisions about %d calls", n, i+1)
		}
	}
	x.serverHeardNoMore()
	x.clientHeardNoMore()
}

// Users are asked where the policy names their client, and the client shows forms, in a revision that has them.
func TestUsersAreAskedOnlyWhereTheyCanBe(t *testing.T) {
	for name, tc := range map[string]struct {
		agent, revision, capabilities string
		asks                          bool
	}{
		"as it should be":              {"bot", "2025-11-25", showsForms, true},
		"forms":                        {"bot", "2025-11-25", `{"elicitation":{"form":{}}}`, true},
		"forms and URLs":               {"bot", "2025-11-25", `{"elicitation":{"form":{},"url":{}}}`, true},
		"URLs alone":                   {"bot", "2025-11-25", `{"elicitation":{"url":{}}}`, false},
		"no form":                      {"bot", "2025-11-25", `{"elicitation":{"form":null,"url":{}}}`, false},
		"no object":                    {"bot", "2025-11-25", `{"elicitation":true}`, false},
		"nothing":                      {"bot", "2025-11-25", `{}`, false},
		"a client that is not named":   {"Bot", "2025-11-25", showsForms, false},
		"a client without name":        {"", "2025-11-25", showsForms, false},
		"before there was elicitation": {"bot", "2025-03-26", showsForms, false},
		"a request of the other era":   {"bot", "2026-07-28", showsForms, false},
	} {
		x := inClient(t, heldRefunds)
		x.greet(tc.agent, tc.revision, tc.capabilities)
		x.say(x.client, toolCall("7", "issue_refund", "{}"))
		h := held(t, x.gate, 1)[0]
		if tc.asks {
			elicited(t, x.hear(x.client))
			continue
		}
		x.clientHeardNoMore()
		decide(t, x.gate, h.Call, approve)
		x.hears(x.server, toolCall("7", "issue_refund", "{}"))
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// The server has no part in it: what it answers or asks under the id of Umpire's question goes nowhere, and what it asks itself
// is its own, and so is the answer.
func TestTheServerCannotAnswerForTheUser(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	x.say(x.client, toolCall("7", "issue_refund", "{}"))
	id := elicited(t, x.hear(x.client))
	x.say(x.server, result(id, yes), result("7", okResult))
	x.clientHeardNoMore()
	x.noted("unknown-id")
	for _, spelt := range []string{id, strings.Replace(id, "umpire", `\u0075mpire`, 1)} {
		x.say(x.server, request(spelt, "elicitation/create", `{"message":"Proceed?"}`))
		failed(t, x.hear(x.server), spelt, wire.CodeInvalidRequest)
		x.clientHeardNoMore()
		x.noted("id-in-use", "Umpire")
	}
	for _, own := range []string{`"umpire:3:1"`, `"umpire:3:AAAA:AAAAAAAAAAAAAAAAAAAAAA"`, `"umpire:"`, "3"} {
		x.passes(x.server, x.client, request(own, "elicitation/create", `{"message":"Umpire holds a call of your agent's","requestedSchema":{}}`))
		x.passes(x.client, x.server, result(own, yes))
	}
	if n := len(x.gate.Desk().List()); n != 1 {
		t.Errorf("%d calls are on hold", n)
	}
	x.say(x.client, strings.Replace(result(id, yes), "umpire", `\u0075mpire`, 1)) // however the client spells it
	x.hears(x.server, toolCall("7", "issue_refund", "{}"))
}

// Another client cannot answer for the one that was asked, even if it knows the id.
func TestAnotherClientCannotAnswer(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	t.Cleanup(func() {
		g.Close()
		verify(t, disk)
	})
	e := elicitor(t, g, "*")
	ask := func(c *proxy.LinkConfig) { c.Elicitor = e }
	x, y := join(t, disk, g, support, ask), join(t, disk, g, support, ask)
	x.greet("bot", "2025-11-25", showsForms)
	y.greet("bot", "2025-11-25", showsForms)
	x.say(x.client, toolCall("7", "issue_refund", "{}"))
	id := elicited(t, x.hear(x.client))
	y.say(y.client, result(id, yes))
	y.serverHeardNoMore()
	y.noted("not-asked")
	held(t, g, 1)
	x.say(x.client, result(id, no))
	denied(t, x.hear(x.client), "7")
}

// What a former process has asked is Umpire's still: an answer to it decides nothing, and no server gets it.
func TestAnAnswerToAFormerProcessGoesNowhere(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	x.say(x.client, toolCall("7", "issue_refund", "{}"))
	id := elicited(t, x.hear(x.client))
	x.say(x.client, shows("8", "{}", ""))
	state := inputRequired(t, x.hear(x.client), "8")
	x.say(x.client, result(fmt.Sprintf("%q", state), yes)) // that is no request
	x.serverHeardNoMore()
	y := inClient(t, heldRefunds) // the same secret, and nothing asked
	y.say(y.client, result(id, yes))
	y.serverHeardNoMore()
	y.say(y.client, shows("9", "{}", again(state, yes)))
	y.say(y.client, shows("10", "{}", again(inputRequired(t, y.hear(y.client), "9"), no)))
	denied(t, y.hear(y.client), "10")
	y.serverHeardNoMore()
	x.say(x.client, shows("11", "{}", again(state, yes))) // it is still open where it was asked
	x.hears(x.server, shows("11", "{}", ""))
}

// A call that is to become a task is held before there is one.
func TestATaskIsApprovedInTheClient(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", `{"elicitation":{},"tasks":{"requests":{"elicitation":{"create":{}}}}}`)
	frame := request("7", "tools/call", `{"name":"issue_refund","arguments":{},"task":{"ttl":60000}}`)
	x.say(x.client, frame)
	x.say(x.client, result(elicited(t, x.hear(x.client)), yes))
	x.hears(x.server, frame)
	x.passes(x.server, x.client, result("7", `{"task":{"taskId":"1","status":"working"}}`))
	if r := logged[*event.Result](x); len(r) != 1 || r[0].Outcome != event.OutcomeStarted {
		t.Errorf("%+v", r)
	}
}

// A flood of calls opens no flood of dialogs: the others wait, and are asked about as there is room. All of them end with their client.
func TestThereAreNotAnyNumberOfDialogs(t *testing.T) {
	const most, calls = 8, 50
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	for i := range calls {
		x.say(x.client, toolCall(fmt.Sprint(i+1), "issue_refund", "{}"))
	}
	held(t, x.gate, calls)
	open := map[string]bool{}
	for range most {
		open[elicited(t, x.hear(x.client))] = true
	}
	x.clientHeardNoMore()
	for n := range 20 {
		for id := range open {
			delete(open, id)
			x.say(x.client, result(id, closes))
			open[elicited(t, x.hear(x.client))] = true
			break
		}
		if len(open) != most {
			t.Fatalf("%d dialogs after %d answers", len(open), n+1)
		}
	}
	x.clientHeardNoMore()
	x.client.Close()
	held(t, x.gate, 0)
}

// When its client gives a call up, its user is not asked any more.
func TestACallThatIsCancelledIsNotAskedAbout(t *testing.T) {
	x := inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	x.say(x.client, toolCall("7", "issue_refund", "{}"))
	id := elicited(t, x.hear(x.client))
	x.pass(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
	if note := x.hear(x.client); gjson.Get(note, "params.requestId").Raw != id {
		t.Error(note)
	}
	denied(t, x.hear(x.client), "7")
	x.say(x.client, result(id, yes))
	x.serverHeardNoMore()
	if r := x.reviewed(); r != nil {
		t.Errorf("%+v", r)
	}
}

// A user's approval counts as any other: it is no leave to do what a rule denies, and it is void under another policy.
func TestAnApprovalInTheClientIsJudgedAgain(t *testing.T) {
	x := inClient(t, heldThree)
	x.greet("bot", "2025-11-25", showsForms)
	var ids []string
	for i := range 5 {
		x.say(x.client, toolCall(fmt.Sprint(i+1), "issue_refund", "{}"))
		ids = append(ids, elicited(t, x.hear(x.client)))
	}
	for i, id := range ids {
		x.say(x.client, result(id, yes))
		if i < 3 {
			x.hears(x.server, toolCall(fmt.Sprint(i+1), "issue_refund", "{}"))
		} else if text, _ := denied(t, x.hear(x.client), fmt.Sprint(i+1)); !strings.Contains(text, "although client:bot (local:alice) approved it") {
			t.Error(text)
		}
	}
	x = inClient(t, heldRefunds)
	x.greet("bot", "2025-11-25", showsForms)
	x.say(x.client, toolCall("1", "issue_refund", "{}"))
	id := elicited(t, x.hear(x.client))
	if err := x.gate.Load(policy(t, heldThree)); err != nil {
		t.Fatal(err)
	}
	if note := x.hear(x.client); gjson.Get(note, "params.requestId").Raw != id {
		t.Error(note)
	}
	if text, _ := denied(t, x.hear(x.client), "1"); !strings.Contains(text, review.PolicyChanged) {
		t.Error(text)
	}
	x.say(x.client, result(id, yes))
	x.serverHeardNoMore()
}

// A decision that cannot be recorded decides nothing, and the call is denied in the end.
func TestADecisionInTheClientIsRecordedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &manual{}
		g, err := proxy.NewGate(proxy.GateConfig{Recorder: disk, Policy: policy(t, heldRefunds), HoldFor: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		e := elicitor(t, g, "bot")
		x := join(t, disk, g, support, func(c *proxy.LinkConfig) { c.Elicitor = e })
		x.greet("bot", "2025-11-25", showsForms)
		x.say(x.client, toolCall("7", "issue_refund", "{}"))
		id := elicited(t, x.hear(x.client))
		disk.set(false, errors.New("disk full"))
		x.say(x.client, result(id, yes))
		denied(t, x.hear(x.client), "7")
		x.serverHeardNoMore()
		disk.set(false, nil)
	})
}

// Over Streamable HTTP the question stands on the stream of the call, and the answer comes with a request of its own, which the
// server does not get. A client that takes no stream is not asked.
func TestAUserIsAskedOnTheStreamOfTheCall(t *testing.T) {
	f := stand(t, heldRefunds, stateful("2025-11-25", obey), func(c *proxy.HTTPConfig) {
		c.KeepAlive = time.Minute
		c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), "bot")
	})
	f.post(hail("bot", "2025-11-25", showsForms))
	for i, answer := range []string{yes, no, closes} {
		id := fmt.Sprint(i + 1)
		listen := listener(f.open(f.request(t.Context(), http.MethodPost, call(id, "issue_refund", "{}"), inSession)))
		if got := f.next(listen); got != ": on hold\n\n" {
			t.Errorf("%q", got)
		}
		e, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		question := elicited(t, string(e.Data))
		if a := f.post(result(question, yes)); a.StatusCode != http.StatusAccepted { // from nowhere
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
		h := held(t, f.gate, 1)[0]
		if a := f.post(result(question, answer), inSession); a.StatusCode != http.StatusAccepted || a.body != "" {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
		if answer == closes {
			decide(t, f.gate, h.Call, approve)
		}
		if e, err = listen(); err != nil {
			t.Fatal(err)
		}
		if answer == no {
			denied(t, string(e.Data), id)
		} else if string(e.Data) != done(id) {
			t.Errorf("%s", e.Data)
		}
		if rest := f.next(listen); rest != "" {
			t.Errorf("%q", rest)
		}
	}
	answers := make(chan answer, 1)
	go func() { answers <- f.post(call("9", "issue_refund", "{}"), inSession, "Accept: application/json") }()
	decide(t, f.gate, held(t, f.gate, 1)[0].Call, approve)
	if a := receive(t, answers, "the answer"); a.body != done("9") {
		t.Error(a.body)
	}
	for _, r := range f.requests() {
		if strings.Contains(r.body, "umpire") || strings.Contains(r.body, "decision") {
			t.Errorf("the server got %s", r.body)
		}
	}
}

// In front of a server that speaks frames it is the same, over every transport.
func TestAUserIsAskedOverEveryTransport(t *testing.T) {
	s := relayed(t, heldRefunds, func(c *proxy.RelayConfig) { c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), "bot") })
	welcome := func() {
		server := receive(t, s.servers, "the server")
		server.Read() //nolint:errcheck // the initialize
		server.Write([]byte(result("0", `{"protocolVersion":"2025-11-25"}`)))
		go obeys(server)
	}
	t.Run("Streamable HTTP", func(t *testing.T) {
		began := make(chan answer, 1)
		go func() { began <- s.post(hail("bot", "2025-11-25", showsForms)) }()
		welcome()
		id := "Mcp-Session-Id: " + receive(t, began, "the answer").Header.Get("Mcp-Session-Id")
		main := listener(s.open(s.request(t.Context(), http.MethodGet, "", id)))
		listen := listener(s.open(s.request(t.Context(), http.MethodPost, call("7", "issue_refund", "{}"), id)))
		e, err := listen() // not on the main stream
		if err != nil {
			t.Fatal(err)
		}
		if a := s.post(result(elicited(t, string(e.Data)), yes), id); a.StatusCode != http.StatusAccepted {
			t.Error(a.Status, a.body)
		}
		if e, err = listen(); err != nil || string(e.Data) != done("7") {
			t.Errorf("%s %v", e.Data, err)
		}
		other := make(chan answer, 1)
		go func() { other <- s.post(call("8", "issue_refund", "{}"), id, "Accept: application/json") }()
		if e, err = main(); err != nil { // there is no stream of its own
			t.Fatal(err)
		}
		s.post(result(elicited(t, string(e.Data)), yes), id)
		if a := receive(t, other, "the answer"); a.body != done("8") {
			t.Error(a.body)
		}
	})
	t.Run("WebSocket", func(t *testing.T) {
		ws, _, err := s.web()
		if err != nil {
			t.Fatal(err)
		}
		say := func(frame string) {
			t.Helper()
			if err := ws.WriteMessage(1, []byte(frame)); err != nil {
				t.Fatal(err)
			}
		}
		hear := func() string {
			t.Helper()
			_, data, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		say(hail("bot", "2025-11-25", showsForms))
		welcome()
		hear()
		say(call("7", "issue_refund", "{}"))
		say(result(elicited(t, hear()), yes))
		if got := hear(); got != done("7") {
			t.Error(got)
		}
	})
	t.Run("HTTP+SSE", func(t *testing.T) {
		mcp := s.url
		defer func() { s.url = mcp }()
		s.at("/billing/sse")
		listen := listener(s.open(s.request(t.Context(), http.MethodGet, "")))
		e, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		s.at(string(e.Data))
		s.post(hail("bot", "2025-11-25", showsForms))
		welcome()
		listen() //nolint:errcheck // the answer
		s.post(call("7", "issue_refund", "{}"))
		if e, err = listen(); err != nil {
			t.Fatal(err)
		}
		s.post(result(elicited(t, string(e.Data)), no))
		if e, err = listen(); err != nil {
			t.Fatal(err)
		}
		denied(t, string(e.Data), "7")
	})
}
