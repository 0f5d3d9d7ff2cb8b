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
}

// folds is in how many parts days are divided: how strange a call is, is found out by what all other parts have taught.
const folds = 5

// Learn learns a baseline from a history. It reads it twice: once to learn, and once to find out how strange calls are that did
// not teach.
func Learn(history History, how Learning) (*Baseline, error) {
	l := learner{how: how, agents: map[string]*[folds]*Agent{}, tracing: true}
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
	b.cap(how.Live)
	b.finish()
	return b, nil
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
	sessions map[sessionKey]*lesson
	agents   map[string]*[folds]*Agent
	others   map[string]*[folds]*Agent // what all parts but one have taught
	samples  map[string][]sample
	groups   map[string]*Agent   // of an agent: what others like it have taught
	strange  map[string][]sample // calls, by that
	from     event.Time
	until    event.Time
}

type sessionKey struct{ agent, session string }

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
			call := l.calls.settled(e, b)
			if call.Body == nil {
				break
			}
			c := call.Body.(*event.Call)
			if l.how.Agent != "" && c.Agent != l.how.Agent {
				break
			}
			l.stream.Tracker.look(call, e.At, effects(c), &l.look)
			teaches := honest(b) && e.At >= l.how.Since
			if teaches {
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
					s.result(o, b, l.stream.Tracker.Agents[o.Agent].session(o.Session))
				}
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return nil
}

// fold says to which part a day belongs. Sessions of one day share what counts by the day.
func fold(day int64) int { return int(day % folds) }

// teach learns from an honest call.
func (l *learner) teach(_ uint64, t *look) {
	k := sessionKey{t.agent, t.session}
	s := l.sessions[k]
	if s == nil {
		s = newLesson()
		l.sessions[k] = s
	}
	if l.from == 0 {
		l.from = t.at
	}
	if l.until = t.at; t.trail != nil && t.trail.Heard() {
		t.trace(func(*fieldLook) bool { return true })
	}
	s.call(t)
}

// flush adds what the sessions of a day have taught.
func (l *learner) flush() {
	keys := slices.SortedFunc(maps.Keys(l.sessions), func(a, b sessionKey) int {
		return cmp.Or(cmp.Compare(a.agent, b.agent), cmp.Compare(a.session, b.session))
	})
	for _, k := range keys {
		parts := l.agents[k.agent]
		if parts == nil {
			parts = &[folds]*Agent{}
			for i := range parts {
				parts[i] = newAgent(k.agent)
			}
			l.agents[k.agent] = parts
		}
		l.sessions[k].teach(parts[fold(l.day)], l.day)
	}
	clear(l.sessions)
}

// assemble makes a baseline of what the parts have taught.
func (l *learner) assemble() *Baseline {
	b := &Baseline{Enough: cmp.Or(l.how.Enough, enough), From: l.from, Until: l.until}
	l.others = map[string]*[folds]*Agent{}
	for _, name := range sorted(l.agents) {
		parts := l.agents[name]
		all := newAgent(name)
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
