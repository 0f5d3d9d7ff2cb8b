package baseline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Summary is in what state an agent is, and how it was in the last days.
type Summary struct {
	Agent string `json:"agent"`
	Known bool   `json:"known"` // to the baseline
	// Missing says what is missing until calls can be compared with it; empty if they are.
	Missing string   `json:"missing,omitempty"`
	Group   string   `json:"group,omitempty"`   // what they are compared with until then; empty if nothing
	Members []string `json:"members,omitempty"` // of the group, at most maxMembers
	Evidence
	From  event.Time `json:"from,omitempty"` // the first call that taught
	Until event.Time `json:"until,omitempty"`
	Full  bool       `json:"full,omitempty"` // there was more than there is room for

	Last    event.Time    `json:"last,omitempty"` // the last call of the last days
	Recent  []int64       `json:"recent"`         // calls of each of the last days, the last one is today
	Week    Week          `json:"week"`
	News    []Novelty     `json:"news"`              // of the week, by kind, the newest first
	Unnamed int64         `json:"unnamed,omitempty"` // times that something was new this week and found no room there
	Strange []StrangeCall `json:"strange"`           // of the week, the newest first
	Drifts  []Drift       `json:"drifts"`            // likewise
}

// Week is what was done in the last seven days of the calendar (UTC), today's among them.
type Week struct {
	From    event.Time `json:"from"`
	Until   event.Time `json:"until"` // now
	Calls   int64      `json:"calls"`
	Stopped int64      `json:"stopped"`
	Strange int64      `json:"strange"`
	Hours   [24]int64  `json:"hours"`
	News    int        `json:"news"` // things that are new
}

// Habits is what is normal for an agent, and what it has done lately: what people see of a baseline. What is in it is bounded;
// names are cut, and nobody has made them harmless.
type Habits struct {
	Summary
	Days  []Day       `json:"lately"` // the last days, the last one is today
	Rates []Band      `json:"rates"`  // of Day.Most
	Gap   Band        `json:"gap"`    // milliseconds, the shortest between two calls of each session
	Other []Band      `json:"other"`  // failures and bytes of results of each session
	Hours [24]int64   `json:"hours"`  // sessions with a call in this hour (UTC)
	Graph Graph       `json:"graph"`
	Tools []ToolHabit `json:"tools"` // those that are used most first
	Uses  []Count     `json:"uses"`  // sessions with each effect
}

// Band is where numbers were.
type Band struct {
	What  string `json:"what"`
	Milli bool   `json:"milli,omitempty"` // they are thousandths
	N     int64  `json:"n"`               // how many were counted: sessions, mostly
	Least int64  `json:"least"`
	P1    int64  `json:"p1"`
	P5    int64  `json:"p5"`
	P50   int64  `json:"p50"`
	P95   int64  `json:"p95"`
	P99   int64  `json:"p99"`
	Most  int64  `json:"most"`
	Bars  []Bar  `json:"bars,omitempty"`
}

func bandOf(what string, h *Histogram) Band {
	b := Band{What: what, N: h.Total()}
	if b.N == 0 {
		return b
	}
	b.Least, b.Most = h.Counts[0][0], h.Max()
	b.P1, b.P5, b.P50, b.P95, b.P99 = h.Quantile(10), h.Quantile(50), h.Quantile(500), h.Quantile(950), h.Quantile(990)
	return b
}

// Count is a name and in how many sessions it was.
type Count struct {
	Name     string `json:"name"`
	Sessions int64  `json:"sessions"`
}

// Names are the most frequent names of a Tally.
type Names struct {
	Of   int64   `json:"of"` // the sum of all
	List []Count `json:"list"`
	More int     `json:"more,omitempty"`
	Open bool    `json:"open,omitempty"` // any may come
}

// The bounds of what is shown of an agent.
const (
	maxListed  = 12 // names of a Tally
	maxMembers = 20
	maxToolArg = 48
)

func namesOf(t *Tally, most int) Names {
	n := Names{Of: t.Total(), Open: t.Open, List: []Count{}}
	for _, name := range slices.SortedFunc(maps.Keys(t.Seen), func(x, y string) int { return cmp.Or(cmp.Compare(t.Seen[y], t.Seen[x]), cmp.Compare(x, y)) }) {
		if len(n.List) == most {
			n.More = len(t.Seen) - most
			break
		}
		n.List = append(n.List, Count{Name: shown(name, maxShort), Sessions: t.Seen[name]})
	}
	return n
}

