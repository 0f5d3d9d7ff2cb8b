package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/drill"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) drill() *cobra.Command {
	var policies []string
	var tools string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drill [PLAYBOOK…]",
		Short: "Play well-known attacks against the policy and your tools, on paper",
		Long: "Drill plays attacks as a table-top exercise: the tools that your servers have listed get their roles (one that moves\n" +
			"money, one that reads files, one that sends …), and the policy judges the calls as if they came. No server is asked,\n" +
			"nothing is recorded, and no such call counts or teaches anything. What each tool does is what the policy says, else what\n" +
			"its server and its name suggest.\n\n" +
			"It prints what was stopped, by which rule and after how many calls; and for what was not, the rule that stops it, as a\n" +
			"policy of its own. Without PLAYBOOK all are played. The exit status is 1 if any attack is not stopped.",
		Example: "  umpire drill\n  umpire drill --policy new.yaml --tools tools.json\n  umpire drill refund-burst race --json",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, names []string) error {
			books, err := playbooks(names)
			if err != nil {
				return err
			}
			p, cfg, err := a.compile(policies)
			if err != nil {
				return err
			}
			clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: cfg.History.Redact, MaxValue: cfg.History.MaxValue, Secret: []byte("drill")})
			if err != nil {
				return err
			}
			lists, err := a.listed(tools)
			if err != nil {
				return err
			}
			return a.exercise(books, p, lists, corpus.Edge{Cleaner: clean}, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&policies, "policy", nil, "policy `FILE`; several are one policy (default: that of the configuration)")
	f.StringVar(&tools, "tools", "", "`FILE` with the answer to a tools/list, x-server of a tool names its server (default: what the history has)")
	f.BoolVar(&asJSON, "json", false, "print JSON, one playbook a line")
	return cmd
}

// playbooks returns the playbooks of these names, or all.
func playbooks(names []string) ([]*drill.Playbook, error) {
	all, err := drill.Playbooks()
	if err != nil || len(names) == 0 {
		return all, err
	}
	var known []string
	for _, b := range all {
		known = append(known, b.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, usageError{fmt.Errorf("no playbook %s\nhint: there are %s", view.Text(n, 60), strings.Join(known, ", "))}
		}
	}
	return slices.DeleteFunc(all, func(b *drill.Playbook) bool { return !slices.Contains(names, b.Name) }), nil
}

// listed returns the tools of all servers: from a file, or as the history knows them.
func (a *app) listed(file string) (out []event.Catalog, err error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if out, err = corpus.Catalogs(text); err == nil && len(out) == 0 {
			err = errors.New(`want {"tools": [{"x-server": "billing", "name": …}]}`)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return out, nil
	}
	r, _, err := a.open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	inv, err := inventory.Read(r)
	if err != nil {
		return nil, err
	}
	for _, e := range inv.Catalog.All() { // by server
		if len(out) == 0 || out[len(out)-1].Server != e.Server {
			out = append(out, event.Catalog{Server: e.Server, Complete: true})
		}
		t := *e.Now
		t.Doubts = nil
		out[len(out)-1].Tools = append(out[len(out)-1].Tools, t)
	}
	if len(out) == 0 {
		return nil, errors.New("no server has listed its tools yet\nhint: let a client connect to them, or give a list: umpire drill --tools FILE")
	}
	return out, nil
}

// exercise plays the playbooks and prints what came of them.
func (a *app) exercise(books []*drill.Playbook, p *rules.Policy, lists []event.Catalog, edge corpus.Edge, asJSON bool) error {
	out := view.New(a.stdout)
	n := map[drill.Outcome]int{}
	progress := view.NewProgress(a.stderr)
	defer progress.Close()
	progress.Begin("playing", int64(len(books)), func(n int64) string { return count(int(n), "playbook") })
	for _, b := range books {
		r, err := drill.Run(b, p, lists, edge)
		progress.Done(1)
		if err != nil {
			return fmt.Errorf("playbook %s: %w", b.Name, err)
		}
		if n[r.Outcome]++; asJSON {
			if err := a.encode(r); err != nil {
				return err
			}
			continue
		}
		printDrill(out, b, r)
	}
	if !asJSON {
		out.Line(fmt.Sprintf("%d stopped, %d not stopped, %d not applicable, under policy %.12s", n[drill.Stopped], n[drill.Passed], n[drill.NotApplicable], p.Digest()))
	}
	if out.Err() == nil && n[drill.Passed] > 0 {
		return exitStatus(1)
	}
	return out.Err()
}

func printDrill(out *view.Printer, b *drill.Playbook, r *drill.Report) {
	switch r.Outcome {
	case drill.NotApplicable:
		out.Attack(string(r.Outcome), r.Playbook, r.Missing)
		return
	case drill.Stopped:
		after := "at once"
		if r.After > 0 {
			after = "after " + count(r.After, "call")
		}
		by := r.Rule
		if by == "" {
			by = "umpire itself"
		}
		out.Attack(string(r.Outcome), r.Playbook, fmt.Sprintf("%s, %s by %s: %s", after, map[string]string{"deny": "denied", "hold": "held"}[r.Action], by, view.Text(r.Why, 200)))
		return
	case drill.Passed:
	}
	out.Attack(string(r.Outcome), r.Playbook, fmt.Sprintf("%d of %s passed: %s", r.Passed, count(r.Calls, "call"), played(r)))
	out.Line("    " + strings.ReplaceAll(b.About, "\n", "\n    "))
	if r.Observed != "" {
		out.Line("    rule " + r.Observed + " would have stopped some of it, but it only observes")
	}
	out.Line("    the rule that stops it:")
	for line := range strings.Lines(r.Add) {
		out.Line("      " + view.Text(strings.TrimSuffix(line, "\n"), 0))
	}
	if r.Hinder != "" {
		out.Line("    " + view.Text(r.Hinder, 300))
	}
}

// played says which tools took part.
func played(r *drill.Report) string {
	var tools []string
	for _, t := range r.Tools {
		tools = append(tools, view.ASCII(t, 80))
	}
	slices.Sort(tools)
	return strings.Join(tools, ", ")
}
