package baseline

import (
	"maps"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// tracker remembers what agents do, as far as a call is compared with it: rates, the sessions of this day, and which values
// they used. Fields have names for snapshots.
type tracker struct {
	Agents map[string]*agentTrack
}

// The bounds of a tracker. Beyond them agents and sessions are taken for one, which makes their calls stranger; so does a value
// that nobody remembers, since it counts as another one.
const (
	maxAgents   = 256
	maxSessions = 256  // of an agent and day
	maxTracked  = 128  // tools of an agent
	maxSeen     = 4096 // values of an agent and day, and as many of all its sessions together
)

// agentTrack is what an agent has done lately.
type agentTrack struct {
	Rings    rings
	Tools    map[string]*toolTrack
	Day      int64 // of what follows
	Sessions map[string]*sessionTrack
	Seen     map[uint64]bool
	Distinct map[uint64]int64 // argument of a tool -> different values of this day
	Stored   int64            // what sessions remember: values, arguments and tools
	Runs     int64            // of all Tools
	Scored   int64            // calls of this day, …
	Odd      int64            // … and how many of them are stranger than fifteen of sixteen honest ones
	Drifted  bool             // it was said that there are too many of these
}

// toolTrack is what an agent has done with one tool lately.
type toolTrack struct {
	Day    int64 // of the last call
	Rings  rings
	Times  []int64         // of the last calls, in milliseconds, the oldest first
	Serial map[uint64]*run // of an argument: see runOf
}

// sessionTrack is what was done in a session on one day.
type sessionTrack struct {
	Calls    int64
	Last     int64     // milliseconds
	Before   [2]string // the last two tools, the last one first
	Failed   int64
	Read     int64
	Tools    map[uint64]*sessionTool
	Seen     map[uint64]bool
	Distinct map[uint64]int64
	Memory   memory
}

type sessionTool struct{ Calls, Failed int64 }

// The windows of the Rates, but for the session.
var windows = [3]struct {
	unit  time.Duration
	slots int
}{{time.Second, 10}, {30 * time.Second, 20}, {time.Hour, 24}}

// rings count calls in sliding windows, to a tenth or better: 10 seconds, 10 minutes, 24 hours.
type rings [3]ring

// ring counts in slots; that of the time u is slot u modulo their number.
type ring struct {
	Last  int64 // the newest unit of time
	Slots []uint32
}

// unitOf returns in which unit of time it is; before 1970 it is the first.
func unitOf(at event.Time, window int) int64 { return max(int64(at), 0) / int64(windows[window].unit) }

// count returns how many there are at the given time.
func (r *rings) count(at event.Time, window int) (n int64) {
	x := &r[window]
	size := int64(len(x.Slots))
	now := unitOf(at, window)
	for u := max(x.Last-size+1, now-size+1, 0); u <= x.Last; u++ {
		n += int64(x.Slots[u%size])
	}
	return n
}

// add counts one more.
func (r *rings) add(at event.Time) {
	for w := range r {
		x := &r[w]
		if len(x.Slots) == 0 {
			x.Slots = make([]uint32, windows[w].slots)
		}
		size := int64(len(x.Slots))
		now := unitOf(at, w)
		for u := max(x.Last+1, now-size+1, 0); u <= now; u++ {
			x.Slots[u%size] = 0
		}
		x.Last = max(x.Last, now)
		x.Slots[now%size]++
	}
}

// look is a call as a baseline sees it: with all that was before it, and itself counted.
type look struct {
	at      event.Time
	agent   string
	session string
	server  string
	tool    string // "server/tool"
	before  [2]string
	effects []string
	rates   [4]int64 // of the agent, as Rates has them
	byTool  [4]int64 // of the tool
	gap     int64    // milliseconds since the call before in the session; -1 for none
	even    int64    // spread of the last eight gaps of the tool, in 1/1000; -1 if there were fewer
	every   int64    // milliseconds: the longest of these gaps
	failed  int64    // results of the session that were failures
	wrong   int64    // of these, results of this tool
	read    int64    // bytes of results
	size    int64    // bytes of the arguments
	memory  memory   // of the session
	keys    string
	fields  []fieldLook
	scratch []field
	trail   Trail // of the session; nil if there is none
	traced  int   // fields of which was asked where they came from
}

type fieldLook struct {
	*field
	distinct int64 // different values in the session, with this one
	day      int64 // in the day
	sweep    int64 // how many in a row; 0 if it does not end with a number
	traced   bool  // from says what is known
	from     []origin
}

func (f *fieldLook) distincts() [3]int64 { return [3]int64{f.distinct, f.day, f.sweep} }

func millis(at event.Time) int64 { return int64(at) / int64(time.Millisecond) }

func weekOf(at event.Time) int64 { return dayOf(at) / 7 }

// agent returns what is remembered of an agent on the day of at; it has to be asked for before anything is added.
func (t *tracker) agent(name string, at event.Time) *agentTrack {
	a, day := t.Agents[name], dayOf(at)
	if a == nil || stale(a.Day, day) {
		if a == nil && len(t.Agents) >= maxAgents {
			maps.DeleteFunc(t.Agents, func(_ string, a *agentTrack) bool { return stale(a.Day, day) })
			if len(t.Agents) >= maxAgents {
				if name = ""; t.Agents[name] != nil {
					return t.agent(name, at)
				}
			}
		}
		a = &agentTrack{Tools: map[string]*toolTrack{}}
		t.Agents[name] = a
	}
	if a.Day != day || a.Sessions == nil {
		a.Day, a.Stored, a.Scored, a.Odd, a.Drifted = day, 0, 0, 0, false
		a.Sessions, a.Seen, a.Distinct = map[string]*sessionTrack{}, map[uint64]bool{}, map[uint64]int64{}
	}
	return a
}

// stale reports whether nothing counts any more on a day that was last used on another: neither in a window nor in a run.
func stale(last, today int64) bool { return last/7 != today/7 && today > last+1 }

func (a *agentTrack) session(id string) *sessionTrack {
	s := a.Sessions[id]
	if s == nil {
		if len(a.Sessions) >= maxSessions {
			if id = ""; a.Sessions[id] != nil {
				return a.Sessions[id]
			}
		}
		s = &sessionTrack{Tools: map[uint64]*sessionTool{}, Seen: map[uint64]bool{}, Distinct: map[uint64]int64{}}
		a.Sessions[id] = s
	}
	return s
}

func (a *agentTrack) tool(name string) *toolTrack {
	t := a.Tools[name]
	if t == nil || stale(t.Day, a.Day) {
		if t == nil && len(a.Tools) >= maxTracked {
			maps.DeleteFunc(a.Tools, func(_ string, t *toolTrack) bool {
				old := stale(t.Day, a.Day)
				if old {
					a.Runs -= int64(len(t.Serial))
				}
				return old
			})
			if len(a.Tools) >= maxTracked {
				if name = ""; a.Tools[name] != nil {
					return a.Tools[name]
				}
			}
		}
		if t != nil {
			a.Runs -= int64(len(t.Serial))
		}
		t = &toolTrack{Serial: map[uint64]*run{}}
		a.Tools[name] = t
	}
	t.Day = a.Day
	return t
}

// what stands in the place of what is not there.
var (
	noTool    = &toolTrack{}
	noSession = &sessionTrack{}
)

// look looks at the call in e as it would be if it passed at the given time. It changes nothing but l.
func (t *tracker) look(e event.Event, at event.Time, effects []string, l *look) {
	c := e.Body.(*event.Call)
	*l = look{
		at: at, agent: c.Agent, session: e.Session, server: c.Server, tool: c.Server + "/" + c.Tool, effects: effects, size: int64(c.Size),
		gap: -1, even: -1, fields: l.fields[:0], scratch: l.scratch[:0],
	}
	l.scratch, l.keys = flatten(c, l.scratch)
	a := t.Agents[c.Agent]
	if a == nil && len(t.Agents) >= maxAgents {
		a = t.Agents[""]
	}
	tool, session, today := noTool, noSession, false
	if a != nil {
		today = a.Day == dayOf(at)
		if tool = a.Tools[l.tool]; tool == nil && len(a.Tools) >= maxTracked {
			tool = a.Tools[""]
		}
		if tool == nil {
			tool = noTool
		}
		if today {
			if session = a.Sessions[e.Session]; session == nil && len(a.Sessions) >= maxSessions {
				session = a.Sessions[""]
			}
			if session == nil {
				session = noSession
			}
		}
		for w := range windows {
			l.rates[w+1] = a.Rings.count(at, w)
		}
	}
	l.before, l.failed, l.read = session.Before, session.Failed, session.Read
	l.rates[0], l.memory = session.Calls, session.Memory
	if s := session.tool(named(l.tool, "")); s != nil {
		l.byTool[0], l.wrong = s.Calls, s.Failed
	}
	for w := range windows {
		l.byTool[w+1] = tool.Rings.count(at, w)
	}
	for i := range l.rates {
		l.rates[i]++
		l.byTool[i]++
	}
	now := millis(at)
	if session.Calls > 0 {
		l.gap = max(now-session.Last, 0)
	}
	l.even, l.every = tool.even(now)
	for i := range l.scratch {
		f := fieldLook{field: &l.scratch[i]}
		twice := false // in the same call
		for j := range l.fields {
			if o := &l.fields[j]; o.hash == f.hash {
				f.distinct, f.day, f.sweep, twice = o.distinct, o.day, o.sweep, true
			}
		}
		if !twice {
			key, seen := named(l.tool, f.path), l.seen(f.field)
			f.distinct, f.day = counted(session.Distinct, key), 0
			fresh, freshToday := !session.Seen[seen], true
			if today {
				f.day, freshToday = counted(a.Distinct, key), !a.Seen[seen]
			}
			for j := range l.fields { // other values of a list
				if o := &l.fields[j]; o.path == f.path {
					f.distinct, f.day = max(f.distinct, o.distinct), max(f.day, o.day)
				}
			}
			if fresh {
				f.distinct++
			}
			if freshToday {
				f.day++
			}
			if prefix, n, ok := f.serial(); ok {
				_, r := tool.runOf(key, weekOf(at), named(prefix, ""), n)
				f.sweep = r.Length
			}
		}
		l.fields = append(l.fields, f)
	}
}

// seen names a value of an argument of the tool.
func (l *look) seen(f *field) uint64 {
	return f.hash ^ named(l.tool, "") // values themselves are told apart by a better hash
}

// named names an argument of a tool, or a text (FNV-1a).
func named(tool, path string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{tool, path} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h *= 1099511628211
	}
	return h
}

