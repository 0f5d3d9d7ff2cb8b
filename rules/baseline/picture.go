package baseline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// Picture is why a call has its score: by what it was judged, and for whatever is strange about it what is usual.
type Picture struct {
	Call   uint64     `json:"call"`
	At     event.Time `json:"at"`
	Agent  string     `json:"agent"`
	Tool   string     `json:"tool"`
	Digest string     `json:"digest,omitempty"` // of the baseline that was in force
	// Of is what the call was compared with, an agent or a group of so many; empty if there was nothing. Why says why it is not the
	// agent itself.
	Of      string         `json:"of,omitempty"`
	Members int            `json:"members,omitempty"`
	Why     string         `json:"why,omitempty"`
	Honest  int64          `json:"honest"` // calls that say how strange honest ones are
	Share   int64          `json:"share"`  // of these are less strange, in billionths
	Than    string         `json:"than"`
	Strange bool           `json:"strange"` // it is stranger than 999 of 1000
	Signals []SignalShare  `json:"signals"` // those that say anything, the strangest first
	Reasons []ReasonFigure `json:"reasons"` // the strangest first
	// Short says that so much was recorded in the days before that only the last part of it was looked at.
	Short bool `json:"short,omitempty"`
}

// SignalShare is the share of honest calls that are less strange by one signal alone.
type SignalShare struct {
	Signal string `json:"signal"`
	Share  int64  `json:"share"`
	Than   string `json:"than"`
}

// ReasonFigure is one deviation, in words and as a Figure.
type ReasonFigure struct {
	SignalShare
	Text   string  `json:"text"`
	Figure *Figure `json:"figure,omitempty"`
}

// Figure is what is usual as bars, with the call's own marked.
type Figure struct {
	Kind  string `json:"kind"`  // one of the kinds of figures
	Title string `json:"title"` // what the bars count
	Bars  []Bar  `json:"bars"`
	More  int    `json:"more,omitempty"` // names that are not shown
}

// The kinds of figures.
const (
	Spread = "spread" // numbers, the smallest first: how often each was
	Listed = "names"  // names, the most frequent first: how often each was
	Clock  = "hours"  // the hours of the day, from 0 on: how often each was
	Series = "series" // what came in a row: how great each is
)

// Bar is one of a Figure. Mark says that it is the call's own; it never was if N is 0.
type Bar struct {
	Label string `json:"label"`
	N     int64  `json:"n"`
	Mark  bool   `json:"mark,omitempty"`
	Seq   uint64 `json:"seq,omitempty"` // of the call, in a Series
}

// The bounds of a Picture.
const (
	maxReasons = 8
	maxBars    = 14
	maxNamesIn = 8 // a Figure
)

// NearCalls is how many calls of an agent's tool a Picture can tell of.
const NearCalls = 12

// Picture shows why the call in e has its score. Near are the calls of the same agent and tool that passed before it, oldest first;
// the last NearCalls of them count.
func (w *Watch) Picture(e event.Event, near []event.Event) Picture {
	s := w.Score(e)
	w.see(e, e.At)
	l := w.look.clipped()
	p := Picture{Call: e.Seq, At: e.At, Agent: shown(l.agent, maxShort), Tool: l.tool, Why: shown(s.Why, maxLine), Signals: []SignalShare{}, Reasons: []ReasonFigure{}}
	if w.live != nil {
		p.Digest = w.live.Digest()
	}
	if s.Of == nil {
		return p
	}
	p.Of, p.Members, p.Honest = shown(s.Of.Name, maxShort), len(s.Of.Members), s.Of.calibrated()
	p.Share, p.Than, p.Strange = s.Share(), ShareText(s.Share()), s.Bits >= StrangeFrom
	for i, b := range s.By {
		if b >= bit {
			p.Signals = append(p.Signals, share(Signal(i), b))
		}
	}
	slices.SortStableFunc(p.Signals, func(x, y SignalShare) int { return cmp.Compare(y.Share, x.Share) })
	all := w.reasons(&s)
	near = near[max(0, len(near)-NearCalls):]
	for _, x := range all {
		r := ReasonFigure{SignalShare: share(x.signal, x.bits), Text: "what is new about the calls of this session adds up to more than usual"}
		if x.why.kind != shifted {
			r.Text = shown(x.why.say(l), maxLine)
		}
		f := figure{agent: s.Of, look: l, call: e, near: near}
		r.Figure = f.of(&x.why)
		p.Reasons = append(p.Reasons, r)
	}
	return p
}

