package hook

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Past is something that happened before anybody listened, as a line of a transcript tells it.
type Past struct {
	Role     event.Role  // of words
	Trust    event.Trust // likewise
	Text     string      // words, or what a tool gave
	Subagent string
	Turn     string // id of what the user said last, or of the line
	Use      string // of a call, or of what a tool gave: id of the call
	Server   string // of a call
	Tool     string // likewise; empty if it is none
	Apart    bool   // likewise: the client tells Server and Tool apart, and they were not cut out of one name
	Args     []byte // likewise: a JSON object

	// How a call ended, as far as it is told.
	Ended  bool // nothing else is: what the tool gave stands in another line
	Failed bool // the client says that it failed
	Says   bool // the text says so: of a tool of the client itself that text is the client's
	Lost   bool // nobody knows how: it was interrupted
}

// Line is what a line of a transcript tells.
type Line struct {
	At           time.Time // zero if it does not say
	Conversation string
	Workspace    string
	Version      string // of the client
	Past         []Past
}

// pasts are the clients whose transcripts can be read from beginning to end, with what recognises their lines.
var pasts = map[*Client]struct {
	is   func(line gjson.Result) bool
	read func(line gjson.Result) Line
}{
	claudeCode: {func(v gjson.Result) bool { return v.Get("sessionId").Str != "" && v.Get("type").Str != "" }, claudePast},
	codex:      {func(v gjson.Result) bool { return v.Get("type").Str == "session_meta" && v.Get("payload.id").Str != "" }, codexPast},
}

// Writer returns the client that has written a line, the first of a transcript; nil if it is none that is known.
func Writer(line []byte) *Client {
	for c, p := range pasts {
		if p.is(gjson.ParseBytes(line)) {
			return c
		}
	}
	return nil
}

// ReadLine reads a line of a transcript of c, which Writer has returned. Whatever is not understood is left out.
func (c *Client) ReadLine(line []byte) (Line, error) {
	if err := wire.Check(line); err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrTranscript, err)
	}
	v := gjson.ParseBytes(line)
	l := pasts[c].read(v)
	if len(l.Workspace) > maxPath {
		l.Workspace = ""
	}
	if at, err := time.Parse(time.RFC3339Nano, v.Get("timestamp").Str); err == nil {
		l.At = at
	}
	return l, nil
}

// maxPath is how many bytes the name of a directory can have.
const maxPath = 4 << 10

// spoken makes of pieces what they tell. Those of a sub-agent say so.
func spoken(pieces []piece) (out []Past) {
	for _, p := range pieces {
		past := Past{Role: p.role, Trust: event.Trusted, Text: p.text, Subagent: p.subagent, Turn: p.id, Failed: p.failed}
		if len(p.calls) > 0 && p.role == event.RoleTool {
			past.Use = p.calls[0]
		}
		if past.Text != "" || past.Use != "" {
			out = append(out, past)
		}
	}
	return out
}

// prompted makes of what stands where the user's words do what it is.
func prompted(text string) (out []Past) {
	own, quoted := conversation.OfUser(text)
	if own != "" {
		out = append(out, Past{Role: event.RoleUser, Trust: event.Trusted, Text: own})
	}
	if quoted != "" {
		out = append(out, Past{Role: event.RoleSystem, Trust: event.Untrusted, Text: quoted})
	}
	return out
}

// used makes a call of what the model asks for. Where the name of a server ends and that of a tool begins cannot be told from
// the name alone: it is cut at the first two underscores.
func used(id, name string, args []byte) (out []Past) {
	if !json.Valid(args) || !gjson.ParseBytes(args).IsObject() {
		var err error
		if args, err = json.Marshal(map[string]string{"input": string(args)}); err != nil {
			return nil
		}
	}
	p := Past{Use: clip(id), Server: Server, Tool: clip(name), Args: args}
	if rest, ok := strings.CutPrefix(p.Tool, "mcp__"); ok {
		if server, tool, ok := strings.Cut(rest, "__"); ok && server != "" && tool != "" {
			p.Server, p.Tool = server, tool
		}
	}
	if p.Use == "" || p.Tool == "" {
		return nil
	}
	return []Past{p}
}

func claudePast(v gjson.Result) Line {
	l := Line{Conversation: clip(v.Get("sessionId").Str), Workspace: v.Get("cwd").Str, Version: clip(v.Get("version").Str)}
	content := v.Get("message.content")
	subagent := ""
	for _, p := range claudeSays(v) {
		subagent = p.subagent
		l.Past = append(l.Past, spoken([]piece{p})...)
	}
	if subagent == "" && v.Get("isSidechain").Bool() {
		if subagent = clip(v.Get("agentId").Str); subagent == "" {
			subagent = "sidechain"
		}
	}
	switch v.Get("type").Str {
	case "user":
		var said []Past
		switch text := textsOf(content, "text"); {
		case text == "":
		case subagent != "", v.Get("isCompactSummary").Bool(): // the agent's words
			said = []Past{{Role: event.RoleAssistant, Trust: event.Trusted, Text: text}}
		case v.Get("isMeta").Bool():
			said = []Past{{Role: event.RoleSystem, Trust: event.Untrusted, Text: text}}
		default:
			said = prompted(text)
		}
		l.Past = append(said, l.Past...)
	case "assistant":
		for _, block := range content.Array() {
			if block.Get("type").Str == "tool_use" {
				l.Past = append(l.Past, used(block.Get("id").Str, block.Get("name").Str, []byte(block.Get("input").Raw))...)
			}
		}
	}
	for i := range l.Past {
		l.Past[i].Subagent, l.Past[i].Turn = subagent, clip(v.Get("promptId").Str)
	}
	return l
}

