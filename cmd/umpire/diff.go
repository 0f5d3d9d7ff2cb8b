package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/store"
)

// trouble is an error of a command whose exit status 1 is an answer.
type trouble struct{ error }

// Unwrap returns the error.
func (t trouble) Unwrap() error { return t.error }

func (a *app) diffs() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "diff [OLD] NEW",
		Short: "Say in words what another policy does otherwise",
		Long: "Diff says what changes in effect from one policy to another: rules that come, go or have another name, what they do,\n" +
			"what they are about, limits, windows, keys and conditions; the allow list, what tools can do, and rules that another one\n" +
			"hides. What is only written otherwise (order, spaces, comments, defaults that are spelled out) is no change.\n\n" +
			"OLD and NEW are policies or configurations; several files with commas between them are one policy. Without OLD it is the\n" +
			"policy that was in force last, by the history. Tools that the history knows are named where a rule gains or loses them.\n\n" +
			"A change is stricter if no call is treated less strictly for it, looser if none is treated more strictly, and else other.\n" +
			"As with diff(1), the exit status is 0 if nothing changes, 1 if something does, and 2 if there is trouble.",
		Example: "  umpire diff policy.yaml new.yaml\n  umpire diff new.yaml",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			err := a.policyDiff(args, asJSON)
			var status exitStatus
			if err == nil || errors.As(err, &status) {
				return err
			}
			return trouble{err}
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one change a line")
	return cmd
}

func (a *app) policyDiff(args []string, asJSON bool) error {
	changed, _, err := a.compile(strings.Split(args[len(args)-1], ","))
	if err != nil {
		return err
	}
	inv, known := a.knownTools()
	var old *rules.Policy
	switch {
	case len(args) == 2:
		old, _, err = a.compile(strings.Split(args[0], ","))
	case known != nil:
		return known
	default:
		old, err = rules.Compile(inv.Loaded.Sources, config.Env())
	}
	if err != nil {
		return err
	}
	var tools []catalog.Key
	if known == nil {
		for _, t := range inv.Tools {
			tools = append(tools, catalog.Key{Server: t.Server, Tool: t.Tool})
		}
	} else if !errors.Is(known, store.ErrMissing) {
		fmt.Fprintln(a.stderr, "note: tools cannot be named:", known)
	}
	found, err := rules.Diff(old, changed, tools)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		for _, d := range found {
			if err := enc.Encode(d); err != nil {
				return err
			}
		}
	} else if err := a.printDiff(found); err != nil {
		return err
	}
	if len(found) > 0 {
		return exitStatus(1)
	}
	return nil
}

// knownTools returns what the history knows of tools.
func (a *app) knownTools() (*inventory.Inventory, error) {
	r, _, err := a.open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	return inventory.Read(r)
}

func (a *app) printDiff(found []rules.Difference) error {
	p := view.New(a.stdout)
	counts := map[rules.Effect]int{}
	for _, d := range found {
		counts[d.Effect]++
		p.Line(view.Effect(string(d.Effect)), cmp.Or(d.Rule, "(policy)")+":", view.Text(d.Text, 400))
		named := func(what string, tools []string) {
			if len(tools) > 0 {
				p.Line("        ", what, namedTools(tools))
			}
		}
		switch d.What {
		case "allow":
			named("allowed now:", d.Gained)
			named("denied now:", d.Lost)
		case "added":
			named("of the tools that are known:", d.Gained)
		case "removed":
			named("of the tools that are known:", d.Lost)
		default:
			named("gains:", d.Gained)
			named("loses:", d.Lost)
		}
	}
	if len(found) == 0 {
		p.Line("no change in effect")
	} else {
		p.Line(fmt.Sprintf("%d %s: %d stricter, %d looser, %d other", len(found), plural(len(found), "change", "changes"),
			counts[rules.Stricter], counts[rules.Looser], counts[rules.Other]))
	}
	return p.Err()
}

// namedTools lists the first tools.
func namedTools(tools []string) string {
	const most = 10
	var names []string
	for _, t := range tools[:min(len(tools), most)] {
		names = append(names, view.ASCII(t, 80))
	}
	if more := len(tools) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
