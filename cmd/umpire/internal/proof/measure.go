package proof

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/rules/event"
)

// Count is how many of a total.
type Count corpus.Share

func (c *Count) add(yes bool) {
	c.Of++
	if yes {
		c.N++
	}
}

func (c *Count) plus(o Count) { c.N, c.Of = c.N+o.N, c.Of+o.Of }

// Share is the count as a share, with Percent and Wilson.
func (c Count) Share() corpus.Share { return corpus.Share(c) }

// Honest is how often a method was wrong about what is honest.
type Honest struct {
	Calls    Count `json:"calls"`    // about which a person was asked
	Sessions Count `json:"sessions"` // with such a call
	Unknown  int   `json:"unknown"`  // calls that there was nothing to compare with; they are not among Calls
}

func (h *Honest) plus(o Honest) {
	h.Calls.plus(o.Calls)
	h.Sessions.plus(o.Sessions)
	h.Unknown += o.Unknown
}

// Detected is how many changes a method has found.
type Detected struct {
	Count
	Taken []int `json:"-"` // strange calls until then, that included; none for those that were not found
}

func (d *Detected) add(o outcome) {
	d.Count.add(o.found)
	if o.found {
		d.Taken = append(d.Taken, o.calls)
	}
}

// Within returns how many strange calls it took until that share of all changes was found; -1 if it was not.
func (d *Detected) Within(share float64) int {
	n := int(math.Ceil(share*float64(d.Of))) - 1
	if n < 0 || n >= len(d.Taken) {
		return -1
	}
	return slices.Sorted(slices.Values(d.Taken))[n]
}

// Row is what became of one method.
type Row struct {
	Method string `json:"method"`
	Honest Honest `json:"honest"`
	// ByAgent has the agents apart.
	ByAgent  map[string]Honest     `json:"by_agent"`
	Changes  Detected              `json:"changes"`
	ByChange map[string]*Detected  `json:"by_change"`
	ByMuch   [intensities]Detected `json:"by_intensity"` // gross, plain, faint
}

func newRow(method string) Row {
	return Row{Method: method, ByAgent: map[string]Honest{}, ByChange: map[string]*Detected{}}
}

func (r *Row) plus(o *Row) {
	r.Honest.plus(o.Honest)
	for _, a := range sorted(o.ByAgent) {
		h := r.ByAgent[a]
		h.plus(o.ByAgent[a])
		r.ByAgent[a] = h
	}
	r.Changes.plus(&o.Changes)
	for _, c := range sorted(o.ByChange) {
		if r.ByChange[c] == nil {
			r.ByChange[c] = &Detected{}
		}
		r.ByChange[c].plus(o.ByChange[c])
	}
	for i := range r.ByMuch {
		r.ByMuch[i].plus(&o.ByMuch[i])
	}
}

func (d *Detected) plus(o *Detected) {
	d.Count.plus(o.Count)
	d.Taken = append(d.Taken, o.Taken...)
}

// Trial is an agent of which one part of what it did is learned, and the other is not.
type Trial struct {
	seed   uint64
	agent  string
	before []session // learned
	after  []session
	others []session // of all agents
}

// Changes returns the names of the changes, in order.
func Changes() (out []string) {
	for _, c := range changes {
		out = append(out, c.name)
	}
	return out
}

// Measure lets every method learn what comes before, in each trial, and judge what comes after: as it is, and so many times with
// each change of each intensity. Done is called after each trial.
func Measure(trials []Trial, methods []Method, times int, done func()) ([]Row, error) {
	rows := make([][]Row, len(trials))
	errs := make([]error, len(trials))
	next := make(chan int, len(trials))
	for i := range trials {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				rows[i], errs[i] = trials[i].measure(methods, times)
				done()
			}
		})
	}
	wg.Wait()
	var out []Row
	for _, m := range methods {
		out = append(out, newRow(m.Name))
	}
	for i := range trials {
		if errs[i] != nil {
			return nil, fmt.Errorf("%s: %w", trials[i].agent, errs[i])
		}
		for k := range out {
			out[k].plus(&rows[i][k])
		}
	}
	return out, nil
}

func (t *Trial) measure(methods []Method, times int) ([]Row, error) {
	var watches []func() Watch
	before := record(t.before)
	for _, m := range methods {
		w, err := m.Learn(before.from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		watches = append(watches, w)
	}
	var rows []Row
	begin := event.At(t.after[0].at)
	whole := record(append(around(t.before, t.after[0].at, t.after[0].at), t.after...))
	for i, m := range methods {
		o, err := look(watches[i](), whole.from, nil, func(e event.Event) bool { return e.At >= begin })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		row := newRow(m.Name)
		row.Honest, row.ByAgent[t.agent] = o.honest[t.agent], o.honest[t.agent]
		rows = append(rows, row)
	}
	k := know(t.agent, append(slices.Clone(t.before), t.others...))
	for _, c := range changes {
		for much := range intensities {
			for n := range times {
				r := chance(t.seed, t.agent, c.name, much, n)
				s := one(r, t.after...)
				changed := c.make(k, r, s.copied(), much)
				if len(changed) == 0 {
					continue
				}
				if err := t.change(methods, watches, rows, s, changed, c.name, much); err != nil {
					return nil, err
				}
			}
		}
	}
	return rows, nil
}

// change lets sessions happen in the place of an honest one, among all that is honest.
func (t *Trial) change(methods []Method, watches []func() Watch, rows []Row, honest session, changed []session, name string, much int) error {
	last := changed[len(changed)-1].at
	sessions := slices.DeleteFunc(append(around(t.before, honest.at, last), around(t.after, honest.at, last)...), func(s session) bool { return s.id == honest.id })
	h := record(append(sessions, changed...))
	for i, m := range methods {
		o, err := look(watches[i](), h.from, h.strange, always)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		rows[i].Changes.add(o)
		rows[i].ByMuch[much].add(o)
		if rows[i].ByChange[name] == nil {
			rows[i].ByChange[name] = &Detected{}
		}
		rows[i].ByChange[name].add(o)
	}
	return nil
}

func always(event.Event) bool { return true }

// memory is for how long before something what happened matters to it.
const memory = 8 * 24 * time.Hour

// around returns sessions from the time that matters to first until last.
func around(sessions []session, first, last time.Time) (out []session) {
	for _, s := range sessions {
		if s.at.After(first.Add(-memory)) && s.at.Before(last) {
			out = append(out, s)
		}
	}
	return out
}

// The days that are learned, and those after them.
const (
	learned = 60
	later   = 30
)

// Generated are trials with honest agents that are made, for each seed.
func Generated(seeds []uint64) (out []Trial) {
	for _, seed := range seeds {
		others := community(seed, 0, learned)
		for i := range jobs {
			j := &jobs[i]
			out = append(out, Trial{seed: seed, agent: j.agent, before: j.live(seed, 0, learned), after: j.live(seed, learned, learned+later), others: others})
		}
	}
	return out
}
