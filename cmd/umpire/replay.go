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
	cmd := &cobra.Command{
		Use:   "replay --verify",
		Short: "Judge the recorded history again and compare",
		Long: "Replay --verify checks the file, folds the recorded history again, each part under the policy that was in force,\n" +
			"and compares every verdict with the recorded one. The exit status is 1 if any differs.",
		RunE: func(*cobra.Command, []string) error {
			if !verify {
				return usageError{errors.New("want --verify\nhint: umpire replay --verify")}
			}
			r, _, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			if err := r.Check(); err != nil {
				return err
			}
			pruned, err := r.Pruned()
			if err != nil {
				return err
			}
			report, err := replay.Verify(func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }, pruned.At)
			if err != nil {
				return err
			}
			return a.printReport(report, asJSON)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "compare every verdict with the recorded one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
