package baseline

// Signal is one way in which a call can be strange.
type Signal int

// The signals.
const (
	News     Signal = iota // a tool or a server that is new to the agent
	Order                  // a tool that does not come after what came before
	Rate                   // more calls than usual, in some span of time
	Distinct               // more different values of an argument than usual
	Sweep                  // values that go up or down in small steps
	Pace                   // a gap that is too short, or gaps as even as only a machine makes them
	Shape                  // an argument, a type, a form or a word that never was
	Argument               // the value or the length of an argument
	Size                   // more bytes than usual, in or out
	Failure                // more failures than usual
	Effect                 // an effect that the agent never had
	Hour                   // a time of day at which the agent is not active
	Origin                 // a value that came from elsewhere than usual
	Shift                  // many calls in a row that are each a little new
	nSignals
)

var signalNames = [nSignals]string{"news", "order", "rate", "distinct", "sweep", "pace", "shape", "argument", "size", "failure", "effect", "hour", "origin", "shift"}

// Signals returns the names of all signals.
func Signals() []string { return signalNames[:] }

// String returns the name that rules use.
func (s Signal) String() string { return signalNames[s] }

// novelty reports whether a signal is about what is new, and not about how much of it there is.
func (s Signal) novelty() bool {
	return s == News || s == Order || s == Shape || s == Argument || s == Effect || s == Origin
}

// surprise is how surprising a call is by each signal, as it is found before anybody knows how surprising honest calls are.
type surprise [nSignals]Bits

// judge compares a call with a. If explain is not nil, it gets a reason for whatever surprises.
func (a *Agent) judge(l *look, explain func(s Signal, b Bits, why reason)) (out surprise) {
	j := judgement{agent: a, look: l, explain: explain}
	t := a.Tools[l.tool]
	j.order()
	j.effects()
	j.hour()
	if t == nil {
		t = unknownTool // which is why it is strange: whatever else is new about it follows from that
	}
	j.tool = t
	j.rates()
	j.pace()
	j.outcome()
	if t != unknownTool {
		j.origins() // the first to be named, of what is as strange
		j.arguments()
	}
	return j.out
}

var unknownTool = &Tool{}

type judgement struct {
	agent   *Agent
	tool    *Tool
	look    *look
	out     surprise
	explain func(s Signal, b Bits, why reason)
}

// note takes the greatest of what is found for a signal.
func (j *judgement) note(s Signal, b Bits, why reason) {
	j.out[s] = max(j.out[s], b)
	if j.explain != nil && b > 0 {
		j.explain(s, b, why)
	}
}

// order predicts the tool from the two before, from the one before, and from none: whichever has seen enough (back-off).
func (j *judgement) order() {
	a, l := j.agent, j.look
	if len(a.Tools) == 0 {
		return
	}
	if a.Tools[l.tool] == nil {
		if b, known := a.Servers.of(l.server); !known {
			j.note(News, max(a.order.new(), b), reason{kind: newServer, n: a.Sessions, waits: a.Servers.Wait[l.server]})
			return
		}
		j.note(News, a.order.new(), reason{kind: newTool, n: a.Sessions, waits: a.Waiting[l.tool]})
		return
	}
	one, two := a.Next[l.before[0]], (*Tally)(nil)
	if l.before[1] != "" {
		two = a.Next2[l.before[1]+" > "+l.before[0]]
	}
	var spent Bits    // on finding that a context knows nothing of it
	var longer *Tally // the context before, which does not know the tool
	for i, t := range [...]*Tally{two, one, &a.order} {
		if t == nil || t.all == 0 {
			continue
		}
		b, known := t.of(l.tool)
		if known {
			if longer != nil && !t.Open {
				b = t.seldom(t.Seen[l.tool], longer)
			}
			why := reason{kind: rareNext, n: t.Seen[l.tool], of: t.all}
			if one == nil || one.Seen[l.tool] == 0 {
				why = reason{kind: newNext, n: a.Sessions}
				if one != nil {
					why.waits = one.Wait[l.tool]
				}
			}
			if spent > 0 && i == 1 {
				why = reason{kind: newPair, n: a.Sessions, waits: two.Wait[l.tool]}
				spent /= 2 // the pair is new, but not what came right before
			}
			j.note(Order, min(b+spent, maxBits), why)
			return
		}
		spent, longer = max(spent, b), t
	}
}

// effects asks about a tool that is new to the agent: what it can do with others, a policy may say differently since.
func (j *judgement) effects() {
	if j.agent.Tools[j.look.tool] != nil || j.agent.Effects.all == 0 {
		return
	}
	for _, e := range j.look.effects {
		if b, known := j.agent.Effects.of(e); !known {
			j.note(Effect, b, reason{kind: newEffect, name: e, n: j.agent.Sessions, waits: j.agent.Effects.Wait[e]})
		}
	}
}

func (j *judgement) hour() {
	hour := int(j.look.at.Time().Hour())
	var all int64
	for _, n := range j.agent.Hours {
		all += n
	}
	// An hour before or after is no news.
	near := j.agent.Hours[hour]*2 + j.agent.Hours[(hour+1)%24] + j.agent.Hours[(hour+23)%24]
	if all > 0 {
		j.note(Hour, odds(2*near+1, 8*all+2), reason{kind: rareHour, n: j.agent.Hours[hour], of: all, value: int64(hour)})
	}
}

