package hook

import (
	"cmp"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// copilot is Copilot CLI, measured with 1.0.102. Its hooks are described in github/docs,
// content/copilot/reference/hooks-reference.md. Those that are named as VS Code names them say which event it is, and call
// tools by the names that they have in Claude Code; what follows is about these. They have no id of a call, and no
// transcript before the end of a turn, though it is always in the same place.
var copilot = &Client{
	Name: "copilot", Agent: "copilot-cli", Session: "COPILOT_AGENT_SESSION_ID",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "PostToolUseFailure": Failed, "Stop": Stopped,
		"SubagentStop": Stopped, "SessionEnd": Ended, "SessionStart": Silent, "SubagentStart": Silent, "ErrorOccurred": Silent,
		"PreCompact": Silent, "PermissionRequest": Silent, "Notification": Silent,
	},
	hint: "in Copilot's hooks, name the events PreToolUse, PostToolUse … instead of preToolUse, postToolUse …",
	fields: fields{
		event: "hook_event_name", conversation: "parent_agent_id session_id", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", prompt: "prompt", tool: "tool_name", args: "tool_input",
		response: "tool_result.text_result_for_llm tool_result", problem: "error", words: "last_assistant_message", line: "id",
	},
	roots: func(getenv func(string) string, home string) []string {
		return []string{filepath.Join(cmp.Or(getenv("COPILOT_HOME"), filepath.Join(home, ".copilot")), "session-state")}
	},
	script: func(conversation, root string) string { return filepath.Join(root, conversation, "events.jsonl") },
	marks:  []string{`"assistant.message"`, `"tool.execution_complete"`},
	said:   copilotSays,
	tool: func(in *Input, _ gjson.Result) {
		in.MCP = func(server, tool string) bool { return plain(server)+"-"+plain(tool) == in.Tool }
	},
	deny:   permission,
	status: exitBlock,
	others: []*Client{vscode},
}

// copilotSays returns what one line of the events of Copilot CLI says, and of VS Code's transcripts, which are the same.
func copilotSays(line gjson.Result) []piece {
	p, data := piece{subagent: clip(line.Get("agentId").Str)}, line.Get("data")
	switch line.Get("type").Str {
	case "assistant.message":
		p.role, p.text = event.RoleAssistant, data.Get("content").Str
		for _, request := range data.Get("toolRequests").Array() {
			if use := calls(request.Get("toolCallId")); len(p.calls) < maxPieces {
				p.calls = append(p.calls, use...)
			}
		}
	case "tool.execution_complete":
		p.role, p.text, p.calls = event.RoleTool, data.Get("result.content").Str, calls(data.Get("toolCallId"))
	default:
		return nil
	}
	return []piece{p}
}

// vscode is the agent of VS Code, as described in microsoft/vscode-docs (docs/agent-customization/hooks.md) and as it is in
// microsoft/vscode, extensions/copilot (chatHookService.ts, hookExecutor.ts, sessionTranscriptService.ts); it was not measured.
// It has no hooks of its own: it runs those of ~/.copilot/hooks and of ~/.claude/settings.json, with the same JSON for all.
var vscode = &Client{
	Name: "vscode", Agent: "Visual Studio Code", Session: "sessionId",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "Stop": Stopped, "SubagentStop": Stopped,
		"SessionStart": Silent, "SubagentStart": Silent, "PreCompact": Silent,
	},
	fields: fields{
		event: "hook_event_name hookEventName", conversation: "session_id sessionId", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", prompt: "prompt", use: "tool_use_id", tool: "tool_name", args: "tool_input",
		response: "tool_response", line: "id",
	},
	roots: func(getenv func(string) string, home string) (out []string) {
		dir := filepath.Join(cmp.Or(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")))
		switch runtime.GOOS {
		case "darwin":
			dir = filepath.Join(home, "Library", "Application Support")
		case "windows":
			dir = cmp.Or(getenv("APPDATA"), filepath.Join(home, "AppData", "Roaming"))
		}
		for _, edition := range []string{"Code", "Code - Insiders"} {
			out = append(out, filepath.Join(dir, edition, "User", "workspaceStorage"))
		}
		return out
	},
	marks: []string{`"assistant.message"`, `"tool.execution_complete"`},
	said:  copilotSays,
	tool: func(in *Input, _ gjson.Result) {
		in.Use, _, _ = strings.Cut(in.Use, "__vscode-") // as its transcript has it
		in.MCP = func(server, tool string) bool { return vscodeName(server, tool) == in.Tool }
	},
	deny:   permission,
	status: exitBlock,
	tells: func(root gjson.Result) bool { // Claude Code tells no time, and Copilot CLI neither an id nor this transcript
		if root.Get("cursor_version").Exists() || !root.Get("timestamp").Exists() {
			return false
		}
		path := filepath.ToSlash(root.Get("transcript_path").Str)
		return root.Get("tool_use_id").Exists() || root.Get("hookEventName").Exists() || path != "" && !strings.HasSuffix(path, "/events.jsonl")
	},
	again: func(in *Input, raw []byte) string { // byte for byte, with the time
		if !gjson.GetBytes(raw, "timestamp").Exists() || in.Kind == Before && in.Use == "" {
			return ""
		}
		return string(raw)
	},
}

// vscodeName returns what VS Code calls a tool (McpPrefixGenerator in src/vs/workbench/contrib/mcp): of two servers whose names
// it shortens to the same, the second one's tools are called otherwise, and are not found.
func vscodeName(server, tool string) string {
	safe := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r) {
				return r
			}
			return '_'
		}, s)
	}
	server = safe(strings.ToLower(server))
	return "mcp_" + server[:min(len(server), 13)] + "_" + safe(tool)
}
