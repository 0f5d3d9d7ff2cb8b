package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// whatIfText prints for people: some calls of each change as they come, and what all of them come to.
type whatIfText struct {
	p       *view.Printer
	now     time.Time
	policy  *rules.Policy
	most    int // calls of each change that are printed
	printed map[replay.Change]int
	more    int // calls that are not printed
}

func (w *whatIfText) judgement(j replay.Judgement) error {
	g := replay.Change{From: j.Recorded.Action, To: j.Replayed.Action, Rule: cmp.Or(j.Replayed.Rule, j.Recorded.Rule)}
	if w.printed[g]++; w.printed[g] > w.most {
		w.more++
		return nil
	}
	call := j.Call.Body.(*event.Call)
	then, now := decided(j.Recorded.Action, j.Recorded.Rule), decided(j.Replayed.Action, j.Replayed.Rule)
	change := "was " + then + " -> would be " + now
	if then == now {
		change = "stays " + now
	}
	why := j.Replayed.Why
	if m, ok := j.IfEnforced(); ok {
		change, why = change+" (would be "+decided(m.Action, m.Rule)+", if enforced)", m.Why
	}
	parts := []string{view.Ref(j.Call.Seq), view.Time(j.Call.At, w.now), j.Call.Session, view.Text(call.Server+"/"+call.Tool, 80), change + ":", view.Text(why, 200)}
	if j.Incomplete {
		parts = append(parts, "(judged by what retention has left)")
	}
	w.p.Line(parts...)
	return w.p.Err()
}

// decided formats who did what: "denied by refund-burst".
func decided(a event.Action, rule string) string {
	if rule == "" {
		return done(a)
	}
	return done(a) + " by " + view.Text(rule, 60)
}

// done is what becomes of a call.
func done(a event.Action) string {
	switch a {
	case event.Allow:
		return "allowed"
	case event.Log:
		return "noted"
	case event.Hold:
		return "held"
	case event.Deny:
		return "denied"
	}
	return a.String()
}

func (w *whatIfText) totals(i *replay.Impact) error {
	p := w.p
	if w.more > 0 {
		p.Line(fmt.Sprintf("… and %d more that would change (--examples -1 prints all)", w.more))
	}
	p.Line(fmt.Sprintf("%d %s judged by policy %.12s (%s), each against the history that happened:", i.Calls, plural(i.Calls, "call", "calls"),
		w.policy.Digest(), view.Text(strings.Join(files(w.policy), ", "), 100)))
	p.Line(fmt.Sprintf("%7d as before", i.Same))
	looser := false
	for _, c := range sums(i.Changes) {
		p.Line(fmt.Sprintf("%7d %s %s, would be %s: %s", c.calls, plural(c.calls, "was", "were"), done(c.From), done(c.To), c.rules))
		looser = looser || c.From == event.Deny
	}
	for _, c := range sums(i.Observed) {
		p.Line(fmt.Sprintf("%7d would be %s, but %s if enforced: %s", c.calls, done(c.From), done(c.To), c.rules))
	}
	if len(i.Groups) > 0 {
		w.groups(i)
	}
	w.estimate(i)
	if i.Incomplete > 0 {
		p.Line(fmt.Sprintf("%d of them %s on history that retention has removed; judged by what is left of it.", i.Incomplete, plural(i.Incomplete, "depends", "depend")))
	}
	if w.policy.Horizon() > 0 && i.Denials > 0 {
		line := "Live, fewer might be denied: a call that would be denied still counts here, since it passed then."
		if i.Leaning > 0 {
			line += fmt.Sprintf(" That is why %d of them would be stopped.", i.Leaning)
		}
		p.Line(line)
	}
	if w.policy.Horizon() > 0 && looser {
		p.Line("Live, fewer might pass: a call that was denied does not count here, since it never reached its server.")
	}
	return p.Err()
}

// shownGroups and shownSessions bound what is printed; --json has all.
const (
	shownGroups   = 30
	shownSessions = 5
)

// groups prints what changes by rule and tool.
func (w *whatIfText) groups(i *replay.Impact) {
	rows := [][]string{{"CHANGE", "RULE", "TOOL", "CALLS", "SESSIONS", "IN ORDER", "SUM"}}
	list := grouped(i.Groups)
	for _, g := range list[:min(len(list), shownGroups)] {
		s := i.Groups[g]
		honest := "-"
		if s.Stopped.Calls > 0 {
			honest = fmt.Sprint(s.Stopped.Honest())
		}
		rows = append(rows, []string{
			g.From.String() + " -> " + g.To.String(), cmp.Or(view.Text(g.Rule, 60), "-"), view.Text(toolOf(g), 80),
			fmt.Sprint(s.Calls), fmt.Sprint(len(s.Sessions)), honest, view.Text(amounts(s), 80),
		})
	}
	w.p.Table(rows)
	if more := len(list) - shownGroups; more > 0 {
		w.p.Line(fmt.Sprintf("… and %d more (--json has all)", more))
	}
}

// grouped returns the groups in the order of their changes, within each those with the most calls first.
func grouped(groups map[replay.Group]*replay.Sum) []replay.Group {
	return slices.SortedFunc(maps.Keys(groups), func(x, y replay.Group) int {
		return cmp.Or(cmp.Compare(x.To, y.To), cmp.Compare(x.From, y.From), cmp.Compare(groups[y].Calls, groups[x].Calls),
			cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Server, y.Server), cmp.Compare(x.Tool, y.Tool))
	})
}

