package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Syntax is how a configuration file is written.
type Syntax int

// The syntaxes. JSON may have comments and trailing commas: whether its client takes them is not for Umpire to say.
const (
	JSON Syntax = iota
	TOML
	YAML
)

// SyntaxError says where a file cannot be read.
type SyntaxError struct {
	Line, Col int // from 1
	Msg       string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// failAt returns a SyntaxError at an offset.
func failAt(text []byte, offset int, format string, args ...any) error {
	offset = min(offset, len(text))
	line := text[bytes.LastIndexByte(text[:offset], '\n')+1 : offset]
	return &SyntaxError{Line: 1 + bytes.Count(text[:offset], []byte("\n")), Col: 1 + utf8.RuneCount(line), Msg: fmt.Sprintf(format, args...)}
}

// kind is what a value is, as far as entries of servers go.
type kind int

const (
	other kind = iota // a number, a boolean, null, an alias …
	text
	list
	object
)

// node is a value and its place. The three syntaxes become the same tree, so that what an entry means is said once.
type node struct {
	kind       kind
	start, end int    // the end only where the syntax's parser knows it, and of each text
	text       string // of a text, decoded; of another scalar, as it is written
	members    []*member
	items      []*node
	between    string // what goes between two items that are put in front of the first
	plain      bool   // a text without quotes, which means something else between brackets if it holds one
	flow       bool   // a list or object in brackets
}

// member is a key and its value.
type member struct {
	name    string
	start   int    // where the key begins, so that another can be put in front of it
	prefix  string // what goes before the name of another: a quote, the first parts of a dotted key
	assign  string // what goes between its name and its value
	between string // what goes between two members if one is put in front
	value   *node
}

// get returns the first member that has one of the names; nil if there is none.
func (n *node) get(names ...string) *member {
	for _, name := range names {
		for _, m := range n.members {
			if m.name == name {
				return m
			}
		}
	}
	return nil
}

// string returns the text of a member, if it is one.
func (n *node) string(names ...string) string {
	if m := n.get(names...); m != nil && m.value.kind == text {
		return m.value.text
	}
	return ""
}

// texts returns the members that are texts.
func (n *node) texts(names ...string) map[string]string {
	m := n.get(names...)
	if m == nil {
		return nil
	}
	out := map[string]string{}
	for _, v := range m.value.members {
		if v.value.kind == text || v.value.kind == other {
			out[v.name] = v.value.text
		}
	}
	return out
}

// twice returns the second of two members with the same name; nil if all are different.
func (n *node) twice() *member {
	seen := map[string]bool{}
	for _, m := range n.members {
		if seen[m.name] {
			return m
		}
		seen[m.name] = true
	}
	return nil
}

// bom is the mark at the beginning of some files from Windows.
var bom = []byte("\xef\xbb\xbf")

// parse reads a file. An empty one is an empty object.
func parse(s Syntax, file []byte) (*node, error) {
	skip := 0
	if bytes.HasPrefix(file, bom) {
		skip = len(bom)
	}
	body := file[skip:]
	if !utf8.Valid(body) {
		return nil, failAt(file, skip+invalidAt(body), "this is no UTF-8")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return &node{kind: object}, nil
	}
	var root *node
	var err error
	switch s {
	case JSON:
		root, err = parseJSON(body)
	case TOML:
		root, err = parseTOML(body)
	case YAML:
		root, err = parseYAML(body)
	}
	if err != nil {
		return nil, err
	}
	if root.kind != object {
		return nil, failAt(body, root.start, "want an object at the top")
	}
	root.move(func(at int) int { return at + skip }, map[*node]bool{})
	return root, nil
}

func invalidAt(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// move changes all places.
func (n *node) move(to func(int) int, done map[*node]bool) {
	if done[n] {
		return
	}
	done[n] = true
	n.start = to(n.start)
	if n.end > 0 { // with its last character, not with what follows it
		n.end = to(n.end-1) + 1
	}
	for _, item := range n.items {
		item.move(to, done)
	}
	for _, m := range n.members {
		m.start = to(m.start)
		m.value.move(to, done)
	}
}

// quote writes a string so that it means the same in JSON, in TOML and in YAML.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// newline returns how the line at an offset ends, or the one before it.
func newline(file []byte, at int) string {
	end := bytes.IndexByte(file[at:], '\n')
	if end >= 0 {
		end += at
	} else {
		end = bytes.LastIndexByte(file[:at], '\n')
	}
	if end > 0 && file[end-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// indent returns what stands before at on its line, if that is nothing but white space.
func indent(file []byte, at int) (white string, ok bool) {
	white = string(file[bytes.LastIndexByte(file[:at], '\n')+1 : at])
	white = strings.TrimPrefix(white, string(bom))
	return white, strings.Trim(white, " \t") == ""
}
