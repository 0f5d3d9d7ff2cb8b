package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

func (a *app) replay() *cobra.Command {
	var verify, asJSON bool
	var w whatIf
	cmd := &cobra.Command{
		Use:   "replay --verify | --policy FILE [SESSION…]",
		Short: "Judge the recorded history again: the same verdicts? others under a new policy?",
		Long: "Replay --verify folds the recorded history again, each part under the policy that was in force, and compares every\n" +
			"verdict with the recorded one. The exit status is 1 if any differs.\n\n" +
			"Replay --policy says what another policy would have done: every call that it would have judged otherwise, and the\n" +
			"totals. Windows are those of the recorded times, from the beginning on; --since and SESSION choose what is reported.\n" +
			"No server is asked. Each call is judged against the history that happened: a call that passed counts, even if the\n" +
			"policy would have denied it, and a call that was denied does not. Several FILEs are one policy.\n\n" +
			"Both check the file first and change nothing, whether the daemon runs or not.",
		Example: "  umpire replay --verify\n  umpire replay --policy new.yaml --since 30d --fail-on new-denials",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, sessions []string) error {
			switch only := w.given(cmd, sessions); {
			case verify && only != "":
				return usageError{fmt.Errorf("--verify and %s: one replays what was in force, the other is for a new policy\nhint: umpire replay --help", only)}
			case verify:
				return a.verify(asJSON)
			case len(w.files) == 0:
				return usageError{errors.New("want --verify or --policy FILE\nhint: umpire replay --verify, umpire replay --policy new.yaml")}
			}
			w.sessions, w.gate = sessions, cmd.Flags().Changed("fail-on")
			return a.whatIf(w, asJSON)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "compare every verdict with the recorded one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON; with --policy one call a line, and the totals last")
	w.flags(cmd)
	return cmd
}

// replayed checks the history and reads it from beginning to end for judge, which gets the time up to which retention has
// removed it. If that changes meanwhile, what judge has read may have a hole.
func replayed(r history.Reader, judge func(events replay.History, pruned event.Time) error) error {
	if err := r.Check(); err != nil {
		return err
	}
	pruned, err := r.Pruned()
	if err != nil {
		return err
	}
	events := func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }
	if err := judge(events, pruned.At); err != nil {
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
	err = replayed(r, func(events replay.History, pruned event.Time) (err error) {
		report, err = replay.Verify(events, pruned)
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