// ToolHabit is what is normal for an agent's calls of one tool.
type ToolHabit struct {
	Tool     string     `json:"tool"`
	Sessions int64      `json:"sessions"`
	Calls    int64      `json:"calls"`
	Rate     Band       `json:"rate"` // calls in a session
	Size     Band       `json:"size"` // bytes of the arguments
	Args     []ArgHabit `json:"args"`
	More     int        `json:"more,omitempty"` // arguments that are not shown
	News     int        `json:"news,omitempty"` // things about it that are new this week
}

// ArgHabit is what is normal for one argument.
type ArgHabit struct {
	Path     string    `json:"path"`
	Sessions int64     `json:"sessions"`
	Types    Names     `json:"types"`
	Forms    Names     `json:"forms"`
	Values   Names     `json:"values"`
	From     Names     `json:"from"` // where values came from, where that is traced
	Number   *Band     `json:"number,omitempty"`
	Length   *Band     `json:"length,omitempty"`
	Distinct Band      `json:"distinct"`       // different values in a session
	News     []Novelty `json:"news,omitempty"` // of the week: what goes beyond all of that
}

// maxBrief is how much news of an agent its Summary in a list has.
const maxBrief = 3

// Summaries returns what is known of every agent that the baseline knows, or that did something lately, with the first of its News
// and Strange alone. B is what is in force, or what a file holds; nil if nothing is.
func (l *Lately) Summaries(b *Baseline, now event.Time) []Summary {
	names := map[string]bool{}
	for name := range l.agents {
		names[name] = true
	}
	if b != nil {
		for _, a := range b.Agents {
			names[a.Name] = true
		}
	}
	out := []Summary{}
	for _, name := range sorted(names) {
		s := l.summary(b, name, now)
		s.News, s.Strange = s.News[:min(len(s.News), maxBrief)], s.Strange[:min(len(s.Strange), maxBrief)]
		out = append(out, s)
	}
	return out
}

// Crowded reports whether there were more agents lately than are remembered.
func (l *Lately) Crowded() bool { return l.crowded }

func (l *Lately) summary(b *Baseline, name string, now event.Time) Summary {
	today := dayOf(now)
	s := Summary{
		Agent: name, Recent: make([]int64, LatelyDays), News: []Novelty{}, Strange: []StrangeCall{}, Drifts: []Drift{},
		Week: Week{From: event.Time((today - WeekDays + 1) * int64(24*time.Hour)), Until: now},
	}
	if b != nil {
		s.state(b, b.Agent(name))
	}
	r := l.agents[name]
	if r == nil {
		return s
	}
	s.Last = r.last
	for n, d := range r.days {
		i := n - today + LatelyDays - 1
		if i < 0 || i >= LatelyDays {
			continue
		}
		s.Recent[i] = d.Calls
		if i < LatelyDays-WeekDays {
			continue
		}
		s.Week.Calls += d.Calls
		s.Week.Stopped += d.Stopped
		s.Week.Strange += d.Strange
		s.Unnamed += d.Unnamed
		for h, n := range d.Hours {
			s.Week.Hours[h] += n
		}
	}
	for _, x := range r.news {
		y := *x
		y.days = nil
		for day, n := range x.days {
			if day > today-WeekDays && day <= today {
				y.Times += n[0]
				y.Stopped += n[1]
			}
		}
		if y.Older = x.Last < l.force.At; y.Times > 0 {
			s.News = append(s.News, y)
		}
	}
	slices.SortFunc(s.News, func(x, y Novelty) int {
		return cmp.Or(cmp.Compare(slices.Index(newsOrder, x.Kind), slices.Index(newsOrder, y.Kind)), cmp.Compare(y.Seq, x.Seq), cmp.Compare(x.Text, y.Text))
	})
	s.Week.News = len(s.News)
	for _, x := range slices.Backward(r.strange) {
		if x.At >= s.Week.From {
			s.Strange = append(s.Strange, x)
		}
	}
	for _, x := range slices.Backward(r.drifts) {
		if x.At >= s.Week.From {
			s.Drifts = append(s.Drifts, x)
		}
	}
	return s
}

// newsOrder is in which order the kinds of Novelties are told: what never was at all before what never was so much.
var newsOrder = []string{NewAgent, NewServer, NewTool, NewEffect, NewStep, NewArguments, NewArgument, NewType, NewOrigin, NewForm, NewValue, NewExtreme, NewHour}

