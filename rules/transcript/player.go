// Package transcript lets things happen that are written down, one a line, and says what rules decide.
//
//	clock 2026-11-23T08:00:00Z                         when 0s is, if it matters
//	0s call billing/issue_refund {"amount": 5}         session=s1 agent=bot principal=local:alice, unless said otherwise
//	  allow: no rule objects
//	1s call as=second billing/issue_refund {"amount": 5} -> ok {"content": […]}     its answer, if it passes
//	  deny refund-burst: 4th call …                    the reason can be cut, or left out
//	2s call repeat=9 every=10ms shop/list {"page": %d} -> ok                        %d is 1, 2, 3 …
//	2s result #1 failed                                by the number of the call, or the name that as= gave it
//	2s review #1 approve local:ann a note              or deny; it ends the hold of #1, as does
//	2s expired #1 nobody decided
//	3s catalog billing {"tools": […]}                  what is recorded of such a list
//	3s accepted billing/issue_refund                   as it is described now
//	3s exception #1 for=7d where=order_id local:ann a note      what approving #1, which is on hold, remembers; for=24h and all arguments
//	4s revoked #5 local:ann a note                     the exception of that number, or the name that as= gave it
//	4s signal refused what was seen
//	5s turn user what was said                         untrusted user, if somebody else can have written it
//	5s turn untrusted tool from=resources/read of=files what was said over MCP      lost=true, if it is not recorded
//
// A line that is not indented is an event at that time; the indented lines below it are the verdict. # begins a comment.
// Values with spaces stand in quotes, and so does a text that begins like key=value or has line ends.
//
// Of a call that others can ask about, its line can say: as, session, agent, client, version, principal, workspace, retry,
// bound=call/exact, missing, conversation, subagent, seen, intent, and by redacted=PATH, secret=PATH (of the form of a
// well-known token) and truncated=PATH what is not stored of it. Turns, signals and results take those that they have; turns
// also repeats=#3, a call whose result they claim to give, and size= and lineage=, what is kept of a text that is not.
//
// The package knows rules and events and reads no file.
package transcript

import (
	"fmt"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
)

// Begin is when 0s is, unless a transcript says otherwise.
var Begin = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// session is the one in which things happen, unless a line says otherwise.
const session = "s1"

// Anybody returns who calls, unless a line says otherwise.
func Anybody() event.Peer {
	return event.Peer{Principal: "local:alice", Agent: "bot", Client: event.Client{Name: "bot", Version: "1"}}
}

// Engine decides. *rules.State is one.
type Engine interface {
	Decide(e event.Event) event.Verdict
	Apply(e event.Event)
	Catalog() *catalog.Catalog
}

// proposer is an Engine that knows what an approval would remember.
type proposer interface {
	Propose(call uint64, where []string) (*event.Exception, error)
}

// Edge is what a message goes through before it is judged and stored: secrets are taken out of it, and what is doubtful about
// tools is found.
type Edge interface {
	Clean(root string, raw []byte) ([]byte, []event.Finding)
	Words(root, s string) (string, []event.Finding)
	Tools(list []byte) ([]event.Tool, error) // of a JSON array
}

// Player lets lines happen, one after the other.
type Player struct {
	engine Engine
	edge   Edge
	begin  event.Time
	now    event.Time
	seq    uint64
	calls  map[uint64]event.Event
	names  map[string]uint64
}

// NewPlayer returns a Player to whom nothing has happened yet. Without an Edge, lines hold what is stored; with one, what is
// sent, but for those that say themselves what was taken out of them, or what is doubtful.
func NewPlayer(e Engine, edge Edge) *Player {
	return &Player{engine: e, edge: edge, begin: event.At(Begin), calls: map[uint64]event.Event{}, names: map[string]uint64{}}
}

// Happened is what came of a line.
type Happened struct {
	Seq     uint64         // of the event; 0 if there was nothing to record
	Verdict *event.Verdict // nil if there was nothing to decide
	Said    []string       // what stands below the line, without the indent of two
}

// Play lets a line happen.
func (p *Player) Play(l Line) (h Happened, err error) {
	if !l.Clock.IsZero() {
		if p.seq > 0 {
			return h, fmt.Errorf("clock: something has happened already")
		}
		p.begin = event.At(l.Clock)
		return h, nil
	}
	e, err := p.event(l)
	if err != nil {
		return h, err
	}
	p.now = e.At
	switch b := e.Body.(type) {
	case *event.Call:
		p.calls[e.Seq] = e
		if l.Name != "" {
			p.names[l.Name] = e.Seq
		}
		if b.Seen {
			break
		}
		h = p.judge(e, e.Seq)
		if l.Answer != nil && h.Verdict.Action.Passes() {
			p.answer(e, l)
		}
		return h, nil
	case *event.Review, *event.Expired:
		return p.judge(e, e.Cause), nil
	case *event.Catalog:
		news := p.engine.Catalog().News(b)
		if len(news.Tools) == 0 && !news.Complete {
			p.seq--
			return Happened{Said: []string{"no news"}}, nil
		}
		e.Body = news
		h.Said = []string{doubts(news)}
	case *event.Exception:
		if l.Name != "" {
			p.names[l.Name] = e.Seq
		}
	case *event.Accepted, *event.Promoted, *event.Revoked, *event.Result, *event.Signal, *event.Turn, *event.Opened, *event.Loaded, *event.Verdict, *event.Closed:
	}
	p.engine.Apply(e)
	h.Seq = e.Seq
	if c, ok := e.Body.(*event.Call); ok && l.Answer != nil && c.Seen {
		p.answer(e, l)
	}
	return h, nil
}

