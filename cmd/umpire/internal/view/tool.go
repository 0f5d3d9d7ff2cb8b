package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
)

// Definition prints how a tool was pinned, how it is described now and what is doubtful about it. Each definition that
// nobody has accepted is compared with the pinned one.
func (p *Printer) Definition(e *catalog.Entry) {
	p.Line(bold.Render(ASCII(e.String(), 0)))
	if len(e.Doubts) == 0 {
		p.Line("  pinned, and nothing about it is doubtful")
	}
	for _, d := range e.Doubts {
		p.Line(" ", yellow.Render(Doubt(d.Doubt)), faint.Render(Ref(d.Seq)))
	}
	for _, x := range e.Now.Passages {
		if x.Kind == event.Talks { // what is hidden is a doubt
			p.Line(" ", yellow.Render(Passage(x)))
		}
	}
	if e.Pinned == nil {
		p.Line("  listed before tools were pinned; its next tools/list pins it")
		return
	}
	for _, c := range Comparisons(e) {
		for _, line := range c.Lines {
			switch {
			case !c.Differs:
			case strings.HasPrefix(line, "+"):
				line = green.Render(line)
			case strings.HasPrefix(line, "-"):
				line = red.Render(line)
			case strings.HasPrefix(line, "@"):
				line = faint.Render(line)
			}
			p.Line("  " + line)
		}
	}
}

// Comparison is a definition of a tool, for people.
type Comparison struct {
	Differs bool     `json:"differs"` // from the pinned one: Lines are as diff -u has them; else they are all of it
	Lines   []string `json:"lines"`
}

// Comparisons compares each definition of a tool that nobody has accepted with the pinned one. Where there is none that
// differs, the newest is returned as it is.
func Comparisons(e *catalog.Entry) (out []Comparison) {
	if e.Pinned == nil {
		return []Comparison{{Lines: linesOf(definition(e.Now))}}
	}
	shown := map[string]bool{e.Pinned.Pin: true}
	compare := func(name string, t *event.Tool) {
		if shown[t.Pin] {
			return
		}
		shown[t.Pin] = true
		text := diff.Diff("pinned", []byte(definition(e.Pinned)), name, []byte(definition(t)))
		_, text, _ = bytes.Cut(text, []byte("\n")) // diff pinned now
		out = append(out, Comparison{Differs: true, Lines: linesOf(string(text))})
	}
	for _, d := range e.Doubts {
		if d.Tool != nil && d.Tool != e.Now {
			compare("listed in "+Ref(d.Seq), d.Tool)
		}
	}
	if compare("now", e.Now); len(out) > 0 {
		return out
	}
	return []Comparison{{Lines: linesOf(definition(e.Now))}}
}

func linesOf(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// sentence is where a line of prose can be broken, so that a diff shows a sentence and not a page.
var sentence = regexp.MustCompile(`[.!?;:] +`)

// definition writes a definition for people, in lines. What cannot be seen is spelled out.
func definition(t *event.Tool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\n", ASCII(t.Name, 0))
	if t.Long > 0 {
		fmt.Fprintf(&b, "%d bytes, too long to keep; its pin is %s\n", t.Long, t.Pin)
	}
	if t.Title != "" {
		fmt.Fprintf(&b, "title: %s\n", Text(t.Title, 0))
	}
	if t.Description != "" {
		b.WriteString("description:\n")
		for line := range strings.Lines(t.Description) {
			line = sentence.ReplaceAllStringFunc(strings.TrimSuffix(line, "\n"), func(end string) string { return end[:1] + "\n" })
			for part := range strings.Lines(line + "\n") {
				fmt.Fprintf(&b, "  %s\n", Text(strings.TrimSuffix(part, "\n"), 0))
			}
		}
	}
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"inputSchema", t.InputSchema}, {"outputSchema", t.OutputSchema}, {"annotations", t.Annotations}, {"more", t.More}} {
		var lines bytes.Buffer
		if len(part.raw) == 0 || json.Indent(&lines, part.raw, "  ", "  ") != nil {
			continue
		}
		fmt.Fprintf(&b, "%s:\n", part.name)
		for line := range strings.Lines("  " + lines.String() + "\n") {
			fmt.Fprintf(&b, "%s\n", Text(strings.TrimSuffix(line, "\n"), 0))
		}
	}
	return b.String()
}
