// Package view prints events for people. Everything that came from a client, a server or a model is shown as text:
// control, invisible and bidirectional characters are escaped.
package view

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"

	"github.com/umpire-dev/umpire/rules/event"
)

var (
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	faint  = lipgloss.NewStyle().Faint(true)
	bold   = lipgloss.NewStyle().Bold(true)
)

// Printer writes to one output, with colours if that is a terminal.
type Printer struct {
	out    io.Writer
	err    error
	before string // each line: takes away what a Progress has drawn
	styled bool   // whatever out is
}

// New returns a Printer on out.
func New(out io.Writer) *Printer {
	p := &Printer{out: out}
	if Terminal(out) {
		p.before = clearLine
	}
	return p
}

// Styled returns a Printer that always writes colours, for whoever draws on a screen.
func Styled(out io.Writer) *Printer { return &Printer{out: out, styled: true} }

// Err returns the first error of writing.
func (p *Printer) Err() error { return p.err }

// Line writes one line.
func (p *Printer) Line(parts ...string) {
	write := lipgloss.Fprintln
	if p.styled {
		write = fmt.Fprintln
	}
	if _, err := write(p.out, p.before+strings.TrimRight(strings.Join(parts, " "), " ")); p.err == nil {
		p.err = err
	}
}

// Table writes rows in columns; the first row is the heading.
func (p *Printer) Table(rows [][]string) {
	if len(rows) == 0 {
		return
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], lipgloss.Width(cell))
		}
	}
	for n, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cell
			if i < len(row)-1 {
				cells[i] += strings.Repeat(" ", width[i]-lipgloss.Width(cell)+1)
			}
			if n == 0 {
				cells[i] = faint.Render(cells[i])
			}
		}
		p.Line(cells...)
	}
}

