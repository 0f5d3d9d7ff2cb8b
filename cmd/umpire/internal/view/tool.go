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
	shown := map[string]bool{e.Pinned.Pin: true}
	compared := false
	compare := func(name string, t *event.Tool) {
		if !shown[t.Pin] {
			shown[t.Pin], compared = true, true
			p.diff(e.Pinned, name, t)
		}
	}
	for _, d := range e.Doubts {
		if d.Tool != nil && d.Tool != e.Now {
			compare("listed in "+Ref(d.Seq), d.Tool)
		}
	}
	if compare("now", e.Now); compared {
		return
	}
	for line := range strings.Lines(definition(e.Now)) {
		p.Line("  " + strings.TrimSuffix(line, "\n"))
	}
}

// diff prints what differs, after the two lines that say so in the form of diff -u.
func (p *Printer) diff(pinned *event.Tool, name string, t *event.Tool) {
	text := diff.Diff("pinned", []byte(definition(pinned)), name, []byte(definition(t)))
	_, text, _ = bytes.Cut(text, []byte("\n")) // diff pinned now
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
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
