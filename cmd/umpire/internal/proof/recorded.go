package proof

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// Recorded are honest sessions of labelled ones, by where they come from: each such place is taken for one agent.
type Recorded map[string][]session

// Add takes a session in if nothing is wrong with it. When it happened nobody knows: it gets a time later.
func (d Recorded) Add(s corpus.Session, l corpus.Labels) error {
	if l.Kind() != corpus.Clean {
		return nil
	}
	agent := l.Source
	if l.Suite != "" && l.Suite != l.Source {
		agent += "/" + l.Suite
	}
	out := session{agent: agent, id: l.ID}
	at := map[string]int{}
	for i, e := range s.Events {
		switch e.Type {
		case "call":
			x := step{server: e.Server, tool: e.Tool}
			if err := json.Unmarshal(e.Args, &x.args); err != nil {
				return fmt.Errorf("event %d: args are no object: %w", i, err)
			}
			if x.args == nil {
				x.args = map[string]any{}
			}
			at[e.ID] = len(out.steps)
			out.steps = append(out.steps, x)
		case "result":
			if k, ok := at[e.ID]; ok {
				out.steps[k].bytes, out.steps[k].fails = len(e.Text), e.Error
			}
		}
	}
	if len(out.steps) > 0 {
		d[agent] = append(d[agent], out)
	}
	return nil
}

// Enough is the evidence that is asked for where there are recorded sessions only: half of them have to do.
var Enough = baseline.Evidence{Sessions: 20, Calls: 100, Days: 2}

// Trials divide the sessions of each agent by chance: one half is learned and the other judged, and then the other way round. Of
// the agents in few there is not enough.
func (d Recorded) Trials(seed uint64) (out []Trial, few []string) {
	for _, agent := range sorted(d) {
		list := slices.Clone(d[agent])
		r := chance(seed, agent, "halves")
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		halves := [][]session{list[:len(list)/2], list[len(list)/2:]}
		if slices.ContainsFunc(halves, func(s []session) bool { return int64(len(s)) < Enough.Sessions || int64(calls(s)) < Enough.Calls }) {
			few = append(few, agent)
			continue
		}
		for i := range halves {
			day := 0
			before := placed(seed, halves[i], &day)
			out = append(out, Trial{seed: seed + uint64(i), agent: agent, before: before, after: placed(seed, halves[1-i], &day)})
		}
	}
	for i := range out {
		for k := range out {
			if k != i && out[k].agent != out[i].agent {
				out[i].others = append(out[i].others, out[k].before...)
			}
		}
	}
	return out, few
}

// placed lets sessions happen from a day on, eight on a day, with pauses as people and models make them.
func placed(seed uint64, sessions []session, day *int) (out []session) {
	for i, s := range sessions {
		r := chance(seed, s.agent, s.id, "when")
		s = s.copied()
		s.id = fmt.Sprintf("%s-%d", s.id, i)
		s.at = monday.AddDate(0, 0, *day+i/8).Add(time.Duration(8*60+i%8*60+r.IntN(50)) * time.Minute)
		for k := range s.steps {
			s.steps[k].after = pause(r, 6*time.Second)
		}
		out = append(out, s)
	}
	*day += len(sessions)/8 + 1
	slices.SortStableFunc(out, func(a, b session) int { return a.at.Compare(b.at) })
	return out
}

// Own finds out, for each agent, how often somebody would have been asked about honest calls in a history, had a baseline been
// learned from every other day of it: once from the even days, for the odd ones, and once the other way round.
func Own(h baseline.History, m Method) (map[string]Honest, error) {
	out := map[string]Honest{}
	for odd := range int64(2) {
		w, err := m.Learn(daysOf(h, odd))
		if err != nil {
			return nil, err
		}
		o, err := look(w(), h, nil, func(e event.Event) bool { return dayOf(e)%2 != odd })
		if err != nil {
			return nil, err
		}
		for agent, found := range o.honest {
			sum := out[agent]
			sum.plus(found)
			out[agent] = sum
		}
	}
	return out, nil
}

func dayOf(e event.Event) int64 { return int64(e.At) / int64(24*time.Hour) }

// daysOf are the even or the odd days of a history.
func daysOf(h baseline.History, odd int64) baseline.History {
	return func(from uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for e, err := range h(from) {
				if (err != nil || dayOf(e)%2 == odd) && !yield(e, err) {
					return
				}
			}
		}
	}
}
