package hook

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// Input is what a hook tells, once it has been read.
type Input struct {
	Client       *Client
	Kind         Kind
	Event        string
	Conversation string // its id
	Turn         string // id of what the user said last
	Subagent     string // empty for the agent that the user talks to
	Workspace    string
	Transcript   string // path
	Subscript    string // path of that of a sub-agent
	Text         string // the prompt, why a tool failed, or the model's last words
	Use          string // id of the tool call; empty where the client has none
	Tool         string // as the client calls it
	Args         []byte // a JSON object
	Response     []byte // JSON
	// MCP reports whether Tool means the tool of this MCP server; nil if it is the client's own.
	MCP func(server, tool string) bool

	asked     Kind   // what the client waits for, which is more than Kind where another hook tells the rest
	refused   bool   // the tool was not used: somebody did not let it
	again     string // names what the client tells to several hooks; empty if it does not
	mcpServer string // of the tool, where the client says it
}

// key names a call among those of its conversation: by its id, else by all that is known of it.
func (in *Input) key() string {
	if in.Use != "" {
		return in.Use
	}
	return " " + in.Subagent + " " + in.Tool + " " + proxy.ArgsDigest(in.Args)
}

// tool names the tool among those of everybody.
func (in *Input) tool(from Caller) string {
	return fmt.Sprintf("%q%t%q%q", from.Principal, from.Believed, in.Client.Name, in.Tool)
}

// size is how much there is to record of it.
func (in *Input) size() int { return len(in.Text) + len(in.Args) + len(in.Response) }

// maxName is how many bytes a name or an id may have.
const maxName = 256

// ErrInput says that what a hook tells cannot be understood.
var ErrInput = errors.New("hook: want what the client's hooks send")

// Parse reads what a hook of c tells: one JSON object that has one reading. Fields that nobody reads may be anything.
func (c *Client) Parse(raw []byte) (*Input, error) {
	if err := wire.Check(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	root := gjson.ParseBytes(raw)
	if !root.IsObject() {
		return nil, fmt.Errorf("%w: this is no object", ErrInput)
	}
	c = c.speaker(raw)
	r := reader{root: root}
	in := &Input{Client: c, Event: r.text(c.fields.event, true, maxName)}
	if r.err != nil && c.hint != "" {
		r.err = fmt.Errorf("%w (%s)", r.err, c.hint)
	}
	if r.err == nil {
		kind, known := c.Kinds[in.Event]
		if !known {
			return nil, fmt.Errorf("%w: %s: %s has no event %.60q", ErrInput, firstOf(c.fields.event), c.Name, in.Event)
		}
		in.Kind, in.asked = kind, kind
	}
	in.Conversation = r.text(c.fields.conversation, true, maxName)
	in.Turn = r.text(c.fields.turn, false, maxName)
	in.Subagent = r.text(c.fields.subagent, false, maxName)
	in.Workspace = r.text(c.fields.workspace, false, 4<<10)
	in.Transcript = r.text(c.fields.transcript, false, 4<<10)
	in.Subscript = r.text(c.fields.subscript, false, 4<<10)
	switch in.Kind {
	case Prompt:
		in.Text = r.text(c.fields.prompt, true, wire.MaxSize)
	case Before, After, Failed:
		r.call(in)
	case Said, Stopped:
		in.Text = r.text(c.fields.words, false, wire.MaxSize)
	case Silent, Ended:
	}
	if c.again != nil {
		in.again = c.again(in, raw)
	}
	return in, r.err
}

// call reads what is told of a call of a tool.
func (r *reader) call(in *Input) {
	f := in.Client.fields
	in.Use = r.text(f.use, false, maxName)
	in.Tool = r.text(f.tool, false, maxName)
	in.mcpServer = r.text(f.mcpServer, false, maxName)
	in.Args = r.raw(f.args)
	in.Response = r.raw(f.response)
	in.Text = r.text(f.problem, false, wire.MaxSize)
	if in.Client.tool != nil && r.err == nil {
		in.Client.tool(in, r.root)
	}
	if in.Tool == "" {
		r.fail(f.tool, "missing")
	}
	if in.Use == "" && in.Client.Use != "" {
		r.fail(f.use, "missing")
	}
	if in.Kind == Before && (len(in.Args) == 0 || in.Args[0] != '{') {
		r.fail(f.args, "want an object")
	}
}

// blocks reports whether raw, which cannot be understood, is about a call that can be prevented, or can be about anything.
// A client is never told to go on instead of ending.
func (c *Client) blocks(raw []byte) bool {
	r := reader{root: gjson.ParseBytes(raw)}
	kind, known := c.Kinds[r.get(c.fields.event).Str]
	return kind == Before || !known
}

// reader takes fields out of an object and keeps the first thing that is wrong.
type reader struct {
	root gjson.Result
	err  error
}

func (r *reader) fail(path, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s: %s", ErrInput, firstOf(path), what)
	}
}

// firstOf returns the usual one of several paths.
func firstOf(paths string) string {
	usual, _, _ := strings.Cut(paths, " ")
	return usual
}

// get returns what is at the first of several paths that has something.
func (r *reader) get(paths string) (v gjson.Result) {
	for path := range strings.FieldsSeq(paths) {
		if v = r.root.Get(path); v.Exists() && v.Type != gjson.Null {
			return v
		}
	}
	return v
}

// text returns a string of at most the given number of bytes.
func (r *reader) text(path string, required bool, most int) string {
	if path == "" {
		return ""
	}
	v := r.get(path)
	switch {
	case !v.Exists() || v.Type == gjson.Null:
		if required {
			r.fail(path, "missing")
		}
		return ""
	case v.Type != gjson.String:
		r.fail(path, "want a string")
		return ""
	case required && v.Str == "" && most <= maxName:
		r.fail(path, "is empty")
	case len(v.Str) > most:
		r.fail(path, fmt.Sprintf("%d bytes, and %d are the most", len(v.Str), most))
		return ""
	}
	return strings.Clone(v.Str)
}

func (r *reader) raw(path string) []byte {
	if path == "" {
		return nil
	}
	return []byte(r.get(path).Raw)
}
