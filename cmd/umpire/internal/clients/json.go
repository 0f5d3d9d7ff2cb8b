package clients

import (
	"errors"
	"regexp"
	"strconv"

	"github.com/tailscale/hujson"
)

// place finds line and column in hujson's errors, which say them in words.
var place = regexp.MustCompile(`line (\d+), column (\d+): `)

func parseJSON(file []byte) (*node, error) {
	v, err := hujson.Parse(file)
	if err != nil {
		m := place.FindStringSubmatchIndex(err.Error())
		if m == nil {
			return nil, &SyntaxError{Line: 1, Col: 1, Msg: err.Error()}
		}
		line, lineErr := strconv.Atoi(err.Error()[m[2]:m[3]])
		col, colErr := strconv.Atoi(err.Error()[m[4]:m[5]])
		if err := errors.Join(lineErr, colErr); err != nil {
			return nil, err
		}
		return nil, &SyntaxError{Line: line, Col: col, Msg: err.Error()[m[1]:]}
	}
	return fromJSON(file, &v), nil
}

func fromJSON(file []byte, v *hujson.Value) *node {
	n := &node{start: v.StartOffset, end: v.EndOffset, between: ", ", flow: true}
	switch t := v.Value.(type) {
	case hujson.Literal:
		if t.Kind() == '"' {
			n.kind = text
			n.text = t.String()
		} else {
			n.text = string(t)
		}
	case *hujson.Array:
		n.kind = list
		for i := range t.Elements {
			n.items = append(n.items, fromJSON(file, &t.Elements[i]))
		}
	case *hujson.Object:
		n.kind = object
		for i := range t.Members {
			key, ok := t.Members[i].Name.Value.(hujson.Literal)
			if !ok {
				continue
			}
			m := &member{name: key.String(), start: t.Members[i].Name.StartOffset, prefix: `"`, assign: `": `, between: ", "}
			if white, ok := indent(file, m.start); ok && m.start > len(white) {
				m.between = "," + newline(file, m.start) + white
			}
			m.value = fromJSON(file, &t.Members[i].Value)
			n.members = append(n.members, m)
		}
	}
	return n
}
