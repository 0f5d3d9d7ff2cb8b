package baseline

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Lately looks back so many days of the calendar (UTC), today's among them. The last of them are its week: today and the six before.
const (
	LatelyDays = 28
	WeekDays   = 7
)

// Lately is what agents have done in the last days, and what of that the baseline in force did not know when they did it. It
// decides nothing. It has one owner, which feeds it every event in order, each before the Watch gets it.
type Lately struct {
	agents  map[string]*recent
	call    event.Event // whose first verdict comes next
	force   Force
	crowded bool
}

// Force is a baseline that came into force.
type Force struct {
	Seq    uint64     `json:"seq,omitempty"` // of the event; 0 if none is in force, or it is that of a file
	At     event.Time `json:"at,omitempty"`
	Who    string     `json:"who,omitempty"`
	Name   string     `json:"name,omitempty"` // of the file
	Digest string     `json:"digest,omitempty"`
	Broken string     `json:"broken,omitempty"` // why it cannot be read
}

// recent is what one agent has done lately.
type recent struct {
	days    map[int64]*Day
	news    map[string]*Novelty
	strange []StrangeCall
	drifts  []Drift
	last    event.Time
}

// The bounds of what is remembered of an agent. Of calls and drifts the newest are kept, of news the first of each kind: whoever does
// much that is new in one way hides nothing that is new in another.
const (
	maxNews    = 40
	maxStrange = 50
	maxDrifts  = LatelyDays
	maxLine    = 300 // bytes of a sentence
	maxShort   = 120 // bytes of a name
)

// Day is what an agent did on one day (UTC).
type Day struct {
	Date    string    `json:"date"`
	Calls   int64     `json:"calls"`
	Stopped int64     `json:"stopped"` // calls that did not pass at once
	Strange int64     `json:"strange"` // calls that are stranger than 999 of 1000 honest ones
	Most    [4]int64  `json:"most"`    // the greatest number of calls in a session, 10 s, 10 min and 24 h
	Hours   [24]int64 `json:"hours"`
	Unnamed int64     `json:"unnamed,omitempty"` // times that something was new and found no room among the News
}

// Novelty is something that calls did which the baseline in force did not know then.
type Novelty struct {
	Kind    string     `json:"kind"` // one of the kinds of a Novelty
	Text    string     `json:"text"` // in words, with the numbers of the first call, or of the one that goes farthest
	Tool    string     `json:"tool,omitempty"`
	Path    string     `json:"path,omitempty"` // of an argument
	After   string     `json:"after,omitempty"`
	Seq     uint64     `json:"seq"` // the first call
	Session string     `json:"session"`
	At      event.Time `json:"at"`
	Last    event.Time `json:"last"`
	Times   int64      `json:"times"`   // calls of the week
	Stopped int64      `json:"stopped"` // of these, calls that did not pass at once
	// Older says that another baseline came into force since: it may know it.
	Older bool `json:"older,omitempty"`

	days map[int64][2]int64
	far  int64 // how far a threshold was passed
}

// The kinds of Novelty.
const (
	NewAgent     = "agent"
	NewServer    = "server"
	NewTool      = "tool"
	NewEffect    = "effect"
	NewStep      = "order" // a tool after one that it never came after
	NewArguments = "arguments"
	NewArgument  = "argument"
	NewType      = "type"
	NewForm      = "form"
	NewValue     = "value"
	NewOrigin    = "origin"
	NewHour      = "hour"
	NewExtreme   = "threshold" // a number beyond all that were learned
)

// StrangeCall is a call that is stranger than 999 of 1000 honest ones: the strangest of so many in a row, of one session, that are alike.
type StrangeCall struct {
	Seq     uint64       `json:"seq"`
	At      event.Time   `json:"at"`
	Session string       `json:"session"`
	Tool    string       `json:"tool"`
	Than    string       `json:"than"`   // of honest calls are less strange
	Action  event.Action `json:"action"` // what was done with it at once
	Signal  string       `json:"signal"` // the strangest, by itself
	Text    string       `json:"text"`   // the first deviation in words
	Times   int64        `json:"times"`

	bits Bits
}

// Drift is a signal that an agent has changed as a whole.
type Drift struct {
	Seq  uint64     `json:"seq"`
	At   event.Time `json:"at"`
	Text string     `json:"text"`
}

// StrangeFrom is from which strangeness on a call is strange to people: stranger than 999 of 1000 honest ones.
var StrangeFrom = BitsOf(Billion / 1000)

// NewLately returns what nobody has done anything of.
func NewLately() *Lately { return &Lately{agents: map[string]*recent{}} }

// Force returns the baseline that came into force last.
func (l *Lately) Force() Force { return l.force }

// InForce says which baseline is in force from now on.
func (l *Lately) InForce(f Force) { l.force = f }