// rest is what stands for all that found no room.
const rest = 0

// counted returns a count; that of the rest for what is not there, since it may be among them.
func counted(m map[uint64]int64, key uint64) int64 {
	if n, ok := m[key]; ok {
		return n
	}
	return m[rest]
}

// tool returns what was done with a tool.
func (s *sessionTrack) tool(key uint64) *sessionTool {
	if t := s.Tools[key]; t != nil {
		return t
	}
	return s.Tools[rest]
}

// Evenness goes over so many gaps between calls, and so much time.
const (
	gaps = 8
	pace = 7 * 24 * time.Hour
)

// even returns how much the last gaps differ if a call comes now, in 1/1000 of the longest, and the longest; -1 if there are
// not enough.
func (t *toolTrack) even(now int64) (spread, longest int64) {
	if len(t.Times) < gaps || now-t.Times[0] > int64(pace/time.Millisecond) {
		return -1, 0
	}
	times := t.Times[len(t.Times)-gaps:]
	shortest := int64(-1)
	for i, at := range times {
		next := now
		if i+1 < len(times) {
			next = times[i+1]
		}
		g := max(next-at, 0)
		longest = max(longest, g)
		if shortest < 0 || g < shortest {
			shortest = g
		}
	}
	if longest == 0 {
		return 1000, 0 // at once, which is not even
	}
	return (longest - shortest) * 1000 / longest, longest
}