// event makes what a line says the next event.
func (p *Player) event(l Line) (event.Event, error) {
	e := l.Event
	e.V, e.At = event.Version, p.begin.Add(l.At)
	if e.At < p.now {
		return e, fmt.Errorf("%s is before the line above", l.At)
	}
	if l.About != "" {
		if e.Cause = p.names[l.About]; e.Cause == 0 {
			return e, fmt.Errorf("no call above is named %q; call … as=%[1]s names one", l.About)
		}
	}
	call := p.calls[e.Cause]
	if e.Session == "" {
		e.Session = call.Session
	}
	switch b := e.Body.(type) {
	case *event.Result:
		c, ok := call.Body.(*event.Call)
		if !ok {
			return e, fmt.Errorf("#%d is no call above", e.Cause)
		}
		p.complete(b, c, l.clean)
	case *event.Review, *event.Expired: // the engine knows what is on hold
	case *event.Accepted:
		for i, t := range b.Tools {
			tool := p.engine.Catalog().Find(b.Server, t.Name)
			if tool == nil {
				return e, fmt.Errorf("%s has not listed a tool %s", b.Server, t.Name)
			}
			b.Tools[i].Pin = tool.Now.Pin
		}
	case *event.Call:
		if p.edge != nil && l.clean {
			b.Args, b.Findings = p.edge.Clean("args", b.Args)
		}
	case *event.Turn:
		if p.edge != nil && l.clean {
			b.Text, b.Findings = p.edge.Words("text", b.Text)
		}
	case *event.Catalog:
		if p.edge != nil && l.clean && l.list != nil {
			tools, err := p.edge.Tools(l.list)
			if err != nil {
				return e, err
			}
			b.Tools = tools
		}
	case *event.Exception:
		if l.lasts == 0 {
			break
		}
		of, ok := p.engine.(proposer)
		if !ok {
			return e, fmt.Errorf("nothing is remembered here")
		}
		x, err := of.Propose(e.Cause, l.where)
		if err != nil {
			return e, err
		}
		x.Who, x.Note, x.Expires = b.Who, b.Note, e.At.Add(l.lasts)
		e.Body, e.Session = x, ""
	case *event.Revoked:
		e.Session = ""
	case *event.Signal, *event.Promoted, *event.Opened, *event.Loaded, *event.Verdict, *event.Closed:
	}
	p.seq++
	e.Seq = p.seq
	return e, nil
}

// complete adds to a result what is known of its call.
func (p *Player) complete(r *event.Result, c *event.Call, clean bool) {
	if r.Server == "" {
		r.Server, r.Tool = c.Server, c.Tool
	}
	r.Seen = c.Seen
	if p.edge != nil && clean && len(r.Content) > 0 {
		r.Content, r.Findings = p.edge.Clean("result", r.Content)
	}
}

// judge has the engine decide, and tells it of the verdict.
func (p *Player) judge(e event.Event, call uint64) Happened {
	v := p.engine.Decide(e)
	p.engine.Apply(e)
	p.seq++
	p.engine.Apply(event.Event{V: event.Version, Seq: p.seq, At: e.At, Session: e.Session, Cause: call, Body: &v})
	return Happened{Seq: e.Seq, Verdict: &v, Said: Said(&v)}
}

func (p *Player) answer(call event.Event, l Line) {
	r := *l.Answer
	p.complete(&r, call.Body.(*event.Call), true)
	p.seq++
	p.engine.Apply(event.Event{V: event.Version, Seq: p.seq, At: call.At, Session: call.Session, Cause: call.Seq, Body: &r})
}

// doubts formats what is recorded of a list.
func doubts(c *event.Catalog) string {
	var out []string
	for _, t := range c.Tools {
		text := t.Name
		for _, d := range t.Doubts {
			text += " " + strings.TrimSpace(d.Kind+" "+d.Text)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// Said formats a verdict: its sentence, and what else it says.
func Said(v *event.Verdict) []string {
	name := v.Rule
	if name != "" {
		name = " " + name
	}
	out := []string{fmt.Sprintf("%s%s: %s", v.Action, name, v.Why)}
	if v.Hint != "" {
		out = append(out, "  allowed: "+v.Hint)
	}
	if v.RetryMS != 0 {
		out = append(out, fmt.Sprintf("  retry: %s", time.Duration(v.RetryMS)*time.Millisecond))
	}
	for _, m := range v.Also {
		word := "also " + m.Action.String()
		switch {
		case m.Observed:
			word = "would " + m.Action.String()
		case m.Excepted:
			word = "excepted " + m.Action.String()
		}
		out = append(out, fmt.Sprintf("  %s %s: %s", word, m.Rule, m.Why))
	}
	for i := range out { // a note of a person, or an argument, can have line ends
		out[i] = oneLine(out[i])
	}
	return out
}

// oneLine escapes what would end a line.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r") {
		return s
	}
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s)
}