// Add takes the next event. W has taken all before it, and not this one.
func (l *Lately) Add(w *Watch, e event.Event) {
	switch b := e.Body.(type) {
	case *event.Promoted:
		l.force = Force{Seq: e.Seq, At: e.At, Who: shown(b.Who, maxShort), Name: shown(b.Name, maxShort), Digest: shown(b.Digest, maxShort)}
	case *event.Call:
		if l.call = e; b.Seen {
			l.call = event.Event{}
		}
	case *event.Verdict:
		if b.After == 0 && l.call.Body != nil && l.call.Seq == e.Cause {
			l.judged(w, l.call, b)
		}
		l.call = event.Event{}
	case *event.Signal:
		if b.Source == "baseline" && b.Name == "drift" {
			l.drift(e, b)
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Result, *event.Turn, *event.Closed:
	}
}

// agent returns what is remembered of an agent; nil if there are too many.
func (l *Lately) agent(name string, at event.Time) *recent {
	r := l.agents[name]
	if r == nil {
		if len(l.agents) >= maxAgents {
			maps.DeleteFunc(l.agents, func(_ string, r *recent) bool { return dayOf(r.last) <= dayOf(at)-LatelyDays })
		}
		if len(l.agents) >= maxAgents {
			l.crowded = true
			return nil
		}
		r = &recent{days: map[int64]*Day{}, news: map[string]*Novelty{}}
		l.agents[name] = r
	}
	return r
}

// day returns what was done on the day of at, and forgets what was done before those that count.
func (r *recent) day(at event.Time) *Day {
	r.last = at
	n := dayOf(at)
	d := r.days[n]
	if d == nil {
		d = &Day{Date: at.Time().Format(time.DateOnly)}
		r.days[n] = d
		maps.DeleteFunc(r.days, func(day int64, _ *Day) bool { return day <= n-LatelyDays })
		for key, x := range r.news {
			maps.DeleteFunc(x.days, func(day int64, _ [2]int64) bool { return day <= n-LatelyDays })
			if len(x.days) == 0 {
				delete(r.news, key)
			}
		}
	}
	return d
}

// judged counts a call that was judged for the first time.
func (l *Lately) judged(w *Watch, call event.Event, v *event.Verdict) {
	c := call.Body.(*event.Call)
	r := l.agent(c.Agent, call.At)
	if r == nil {
		return
	}
	d, s := r.day(call.At), w.Score(call)
	stopped := !v.Action.Passes()
	d.Calls++
	d.Hours[call.At.Time().Hour()]++
	if stopped {
		d.Stopped++
	}
	for i, n := range w.look.rates {
		d.Most[i] = max(d.Most[i], n)
	}
	if s.Of != nil && s.Bits >= StrangeFrom {
		d.Strange++
		x := StrangeCall{
			Seq: call.Seq, At: call.At, Session: call.Session, Tool: shown(w.look.tool, maxShort), Than: ShareText(s.Share()), Action: v.Action,
			Signal: s.strangest().String(), Times: 1, bits: s.Bits,
		}
		if why := w.Explain(call, &s); len(why) > 0 {
			x.Signal, x.Text = why[0].Signal.String(), shown(why[0].Text, maxLine)
		}
		r.odd(x)
	}
	if w.live == nil {
		return
	}
	n := news{recent: r, look: &w.look, call: call, stopped: stopped}
	switch {
	case s.Of != nil:
		n.agent = s.Of
		s.Of.judge(&w.look, func(_ Signal, _ Bits, why reason) { n.note(&why) })
	case w.live.Agent(c.Agent) == nil:
		n.add(NewAgent, "", func() string { return "the baseline does not know the agent" }, nil)
	}
}

// odd keeps a strange call, or counts it as one more of those right before it that are like it.
func (r *recent) odd(x StrangeCall) {
	if n := len(r.strange) - 1; n >= 0 {
		if y := &r.strange[n]; y.Session == x.Session && y.Tool == x.Tool && y.Signal == x.Signal && y.Action == x.Action && dayOf(y.At) == dayOf(x.At) {
			x.Times += y.Times
			if x.bits <= y.bits {
				y.Times = x.Times
				return
			}
			r.strange = r.strange[:n]
		}
	}
	r.strange = append(r.strange, x)
	r.strange = r.strange[max(0, len(r.strange)-maxStrange):]
}

// strangest returns the signal that is strangest by itself.
func (s *Score) strangest() (out Signal) {
	for i, b := range s.By {
		if b > s.By[out] {
			out = Signal(i)
		}
	}
	return out
}

// drift keeps a signal. It names the agent, quoted, after one word.
func (l *Lately) drift(e event.Event, b *event.Signal) {
	quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(b.Text, "agent "))
	if err != nil {
		return
	}
	name, err := strconv.Unquote(quoted)
	if err != nil {
		return
	}
	if r := l.agent(name, e.At); r != nil {
		r.day(e.At)
		r.drifts = append(r.drifts, Drift{Seq: e.Seq, At: e.At, Text: shown(b.Text, maxLine)})
		r.drifts = r.drifts[max(0, len(r.drifts)-maxDrifts):]
	}
}

