package hook

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

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
	Text         string // the prompt, why a tool failed, or the model's last words
	Use          string // id of the tool call
	Tool         string // as the client calls it
	Args         []byte // a JSON object
	Response     []byte // JSON
	// MCP reports whether Tool means the tool of this MCP server; nil if it is the client's own.
	MCP func(server, tool string) bool
}

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
	r := reader{root: root}
	in := &Input{Client: c, Event: r.text(c.fields.event, true, maxName)}
	if r.err == nil {
		kind, known := c.Kinds[in.Event]
		if !known {
			return nil, fmt.Errorf("%w: %s: %s has no event %.60q", ErrInput, c.fields.event, c.Name, in.Event)
		}
		in.Kind = kind
	}
	in.Conversation = r.text(c.fields.conversation, true, maxName)
	in.Turn = r.text(c.fields.turn, false, maxName)
	in.Subagent = r.text(c.fields.subagent, false, maxName)
	in.Workspace = r.text(c.fields.workspace, false, 4<<10)
	in.Transcript = r.text(c.fields.transcript, false, 4<<10)
	switch in.Kind {
	case Prompt:
		in.Text = r.text(c.fields.prompt, true, wire.MaxSize)
	case Before, After, Failed:
		in.Use = r.text(c.fields.use, c.fields.use != "", maxName)
		in.Tool = r.text(c.fields.tool, true, maxName)
		server := r.text(c.fields.mcpServer, false, maxName)
		if in.Args = r.raw(c.fields.args); in.Kind == Before && (len(in.Args) == 0 || in.Args[0] != '{') {
			r.fail(c.fields.args, "want an object")
		}
		in.Response = r.raw(c.fields.response)
		in.Text = r.text(c.fields.problem, false, wire.MaxSize)
		if c.tool != nil {
			c.tool(in, server)
		}
	case Stopped:
		in.Text = r.text(c.fields.words, false, wire.MaxSize)
	case Silent, Ended:
	}
	return in, r.err
}

// blocks reports whether raw, which cannot be understood, is about a call that can be prevented, or can be about anything.
// A client is never told to go on instead of ending.
func (c *Client) blocks(raw []byte) bool {
	event := gjson.GetBytes(raw, c.fields.event).Str
	_, known := c.Kinds[event]
	return event == c.Blocks || !known
}

// reader takes fields out of an object and keeps the first thing that is wrong.
type reader struct {
	root gjson.Result
	err  error
}

func (r *reader) fail(path, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s: %s", ErrInput, path, what)
	}
}

// text returns a string of at most the given number of bytes.
func (r *reader) text(path string, required bool, most int) string {
	if path == "" {
		return ""
	}
	v := r.root.Get(path)
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
	return []byte(r.root.Get(path).Raw)
}