// textsOf returns a text, or those of its blocks that are of a type.
func textsOf(content gjson.Result, kind string) string {
	if content.Type == gjson.String {
		return content.Str
	}
	var texts []string
	for _, block := range content.Array() {
		if block.Get("type").Str == kind {
			texts = append(texts, block.Get("text").Str)
		}
	}
	return strings.Join(texts, "\n")
}

func codexPast(v gjson.Result) Line {
	item := v.Get("payload")
	l := Line{Past: spoken(codexSays(v))}
	if v.Get("type").Str == "session_meta" {
		l.Conversation, l.Workspace, l.Version = clip(item.Get("id").Str), item.Get("cwd").Str, clip(item.Get("cli_version").Str)
	}
	if e := item.Get("item"); v.Get("type").Str == "event_msg" && item.Get("type").Str == "item_completed" {
		switch e.Get("type").Str {
		case "McpToolCall", "CommandExecution", "FileChange":
			l.Past = append(l.Past, Past{Role: event.RoleTool, Use: clip(e.Get("id").Str), Ended: true, Failed: e.Get("status").Str != "completed" || e.Get("exit_code").Int() != 0})
		}
	}
	if v.Get("type").Str != "response_item" {
		return l
	}
	switch kind, role := item.Get("type").Str, item.Get("role").Str; {
	case kind == "message" && role == "user":
		for _, block := range item.Get("content").Array() {
			l.Past = append(l.Past, prompted(block.Get("text").Str)...)
		}
	case kind == "message" && (role == "developer" || role == "system"):
		l.Past = append(l.Past, Past{Role: event.RoleSystem, Trust: event.Trusted, Text: words(item.Get("content"))})
	case kind == "function_call":
		name, args := codexTool(item.Get("name").Str, item.Get("arguments").Str)
		past := used(item.Get("call_id").Str, name, args)
		if space, ok := strings.CutPrefix(item.Get("namespace").Str, "mcp__"); ok && len(past) > 0 {
			past[0].Server, past[0].Apart = clip(strings.TrimSuffix(space, "__")), true
		}
		l.Past = append(l.Past, past...)
	case kind == "function_call_output" || kind == "custom_tool_call_output":
		for i := range l.Past {
			l.Past[i].Says, l.Past[i].Lost = codexEnded(item.Get("output"))
		}
	case kind == "custom_tool_call":
		name, args := codexTool(item.Get("name").Str, item.Get("input").Str)
		l.Past = append(l.Past, used(item.Get("call_id").Str, name, args)...)
	}
	for i := range l.Past {
		l.Past[i].Turn = clip(item.Get("internal_chat_message_metadata_passthrough.turn_id").Str)
	}
	return l
}

// The texts with which Codex itself says how a call has ended, before what the tool gave.
var (
	codexExit    = regexp.MustCompile(`^(?:Process exited with code|Exit code:) (-?[0-9]+)$`)
	codexBlocked = "Command blocked by PreToolUse hook:"
	codexAborted = regexp.MustCompile(`^aborted by user after [0-9.]+s$`)
)

// codexEnded reads how a call has ended from what the model is told of it. Blocks are those of a server.
func codexEnded(output gjson.Result) (failed, lost bool) {
	text := output.Str
	switch {
	case output.Type != gjson.String:
		return false, false
	case codexAborted.MatchString(text):
		return false, true
	case strings.HasPrefix(text, codexBlocked):
		return true, false
	case gjson.Valid(text) && gjson.Get(text, "metadata.exit_code").Exists():
		return gjson.Get(text, "metadata.exit_code").Int() != 0, false
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "Output:" { // what follows are not its words
			break
		}
		if exit := codexExit.FindStringSubmatch(line); exit != nil {
			return exit[1] != "0", false
		}
	}
	return false, false
}

// codexTool calls a tool of Codex as its hooks do, so that one policy fits what was before and what comes: its shells are Bash,
// and what they run is the command.
func codexTool(name, args string) (string, []byte) {
	command := gjson.Get(args, "cmd")
	switch name {
	case "exec_command":
	case "shell", "shell_command":
		command = gjson.Get(args, "command")
	default:
		return name, []byte(args)
	}
	text := command.Str
	if command.IsArray() {
		text = commandLine(command.Array())
	}
	if text == "" {
		return name, []byte(args)
	}
	out, err := json.Marshal(map[string]string{"command": text})
	if err != nil { // a text can be written
		return name, []byte(args)
	}
	return "Bash", out
}

// commandLine returns what a command runs: a line that it gives to a shell, or its words.
func commandLine(words []gjson.Result) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.Str
	}
	if len(texts) == 3 && strings.HasSuffix(texts[0], "sh") && strings.HasPrefix(texts[1], "-") && strings.HasSuffix(texts[1], "c") {
		return texts[2]
	}
	return strings.Join(texts, " ")
}
