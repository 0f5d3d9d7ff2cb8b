package clients

import (
	"bytes"
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML reads the file with plain line ends, since the library's places do not hold with others, and puts the places
// back to where they were.
func parseYAML(file []byte) (*node, error) {
	for i, c := range file {
		if c == '\r' && (i+1 == len(file) || file[i+1] != '\n') { // YAML takes it for the end of a line, editors do not
			return nil, failAt(file, i, "a carriage return without a line feed")
		}
	}
	root, err := readYAML(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")), newline(file, 0))
	if err != nil || !bytes.Contains(file, []byte("\r\n")) {
		return root, err
	}
	var was []int // by the place without \r
	for i := range file {
		if file[i] != '\r' || i+1 == len(file) || file[i+1] != '\n' {
			was = append(was, i)
		}
	}
	was = append(was, len(file))
	root.move(func(at int) int { return was[min(at, len(was)-1)] }, map[*node]bool{})
	return root, nil
}

func readYAML(file []byte, newline string) (*node, error) {
	doc, err := parser.ParseBytes(file, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			pos := at.GetToken().Position
			return nil, &SyntaxError{Line: pos.Line, Col: pos.Column, Msg: at.GetMessage()}
		}
		return nil, &SyntaxError{Line: 1, Col: 1, Msg: err.Error()}
	}
	r := yamlReader{file: file, newline: newline, lines: []int{0}}
	for i, c := range file {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	root := &node{kind: object}
	found := false
	for _, d := range doc.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if found {
			return nil, failAt(file, r.offset(d.Body.GetToken()), "a second document in one file")
		}
		root, found = r.node(d.Body), true
	}
	return root, nil
}

type yamlReader struct {
	file    []byte
	newline string // how lines end
	lines   []int  // where each begins
}

// offset returns where a token stands. Tokens count in characters.
func (r *yamlReader) offset(t *token.Token) int {
	if t == nil || t.Position == nil || t.Position.Line < 1 || t.Position.Line > len(r.lines) {
		return len(r.file)
	}
	at := r.lines[t.Position.Line-1]
	rest := string(r.file[at:])
	chars := 1
	for i := range rest {
		if chars == t.Position.Column {
			return at + i
		}
		chars++
	}
	return len(r.file)
}

func (r *yamlReader) node(v ast.Node) *node {
	switch v := v.(type) {
	case *ast.MappingNode:
		n := &node{kind: object, start: r.offset(v.Start), flow: v.IsFlowStyle}
		for _, pair := range v.Values {
			r.pair(n, pair)
		}
		return n
	case *ast.MappingValueNode:
		n := &node{kind: object, start: r.offset(v.Key.GetToken())}
		r.pair(n, v)
		return n
	case *ast.SequenceNode:
		n := &node{kind: list, start: r.offset(v.Start), between: ", ", flow: v.IsFlowStyle}
		for _, item := range v.Values {
			n.items = append(n.items, r.node(item))
		}
		if v.IsFlowStyle {
			n.end = r.offset(v.End) + 1
		} else {
			line := r.file[:n.start]
			column := n.start - (bytes.LastIndexByte(line, '\n') + 1)
			n.between = r.newline + strings.Repeat(" ", column) + "- "
		}
		return n
	case *ast.StringNode:
		return r.scalar(v.GetToken(), v.Value)
	}
	n := &node{start: r.offset(v.GetToken())}
	if v.GetToken() != nil {
		n.text = v.GetToken().Value
	}
	return n
}

func (r *yamlReader) pair(n *node, v *ast.MappingValueNode) {
	if v.Key.IsMergeKey() {
		return
	}
	m := &member{name: v.Key.GetToken().Value, start: r.offset(v.Key.GetToken()), assign: ": ", between: ", ", value: r.node(v.Value)}
	if !n.flow {
		column := m.start - (bytes.LastIndexByte(r.file[:m.start], '\n') + 1)
		m.between = r.newline + strings.Repeat(" ", column)
	}
	n.members = append(n.members, m)
}

// scalar returns a text on one line; what spans lines, or is not where its token says, can be read and not moved.
func (r *yamlReader) scalar(t *token.Token, value string) *node {
	n := &node{start: r.offset(t), text: value}
	rest := r.file[n.start:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	length := 0
	switch {
	case len(rest) == 0:
	case rest[0] == '"':
		for i := 1; i < len(rest) && length == 0; i++ {
			switch rest[i] {
			case '\\':
				i++
			case '"':
				length = i + 1
			}
		}
	case rest[0] == '\'':
		for i := 1; i < len(rest) && length == 0; i++ {
			switch {
			case rest[i] != '\'':
			case i+1 < len(rest) && rest[i+1] == '\'':
				i++
			default:
				length = i + 1
			}
		}
	case bytes.HasPrefix(rest, []byte(value)) && t.Type == token.StringType:
		length, n.plain = len(value), true
	}
	if length > 0 {
		n.kind, n.end = text, n.start+length
	}
	return n
}
