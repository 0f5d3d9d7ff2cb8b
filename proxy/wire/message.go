// Package wire reads JSON-RPC messages strictly and writes replies.
//
// A message has one reading: what two parsers could read differently is refused. Parse makes one pass over the bytes
// and checks UTF-8, the grammar of RFC 8259, duplicate keys at any depth after unescaping, keys of the envelope, params,
// result and _meta that some parsers would take for a protocol key (Unicode case folding), and limits of size and
// depth. Only then are fields read. Ids stay the raw tokens that they are on the wire.
package wire

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/canonical"
)

// Kind tells what a message is.
type Kind uint8

// The kinds.
const (
	Request      Kind = iota // method and id
	Notification             // method without id
	Response                 // result or error
)

// Message is one JSON-RPC message. Its fields are views of Raw, which must not change.
type Message struct {
	Raw    []byte
	Kind   Kind
	ID     string // the raw token: 7, "a", 1.5; empty for notifications and for errors that answer nothing
	Method string
	Params gjson.Result // does not exist if there are none
	Result gjson.Result // of a Response, unless it is an error
	Error  gjson.Result // of a Response that is an error

	members members
}

// Frame is what one HTTP body, one line or one server-sent event holds.
type Frame struct {
	Messages []Message
	Batch    bool // the messages stand in an array, which only the revisions before 2025-06-18 know
}

// JSON-RPC error codes. Those of Umpire lie outside of -32768 … -32000, which JSON-RPC and MCP reserve.
const (
	CodeParse          = -32700 // no JSON
	CodeInvalidRequest = -32600 // JSON, but no message that has one reading
	CodeHeaderMismatch = -32020 // MCP 2026-07-28: a header does not say what the body says
	CodeUnavailable    = -31001 // the server cannot be reached, or it went away before it answered
	CodeBadAnswer      = -31002 // the server answered with something that is no answer
	CodeNotRecorded    = -31003 // the history cannot be written, so nothing may pass
	CodeForbidden      = -31004 // the HTTP request is not from where it may come from
)

// Error says why a message is refused.
type Error struct {
	Code int    // JSON-RPC error code
	ID   string // raw id of the message, if it could be read without doubt
	Path string // where in the message: "params.arguments"
	Msg  string
	// Ambiguous says that the message is JSON, but that two parsers could read it differently.
	Ambiguous bool
}

// Error implements error: `wire: duplicate key "name" at params: ambiguous message`.
func (e *Error) Error() string {
	text := "wire: " + e.Msg
	if e.Path != "" {
		text += " at " + e.Path
	}
	if e.Ambiguous {
		text += ": ambiguous message"
	}
	return text
}

func refuse(code int, path, format string, args ...any) *Error {
	return &Error{Code: code, Path: path, Msg: fmt.Sprintf(format, args...)}
}

func ambiguous(path, format string, args ...any) *Error {
	e := refuse(CodeInvalidRequest, path, format, args...)
	e.Ambiguous = true
	return e
}

// Parse reads a frame. The error is an *Error. The frame keeps data, which must not change any more.
func Parse(data []byte, from Side) (Frame, error) {
	s := scanner{raw: data, data: view(data), side: from, keys: make([]span, 0, 16), path: make([]span, 0, 8)}
	messages, batch, refused := s.frame()
	if refused != nil {
		if !batch && s.ids == 1 {
			refused.ID = idToken(s.members.id)
		}
		return Frame{}, refused
	}
	for i := range messages {
		m := &messages[i]
		if !batch {
			m.Raw = data // with the spaces around it
		}
		if refused := m.read(); refused != nil {
			if !batch {
				refused.ID = idToken(m.ID)
			}
			return Frame{}, refused
		}
	}
	return Frame{Messages: messages, Batch: batch}, nil
}

// idToken returns raw if it can be the id of a message.
func idToken(raw string) string {
	if raw == "" || raw[0] != '"' && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return ""
	}
	return raw
}

// read extracts the members of the envelope from bytes that have passed the scanner.
func (m *Message) read() *Error {
	version, id, method := gjson.Parse(m.members.version), m.members.id, gjson.Parse(m.members.method)
	m.Params, m.Result, m.Error = gjson.Parse(m.members.params), gjson.Parse(m.members.result), gjson.Parse(m.members.problem)
	m.ID = idToken(id)
	invalid := func(path, format string, args ...any) *Error {
		return refuse(CodeInvalidRequest, path, format, args...)
	}
	switch {
	case version.Type != gjson.String || version.Str != "2.0":
		return invalid("jsonrpc", `want "2.0"`)
	case method.Exists():
		switch {
		case m.Result.Exists() || m.Error.Exists():
			return ambiguous("", "both a request and a response")
		case method.Type != gjson.String:
			return invalid("method", "want a string")
		case id != "" && m.ID == "":
			return invalid("id", "want a string or a number")
		}
		m.Kind, m.Method = Request, method.Str
		if m.ID == "" {
			m.Kind = Notification
		}
		return m.checkParams()
	case m.Result.Exists() == m.Error.Exists():
		return invalid("", "neither a request nor a response, or both result and error")
	case m.ID == "" && (m.Result.Exists() || id != "" && id != "null"):
		return invalid("id", "want a string or a number")
	case m.Error.Exists() && !m.Error.IsObject():
		return invalid("error", "want an object")
	}
	m.Kind = Response
	return nil
}

