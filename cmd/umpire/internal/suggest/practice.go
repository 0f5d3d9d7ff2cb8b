// Package suggest writes a policy from history: the least that would have let pass what passed, with the support of each
// rule beside it.
package suggest

import (
	"maps"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// Practice is what honest calls have in common. It takes the events of a history in order. A call is honest if it passed and
// no rule had anything to say about it, or a person approved it: what was denied, held or noted teaches nothing.
type Practice struct {
	Since event.Time // calls before that teach nothing
	Agent string     // only calls of this agent teach; "" is all of them
	// Effects says what a tool can do.
	Effects func(server, tool string) []string
	Trails  baseline.Trails // of an empty history; nil if nobody remembers what is said

	Calls    int // that were honest
	Other    int // that were not
	From, To event.Time
	agents   map[string]*agent
	tools    map[key]*tool
	sessions map[string]*session
	open     map[uint64]*call // that are not decided, or not answered
}

// key names a tool.
type key struct{ server, name string }

func (k key) String() string { return k.server + "/" + k.name }

// named reports whether a rule can be about the tool.
func (k key) named() bool { return k.server != "" && k.name != "" }

type agent struct {
	calls    int
	sessions map[string]bool
	tools    map[key]bool
}

type tool struct {
	calls    int
	sessions map[string]bool
	keys     map[string]*arg
	full     bool // there are more arguments than are worth counting
	burst    peak // calls of a session within 10 s
	day      peak // calls of an agent within 24 h
	sums     map[string]*total
	passed   int  // calls that did, honest or not
	nameless bool // an agent without a name has called it: no rule can count by agent
	orders   orders
	asked    map[string]*asked // by argument
	reads    bool              // it does nothing else
	after    map[key]bool      // tools that were used before it, in some session
}

// session is what happened in a session so far.
type session struct {
	done  map[key][]success
	used  map[key]bool
	burst map[key][]event.Time
}

// success is a call that succeeded, and the texts and numbers among its arguments.
type success struct {
	at   event.Time
	args map[string]string
}

// call is a call of which not all is known.
type call struct {
	*event.Call
	session  string
	approved bool
	passed   bool
	at       event.Time
}

// The bounds of what is remembered. What finds no room suggests nothing.
const (
	maxTools   = 5000
	maxKeys    = 64
	maxDone    = 64 // successes of a tool in a session
	maxPartner = 64 // tools that may have to come before another
	maxSums    = 8  // arguments of a tool
)

const (
	shortly = 10 * time.Second
	daily   = 24 * time.Hour
)

// Add takes the next event.
func (p *Practice) Add(e event.Event) {
	if p.open == nil {
		p.open, p.agents, p.tools, p.sessions = map[uint64]*call{}, map[string]*agent{}, map[key]*tool{}, map[string]*session{}
	}
	if p.Trails != nil {
		p.Trails.Apply(e)
	}
	switch b := e.Body.(type) {
	case *event.Call:
		if !b.Seen { // nobody judged it
			p.open[e.Seq] = &call{Call: b, session: e.Session}
		}
	case *event.Review:
		if c := p.open[e.Cause]; c != nil {
			c.approved = b.Approve
		}
	case *event.Verdict:
		p.decided(e, b)
	case *event.Result:
		if c := p.open[e.Cause]; c != nil && c.passed && b.Outcome != event.OutcomeStarted {
			delete(p.open, e.Cause)
			if b.Outcome == event.OutcomeOK {
				p.succeeded(c, e.At)
			}
		}
	case *event.Closed:
		delete(p.sessions, e.Session)
	default: // nothing else says what an honest call is
	}
}

func (p *Practice) decided(e event.Event, v *event.Verdict) {
	c := p.open[e.Cause]
	if c == nil || v.Action == event.Hold {
		return
	}
	if !v.Action.Passes() {
		delete(p.open, e.Cause)
		p.Other++
		return
	}
	c.passed, c.at = true, e.At
	s := p.session(c.session)
	k := key{c.Server, c.Tool}
	s.burst[k] = within(append(s.burst[k], e.At), e.At, shortly)
	t := p.tool(k)
	if t == nil {
		return
	}
	defer func() { s.used[k] = true }()
	ofDay := t.day.add(c.Agent, e.At, daily) // what was noted counts in windows, too
	fields := scalars(c.Args)
	if t.passed == 0 && slices.Contains(p.Effects(c.Server, c.Tool), "money") {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if spellable(name) && len(t.sums) < maxSums {
				t.sums[name] = &total{}
			}
		}
	}
	t.passed++
	t.nameless = t.nameless || c.Agent == ""
	for name, sum := range t.sums {
		sum.add(c.Agent, e.At, fields[name])
	}
	if honest := c.approved || baseline.Honest(v); !honest || e.At < p.Since || p.Agent != "" && c.Agent != p.Agent {
		if !honest {
			p.Other++
		}
		return
	}
	if p.Calls++; p.Calls == 1 {
		p.From = e.At
	}
	p.To = e.At
	a := p.agents[c.Agent]
	if a == nil {
		a = &agent{sessions: map[string]bool{}, tools: map[key]bool{}}
		p.agents[c.Agent] = a
	}
	a.calls++
	a.sessions[c.session], a.tools[k] = true, true
	t.calls++
	t.sessions[c.session] = true
	t.burst.note(len(s.burst[k]))
	t.day.note(ofDay)
	t.learn(c)
	t.orders.call(k, fields, s, e.At)
	t.origins(p, c, e, fields)
	for other := range s.used {
		if t.after[other] = true; len(t.after) > maxTools {
			delete(t.after, other)
		}
	}
}

func (p *Practice) session(id string) *session {
	s := p.sessions[id]
	if s == nil {
		s = &session{done: map[key][]success{}, used: map[key]bool{}, burst: map[key][]event.Time{}}
		p.sessions[id] = s
	}
	return s
}

func (p *Practice) tool(k key) *tool {
	t := p.tools[k]
	if t == nil {
		if len(p.tools) >= maxTools {
			return nil
		}
		t = &tool{sessions: map[string]bool{}, keys: map[string]*arg{}, sums: map[string]*total{}, after: map[key]bool{}, asked: map[string]*asked{}}
		t.reads = slices.Equal(p.Effects(k.server, k.name), []string{"read"})
		p.tools[k] = t
	}
	return t
}

// succeeded notes that a call can be what another has to come after.
func (p *Practice) succeeded(c *call, at event.Time) {
	s := p.sessions[c.session]
	if s == nil {
		return
	}
	k := key{c.Server, c.Tool}
	if len(s.done) >= maxPartner && s.done[k] == nil {
		return
	}
	list := append(s.done[k], success{at: c.at, args: scalars(c.Args)})
	s.done[k] = list[max(0, len(list)-maxDone):]
}

// within drops the times that are longer ago than span.
func within(times []event.Time, now event.Time, span time.Duration) []event.Time {
	i := 0
	for i < len(times) && now.Sub(times[i]) > span {
		i++
	}
	return times[i:]
}
