package conversation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/rules/event"
)

// list lets a server list tools.
func (r *room) list(server string, tools ...string) {
	r.t.Helper()
	c := &event.Catalog{Server: server}
	for _, name := range tools {
		c.Tools = append(c.Tools, event.Tool{Name: name, Pin: name})
	}
	who := proxy.Origin{Link: "http:" + server, Server: server, Transport: proxy.TransportHTTP, Peer: event.Peer{Principal: "local:alice", Agent: "desk"}}
	if err := r.gate.Record(who, 0, c).Wait(); err != nil {
		r.t.Fatal(err)
	}
}

// announced formats the calls that turns announce, one a line.
func (r *room) announced() string {
	var out strings.Builder
	for _, turn := range r.turns() {
		for _, u := range turn.Uses {
			fmt.Fprintf(&out, "%s %s %s/%s %.6s\n", u.ID, u.Item, u.Server, u.Tool, u.Args)
		}
	}
	return out.String()
}

// args is the digest of {"amount":5} as announced prints it.
var args = proxy.ArgsDigest([]byte(`{"amount":5}`))[:6]

// Whatever the API, a call that the model makes is announced with its tool and its arguments; so a call over MCP without any id
// finds the words that led to it.
func TestACallIsFoundByWhatTheModelSaid(t *testing.T) {
	for name, tc := range map[string]struct{ path, kind, answer, want string }{
		"Anthropic": {"/v1/messages", events, `data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"u1","name":"mcp__bank__pay","input":{}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"amo"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"unt\": 5}"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_stop"}

`, "u1  bank/pay"},
		"Anthropic, whole": {"/v1/messages", "application/json", `{"content":[{"type":"tool_use","id":"u1","name":"mcp__bank__pay","input":{"amount":5.0}}]}`, "u1  bank/pay"},
		"chat": {"/v1/chat/completions", events, `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c1","function":{"name":"bank_pay","arguments":""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"amount\""}},{"index":0,"id":"c2","function":{"name":"other","arguments":"{}"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":":5}"}}]},"finish_reason":"tool_calls"}]}

`, "c1  bank/pay"},
		"responses": {"/v1/responses", "application/json", `{"output":[{"type":"function_call","id":"fc_1","call_id":"c1","namespace":"mcp__bank","name":"pay","arguments":"{\"amount\":5}"}]}`, "c1 fc_1 bank/pay"},
		"Gemini":    {"/v1/models/m:generateContent", "application/json", `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"mcp_bank_pay","args":{"amount":5}}}]}}]}`, "  bank/pay"},
	} {
		b := newBooth(t, give(http.StatusOK, tc.kind, tc.answer))
		b.list("bank", "pay", "get")
		b.ask(tc.path, strings.NewReader(`{}`), "User-Agent: SDK/1")
		b.close()
		if got := b.announced(); got != tc.want+" "+args+"\n" {
			t.Errorf("%s: announced\n%s", name, got)
		}
		peer := event.Peer{Principal: "local:alice", Agent: "desk"}
		who := proxy.Origin{Link: "http:bank", Server: "bank", Transport: proxy.TransportHTTP, Peer: peer}
		b.gate.Call(who, event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: []byte("1"), Args: []byte(`{"amount":5}`), Peer: peer}, proxy.Retry{}).Wait()
		calls := recorded[*event.Call](b.room)
		if len(calls) != 1 || calls[0].Bound == nil || calls[0].Bound.By != event.ByArguments || calls[0].Bound.Confidence != event.Likely {
			t.Errorf("%s: %+v", name, calls)
		}
	}
}