// Text makes what came from elsewhere safe and short enough for a line.
func Text(s string, longest int) string {
	var b strings.Builder
	n, marks := 0, 0
	for _, r := range s {
		if marks++; !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		}
		if n++; longest > 0 && n > longest {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteByte(' ')
		case !unicode.IsPrint(r), unseen(r), marks > mostMarks:
			b.WriteString(spelled(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// mostMarks is how many marks a letter can have; a pile of them covers the lines above.
const mostMarks = 4

// spelled is an escape that strings of Go and JSON know, beyond the first plane those of Go.
func spelled(r rune) string {
	if r > 0xffff {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// unseen reports whether r is printable by its class, and yet not to be seen.
func unseen(r rune) bool {
	return r == 0x2800 || r >= 0x80 && unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Action formats what was done.
func Action(a event.Action) string {
	switch a {
	case event.Allow:
		return green.Render("allow")
	case event.Log:
		return yellow.Render("log") + "  "
	case event.Hold:
		return yellow.Render("hold") + " "
	case event.Deny:
	}
	return red.Render("deny") + " "
}

// Effect formats what a change of a policy means: stricter, looser or other.
func Effect(effect string) string {
	text := fmt.Sprintf("%-8s", effect)
	switch effect {
	case "stricter":
		return red.Render(text)
	case "looser":
		return green.Render(text)
	}
	return yellow.Render(text)
}

// Time formats an instant in local time, with its date if that is not today's.
func Time(t event.Time, now time.Time) string {
	at := t.Time().Local()
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format("15:04:05.000")
	}
	return at.Format("2006-01-02 15:04:05")
}

// Ref formats the number of an event.
func Ref(seq uint64) string { return fmt.Sprintf("#%d", seq) }

// Refs formats the numbers of events.
func Refs(seqs []uint64) string {
	parts := make([]string, len(seqs))
	for i, s := range seqs {
		parts[i] = Ref(s)
	}
	return strings.Join(parts, " ")
}

// JSON formats a JSON value in one line.
func JSON(raw json.RawMessage, longest int) string { return Text(string(raw), longest) }

// Timeline prints events one a line, in the order of the log. A call and its verdict are one line, and so are the end of
// its hold and the verdict that follows.
type Timeline struct {
	*Printer
	Now     time.Time
	Session bool // name the session in each line
	judged  event.Event
}

// Event prints e.
func (t *Timeline) Event(e event.Event) {
	switch b := e.Body.(type) {
	case *event.Call:
		if b.Seen {
			t.row(e, Ref(e.Seq), yellow.Render("seen "), about(e), faint.Render("made by the model's side, not judged"))
			break
		}
		t.judged = e // printed with its verdict
	case *event.Review, *event.Expired:
		t.judged = e // likewise
	case *event.Verdict:
		if t.judged.Seq == max(b.After, e.Cause) {
			t.verdict(e, b)
		}
	case *event.Result:
		t.row(e, "", Outcome(b.Outcome), faint.Render(fmt.Sprintf("answer to #%d %s/%s", e.Cause, Text(b.Server, 40), Text(b.Tool, 60))), resultText(b))
	case *event.Opened:
		t.row(e, "", "open ", faint.Render(fmt.Sprintf("%s uses %s over %s %s", Text(client(b.Peer), 60), Text(b.Server, 40), b.Transport, Text(b.Protocol, 20))))
	case *event.Closed:
		t.row(e, "", "close", faint.Render(Text(b.Server, 40)+": "+Text(b.Reason, 100)))
	case *event.Loaded:
		names := make([]string, len(b.Sources))
		for i, s := range b.Sources {
			names[i] = s.Name
		}
		t.row(e, "", "load ", faint.Render(fmt.Sprintf("policy %.12s from %s", b.Digest, Text(strings.Join(names, ", "), 100))))
	case *event.Catalog:
		t.catalog(e, b)
	case *event.Accepted:
		names := make([]string, len(b.Tools))
		for i, tool := range b.Tools {
			names[i] = tool.Name
		}
		t.row(e, "", "tools", Text(b.Who, 60)+" accepted "+Text(b.Server+"/"+strings.Join(names, ", "), 160))
	case *event.Promoted:
		t.row(e, "", "base ", fmt.Sprintf("%s put the baseline %.12s into force, from %s", Text(b.Who, 60), b.Digest, Text(b.Name, 100)))
	case *event.Exception:
		t.row(e, Ref(e.Seq), "grant", Exception(e.Cause, b, t.Now))
	case *event.Revoked:
		t.row(e, "", "end  ", strings.TrimSpace(fmt.Sprintf("%s revoked exception #%d %s", Text(b.Who, 60), e.Cause, note(b.Note))))
	case *event.Signal:
		t.row(e, "", yellow.Render("note "), Text(b.Name+": "+b.Text, 160))
	case *event.Turn:
		t.row(e, Ref(e.Seq), "said ", turn(b))
	}
}

// Exception says what an exception lets pass.
func Exception(call uint64, x *event.Exception, now time.Time) string {
	rules := make([]string, len(x.Rules))
	for i, r := range x.Rules {
		rules[i] = r.Name
	}
	out := fmt.Sprintf("%s excepts %s of %s from %s until %s, as #%d: %s", Text(x.Who, 60), Text(x.Server+"/"+x.Tool, 80), Text(x.Agent, 40),
		strings.Join(rules, ", "), Time(x.Expires, now), call, Bound(x))
	return strings.TrimSpace(out + " " + note(x.Note))
}

// Bound says which arguments an exception asks for.
func Bound(x *event.Exception) string {
	if len(x.With) == 0 {
		return "with the same arguments"
	}
	with := make([]string, len(x.With))
	for i, a := range x.With {
		with[i] = Text(a.Path, 60) + " " + JSON(a.Value, 60)
	}
	return "with " + strings.Join(with, ", ")
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("(%q)", Text(text, 100))
}

// catalog prints what a server lists, and in a line of its own what is doubtful about a tool.
func (t *Timeline) catalog(e event.Event, c *event.Catalog) {
	names := make([]string, len(c.Tools))
	for i, tool := range c.Tools {
		names[i] = tool.Name
	}
	what := Text(strings.Join(names, ", "), 100)
	if len(names) == 0 {
		what = "no tools that are new, and this is all it has"
	}
	t.row(e, "", "tools", faint.Render(Text(c.Server, 40)+" lists "+what))
	for _, tool := range c.Tools {
		for _, d := range tool.Doubts {
			t.row(e, "", yellow.Render("tools"), bold.Render(ASCII(c.Server+"/"+tool.Name, 80))+faint.Render(": ")+Doubt(d))
		}
	}
}

// Doubt formats what is doubtful about a tool.
func Doubt(d event.Doubt) string {
	switch d.Kind {
	case event.Changed:
		return "changed: " + Text(d.Text, 100)
	case event.Hidden:
		return "hidden characters in " + Text(d.Path, 100) + ": " + Text(d.Text, 200)
	case event.Twin:
		return "looks like " + ASCII(d.Text, 100)
	case event.Added:
		return "added after the first list"
	}
	return Text(d.Kind+" "+d.Text, 100)
}

// Passage says what was found in a text, and how it begins.
func Passage(p event.Passage) string {
	return fmt.Sprintf("%s %s: %s", Text(p.Path, 100), map[string]string{
		event.Asks: "asks for an action", event.Talks: "talks to the assistant", event.Unseen: "hides something",
	}[p.Kind], Text(p.Text, 200))
}

// ASCII is Text, but that a letter which is not ASCII is spelled out: it could look like one that is.
func ASCII(s string, longest int) string {
	var b strings.Builder
	for _, r := range Text(s, longest) {
		if r == '…' || r < 0x80 {
			b.WriteRune(r)
		} else {
			b.WriteString(spelled(r))
		}
	}
	return b.String()
}

func (t *Timeline) verdict(e event.Event, v *event.Verdict) {
	why := ""
	excepted := slices.ContainsFunc(v.Also, func(m event.Match) bool { return m.Excepted })
	if v.Rule != "" || v.Action != event.Allow || v.After != 0 || excepted {
		why = Text(v.Why, 200)
	}
	if v.Rule != "" || v.Action != event.Allow {
		why = bold.Render(Text(v.Rule, 60)) + faint.Render(": ") + why
	}
	t.row(t.judged, Ref(e.Cause), Action(v.Action), about(t.judged), why)
	for _, m := range v.Also {
		if v.After != 0 && m.Action == event.Hold || m.Excepted { // that is why it was on hold, or is said
			continue
		}
		word := "also"
		if m.Observed {
			word = "would " + m.Action.String()
		}
		t.row(e, "", "     ", faint.Render(word)+" "+bold.Render(Text(m.Rule, 60))+faint.Render(": ")+Text(m.Why, 200))
	}
}

// about formats what was judged.
func about(e event.Event) string {
	switch b := e.Body.(type) {
	case *event.Call:
		what := Text(b.Server+"/"+b.Tool, 80) + " " + faint.Render(JSON(b.Args, 60))
		if b.Intent != "" {
			what += faint.Render(` to "` + Text(b.Intent, 80) + `"`)
		}
		return what
	case *event.Review:
		return Text(b.Server+"/"+b.Tool, 80)
	case *event.Expired:
		return Text(b.Server+"/"+b.Tool, 80)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	return ""
}

func (t *Timeline) row(e event.Event, ref string, parts ...string) {
	head := []string{faint.Render(Time(e.At, t.Now)), fmt.Sprintf("%6s", ref)}
	if t.Session {
		head = append(head, faint.Render(fmt.Sprintf("%-6s", e.Session)))
	}
	t.Line(append(head, parts...)...)
}

// Outcome formats how a call ended.
func Outcome(o event.Outcome) string {
	text := fmt.Sprintf("%-5s", string(o))
	switch o {
	case event.OutcomeOK, event.OutcomeInput, event.OutcomeStarted:
		return faint.Render(text)
	case event.OutcomeFailed, event.OutcomeError, event.OutcomeUnclear, event.OutcomeLost, event.OutcomeCancelled:
	}
	return yellow.Render(text)
}

func resultText(r *event.Result) string {
	switch {
	case r.Text != "":
		return Text(r.Text, 120)
	case r.Outcome == event.OutcomeFailed:
		return JSON(r.Content, 120)
	}
	return ""
}

// turn formats a piece of the conversation: whose words, who heard them, and what they are.
func turn(b *event.Turn) string {
	who := string(b.Role)
	if b.Trust != event.Trusted {
		who = "untrusted " + who
	}
	said := Text(b.Text, 160)
	switch {
	case b.Text != "":
	case len(b.Uses) > 0:
		var uses []string
		for _, u := range b.Uses {
			uses = append(uses, u.Server+"/"+u.Tool)
		}
		said = "calls " + Text(strings.Join(uses, ", "), 160)
	case b.Size == 0 && len(b.Calls) > 0:
		verb := map[event.Role]string{event.RoleAssistant: "calls "}[b.Role]
		said = cmp.Or(verb, "answers ") + Text(strings.Join(b.Calls, ", "), 160)
	default:
		said = fmt.Sprintf("%d bytes, not kept", b.Size)
	}
	source := Text(b.Source, 40)
	if b.Server != "" {
		source += " of " + Text(b.Server, 40)
	}
	return bold.Render(Text(who, 40)) + faint.Render(" ("+source+"): ") + said
}

func client(p event.Peer) string {
	name := p.Agent
	if name == "" {
		name = "a client without name"
	}
	if p.Client.Version != "" {
		name += " " + p.Client.Version
	}
	return name + " (" + p.Principal + ")"
}
