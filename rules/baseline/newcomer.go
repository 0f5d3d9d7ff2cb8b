package baseline

import (
	"fmt"
	"math"
	"slices"
)

// A name (a tool, what follows what, an argument, a value …) that the baseline in force does not know becomes known only once
// it was seen in so many sessions on so many days. Until then it counts as what it is: something new. From then on it becomes
// usual slowly: see PerDay. So one call that somebody got through makes nothing normal, whoever learns and promotes every day.
const (
	newcomerSessions = 3
	newcomerDays     = 3
	// Where a baseline lists few names, and says of any other that it is new, it ends to do so when there are too many to list.
	// That takes sessions and days with new ones, since it makes all of them usual at once.
	openingSessions = 10
	openingDays     = 7
)

// PerDay is how many times as frequent a name may become in a day (UTC) since the baseline before was learned.
const PerDay = 2

// Newcomer is a name that was seen too seldom to be known.
type Newcomer struct {
	Agent    string `json:"agent"`
	What     string `json:"what"` // "tool mail/send", "mail/send after vault/read_secret", "any new value of reason of billing/refund"
	Sessions int64  `json:"sessions"`
	Days     int64  `json:"days"`
	Any      bool   `json:"any,omitempty"` // What is about all names that are not listed
}

// String says what is missing.
func (n Newcomer) String() string {
	s, d := int64(newcomerSessions), int64(newcomerDays)
	if n.Any {
		s, d = openingSessions, openingDays
	}
	return fmt.Sprintf("%s: %s: seen in %s on %s; stays unknown until %s on %s", n.Agent, n.What, sessions(n.Sessions), days(n.Days), sessions(s), days(d))
}

func days(n int64) string {
	if n == 1 {
		return "1 day"
	}
	return number(n) + " days"
}

// arrival is how often a name was seen.
type arrival struct {
	sessions, days int64
	lesson, day    int64 // the last ones
}

// arrivals count the names that the baseline in force does not know. Those that find no room were never seen.
type arrivals map[spot]*arrival

func (x arrivals) add(s spot, lesson, day int64) {
	n := x[s]
	if n == nil {
		if len(x) >= maxPlaces {
			return
		}
		n = &arrival{day: -1}
		x[s] = n
	}
	if n.lesson != lesson {
		n.lesson = lesson
		n.sessions++
	}
	if n.day != day {
		n.day = day
		n.days++
	}
}

// merge adds what members of a group have seen: their sessions, and the days of the one that has most.
func (x arrivals) merge(other arrivals) {
	for s, n := range other {
		was := x[s]
		if was == nil {
			was = &arrival{}
			x[s] = was
		}
		was.sessions, was.days = was.sessions+n.sessions, max(was.days, n.days)
	}
}

// enough reports whether a name is known by now.
func (x arrivals) enough(s spot) bool {
	n := x[s]
	switch {
	case n == nil:
		return false
	case s.any:
		return n.sessions >= openingSessions && n.days >= openingDays
	}
	return n.sessions >= newcomerSessions && n.days >= newcomerDays
}

// arrive counts what is new in a session to was, which is what its calls are compared with in the baseline in force.
func (x arrivals) arrive(was *Agent, s *lesson, lesson, day int64) {
	s.names(func(p place, name string) {
		if was.lacks(p, name) {
			x.add(spot{place: p, name: name}, lesson, day)
			switch p.kind {
			case ofNext, ofNext2, ofKeys, ofForms, ofValues, ofOrigins: // those that can be too many
				x.add(spot{place: p, any: true}, lesson, day)
			default:
			}
		}
	})
}

// admission decides which names of an agent are known.
type admission struct {
	b        *Baseline
	agent    *Agent
	was      *Agent   // what stands for it in the baseline in force
	seen     arrivals // of what was does not know
	minutes  int64    // since then
	accepted func(agent, what string) bool
	members  []*Agent // of a group: those for which this is done
	told     int      // newcomers
}

func (l *learner) admit(b *Baseline, a, was *Agent, seen arrivals, members []*Agent, minutes int64) {
	(&admission{b: b, agent: a, was: was, seen: seen, minutes: minutes, accepted: l.how.Accepted, members: members}).admit()
}

