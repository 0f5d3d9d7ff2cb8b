package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) tools() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "tools [SERVER | SERVER/TOOL]…",
		Short: "List the tools of all servers: what each can do, which rules judge it, who used it",
		Long: "Tools lists what every agent can do: the effects of each tool and who says so, the rules that judge its calls, when and\n" +
			"by whom it was used last, and what is doubtful about it. A tool that can do more than read, and that no rule can stop,\n" +
			"is marked as a gap in the policy.",
		Example: "  umpire tools\n  umpire tools files\n  umpire tools diff files/read_file\n  umpire tools accept files/read_file",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			inv, found, err := a.inventory(args)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printLines(found)
			}
			return a.printTools(inv, found, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one tool a line")
	cmd.AddCommand(a.toolsDiff(), a.toolsAccept())
	return cmd
}

// inventory reads the inventory, and the tools in it that the arguments name.
func (a *app) inventory(args []string) (inv *inventory.Inventory, found []inventory.Tool, err error) {
	r, _, err := a.open()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	if inv, err = inventory.Read(r); err != nil {
		return nil, nil, err
	}
	found, unknown := inv.Find(args)
	if unknown != "" {
		return nil, nil, fmt.Errorf("no server or tool %s was ever listed or called\nhint: umpire tools lists them", view.ASCII(unknown, 100))
	}
	return inv, found, nil
}

