// Package hook hears a conversation through the hooks of its client: what the user said, what the model answers, and which
// tools it is about to use. Calls of the client's own tools, such as its shell, are judged here, since no proxy sees them;
// calls that go over MCP are announced, so that the proxy knows to which conversation they belong.
//
// A client runs a command (umpire hook) or posts to /hooks/CLIENT; either way it sends one JSON object and acts on the
// Answer.
package hook

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Kind is what a client tells.
type Kind uint8

// The kinds. Silent is anything from which nothing follows.
const (
	Silent  Kind = iota
	Prompt       // the user has said something
	Before       // a tool is about to be used: the answer can prevent it
	After        // it was used
	Failed       // it was used and failed, or was not used at all
	Stopped      // the model has said all that it has to say
	Ended        // the conversation is over
)

// Client describes the hooks of a client: which there are, where in their JSON is what, and how they are answered.
type Client struct {
	Name    string          // as in umpire hook NAME and /hooks/NAME
	Agent   string          // what it calls itself over MCP
	Session string          // under which name its MCP side asserts the id of a conversation
	Use     string          // and that of a tool call
	Kinds   map[string]Kind // its events
	Blocks  string          // the event that can prevent a call
	fields  fields
	roots   func(getenv func(string) string, home string) []string
	marks   []string // what a line of its transcript holds that is worth a look
	said    func(line gjson.Result) []piece
	tool    func(in *Input, mcpServer string)
	deny    func(reason string) Answer
}

// fields are the paths of what the JSON of a hook has.
type fields struct {
	event, conversation, turn, subagent, workspace, transcript string
	prompt                                                     string
	use, tool, args, mcpServer                                 string
	response, problem, words                                   string
	line                                                       string // of a line of the transcript: its id
}

// Answer is what a client gets to hear from its hook.
type Answer struct {
	Exit   int    `json:"exit"` // status of a command
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}

// Pass lets the client do as it would without the hook: it asks its user where it would have asked. Umpire loosens
// nothing.
var Pass = Answer{}

// Exit statuses of a command hook.
const (
	exitProblem = 1 // the user hears of it, and the client goes on
	exitBlock   = 2 // what the client was about to do does not happen
)

// Deny prevents the call of a tool.
func (c *Client) Deny(reason string) Answer { return c.deny(reason) }

// Roots returns the directories in which the client, with this environment, keeps its transcripts.
func (c *Client) Roots(getenv func(string) string, home string) []string {
	return c.roots(getenv, home)
}

// Find returns the client of that name; nil if its hooks are not known.
func Find(name string) *Client {
	i := slices.IndexFunc(all, func(c *Client) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// Names returns the clients whose hooks are known.
func Names() (names []string) {
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

var all = []*Client{claudeCode, codex}

// claudeCode is Claude Code, measured with 2.1.330.
var claudeCode = &Client{
	Name: "claude-code", Agent: "claude-code", Session: "CLAUDE_CODE_SESSION_ID", Use: "claudecode/toolUseId",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "PostToolUseFailure": Failed,
		"Stop": Stopped, "SessionEnd": Ended, "SessionStart": Silent, "SubagentStart": Silent, "SubagentStop": Silent,
		"Notification": Silent, "PreCompact": Silent, "PostCompact": Silent,
	},
	Blocks: "PreToolUse",
	fields: fields{
		event: "hook_event_name", conversation: "session_id", turn: "prompt_id", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", prompt: "prompt", use: "tool_use_id", tool: "tool_name", args: "tool_input",
		mcpServer: "mcp_server.name", response: "tool_response", problem: "error", words: "last_assistant_message", line: "uuid",
	},
	roots: func(getenv func(string) string, home string) []string {
		if dir := getenv("CLAUDE_CONFIG_DIR"); dir != "" {
			return []string{filepath.Join(dir, "projects")}
		}
		return []string{filepath.Join(home, ".claude", "projects")}
	},
	marks: []string{`"assistant"`, `"tool_result"`},
	said:  claudeSays,
	tool:  prefixed("mcp__"),
	deny:  permission,
}

// codex is Codex, measured with 0.169.0.
var codex = &Client{
	Name: "codex", Agent: "codex-mcp-client", Session: "sessionId", Use: "callId",
	Kinds: map[string]Kind{
		"UserPromptSubmit": Prompt, "PreToolUse": Before, "PostToolUse": After, "Stop": Stopped, "SessionEnd": Ended,
		"Interrupt": Silent, "SessionStart": Silent, "SubagentStart": Silent, "SubagentStop": Silent, "PermissionRequest": Silent,
		"PreCompact": Silent, "PostCompact": Silent,
	},
	Blocks: "PreToolUse",
	fields: fields{
		event: "hook_event_name", conversation: "session_id", turn: "turn_id", subagent: "agent_id", workspace: "cwd",
		transcript: "transcript_path", prompt: "prompt", use: "tool_use_id", tool: "tool_name", args: "tool_input",
		response: "tool_response", words: "last_assistant_message", line: "payload.id",
	},
	roots: func(getenv func(string) string, home string) []string {
		if dir := getenv("CODEX_HOME"); dir != "" {
			return []string{filepath.Join(dir, "sessions")}
		}
		return []string{filepath.Join(home, ".codex", "sessions")}
	},
	marks: []string{`"assistant"`, `_call_output"`},
	said:  codexSays,
	tool:  prefixed("mcp__"),
	deny:  permission,
}

// permission prevents a call as Claude Code and Codex understand it.
func permission(reason string) Answer {
	type output struct {
		Event    string `json:"hookEventName"`
		Decision string `json:"permissionDecision"`
		Reason   string `json:"permissionDecisionReason"`
	}
	return say(map[string]output{"hookSpecificOutput": {"PreToolUse", "deny", reason}})
}

// prefixed names the tool of an MCP server that the client calls PREFIX + SERVER + "__" + TOOL. Names may hold "__", so
// nothing is split: without the server's name, whoever knows the tools has to find the one that is called so.
func prefixed(prefix string) func(*Input, string) {
	return func(in *Input, server string) {
		if !strings.HasPrefix(in.Tool, prefix) {
			return
		}
		called := func(server, tool string) bool { return prefix+plain(server)+"__"+plain(tool) == in.Tool }
		if server != "" {
			tool, ok := strings.CutPrefix(in.Tool, prefix+plain(server)+"__")
			in.MCP = func(s, t string) bool { return ok && s == server && plain(t) == tool }
			return
		}
		in.MCP = called
	}
}

// plain spells a name as it stands in the name of a tool.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
}

// say is an answer in JSON.
func say(v any) Answer {
	text, err := json.Marshal(v)
	if err != nil { // what answers are made of can be written
		return Answer{Exit: exitBlock, Stderr: "umpire: " + err.Error()}
	}
	return Answer{Stdout: string(text)}
}
