package proxy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// modelAPI is a conversation that is heard at a model API.
var modelAPI = proxy.Origin{
	Link: "turns:model:test", Server: "model:test", Transport: proxy.TransportHTTP, Peer: event.Peer{Principal: "local:alice", Agent: "sdk"},
}

func seen(id string) *event.Call {
	c := refund(`{"amount":1}`)
	c.Link, c.Peer, c.Seen, c.ID = modelAPI.Link, modelAPI.Peer, true, json.RawMessage(`"`+id+`"`)
	c.Bound = &event.Bound{By: event.ByCall, Confidence: event.Exact, Use: id}
	return &c
}

// What was made where nobody could judge it happened: it fills the windows of the calls that are judged, through a restart, too.
// It has no verdict, and stands nowhere among those that were judged.
func TestACallThatWasSeenCountsAndIsNotJudged(t *testing.T) {
	c := newClock()
	db := storetest.Open(t, store.Config{})
	p := policy(t, strings.Replace(threeRefunds, "by: session", "by: principal", 1))
	g := gate(t, db, p, c)
	said := g.Record(modelAPI, 0, &event.Turn{Role: event.RoleAssistant, Source: "model:test", Trust: event.Trusted, Calls: []string{"m1"}, Peer: modelAPI.Peer})
	first := g.Record(modelAPI, 0, seen("m1"))
	if err := g.Record(modelAPI, first.Seq, &event.Result{Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeOK, Seen: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	open := g.Record(modelAPI, 0, seen("m2"))
	if err := open.Wait(); err != nil || open.Seq == 0 {
		t.Fatal(open.Seq, err)
	}
	if live, folded, whole := g.Memory(); !whole || live != folded {
		t.Errorf("live\n%s\nfolded\n%s", live, folded)
	}
	g.Close()
	g = gate(t, db, p, c)
	defer g.Close()
	for i, want := range []event.Action{event.Allow, event.Deny} {
		if tk := judge(t, g, support, `{"amount":1}`); tk.Verdict.Action != want {
			t.Errorf("call %d: %+v", i, tk.Verdict)
		}
	}
	events := log(t, db)
	if got := kinds(events); got != "loaded opened turn call result call result opened call verdict call verdict" {
		t.Error(got)
	}
	if b := events[3].Body.(*event.Call).Bound; b.Turn != said.Seq {
		t.Errorf("bound to #%d", b.Turn)
	}
	if r := events[6].Body.(*event.Result); r.Outcome != event.OutcomeLost || !r.Seen || events[6].Cause != open.Seq {
		t.Errorf("%+v", r)
	}
	verify(t, db)
	sessions, err := db.Sessions()
	if err != nil || len(sessions) != 2 || sessions[1].Calls != 0 || sessions[1].Seen != 2 || sessions[0].Calls != 2 || sessions[0].Seen != 0 {
		t.Errorf("%+v %v", sessions, err)
	}
	tools, err := db.Tools()
	if err != nil || len(tools) != 1 || tools[0].Calls != 2 {
		t.Errorf("%+v %v", tools, err)
	}
}

// Whoever records past the judge records what was seen, and nothing else.
func TestNoCallIsRecordedAsIfItHadBeenJudged(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), nil)
	defer g.Close()
	c := refund("{}")
	if err := g.Record(support, 0, &c).Wait(); err == nil || !strings.Contains(err.Error(), "has to be judged") {
		t.Error(err)
	}
	if got := kinds(log(t, disk)); got != "loaded" {
		t.Error(got)
	}
}