// state says what is known of an agent; a is nil if nothing is.
func (s *Summary) state(b *Baseline, a *Agent) {
	of, why := b.Of(s.Agent, "")
	if s.Missing = why; a != nil {
		s.Known, s.Missing = true, a.Missing()
		s.Evidence, s.From, s.Until, s.Full = a.Evidence(), a.From, a.Until, a.Full
	}
	if of != nil && of != a {
		s.Group = shown(of.Name, maxShort)
		for _, m := range of.Members[:min(len(of.Members), maxMembers)] {
			s.Members = append(s.Members, shown(m, maxShort))
		}
	}
}

// Habits returns what is normal for an agent and what it has done lately; ok is false if nobody knows it.
func (l *Lately) Habits(b *Baseline, name string, now event.Time) (h Habits, ok bool) {
	h.Summary = l.summary(b, name, now)
	h.Days = make([]Day, LatelyDays)
	r := l.agents[name]
	for i := range h.Days {
		n := dayOf(now) - LatelyDays + 1 + int64(i)
		h.Days[i].Date = event.Time(n * int64(24*time.Hour)).Time().Format(time.DateOnly)
		if r != nil && r.days[n] != nil {
			h.Days[i] = *r.days[n]
		}
	}
	a := newAgent(name)
	if h.Known {
		a = b.Agent(name)
	}
	for i, x := range a.list() {
		h.Rates = append(h.Rates, bandOf("calls in "+[...]string{"a session", "10s", "10m", "24h"}[i], x))
	}
	h.Gap = bandOf("ms between two calls", &a.Gap)
	h.Other = []Band{bandOf("failures", &a.Failed), bandOf("bytes of results", &a.Read)}
	h.Hours = a.Hours
	h.Uses = namesOf(&a.Effects, maxListed).List
	h.Tools = []ToolHabit{}
	for _, name := range slices.SortedFunc(maps.Keys(a.Tools), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.Tools[y].Calls, a.Tools[x].Calls), cmp.Compare(x, y))
	}) {
		h.Tools = append(h.Tools, toolHabit(name, a.Tools[name], h.News))
	}
	h.Graph = graphOf(a, h.News)
	return h, h.Known || r != nil
}

func toolHabit(name string, t *Tool, week []Novelty) ToolHabit {
	out := ToolHabit{
		Tool: shown(name, maxShort), Sessions: t.Sessions, Calls: t.Calls, Rate: bandOf("calls in a session", &t.Session), Size: bandOf("bytes of arguments", &t.Size), Args: []ArgHabit{},
	}
	about := map[string][]Novelty{}
	for _, x := range week {
		if x.Tool == out.Tool {
			about[x.Path] = append(about[x.Path], x)
			out.News++
		}
	}
	for _, path := range slices.SortedFunc(maps.Keys(t.Args), func(x, y string) int {
		return cmp.Or(cmp.Compare(t.Args[y].Sessions, t.Args[x].Sessions), cmp.Compare(x, y))
	}) {
		if len(out.Args) == maxToolArg {
			out.More = len(t.Args) - maxToolArg
			break
		}
		x := t.Args[path]
		arg := ArgHabit{
			Path: path, Sessions: x.Sessions, Types: namesOf(&x.Types, maxListed), Forms: namesOf(&x.Forms, maxListed), Values: namesOf(&x.Values, maxListed),
			From: namesOf(&x.From, maxListed), Distinct: bandOf("different values in a session", &x.Distinct), News: about[path],
		}
		for i, c := range arg.From.List {
			arg.From.List[i].Name = OriginWords(c.Name)
		}
		if x.Number.Total() > 0 {
			b := bandOf("number", &x.Number)
			b.Milli, b.Bars = true, spread(&x.Number, nil, milli)
			arg.Number = &b
		}
		if x.Length.Total() > 0 {
			b := bandOf("bytes", &x.Length)
			arg.Length = &b
		}
		out.Args = append(out.Args, arg)
	}
	return out
}

// ShareText writes a share in billionths, cut off after the second digit that is no nine: 0.99992. What follows is more than
// anybody knows.
func ShareText(share int64) string {
	text := fmt.Sprintf("0.%09d", share)
	nines := len(text[2:]) - len(strings.TrimLeft(text[2:], "9"))
	return strings.TrimSuffix(strings.TrimRight(text[:min(2+nines+2, len(text))], "0"), ".")
}
