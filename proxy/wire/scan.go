package wire

import (
	"slices"
	"strings"
)

// The limits of a message. They bound memory and work; honest messages stay far below them.
const (
	MaxSize   = 32 << 20 // bytes of one message
	MaxDepth  = 128      // nested objects and arrays
	MaxBatch  = 1000     // messages in one batch
	maxNumber = 400      // characters of one number; beyond that and beyond exponents of ±400, parsers disagree
)

// Side says who sent a message.
type Side uint8

// The sides.
const (
	FromClient Side = iota
	FromServer
)

// place says which keys an object may have besides those that it has anyway: the protocol's own keys must be spelled
// as the protocol spells them.
type place uint8

const (
	elsewhere place = iota
	envelope        // a JSON-RPC message
	params          // its params
	result          // its result
	meta            // params._meta or result._meta
	problem         // its error
)

var placeNames = [...]string{elsewhere: "", envelope: "the message", params: "params", result: "result", meta: "_meta", problem: "error"}

// protocolKeys are the keys that the five revisions of the protocol define, for each place.
var protocolKeys = [...][]string{
	envelope: {"jsonrpc", "id", "method", "params", "result", "error"},
	params: {
		"name", "arguments", "_meta", "uri", "cursor", "task", "taskId", "requestState", "inputResponses", "protocolVersion",
		"capabilities", "clientInfo", "requestId", "reason", "progressToken", "progress", "total", "message", "level", "ref", "argument",
	},
	result: {
		"_meta", "resultType", "isError", "content", "structuredContent", "tools", "nextCursor", "requestState", "inputRequests",
		"protocolVersion", "capabilities", "serverInfo", "ttlMs", "cacheScope", "task", "action",
	},
	meta: {
		"progressToken", "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities",
		"io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/serverInfo", "io.modelcontextprotocol/logLevel",
		"io.modelcontextprotocol/subscriptionId", "io.modelcontextprotocol/related-task", "traceparent", "tracestate", "baggage",
	},
	problem: {"code", "message", "data"},
}

// scanner makes the one pass over a frame. It checks the grammar of RFC 8259 and everything that two parsers could
// read differently, and notes where the members are that Umpire reads. After an error it is not used again.
type scanner struct {
	raw  []byte
	data string // the same bytes
	pos  int
	side Side

	depth   int
	keys    []span // keys of all open objects, innermost last
	path    []span // keys that lead to the value being read
	doubts  *Error // the first thing that parsers read differently; the grammar is checked to the end regardless
	ids     int    // members named id in the envelope
	members members
}

// members are the parts of a message that Umpire reads, each as it stands in the text; empty if it is not there.
type members struct {
	version, id, method, params, result, problem string
	name, args, meta, state, inputs              string // of params
}

// note keeps a member of an object that stands at a place.
func (m *members) note(at place, key, value string) {
	switch at {
	case envelope:
		switch key {
		case "jsonrpc":
			m.version = value
		case "id":
			m.id = value
		case "method":
			m.method = value
		case "params":
			m.params = value
		case "result":
			m.result = value
		case "error":
			m.problem = value
		}
	case params:
		switch key {
		case "name":
			m.name = value
		case "arguments":
			m.args = value
		case "_meta":
			m.meta = value
		case "requestState":
			m.state = value
		case "inputResponses":
			m.inputs = value
		}
	case elsewhere, result, meta, problem:
	}
}

// span is a part of the data, from and to. For keys, escaped says that it holds a backslash.
type span struct {
	from, to int
	escaped  bool
}

func (s *scanner) text(x span) string {
	raw := s.data[x.from:x.to]
	if !x.escaped {
		return raw
	}
	return unescape(raw)
}

// frame reads the whole data as one message or one batch.
func (s *scanner) frame() (messages []Message, batch bool, err *Error) {
	if len(s.data) > MaxSize {
		return nil, false, refuse(CodeInvalidRequest, "", "message of %d bytes is longer than %d", len(s.data), MaxSize)
	}
	if strings.HasPrefix(s.data, "\xEF\xBB\xBF") {
		return nil, false, refuse(CodeParse, "", "byte order mark: send plain UTF-8")
	}
	s.space()
	if batch = s.take('['); !batch {
		messages, err = s.message(messages)
	} else {
		for s.space(); err == nil && !s.take(']'); s.space() {
			if len(messages) > 0 && !s.take(',') {
				return nil, true, s.syntax("want , or ]")
			}
			s.space()
			messages, err = s.message(messages)
		}
		if err == nil && len(messages) == 0 {
			return nil, true, refuse(CodeInvalidRequest, "", "empty batch")
		}
	}
	if err != nil {
		return nil, batch, err
	}
	s.space()
	if s.pos < len(s.data) {
		return nil, batch, s.syntax("something after the end of the message")
	}
	return messages, batch, s.doubts
}