// admit keeps apart what is not known yet, and keeps what is from becoming more frequent than it may.
func (d *admission) admit() {
	a := d.agent
	for _, tool := range sorted(a.Tools) {
		if s := (spot{place: place{kind: ofTools}, name: tool}); d.was.Tools[tool] == nil && !d.known(s) {
			if a.Waiting == nil {
				a.Waiting = map[string]int64{}
			}
			a.Waiting[tool] = a.Tools[tool].Sessions
			delete(a.Tools, tool)
			d.waits(s)
		}
	}
	a.Waiting = d.few(a.Waiting, d.was.order.once, d.was.order.all, a.toolsOnce)
	for _, tool := range sorted(a.Tools) {
		before := d.was.Tools[tool]
		if before == nil {
			continue
		}
		for _, path := range sorted(a.Tools[tool].Args) {
			if s := (spot{place: place{kind: ofArgs, of: tool}, name: path}); before.Args[path] == nil && !d.known(s) {
				delete(a.Tools[tool].Args, path)
				d.waits(s)
			}
		}
	}
	a.tallies(d.tally)
	d.hours()
}

// known reports whether a name that the baseline in force does not know is known by now.
func (d *admission) known(s spot) bool {
	if d.seen.enough(s) {
		return true
	}
	for _, m := range d.members {
		if t := m.tally(s.place); s.any && t != nil && t.Open || !s.any && m.has(s.place, s.name) {
			return true
		}
	}
	if d.accepted == nil || !d.accepted(d.agent.Name, s.what()) {
		return false
	}
	d.b.Accepted = append(d.b.Accepted, d.agent.Name+": "+s.what())
	return true
}

// maxNewcomers bounds how many names of an agent are told of.
const maxNewcomers = 100

// waits tells that a name is not known yet. What follows from others that are told of is not told.
func (d *admission) waits(s spot) {
	a := d.agent
	switch s.kind {
	case ofNext:
		if a.Waiting[s.name] > 0 || a.Waiting[s.of] > 0 {
			return
		}
	case ofNext2:
		return
	default:
	}
	n := Newcomer{Agent: a.Name, What: s.what(), Any: s.any}
	if x := d.seen[s]; x != nil {
		n.Sessions, n.Days = x.sessions, x.days
	}
	if d.told++; d.told > maxNewcomers {
		d.b.MoreNewcomers++
		return
	}
	d.b.Newcomers = append(d.b.Newcomers, n)
}

// tally decides about the names in one place.
func (d *admission) tally(p place, t *Tally) {
	o := d.was.tally(p)
	if o == nil {
		if p.kind != ofNext && p.kind != ofNext2 {
			return // the tool or the argument is known by now, and with it what belongs to it
		}
		o = &Tally{}
	}
	if p.kind >= ofKeys && o.all == 0 && !o.Open {
		return // nobody has looked at that before, such as where values come from
	}
	switch any := (spot{place: p, any: true}); {
	case o.Open || t.Open && d.known(any):
		return
	case t.Open:
		*t = o.within(&d.agent.room)
		d.waits(any)
	}
	all := int64(0)
	for _, n := range t.Seen {
		all += n
	}
	for _, name := range sorted(t.Seen) {
		s, n := spot{place: p, name: name}, t.Seen[name]
		limit := d.grown(newcomerSessions, 1, 1)
		if before := o.Seen[name]; before > 0 {
			limit = d.grown(all-n, before, o.all-before)
		} else if !d.known(s) {
			delete(t.Seen, name)
			if t.Wait == nil {
				t.Wait = map[string]int64{}
			}
			t.Wait[name] = n
			d.waits(s)
			continue
		} else if !d.seen.enough(s) { // a person has said so
			continue
		}
		if n > limit {
			t.Seen[name] = limit
			d.capped(s, o.Seen[name], n, limit)
		}
	}
	once := int64(0)
	for _, n := range t.Seen {
		if n == 1 {
			once++
		}
	}
	t.Wait = d.few(t.Wait, o.once, o.all, func() (int64, int64) { return once, all })
}

