package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/suggest"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// suggestion is what is asked of umpire suggest.
type suggestion struct {
	filter filter // since is used
	agent  string
	policy string
	strict bool
	enough suggest.Support
}

func (a *app) suggest() *cobra.Command {
	s := suggestion{enough: suggest.Enough}
	cmd := &cobra.Command{
		Use:   "suggest",
		Short: "Write a policy that would have let pass what passed",
		Long: "Suggest reads the history and writes rules that hold what is unlike it: which tools each agent calls, what their\n" +
			"arguments look like, how many calls there are in 10 seconds and in a day, and what always comes before what. A comment says\n" +
			"what supports each rule. What was denied, held or noted teaches nothing, what a person approved does. The rules are tried\n" +
			"on the same history before they are printed: one that would stop an honest call is left out.\n\n" +
			"With --policy it prints what to add to a policy, as a diff. With --strict rules deny, leave no room above what was, and\n" +
			"speak of what never happened: other agents, and acting tools that never came after another.\n\n" +
			"It allows what was, not what should be: read it before you use it.",
		Example: "  umpire suggest --since 30d > policy.yaml\n  umpire suggest --policy policy.yaml | patch policy.yaml",
		RunE: func(*cobra.Command, []string) error {
			if err := s.filter.prepare(time.Now()); err != nil {
				return err
			}
			return a.writeSuggestion(s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.filter.since, "since", "", "learn only from what happened in this `DURATION` before now: 24h, 30d")
	f.StringVar(&s.agent, "agent", "", "only rules about this `AGENT`, named by its name or the beginning of it")
	f.StringVar(&s.policy, "policy", "", "print what to add to this policy `FILE`, as a diff")
	f.BoolVar(&s.strict, "strict", false, "deny, leave no room, and speak of what never happened")
	f.IntVar(&s.enough.Calls, "min-calls", s.enough.Calls, "calls that a rule has to be supported by")
	f.IntVar(&s.enough.Sessions, "min-sessions", s.enough.Sessions, "sessions that a rule has to be supported by")
	return cmd
}

// maxTries bounds how often a suggestion is tried on the history: each time, rules that it does not support are left out.
const maxTries = 10

func (a *app) writeSuggestion(s suggestion) error {
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	inForce, text, err := a.stands(r, s.policy)
	if err != nil {
		return err
	}
	return lasting(r, func(pruned store.Pruned) error {
		if s.agent != "" {
			if s.agent, err = agentNamed(r, s.agent); err != nil {
				return err
			}
		}
		p := &suggest.Practice{Since: s.filter.from, Agent: s.agent, Effects: func(server, tool string) []string { return inForce.About(server, tool).Effects }}
		p.Trails = inForce.Origins()
		for e, err := range history.Events(r, 1) {
			if err != nil {
				return err
			}
			p.Add(e)
		}
		if p.Calls == 0 {
			return errors.New("the history has no call to learn from: none passed without a note\nhint: umpire sessions; with --past, what umpire import has brought in")
		}
		var taken []string
		if s.policy != "" {
			for _, rule := range inForce.Rules() {
				taken = append(taken, rule.Rule)
			}
		}
		found := p.Rules(s.enough, s.strict)
		found = slices.DeleteFunc(found, func(r suggest.Rule) bool { return slices.Contains(taken, r.Name) })
		found, left, err := supported(r, pruned, found)
		if err != nil {
			return err
		}
		out := suggest.YAML(comments(p, s, left), found)
		if s.policy == "" {
			_, err = a.stdout.Write(out)
			return err
		}
		merged, err := suggest.Merge(text, found)
		if err != nil {
			return fmt.Errorf("%s: %w\nhint: umpire suggest without --policy prints the rules alone", s.policy, err)
		}
		if _, err := rules.Compile([]event.Source{{Name: s.policy, Text: string(merged)}}, config.Env()); err != nil {
			return fmt.Errorf("with what would be added, %s could not be read\nhint: umpire suggest without --policy prints the rules alone: %w", s.policy, err)
		}
		if len(found) == 0 {
			_, err = fmt.Fprintf(a.stderr, "%s has rules of all these names already: nothing is added\n", view.Text(s.policy, 0))
			return err
		}
		_, err = fmt.Fprint(a.stdout, udiff.Unified(s.policy, s.policy, string(text), string(merged)))
		return err
	})
}

// stands returns the policy of a file and its text, or the one that came into force last.
func (a *app) stands(r history.Reader, file string) (*rules.Policy, []byte, error) {
	if file == "" {
		inv, err := inventory.Read(r)
		if err != nil {
			return nil, nil, err
		}
		p, err := rules.Compile(inv.Loaded.Sources, inv.Loaded.Env)
		return p, nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	if isConfig(string(text)) {
		return nil, nil, usageError{fmt.Errorf("%s is a configuration\nhint: name the policy file that its policy: lists", file)}
	}
	p, err := rules.Compile([]event.Source{{Name: file, Text: string(text)}}, config.Env())
	return p, text, err
}

// supported tries rules on the history, and leaves out those that would stop an honest call.
func supported(r history.Reader, pruned store.Pruned, found []suggest.Rule) (good []suggest.Rule, left []string, err error) {
	for range maxTries {
		candidate, err := rules.Compile([]event.Source{{Name: "suggested.yaml", Text: string(suggest.YAML(nil, found))}}, config.Env())
		if err != nil {
			return nil, nil, fmt.Errorf("umpire wrote what it cannot read, which is a mistake of its own: %w", err)
		}
		wrong := map[string]bool{}
		for j, err := range replay.WhatIf(replay.History(again(r)), pruned.At, candidate) {
			if err != nil {
				return nil, nil, err
			}
			if j.Stops() && honest(j) {
				wrong[j.Replayed.Rule] = true
				for _, m := range j.Replayed.Also {
					if !m.Action.Passes() {
						wrong[m.Rule] = true
					}
				}
			}
		}
		if len(wrong) == 0 {
			return found, left, nil
		}
		found = slices.DeleteFunc(found, func(r suggest.Rule) bool {
			if wrong[r.Name] {
				left = append(left, r.Name)
			}
			return wrong[r.Name]
		})
	}
	return nil, nil, errors.New("no rules were found that stop no honest call")
}

// honest reports whether a call passed and no rule had anything to say about it, or a person approved it.
func honest(j replay.Judgement) bool {
	review, ok := j.End.(*event.Review)
	return baseline.Honest(&j.Recorded) || ok && review.Approve
}

// comments are what stands above the rules.
func comments(p *suggest.Practice, s suggestion, left []string) []string {
	out := []string{
		fmt.Sprintf("Written by umpire suggest from %s, %s to %s.", count(p.Calls, "call"), p.From.Time().Format(time.DateOnly), p.To.Time().Format(time.DateOnly)),
	}
	if p.Other > 0 {
		out = append(out, fmt.Sprintf("%s that were denied, held or noted taught nothing.", count(p.Other, "call")))
	}
	out = append(out, "It allows what was, not what should be: read it before you use it.")
	if few := p.Unknown(s.enough); len(few) > 0 {
		out = append(out, fmt.Sprintf("Fewer than %s or %s, so no rules of their own:", count(s.enough.Calls, "call"), count(s.enough.Sessions, "session")))
		for _, f := range few {
			out = append(out, "  "+view.Text(f, 200))
		}
	}
	if len(left) > 0 {
		out = append(out, "Left out, since they would have stopped honest calls: "+view.Text(strings.Join(left, ", "), 2000))
	}
	return out
}