func (s *scanner) message(messages []Message) ([]Message, *Error) {
	if len(messages) == MaxBatch {
		return nil, refuse(CodeInvalidRequest, "", "a batch of more than %d messages", MaxBatch)
	}
	from := s.pos
	s.members = members{}
	if err := s.value(envelope); err != nil {
		return nil, err
	}
	if s.data[from] != '{' {
		return nil, refuse(CodeInvalidRequest, "", "a message has to be a JSON object")
	}
	return append(messages, Message{Raw: s.raw[from:s.pos:s.pos], members: s.members}), nil
}

func (s *scanner) syntax(what string) *Error {
	return refuse(CodeParse, s.where(), "%s at byte %d", what, s.pos)
}

func (s *scanner) doubt(format string, args ...any) {
	if s.doubts == nil {
		s.doubts = ambiguous(s.where(), format, args...)
	}
}

// where names the value being read, such as "params.arguments".
func (s *scanner) where() string {
	parts := make([]string, 0, len(s.path))
	for i, x := range s.path {
		if i == 8 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, clip(s.text(x)))
	}
	return strings.Join(parts, ".")
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) value(at place) *Error {
	if s.pos >= len(s.data) {
		return s.syntax("message ends too early")
	}
	switch c := s.data[s.pos]; {
	case c == '{':
		return s.object(at)
	case c == '[':
		return s.array()
	case c == '"':
		x, err := s.str()
		if err == nil && s.side == FromClient && x.escaped && loneSurrogate(s.data[x.from:x.to]) {
			s.doubt("half a surrogate pair in a string")
		}
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.syntax("no JSON value")
}

func (s *scanner) word(w string) *Error {
	if !strings.HasPrefix(s.data[s.pos:], w) {
		return s.syntax("no JSON value")
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) open() *Error {
	if s.depth++; s.depth > MaxDepth {
		return refuse(CodeInvalidRequest, s.where(), "nested deeper than %d", MaxDepth)
	}
	s.pos++
	s.space()
	return nil
}

func (s *scanner) array() *Error {
	if err := s.open(); err != nil {
		return err
	}
	if s.take(']') {
		s.depth--
		return nil
	}
	for {
		s.space()
		if err := s.value(elsewhere); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(','):
		case s.take(']'):
			s.depth--
			return nil
		default:
			return s.syntax("want , or ]")
		}
	}
}

func (s *scanner) object(at place) *Error {
	if err := s.open(); err != nil {
		return err
	}
	first := len(s.keys)
	var many map[string]bool // once an object has many keys
	if s.take('}') {
		s.depth--
		return nil
	}
	for {
		s.space()
		if s.pos >= len(s.data) || s.data[s.pos] != '"' {
			return s.syntax("want a key in quotes")
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		many = s.key(at, key, s.keys[first:], many)
		s.keys = append(s.keys, key)
		s.space()
		if !s.take(':') {
			return s.syntax("want :")
		}
		s.space()
		s.path = append(s.path, key)
		from := s.pos
		if err := s.value(s.inner(at, key)); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		if at == envelope || at == params {
			name := s.text(key)
			if s.members.note(at, name, s.data[from:s.pos]); at == envelope && name == "id" {
				s.ids++
			}
		}
		s.space()
		switch {
		case s.take(','):
		case s.take('}'):
			s.depth--
			s.keys = s.keys[:first]
			return nil
		default:
			return s.syntax("want , or }")
		}
	}
}

// key checks a key against those of its object so far and against the protocol's.
func (s *scanner) key(at place, key span, before []span, many map[string]bool) map[string]bool {
	const few = 12
	raw := s.data[key.from:key.to]
	if key.escaped && loneSurrogate(raw) {
		s.doubt("half a surrogate pair in a key")
	}
	switch {
	case many != nil:
		name := s.text(key)
		if many[name] {
			s.doubt("duplicate key %q", clip(name))
		}
		many[name] = true
	case len(before) >= few:
		many = make(map[string]bool, 2*few)
		for _, x := range before {
			many[s.text(x)] = true
		}
		return s.key(at, key, before, many)
	default:
		for _, x := range before {
			if x.escaped || key.escaped {
				if s.text(x) == s.text(key) {
					s.doubt("duplicate key %q", clip(s.text(key)))
				}
			} else if s.data[x.from:x.to] == raw {
				s.doubt("duplicate key %q", clip(raw))
			}
		}
	}
	if at != elsewhere {
		name := s.text(key)
		if slices.Contains(protocolKeys[at], name) {
			return many
		}
		for _, known := range protocolKeys[at] {
			if len(name) <= 3*len(known) && strings.EqualFold(name, known) {
				s.doubt("key %q in %s, which some parsers take for %q", clip(name), placeNames[at], known)
			}
		}
	}
	return many
}

// inner returns what kind of object may stand under key in an object at.
func (s *scanner) inner(at place, key span) place {
	switch at {
	case envelope:
		switch s.text(key) {
		case "params":
			return params
		case "result":
			return result
		case "error":
			return problem
		}
	case params, result:
		if s.text(key) == "_meta" {
			return meta
		}
	case elsewhere, meta, problem:
	}
	return elsewhere
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}
