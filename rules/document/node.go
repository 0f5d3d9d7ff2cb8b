package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Node is a value in a Document. Its readers report what does not fit and return the zero value.
type Node struct {
	doc  *Document
	yaml ast.Node
	path string
}

// Empty reports whether there is no value, or null.
func (n Node) Empty() bool {
	if n.yaml == nil {
		return true
	}
	_, null := n.yaml.(*ast.NullNode)
	return null
}

// Path names the value within its document, such as "rules[2].rate.max".
func (n Node) Path() string { return n.path }

// Position returns the line and column of the value, from 1; 0 for an empty document.
func (n Node) Position() (line, col int) {
	if n.yaml == nil {
		return 0, 0
	}
	at := n.yaml
	if m, ok := at.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		at = m.Values[0].Key // a block mapping's own token is its first colon
	} else if m, ok := at.(*ast.MappingValueNode); ok {
		at = m.Key
	}
	pos := at.GetToken().Position
	return pos.Line, pos.Column
}

// Flow reports whether the value is a mapping or a list between brackets.
func (n Node) Flow() bool {
	switch v := n.yaml.(type) {
	case *ast.MappingNode:
		return v.IsFlowStyle
	case *ast.SequenceNode:
		return v.IsFlowStyle
	}
	return false
}

// Fail reports a problem with the value. The hint may be empty.
func (n Node) Fail(hint, format string, args ...any) {
	line, col := n.Position()
	n.fail(line, col, hint, fmt.Sprintf(format, args...))
}

// FailAt reports a problem within the value's text, at a line and column of that text, both from 1.
func (n Node) FailAt(line, col int, hint, format string, args ...any) {
	l, c := n.Position()
	if n.yaml != nil {
		switch tok := n.yaml.GetToken(); n.yaml.(type) {
		case *ast.LiteralNode:
			first := n.doc.line(l + 1) // its indentation is that of the block
			l += line
			c = len(first) - len(strings.TrimLeft(first, " ")) + col
		default:
			// A quoted text begins after its quote; escapes shift what follows them and are not worth counting.
			if source := n.doc.line(l); c <= len(source) && strings.ContainsRune(`"'`, rune(source[max(0, c-1)])) {
				c++
			}
			if line == 1 && !strings.Contains(tok.Value, "\n") {
				c += col - 1
			}
		}
	}
	n.fail(l, c, hint, fmt.Sprintf(format, args...))
}

// FailUnseen is Fail for a value that is a secret: the line in which it stands is not shown.
func (n Node) FailUnseen(hint, format string, args ...any) {
	line, col := n.Position()
	n.fail(line, col, hint, fmt.Sprintf(format, args...))
	n.doc.errs[len(n.doc.errs)-1].Source = ""
}

func (n Node) fail(line, col int, hint, msg string) {
	n.doc.errs = append(n.doc.errs, &Error{
		File: n.doc.name, Line: line, Col: col, Source: n.doc.line(line), Path: n.path, Msg: msg, Hint: hint,
	})
}

// Error returns a problem with the value without reporting it: for warnings.
func (n Node) Error(hint, format string, args ...any) *Error {
	line, col := n.Position()
	return &Error{
		File: n.doc.name, Line: line, Col: col, Source: n.doc.line(line), Path: n.path, Msg: fmt.Sprintf(format, args...), Hint: hint,
	}
}

// IsText reports whether the value is a string.
func (n Node) IsText() bool {
	_, ok := n.text()
	return ok
}

func (n Node) text() (string, bool) {
	switch v := n.yaml.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	}
	return "", false
}

// Text reads a string.
func (n Node) Text() string {
	s, ok := n.text()
	if !ok {
		n.Fail("put it in quotes if it is meant as text", "want text, not %s", n.kind())
	}
	return s
}

// Scalar reads a string or number as it is written.
func (n Node) Scalar() string {
	switch v := n.yaml.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return v.GetToken().Value
	}
	return n.Text()
}

// Number reads a number as it is written, without rounding it.
func (n Node) Number() string {
	switch v := n.yaml.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if t := v.GetToken().Value; json.Valid([]byte(t)) {
			return t
		}
	}
	n.Fail("", "want a number, not %s", n.kind())
	return ""
}

// Bool reads true or false.
func (n Node) Bool() bool {
	v, ok := n.yaml.(*ast.BoolNode)
	if !ok {
		n.Fail("", "want true or false, not %s", n.kind())
		return false
	}
	return v.Value
}

// Int reads a whole number from low to high.
func (n Node) Int(low, high int) int {
	if v, ok := n.yaml.(*ast.IntegerNode); ok {
		if i, err := strconv.Atoi(v.GetToken().Value); err == nil && i >= low && i <= high {
			return i
		}
	}
	n.Fail("", "want a whole number from %d to %d, not %s", low, high, n.kind())
	return 0
}

