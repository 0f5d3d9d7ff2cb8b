package baseline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// Change is something that another baseline says of an agent.
type Change struct {
	Agent string `json:"agent"`
	Text  string `json:"text"`
}

// maxNamed bounds how many names a Change lists.
const maxNamed = 8

// Diff says in words what changes for each agent if b takes the place of was, which can be nil: thresholds by their 99th
// percentile, and what is new or gone.
func (b *Baseline) Diff(was *Baseline) (out []Change) {
	if was == nil {
		was = &Baseline{}
	}
	add := func(agent, format string, args ...any) {
		out = append(out, Change{agent, fmt.Sprintf(format, args...)})
	}
	names := map[string]bool{}
	for _, a := range slices.Concat(was.Agents, b.Agents) {
		names[a.Name] = true
	}
	for _, name := range sorted(names) {
		before, now := was.Agent(name), b.Agent(name)
		switch {
		case now == nil:
			add(name, "is no longer known: %s of it are gone", sessions(before.Sessions))
			continue
		case before == nil:
			add(name, "is new: %s with %s calls on %s days", sessions(now.Sessions), number(now.Calls), number(int64(len(now.Days))))
			before = newAgent(name)
		default:
			if now.Sessions != before.Sessions || now.Calls != before.Calls {
				add(name, "%s with %s calls, not %s with %s", sessions(now.Sessions), number(now.Calls), number(before.Sessions), number(before.Calls))
			}
		}
		if now.Missing() != before.Missing() || before.Sessions == 0 {
			state := "is compared with what it does"
			if now.Missing() != "" {
				state = "too little is known: " + now.Missing()
			}
			add(name, "%s", state)
		}
		before.named(now, func(what string, list []string) { add(name, "%s: %s", what, someOf(list)) })
		if before.Sessions > 0 {
			before.thresholds(now, func(text string) { add(name, "%s", text) })
		}
	}
	return out
}

// someOf lists names.
func someOf(names []string) string {
	more := ""
	if n := len(names); n > maxNamed {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n-maxNamed)
	}
	return strings.Join(names, ", ") + more
}

// named tells of names that are new, and of tools that are gone.
func (a *Agent) named(now *Agent, tell func(what string, list []string)) {
	fresh := func(what string, was, is map[string]int64) {
		var list []string
		for _, name := range sorted(is) {
			if was[name] == 0 {
				list = append(list, fmt.Sprintf("%s (%s)", name, sessions(is[name])))
			}
		}
		if len(list) > 0 {
			tell(what, list)
		}
	}
	tools := func(a *Agent) map[string]int64 {
		out := map[string]int64{}
		for name, t := range a.Tools {
			out[name] = t.Sessions
		}
		return out
	}
	fresh("new tools", tools(a), tools(now))
	fresh("gone are the tools", tools(now), tools(a))
	fresh("new effects", a.Effects.Seen, now.Effects.Seen)
	edges := func(a *Agent) map[string]int64 {
		out := map[string]int64{}
		for before, t := range a.Next {
			for after, n := range t.Seen {
				if before == "" {
					before = "the beginning"
				}
				out[after+" after "+before] = n
			}
		}
		return out
	}
	if a.Sessions == 0 {
		return
	}
	fresh("new orders", edges(a), edges(now))
	for _, name := range sorted(now.Tools) {
		t, was := now.Tools[name], a.Tools[name]
		if was == nil {
			continue
		}
		args := func(t *Tool) map[string]int64 {
			out := map[string]int64{}
			for path, x := range t.Args {
				out[path] = x.Sessions
			}
			return out
		}
		fresh("new arguments of "+name, args(was), args(t))
		for _, path := range sorted(t.Args) {
			if x, y := was.Args[path], t.Args[path]; x != nil {
				fresh("new types of "+path+" of "+name, x.Types.Seen, y.Types.Seen)
				fresh("new forms of "+path+" of "+name, x.Forms.Seen, y.Forms.Seen)
				if x.habit() && !y.From.Open {
					words := map[string]int64{}
					for from, n := range y.From.Seen {
						if x.From.Seen[from] == 0 {
							words[OriginWords(from)] = n
						}
					}
					fresh(path+" of "+name+" now comes from, too", nil, words)
				}
				if !x.Values.Open {
					fresh("new values of "+path+" of "+name, x.Values.Seen, y.Values.Seen)
				}
			}
		}
	}
}

// thresholds tells of 99th percentiles, and where small numbers are strange of first ones, that are others.
func (a *Agent) thresholds(now *Agent, tell func(text string)) {
	was := map[string]*Histogram{}
	a.each(func(what string, _ end, h *Histogram) { was[what] = h })
	now.each(func(what string, ends end, h *Histogram) {
		o := was[what]
		if o == nil || len(o.Counts) == 0 || len(h.Counts) == 0 {
			return
		}
		format := number
		if strings.HasPrefix(what, numberOf) {
			format = func(n int64) string { return milli(n) }
		}
		for _, q := range [...]struct {
			end      end
			name     string
			perMille int64
		}{{upper, "p99", 990}, {lower, "p1", 10}} {
			if x, y := o.Quantile(q.perMille), h.Quantile(q.perMille); ends&q.end != 0 && x != y {
				tell(fmt.Sprintf("%s: %s is %s, was %s", what, q.name, format(y), format(x)))
			}
		}
	})
}

// Comparison is how calls score by two baselines.
type Comparison struct {
	Calls    int `json:"calls"`
	Both     int `json:"both"`     // are too strange by both
	Stranger int `json:"stranger"` // by the new one alone
	Usual    int `json:"usual"`    // by the old one alone
	Unknown  int `json:"unknown"`  // cannot be scored by the new one
}

// Compare scores the calls of a history that passed since then by two baselines, of which was can be nil: how many are stranger
// than so much by the one and by the other.
func Compare(history History, since event.Time, was, now *Baseline, limit Bits, effects func(server, tool string) []string, trails Trails) (c Comparison, err error) {
	old, fresh := NewWatch(effects), NewWatch(effects)
	if old.live, fresh.live = was, now; !old.Follows() && !fresh.Follows() {
		trails = nil
	}
	if trails != nil {
		old.Follow(trails.Of)
		fresh.Follow(trails.Of)
	}
	var follow calls
	for e, err := range history(1) {
		if err != nil {
			return c, fmt.Errorf("baseline: %w", err)
		}
		if trails != nil {
			trails.Apply(e)
		}
		switch b := e.Body.(type) {
		case *event.Call:
			follow.call(e, b)
		case *event.Verdict:
			call, passes := follow.settled(e, b)
			if !passes {
				break
			}
			if e.At >= since {
				at := call
				at.At = e.At
				c.add(old.Score(at), fresh.Score(at), limit)
			}
			old.Pass(call, e)
			fresh.Pass(call, e)
		case *event.Result:
			old.Result(e, b)
			fresh.Result(e, b)
		case *event.Turn:
			old.Said()
			fresh.Said()
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Closed:
		}
	}
	return c, nil
}

func (c *Comparison) add(old, fresh Score, limit Bits) {
	c.Calls++
	if fresh.Of == nil {
		c.Unknown++
		return
	}
	was, is := old.Of != nil && old.Bits >= limit, fresh.Bits >= limit
	switch {
	case was && is:
		c.Both++
	case is:
		c.Stranger++
	case was:
		c.Usual++
	}
}
