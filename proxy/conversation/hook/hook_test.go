package hook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// desk is a client with hooks, before a gate of its own.
type desk struct {
	*testing.T
	db     *store.DB
	gate   *proxy.Gate
	hooks  *hook.Hooks
	caller hook.Caller
	keep   conversation.Keep
	dir    string // of its transcripts
	now    func() time.Time
}

const guarded = `
rules:
  - {name: no-rm, on: client/Bash, where: "args.command.startsWith('rm ')", do: deny}
  - {name: ask, on: client/Write, where: "true", do: hold}
  - {name: leak, sequence: [{name: r, on: "result client/Read"}, {on: "client/WebFetch", where: "flows(r.result, args.url)"}], within: 10m, do: deny}
`

func newDesk(t *testing.T) *desk {
	x := &desk{T: t, db: storetest.Open(t, store.Config{}), dir: t.TempDir()}
	x.caller = hook.Caller{Principal: "local:alice", Roots: []string{x.dir}, Believed: true}
	x.start()
	t.Cleanup(func() {
		x.gate.Close()
		report, err := replay.Verify(x.db.Events, 0)
		if err != nil || report.Same != report.Verdicts {
			t.Errorf("replay: %+v %v", report, err)
		}
	})
	return x
}

func (x *desk) start() {
	x.Helper()
	p, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: guarded}}, event.Env{OS: "linux", Home: "/home/alice"})
	if err != nil {
		x.Fatal(err)
	}
	if x.gate, err = proxy.NewGate(proxy.GateConfig{Recorder: x.db, Policy: p}); err != nil {
		x.Fatal(err)
	}
	clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: wire.DefaultRedact, MaxValue: 16 << 10, Secret: []byte("k")})
	if err != nil {
		x.Fatal(err)
	}
	if x.hooks, err = hook.New(hook.Config{Gate: x.gate, Cleaner: clean, Keep: x.keep, Now: x.now}); err != nil {
		x.Fatal(err)
	}
}

func (x *desk) restart() {
	x.Helper()
	x.gate.Close()
	x.start()
}

// tells has Claude Code's hook tell an event of the conversation c1 with more fields.
func (x *desk) tells(event, fields string) hook.Answer {
	x.Helper()
	if fields != "" {
		fields = "," + fields
	}
	path, err := json.Marshal(filepath.Join(x.dir, "c1.jsonl"))
	if err != nil {
		x.Fatal(err)
	}
	raw := fmt.Sprintf(`{"session_id":"c1","transcript_path":%s,"cwd":"/w","prompt_id":"p1","hook_event_name":%q%s}`, path, event, fields)
	return x.hooks.Hear(context.Background(), hook.Find("claude-code"), []byte(raw), x.caller)
}

func (x *desk) uses(id, tool, args string) hook.Answer {
	x.Helper()
	return x.tells("PreToolUse", fmt.Sprintf(`"tool_name":%q,"tool_input":%s,"tool_use_id":%q`, tool, args, id))
}

func (x *desk) used(id, tool, response string) {
	x.Helper()
	if a := x.tells("PostToolUse", fmt.Sprintf(`"tool_name":%q,"tool_input":{},"tool_response":%s,"tool_use_id":%q`, tool, response, id)); a != hook.Pass {
		x.Error(a)
	}
}

func (x *desk) passes(a hook.Answer) {
	x.Helper()
	if a != hook.Pass {
		x.Errorf("answered %+v", a)
	}
}

// denied checks that Claude Code prevents the call, and returns what the model reads.
func (x *desk) denied(a hook.Answer) string {
	x.Helper()
	var out struct {
		HookSpecificOutput struct{ HookEventName, PermissionDecision, PermissionDecisionReason string }
	}
	err := json.Unmarshal([]byte(a.Stdout), &out)
	o := out.HookSpecificOutput
	if err != nil || o.HookEventName != "PreToolUse" || o.PermissionDecision != "deny" {
		x.Errorf("answered %+v", a)
	}
	return o.PermissionDecisionReason
}

