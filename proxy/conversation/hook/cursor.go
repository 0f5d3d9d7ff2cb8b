package hook

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// cursor is Cursor, as described in its docs/reference/hooks and as others have measured it with 3.9.16; it was not measured here.
// There are two layers of hooks. preToolUse and postToolUse are about every tool and have an id of the call;
// beforeMCPExecution alone says which server a tool is of, so it is there that calls over MCP are told. Who has the hooks
// of single tools instead (beforeShellExecution, beforeReadFile) is heard as well.
var cursor = &Client{
	Name: "cursor", Agent: "cursor-vscode", Session: "sessionId",
	Kinds: map[string]Kind{
		"beforeSubmitPrompt": Prompt, "preToolUse": Before, "postToolUse": After, "postToolUseFailure": Failed,
		"beforeMCPExecution": Before, "afterMCPExecution": After, "beforeShellExecution": Before, "afterShellExecution": After,
		"beforeReadFile": Before, "afterAgentResponse": Said, "stop": Stopped, "sessionEnd": Ended, "sessionStart": Silent,
		"afterAgentThought": Silent, "afterFileEdit": Silent, "subagentStart": Silent, "subagentStop": Silent, "preCompact": Silent,
		"workspaceOpen": Silent,

		// Claude Code's hooks, where Cursor runs them.
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "PostToolUseFailure": Failed, "Stop": Stopped,
		"SessionEnd": Ended, "SessionStart": Silent, "SubagentStart": Silent, "SubagentStop": Silent,
	},
	fields: fields{
		event: "hook_event_name", conversation: "conversation_id session_id", turn: "generation_id", workspace: "workspace_roots.0 cwd",
		prompt: "prompt", use: "tool_use_id", tool: "tool_name", args: "tool_input", response: "tool_output tool_response result_json output",
		problem: "error_message", words: "text",
	},
	tool: cursorTool,
	pass: func(k Kind) Answer {
		switch k {
		case Before: // where failClosed is set, an answer without a decision is a failure
			return Answer{Stdout: `{"permission":"allow"}`}
		case Prompt:
			return Answer{Stdout: `{"continue":true}`}
		case Silent, After, Failed, Said, Stopped, Ended:
		}
		return Pass
	},
	deny: func(reason string) Answer { // beside another status than 0, it would be taken for text
		return say(map[string]string{"permission": "deny", "user_message": reason, "agent_message": reason})
	},
	tells: func(root gjson.Result) bool { return root.Get("cursor_version").Exists() },
	again: func(in *Input, _ []byte) string { // of one tool call, to its own hooks and to Claude Code's
		if in.Use == "" {
			return ""
		}
		return strings.ToLower(in.Event) + " " + in.Use + " " + in.Tool + " " + string(in.Args)
	},
}

// The tools of Cursor that some hooks are about without naming them.
const (
	cursorShell = "Shell"
	cursorRead  = "Read"
	cursorMCP   = "MCP:"
)

func cursorTool(in *Input, root gjson.Result) {
	as := func(tool, field string) {
		in.Tool, in.Args = tool, nil
		if in.Kind == Before || tool == cursorShell {
			in.Args = object(field, root.Get(field))
		}
	}
	switch in.Event {
	case "beforeShellExecution", "afterShellExecution":
		as(cursorShell, "command")
	case "beforeReadFile":
		as(cursorRead, "file_path")
	case "beforeMCPExecution", "afterMCPExecution":
		in.Tool = cursorMCP + strings.TrimPrefix(in.Tool, cursorMCP)
		if inner := root.Get("tool_input"); inner.Type == gjson.String && gjson.Valid(inner.Str) {
			in.Args = []byte(inner.Str)
		}
		in.MCP = behind(root.Get("url").Str, strings.Fields(root.Get("command").Str), in.Workspace, "", strings.TrimPrefix(in.Tool, cursorMCP))
	case "preToolUse":
		if strings.HasPrefix(in.Tool, cursorMCP) {
			in.Kind = Silent // beforeMCPExecution tells of it
		}
	case "PreToolUse": // among Claude Code's, nothing else tells of a call over MCP, nor of its server
		if tool, over := strings.CutPrefix(in.Tool, cursorMCP); over {
			in.MCP = behind("", nil, "", "", tool)
		}
	case "postToolUse", "PostToolUse", "postToolUseFailure", "PostToolUseFailure":
		if strings.HasPrefix(in.Tool, cursorMCP) {
			in.Kind = Silent
		}
		in.refused = root.Get("failure_type").Str == "permission_denied"
	}
}

// object returns a JSON object with one member.
func object(name string, value gjson.Result) []byte {
	if value.Type != gjson.String {
		return nil
	}
	raw, err := json.Marshal(map[string]string{name: value.Str})
	if err != nil {
		return nil
	}
	return raw
}