// pass adds a call that passes.
func (t *tracker) pass(l *look) {
	a := t.agent(l.agent, l.at)
	s, tool := a.session(l.session), a.tool(l.tool)
	a.Rings.add(l.at)
	tool.Rings.add(l.at)
	now := millis(l.at)
	if len(tool.Times) == gaps {
		copy(tool.Times, tool.Times[1:])
		tool.Times[gaps-1] = now
	} else {
		tool.Times = append(tool.Times, now)
	}
	s.Calls++
	s.Last, s.Before = now, [2]string{l.tool, s.Before[0]}
	key := named(l.tool, "")
	if s.Tools[key] == nil {
		if key = a.room(key); s.Tools[key] == nil {
			s.Tools[key] = &sessionTool{}
		}
	}
	s.Tools[key].Calls++
	for i := range l.fields {
		f := &l.fields[i]
		seen, key := l.seen(f.field), named(l.tool, f.path)
		if !s.Seen[seen] {
			if a.room(seen) == seen {
				s.Seen[seen] = true
			}
			at := key
			if _, known := s.Distinct[key]; !known {
				at = a.room(key)
			}
			s.Distinct[at]++
		}
		if !a.Seen[seen] {
			if len(a.Seen) < maxSeen {
				a.Seen[seen] = true
			}
			at := key
			if _, known := a.Distinct[key]; !known && len(a.Distinct) >= 2*maxTracked {
				at = rest
			}
			a.Distinct[at]++
		}
		if prefix, n, ok := f.serial(); ok {
			at, next := tool.runOf(key, weekOf(l.at), named(prefix, ""), n)
			if r := tool.Serial[at]; r != nil {
				*r = next
			} else if len(tool.Serial) < maxSerial && a.Runs < maxFollowed {
				tool.Serial[at] = &next
				a.Runs++
			}
		}
	}
}

// The bounds of runs that are followed: of a tool, and of all tools of an agent.
const (
	maxSerial   = 8 * maxRuns
	maxFollowed = 1000
)

// room takes a place for something that a session is to remember; where there is none, it is one of the rest.
func (a *agentTrack) room(key uint64) uint64 {
	if a.Stored >= maxSeen {
		return rest
	}
	a.Stored++
	return key
}

// result adds the answer to a call of an agent.
func (t *tracker) result(agent, session, tool string, at event.Time, r *event.Result) {
	a := t.agent(agent, at)
	s := a.session(session)
	s.Read += int64(r.Size)
	if r.Outcome.Failed() {
		s.Failed++
		if u := s.tool(named(tool, "")); u != nil {
			u.Failed++
		}
	}
}