// found is a reason, and how strange a call is by it alone.
type found struct {
	signal Signal
	bits   Bits
	why    reason
}

// reasons returns why the call that w sees has its score, the strangest first: two of each signal, those that are about the tool or
// the argument itself before those that are about any.
func (w *Watch) reasons(s *Score) (out []found) {
	var all []found
	s.Of.judge(&w.look, func(signal Signal, b Bits, why reason) {
		if strange := s.Of.Score.signal(signal, b); strange >= 3*bit { // one honest call in eight is
			all = append(all, found{signal, strange, why})
		}
	})
	if b := s.By[Shift]; b >= 3*bit {
		all = append(all, found{signal: Shift, bits: b, why: reason{kind: shifted}})
	}
	slices.SortStableFunc(all, func(x, y found) int { return cmp.Compare(y.bits, x.bits) })
	var of [nSignals]int
	for _, x := range all {
		own := func(y found) bool { return y.why.kind == tooMany && y.why.name == x.why.name }
		said := func(y found) bool { return y.why.kind == swept && x.why.kind == swept && y.why.name == x.why.name }
		if of[x.signal] == 2 || len(out) == maxReasons || x.why.kind == anyMany && slices.ContainsFunc(all, own) || slices.ContainsFunc(out, said) {
			continue
		}
		of[x.signal]++
		out = append(out, x)
	}
	return out
}

// shifted is the kind of a reason that no call has by itself.
const shifted = kind(255)

func share(s Signal, b Bits) SignalShare {
	return SignalShare{Signal: s.String(), Share: Billion - b.Share(), Than: ShareText(Billion - b.Share())}
}

// figure draws one reason.
type figure struct {
	agent *Agent
	look  *look // names are short
	call  event.Event
	near  []event.Event
}

func (f *figure) of(why *reason) *Figure {
	a, l := f.agent, f.look
	t := a.Tools[f.tool()]
	if t == nil {
		t = unknownTool
	}
	x := t.Args[why.name]
	if x == nil {
		x = &Arg{}
	}
	switch why.kind {
	case newServer:
		return names("sessions that used each server", &a.Servers, l.server)
	case newTool:
		return names("sessions that used each tool", &a.order, l.tool)
	case newNext, newPair, rareNext:
		return f.step(why)
	case newEffect:
		return names("sessions that used a tool which can", &a.Effects, why.name)
	case rareHour:
		return clock(a, int(why.value))
	case newKeys:
		return names("sessions that sent these arguments of "+l.tool+" together", &t.Keys, why.name)
	case newArg:
		args := Tally{}
		for path, x := range t.Args {
			args.add(path, x.Sessions, 0, nil)
		}
		return names("sessions that sent each argument of "+l.tool, &args, why.name)
	case newType:
		return names("sessions with each type of "+why.name, &x.Types, why.text)
	case newForm:
		return names("sessions with each form of "+why.name+" (a is letters, 9 is digits)", &x.Forms, why.text)
	case newValue, rareValue:
		return names("sessions with each value of "+why.name, &x.Values, shown(why.text, maxShown))
	case newOrigin:
		fig := names("sessions in which "+why.name+" came from", why.tally, why.from.class)
		for i := range fig.Bars {
			fig.Bars[i].Label = OriginWords(fig.Bars[i].Label)
		}
		return fig
	case tooEven:
		return f.gaps()
	case swept:
		if run := f.run(why.name); run != nil {
			return run
		}
	case tooMany, anyMany, tooGreat, tooSoon, outOfRange, shifted:
	}
	return spreadOf(why, l)
}

// tool is the name of the tool of the call, however long it is.
func (f *figure) tool() string {
	c := f.call.Body.(*event.Call)
	return c.Server + "/" + c.Tool
}

// step shows what came after the tool before.
func (f *figure) step(why *reason) *Figure {
	l := f.look
	after, t := l.before[0], (*Tally)(nil)
	for _, before := range sorted(f.agent.Next) {
		if shown(before, maxShort) == after {
			t = f.agent.Next[before]
		}
	}
	if t == nil {
		t = &Tally{}
	}
	title := "sessions in which each tool came after " + after
	if after == "" {
		title = "sessions that began with each tool"
	}
	if why.kind == newPair {
		if pair := f.agent.Next2[l.before[1]+" > "+after]; pair != nil {
			t, title = pair, "sessions in which each tool came after "+l.before[1]+" and "+after
		}
	}
	return names(title, t, f.tool())
}

