package hook

import (
	"cmp"
	"path/filepath"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// codex is Codex, measured with 0.169.0. What its hooks send is described in its source, codex-rs/hooks/schema/generated.
var codex = &Client{
	Name: "codex", Agent: "codex-mcp-client", Session: "sessionId", Use: "callId",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "Stop": Stopped, "SubagentStop": Stopped,
		"SessionEnd": Ended, "Interrupt": Silent, "SessionStart": Silent, "SubagentStart": Silent, "PermissionRequest": Silent,
		"PreCompact": Silent, "PostCompact": Silent,
	},
	fields: fields{
		event: "hook_event_name", conversation: "session_id", turn: "turn_id", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", subscript: "agent_transcript_path", prompt: "prompt", use: "tool_use_id", tool: "tool_name",
		args: "tool_input", response: "tool_response", words: "last_assistant_message", line: "payload.id",
	},
	roots: func(getenv func(string) string, home string) []string {
		return []string{filepath.Join(cmp.Or(getenv("CODEX_HOME"), filepath.Join(home, ".codex")), "sessions")}
	},
	marks:  []string{`"assistant"`, `_call_output"`},
	said:   codexSays,
	tool:   prefixed("mcp__", "__"),
	deny:   permission,
	status: exitBlock,
}

// codexSays returns what one line of Codex' rollout says.
func codexSays(line gjson.Result) []piece {
	item := line.Get("payload")
	if line.Get("type").Str != "response_item" {
		return nil
	}
	switch kind := item.Get("type").Str; {
	case kind == "message" && item.Get("role").Str == "assistant":
		return []piece{{role: event.RoleAssistant, text: words(item.Get("content"))}}
	case kind == "function_call_output" || kind == "custom_tool_call_output":
		return []piece{{role: event.RoleTool, text: words(item.Get("output")), calls: calls(item.Get("call_id"))}}
	}
	return nil
}
