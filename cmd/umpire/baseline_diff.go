package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) baselineDiff() *cobra.Command {
	stranger, since, asJSON := "0.999", "", false
	cmd := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Say what a baseline would change, and how many past calls would score differently",
		Long: "Diff says in words what changes for each agent if FILE (baseline.json) takes the place of the baseline in force, which\n" +
			"thresholds were capped, and how many of the calls that passed would be too strange by one of them and not by the other.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f := filter{since: since}
			if err := f.prepare(time.Now()); err != nil {
				return err
			}
			share, ok := rules.Share(stranger)
			if !ok {
				return usageError{fmt.Errorf("--stranger-than %s: want a share from 0.5 to 0.999999999", view.Text(stranger, 40))}
			}
			return a.diffBaseline(fileOf(args), f.from, stranger, baseline.BitsOf(baseline.Billion-share), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&stranger, "stranger-than", stranger, "the `SHARE` of honest calls from which on a call counts as too strange")
	f.StringVar(&since, "since", "", "count calls of this `DURATION` before now: 24h, 30d")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) diffBaseline(path string, from event.Time, stranger string, limit baseline.Bits, asJSON bool) error {
	b, _, err := readBaseline(path)
	if err != nil {
		return err
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	live, broken, err := readInForce(r)
	if err != nil {
		return err
	}
	changes := b.Diff(live.baseline)
	c, err := baseline.Compare(func(seq uint64) iter.Seq2[event.Event, error] { return history.Events(r, seq) }, from, live.baseline, b, limit, live.effects, live.policy.Origins())
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(struct {
			Changes   []baseline.Change   `json:"changes"`
			Capped    []baseline.Capped   `json:"capped"`
			Newcomers []baseline.Newcomer `json:"newcomers"`
			Accepted  []string            `json:"accepted"`
			Uncapped  []string            `json:"uncapped"`
			Calls     baseline.Comparison `json:"calls"`
		}{changes, b.Capped, b.Newcomers, b.Accepted, b.Uncapped, c})
	}
	p := view.New(a.stdout)
	switch {
	case broken != nil:
		p.Line("the baseline in force cannot be read, so all of it is new:", view.Text(broken.Error(), 200))
	case live.baseline == nil:
		p.Line("no baseline is in force, so all of it is new")
	case b.Against != live.baseline.Digest():
		p.Line("it was not learned under the baseline in force, so nothing keeps it near that: learn again, or look at each line")
	}
	for _, x := range changes {
		p.Line(view.Text(x.Agent, 40)+":", view.Text(x.Text, 400))
	}
	capped(p, b, live.baseline != nil, math.MaxInt)
	if len(changes) == 0 {
		p.Line("nothing changes")
	}
	p.Line(fmt.Sprintf("%s that passed: %d are stranger than %s by the new one alone, %d by the one in force alone, %d by both", count(c.Calls, "call"), c.Stranger, stranger, c.Usual, c.Both))
	if c.Unknown > 0 {
		p.Line(fmt.Sprintf("%d of them cannot be scored by the new one, and rules with baseline: would apply to them", c.Unknown))
	}
	return p.Err()
}
