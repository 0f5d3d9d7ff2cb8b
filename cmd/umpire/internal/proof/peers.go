package proof

import (
	"math"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// measure is something that the simpler methods count, of an agent and of each of its tools.
type measure int

const (
	in10s measure = iota
	in10m
	inSession
	inDay
	failures // in the session
	bytesIn  // of arguments, of one call
	measures
)

// fixed are thresholds as somebody sets them who has no history to learn from.
var fixed = [measures]float64{in10s: 20, in10m: 100, inSession: 200, inDay: 2000, failures: 20, bytesIn: 10_000}

// counted is what is measured of whom.
type counted struct {
	agent, tool string // no tool is all of them
	measure     measure
}

// counter counts as the simpler methods do.
type counter struct {
	times    map[counted][]event.Time
	sessions map[string]map[counted]float64
	day      int64
	whose    map[uint64]event.Event // calls without result
}

func newCounter() *counter {
	return &counter{times: map[counted][]event.Time{}, sessions: map[string]map[counted]float64{}, whose: map[uint64]event.Event{}}
}

// values are what is measured when the call in e comes, that included.
func (c *counter) values(e event.Event, each func(counted, float64)) {
	b := e.Body.(*event.Call)
	if day := int64(e.At) / int64(24*time.Hour); day != c.day { // sessions that go on begin anew
		c.day = day
		clear(c.sessions)
		clear(c.times)
		clear(c.whose)
	}
	for _, tool := range []string{"", b.Server + "/" + b.Tool} {
		of := counted{agent: b.Agent, tool: tool}
		times := c.times[of]
		for i, span := range []time.Duration{in10s: 10 * time.Second, in10m: 10 * time.Minute} {
			of.measure = measure(i)
			first, _ := slices.BinarySearch(times, e.At-event.Time(span)+1)
			each(of, float64(len(times)-first+1))
		}
		of.measure = inDay
		each(of, float64(len(times)+1))
		mine := c.sessions[e.Session]
		of.measure = inSession
		each(of, mine[of]+1)
		of.measure = failures
		each(of, mine[of])
		of.measure = bytesIn
		each(of, float64(b.Size))
	}
}

// pass counts a call.
func (c *counter) pass(e event.Event) {
	b := e.Body.(*event.Call)
	c.whose[e.Seq] = e
	for _, tool := range []string{"", b.Server + "/" + b.Tool} {
		of := counted{agent: b.Agent, tool: tool}
		c.times[of] = append(c.times[of], e.At)
		if c.sessions[e.Session] == nil {
			c.sessions[e.Session] = map[counted]float64{}
		}
		of.measure = inSession
		c.sessions[e.Session][of]++
	}
}

func (c *counter) result(e event.Event) {
	call, ok := c.whose[e.Cause]
	if !ok || !e.Body.(*event.Result).Outcome.Failed() {
		return
	}
	b := call.Body.(*event.Call)
	for _, tool := range []string{"", b.Server + "/" + b.Tool} {
		if mine := c.sessions[call.Session]; mine != nil {
			mine[counted{b.Agent, tool, failures}]++
		}
	}
}

// peer makes a method that has a limit of each measure, found from the greatest value in each honest session; of a tool that there
// never was, it is 0. Without limit it has the fixed ones.
func peer(name string, limit func(sorted []float64) float64) Method {
	return Method{Name: name, Learn: func(h baseline.History) (func() Watch, error) {
		if limit == nil {
			return func() Watch { return newLimited(nil) }, nil
		}
		most := map[counted]map[string]float64{}
		c := newCounter()
		for e, err := range h(1) {
			if err != nil {
				return nil, err
			}
			switch e.Body.(type) {
			case *event.Call:
				c.values(e, func(of counted, n float64) {
					if most[of] == nil {
						most[of] = map[string]float64{}
					}
					most[of][e.Session] = max(most[of][e.Session], n)
				})
				c.pass(e)
			case *event.Result:
				c.result(e)
			case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
			}
		}
		limits := map[counted]float64{}
		for of, by := range most {
			var list []float64
			for _, s := range sorted(by) {
				list = append(list, by[s])
			}
			slices.Sort(list)
			limits[of] = limit(list)
		}
		return func() Watch { return newLimited(limits) }, nil
	}}
}

func newLimited(limits map[counted]float64) *limited {
	return &limited{counter: newCounter(), limits: limits, silent: map[silence]bool{}}
}

// limited is a watch by limits. What a person has approved in a session is not asked again.
type limited struct {
	counter *counter
	limits  map[counted]float64 // nil for the fixed ones
	over    []counted
	silent  map[silence]bool
}

type silence struct {
	session string
	counted
}

// Call implements Watch.
func (l *limited) Call(e event.Event) (strange, compared bool) {
	l.over = l.over[:0]
	l.counter.values(e, func(of counted, n float64) {
		limit := l.limits[of]
		if l.limits == nil {
			limit = fixed[of.measure]
		}
		if n > limit && !l.silent[silence{e.Session, of}] {
			l.over = append(l.over, of)
		}
	})
	return len(l.over) > 0, true
}

// Pass implements Watch.
func (l *limited) Pass(call, _ event.Event) {
	for _, of := range l.over {
		l.silent[silence{call.Session, of}] = true
	}
	l.counter.pass(call)
}

// Result implements Watch.
func (l *limited) Result(e event.Event) { l.counter.result(e) }

// zScore is the mean and 2.5 standard deviations.
func zScore(sorted []float64) float64 {
	sum, squares, n := 0.0, 0.0, float64(len(sorted))
	for _, x := range sorted {
		sum += x
		squares += x * x
	}
	mean := sum / n
	return mean + 2.5*math.Sqrt(max(squares/n-mean*mean, 0))
}

// interquartile is the third quartile and 1.5 times what is between it and the first.
func interquartile(sorted []float64) float64 {
	q1, q3 := quantile(sorted, 0.25), quantile(sorted, 0.75)
	return q3 + 1.5*(q3-q1)
}

// percentile is one and a half times the 99th percentile.
func percentile(sorted []float64) float64 { return 1.5 * quantile(sorted, 0.99) }

func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// transitions is the method that calls a tool strange that never came after the one before it.
func transitions(h baseline.History) (func() Watch, error) {
	seen := map[[3]string]bool{}
	w := &walk{seen: seen, last: map[string]string{}}
	for e, err := range h(1) {
		if err != nil {
			return nil, err
		}
		if _, ok := e.Body.(*event.Call); ok {
			seen[w.edge(e)] = true
			w.Pass(e, e)
		}
	}
	return func() Watch { return &walk{seen: seen, last: map[string]string{}, approved: map[[4]string]bool{}} }, nil
}

// walk is a watch by transitions. What a person has approved in a session is not asked again.
type walk struct {
	seen     map[[3]string]bool
	last     map[string]string // tool, by session
	approved map[[4]string]bool
}

func (w *walk) edge(e event.Event) [3]string {
	b := e.Body.(*event.Call)
	return [3]string{b.Agent, w.last[e.Session], b.Server + "/" + b.Tool}
}

// Call implements Watch.
func (w *walk) Call(e event.Event) (strange, compared bool) {
	x := w.edge(e)
	return !w.seen[x] && !w.approved[[4]string{e.Session, x[0], x[1], x[2]}], true
}

// Pass implements Watch.
func (w *walk) Pass(call, _ event.Event) {
	if x := w.edge(call); !w.seen[x] && w.approved != nil {
		w.approved[[4]string{call.Session, x[0], x[1], x[2]}] = true
	}
	w.last[call.Session] = call.Body.(*event.Call).Server + "/" + call.Body.(*event.Call).Tool
}

// Result implements Watch.
func (w *walk) Result(event.Event) {}