// spreadOf shows the numbers that were counted, with the call's among them.
func spreadOf(why *reason, l *look) *Figure {
	if why.h == nil {
		return nil
	}
	title, label := why.name, func(n int64) string { return number(n) }
	switch why.kind {
	case tooMany:
		title += " in " + why.span
	case anyMany:
		what, _, _ := strings.Cut(why.name, " ")
		title = map[string]string{"calls": "calls of any one tool", "distinct": "different values of any one argument"}[what] + " in " + why.span
	case outOfRange:
		label = milli
	case tooSoon:
		title, label = "the shortest gap between two calls of each session", span
	case swept:
		title = "values of " + title + " in a row, in small steps"
	default:
		title += " of " + l.tool
	}
	return &Figure{Kind: Spread, Title: "sessions by " + title, Bars: spread(why.h, &why.value, label)}
}

// spread counts the numbers of h in a few bars, each of as many different numbers; a number that is given has its bar marked, or one
// of its own where none has been.
func spread(h *Histogram, mark *int64, label func(int64) string) []Bar {
	per := (len(h.Counts) + maxBars - 1) / maxBars
	var out []Bar
	put := mark == nil
	own := func() {
		out = append(out, Bar{Label: label(*mark), Mark: true})
		put = true
	}
	for i := 0; i < len(h.Counts); i += per {
		part := h.Counts[i:min(i+per, len(h.Counts))]
		from, to := part[0][0], part[len(part)-1][0]
		if !put && round(*mark) < from {
			own()
		}
		b := Bar{Label: label(from)}
		if from != to {
			b.Label += "–" + label(to)
		}
		for _, c := range part {
			b.N += c[1]
		}
		if !put && round(*mark) <= to {
			b.Mark, put = true, true
		}
		out = append(out, b)
	}
	if !put {
		own()
	}
	return out
}

// names shows the most frequent names of a Tally, and the call's own.
func names(title string, t *Tally, own string) *Figure {
	n := namesOf(t, maxNamesIn)
	f := &Figure{Kind: Listed, Title: title, Bars: []Bar{}, More: n.More}
	mine, there := shown(own, maxShort), false
	for _, c := range n.List {
		f.Bars = append(f.Bars, Bar{Label: c.Name, N: c.Sessions, Mark: c.Name == mine})
		there = there || c.Name == mine
	}
	if !there {
		if t.Seen[own] > 0 {
			f.More--
		}
		f.Bars = append(f.Bars, Bar{Label: mine, N: t.Seen[own], Mark: true})
	}
	return f
}

func clock(a *Agent, hour int) *Figure {
	f := &Figure{Kind: Clock, Title: "sessions that were active in each hour (UTC)"}
	for h, n := range a.Hours {
		f.Bars = append(f.Bars, Bar{Label: strconv.Itoa(h), N: n, Mark: h == hour})
	}
	return f
}

// gaps shows the time between the last calls of the tool.
func (f *figure) gaps() *Figure {
	out := &Figure{Kind: Series, Title: "time between the last calls of " + f.look.tool}
	for i, e := range f.near {
		next := f.call
		if i+1 < len(f.near) {
			next = f.near[i+1]
		}
		gap := max(millis(next.At)-millis(e.At), 0)
		out.Bars = append(out.Bars, Bar{Label: span(gap), N: gap, Mark: next.Seq == f.call.Seq, Seq: next.Seq})
	}
	if len(out.Bars) == 0 {
		return nil
	}
	return out
}

// run shows the values of an argument that came in a row; nil if that is not to be seen.
func (f *figure) run(path string) *Figure {
	out := &Figure{Kind: Series, Title: "the last values of " + path}
	var numbers []int64
	for _, e := range append(slices.Clone(f.near), f.call) {
		fields, _ := flatten(e.Body.(*event.Call), nil)
		for i := range fields {
			if _, n, ok := fields[i].serial(); ok && fields[i].path == path {
				out.Bars = append(out.Bars, Bar{Label: fields[i].value(), Mark: e.Seq == f.call.Seq, Seq: e.Seq})
				numbers = append(numbers, n)
				break
			}
		}
	}
	if len(numbers) < 2 || !out.Bars[len(out.Bars)-1].Mark {
		return nil
	}
	least := slices.Min(numbers)
	for i := range out.Bars {
		out.Bars[i].N = numbers[i] - least + 1
	}
	return out
}
