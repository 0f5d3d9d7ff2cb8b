package baseline

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// lesson is what the honest calls of one session on one day teach.
type lesson struct {
	denied      bool // a call did not pass
	calls       int64
	first, last event.Time
	rates       [4]int64
	gap         int64 // -1 for none
	failed      int64
	read        int64
	hours       [24]bool
	tools       map[string]*toolLesson
	next, next2 map[[2]string]bool
	effects     map[string]bool
	servers     map[string]bool
}

type toolLesson struct {
	calls  int64
	rates  [4]int64
	size   int64
	read   int64
	failed int64
	even   int64 // -1 for none
	keys   map[string]bool
	args   map[string]*argLesson
}

type argLesson struct {
	types, values, forms, from map[string]bool
	numbers                    map[int64]bool
	length                     int64    // -1 for none
	distincts                  [3]int64 // as Distincts has them
}

func newLesson() *lesson {
	return &lesson{gap: -1, tools: map[string]*toolLesson{}, next: map[[2]string]bool{}, next2: map[[2]string]bool{}, effects: map[string]bool{}, servers: map[string]bool{}}
}

// The bounds of what one session teaches: more than that would make no habit.
const (
	maxLessons = 64 // values of an argument
	maxArgs    = 64 // arguments of a tool
)

func put[K comparable](m map[K]bool, k K) {
	if len(m) < maxLessons {
		m[k] = true
	}
}

// call learns from a call.
func (s *lesson) call(l *look) {
	if s.calls == 0 {
		s.first = l.at
	}
	s.calls++
	s.last = l.at
	most(&s.rates, &l.rates)
	if l.gap >= 0 && (s.gap < 0 || l.gap < s.gap) {
		s.gap = l.gap
	}
	s.failed, s.read = max(s.failed, l.failed), max(s.read, l.read)
	s.hours[l.at.Time().Hour()] = true
	s.servers[l.server] = true
	for _, e := range l.effects {
		s.effects[e] = true
	}
	s.next[[2]string{l.before[0], l.tool}] = true
	if l.before[1] != "" {
		s.next2[[2]string{l.before[1] + " > " + l.before[0], l.tool}] = true
	}
	t := s.tools[l.tool]
	if t == nil {
		t = &toolLesson{even: -1, keys: map[string]bool{}, args: map[string]*argLesson{}}
		s.tools[l.tool] = t
	}
	t.calls++
	most(&t.rates, &l.byTool)
	t.size, t.failed = max(t.size, l.size), max(t.failed, l.wrong)
	if l.even >= 0 && (t.even < 0 || l.even < t.even) {
		t.even = l.even
	}
	put(t.keys, l.keys)
	for i := range l.fields {
		t.field(&l.fields[i])
	}
}

func most(to, from *[4]int64) {
	for i := range to {
		to[i] = max(to[i], from[i])
	}
}

func (s *toolLesson) field(f *fieldLook) {
	x := s.args[f.path]
	if x == nil {
		if len(s.args) >= maxArgs {
			return
		}
		x = &argLesson{length: -1, types: map[string]bool{}, values: map[string]bool{}, forms: map[string]bool{}, from: map[string]bool{}, numbers: map[int64]bool{}}
		s.args[f.path] = x
	}
	put(x.types, f.kind)
	put(x.values, f.value())
	if f.form != "" {
		put(x.forms, f.form)
		x.length = max(x.length, f.size)
	}
	if f.kind == "number" {
		put(x.numbers, round(f.number))
	}
	for _, o := range f.from {
		put(x.from, o.class)
	}
	for i, n := range f.distincts() {
		x.distincts[i] = max(x.distincts[i], n)
	}
}

// result learns from the answer to an honest call.
func (s *lesson) result(o open, r *event.Result, now *sessionTrack) {
	s.failed, s.read = max(s.failed, now.Failed), max(s.read, now.Read)
	t := s.tools[o.Tool]
	if t == nil {
		return
	}
	t.read = max(t.read, int64(r.Size))
	if u := now.tool(named(o.Tool, "")); u != nil {
		t.failed = max(t.failed, u.Failed)
	}
}

// teach adds the session to what is known of its agent.
func (s *lesson) teach(a *Agent, day int64) {
	r := &a.room
	if a.Calls == 0 || s.first < a.From {
		a.From = s.first
	}
	a.Until = max(a.Until, s.last)
	a.Sessions++
	a.Calls += s.calls
	date := time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly)
	a.day(date, 1)
	a.learn(&s.rates, r)
	if s.gap >= 0 {
		a.Gap.add(s.gap, 1, r)
	}
	a.Failed.add(s.failed, 1, r)
	a.Read.add(s.read, 1, r)
	for i, active := range s.hours {
		if active {
			a.Hours[i]++
		}
	}
	for _, name := range sorted(s.servers) {
		a.Servers.add(name, 1, 0, r)
	}
	for _, e := range sorted(s.effects) {
		a.Effects.add(e, 1, 0, r)
	}
	for _, name := range sorted(s.tools) {
		if t := a.tool(name); t != nil {
			s.tools[name].teach(t, a)
		}
	}
	for _, pair := range pairs(s.next) {
		a.after(a.Next, pair[0], pair[1], 1)
	}
	for _, pair := range pairs(s.next2) {
		a.after(a.Next2, pair[0], pair[1], 1)
	}
}

func (r *Rates) learn(rates *[4]int64, room *room) {
	for i, h := range r.list() {
		h.add(rates[i], 1, room)
	}
}

func (s *toolLesson) teach(t *Tool, a *Agent) {
	r := &a.room
	t.Sessions++
	t.Calls += s.calls
	t.learn(&s.rates, r)
	a.AnyTool.learn(&s.rates, r)
	t.Size.add(s.size, 1, r)
	t.Read.add(s.read, 1, r)
	t.Failed.add(s.failed, 1, r)
	if s.even >= 0 {
		t.Even.add(s.even, 1, r)
	}
	for _, k := range sorted(s.keys) {
		t.Keys.add(k, 1, maxKeys, r)
	}
	for _, path := range sorted(s.args) {
		if x := a.arg(t, path); x != nil {
			s.args[path].teach(x, r)
			a.AnyArg.learn(s.args[path].distincts, r)
		}
	}
}

func (s *argLesson) teach(x *Arg, r *room) {
	x.Sessions++
	for _, k := range sorted(s.types) {
		x.Types.add(k, 1, 0, r)
	}
	for _, k := range sorted(s.values) {
		x.Values.add(k, 1, maxValues, r)
	}
	for _, k := range sorted(s.forms) {
		x.Forms.add(k, 1, maxForms, r)
	}
	for _, k := range sorted(s.from) {
		x.From.add(k, 1, maxFrom, r)
	}
	if s.length >= 0 {
		x.Length.add(s.length, 1, r)
	}
	for _, n := range numbers(s.numbers) {
		x.Number.add(n, 1, r)
	}
	x.learn(s.distincts, r)
}

func pairs(m map[[2]string]bool) [][2]string {
	return slices.SortedFunc(maps.Keys(m), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
}

func numbers(m map[int64]bool) []int64 { return slices.Sorted(maps.Keys(m)) }