// Where the name of a server ends and that of a tool begins is known from what servers have listed. Where two tools can be meant,
// none is.
func TestToolsAreKnownByWhatServersList(t *testing.T) {
	r := newRoom(t)
	r.list("mail", "send", "send_all", "löschen")
	r.list("mail_all", "x", "send")
	r.list("chat.example", "post.message")
	r.list("a", "b_c")
	r.list("a_b", "c")
	for name, want := range map[string]string{
		"mcp__mail__send": "mail/send", "mail_send": "mail/send", "mail-send": "mail/send", "mcp_mail_send": "mail/send", "mail.send": "mail/send",
		"mail_send_all": "mail/send_all", "send_all": "mail/send_all", "mail_all_x": "mail_all/x", "x": "mail_all/x",
		"chat_example__post_message": "chat.example/post.message", "mcp__chat_example__post_message": "chat.example/post.message",
		"mail_l_schen": "mail/löschen", "mail_löschen": "mail/löschen",
		"send":   "", // of two servers
		"a_b_c":  "", // both
		"a__b_c": "a/b_c",
		"mail":   "", "mail_": "", "xmail_send": "", "mailsend": "", "MAIL_send": "", "": "", "_send": "", "mcp__send": "",
	} {
		u := &conversation.Use{Tool: name, Args: `{}`}
		r.ear.Hear(conversation.Talk{Source: "model:test", Peer: event.Peer{Agent: "x"}, ID: name}, conversation.Piece{Role: event.RoleAssistant, Trust: event.Trusted, Calls: []string{"u"}, Use: u})
		turns := r.turns()
		got := ""
		if uses := turns[len(turns)-1].Uses; len(uses) > 0 {
			got = uses[0].Server + "/" + uses[0].Tool
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// Arguments that have no one reading announce nothing but the id.
func TestUnclearArgumentsAnnounceNothing(t *testing.T) {
	for _, bad := range []string{`{"amount":5,"amount":6}`, `[1]`, `{"amount":`, `5`, `{} {}`} {
		text, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		b := newBooth(t, give(http.StatusOK, "application/json", `{"output":[{"type":"function_call","call_id":"c1","name":"pay","arguments":`+string(text)+`}]}`))
		b.list("bank", "pay")
		b.ask("/v1/responses", strings.NewReader(`{}`))
		if got := b.heard(); got != "assistant [c1]: \n" || b.announced() != "" {
			t.Errorf("%s: %s %s", bad, got, b.announced())
		}
	}
}

// What a request tells again was announced when it was said, if ever: nothing waits for calls that were made long ago.
func TestWhatIsToldAgainAnnouncesNothing(t *testing.T) {
	b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
	b.list("bank", "pay")
	b.ask("/v1/messages", strings.NewReader(`{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"u1","name":"pay","input":{"amount":5}}]}]}`))
	b.ask("/v1/models/m:generateContent", strings.NewReader(`{"contents":[{"role":"model","parts":[{"functionCall":{"name":"pay","args":{}}}]}]}`))
	if got := b.heard(); got != "assistant [u1]: \n" || b.announced() != "" {
		t.Errorf("%s %s", got, b.announced())
	}
}

// With previous_response_id, a request says what is new: the same words are said anew. Sent once more, they are not.
func TestWhatGoesOnIsNotToldAgain(t *testing.T) {
	b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
	for _, after := range []string{`"previous_response_id":"resp_1"`, `"previous_response_id":"resp_2"`, `"previous_response_id":"resp_2"`, `"conversation":"c"`, `"conversation":"c"`} {
		b.ask("/v1/responses", strings.NewReader(`{"input":"Yes.",`+after+`}`))
	}
	if got := b.heard(); got != strings.Repeat("user: Yes.\n", 4) {
		t.Errorf("heard\n%s", got)
	}
}

// The bounds of calls that are only seen: an answer of very many is heard as far as there is room, each has a result, and the
// same id twice is two calls.
func TestVeryManyCallsThatAreSeen(t *testing.T) {
	var answer strings.Builder
	answer.WriteString(`{"content":[`)
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&answer, `{"type":"mcp_tool_use","id":"m%d","name":"x","server_name":"s","input":{}},`, i/2)
	}
	answer.WriteString(`{"type":"text","text":"Done."}]}`)
	b := newBooth(t, give(http.StatusOK, "application/json", answer.String()))
	b.ask("/v1/messages", strings.NewReader(`{}`))
	b.close()
	calls, results := recorded[*event.Call](b.room), recorded[*event.Result](b.room)
	if len(calls) != len(results) || len(calls) < 9000 || len(calls) > 10_000 {
		t.Errorf("%d calls, %d results", len(calls), len(results))
	}
	if s := recorded[*event.Signal](b.room); len(s) != 1 || s[0].Name != "flood" {
		t.Errorf("%+v", s)
	}
}

// A call of which neither id nor tool is known announces nothing, and what a tool gives without words is still something that
// came from outside.
func TestWhatHasNoWordsIsHeardWhereItMatters(t *testing.T) {
	b := newBooth(t, give(http.StatusOK, "application/json", `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"unknown","args":{}}}]}}]}`))
	b.ask("/v1/models/m:generateContent", strings.NewReader(`{"contents":[{"parts":[{"functionResponse":{"name":"see","response":""}}]}]}`))
	if got := b.heard(); got != "tool: \"\"\n" {
		t.Errorf("heard\n%q", got)
	}
}

// However small the pieces are in which something passes, a copy of it takes hardly more memory than it is long.
func TestManySmallPiecesMakeASmallCopy(t *testing.T) {
	const n = 1 << 20
	copied, chunks := conversation.TapSmall(n)
	if len(copied) != n || chunks > n/1024 {
		t.Errorf("%d bytes in %d chunks", len(copied), chunks)
	}
	for i, c := range copied {
		if c != byte(i) {
			t.Fatalf("byte %d is %d", i, c)
		}
	}
}

// BenchmarkFind looks for the tool of a call among 1,000 that servers have listed.
func BenchmarkFind(b *testing.B) {
	r := newRoom(b)
	for s := range 20 {
		var tools []string
		for i := range 50 {
			tools = append(tools, fmt.Sprintf("do_something_%d", i))
		}
		r.list(fmt.Sprintf("server%d", s), tools...)
	}
	for b.Loop() {
		if _, ok := r.ear.Find(&conversation.Use{Tool: "mcp__server7__do_something_31"}); !ok {
			b.Fatal("not found")
		}
	}
}