// news finds out what is new about a call.
type news struct {
	*recent
	agent   *Agent
	look    *look
	call    event.Event
	stopped bool
}

// note takes a reason for which a call surprises, if it is that something never was.
func (n *news) note(why *reason) {
	tool := n.look.tool
	say := func() string { return why.say(n.look.clipped()) }
	switch why.kind {
	case newServer:
		n.add(NewServer, n.look.server, say, nil)
		n.add(NewTool, tool, func() string { return "first use of " + shown(tool, maxShort) }, func(x *Novelty) { x.After = shown(n.look.before[0], maxShort) })
	case newTool:
		n.add(NewTool, tool, say, func(x *Novelty) { x.After = shown(n.look.before[0], maxShort) })
	case newEffect:
		n.add(NewEffect, why.name, say, nil)
	case newNext:
		n.add(NewStep, n.look.before[0]+"\x00"+tool, say, func(x *Novelty) { x.After = shown(n.look.before[0], maxShort) })
	case rareHour:
		if why.n == 0 {
			n.add(NewHour, strconv.FormatInt(why.value, 10), say, func(x *Novelty) { x.Tool = "" })
		}
	case newKeys:
		n.add(NewArguments, tool+"\x00"+why.name, say, nil)
	case newArg, newType, newForm, newValue:
		kind := map[kind]string{newArg: NewArgument, newType: NewType, newForm: NewForm, newValue: NewValue}[why.kind]
		n.add(kind, tool+"\x00"+why.name+"\x00"+shown(why.text, maxShown), say, func(x *Novelty) { x.Path = why.name })
	case newOrigin:
		if why.tally.Seen[why.from.class] == 0 {
			n.add(NewOrigin, tool+"\x00"+why.name+"\x00"+why.from.class, say, func(x *Novelty) { x.Path = why.name })
		}
	case tooMany, tooGreat, swept:
		n.beyond(why, round(why.value)-why.h.Max(), say)
	case outOfRange:
		if len(why.h.Counts) > 0 {
			n.beyond(why, max(round(why.value)-why.h.Max(), why.h.Counts[0][0]-round(why.value)), say)
		}
	case tooSoon:
		n.below(why, why.value, say)
	case tooEven:
		n.below(why, why.more, say)
	case newPair, rareNext, rareValue, anyMany: // of these something was
	}
}

// beyond notes a number that is so far beyond all that were counted.
func (n *news) beyond(why *reason, by int64, say func() string) {
	if by <= 0 || why.h.Total() == 0 {
		return
	}
	key := strings.Join([]string{why.name, strconv.Itoa(int(why.kind))}, "\x00") // whatever the span: a burst is one thing
	if why.kind != tooMany || why.name != "calls" {
		key += "\x00" + n.look.tool
	}
	n.add(NewExtreme, key, nil, func(x *Novelty) {
		if by > x.far {
			x.far, x.Text = by, shown(say(), maxLine)
		}
		if why.kind == outOfRange || why.kind == swept {
			x.Path = why.name
		}
	})
}

// below notes a number that is less than all that were counted.
func (n *news) below(why *reason, value int64, say func() string) {
	if len(why.h.Counts) > 0 {
		n.beyond(why, why.h.Counts[0][0]-round(value), say)
	}
}

// add counts something that is new.
func (n *news) add(kind, key string, text func() string, more func(*Novelty)) {
	key = kind + "\x00" + strconv.FormatUint(hashOf(kind, key), 36)
	x := n.news[key]
	if x == nil {
		alike := 0
		for _, y := range n.news {
			if y.Kind == kind {
				alike++
			}
		}
		if alike >= maxNews {
			n.days[dayOf(n.call.At)].Unnamed++
			return
		}
		x = &Novelty{
			Kind: kind, Tool: shown(n.look.tool, maxShort), Seq: n.call.Seq, Session: n.call.Session, At: n.call.At, days: map[int64][2]int64{},
		}
		if text != nil {
			x.Text = shown(text(), maxLine)
		}
		n.news[key] = x
	}
	x.Last = n.call.At
	day := x.days[dayOf(n.call.At)]
	day[0]++
	if n.stopped {
		day[1]++
	}
	x.days[dayOf(n.call.At)] = day
	if more != nil {
		more(x)
	}
}

// clipped returns l with names that fit into a sentence.
func (l *look) clipped() *look {
	short := *l
	short.tool, short.server = shown(l.tool, maxShort), shown(l.server, maxShort)
	short.before = [2]string{shown(l.before[0], maxShort), shown(l.before[1], maxShort)}
	return &short
}

// Broken says why there is no baseline although one came into force; empty if there is one, or none came.
func (w *Watch) Broken() string {
	if w.broken == nil {
		return ""
	}
	return w.broken.Error()
}
