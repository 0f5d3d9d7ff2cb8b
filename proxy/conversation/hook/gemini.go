package hook

import (
	"cmp"
	"path/filepath"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// gemini is Gemini CLI, measured with 0.61.0. Its hooks are described in docs/hooks/reference.md of its package; they have no
// id of a call, and the tool of an MCP server by its own name.
var gemini = &Client{
	Name: "gemini", Agent: "gemini-cli-mcp-client", Session: "sessionId",
	Kinds: map[string]Kind{
		"BeforeAgent": Prompt, "BeforeTool": Before, "AfterTool": After, "AfterAgent": Stopped, "SessionEnd": Ended,
		"SessionStart": Silent, "Notification": Silent, "PreCompress": Silent, "BeforeModel": Silent, "AfterModel": Silent,
		"BeforeToolSelection": Silent,
	},
	fields: fields{
		event: "hook_event_name", conversation: "session_id", workspace: "cwd", transcript: "transcript_path", prompt: "prompt",
		tool: "tool_name", args: "tool_input", response: "tool_response.llmContent tool_response",
		problem: "tool_response.error.message", words: "prompt_response", line: "id",
	},
	roots: func(getenv func(string) string, home string) []string {
		return []string{filepath.Join(cmp.Or(getenv("GEMINI_CLI_HOME"), home), ".gemini", "tmp")}
	},
	marks: []string{`"gemini"`, `"functionResponse"`},
	said:  geminiSays,
	tool: func(in *Input, root gjson.Result) {
		if context := root.Get("mcp_context"); context.Exists() {
			in.MCP = geminiServer(context, in.Workspace)
		}
		if in.Kind == After && in.Text != "" {
			in.Kind = Failed
		}
	},
	deny: func(reason string) Answer {
		return say(map[string]string{"decision": "deny", "reason": reason})
	},
	status: exitBlock,
}

// geminiServer returns which tool of an MCP server is meant, if that is reached through Umpire.
func geminiServer(context gjson.Result, workspace string) func(server, tool string) bool {
	server := context.Get("server_name").Str
	if server == "" || context.Get("tcp").Exists() {
		return nil
	}
	var command []string
	if program := context.Get("command").Str; program != "" {
		command = append(command, program)
		for _, arg := range context.Get("args").Array() {
			command = append(command, arg.Str)
		}
	}
	return behind(context.Get("url").Str, command, workspace, server, context.Get("tool_name").Str)
}

// geminiSays returns what one line of a chat of Gemini CLI says. A line is written again as the message grows.
func geminiSays(line gjson.Result) (out []piece) {
	content := line.Get("content")
	switch line.Get("type").Str {
	case "gemini":
		return []piece{{role: event.RoleAssistant, text: words(content), message: line.Get("id").Str, whole: true}}
	case "user":
		for _, part := range content.Array() {
			if given := part.Get("functionResponse"); given.Exists() {
				out = append(out, piece{role: event.RoleTool, text: flat([]byte(given.Get("response").Raw)), calls: calls(given.Get("id"))})
			}
		}
	}
	return out
}
