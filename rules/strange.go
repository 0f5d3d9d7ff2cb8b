package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// strangeSpec is what baseline: says. One of the two is set.
type strangeSpec struct {
	share  int64 // honest calls that have to be less strange, in billionths …
	text   string
	alerts int // … or how many honest calls of an agent may be stranger than that …
	per    time.Duration
}

// The bounds of an alert budget.
const (
	minBudget = time.Hour
	maxBudget = 90 * 24 * time.Hour
	maxAlerts = 100
)

func (c *compiler) strange(n document.Node) *strangeSpec {
	s := &strangeSpec{}
	has := map[string]bool{}
	for _, f := range n.Fields("stranger_than", "alerts", "per") {
		has[f.Name] = true
		switch f.Name {
		case "stranger_than":
			s.text = f.Value.Number()
			share, ok := Share(s.text)
			if s.share = share; s.text != "" && !ok {
				f.Value.Fail("stranger_than: 0.999 is stranger than 999 of 1000 honest calls", "want a share from 0.5 to 0.999999999, not %s", s.text)
			}
		case "alerts":
			s.alerts = f.Value.Int(1, maxAlerts)
		case "per":
			s.per = f.Value.Duration(minBudget, maxBudget)
		}
	}
	switch {
	case has["stranger_than"] && (has["alerts"] || has["per"]):
		n.Fail("the one gives the threshold, the other what it may cost", "stranger_than and alerts")
	case !has["stranger_than"] && (!has["alerts"] || !has["per"]):
		n.Fail("baseline: {stranger_than: 0.999}, or {alerts: 1, per: 7d} for so many honest calls of an agent", "want stranger_than, or alerts and per")
	}
	return s
}

// Share reads a share from a half up to a whole, in billionths and exactly.
func Share(text string) (share int64, ok bool) {
	d, _, err := apd.NewFromString(text)
	if err != nil || d.Form != apd.Finite || d.Exponent < -9 || d.Exponent > 0 {
		return 0, false
	}
	d.Exponent += 9
	share, err = d.Int64()
	return share, err == nil && share >= baseline.Billion/2 && share < baseline.Billion
}

// threshold returns what is too strange, and that in words.
func (s *strangeSpec) threshold(of *baseline.Agent) (baseline.Bits, string) {
	if s.alerts == 0 {
		return baseline.BitsOf(baseline.Billion - s.share), s.text
	}
	b := of.Score.Budget(s.alerts, s.per)
	return b, fmt.Sprintf("%s, %d of them in %s", baseline.ShareText(baseline.Billion-b.Share()), s.alerts, document.FormatDuration(s.per))
}

// judgeStrange asks whether a call is too strange. Where there is nothing to compare it with, it is.
func (s *State) judgeStrange(r *rule, e event.Event) finding {
	score := s.habits.Score(e)
	if score.Of == nil {
		return finding{fires: true, why: baseline.Untold + score.Why, hint: "umpire baseline learn, and promote"}
	}
	limit, words := r.strange.threshold(score.Of)
	if score.Bits < limit {
		return finding{}
	}
	f := finding{fires: true, hint: "do it as it is usually done, or let a person decide"}
	var why strings.Builder
	fmt.Fprintf(&why, "stranger than %s of honest calls (limit %s; learned from %d of %s)", baseline.ShareText(score.Share()), words, score.Of.Score.Calls, clip(score.Of.Name))
	s.reasons(&f, &why, e, s.habits.Explain(e, &score))
	if score.Why != "" {
		why.WriteString("; compared with others, since " + score.Why)
	}
	f.why = why.String()
	return f
}

// compare adds to the reason of a condition that asks how strange a call is what is: by the signals that it names, if it names some.
func (s *State) compare(f *finding, r *rule, e event.Event) {
	score := s.habits.Score(e)
	list := s.habits.Explain(e, &score)
	condition := r.where.String()
	named := func(d baseline.Deviation) bool { return strings.Contains(condition, "baseline."+d.Signal.String()) }
	if slices.ContainsFunc(list, named) {
		list = slices.DeleteFunc(list, func(d baseline.Deviation) bool { return !named(d) })
	}
	var why strings.Builder
	why.WriteString(f.why)
	s.reasons(f, &why, e, list)
	f.why = why.String()
}

// reasons adds the strangest of what is strange to a reason, and where values stand that came from elsewhere than usual.
func (s *State) reasons(f *finding, why *strings.Builder, e event.Event, list []baseline.Deviation) {
	for i, d := range list {
		if i == maxReasons {
			break
		}
		why.WriteString("; " + d.Text)
		if d.Source.Seq != 0 && !slices.Contains(f.evidence, d.Source.Seq) {
			f.evidence = append(f.evidence, d.Source.Seq)
			f.origins = append(f.origins, s.standsAt(e, &d))
		}
	}
	slices.Sort(f.evidence)
}

// standsAt says where a value stands that came from elsewhere than usual.
func (s *State) standsAt(e event.Event, d *baseline.Deviation) event.Origin {
	o := event.Origin{Path: s.view.call.Leaf("args", d.Value), Seq: d.Source.Seq}
	o.From, o.To = s.trails.peek(e).Locate(d.Source, d.Value)
	return o
}

// maxReasons bounds how many reasons a sentence has.
const maxReasons = 3

// asksBaseline reports whether r asks how strange calls are.
func (r *rule) asksBaseline() bool {
	return r.strange != nil || r.where != nil && r.where.AsksBaseline() || r.steps != nil && r.steps.last != nil && r.steps.last.AsksBaseline()
}

// Baseline returns the baseline in force; nil if there is none, or no rule asks for it.
func (s *State) Baseline() *baseline.Baseline {
	if s.habits == nil {
		return nil
	}
	return s.habits.Live()
}

// AsksBaseline reports whether a rule asks how strange calls are.
func (p *Policy) AsksBaseline() bool { return p.habits }

// Drift says that the agent whose call has passed last has changed as a whole; empty if it has not, or if no rule asks how strange
// calls are.
func (s *State) Drift() string {
	if s.habits == nil {
		return ""
	}
	return s.habits.Drift()
}

// pass adds the call that passes with the verdict in e to what agents do.
func (s *State) pass(e event.Event, v *event.Verdict) {
	call := s.judging
	if v.After != 0 {
		call = s.held[e.Cause].call
	}
	if v.Action.Passes() && call.Body != nil && call.Seq == e.Cause {
		s.habits.Pass(call, e)
	}
}

// compared is the call in an event as the baseline in force sees it.
type compared struct {
	habits *baseline.Watch
	call   event.Event
}

// Score implements expr.Baseline.
func (c compared) Score(signal string) (int64, error) {
	s := c.habits.Score(c.call)
	if s.Of == nil {
		return 0, errors.New(baseline.Untold + s.Why)
	}
	if signal == "" {
		return s.Share(), nil
	}
	return s.ShareBy(signal), nil
}

// Distinct implements expr.Baseline.
func (c compared) Distinct(path string) int64 { return c.habits.Distinct(c.call, path) }

// Calls implements expr.Baseline.
func (c compared) Calls(span string) (int64, error) { return c.habits.Calls(c.call, span) }

var _ expr.Baseline = compared{}
