package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Call is a call with what belongs to it.
type Call struct {
	Call     event.Event
	Verdict  event.Event  // without a body if the call was seen and not judged
	End      *event.Event // the Review or Expired that ended its hold, if there was one
	Settled  *event.Event // the verdict that came after it
	Result   *event.Event // nil if there is none yet
	Evidence []event.Event
	Quotes   []Quote

	// What was said about it, as far as it is known: the Turns of the user, of the model that makes the call, and what was
	// said next.
	Prompt, Words, Next *event.Event
}

// Quote is a value of a call where it stands in what was read or said before.
type Quote struct {
	event.Origin
	Event                uint64 // Seq of the result or the turn
	At                   string // where in it
	Before, Value, After string // empty if it stands there in another form
}

// Call prints a call: who, what, why, with the evidence, and how it ended.
func (p *Printer) Call(c Call, now time.Time) {
	call, action, word := c.Call.Body.(*event.Call), event.Allow, yellow.Render("seen")
	if v, ok := c.Verdict.Body.(*event.Verdict); ok {
		if action = v.Action; c.Settled != nil {
			action = c.Settled.Body.(*event.Verdict).Action
		}
		word = Action(action)
	}
	p.Line(bold.Render(fmt.Sprintf("#%d %s/%s", c.Call.Seq, Text(call.Server, 40), Text(call.Tool, 80))), word)
	field := func(name, format string, args ...any) {
		p.Line(faint.Render(fmt.Sprintf("  %-11s", name)) + fmt.Sprintf(format, args...))
	}
	field("when", "%s", Time(c.Call.At, now))
	field("session", "%s", c.Call.Session)
	field("client", "%s", Text(client(call.Peer), 120))
	if call.Retry != 0 {
		field("continues", "#%d", call.Retry)
	}
	if b := call.Bound; b != nil {
		field("bound", "%s", bound(b))
	}
	if call.Intent != "" {
		field("intent", "%s", Text(call.Intent, 0))
	}
	said := func(name string, e *event.Event) {
		if e != nil {
			field(name, "%s (#%d)", turn(e.Body.(*event.Turn)), e.Seq)
		}
	}
	said("asked", c.Prompt)
	said("said", c.Words)
	field("arguments", "%s", indent(call.Args))
	for _, f := range call.Findings {
		field("", "%s is %s (%d bytes as sent)", Text(f.Path, 80), f.Kind, f.Size)
	}
	if v, ok := c.Verdict.Body.(*event.Verdict); ok {
		p.verdict(field, v)
		for _, q := range c.Quotes {
			what := "in another form"
			if q.Value != "" {
				what = fmt.Sprintf("%s: %s%s%s", Text(q.At, 80), Text(q.Before, 0), bold.Render(Text(q.Value, 80)), Text(q.After, 0))
			}
			field("came from", "%s: #%d %s", Text(strings.TrimPrefix(q.Path, "args."), 80), q.Event, what)
		}
		if c.Settled != nil {
			p.settled(field, c)
		}
		field("policy", "%.12s", v.Policy)
	} else {
		field("why", "the model's side made it by itself: nobody could judge it")
	}
	switch {
	case c.Result != nil:
		p.result(field, c)
	case action == event.Hold:
		field("review", "none yet; umpire review approve %d, or deny", c.Call.Seq)
	case action.Passes():
		field("result", "none yet")
	}
	said("next", c.Next)
	if len(c.Evidence) > 0 {
		p.Line(faint.Render("  evidence"))
		for _, e := range c.Evidence {
			if b, ok := e.Body.(*event.Call); ok {
				p.Line("    ", faint.Render(Time(e.At, now)), Ref(e.Seq), Text(b.Server+"/"+b.Tool, 80), faint.Render(JSON(b.Args, 80)))
			}
		}
	}
}

// bound says to what a call belongs, and how that is known.
func bound(b *event.Bound) string {
	by := map[event.Binding]string{
		event.ByCall: "by the id of the call", event.ByItem: "by the id of the item", event.ByTurn: "by the id of the turn",
		event.BySession: "by the id of the conversation", event.ByArguments: "by its arguments", event.ByTrace: "by the id of the trace",
	}[b.By]
	out := string(b.Confidence)
	if by == "" {
		out = "to no conversation"
	} else {
		out = Text(out, 40) + ", " + by
	}
	if b.Turn != 0 {
		out += fmt.Sprintf(" (#%d", b.Turn)
		for _, o := range b.Others {
			out += fmt.Sprintf(", or #%d", o)
		}
		out += ")"
	}
	if b.Subagent != "" {
		out += ", of the sub-agent " + Text(b.Subagent, 60)
	}
	if b.Missing {
		out += "; the client's hooks have not announced it"
	}
	return out
}

func (p *Printer) verdict(field func(string, string, ...any), v *event.Verdict) {
	if v.Rule != "" {
		field("rule", "%s", Text(v.Rule, 60))
	}
	field("why", "%s", Text(v.Why, 0))
	if v.Hint != "" {
		field("allowed", "%s", Text(v.Hint, 0))
	}
	if v.RetryMS > 0 {
		field("retry", "in %s", time.Duration(v.RetryMS)*time.Millisecond)
	}
	for _, m := range v.Also {
		word := "also"
		switch {
		case m.Observed:
			word = "would " + m.Action.String()
		case m.Excepted:
			word = "excepted"
		}
		field(word, "%s: %s", Text(m.Rule, 60), Text(m.Why, 0))
	}
}

// settled prints how the hold of a call ended.
func (p *Printer) settled(field func(string, string, ...any), c Call) {
	span := c.End.At.Sub(c.Call.At).Round(time.Microsecond)
	switch b := c.End.Body.(type) {
	case *event.Review:
		word := "denied"
		if b.Approve {
			word = "approved"
		}
		field("review", "%s by %s after %s (#%d)", word, Text(b.Who, 60), span, c.End.Seq)
		if b.Note != "" {
			field("note", "%s", Text(b.Note, 0))
		}
	case *event.Expired:
		field("expired", "%s, after %s (#%d)", Text(b.Reason, 120), span, c.End.Seq)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	v := *c.Settled.Body.(*event.Verdict)
	v.Also = slices.DeleteFunc(slices.Clone(v.Also), func(m event.Match) bool { return m.Action == event.Hold && !m.Excepted })
	field("then", "%s", strings.TrimSpace(Action(v.Action)))
	p.verdict(field, &v)
}

func (p *Printer) result(field func(string, string, ...any), c Call) {
	r := c.Result.Body.(*event.Result)
	field("result", "%s after %s, %d bytes (#%d)", Outcome(r.Outcome), c.Result.At.Sub(c.Call.At).Round(time.Microsecond), r.Size, c.Result.Seq)
	if r.Text != "" {
		field("", "%s", Text(r.Text, 0))
	}
	if len(r.Content) > 0 {
		field("", "%s", indent(r.Content))
	}
	for _, f := range r.Findings {
		field("", "%s is %s (%d bytes as sent)", Text(f.Path, 80), f.Kind, f.Size)
	}
	for _, x := range r.Passages {
		field("passage", "%s", Passage(x))
	}
}

// indent formats JSON on several lines if it does not fit on one.
func indent(raw json.RawMessage) string {
	if len(raw) <= 100 {
		return JSON(raw, 0)
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "  ", "  ") != nil {
		return JSON(raw, 2000)
	}
	lines := strings.Split(b.String(), "\n")
	const most = 40
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("  … %d more lines; --json prints all", more))
	}
	for i, l := range lines {
		lines[i] = Text(l, 400)
	}
	return strings.Join(lines, "\n")
}
