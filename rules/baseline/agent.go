// Package baseline learns what is normal for each agent, and says of a call how strange it is.
//
// Learning reads a history and writes a file: what every agent does, counted by session in integers alone. A Watch compares
// calls with such a file once it is in force. How surprising a call is by each Signal is found by the file's counts; what that
// means is found by honest calls that did not teach the counts which judge them (cross-validation), so that a score is the share
// of honest history that is at least as strange.
//
// What was said in sessions, and so where values come from, others remember (Trails): package rules does, for its own rules and for
// these, so that it is done once.
package baseline

import (
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Agent is what is normal for one agent. It counts sessions, not calls, so that no single session makes a habit: a session is
// what one of that name does within a day (UTC). Agents add up exactly, as long as there is room.
type Agent struct {
	Name     string           `json:"name"`
	Members  []string         `json:"members,omitempty"` // of a group of agents
	Sessions int64            `json:"sessions"`
	Calls    int64            `json:"calls"`
	Days     map[string]int64 `json:"days"` // "2026-01-31" -> sessions
	From     event.Time       `json:"from"` // the first call
	Until    event.Time       `json:"until"`
	Full     bool             `json:"full,omitempty"` // something found no room, and counts as never seen

	// Denied are sessions in which a call did not pass. They teach nothing, but where there are too few others.
	Denied       int64 `json:"denied,omitempty"`
	DeniedTaught bool  `json:"denied_taught,omitempty"`

	Rates
	Gap    Histogram `json:"gap"`    // milliseconds, the shortest between two calls of each session
	Failed Histogram `json:"failed"` // results of each session that were failures
	Read   Histogram `json:"read"`   // bytes of the results of each session
	Hours  [24]int64 `json:"hours"`  // sessions with a call in this hour (UTC)

	// Whatever the tool and the argument: what there is to go by where little is known of one.
	AnyTool Rates     `json:"any_tool"`
	AnyArg  Distincts `json:"any_argument"`

	Tools   map[string]*Tool  `json:"tools"`   // by "server/tool"
	Next    map[string]*Tally `json:"next"`    // tool -> those that came right after it; "" is the beginning of a session
	Next2   map[string]*Tally `json:"next2"`   // "tool > tool" -> likewise
	Servers Tally             `json:"servers"` // sessions that used them
	Effects Tally             `json:"effects"` // sessions that used a tool with this effect
	// Waiting are tools that were used too seldom to be known (see Newcomer), by their sessions.
	Waiting map[string]int64 `json:"waiting,omitempty"`

	// Score says how strange honest calls are; nil until that was found out.
	Score *Calibration `json:"score,omitempty"`

	missing string // until calls can be compared with it
	room    room
	order   Tally // of Tools by their sessions
}

// Rates are how many calls there are: in each session the greatest number of them.
type Rates struct {
	Session    Histogram `json:"per_session"`
	TenSeconds Histogram `json:"per_10s"`
	TenMinutes Histogram `json:"per_10m"`
	Day        Histogram `json:"per_day"`
}

func (r *Rates) list() [4]*Histogram {
	return [4]*Histogram{&r.Session, &r.TenSeconds, &r.TenMinutes, &r.Day}
}

// spans are what the Rates are about.
var spans = [4]string{"this session", "10s", "10m", "24h"}

// Distincts are how different the values of an argument are: in each session the greatest number.
type Distincts struct {
	Distinct Histogram `json:"distinct"` // different values in each session
	Day      Histogram `json:"day"`      // different values in a day (UTC) up to each session
	Sweep    Histogram `json:"sweep"`    // values in a row that go up, or down, in small steps, over all sessions
}

func (d *Distincts) list() [3]*Histogram { return [3]*Histogram{&d.Distinct, &d.Day, &d.Sweep} }

func (d *Distincts) learn(n [3]int64, room *room) {
	for i, h := range d.list() {
		if n[i] > 0 {
			h.add(n[i], 1, room)
		}
	}
}

func (d *Distincts) merge(other *Distincts, room *room) {
	to := d.list()
	for i, h := range other.list() {
		to[i].merge(h, room)
	}
}

// Tool is what is normal for an agent's calls of one tool.
type Tool struct {
	Sessions int64 `json:"sessions"`
	Calls    int64 `json:"calls"`
	Rates
	Size   Histogram       `json:"size"`   // bytes of the arguments, the most of each session
	Read   Histogram       `json:"read"`   // bytes of a result, the most of each session
	Failed Histogram       `json:"failed"` // results of each session that were failures
	Even   Histogram       `json:"even"`   // spread of eight gaps in a row, in 1/1000 of the longest: the least of each session
	Keys   Tally           `json:"keys"`   // which arguments there are: "amount,order_id"
	Args   map[string]*Arg `json:"args"`   // by path: "customer.email", "items[].sku"
}

// Arg is what is normal for one argument.
type Arg struct {
	Sessions int64     `json:"sessions"`
	Types    Tally     `json:"types"`
	Values   Tally     `json:"values"` // while they are few
	Forms    Tally     `json:"forms"`  // see formOf
	Length   Histogram `json:"length"` // bytes of a text, the most of each session
	Number   Histogram `json:"number"` // thousandths, each once in a session
	Distincts
	// From is where the value came from, in sessions of which it is known what the user said: FromUser and its like, or the
	// "server/tool" whose result it was.
	From Tally `json:"from"`
}

// The bounds of what is learned. What finds no room was never seen.
const (
	maxPlaces = 3200 // numbers and names of an agent; each takes about 150 bytes
	maxValues = 32
	maxForms  = 16
	maxKeys   = 32
	maxFrom   = 16
	maxAfter  = 64 // tools after one
	maxDays   = 366
)

func newAgent(name string) *Agent {
	return &Agent{
		Name: name, Days: map[string]int64{}, Tools: map[string]*Tool{}, Next: map[string]*Tally{}, Next2: map[string]*Tally{},
		room: room{Left: maxPlaces},
	}
}

// tool returns what is known of a tool, and makes room for it; nil if there is none.
func (a *Agent) tool(name string) *Tool {
	t := a.Tools[name]
	if t == nil && a.room.take() {
		t = &Tool{Args: map[string]*Arg{}}
		a.Tools[name] = t
	}
	return t
}

func (a *Agent) arg(t *Tool, path string) *Arg {
	x := t.Args[path]
	if x == nil && a.room.take() {
		x = &Arg{}
		t.Args[path] = x
	}
	return x
}

// day counts sessions of a day. Of more than a year of days, the rest are not told apart.
func (a *Agent) day(date string, times int64) {
	if _, known := a.Days[date]; known || len(a.Days) < maxDays {
		a.Days[date] += times
	}
}

// after counts that a tool came after what context says.
func (a *Agent) after(m map[string]*Tally, context, tool string, times int64) {
	t := m[context]
	if t == nil {
		if !a.room.take() {
			return
		}
		t = &Tally{}
		m[context] = t
	}
	t.add(tool, times, maxAfter, &a.room)
}

// merge adds other to a.
func (a *Agent) merge(other *Agent) {
	a.Sessions += other.Sessions
	a.Calls += other.Calls
	for _, day := range sorted(other.Days) {
		a.day(day, other.Days[day])
	}
	if other.Calls > 0 && (a.From == 0 || other.From < a.From) {
		a.From = other.From
	}
	a.Until = max(a.Until, other.Until)
	a.room.Full = a.room.Full || other.Full || other.room.Full
	r := &a.room
	a.Rates.merge(&other.Rates, r)
	a.Gap.merge(&other.Gap, r)
	a.AnyTool.merge(&other.AnyTool, r)
	a.AnyArg.merge(&other.AnyArg, r)
	a.Failed.merge(&other.Failed, r)
	a.Read.merge(&other.Read, r)
	for i, n := range other.Hours {
		a.Hours[i] += n
	}
	for _, name := range sorted(other.Tools) {
		if t := a.tool(name); t != nil {
			t.merge(other.Tools[name], a)
		}
	}
	for _, both := range [...]struct{ to, from map[string]*Tally }{{a.Next, other.Next}, {a.Next2, other.Next2}} {
		for _, context := range sorted(both.from) {
			t := both.to[context]
			if t == nil {
				if !r.take() {
					continue
				}
				t = &Tally{}
				both.to[context] = t
			}
			t.merge(both.from[context], maxAfter, r)
		}
	}
	a.Servers.merge(&other.Servers, 0, r)
	a.Effects.merge(&other.Effects, 0, r)
}

func (r *Rates) merge(other *Rates, room *room) {
	to := r.list()
	for i, h := range other.list() {
		to[i].merge(h, room)
	}
}

func (t *Tool) merge(other *Tool, a *Agent) {
	r := &a.room
	t.Sessions += other.Sessions
	t.Calls += other.Calls
	t.Rates.merge(&other.Rates, r)
	t.Size.merge(&other.Size, r)
	t.Read.merge(&other.Read, r)
	t.Failed.merge(&other.Failed, r)
	t.Even.merge(&other.Even, r)
	t.Keys.merge(&other.Keys, maxKeys, r)
	for _, path := range sorted(other.Args) {
		x := a.arg(t, path)
		if x == nil {
			continue
		}
		o := other.Args[path]
		x.Sessions += o.Sessions
		x.Types.merge(&o.Types, 0, r)
		x.Values.merge(&o.Values, maxValues, r)
		x.Forms.merge(&o.Forms, maxForms, r)
		x.From.merge(&o.From, maxFrom, r)
		x.Length.merge(&o.Length, r)
		x.Number.merge(&o.Number, r)
		x.merge(&o.Distincts, r)
	}
}

// finish finds out what is not stored, once all is counted or read.
func (a *Agent) finish() {
	a.Full = a.Full || a.room.Full
	a.order = Tally{}
	for _, name := range sorted(a.Tools) {
		t := a.Tools[name]
		a.order.add(name, t.Sessions, 0, nil)
		t.Keys.recount()
		for _, x := range t.Args {
			for _, y := range [...]*Tally{&x.Types, &x.Values, &x.Forms, &x.From} {
				y.recount()
			}
		}
	}
	for _, n := range a.Waiting {
		a.order.count(0, n)
	}
	for _, m := range [...]map[string]*Tally{a.Next, a.Next2} {
		for _, t := range m {
			t.recount()
		}
	}
	a.Servers.recount()
	a.Effects.recount()
}

// Evidence is how much is known of an agent.
type Evidence struct {
	Sessions int64 `json:"sessions"`
	Calls    int64 `json:"calls"`
	Days     int64 `json:"days"`
}

// enough is how much there has to be before calls are compared with it, where Learning does not say so.
var enough = Evidence{Sessions: 30, Calls: 200, Days: 3}

// Evidence returns how much is known of a.
func (a *Agent) Evidence() Evidence {
	return Evidence{Sessions: a.Sessions, Calls: a.Calls, Days: int64(len(a.Days))}
}

// dayOf returns the day of an instant, in UTC.
func dayOf(at event.Time) int64 { return int64(at) / int64(24*time.Hour) }