const methodCall = "tools/call"

// checkParams checks what every request has in common, and all that is judged about a tools/call.
func (m *Message) checkParams() *Error {
	if m.Method != methodCall && strings.EqualFold(strings.TrimSpace(m.Method), methodCall) {
		return ambiguous("method", "method %q, which some servers take for %q", clip(m.Method), methodCall)
	}
	if p := m.Params; p.Exists() && !p.IsObject() && (p.Type != gjson.Null || m.Method == methodCall) {
		return refuse(CodeInvalidRequest, "params", "want an object")
	}
	if m.Method != methodCall {
		return nil
	}
	if m.Kind == Notification {
		return refuse(CodeInvalidRequest, "id", "a tools/call without id")
	}
	name, args := gjson.Parse(m.members.name), gjson.Parse(m.members.args)
	if name.Type != gjson.String || name.Str == "" {
		return refuse(CodeInvalidRequest, "params.name", "want the name of a tool")
	}
	if args.Exists() && args.Type != gjson.Null && !args.IsObject() {
		return refuse(CodeInvalidRequest, "params.arguments", "want an object")
	}
	return nil
}

// IsCall reports whether m is a tools/call.
func (m *Message) IsCall() bool { return m.Kind == Request && m.Method == methodCall }

// Call is what a tools/call asks for.
type Call struct {
	Name         string
	Args         []byte // a JSON object; "{}" if there are none
	RequestState string // MCP 2026-07-28: what the server gave to continue with
	Continues    bool   // it has requestState or inputResponses: a retry after input_required
}

// Call reads a message for which IsCall holds.
func (m *Message) Call() Call {
	c := Call{Name: gjson.Parse(m.members.name).Str, Args: []byte("{}")}
	if args := m.members.args; strings.HasPrefix(args, "{") {
		c.Args = unview(args)
	}
	c.RequestState = gjson.Parse(m.members.state).Str
	c.Continues = m.members.state != "" || m.members.inputs != ""
	return c
}

// Inputs returns the answers to the questions that the request was answered with before (MCP 2026-07-28).
func (m *Message) Inputs() gjson.Result { return gjson.Parse(m.members.inputs) }

// Meta returns a member of params._meta.
func (m *Message) Meta(key string) gjson.Result {
	var found gjson.Result
	if m.members.meta == "" {
		return found
	}
	gjson.Parse(m.members.meta).ForEach(func(k, v gjson.Result) bool {
		if k.Str == key {
			found = v
		}
		return found.Type == gjson.Null
	})
	return found
}

// EachMeta calls f with every member of params._meta.
func (m *Message) EachMeta(f func(key string, v gjson.Result)) {
	if m.members.meta == "" {
		return
	}
	gjson.Parse(m.members.meta).ForEach(func(k, v gjson.Result) bool {
		f(k.Str, v)
		return true
	})
}

// Keys of params._meta in the revision 2026-07-28.
const (
	MetaProtocolVersion = "io.modelcontextprotocol/protocolVersion"
	MetaClientInfo      = "io.modelcontextprotocol/clientInfo"
)

// Modern is the first revision without sessions; a message belongs to it or to a later one if its _meta says so.
const Modern = "2026-07-28"

// Protocol returns the revision that a request of the modern era names; empty for other messages.
func (m *Message) Protocol() string { return m.Meta(MetaProtocolVersion).Str }

// Key returns a form of an id that is equal for ids that are equal as JSON values, however they are written.
func Key(id string) string {
	if strings.HasPrefix(id, `"`) {
		return "s" + unescape(id[1:len(id)-1])
	}
	return "n" + canonical.Number(id)
}

// Batch joins messages to a batch, each with the bytes that it came with.
func Batch(messages [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(messages, []byte(","))...), ']')
}

// Name returns what a request is about, as the Mcp-Name header repeats it: the name of a tool or prompt, the URI of a
// resource, the id of a task; empty for other messages.
func (m *Message) Name() string {
	switch {
	case m.Method == methodCall, m.Method == "prompts/get":
		return gjson.Parse(m.members.name).Str
	case m.Method == "resources/read":
		return m.Params.Get("uri").Str
	case strings.HasPrefix(m.Method, "tasks/"):
		return m.Params.Get("taskId").Str
	}
	return ""
}