func (j *judgement) rates() {
	l := j.look
	a := j.agent
	for i, h := range a.list() {
		j.note(Rate, h.high(l.rates[i]), reason{kind: tooMany, value: l.rates[i], name: "calls", span: spans[i], h: h})
	}
	any, tool := a.AnyTool.list(), j.tool.list()
	for i, n := range l.byTool {
		name := "calls of " + l.tool
		j.note(Rate, any[i].high(n), reason{kind: anyMany, value: n, name: name, span: spans[i], h: any[i]})
		if tool[i].Total() > 0 {
			j.note(Rate, tool[i].few(n), reason{kind: tooMany, value: n, name: name, span: spans[i], h: tool[i]})
		}
	}
}

// unevenAlways is what is assumed of gaps that were never counted: that eight of them are within a tenth of each other happens by
// chance about once in ten million.
const unevenAlways = 100

func (j *judgement) pace() {
	l, a := j.look, j.agent
	if l.gap >= 0 && a.Gap.Total() > 0 {
		j.note(Pace, a.Gap.low(l.gap), reason{kind: tooSoon, value: l.gap, h: &a.Gap})
	}
	if l.even >= 0 {
		b := Bits(0)
		switch h := &j.tool.Even; {
		case h.Total() > 0:
			b = h.below(l.even)
		case l.even < unevenAlways:
			b = 8 * bit
		}
		j.note(Pace, b, reason{kind: tooEven, value: l.every, more: l.even, h: &j.tool.Even})
	}
}

func (j *judgement) outcome() {
	l, a, t := j.look, j.agent, j.tool
	if a.Failed.Total() > 0 {
		j.note(Failure, a.Failed.high(l.failed), reason{kind: tooMany, value: l.failed, name: "failures", span: spans[0], h: &a.Failed})
		j.note(Size, a.Read.high(l.read), reason{kind: tooMany, value: l.read, name: "bytes of results", span: spans[0], h: &a.Read})
	}
	if t.Failed.Total() > 0 {
		j.note(Failure, t.Failed.few(l.wrong), reason{kind: tooMany, value: l.wrong, name: "failures of the tool", span: spans[0], h: &t.Failed})
		j.note(Size, t.Size.few(l.size), reason{kind: tooGreat, value: l.size, name: "bytes of arguments", h: &t.Size})
	}
}

func (j *judgement) arguments() {
	l, t := j.look, j.tool
	if b, known := t.Keys.of(l.keys); !known {
		j.note(Shape, b, reason{kind: newKeys, name: l.keys, n: t.Sessions, waits: t.Keys.Wait[l.keys]})
	}
	for i := range l.fields {
		f := &l.fields[i]
		x := t.Args[f.path]
		if x == nil {
			j.note(Shape, odds(1, 2*(t.Sessions+1)), reason{kind: newArg, name: f.path, n: t.Sessions})
			continue
		}
		if b, known := x.Types.of(f.kind); !known {
			j.note(Shape, b, reason{kind: newType, name: f.path, text: f.kind, n: x.Sessions, waits: x.Types.Wait[f.kind]})
			continue
		}
		if b, known := x.Forms.of(f.form); f.form != "" && !known {
			j.note(Shape, b, reason{kind: newForm, name: f.path, text: f.form, n: x.Sessions, waits: x.Forms.Wait[f.form]})
		}
		switch b, known := x.Values.of(f.value()); {
		case !known && f.kind == "number" && x.Number.near(f.number): // numbers count up
		case !known && !dated(f.text): // each day has another date, and each month
			j.note(Shape, b, reason{kind: newValue, name: f.path, text: f.text, n: x.Sessions, of: int64(len(x.Values.Seen)), waits: x.Values.Wait[f.value()]})
		case known && !x.Values.Open:
			j.note(Argument, b/2, reason{kind: rareValue, name: f.path, text: f.text, n: x.Values.Seen[f.value()], of: x.Values.all})
		}
		if f.size > 0 && x.Length.Total() > 0 {
			j.note(Argument, x.Length.few(f.size), reason{kind: tooGreat, value: f.size, name: "bytes of " + f.path, h: &x.Length})
		}
		if f.kind == "number" && x.Number.Total() > 0 {
			j.note(Argument, x.Number.outside(f.number), reason{kind: outOfRange, value: f.number, name: f.path, h: &x.Number})
		}
		any := &j.agent.AnyArg
		j.note(Distinct, any.Distinct.high(f.distinct), reason{kind: anyMany, value: f.distinct, name: "distinct " + f.path, span: spans[0], h: &any.Distinct})
		j.note(Distinct, x.Distinct.few(f.distinct), reason{kind: tooMany, value: f.distinct, name: "distinct " + f.path, span: spans[0], h: &x.Distinct})
		j.note(Distinct, any.Day.high(f.day), reason{kind: anyMany, value: f.day, name: "distinct " + f.path, span: "this day", h: &any.Day})
		j.note(Distinct, x.Day.few(f.day), reason{kind: tooMany, value: f.day, name: "distinct " + f.path, span: "this day", h: &x.Day})
		if f.sweep > 4 { // three may be by chance
			j.note(Sweep, any.Sweep.high(f.sweep), reason{kind: swept, value: f.sweep, name: f.path, h: &any.Sweep})
			j.note(Sweep, x.Sweep.few(f.sweep), reason{kind: swept, value: f.sweep, name: f.path, h: &x.Sweep})
		}
	}
}
