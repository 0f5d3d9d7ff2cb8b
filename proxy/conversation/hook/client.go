// Package hook hears a conversation through the hooks of its client: what the user said, what the model answers, and which
// tools it is about to use. Calls of the client's own tools, such as its shell, are judged here, since no proxy sees them;
// calls that go over MCP are announced, so that the proxy knows to which conversation they belong.
//
// A client runs a command (umpire hook) or posts to /hooks/CLIENT; either way it sends one JSON object and acts on the
// Answer.
package hook

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Kind is what a client tells.
type Kind uint8

// The kinds. Silent is anything from which nothing follows.
const (
	Silent  Kind = iota
	Prompt       // the user has said something, or an agent to its sub-agent
	Before       // a tool is about to be used: the answer can prevent it
	After        // it was used
	Failed       // it was used and failed, or was not used at all
	Said         // the model has said something
	Stopped      // the model has said all that it has to say
	Ended        // the conversation is over
)

// Client describes the hooks of a client: which there are, where in their JSON is what, and how they are answered.
type Client struct {
	Name    string          // as in umpire hook NAME and /hooks/NAME
	Agent   string          // what it calls itself over MCP
	Session string          // under which name its MCP side asserts the id of a conversation
	Use     string          // and that of a tool call; empty if it asserts none
	Kinds   map[string]Kind // its events
	hint    string          // what to do about an event that is not named
	fields  fields
	roots   func(getenv func(string) string, home string) []string
	script  func(conversation, root string) string // where in the first root the transcript is; nil if the hooks say it
	marks   []string                               // what a line of its transcript holds that is worth a look
	said    func(line gjson.Result) []piece
	tool    func(in *Input, root gjson.Result) // finishes what Parse has read about a tool
	pass    func(Kind) Answer                  // nil is Pass
	deny    func(reason string) Answer
	status  int                                // of the refusal of a call, beside what deny says
	tells   tells                              // nil if it cannot be told from others
	others  []*Client                          // that run the hooks in its files, too
	again   func(in *Input, raw []byte) string // names what it tells to several hooks; empty if it does not
}

// tells recognises what a client tells the hooks of another.
type tells func(root gjson.Result) bool

// fields are the paths of what the JSON of a hook has. Where there are several, the first that is there counts.
type fields struct {
	event, conversation, turn, subagent, workspace, transcript string
	subscript                                                  string // transcript of a sub-agent
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

// passes lets the client go on.
func (c *Client) passes(k Kind) Answer {
	if c.pass == nil {
		return Pass
	}
	return c.pass(k)
}

// Roots returns the directories in which the client, with this environment, keeps its transcripts, and those that run its
// hooks as well.
func (c *Client) Roots(getenv func(string) string, home string) (out []string) {
	for _, x := range append([]*Client{c}, c.others...) {
		if x.roots != nil {
			out = append(out, x.roots(getenv, home)...)
		}
	}
	return out
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

var all = []*Client{claudeCode, codex, cursor, copilot, vscode, gemini}

// speaker returns the client that tells raw to a hook of c.
func (c *Client) speaker(raw []byte) *Client {
	for _, x := range c.others {
		if x.tells(gjson.ParseBytes(raw)) {
			return x
		}
	}
	return c
}

// permission prevents a call as Claude Code understands it, and who follows it.
func permission(reason string) Answer {
	type output struct {
		Event    string `json:"hookEventName"`
		Decision string `json:"permissionDecision"`
		Reason   string `json:"permissionDecisionReason"`
	}
	return say(map[string]output{"hookSpecificOutput": {"PreToolUse", "deny", reason}})
}

// prefixed names the tool of an MCP server that the client calls PREFIX + SERVER + BETWEEN + TOOL. Names may hold all of
// that, so nothing is split: without the server's name, whoever knows the tools has to find the one that is called so.
func prefixed(prefix, between string) func(*Input, gjson.Result) {
	return func(in *Input, _ gjson.Result) {
		if !strings.HasPrefix(in.Tool, prefix) {
			return
		}
		if in.mcpServer != "" {
			server := in.mcpServer
			tool, ok := strings.CutPrefix(in.Tool, prefix+plain(server)+between)
			in.MCP = func(s, t string) bool { return ok && s == server && plain(t) == tool }
			return
		}
		in.MCP = func(server, tool string) bool { return prefix+plain(server)+between+plain(tool) == in.Tool }
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
