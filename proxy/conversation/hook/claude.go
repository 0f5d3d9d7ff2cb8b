package hook

import (
	"cmp"
	"path/filepath"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// claudeCode is Claude Code, measured with 2.1.330. VS Code and Cursor run the hooks of ~/.claude/settings.json as well
// (VS Code's docs/agent-customization/hooks.md; Cursor's docs/reference/third-party-hooks).
var claudeCode = &Client{
	Name: "claude-code", Agent: "claude-code", Session: "CLAUDE_CODE_SESSION_ID", Use: "claudecode/toolUseId",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "PostToolUseFailure": Failed,
		"Stop": Stopped, "SubagentStop": Stopped, "SessionEnd": Ended, "SessionStart": Silent, "SubagentStart": Silent,
		"Notification": Silent, "PreCompact": Silent, "PostCompact": Silent,
	},
	fields: fields{
		event: "hook_event_name", conversation: "session_id", turn: "prompt_id", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", subscript: "agent_transcript_path", prompt: "prompt", use: "tool_use_id", tool: "tool_name",
		args: "tool_input", mcpServer: "mcp_server.name", response: "tool_response", problem: "error",
		words: "last_assistant_message", line: "uuid",
	},
	roots: func(getenv func(string) string, home string) []string {
		return []string{filepath.Join(cmp.Or(getenv("CLAUDE_CONFIG_DIR"), filepath.Join(home, ".claude")), "projects")}
	},
	marks:  []string{`"assistant"`, `"tool_result"`},
	said:   claudeSays,
	tool:   prefixed("mcp__", "__"),
	deny:   permission,
	status: exitBlock,
	others: []*Client{cursor, vscode},
}

// claudeSays returns what one line of Claude Code's transcript says.
func claudeSays(line gjson.Result) (out []piece) {
	p := piece{subagent: clip(line.Get("agentId").Str), message: line.Get("message.id").Str}
	if p.subagent == "" && line.Get("isSidechain").Bool() {
		p.subagent = "sidechain" // of a version that does not name them
	}
	kind, content := line.Get("type").Str, line.Get("message.content")
	if content.Type == gjson.String && kind == "assistant" {
		p.role, p.text = event.RoleAssistant, content.Str
		return []piece{p}
	}
	if !content.IsArray() {
		return nil
	}
	for _, block := range content.Array() {
		next := p
		switch what := block.Get("type").Str; {
		case kind == "assistant" && what == "text":
			next.role, next.text = event.RoleAssistant, block.Get("text").Str
		case kind == "user" && what == "tool_result":
			next.role, next.text = event.RoleTool, words(block.Get("content"))
			next.calls, next.failed = calls(block.Get("tool_use_id")), block.Get("is_error").Bool()
		default:
			continue
		}
		out = append(out, next)
	}
	return out
}
