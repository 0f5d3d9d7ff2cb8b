package conversation_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// A conversation is named in the headers, else in the request.
func TestConversationsHaveNames(t *testing.T) {
	for request, want := range map[string]string{
		`{"metadata":{"user_id":"{\"session_id\":\"5e55\"}"},"messages":[{"role":"user","content":"x"}]}`: "5e55",
		`{"messages":[{"role":"user","content":"x"}],"client_metadata":{"session_id":"5e55"}}`:            "5e55",
		`{"messages":[{"role":"user","content":"x"}],"conversation":{"id":"conv_1"}}`:                     "conv_1",
		`{"messages":[{"role":"user","content":"x"}],"conversation":"conv_1"}`:                            "conv_1",
		`{"messages":[{"role":"user","content":"x"}],"metadata":{"user_id":"{\"session_id"}}`:             "",
		`{"messages":[{"role":"user","content":"x"}],"metadata":{"user_id":7},"conversation":[]}`:         "",
		`{"messages":[{"role":"user","content":"x"}],"conversation":"` + strings.Repeat("c", 300) + `"}`:  "",
	} {
		b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
		b.ask("/v1/messages", strings.NewReader(request))
		b.close()
		if turns := b.turns(); len(turns) != 1 || turns[0].Conversation != want {
			t.Errorf("%.80s: %+v", request, turns)
		}
	}
}

// A request that is traced makes turns of that trace, so that calls over MCP in the same one belong to them.
func TestTurnsHaveTheTraceOfTheirRequest(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
	b.ask("/v1/messages", strings.NewReader(hello), "Traceparent: 00-"+id+"-b7ad6b7169203331-01")
	b.close()
	who := proxy.Origin{Link: "http:bank", Server: "bank", Transport: proxy.TransportHTTP, Peer: event.Peer{Principal: "local:alice", Agent: "other"}}
	b.gate.Call(who, event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: []byte("1"), Args: []byte("{}"), Peer: who.Peer, Trace: id}, proxy.Retry{}).Wait()
	turns, calls := b.turns(), recorded[*event.Call](b.room)
	if len(turns) == 0 || turns[0].Trace != id || len(calls) != 1 || calls[0].Bound == nil || calls[0].Bound.By != event.ByTrace || calls[0].Bound.Confidence != event.Likely {
		t.Errorf("%+v %+v", turns, calls)
	}
}

// Clients that name their conversation on both sides have their turns and calls in one session.
func TestKnownClientsAreOneSession(t *testing.T) {
	for name, tc := range map[string]struct {
		headers []string
		peer    event.Peer
	}{
		"Claude Code": {[]string{"User-Agent: claude-cli/2.1.330 (external, sdk-cli)", "X-Claude-Code-Session-Id: 5e55"}, event.Peer{Agent: "claude-code", Asserted: map[string]string{"CLAUDE_CODE_SESSION_ID": "5e55"}}},
		"Codex":       {[]string{"User-Agent: codex_exec/0.169.0 (Debian)", "Session-Id: 5e55", "Thread-Id: 7"}, event.Peer{Agent: "codex-mcp-client", Asserted: map[string]string{"sessionId": "5e55", "threadId": "7"}}},
	} {
		b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
		b.ask("/v1/messages", strings.NewReader(hello), tc.headers...)
		b.close()
		tc.peer.Principal = "local:alice"
		who := proxy.Origin{Link: "stdio:mail:1", Server: "mail", Transport: proxy.TransportStdio, Peer: tc.peer}
		b.gate.Call(who, event.Call{Link: who.Link, Server: "mail", Tool: "send", ID: []byte("1"), Args: []byte("{}"), Peer: tc.peer}, proxy.Retry{}).Wait()
		sessions := map[string]bool{}
		for e := range b.Events(1) {
			if turn, ok := e.Body.(*event.Turn); ok && turn.Conversation != "5e55" {
				t.Errorf("%s: %+v", name, turn)
			}
			if kind := e.Body.Kind(); kind == "turn" || kind == "call" {
				sessions[e.Session] = true
			}
		}
		if len(sessions) != 1 {
			t.Errorf("%s: sessions %v", name, sessions)
		}
	}
}
