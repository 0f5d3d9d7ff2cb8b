package hook_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy/conversation/hook"
)

// What a transcript tells is called as the client's hooks call it, so that one policy fits both.
func TestReadLineTellsWhatHappened(t *testing.T) {
	claude := func(kind, content string) string {
		return `{"sessionId":"c","type":"` + kind + `","promptId":"p","message":{"id":"m","role":"x","content":` + content + `}}`
	}
	use := func(name, input string) string {
		return claude("assistant", `[{"type":"tool_use","id":"u","name":"`+name+`","input":`+input+`}]`)
	}
	codex := func(item string) string { return `{"type":"response_item","payload":` + item + `}` }
	for name, c := range map[string]struct{ client, line, want string }{
		"a prompt":              {"claude-code", claude("user", `"do it"`), "user trusted do it"},
		"a prompt of blocks":    {"claude-code", claude("user", `[{"type":"text","text":"do it"},{"type":"image"}]`), "user trusted do it"},
		"what a client adds":    {"claude-code", claude("user", `"do it\n<system-reminder>\nlie\n</system-reminder>"`), "user trusted do it|system untrusted \n<system-reminder>\nlie\n</system-reminder>"},
		"a sub-agent's task":    {"claude-code", `{"sessionId":"c","type":"user","isSidechain":true,"agentId":"a","message":{"content":"do it"}}`, "assistant trusted do it of a"},
		"a summary":             {"claude-code", `{"sessionId":"c","type":"user","isCompactSummary":true,"message":{"content":"all"}}`, "assistant trusted all"},
		"words":                 {"claude-code", claude("assistant", `[{"type":"text","text":"yes"}]`), "assistant trusted yes"},
		"a client's tool":       {"claude-code", use("Bash", `{"command":"ls"}`), `client/Bash {"command":"ls"} u`},
		"a tool over MCP":       {"claude-code", use("mcp__mail__send_all", `{}`), `mail/send_all {} u`},
		"a name that is no MCP": {"claude-code", use("mcp__mail", `{}`), `client/mcp__mail {} u`},
		"no arguments":          {"claude-code", use("Bash", `7`), `client/Bash {"input":"7"} u`},
		"no id":                 {"claude-code", strings.Replace(use("Bash", `{}`), `"u"`, `7`, 1), ""},
		"a result":              {"claude-code", claude("user", `[{"type":"tool_result","tool_use_id":"u","content":"x","is_error":true}]`), "tool trusted x u failed"},
		"an empty result":       {"claude-code", claude("user", `[{"type":"tool_result","tool_use_id":"u","content":""}]`), "tool trusted  u"},
		"nothing":               {"claude-code", `{"sessionId":"c","type":"summary"}`, ""},
		"codex: a prompt":       {"codex", codex(`{"type":"message","role":"user","content":[{"type":"input_text","text":"do it"}]}`), "user trusted do it"},
		"codex: over MCP":       {"codex", codex(`{"type":"function_call","name":"send","namespace":"mcp__my__mail","arguments":"{\"a\":1}","call_id":"u"}`), `my__mail/send {"a":1} u apart`},
		"codex: one name":       {"codex", codex(`{"type":"function_call","name":"mcp__mail__send","arguments":"{}","call_id":"u"}`), `mail/send {} u`},
		"codex: its shell":      {"codex", codex(`{"type":"function_call","name":"exec_command","arguments":"{\"cmd\":\"ls\"}","call_id":"u"}`), `client/Bash {"command":"ls"} u`},
		"codex: an older shell": {"codex", codex(`{"type":"function_call","name":"shell","arguments":"{\"command\":[\"bash\",\"-lc\",\"ls -l\"]}","call_id":"u"}`), `client/Bash {"command":"ls -l"} u`},
		"codex: a program":      {"codex", codex(`{"type":"function_call","name":"shell","arguments":"{\"command\":[\"rm\",\"-r\",\"x\",\"y\"]}","call_id":"u"}`), `client/Bash {"command":"rm -r x y"} u`},
		"codex: rm of one":      {"codex", codex(`{"type":"function_call","name":"shell","arguments":"{\"command\":[\"rm\",\"-r\",\"x\"]}","call_id":"u"}`), `client/Bash {"command":"rm -r x"} u`},
		"codex: a result":       {"codex", codex(`{"type":"function_call_output","call_id":"u","output":"x"}`), "tool trusted x u"},
		"codex: a notice":       {"codex", `{"type":"event_msg","payload":{"type":"agent_message","message":"twice"}}`, ""},
	} {
		l, err := hook.Find(c.client).ReadLine([]byte(c.line))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, p := range l.Past {
			s := fmt.Sprintf("%s %s %s", p.Role, p.Trust, p.Text)
			if p.Tool != "" {
				s = fmt.Sprintf("%s/%s %s", p.Server, p.Tool, p.Args)
			}
			if p.Use != "" {
				s += " " + p.Use
			}
			if p.Failed {
				s += " failed"
			}
			if p.Apart {
				s += " apart"
			}
			if p.Subagent != "" {
				s += " of " + p.Subagent
			}
			got = append(got, s)
		}
		if !slices.Equal(got, strings.Split(c.want, "|")) && (c.want != "" || len(got) > 0) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for _, line := range []string{`{"sessionId":"c","type":"user","type":"assistant"}`, "\xff", `{`} {
		if _, err := hook.Find("claude-code").ReadLine([]byte(line)); err == nil {
			t.Errorf("%q has one reading", line)
		}
	}
}

// How a call of Codex ended stands in an item of its own, and for its own tools in what the model is told, before what the tool gave.
// What a server gives cannot say that its call failed.
func TestCodexTellsHowCallsEnded(t *testing.T) {
	item := func(kind, how string) string {
		return `{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"` + kind + `","id":"u",` + how + `}}}`
	}
	output := func(text string) string {
		return `{"type":"response_item","payload":{"type":"function_call_output","call_id":"u","output":` + text + `}}`
	}
	for line, want := range map[string]hook.Past{
		item("McpToolCall", `"status":"completed"`):                                                                      {Ended: true},
		item("McpToolCall", `"status":"failed"`):                                                                         {Ended: true, Failed: true},
		item("CommandExecution", `"status":"completed","exit_code":0`):                                                   {Ended: true},
		item("CommandExecution", `"status":"completed","exit_code":-1`):                                                  {Ended: true, Failed: true},
		item("FileChange", `"status":"declined"`):                                                                        {Ended: true, Failed: true},
		output(`"Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nProcess exited with code 1"`): {},
		output(`"Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 1\nOutput:\nx"`):                          {Says: true},
		output(`"Exit code: 127\nWall time: 0.1 seconds\nOutput:\nno such program"`):                                     {Says: true},
		output(`"{\"output\":\"no\",\"metadata\":{\"exit_code\":2,\"duration_seconds\":0.1}}"`):                          {Says: true},
		output(`"{\"output\":\"Exit code: 1\",\"metadata\":{\"exit_code\":0}}"`):                                         {},
		output(`"Command blocked by PreToolUse hook: Umpire denied it"`):                                                 {Says: true},
		output(`"aborted by user after 0.1s"`):                                                                           {Lost: true},
		output(`[{"type":"input_text","text":"Exit code: 1\nOutput:\n"}]`):                                               {},
	} {
		l, err := hook.Find("codex").ReadLine([]byte(line))
		if err != nil || len(l.Past) != 1 {
			t.Errorf("%s: %+v %v", line, l.Past, err)
			continue
		}
		p := l.Past[0]
		if p.Use != "u" || p.Ended != want.Ended || p.Failed != want.Failed || p.Says != want.Says || p.Lost != want.Lost {
			t.Errorf("%s: %+v, want %+v", line, p, want)
		}
	}
	if l, err := hook.Find("codex").ReadLine([]byte(item("AgentMessage", `"content":[]`))); err != nil || len(l.Past) > 0 {
		t.Errorf("%+v %v", l.Past, err)
	}
}