// toolOf names the tool of a group.
func toolOf(g replay.Group) string {
	if g.Tool == "" {
		return "other tools"
	}
	return g.Server + "/" + g.Tool
}

// amounts formats what rules sum of the calls of a group.
func amounts(s *replay.Sum) string {
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(s.Amounts)) {
		parts = append(parts, path+" "+rules.FormatAmount(s.Amounts[path]))
	}
	return strings.Join(parts, ", ")
}

// estimate prints who would be hurt: how many of the calls that would be stopped were in order, as far as anybody can tell.
func (w *whatIfText) estimate(i *replay.Impact) {
	p := w.p
	if hit := i.Hit(); len(hit) > 0 {
		var most []string
		for _, id := range hit[:min(len(hit), shownSessions)] {
			most = append(most, fmt.Sprintf("%s %d", id, i.Sessions[id]))
		}
		more := ""
		if len(hit) > shownSessions {
			more = ", …"
		}
		p.Line(fmt.Sprintf("%d of %d %s would have calls stopped: %s%s", len(hit), len(i.Sessions), plural(len(i.Sessions), "session", "sessions"), strings.Join(most, ", "), more))
	}
	if s := i.Stopped; s.Calls > 0 {
		p.Line(fmt.Sprintf("False alarms, as far as is known: %s of what would be stopped was in order: %d approved by a person, %d that succeeded and no rule noted.",
			withInterval(corpus.Share{N: s.Honest(), Of: s.Known()}), s.Approved, s.Succeeded))
		if s.Calls > s.Honest() {
			p.Line(fmt.Sprintf("  Of the rest %d succeeded and were noted, %d failed, and of %d it is not known what became of them.", s.Noted, s.Failed, s.Unknown))
		}
		p.Line("  Of all that was in order, it is " + withInterval(corpus.Share{N: s.Honest(), Of: i.Honest}) + ".")
	}
	if r := i.Released; r.Calls > 0 {
		p.Line(fmt.Sprintf("%d %s that did not pass would pass: %d denied by a rule, %d by a person, %d held and not decided.", r.Calls, plural(r.Calls, "call", "calls"), r.Denied, r.Refused, r.Undecided))
	}
}

// withInterval formats "5 of 20 (25.0 %; 95 %: 11.2–46.9)".
func withInterval(s corpus.Share) string {
	if s.Of == 0 {
		return "0 of 0"
	}
	return fmt.Sprintf("%d of %d (%.1f %%; 95 %%: %s)", s.N, s.Of, s.Percent(), interval(s))
}

// stories tells what led to calls that were in order and would be stopped.
func stories(p *view.Printer, r history.Reader, list []replay.Judgement) error {
	const before = 8
	for _, j := range list {
		var told []event.Event
		for e, err := range history.Events(r, max(j.Call.Seq, near)-near+1) {
			if err != nil {
				return err
			}
			if e.Seq > j.Call.Seq+near {
				break
			}
			if e.Session != j.Call.Session {
				continue
			}
			if told = append(told, e); e.Seq < j.Call.Seq && len(told) > before {
				told = told[1:]
			}
			if _, ok := e.Body.(*event.Result); ok && e.Cause == j.Call.Seq {
				break
			}
			if len(told) > 3*before {
				break
			}
		}
		p.Line(fmt.Sprintf("session %s: %s was in order, and would be %s: %s", j.Call.Session, view.Ref(j.Call.Seq),
			decided(j.Replayed.Action, j.Replayed.Rule), view.Text(j.Replayed.Why, 200)))
		t := view.Timeline{Printer: p, Now: time.Now()}
		for _, e := range told {
			t.Event(e)
		}
		p.Line()
	}
	return p.Err()
}

// files returns the names of the files of a policy.
func files(p *rules.Policy) (out []string) {
	for _, s := range p.Loaded().Sources {
		out = append(out, s.Name)
	}
	return out
}

// sum is the calls with one change of action, whatever the rule.
type sum struct {
	replay.Change
	calls int
	rules string // "refund-once 2, refund-total 1"
}

// sums adds up what has the same change of action: new denials first, and within each the rule with the most calls.
func sums(changes map[replay.Change]int) (out []sum) {
	for _, c := range ordered(changes) {
		if last := len(out) - 1; last < 0 || out[last].From != c.From || out[last].To != c.To {
			out = append(out, sum{Change: c})
		} else {
			out[last].rules += ", "
		}
		s := &out[len(out)-1]
		s.calls += changes[c]
		s.rules += fmt.Sprintf("%s %d", cmp.Or(view.Text(c.Rule, 60), "no rule"), changes[c])
	}
	return out
}

func ordered(changes map[replay.Change]int) []replay.Change {
	return slices.SortedFunc(maps.Keys(changes), func(x, y replay.Change) int {
		return cmp.Or(cmp.Compare(x.To, y.To), cmp.Compare(x.From, y.From), cmp.Compare(changes[y], changes[x]), cmp.Compare(x.Rule, y.Rule))
	})
}
