package baseline

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// History yields recorded events from Seq from on, in order. It can be asked again, and says the same.
type History func(from uint64) iter.Seq2[event.Event, error]

// Learning says what to learn from.
type Learning struct {
	Since event.Time // calls from then on teach; those before are what windows remember
	Agent string     // only of this agent; "" is all of them
	// Effects says what a tool can do, as far as a policy says it; nil if there is none.
	Effects func(server, tool string) []string
	// Trails returns the Trails of an empty history; nil if nobody remembers what is said.
	Trails func() Trails
	Enough Evidence // before calls are compared with what an agent does; zero is 30 sessions, 200 calls and 3 days
	// Live is the baseline that is in force, from whose thresholds those of the new one may not go far; nil if there is none.
	Live *Baseline
	// Accepted reports whether a person says that something is known that was seen too seldom since then; nil if nobody says so.
	Accepted func(agent, what string) bool
}

// folds is in how many parts days are divided: how strange a call is, is found out by what all other parts have taught.
const folds = 5

// Learn learns a baseline from a history. It reads it twice: once to learn, and once to find out how strange calls are that did
// not teach.
func Learn(history History, how Learning) (*Baseline, error) {
	l := learner{how: how, denied: map[deniedKey]bool{}, agents: map[string]*taught{}, known: map[string]*Agent{}, arrived: map[string]arrivals{}, tracing: true}
	if err := l.read(history, l.teach); err != nil {
		return nil, err
	}
	l.flush()
	b := l.assemble()
	l.samples, l.tracing = map[string][]sample{}, b.Follows()
	if err := l.read(history, l.compare); err != nil {
		return nil, err
	}
	for _, a := range b.Agents {
		a.Score = calibrate(l.samples[a.Name])
	}
	l.peers(b)
	if how.Live != nil {
		b.Against = how.Live.Digest()
	}
	l.cap(b)
	if how.Agent != "" && how.Live != nil {
		b.keep(how.Live)
	}
	b.finish()
	return b, nil
}

// keep takes over what live says of other agents than that which was learned, and of groups.
func (b *Baseline) keep(live *Baseline) {
	known := map[string]bool{}
	for _, a := range b.Agents {
		known[a.Name] = true
	}
	for _, a := range live.Agents {
		if c := *a; !known[a.Name] {
			b.Agents = append(b.Agents, &c)
		}
	}
	for _, g := range live.Groups {
		c := *g
		b.Groups = append(b.Groups, &c)
	}
	slices.SortFunc(b.Agents, func(x, y *Agent) int { return cmp.Compare(x.Name, y.Name) })
	if len(known) > 0 {
		b.From, b.Until = min(b.From, live.From), max(b.Until, live.Until)
	}
}

// learner reads a history.
type learner struct {
	how      Learning
	stream   *stream
	calls    calls
	look     look
	day      int64
	trails   Trails // nil if nobody remembers what is said, or it makes no difference
	tracing  bool   // it can
	origins  origins
	sessions map[sessionKey]*lesson
	denied   map[deniedKey]bool // sessions of a day in which a call did not pass
	agents   map[string]*taught
	others   map[string]*[folds]*Agent // what all parts but one have taught
	samples  map[string][]sample
	groups   map[string]*Agent   // of an agent: what others like it have taught
	strange  map[string][]sample // calls, by that
	from     event.Time
	until    event.Time
	known    map[string]*Agent   // by agent: what stands for it in the baseline in force
	arrived  map[string]arrivals // by agent: what is new since
	lessons  int64
	active   int64 // days since with a call that taught
}

type sessionKey struct{ agent, session string }

type deniedKey struct {
	sessionKey
	day int64
}

// taught is what the parts of the days have taught of an agent.
type taught struct {
	clean  [folds]*Agent
	denied [folds]*Agent // sessions in which a call did not pass
	left   bool          // … and which are left out
}

func newTaught(name string) *taught {
	t := &taught{}
	for i := range folds {
		t.clean[i], t.denied[i] = newAgent(name), newAgent(name)
	}
	return t
}