// few leaves names out that wait until no more of what is counted was counted once than PerDay allows: how much is new is how
// little it is a surprise that something is.
func (d *admission) few(wait map[string]int64, once, all int64, known func() (once, all int64)) map[string]int64 {
	if all == 0 || len(wait) == 0 {
		return wait
	}
	var lone []string
	is, of := known()
	for _, name := range sorted(wait) {
		if of += wait[name]; wait[name] == 1 {
			lone = append(lone, name)
		}
	}
	for len(lone) > 0 {
		// (2·once+1) / (2·(all+1)), as Tally.new has it
		if 2*(is+int64(len(lone)))+1 <= d.grown(2*(of+1), 2*once+1, 2*(all+1)) {
			break
		}
		delete(wait, lone[len(lone)-1])
		lone = lone[:len(lone)-1]
		of--
	}
	return wait
}

// toolsOnce returns how many tools that are known were used in one session, and in how many sessions all of them.
func (a *Agent) toolsOnce() (once, all int64) {
	for _, t := range a.Tools {
		if all += t.Sessions; t.Sessions == 1 {
			once++
		}
	}
	return once, all
}

// within returns a copy of t, as far as there is room.
func (t *Tally) within(r *room) (out Tally) {
	for _, both := range [...]struct {
		from map[string]int64
		to   *map[string]int64
	}{{t.Seen, &out.Seen}, {t.Wait, &out.Wait}} {
		for _, name := range sorted(both.from) {
			if !r.take() {
				return out
			}
			if *both.to == nil {
				*both.to = map[string]int64{}
			}
			(*both.to)[name] = both.from[name]
		}
	}
	return out
}

// hours decides about the hours of activity.
func (d *admission) hours() {
	var all, before int64
	for i, n := range d.agent.Hours {
		all, before = all+n, before+d.was.Hours[i]
	}
	for i, n := range d.agent.Hours {
		s := spot{place: place{kind: ofHours}, name: hourName(i)}
		limit := d.grown(newcomerSessions, 1, 1)
		switch was := d.was.Hours[i]; {
		case n == 0:
			continue
		case was > 0:
			limit = d.grown(all-n, was, before-was)
		case !d.known(s):
			d.agent.Hours[i] = 0
			d.waits(s)
			continue
		case !d.seen.enough(s):
			continue
		}
		if n > limit {
			d.agent.Hours[i] = limit
			d.capped(s, d.was.Hours[i], n, limit)
		}
	}
}

// grown returns how many it may be by now, of which there were part to whole for each of n: that many are as frequent as before,
// and PerDay times as frequent a day later. Of what was all there was, it may be any number.
func (d *admission) grown(n, part, whole int64) int64 {
	const day = 24 * 60
	days, rest := d.minutes/day, d.minutes%day
	if days >= 20 || whole <= 0 {
		return math.MaxInt64
	}
	return max(mulDiv(min(n, maxCount)<<days, part*(day+rest), whole*day), 1)
}

// capped tells of a name that would be more than twice as frequent as it may be.
func (d *admission) capped(s spot, was, would, is int64) {
	if would <= PerDay*is || s.kind == ofNext2 {
		return
	}
	d.b.Capped = append(d.b.Capped, Capped{Agent: d.agent.Name, What: "sessions with " + s.what(), Was: was, Would: would, Is: is})
}

// before returns what stands for the calls of an agent in the baseline in force, which has used these servers: what is known of
// it or, where that is too little, what is known of agents like it; nil if nothing is.
func (b *Baseline) before(agent string, servers []string) *Agent {
	for _, s := range append([]string{""}, servers...) {
		if a, _ := b.Of(agent, s); a != nil {
			return a
		}
	}
	return nil
}

// armed returns what is known of an agent with which its calls are compared; nil if they are not.
func (b *Baseline) armed(agent string) *Agent {
	if b == nil {
		return nil
	}
	if a := b.agents[agent]; a != nil && a.Missing() == "" {
		return a
	}
	return nil
}

// groupBefore returns the group that has most members of another one, or its name; nil if calls are compared with none such.
func (b *Baseline) groupBefore(g *Agent) (best *Agent) {
	if b == nil {
		return nil
	}
	most := 0
	for _, o := range b.Groups {
		n := 0
		if o.Name == g.Name {
			n++
		}
		for _, m := range g.Members {
			if slices.Contains(o.Members, m) {
				n += 2
			}
		}
		if n > most && o.Missing() == "" {
			best, most = o, n
		}
	}
	return best
}