func (a *app) printLines(tools []inventory.Tool) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for _, t := range tools {
		if err := enc.Encode(t); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printTools(inv *inventory.Inventory, tools []inventory.Tool, now time.Time) error {
	p := view.New(a.stdout)
	if len(tools) == 0 {
		p.Line("no server has listed its tools yet")
		return p.Err()
	}
	rows := [][]string{{"TOOL", "EFFECTS", "CLAIMED", "RULES", "CALLS", "LAST USED", "BY", "STATE"}}
	servers := map[string]bool{}
	gaps, doubtful, talking := 0, 0, 0
	for _, t := range tools {
		rows = append(rows, []string{
			view.ASCII(t.Server+"/"+t.Tool, 60), effects(t.Effects), effects(t.Claims), covers(t), fmt.Sprint(t.Calls), lastUsed(t, now), users(t), state(t),
		})
		if servers[t.Server] = true; t.Gap {
			gaps++
		}
		if len(t.Doubts) > 0 {
			doubtful++
		}
		if talks(t.Passages) {
			talking++
		}
	}
	p.Table(rows)
	p.Line(fmt.Sprintf("%s of %s, under policy %.12s", count(len(tools), "tool"), count(len(servers), "server"), inv.Loaded.Digest))
	if gaps > 0 {
		p.Line(fmt.Sprintf("%s can do more than read, and no rule can stop %s: write a rule, or say under tools: what %[3]s can do", count(gaps, "tool"), plural(gaps, "it", "them"), plural(gaps, "it", "they")))
	}
	if talking > 0 {
		p.Line(fmt.Sprintf("%s what no description has to: umpire tools diff shows it", count(talking, "tool")+" "+plural(talking, "says", "say")))
	}
	if doubtful > 0 {
		p.Line(count(doubtful, "tool"), plural(doubtful, "wants", "want"), "a look: umpire tools diff, then umpire tools accept")
	}
	return p.Err()
}

func count(n int, what string) string { return fmt.Sprintf("%d %s", n, plural(n, what, what+"s")) }

// effects formats effects of the same source together: "write egress (assumed)".
func effects(list []inventory.Effect) string {
	var out []string
	for i, e := range list {
		text := view.Text(e.Effect, 30)
		if i+1 == len(list) || list[i+1].From != e.From {
			text += " (" + e.From + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// talks reports whether one of the passages of a definition gives orders. What is hidden is a doubt.
func talks(list []event.Passage) bool {
	return slices.ContainsFunc(list, func(p event.Passage) bool { return p.Kind == event.Talks })
}

func covers(t inventory.Tool) string {
	const most = 3
	var out []string
	if t.Gap {
		out = append(out, "gap:")
	}
	if t.Denied {
		out = append(out, "denied:")
	}
	for i, c := range t.Rules {
		if i == most {
			out = append(out, fmt.Sprintf("+%d", len(t.Rules)-most))
			break
		}
		do := c.Do.String()
		if c.Observed {
			do = "would " + do
		}
		out = append(out, view.Text(c.Rule, 40)+" ("+do+")")
	}
	if len(t.Rules) == 0 {
		out = append(out, "no rule")
	}
	return strings.Join(out, " ")
}

func lastUsed(t inventory.Tool, now time.Time) string {
	if t.Used == nil {
		return "never"
	}
	return view.Time(*t.Used, now)
}

func users(t inventory.Tool) string {
	if len(t.Users) == 0 {
		return "-"
	}
	text := view.Text(t.Users[0].Agent, 30)
	if text == "" {
		text = "a client without name"
	}
	if more := len(t.Users) - 1; more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

func state(t inventory.Tool) string {
	var kinds []string
	seen := map[string]bool{}
	for _, d := range t.Doubts {
		if !seen[d.Kind] {
			seen[d.Kind] = true
			kinds = append(kinds, d.Kind)
		}
	}
	if len(kinds) == 0 && t.Listed && t.Pin != "" {
		kinds = append(kinds, "pinned")
	}
	for _, p := range t.Passages {
		if !seen[p.Kind] {
			seen[p.Kind] = true
			kinds = append(kinds, p.Kind)
		}
	}
	switch {
	case len(kinds) > 0:
		return strings.Join(kinds, ", ")
	case !t.Listed:
		return "never listed"
	}
	return "not pinned yet"
}

// compared is a tool as tools diff prints it for programs: with its definitions.
type compared struct {
	inventory.Tool
	Pinned *event.Tool `json:"pinned,omitempty"`
	Now    *event.Tool `json:"now,omitempty"` // missing if its server never listed it
}

func (a *app) toolsDiff() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "diff [SERVER | SERVER/TOOL]…",
		Short: "Show what is doubtful about tools: pinned and now, with invisible characters spelled out",
		Args:  cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			inv, found, err := a.inventory(args)
			if err != nil {
				return err
			}
			p := view.New(a.stdout)
			shown := 0
			for _, t := range found {
				e := inv.Catalog.Find(t.Server, t.Tool)
				if wanted := len(args) > 0 || e != nil && (len(e.Doubts) > 0 || talks(e.Now.Passages)); asJSON && wanted {
					c := compared{Tool: t}
					if e != nil {
						c.Pinned, c.Now = e.Pinned, e.Now
					}
					if err := a.encode(c); err != nil {
						return err
					}
				}
				switch {
				case asJSON:
				case e != nil && (len(args) > 0 || len(e.Doubts) > 0 || talks(e.Now.Passages)):
					shown++
					p.Definition(e)
				case len(args) > 0:
					shown++
					p.Line(view.ASCII(t.Server+"/"+t.Tool, 0)+":", "its server never listed it, so there is nothing to compare")
				}
			}
			if shown == 0 && !asJSON {
				p.Line("nothing is doubtful about any tool")
			}
			return p.Err()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON with the definitions, one tool a line")
	return cmd
}

func (a *app) toolsAccept() *cobra.Command {
	all, asJSON := false, false
	cmd := &cobra.Command{
		Use:   "accept SERVER/TOOL… | --all",
		Short: "Accept tools as they are described now",
		Long: "Accept pins tools as they are described now and settles what is doubtful about them, so that their calls are no longer\n" +
			"held for it. Look at umpire tools diff first. A tool that is described in another way by then is not accepted.",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageError{errors.New("want the names of tools, or --all\nhint: umpire tools diff shows what is doubtful")}
			}
			inv, found, err := a.inventory(args)
			if err != nil {
				return err
			}
			doubtful := found[:0:0]
			for _, t := range found {
				if len(t.Doubts) > 0 {
					doubtful = append(doubtful, t)
				}
			}
			if err := a.accept(inv, doubtful); err != nil {
				return err
			}
			if asJSON {
				return a.printLines(doubtful)
			}
			p := view.New(a.stdout)
			for _, t := range doubtful {
				for _, d := range t.Doubts {
					p.Line("accepted", view.ASCII(t.Server+"/"+t.Tool, 0)+":", view.Doubt(d))
				}
			}
			if len(doubtful) == 0 {
				p.Line("nothing is doubtful about", plural(len(args), "it", "them"))
			}
			return p.Err()
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every tool that is doubtful")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was accepted as JSON, one tool a line")
	return cmd
}

// accept records that the user accepts tools as they are described now: through the daemon where one runs.
func (a *app) accept(inv *inventory.Inventory, tools []inventory.Tool) error {
	var list []event.Accepted
	for _, t := range tools {
		if n := len(list); n == 0 || list[n-1].Server != t.Server {
			list = append(list, event.Accepted{Server: t.Server})
		}
		last := &list[len(list)-1]
		last.Tools = append(last.Tools, event.Pin{Name: t.Tool, Pin: t.Pin})
	}
	if len(list) == 0 {
		return nil
	}
	d, err := a.dial()
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing is written through it any more
	err = d.Accept(list)
	if !errors.Is(err, history.ErrEnded) {
		return err
	}
	stateDir, err := config.StateDir(a.state)
	if err != nil {
		return err
	}
	return daemon.Accept(stateDir, inv.Loaded, list, a.logger())
}
