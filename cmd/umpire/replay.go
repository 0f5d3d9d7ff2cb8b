package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) replay() *cobra.Command {
	var verify, asJSON bool
	var w whatIf
	var g against
	cmd := &cobra.Command{
		Use:   "replay SESSION | --verify | --policy FILE [SESSION…] | --against URL [SESSION…]",
		Short: "Step through a session; judge the history again: the same verdicts? others under a new policy?",
		Long: "Replay SESSION steps through a session: what happened, what was decided and why, and how rules stood to it, with their\n" +
			"windows and what their steps have matched. On a terminal it is a screen: space, → and ↓ go on, ← and ↑ back, n and N to\n" +
			"calls that were stopped, g and G to the first and last step, q ends it. Elsewhere all steps are printed, and with\n" +
			"--json a step a line.\n\n" +
			"Replay --verify folds the recorded history again, each part under the policy that was in force, and compares every\n" +
			"verdict with the recorded one. The exit status is 1 if any differs.\n\n" +
			"Replay --policy says what another policy would have done: the first calls of each change, all changes by rule and tool\n" +
			"with what rules sum, the sessions whose calls would be stopped, and how many of these calls were in order, as far as is\n" +
			"known: a person had approved them, or they had succeeded, and no rule had noted them. Windows are those of the recorded\n" +
			"times, from the beginning on; --since, --session, --agent, --server, --tool and SESSION choose what is reported.\n" +
			"No server is asked. Each call is judged against the history that happened: a call that passed counts, even if the\n" +
			"policy would have denied it, and a call that was denied does not. Several FILEs are one policy.\n\n" +
			"With --fail-on and --max-false-alarms the exit status is 3 if the policy does what it must not, 0 if it does not, and 1\n" +
			"or 2 if that could not be found out.\n\n" +
			"--json prints a call a line (--all: every one, else those that change) and an object with totals last; where it is\n" +
			"missing, the output is not whole. In totals, groups are the changes by rule and tool, false_alarms and\n" +
			"stopped_of_in_order shares with intervals of 95 %, and sums exact decimals.\n\n" +
			"Replay --against URL is the only one that reaches a server: it makes the calls of a server that passed once more, at a\n" +
			"test server, and says whose answers differ, and in what. With --policy it is those that would pass under it, too. It says\n" +
			"first which calls these are, and asks; --dry-run ends there. Calls whose arguments are redacted or cut in the history,\n" +
			"that asked for input or started a task are not made. Where calls would reach a server that the configuration names, or\n" +
			"Umpire itself, nothing is done. The exit status is 1 if any answer differs.\n\n" +
			"The others ask no server, and none of them changes the history, whether the daemon runs or not; --verify and --policy\n" +
			"fail on a history that is not whole.",
		Example: "  umpire replay s12\n  umpire replay --verify\n  umpire replay --policy new.yaml --since 30d --fail-on new-denials --max-false-alarms 0.1%",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, sessions []string) error {
			only := w.given(cmd, sessions)
			switch other := cmp.Or(g.given(cmd), only); {
			case verify && g.url != "":
				return usageError{errors.New("--verify and --against: one judges again, the other makes calls again\nhint: umpire replay --help")}
			case g.url == "" && g.given(cmd) != "":
				return usageError{fmt.Errorf("%s is for --against\nhint: umpire replay --help", other)}
			case g.url != "":
				for _, name := range []string{"all", "examples", "failures", "fail-on", "max-false-alarms"} {
					if cmd.Flags().Changed(name) {
						return usageError{fmt.Errorf("--against and --%s: that is for --policy alone\nhint: umpire replay --help", name)}
					}
				}
				if err := w.prepare(cmd, sessions, time.Now()); err != nil {
					return err
				}
				return a.against(cmd.Context(), g, w, asJSON)
			case verify && only != "":
				return usageError{fmt.Errorf("--verify and %s: one replays what was in force, the other is for a new policy\nhint: umpire replay --help", only)}
			case verify:
				return a.verify(asJSON)
			case only == "SESSION" && len(sessions) == 1:
				return a.session(sessions[0], asJSON)
			case len(w.files) == 0:
				return usageError{errors.New("want a SESSION, --verify or --policy FILE\nhint: umpire replay s12, umpire replay --verify, umpire replay --policy new.yaml")}
			}
			if err := w.prepare(cmd, sessions, time.Now()); err != nil {
				return err
			}
			return a.whatIf(w, asJSON)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "compare every verdict with the recorded one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: a step a line, or with --policy a call a line and the totals last")
	w.flags(cmd)
	g.flags(cmd)
	return cmd
}

// lasting runs read, which reads a history from beginning to end and gets what retention has removed of it. If that changes
// meanwhile, what it has read may have a hole.
func lasting(r history.Reader, read func(pruned store.Pruned) error) error {
	pruned, err := r.Pruned()
	if err != nil {
		return err
	}
	if err := read(pruned); err != nil {
		return err
	}
	switch after, err := r.Pruned(); {
	case err != nil:
		return err
	case after != pruned:
		return errors.New("retention removed history while it was read\nhint: run it again")
	}
	return nil
}

func (a *app) verify(asJSON bool) error {
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	var report replay.Report
	if err := r.Check(); err != nil {
		return err
	}
	err = lasting(r, func(pruned store.Pruned) (err error) {
		report, err = replay.Verify(replay.History(again(r)), pruned.At)
		return err
	})
	if err != nil {
		return err
	}
	return a.printReport(report, asJSON)
}

func (a *app) printReport(r replay.Report, asJSON bool) error {
	if asJSON {
		type difference struct {
			Call     uint64        `json:"call"`
			Recorded event.Verdict `json:"recorded"`
			Replayed event.Verdict `json:"replayed"`
		}
		out := struct {
			Events      int          `json:"events"`
			Verdicts    int          `json:"verdicts"`
			Same        int          `json:"same"`
			Unverified  int          `json:"unverified"`
			Policies    int          `json:"policies"`
			Differences []difference `json:"differences"`
		}{r.Events, r.Verdicts, r.Same, r.Unverified, r.Policies, []difference{}}
		for _, d := range r.Differences {
			out.Differences = append(out.Differences, difference{d.Call.Seq, d.Recorded, d.Replayed})
		}
		if err := json.NewEncoder(a.stdout).Encode(out); err != nil {
			return err
		}
	} else {
		p := view.New(a.stdout)
		for _, d := range r.Differences {
			if c, ok := d.Call.Body.(*event.Call); ok {
				p.Line(fmt.Sprintf("#%d %s", d.Call.Seq, view.Text(c.Server+"/"+c.Tool, 80)))
			}
			p.Line("  recorded", view.Action(d.Recorded.Action), view.Text(d.Recorded.Why, 200))
			p.Line("  replayed", view.Action(d.Replayed.Action), view.Text(d.Replayed.Why, 200))
		}
		p.Line(fmt.Sprintf("%d events, %d verdicts judged again under %d %s: %d the same, %d different",
			r.Events, r.Verdicts, r.Policies, plural(r.Policies, "policy", "policies"), r.Same, len(r.Differences)))
		if r.Unverified > 0 {
			p.Line(fmt.Sprintf("%d verdicts depend on history that retention has removed and were left out", r.Unverified))
		}
		if err := p.Err(); err != nil {
			return err
		}
	}
	if len(r.Differences) > 0 {
		return exitStatus(1)
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