func count(parts *[folds]*Agent) (e Evidence) {
	for _, a := range parts {
		e.Sessions, e.Calls, e.Days = e.Sessions+a.Sessions, e.Calls+a.Calls, e.Days+int64(len(a.Days))
	}
	return e
}

// read yields every honest call to each, as it looks with what was before it.
func (l *learner) read(history History, each func(call uint64, t *look)) error {
	l.stream, l.calls = newStream(), calls{}
	l.sessions, l.day = map[sessionKey]*lesson{}, -1
	if l.trails = nil; l.tracing && l.how.Trails != nil {
		l.trails = l.how.Trails()
	}
	effects := func(c *event.Call) []string {
		if l.how.Effects == nil {
			return nil
		}
		return l.how.Effects(c.Server, c.Tool)
	}
	for e, err := range history(1) {
		if err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		if l.trails != nil {
			l.trails.Apply(e)
		}
		if day := dayOf(e.At); day != l.day {
			l.flush()
			l.day = day
		}
		switch b := e.Body.(type) {
		case *event.Call:
			l.calls.call(e, b)
		case *event.Verdict:
			call, passes := l.calls.settled(e, b)
			if call.Body == nil {
				break
			}
			c := call.Body.(*event.Call)
			if l.how.Agent != "" && c.Agent != l.how.Agent {
				break
			}
			if !passes {
				l.refused(c.Agent, call.Session)
				break
			}
			l.stream.Tracker.look(call, e.At, effects(c), &l.look)
			teaches := Honest(b) && e.At >= l.how.Since
			if teaches && !l.leftOut(c.Agent, call.Session) {
				if l.trails != nil {
					call.At = e.At
					l.look.trail = l.trails.Of(call)
				}
				each(call.Seq, &l.look)
			}
			l.stream.pass(call.Seq, &l.look, teaches)
		case *event.Result:
			if o, ok := l.stream.result(e, b); ok && o.Honest {
				if s := l.sessions[sessionKey{o.Agent, o.Session}]; s != nil {
					s.result(o, b, l.stream.Tracker.agent(o.Agent, e.At).session(o.Session))
				}
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return nil
}

// fold says to which part a day belongs. Sessions of one day share what counts by the day.
func fold(day int64) int { return int(uint64(day) * 0x9E3779B97F4A7C15 >> 32 % folds) }

// teach learns from an honest call.
func (l *learner) teach(call uint64, t *look) {
	k := sessionKey{t.agent, t.session}
	s := l.lesson(k)
	if l.from == 0 {
		l.from = t.at
	}
	if l.until = t.at; t.trail != nil && t.trail.Heard() {
		t.trace(func(*fieldLook) bool { return true })
		l.origins.keep(call, t)
	}
	s.call(t)
}

func (l *learner) lesson(k sessionKey) *lesson {
	s := l.sessions[k]
	if s == nil {
		s = newLesson()
		l.sessions[k] = s
	}
	return s
}

// refused notes that a call of a session did not pass. Whatever else the session does that day is not what honest ones do, as
// far as anybody knows: who probes what passes is denied now and then.
func (l *learner) refused(agent, session string) {
	if l.samples == nil { // it is read for the first time
		k := sessionKey{agent, session}
		l.lesson(k).denied = true
		l.denied[deniedKey{k, l.day}] = true
	}
}

// leftOut reports whether nothing of a session of this day teaches. That is known once the history was read.
func (l *learner) leftOut(agent, session string) bool {
	t := l.agents[agent]
	return l.samples != nil && t != nil && t.left && l.denied[deniedKey{sessionKey{agent, session}, l.day}]
}

// flush adds what the sessions of a day have taught.
func (l *learner) flush() {
	keys := slices.SortedFunc(maps.Keys(l.sessions), func(a, b sessionKey) int {
		return cmp.Or(cmp.Compare(a.agent, b.agent), cmp.Compare(a.session, b.session))
	})
	if l.how.Live != nil && len(keys) > 0 && l.day > dayOf(l.how.Live.Until) {
		l.active++
	}
	for _, k := range keys {
		s := l.sessions[k]
		if s.calls == 0 {
			continue
		}
		t := l.agents[k.agent]
		if t == nil {
			l.crowd()
			t = newTaught(k.agent)
			l.agents[k.agent] = t
		}
		if s.denied {
			s.teach(t.denied[fold(l.day)], l.day)
			continue
		}
		s.teach(t.clean[fold(l.day)], l.day)
		l.arrive(k.agent, s)
	}
	clear(l.sessions)
}

// crowd makes room for one more agent, at the cost of those that have done least.
func (l *learner) crowd() {
	if len(l.agents) < 4*maxAgents {
		return
	}
	names := sorted(l.agents)
	slices.SortStableFunc(names, func(x, y string) int {
		a, b := l.agents[x], l.agents[y]
		return cmp.Compare(count(&a.clean).Calls+count(&a.denied).Calls, count(&b.clean).Calls+count(&b.denied).Calls)
	})
	for _, name := range names[:len(names)/2] {
		delete(l.agents, name)
		delete(l.arrived, name)
		delete(l.known, name)
	}
}

// arrive counts what a session has that the baseline in force does not know.
func (l *learner) arrive(agent string, s *lesson) {
	if l.how.Live == nil {
		return
	}
	was, asked := l.known[agent]
	if !asked {
		was = l.how.Live.before(agent, sorted(s.servers))
		l.known[agent] = was
	}
	if was == nil {
		return
	}
	if l.arrived[agent] == nil {
		l.arrived[agent] = arrivals{}
	}
	l.lessons++
	l.arrived[agent].arrive(was, s, l.lessons, l.day)
}

// assemble makes a baseline of what the parts have taught.
func (l *learner) assemble() *Baseline {
	b := &Baseline{Enough: cmp.Or(l.how.Enough, enough), From: l.from, Until: l.until}
	l.others = map[string]*[folds]*Agent{}
	for _, name := range sorted(l.agents) {
		t := l.agents[name]
		has, denied := count(&t.clean), count(&t.denied)
		t.left = has.Sessions >= b.Enough.Sessions && has.Calls >= b.Enough.Calls && has.Days >= b.Enough.Days
		parts := &t.clean
		if !t.left {
			for i := range parts {
				parts[i].merge(t.denied[i])
			}
		}
		all := newAgent(name)
		all.Denied, all.DeniedTaught = denied.Sessions, denied.Sessions > 0 && !t.left
		var others [folds]*Agent
		for i := range parts {
			all.merge(parts[i])
			others[i] = newAgent(name)
			for k := range parts {
				if k != i {
					others[i].merge(parts[k])
				}
			}
			others[i].finish()
		}
		all.finish()
		l.others[name] = &others
		b.Agents = append(b.Agents, all)
	}
	slices.SortStableFunc(b.Agents, func(x, y *Agent) int { return cmp.Compare(y.Calls, x.Calls) })
	b.Agents = b.Agents[:min(len(b.Agents), maxAgents)]
	slices.SortFunc(b.Agents, func(x, y *Agent) int { return cmp.Compare(x.Name, y.Name) })
	l.like(b)
	return b
}

// compare finds out how surprising an honest call is to what other sessions have taught, and to what agents like it have.
func (l *learner) compare(call uint64, t *look) {
	l.origins.recall(call, t)
	one := sample{seq: call, fold: fold(dayOf(t.at)), session: hashOf(t.agent, t.session), at: int64(t.at) / int64(time.Second)}
	if others := l.others[t.agent]; others != nil {
		one.by = others[one.fold].judge(t, nil)
		l.samples[t.agent] = append(l.samples[t.agent], one)
	}
	if group := l.groups[t.agent]; group != nil {
		one.by = group.judge(t, nil)
		l.strange[group.Name] = append(l.strange[group.Name], one)
	}
}
