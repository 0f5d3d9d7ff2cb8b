package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/habits"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) baselineShow() *cobra.Command {
	file, asJSON := "", false
	cmd := &cobra.Command{
		Use:   "show [AGENT…]",
		Short: "Show what agents normally do, and what is new this week",
		Long: "Show prints for each agent what it normally does, by the baseline in force or that of --file: how many calls there are,\n" +
			"which tool comes after which, what arguments look like. Beside it stands what it did in the last 28 days (UTC), and what of\n" +
			"the last seven of them the baseline in force did not know then, with the first call and whether rules stopped it.",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, names []string) error { return a.showHabits(file, names, asJSON, time.Now()) },
	}
	cmd.Flags().StringVar(&file, "file", "", "show this `FILE` in place of what is in force")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one agent a line")
	return cmd
}

// habitsJSON is an agent as --json has it: what was learned, in all its numbers, and what is shown of it.
type habitsJSON struct {
	*baseline.Agent                  // nil if the baseline does not know it
	Baseline        baseline.Force   `json:"baseline"`
	Habits          *baseline.Habits `json:"habits"`
}

func (a *app) showHabits(file string, names []string, asJSON bool, now time.Time) error {
	at := event.At(now)
	known, reading, heard, err := a.readHabits(file, &at)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, s := range reading.All(at).Agents {
			names = append(names, s.Agent)
		}
	}
	shown := make([]habits.One, len(names))
	for i, n := range names {
		one, ok := reading.One(n, at)
		if !ok {
			return fmt.Errorf("the baseline does not know agent %s\nhint: umpire baseline show lists all", view.Text(n, 60))
		}
		shown[i] = one
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		for i := range shown {
			if err := enc.Encode(habitsJSON{known.Agent(names[i]), shown[i].Baseline, &shown[i].Agent}); err != nil {
				return err
			}
		}
		return nil
	}
	p := view.New(a.stdout)
	for i := range shown {
		p.Habits(&shown[i].Agent, heard)
	}
	all := reading.All(at)
	if all.Crowded {
		p.Line("more agents were active than are remembered: what some of them did lately is not shown here; umpire log has it")
	}
	if f := all.Baseline; f.Seq != 0 {
		p.Line(fmt.Sprintf("baseline %.12s is in force since %s (older calls: the one before)", f.Digest, f.At.Time().Format("2006-01-02 15:04 UTC")))
	}
	return p.Err()
}

// readHabits reads what agents have done before now, and what it is compared with. A file can be shown without a history: then
// heard is false. What is imported ends with its last event, and so does now.
func (a *app) readHabits(file string, now *event.Time) (known *baseline.Baseline, reading *habits.Reading, heard bool, err error) {
	var text []byte
	if file != "" {
		if known, text, err = readBaseline(file); err != nil {
			return nil, nil, false, err
		}
	}
	r, _, err := a.open()
	if err != nil {
		if known != nil && errors.Is(err, store.ErrMissing) {
			reading, err = habits.Compare(habits.Frame{}, file, text, known)
			return known, reading, false, err
		}
		return nil, nil, false, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	if a.past {
		e, _, err := history.Get(r, r.Last())
		if err != nil {
			return nil, nil, false, err
		}
		*now = max(e.At, 0)
	}
	frame, err := habits.Find(context.Background(), r, habits.Since(*now), r.Last()+1)
	if err != nil && (known == nil || !errors.Is(err, habits.ErrEmpty)) {
		return nil, nil, false, err
	}
	heard = err == nil
	if known == nil {
		reading, err = habits.New(frame)
	} else {
		reading, err = habits.Compare(frame, file, text, known)
	}
	if err != nil || !heard {
		return known, reading, heard, err
	}
	for e, err := range history.Events(r, frame.From) {
		if err != nil {
			return nil, nil, false, err
		}
		reading.Add(e)
	}
	if known != nil {
		return known, reading, true, nil
	}
	known, broken := reading.Live()
	switch {
	case broken != "":
		return nil, nil, false, fmt.Errorf("the baseline in force: %s", broken)
	case known == nil:
		return nil, nil, false, errors.New("no baseline is in force\nhint: umpire baseline learn, then umpire baseline promote")
	}
	return known, reading, true, nil
}
