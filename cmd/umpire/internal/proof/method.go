package proof

import (
	"cmp"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// Method is a way of telling strange calls from honest ones.
type Method struct {
	Name string
	// Learn learns what is honest, and returns what makes a watch over what comes next. Everything in the history is honest.
	Learn func(baseline.History) (func() Watch, error)
}

// Watch sees what happens, in order. Every call of which it says that it is strange is one about which a person is asked.
type Watch interface {
	// Call reports whether the call in e is strange, and whether there was anything to compare it with.
	Call(e event.Event) (strange, compared bool)
	// Pass is told the verdict with which a call passes; a person has approved it if it says so.
	Pass(call, verdict event.Event)
	Result(e event.Event)
}

// Level is the score from which on a person is asked by default: stranger than 999 of 1000 honest calls.
var Level = baseline.BitsOf(baseline.Billion / 1000)

// Umpire is the baseline: a call is strange from the level on.
func Umpire(level baseline.Bits, enough baseline.Evidence) Method {
	return Method{Name: "umpire", Learn: func(h baseline.History) (func() Watch, error) {
		b, err := baseline.Learn(h, baseline.Learning{Enough: enough})
		if err != nil {
			return nil, err
		}
		text, err := b.Encode()
		if err != nil {
			return nil, err
		}
		read, err := baseline.Parse(text)
		return func() Watch { return &scored{watch: watching(text, read), level: level} }, err
	}}
}

// watching returns a watch under the baseline that was read from a file.
func watching(file []byte, read *baseline.Baseline) *baseline.Watch {
	w := baseline.NewWatch(func(string, string) []string { return nil })
	w.Promote(file, read)
	return w
}

type scored struct {
	watch *baseline.Watch
	level baseline.Bits
}

// Call implements Watch.
func (s *scored) Call(e event.Event) (strange, compared bool) {
	score := s.watch.Score(e)
	return score.Of != nil && score.Bits >= s.level, score.Of != nil
}

// Pass implements Watch.
func (s *scored) Pass(call, verdict event.Event) { s.watch.Pass(call, verdict) }

// Result implements Watch.
func (s *scored) Result(e event.Event) { s.watch.Result(e, e.Body.(*event.Result)) }

// Peers are the simpler methods. The thresholds of the first were set by somebody who has no history to learn from.
func Peers() []Method {
	return []Method{
		peer("fixed thresholds", nil),
		peer("z > 2.5", zScore),
		peer("IQR × 1.5", interquartile),
		peer("p99 × 1.5", percentile),
		{Name: "unseen transition", Learn: transitions},
	}
}

// outcome is what a method made of a history.
type outcome struct {
	honest map[string]Honest // by agent
	found  bool
	calls  int // strange ones until the first that was found, that included
}

// look lets a history happen under a watch. A person approves what is honest and was asked about; the first strange call that is
// found ends it. Calls are counted of which counts says so, if they passed and no rule had anything to say about them.
func look(w Watch, h baseline.History, strange map[uint64]bool, counts func(event.Event) bool) (o outcome, err error) {
	o.honest = map[string]Honest{}
	sessions := map[[2]string]bool{} // of agents: whether there was an alarm
	held := map[uint64]event.Event{}
	var judging event.Event
	asked, compared := false, false
	for e, err := range h(1) {
		if err != nil {
			return o, err
		}
		switch b := e.Body.(type) {
		case *event.Call:
			if judging = e; b.Seen {
				judging = event.Event{}
				break
			}
			asked, compared = w.Call(e)
			if strange[e.Seq] {
				if o.calls++; asked {
					o.found = true
					return o, nil
				}
			}
		case *event.Verdict:
			call, v := judging, *b
			judging = event.Event{}
			if b.After != 0 {
				call = held[e.Cause]
				delete(held, e.Cause)
				if call.Body != nil {
					asked, compared = w.Call(call)
				}
			}
			switch {
			case call.Body == nil || call.Seq != e.Cause:
				continue
			case b.Action == event.Hold:
				held[call.Seq] = call
				continue
			case !b.Action.Passes():
				continue
			}
			if b.After == 0 && b.Action == event.Allow && len(b.Also) == 0 && !strange[call.Seq] && counts(call) {
				agent := call.Body.(*event.Call).Agent
				h := o.honest[agent]
				if compared {
					s := [2]string{agent, call.Session}
					sessions[s] = sessions[s] || asked
					h.Calls.add(asked)
				} else {
					h.Unknown++
				}
				o.honest[agent] = h
			}
			if asked {
				v.Action, v.After = event.Allow, cmp.Or(v.After, 1)
				e.Body = &v
			}
			w.Pass(call, e)
		case *event.Result:
			w.Result(e)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	for s, alarmed := range sessions {
		h := o.honest[s[0]]
		h.Sessions.add(alarmed)
		o.honest[s[0]] = h
	}
	return o, nil
}
