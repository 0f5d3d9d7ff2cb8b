// Package document reads YAML documents whose every value knows its line and column, so that what is wrong with a
// policy or a configuration can be shown where it stands.
//
// Problems are collected in the Document; a reader goes on after one, and all of them are reported together.
package document

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Document is one YAML file.
type Document struct {
	name  string
	lines []string
	root  ast.Node
	errs  Errors
}

// Parse reads text. Anchors, aliases, tags and merge keys are refused: a policy should mean what it shows.
func Parse(name, text string) (*Document, error) {
	d := &Document{name: name, lines: strings.Split(text, "\n")}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, d.syntax(err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if d.root != nil {
			n := Node{doc: d, yaml: doc.Body}
			n.Fail("put it into a file of its own", "a second document in one file")
			return nil, d.errs
		}
		d.root = doc.Body
	}
	return d, nil
}

func (d *Document) syntax(err error) error {
	e := &Error{File: d.name, Line: 1, Col: 1, Msg: err.Error()}
	var located yaml.Error
	if errors.As(err, &located) {
		pos := located.GetToken().Position
		e.Line, e.Col, e.Msg = pos.Line, pos.Column, located.GetMessage()
	}
	e.Source = d.line(e.Line)
	return Errors{e}
}

// Root returns the top of the document. It is Empty for an empty file.
func (d *Document) Root() Node { return Node{doc: d, yaml: d.root} }

// Err returns what was reported so far, an Errors, or nil.
func (d *Document) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return d.errs
}

// Only returns the text with every top-level field but the named ones blanked out, so that what is left keeps its lines
// and columns. The text has to be in block style. ok is false if it has none of the fields.
func (d *Document) Only(keys ...string) (text string, ok bool) {
	fields := d.Root().Fields()
	keep := make([]bool, len(d.lines))
	for i, f := range fields {
		if !slices.Contains(keys, f.Name) {
			continue
		}
		ok = true
		end := len(d.lines)
		if i+1 < len(fields) {
			end = fields[i+1].Line() - 1
		}
		for line := f.Line() - 1; line < end; line++ {
			keep[line] = true
		}
	}
	lines := slices.Clone(d.lines)
	for i := range lines {
		if !keep[i] {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n"), ok
}

func (d *Document) line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	return strings.TrimRight(d.lines[n-1], "\r")
}

// Error is one problem at one place.
type Error struct {
	File      string
	Line, Col int    // from 1; 0 if the place is not known
	Source    string // the line, as it stands in the file
	Path      string // the value, such as "rules[2].rate.max"
	Msg       string
	Hint      string // what to do about it; may be empty
}

// Error formats e in one line, without hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Detail formats e for people: the message, the source line with a caret below the column, and the hint.
func (e *Error) Detail() string {
	var b strings.Builder
	b.WriteString(e.Error())
	if e.Line > 0 && strings.TrimSpace(e.Source) != "" {
		source := strings.ReplaceAll(e.Source, "\t", " ")
		fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", e.Line, source, strings.Repeat(" ", max(0, e.Col-1)))
	}
	if e.Hint != "" {
		b.WriteString("\n  hint: " + e.Hint)
	}
	return b.String()
}

// Errors is every problem of one or more files, in the order of the files.
type Errors []*Error

// Error formats the problems one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
