package desk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of what is shown of one thing that somebody else has written.
const (
	longest = 8000 // characters
	tallest = 300  // lines
)

// teller writes a story in lines of at most a width.
type teller struct {
	width int
	now   time.Time
	lines []string
}

// label is how wide the names of fields are.
const label = 13

// tell says what led to a call, and what it is.
func (r *row) tell(width int, now time.Time) []string {
	if is := (telling{width, r.ended, r.note, r.story}); r.lines == nil || r.told != is {
		r.lines, r.told = tell(r, width, now), is
	}
	return r.lines
}

// telling is what the lines of a row depend on.
type telling struct {
	width       int
	ended, note string
	story       *told
}

func tell(r *row, width int, now time.Time) []string {
	t := teller{width: max(width, label+8), now: now}
	t.line(bold.Render(" "+view.Ref(r.Call)+" "+view.Text(r.Server+"/"+r.Tool, 200)) + faint.Render(t.until(r)))
	if r.ended != "" {
		t.field("ended", r.last)
	}
	if r.note != "" {
		t.field("your note", yellow.Render(view.Text(r.note, 0)))
	}
	t.field("rule", view.Text(r.Rule, 60))
	t.field("why", view.Text(r.Why, 0))
	t.said("arguments", pretty(r.Args)) // before all that could push them off the screen
	switch {
	case r.story == nil:
	case r.story.err != nil:
		t.field("", faint.Render(view.Text(r.story.err.Error(), 300)))
	default:
		t.call(r.story.Call)
	}
	t.field("agent", view.Text(r.Agent, 60)+faint.Render(" ("+view.Text(r.Principal, 60)+"), session "+view.Text(r.Session, 40)))
	return t.lines
}

func (t *teller) until(r *row) string {
	if r.ended != "" {
		return ""
	}
	return fmt.Sprintf("   held since %s, denied at %s", r.Since.Time().Local().Format("15:04:05"), r.Expires.Time().Local().Format("15:04:05"))
}

// call tells what else the rules have found, what was said, where the arguments came from, and which calls led to the verdict.
func (t *teller) call(c view.Call) {
	call, ok := c.Call.Body.(*event.Call)
	if !ok {
		return
	}
	for _, f := range call.Findings {
		t.field("", faint.Render(fmt.Sprintf("%s is %s (%d bytes as sent)", view.Text(f.Path, 80), f.Kind, f.Size)))
	}
	for _, q := range c.Quotes {
		what := "in another form"
		if q.Value != "" {
			what = view.Text(q.At, 80) + ": " + faint.Render(view.Text(q.Before, 0)) + bold.Render(view.Text(q.Value, 80)) + faint.Render(view.Text(q.After, 0))
		}
		t.field("came from", fmt.Sprintf("%s: #%d %s", view.Text(strings.TrimPrefix(q.Path, "args."), 80), q.Event, what))
	}
	if v, ok := c.Verdict.Body.(*event.Verdict); ok {
		for _, m := range v.Also {
			word := "also " + m.Action.String()
			if m.Observed {
				word = "would " + m.Action.String()
			}
			t.field(word, view.Text(m.Rule+": "+m.Why, 0))
		}
		if v.Hint != "" {
			t.field("allowed", view.Text(v.Hint, 0))
		}
	}
	if call.Intent != "" {
		t.said("intent", call.Intent)
	}
	t.turn("asked", c.Prompt)
	t.turn("said", c.Words)
	if c.Prompt == nil && c.Words == nil {
		t.field("said", faint.Render("nothing is known of the conversation"))
	}
	name := "evidence"
	for _, e := range c.Evidence {
		if b, ok := e.Body.(*event.Call); ok {
			t.short(name, faint.Render(view.Time(e.At, t.now))+" "+view.Ref(e.Seq)+" "+view.Text(b.Server+"/"+b.Tool, 80)+" "+faint.Render(view.JSON(b.Args, 400)))
			name = ""
		}
	}
}

// turn tells what somebody said.
func (t *teller) turn(name string, e *event.Event) {
	if e == nil {
		return
	}
	b, ok := e.Body.(*event.Turn)
	if !ok {
		return
	}
	who := string(b.Role)
	if b.Trust != event.Trusted {
		who = "untrusted " + who
	}
	t.field(name, faint.Render(fmt.Sprintf("%s, %s, #%d", view.Text(who, 40), view.Text(b.Source, 60), e.Seq)))
	text := b.Text
	if text == "" {
		text = fmt.Sprintf("(%d bytes, not kept)", b.Size)
	}
	t.said("", text)
}

// field writes a name and what is short, wrapped.
func (t *teller) field(name, text string) {
	for i, l := range strings.Split(ansi.Wrap(text, t.width-label-1, ""), "\n") {
		if i > 0 {
			name = ""
		}
		t.line(faint.Render(fmt.Sprintf(" %-*s", label, name)) + l)
	}
}

// short writes a name and what is cut to one line.
func (t *teller) short(name, text string) {
	t.line(faint.Render(fmt.Sprintf(" %-*s", label, name)) + text)
}

// said writes what somebody else has written: text in lines of its own, each behind a bar.
func (t *teller) said(name, text string) {
	if cut := []rune(text); len(cut) > longest {
		text = string(cut[:longest]) + fmt.Sprintf(" … and %d characters more: umpire show", len(cut)-longest)
	}
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		l = view.Text(strings.TrimSuffix(l, "\r"), 0)
		indent := strings.Repeat(" ", min(len(l)-len(strings.TrimLeft(l, " ")), t.width/4))
		for i, part := range strings.Split(ansi.Wrap(l, t.width-label-4-len(indent), ""), "\n") {
			if i > 0 {
				part = indent + part
			}
			lines = append(lines, part)
		}
	}
	if more := len(lines) - tallest; more > 0 {
		lines = append(lines[:tallest], fmt.Sprintf("… and %d lines more: umpire show", more))
	}
	for _, l := range lines {
		t.line(faint.Render(fmt.Sprintf(" %-*s│ ", label, name)) + l)
		name = ""
	}
}

func (t *teller) line(text string) { t.lines = append(t.lines, ansi.Truncate(text, t.width, "…")) }

// pretty puts JSON on several lines, if it does not fit on one.
func pretty(raw json.RawMessage) string {
	if len(raw) <= 60 {
		return string(raw)
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}