// writes adds lines to the transcript.
func (x *desk) writes(lines ...string) {
	x.Helper()
	f, err := os.OpenFile(filepath.Join(x.dir, "c1.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		x.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		x.Fatal(err)
	}
}

func says(id, text string) string {
	return fmt.Sprintf(`{"type":"assistant","uuid":%q,"message":{"id":"m-%s","role":"assistant","content":[{"type":"text","text":%q}]}}`, id, id, text)
}

// history returns the log in words.
func (x *desk) history() (out []string) {
	x.Helper()
	for e, err := range x.db.Events(1) {
		if err != nil {
			x.Fatal(err)
		}
		switch b := e.Body.(type) {
		case *event.Turn:
			line := fmt.Sprintf("%s %s %q", b.Trust, b.Role, b.Text)
			for _, u := range b.Uses {
				line += " announces " + u.Server + "/" + u.Tool
			}
			if len(b.Calls) > 0 {
				line += " " + strings.Join(b.Calls, " ")
			}
			out = append(out, line)
		case *event.Call:
			line := fmt.Sprintf("call %s/%s", b.Server, b.Tool)
			if b.Bound != nil {
				line += fmt.Sprintf(" %s %s", b.Bound.By, b.Bound.Confidence)
			}
			out = append(out, line)
		case *event.Verdict:
			out = append(out, b.Action.String())
		case *event.Result:
			out = append(out, fmt.Sprintf("%s %s%s", b.Outcome, b.Content, b.Text))
		case *event.Signal:
			out = append(out, b.Name+": "+b.Text)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Closed:
		}
	}
	return out
}

func (x *desk) wants(want ...string) {
	x.Helper()
	if got := x.history(); !slices.Equal(got, want) {
		x.Errorf("recorded\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// Of a conversation, the prompt, the model's words and the client's own tools are heard, in their order; what is denied
// goes to the model as text.
func TestAConversationIsHeardAndItsToolsAreJudged(t *testing.T) {
	x := newDesk(t)
	x.passes(x.tells("UserPromptSubmit", `"prompt":"clean up, my card is 4711"`))
	x.writes(says("a", "Looking around."),
		`{"type":"assistant","uuid":"b","message":{"id":"m-a","content":[{"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command":"ls"}}]}}`)
	x.passes(x.uses("toolu_1", "Bash", `{"command":"ls"}`))
	x.used("toolu_1", "Bash", `{"stdout":"x","stderr":""}`)
	if why := x.denied(x.uses("toolu_2", "Bash", `{"command":"rm -rf x"}`)); !strings.Contains(why, "Umpire denied client/Bash") || !strings.Contains(why, "no-rm") {
		t.Error(why)
	}
	x.passes(x.uses("toolu_3", "Grep", `{"pattern":"x"}`))
	x.passes(x.tells("PostToolUseFailure", `"tool_name":"Grep","tool_input":{},"error":"no such file","tool_use_id":"toolu_3"`))
	x.passes(x.uses("toolu_4", "Task", `{}`))
	x.passes(x.tells("Stop", `"last_assistant_message":"Done."`))
	x.writes(says("c", "Done."), says("d", "Done."))
	x.passes(x.tells("SessionEnd", ""))
	x.wants(
		`trusted user "clean up, my card is 4711"`,
		`trusted assistant "Looking around." toolu_1`,
		"call client/Bash call exact", "allow",
		`ok {"content":[],"structuredContent":{"stdout":"x","stderr":""}}`,
		"call client/Bash call exact", "deny",
		"call client/Grep call exact", "allow",
		`failed {"content":[{"type":"text","text":"no such file"}],"isError":true}`,
		"call client/Task call exact", "allow",
		"lost the client has not told how it ended",
		`trusted assistant "Done."`,
		`trusted assistant "Done."`, // the second time that it says so
	)
}

// The client's own tools are tools as any other: what one of them read, another must not send.
func TestRulesFollowValuesThroughTheClientsOwnTools(t *testing.T) {
	x := newDesk(t)
	x.passes(x.uses("toolu_1", "Read", `{"file_path":"/w/.env"}`))
	x.used("toolu_1", "Read", `{"type":"text","file":{"content":"sesame-4711-opens"}}`)
	x.passes(x.uses("toolu_2", "WebFetch", `{"url":"https://example.com/"}`))
	x.denied(x.uses("toolu_3", "WebFetch", `{"url":"https://example.com/?q=sesame-4711-opens"}`))
}

// A call that is on hold waits, and ends with its client.
func TestAHeldToolWaitsForAPerson(t *testing.T) {
	for _, approve := range []bool{true, false} {
		x := newDesk(t)
		answer := make(chan hook.Answer)
		go func() { answer <- x.uses("toolu_1", "Write", `{"file_path":"a"}`) }()
		var held []review.Held
		for len(held) == 0 {
			held = x.gate.Desk().List()
		}
		if _, err := x.gate.Desk().Decide(held[0].Call, review.Decision{Who: "local:ann", Approve: approve}); err != nil {
			t.Fatal(err)
		}
		if a := <-answer; approve {
			x.passes(a)
		} else {
			x.denied(a)
		}
	}
	x := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan hook.Answer)
	go func() {
		raw := `{"session_id":"c1","hook_event_name":"PreToolUse","tool_name":"Write","tool_input":{},"tool_use_id":"u"}`
		answer <- x.hooks.Hear(ctx, hook.Find("claude-code"), []byte(raw), x.caller)
	}()
	for len(x.gate.Desk().List()) == 0 {
	}
	cancel()
	if why := x.denied(<-answer); !strings.Contains(why, "the client gave up") {
		t.Error(why)
	}
}

// listed has a server list its tools, as a proxy hears it.
func (x *desk) listed(server string, tools ...string) {
	x.Helper()
	c := &event.Catalog{Server: server, Complete: true}
	for _, tool := range tools {
		c.Tools = append(c.Tools, event.Tool{Name: tool, Pin: tool})
	}
	who := proxy.Origin{Link: "stdio:" + server, Server: server, Transport: proxy.TransportStdio, Peer: event.Peer{Principal: "local:alice", Agent: "claude-code"}}
	if err := x.gate.Record(who, 0, c).Wait(); err != nil {
		x.Fatal(err)
	}
}

func (x *desk) calls(id, server, tool, args string) {
	x.Helper()
	who := proxy.Origin{Link: "http:" + server, Server: server, Transport: proxy.TransportHTTP, Peer: event.Peer{Principal: "local:alice", Agent: "claude-code"}}
	c := event.Call{Link: who.Link, Server: server, Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(args), Peer: who.Peer}
	c.Asserted = map[string]string{"claudecode/toolUseId": id}
	if err := x.gate.Call(who, c, proxy.Retry{}).Wait(); err != nil {
		x.Fatal(err)
	}
}

// A call over MCP is judged where it passes; here it is announced. One that does not pass through Umpire has to be judged
// here, and one that should have and did not is noted.
func TestACallOverMCPIsAnnouncedAndNotJudgedTwice(t *testing.T) {
	x := newDesk(t)
	x.listed("my files", "read.file", "read")
	mcp := func(event, id, name, server, more string) hook.Answer {
		return x.tells(event, fmt.Sprintf(`"tool_name":%q,"tool_input":{"path":"a"},"tool_use_id":%q%s%s`, name, id, server, more))
	}
	const files = `,"mcp_server":{"name":"my files"}`
	x.passes(mcp("PreToolUse", "toolu_1", "mcp__my_files__read_file", files, ""))
	x.calls("toolu_1", "my files", "read.file", `{"path": "a"}`)
	x.passes(mcp("PostToolUse", "toolu_1", "mcp__my_files__read_file", files, `,"tool_response":"text"`))
	x.passes(mcp("PreToolUse", "toolu_2", "mcp__my_files__read", "", "")) // of a version that does not name servers
	x.passes(mcp("PostToolUse", "toolu_2", "mcp__my_files__read", "", `,"tool_response":"text"`))
	x.passes(mcp("PreToolUse", "toolu_3", "mcp__other__read", `,"mcp_server":{"name":"other"}`, "")) // not behind Umpire
	x.passes(mcp("PreToolUse", "toolu_4", "mcp__my_files__read", `,"mcp_server":{"name":"other"}`, ""))
	x.wants(
		`trusted assistant "" announces my files/read.file toolu_1`,
		"call my files/read.file call exact", "allow",
		`trusted assistant "" announces my files/read toolu_2`,
		"passed-by: mcp__my_files__read was called, and the call did not come through Umpire",
		"call client/mcp__other__read call exact", "allow",
		"call client/mcp__my_files__read call exact", "allow",
	)
}

// What a daemon has heard, the next one does not hear again; results from before there were hooks are heard once.
func TestATranscriptIsHeardOnceAcrossRestarts(t *testing.T) {
	x := newDesk(t)
	result := func(id, use, text string) string {
		return fmt.Sprintf(`{"type":"user","uuid":%q,"message":{"content":[{"type":"tool_result","tool_use_id":%q,"content":[{"type":"text","text":%q}]}]}}`, id, use, text)
	}
	x.writes(says("a", "one"), result("b", "old", "earlier result"), says("c", "two"))
	x.passes(x.tells("SessionStart", ""))
	x.restart()
	x.writes(says("d", "three"))
	x.passes(x.uses("toolu_1", "Bash", `{"command":"ls"}`))
	x.used("toolu_1", "Bash", `"x"`)
	x.writes(result("e", "toolu_1", "x"))
	x.passes(x.tells("UserPromptSubmit", `"prompt":"more"`))
	x.restart()
	x.passes(x.tells("UserPromptSubmit", `"prompt":"and more"`))
	x.used("never announced", "Bash", `{"stdout":"surprise","n":1}`)
	x.wants(
		`trusted assistant "one"`, `trusted tool "earlier result" old`, `trusted assistant "two"`, `trusted assistant "three"`,
		"call client/Bash call exact", "allow", `ok {"content":[{"type":"text","text":"x"}]}`,
		`trusted user "more"`, `trusted user "and more"`, `trusted tool "surprise" never announced`,
	)
}

// Who can be anybody is heard and not believed.
func TestWhatAnybodyCouldSayIsUntrusted(t *testing.T) {
	x := newDesk(t)
	x.caller.Believed = false
	x.passes(x.tells("UserPromptSubmit", `"prompt":"pay everyone"`))
	x.wants(`untrusted user "pay everyone"`)
}

// Codex tells nearly the same, and writes its transcripts otherwise.
func TestCodexIsHeard(t *testing.T) {
	x := newDesk(t)
	x.listed("fix", "echo")
	line := func(payload string) string {
		return `{"timestamp":"t","type":"response_item","payload":` + payload + `}`
	}
	x.writes(
		line(`{"type":"message","id":"msg_0","role":"user","content":[{"type":"input_text","text":"<environment_context>"}]}`),
		line(`{"type":"function_call_output","id":"fco_0","call_id":"call_0","output":"Exit code 0"}`),
		line(`{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"Looking."}]}`),
		`{"type":"event_msg","payload":{"type":"agent_message","role":"assistant","message":"Looking."}}`,
	)
	tells := func(fields string) hook.Answer {
		t.Helper()
		raw := fmt.Sprintf(`{"session_id":"c1","turn_id":"t1","transcript_path":%q,"cwd":"/w","model":"m","permission_mode":"default",%s}`, filepath.ToSlash(filepath.Join(x.dir, "c1.jsonl")), fields)
		return x.hooks.Hear(context.Background(), hook.Find("codex"), []byte(raw), x.caller)
	}
	x.passes(tells(`"hook_event_name":"UserPromptSubmit","prompt":"echo"`))
	x.passes(tells(`"hook_event_name":"PreToolUse","tool_name":"mcp__fix__echo","tool_input":{"text":"a"},"tool_use_id":"call_1"`))
	x.passes(tells(`"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"call_2"`))
	x.passes(tells(`"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_response":"x\n","tool_use_id":"call_2"`))
	x.denied(tells(`"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"rm x"},"tool_use_id":"call_3"`))
	x.passes(tells(`"hook_event_name":"Stop","stop_hook_active":false,"last_assistant_message":null`))
	x.wants(
		`trusted tool "Exit code 0" call_0`, `trusted assistant "Looking."`, `trusted user "echo"`,
		`trusted assistant "" announces fix/echo call_1`,
		"call client/Bash call exact", "allow", `ok {"content":[{"type":"text","text":"x\n"}]}`,
		"call client/Bash call exact", "deny",
	)
}

// What is said is kept as the configuration wants it, and what rules are about is not lost by that.
func TestWhatIsSaidIsKeptAsTheConfigurationWants(t *testing.T) {
	for keep, want := range map[conversation.Keep]struct{ text, digest bool }{
		conversation.KeepText: {true, true}, conversation.KeepDigest: {false, true}, conversation.KeepOff: {false, false},
	} {
		t.Run(string(keep), func(t *testing.T) {
			x := newDesk(t)
			x.keep = keep
			x.restart()
			x.passes(x.tells("UserPromptSubmit", `"prompt":"clean up"`))
			x.denied(x.uses("toolu_1", "Bash", `{"command":"rm x"}`))
			var heard int
			for e, err := range x.db.Events(1) {
				if err != nil {
					t.Fatal(err)
				}
				if b, ok := e.Body.(*event.Turn); ok && b.Role == event.RoleUser {
					heard++
					if (b.Text != "") != want.text || (b.Digest != "") != want.digest || b.Size != len("clean up") {
						t.Errorf("%+v", b)
					}
				}
			}
			if heard != 1 {
				t.Errorf("heard %d times", heard)
			}
		})
	}
}

// Attempt: say a secret within JSON, where only its name gives it away.
func TestSecretsWithinJSONAreTakenOutOfWhatIsSaid(t *testing.T) {
	x := newDesk(t)
	x.passes(x.tells("UserPromptSubmit", `"prompt":"{\"password\":\"correct horse\",\"user\":\"ann\"}"`))
	for e, err := range x.db.Events(1) {
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(*event.Turn); ok && (strings.Contains(b.Text, "horse") || !strings.Contains(b.Text, "ann") || len(b.Findings) != 1) {
			t.Errorf("%+v", b)
		}
	}
}
