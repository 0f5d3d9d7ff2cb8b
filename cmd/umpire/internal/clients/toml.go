package clients

import (
	"bytes"
	"errors"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

func parseTOML(file []byte) (*node, error) {
	var all map[string]any // checks what the parser of expressions does not: keys and tables that stand there twice
	if err := toml.Unmarshal(file, &all); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, col := at.Position()
			return nil, &SyntaxError{Line: line, Col: col, Msg: at.Error()}
		}
		return nil, &SyntaxError{Line: 1, Col: 1, Msg: err.Error()}
	}
	t := tomlReader{file: file}
	t.parser.Reset(file)
	root := &node{kind: object}
	table := root
	for t.parser.NextExpression() {
		switch e := t.parser.Expression(); e.Kind {
		case unstable.Table:
			table = root
			for key := e.Key(); key.Next(); {
				table = table.descend(key.Node())
			}
		case unstable.ArrayTable: // no client has its servers in one
			table = &node{kind: object}
		case unstable.KeyValue:
			t.keyValue(table, e, "")
		case unstable.Invalid, unstable.Comment, unstable.Key, unstable.Array, unstable.InlineTable, unstable.String, unstable.Bool,
			unstable.Float, unstable.Integer, unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		}
	}
	if err := t.parser.Error(); err != nil {
		return nil, &SyntaxError{Line: 1, Col: 1, Msg: err.Error()}
	}
	return root, nil
}

// descend returns the object of that key, which is made if it is not there.
func (n *node) descend(key *unstable.Node) *node {
	if m := n.get(string(key.Data)); m != nil {
		return m.value
	}
	m := &member{name: string(key.Data), start: int(key.Raw.Offset), value: &node{kind: object}}
	n.members = append(n.members, m)
	return m.value
}

type tomlReader struct {
	file   []byte
	parser unstable.Parser
}

// keyValue adds an assignment to a table. Within braces, between is what separates two of them.
func (t *tomlReader) keyValue(table *node, e *unstable.Node, between string) {
	start := int(e.Raw.Offset)
	m := &member{start: start, assign: " = ", between: between}
	if between == "" {
		white, _ := indent(t.file, start)
		m.between = newline(t.file, start) + white
	}
	var last *unstable.Node
	for key := e.Key(); key.Next(); {
		if last != nil {
			table = table.descend(last)
		}
		last = key.Node()
	}
	m.name, m.prefix = string(last.Data), string(t.file[start:last.Raw.Offset])
	at := int(last.Raw.Offset + last.Raw.Length)
	at += bytes.IndexByte(t.file[at:], '=') + 1
	at += len(t.file[at:]) - len(bytes.TrimLeft(t.file[at:], " \t"))
	m.value = t.value(e.Value(), at)
	table.members = append(table.members, m)
}

// value returns the value that begins at an offset.
func (t *tomlReader) value(v *unstable.Node, at int) *node {
	n := &node{start: at, between: ", ", flow: true}
	if v.Kind != unstable.Array && v.Kind != unstable.InlineTable {
		n.end = int(v.Raw.Offset + v.Raw.Length)
		n.text = string(v.Data)
	}
	switch v.Kind {
	case unstable.String:
		n.kind = text
	case unstable.Array:
		n.kind = list
		for items := v.Children(); items.Next(); {
			item := items.Node()
			n.items = append(n.items, t.value(item, int(item.Raw.Offset)))
		}
	case unstable.InlineTable:
		n.kind = object
		for pairs := v.Children(); pairs.Next(); {
			t.keyValue(n, pairs.Node(), ", ")
		}
	case unstable.Invalid, unstable.Comment, unstable.Key, unstable.Table, unstable.ArrayTable, unstable.KeyValue, unstable.Bool,
		unstable.Float, unstable.Integer, unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
	}
	return n
}
