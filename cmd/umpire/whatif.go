package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// newDenials is the value of --fail-on.
const newDenials = "new-denials"

// whatIf is replay --policy: what to judge by, and what to report.
type whatIf struct {
	files    []string
	filter   filter // since is used
	sessions []string
	all      bool
	failOn   string
	gate     bool // --fail-on was given, if only with an empty variable
}

func (w *whatIf) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&w.files, "policy", nil, "policy `FILE` that is tried")
	f.StringVar(&w.filter.since, "since", "", "with --policy: report only calls of this `DURATION` before now: 90s, 10m, 24h, 30d")
	f.BoolVar(&w.all, "all", false, "with --policy: report also what would not change")
	f.StringVar(&w.failOn, "fail-on", "", "with --policy: `new-denials` makes the exit status 1 if a call that passed would be denied")
}

// given returns the first thing on the command line that is for --policy only.
func (w *whatIf) given(cmd *cobra.Command, sessions []string) string {
	for _, name := range []string{"policy", "since", "all", "fail-on"} {
		if cmd.Flags().Changed(name) {
			return "--" + name
		}
	}
	if len(sessions) > 0 {
		return "SESSION"
	}
	return ""
}

// reporter prints judgements, one after the other, and at last their totals.
type reporter interface {
	judgement(j replay.Judgement) error
	totals(t replay.Totals) error
}

func (a *app) whatIf(w whatIf, asJSON bool) error {
	if w.gate && w.failOn != newDenials {
		return usageError{fmt.Errorf("--fail-on %q: want %s", w.failOn, newDenials)}
	}
	if err := w.filter.prepare(time.Now()); err != nil {
		return err
	}
	candidate, _, err := a.compile(w.files)
	if err != nil {
		return err
	}
	var out reporter = &whatIfText{p: view.New(a.stdout), now: time.Now(), policy: candidate}
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
	var totals replay.Totals
	err = replayed(r, func(events replay.History, pruned event.Time) error {
		for j, err := range replay.WhatIf(events, pruned, candidate) {
			if err != nil {
				return err
			}
			if j.Call.At < w.filter.from || len(w.sessions) > 0 && !slices.Contains(w.sessions, j.Call.Session) {
				continue
			}
			totals.Add(j)
			if w.all || j.Changed() {
				if err := out.judgement(j); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		err = out.totals(totals)
	}
	if err == nil && w.gate && totals.Denials > 0 {
		err = fmt.Errorf("%d %s that passed would be denied (--fail-on %s)", totals.Denials, plural(totals.Denials, "call", "calls"), newDenials)
	}
	return err
}

// whatIfText prints for people.
type whatIfText struct {
	p      *view.Printer
	now    time.Time
	policy *rules.Policy
}

func (w *whatIfText) judgement(j replay.Judgement) error {
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

func (w *whatIfText) totals(t replay.Totals) error {
	p := w.p
	p.Line(fmt.Sprintf("%d %s judged by policy %.12s (%s), each against the history that happened:", t.Calls, plural(t.Calls, "call", "calls"),
		w.policy.Digest(), view.Text(strings.Join(files(w.policy), ", "), 100)))
	p.Line(fmt.Sprintf("%7d as before", t.Same))
	looser := false
	for _, c := range sums(t.Changes) {
		p.Line(fmt.Sprintf("%7d %s %s, would be %s: %s", c.calls, plural(c.calls, "was", "were"), done(c.From), done(c.To), c.rules))
		looser = looser || c.From == event.Deny
	}
	for _, c := range sums(t.Observed) {
		p.Line(fmt.Sprintf("%7d would be %s, but %s if enforced: %s", c.calls, done(c.From), done(c.To), c.rules))
	}
	if t.Incomplete > 0 {
		p.Line(fmt.Sprintf("%d of them %s on history that retention has removed; judged by what is left of it.", t.Incomplete, plural(t.Incomplete, "depends", "depend")))
	}
	if w.policy.Horizon() > 0 && t.Denials > 0 {
		p.Line("Live, fewer might be denied: a call that would be denied still counts here, since it passed then.")
	}
	if w.policy.Horizon() > 0 && looser {
		p.Line("Live, fewer might pass: a call that was denied does not count here, since it never reached its server.")
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

// whatIfJSON prints for programs: one call a line, and the totals last.
type whatIfJSON struct {
	out    io.Writer
	policy *rules.Policy
}

func (w *whatIfJSON) line(v any) error {
	enc := json.NewEncoder(w.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (w *whatIfJSON) judgement(j replay.Judgement) error {
	call := j.Call.Body.(*event.Call)
	return w.line(struct {
		Call       uint64        `json:"call"`
		At         event.Time    `json:"at"`
		Session    string        `json:"session"`
		Server     string        `json:"server"`
		Tool       string        `json:"tool"`
		Recorded   event.Verdict `json:"recorded"`
		Candidate  event.Verdict `json:"candidate"`
		NewDenial  bool          `json:"new_denial"`
		Incomplete bool          `json:"incomplete,omitempty"`
	}{j.Call.Seq, j.Call.At, j.Call.Session, call.Server, call.Tool, j.Recorded, j.Replayed, j.NewDenial(), j.Incomplete})
}

func (w *whatIfJSON) totals(t replay.Totals) error {
	type change struct {
		From  event.Action `json:"from"`
		To    event.Action `json:"to"`
		Rule  string       `json:"rule,omitempty"`
		Calls int          `json:"calls"`
	}
	list := func(changes map[replay.Change]int) []change {
		out := []change{}
		for _, c := range ordered(changes) {
			out = append(out, change{c.From, c.To, c.Rule, changes[c]})
		}
		return out
	}
	type totals struct {
		Policy     string   `json:"policy"`
		Files      []string `json:"files"`
		Against    string   `json:"judged_against"`
		Calls      int      `json:"calls"`
		Same       int      `json:"same"`
		NewDenials int      `json:"new_denials"`
		Incomplete int      `json:"incomplete"`
		Changes    []change `json:"changes"`
		Observed   []change `json:"if_enforced"`
	}
	return w.line(map[string]totals{"totals": {
		w.policy.Digest(), files(w.policy), "the history that happened", t.Calls, t.Same, t.Denials, t.Incomplete, list(t.Changes), list(t.Observed),
	}})
}