// What a client tells the model API of a call's result is that result: it is remembered once, with what is known of its server. A
// turn that says more than the result is heard for the rest.
func TestAResultThatIsToldAgainIsRememberedOnce(t *testing.T) {
	const text = "Invoice 7 of ACME: pay GB29NWBK60161331926819."
	for name, tc := range map[string]struct{ use, told, to, want string }{
		"the same":                  {"u1", text, "GB29NWBK60161331926819", "allow"},
		"a part":                    {"u1", "GB29NWBK60161331926819", "GB29NWBK60161331926819", "allow"},
		"what the client adds":      {"u1", "Wall time: 0.1 s\nOutput:\n" + text, "GB29NWBK60161331926819", "allow"},
		"more":                      {"u1", text + " Or DE89370400440532013000.", "DE89370400440532013000", "hold"},
		"something else":            {"u1", "Pay DE89370400440532013000.", "DE89370400440532013000", "hold"},
		"of another call":           {"u2", text, "GB29NWBK60161331926819", "hold"},
		"of a call that never came": {"u3", text, "GB29NWBK60161331926819", "hold"},
	} {
		p := policy(t, "tools: [{match: 'bank/get', results: trusted}]\nrules: [{name: made-up, on: bank/pay, where: 'origin(args.to).untrusted', do: hold}]")
		x := &table{T: t, clock: newClock(), disk: &manual{}}
		x.gate = gate(t, x.disk, p, x.clock)
		peer := asserting("claude-code", "CLAUDE_CODE_SESSION_ID", "c1")
		x.turn(peer, event.Turn{Role: event.RoleAssistant, Conversation: "c1", Calls: []string{"u1", "u2", "u3"}})
		call := func(tool, use, args string) *proxy.Ticket {
			who := proxy.Origin{Link: "http:bank:1", Server: "bank", Transport: proxy.TransportHTTP, Peer: peer}
			c := event.Call{Link: who.Link, Server: "bank", Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(args), Peer: peer}
			c.Asserted = map[string]string{"CLAUDE_CODE_SESSION_ID": "c1", "claudecode/toolUseId": use}
			return x.gate.Call(who, c, proxy.Retry{})
		}
		for use, text := range map[string]string{"u1": text, "u2": "Nothing."} {
			tk := call("get", use, "{}")
			content, err := json.Marshal(map[string]any{"content": []any{map[string]string{"type": "text", "text": text}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := x.gate.Record(proxy.Origin{}, tk.Seq, &event.Result{Server: "bank", Tool: "get", Outcome: event.OutcomeOK, Content: content}).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		x.turn(peer, event.Turn{Role: event.RoleTool, Conversation: "c1", Calls: []string{tc.use}, Text: tc.told})
		if tk := call("pay", "", `{"to":"`+tc.to+`"}`); tk.Verdict.Action.String() != tc.want {
			t.Errorf("%s: %+v", name, tk.Verdict)
		}
		verify(t, x.disk)
		x.gate.Close()
	}
}

// Over a model API, an agent often goes by the name of the library that it uses. A call without ids is found by what was said
// all the same, but does not become another agent's, nor does that stand in for what its own hooks have not announced.
func TestACallIsBoundByItsArgumentsToWhatAModelSaid(t *testing.T) {
	x := newTable(t)
	defer func() { x.gate.Close() }()
	sdk, agent := asserting("OpenAI"), asserting("desk")
	says := func(conversation, id, amount string) uint64 {
		return x.turn(sdk, event.Turn{Role: event.RoleAssistant, Source: "model:openai", Conversation: conversation, Uses: []event.Use{pay(id, amount)}})
	}
	said := says("k1", "u1", "5")
	if session := x.pays(agent, "5", fmt.Sprintf("arguments likely #%d", said)); session == "s2" {
		t.Error("the call is in the session of another agent")
	}
	x.turn(agent, event.Turn{Role: event.RoleUser, Text: "hello"}) // by its hook
	said = says("k1", "u2", "6")
	x.pays(agent, "6", fmt.Sprintf("arguments likely #%d missing", said))
	// The same twice: the first first. In two conversations it is not known which.
	first, second := says("k1", "u3", "7"), says("k1", "u4", "7")
	x.pays(sdk, "7", fmt.Sprintf("arguments likely #%d", first))
	x.pays(sdk, "7", fmt.Sprintf("arguments likely #%d", second))
	first, second = says("k1", "u5", "8"), says("k2", "u6", "8")
	x.pays(sdk, "8", fmt.Sprintf("arguments ambiguous #%d or [%d]", first, second))
}
