package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// whatIf is replay --policy: what to judge by, what to report, and what to make of it.
type whatIf struct {
	files    []string
	filter   filter // all but verdict is used
	agent    string
	sessions []string
	all      bool
	examples int
	stories  int
	failOn   string
	most     string // false alarms
	limits   limits
}

func (w *whatIf) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&w.files, "policy", nil, "policy `FILE` that is tried")
	w.filter.flags(cmd)
	f.StringVar(&w.agent, "agent", "", "only calls of this `AGENT`")
	f.BoolVar(&w.all, "all", false, "with --policy: print every call, also what would not change")
	f.IntVar(&w.examples, "examples", 3, "with --policy: print the first `N` calls of each change; -1 is all")
	f.IntVar(&w.stories, "failures", 0, "with --policy: tell what led to `N` calls that were in order and would be stopped")
	f.StringVar(&w.failOn, "fail-on", "", "with --policy: exit with 3 on `WHAT`: new-denials (a call that passed would be denied), stricter, looser or any")
	f.StringVar(&w.most, "max-false-alarms", "", "with --policy: exit with 3 if more than `1%` of the calls that were in order would be stopped")
}

// given returns the first thing on the command line that is for --policy only.
func (w *whatIf) given(cmd *cobra.Command, sessions []string) string {
	for _, name := range []string{"policy", "since", "session", "server", "tool", "agent", "all", "examples", "failures", "fail-on", "max-false-alarms"} {
		if cmd.Flags().Changed(name) {
			return "--" + name
		}
	}
	if len(sessions) > 0 {
		return "SESSION"
	}
	return ""
}

// prepare checks the flags.
func (w *whatIf) prepare(cmd *cobra.Command, sessions []string, now time.Time) (err error) {
	w.sessions = sessions
	if w.filter.session != "" {
		w.sessions = append(slices.Clone(sessions), w.filter.session)
		w.filter.session = ""
	}
	if w.limits, err = limitsOf(w.failOn, w.most, cmd.Flags().Changed); err != nil {
		return usageError{err}
	}
	if w.all || w.examples < 0 {
		w.examples = math.MaxInt
	}
	return w.filter.prepare(now)
}

// about reports whether a call is one of those that are asked about.
func (w *whatIf) about(call event.Event) bool {
	return w.filter.about(call) && (len(w.sessions) == 0 || slices.Contains(w.sessions, call.Session)) &&
		(w.agent == "" || call.Body.(*event.Call).Agent == w.agent)
}

// reporter prints judgements, one after the other, and at last what they come to.
type reporter interface {
	judgement(j replay.Judgement) error
	totals(i *replay.Impact) error
}

func (a *app) whatIf(w whatIf, asJSON bool) error {
	candidate, _, err := a.compile(w.files)
	if err != nil {
		return err
	}
	var out reporter = &whatIfText{p: view.New(a.stdout), now: time.Now(), policy: candidate, most: w.examples, printed: map[replay.Change]int{}}
	if asJSON {
		out = &whatIfJSON{out: a.stdout, policy: candidate}
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	if w.sessions, err = sessionsNamed(r, w.sessions); err != nil {
		return err
	}
	impact := replay.Impact{Keep: w.stories}
	if err := lasting(r, func(pruned store.Pruned) error { return w.judge(r, pruned, candidate, &impact, out) }); err != nil {
		return err
	}
	if !asJSON {
		if err := stories(view.New(a.stdout), r, impact.FalseAlarms); err != nil {
			return err
		}
	}
	if err := out.totals(&impact); err != nil {
		return err
	}
	return w.limits.check(&impact)
}

// judge judges the history again, and checks that it is whole.
func (w *whatIf) judge(r history.Reader, pruned store.Pruned, candidate *rules.Policy, impact *replay.Impact, out reporter) error {
	trial := replay.NewTrial(replay.History(again(r)), pruned.At, candidate)
	chain := store.Chain{Pruned: pruned}
	for e, err := range history.EventsWith(r, 1, reads(candidate)) {
		if err == nil {
			err = chain.Add(e)
		}
		if err != nil {
			return err
		}
		j, judged, err := trial.Add(e)
		if err != nil {
			return err
		}
		impact.Happened(e)
		if !judged || !w.about(j.Call) {
			continue
		}
		var amounts []rules.Amount
		if j.Replayed.Action != j.Recorded.Action {
			amounts = trial.Amounts(j)
		}
		impact.Judge(j, amounts)
		if w.all || j.Changed() {
			if err := out.judgement(j); err != nil {
				return err
			}
		}
	}
	return nil
}

// reads returns what reads texts ahead for a policy that asks where values came from.
func reads(p *rules.Policy) func(*event.Event) {
	return func(e *event.Event) {
		switch b := e.Body.(type) { // a copy is read: what is recorded stays as it is
		case *event.Result:
			c := *b
			e.Read = p.Read(&c)
		case *event.Turn:
			c := *b
			e.Read = p.Read(&c)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Closed:
		}
	}
}

// limits are what a candidate must not do.
type limits struct {
	failOn string
	most   float64 // false alarms, in percent of the calls that were in order; negative if anything goes
}

// limitError says that a limit is exceeded that the user has set.
type limitError struct{ error }

func limitsOf(failOn, most string, given func(flag string) bool) (l limits, err error) {
	l = limits{failOn: failOn, most: -1}
	if known := []string{"new-denials", "stricter", "looser", "any"}; given("fail-on") && !slices.Contains(known, failOn) {
		return l, fmt.Errorf("--fail-on %q: want new-denials, stricter, looser or any", failOn)
	}
	if !given("max-false-alarms") {
		return l, nil
	}
	text, ok := strings.CutSuffix(most, "%")
	if l.most, err = strconv.ParseFloat(text, 64); !ok || err != nil || !(l.most >= 0 && l.most <= 100) {
		return l, fmt.Errorf("--max-false-alarms %q: want a share from 0%% to 100%%, such as 0.5%%", most)
	}
	return l, nil
}

// check returns a limitError if a limit is exceeded.
func (l limits) check(i *replay.Impact) error {
	n, what := map[string]int{
		"new-denials": i.Denials, "stricter": i.Stricter, "looser": i.Looser, "any": i.Stricter + i.Looser,
	}[l.failOn], map[string]string{
		"new-denials": "that passed would be denied", "stricter": "would be treated more strictly", "looser": "would be treated less strictly",
		"any": "would be treated otherwise",
	}[l.failOn]
	if n > 0 {
		return limitError{fmt.Errorf("%d %s %s (--fail-on %s)", n, plural(n, "call", "calls"), what, l.failOn)}
	}
	if l.most < 0 || i.Stopped.Calls == 0 {
		return nil
	}
	if i.Honest == 0 {
		return limitError{errors.New("no call is known to have been in order, so --max-false-alarms cannot be checked, and calls would be stopped")}
	}
	if hurt := (corpus.Share{N: i.Stopped.Honest(), Of: i.Honest}); hurt.Percent() > l.most {
		return limitError{fmt.Errorf("%s of the calls that were in order would be stopped (--max-false-alarms %s%%)", withInterval(hurt), strconv.FormatFloat(l.most, 'f', -1, 64))}
	}
	return nil
}