// Duration reads a duration such as 90s, 10m, 24h or 30d, from low to high.
func (n Node) Duration(low, high time.Duration) time.Duration {
	text := n.Scalar()
	if text == "" {
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		n.Fail("write a number and a unit: s, m, h or d, such as 10s or 30d", "%q is no duration", text)
		return 0
	}
	if d < low || d > high {
		n.Fail("", "%s is not from %s to %s", text, FormatDuration(low), FormatDuration(high))
		return 0
	}
	return d
}

// Size reads a number of bytes, such as 256KiB, 4MiB or 2GiB, from low to high.
func (n Node) Size(low, high int64) int64 {
	text := n.Scalar()
	if text == "" {
		return 0
	}
	size, err := ParseSize(text)
	if err != nil {
		n.Fail("write a whole number and a unit: B, KiB, MiB or GiB", "%q is no size", text)
		return 0
	}
	if size < low || size > high {
		n.Fail("", "%s is not from %s to %s", text, FormatSize(low), FormatSize(high))
		return 0
	}
	return size
}

// OneOf reads one of a few words.
func (n Node) OneOf(words ...string) string {
	s := n.Text()
	if s != "" && !slices.Contains(words, s) {
		n.Fail(suggest(s, words), "%q is not one of %s", s, strings.Join(words, ", "))
		return ""
	}
	return s
}

// List reads a list. A single value stands for a list of one if single is true.
func (n Node) List(single bool) []Node {
	if n.Empty() {
		return nil
	}
	seq, ok := n.yaml.(*ast.SequenceNode)
	if !ok {
		if single {
			return []Node{n}
		}
		n.Fail("start each entry with a dash", "want a list, not %s", n.kind())
		return nil
	}
	out := make([]Node, len(seq.Values))
	for i, v := range seq.Values {
		out[i] = Node{doc: n.doc, yaml: v, path: fmt.Sprintf("%s[%d]", n.path, i)}
	}
	return out
}

// Field is a key of a mapping with its value.
type Field struct {
	Name  string
	Value Node
	key   Node
}

// FailKey reports a problem with the key.
func (f Field) FailKey(hint, format string, args ...any) { f.key.Fail(hint, format, args...) }

// Position returns the line and column of the key, from 1.
func (f Field) Position() (line, col int) { return f.key.Position() }

// Line returns the line on which the key stands, from 1.
func (f Field) Line() int {
	line, _ := f.key.Position()
	return line
}

// Fields reads a mapping, in the order of the file. If known names are given, others are reported.
func (n Node) Fields(known ...string) []Field {
	var pairs []*ast.MappingValueNode
	switch m := n.yaml.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		if !n.Empty() {
			n.Fail("", "want a mapping (name: value), not %s", n.kind())
		}
		return nil
	}
	var out []Field
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		path := name
		if n.path != "" {
			path = n.path + "." + name
		}
		f := Field{
			Name:  name,
			Value: Node{doc: n.doc, yaml: pair.Value, path: path},
			key:   Node{doc: n.doc, yaml: pair.Key, path: n.path},
		}
		if _, merge := pair.Key.(*ast.MergeKeyNode); merge {
			f.FailKey("write the fields out", "merge keys are not supported")
			continue
		}
		if len(known) > 0 && !slices.Contains(known, name) {
			f.FailKey(suggest(name, known), "unknown field %q", name)
			continue
		}
		out = append(out, f)
	}
	return out
}

// JSON converts the value to JSON. Numbers keep their digits.
func (n Node) JSON() []byte {
	var b bytes.Buffer
	before := len(n.doc.errs)
	n.appendJSON(&b)
	if len(n.doc.errs) > before {
		return nil
	}
	return b.Bytes()
}

func (n Node) appendJSON(b *bytes.Buffer) {
	switch v := n.yaml.(type) {
	case *ast.NullNode, nil:
		b.WriteString("null")
	case *ast.BoolNode:
		fmt.Fprint(b, v.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		b.WriteString(n.Number())
	case *ast.SequenceNode:
		b.WriteByte('[')
		for i, e := range n.List(false) {
			if i > 0 {
				b.WriteByte(',')
			}
			e.appendJSON(b)
		}
		b.WriteByte(']')
	case *ast.MappingNode, *ast.MappingValueNode:
		b.WriteByte('{')
		for i, f := range n.Fields() {
			if i > 0 {
				b.WriteByte(',')
			}
			name, err := json.Marshal(f.Name)
			if err != nil {
				f.FailKey("", "%v", err)
			}
			b.Write(append(name, ':'))
			f.Value.appendJSON(b)
		}
		b.WriteByte('}')
	default:
		text, err := json.Marshal(n.Text())
		if err != nil {
			n.Fail("", "%v", err)
		}
		b.Write(text)
	}
}

func (n Node) kind() string {
	switch v := n.yaml.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + v.GetToken().Value
	case *ast.BoolNode:
		return "the boolean " + v.GetToken().Value
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag, which are not supported here"
	}
	return strings.ToLower(n.yaml.Type().String())
}
