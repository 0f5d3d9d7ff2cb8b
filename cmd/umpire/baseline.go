package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// baselineFile is where a baseline is written to, and read from, if nobody says so.
const baselineFile = "baseline.json"

func (a *app) baseline() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "baseline",
		Short: "Learn what agents normally do, and put it into force",
		Long: "Baseline learns from the history what each agent normally does. Rules with baseline: compare calls with the baseline in\n" +
			"force, which is a file that a person has promoted: nothing is learned by itself. What was denied, held or flagged\n" +
			"never teaches; what a person approved does.",
		Example: "  umpire baseline learn --since 30d\n  umpire baseline diff\n  umpire baseline promote\n  umpire baseline show support",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.baselineLearn(), a.baselineDiff(), a.baselinePromote(), a.baselineShow(), a.baselineBudget(), a.baselineProve())
	return cmd
}

// inForce is what a history says of what is in force.
type inForce struct {
	loaded   *event.Loaded
	promoted *event.Promoted // nil if there is no baseline
	baseline *baseline.Baseline
	policy   *rules.Policy
}

// effects returns what the policy says that a tool can do.
func (f *inForce) effects(server, tool string) []string { return f.policy.About(server, tool).Effects }

// readInForce reads what is in force. A baseline that cannot be read is none, and broken says why.
func readInForce(r history.Reader) (f inForce, broken, err error) {
	kinds := [][]byte{[]byte(`"loaded":{`), []byte(`"promoted":{`)}
	raw := func(yield func(json.RawMessage, error) bool) {
		for text, err := range r.Raw(1) {
			if (err != nil || bytes.Contains(text, kinds[0]) || bytes.Contains(text, kinds[1])) && !yield(text, err) {
				return
			}
		}
	}
	for e, err := range store.Decode(iter.Seq2[json.RawMessage, error](raw)) {
		if err != nil {
			return f, nil, err
		}
		switch b := e.Body.(type) {
		case *event.Loaded:
			f.loaded = b
		case *event.Promoted:
			f.promoted = b
		default:
		}
	}
	if f.loaded == nil {
		return f, nil, errors.New("the history is empty\nhint: put umpire serve in front of a server, or import what happened elsewhere")
	}
	if f.policy, err = rules.Compile(f.loaded.Sources, f.loaded.Env); err != nil {
		return f, nil, err
	}
	if f.promoted != nil {
		f.baseline, broken = baseline.Parse(f.promoted.Baseline)
	}
	return f, broken, nil
}

// readBaseline reads the file of a baseline.
func readBaseline(path string) (*baseline.Baseline, []byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%s is not there\nhint: umpire baseline learn -o %s", path, path)
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular() || info.Size() > baseline.MaxSize:
		return nil, nil, fmt.Errorf("%s: %w", path, baseline.ErrFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	b, err := baseline.Parse(text)
	if err != nil {
		hint := "umpire baseline learn writes one"
		if errors.Is(err, baseline.ErrEdited) {
			hint = "a baseline counts as it was learned; umpire baseline learn writes it again"
		}
		return nil, nil, fmt.Errorf("%s: %w\nhint: %s", path, err, hint)
	}
	return b, bytes.TrimSuffix(text, []byte("\n")), nil
}

func (a *app) printAgents(agents []*baseline.Agent) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for _, x := range agents {
		if err := enc.Encode(x); err != nil {
			return err
		}
	}
	return nil
}

func fileOf(args []string) string {
	if len(args) == 0 {
		return baselineFile
	}
	return args[0]
}

// shownBaseline returns the baseline of a file, or the one in force.
func (a *app) shownBaseline(file string) (*baseline.Baseline, error) {
	if file != "" {
		b, _, err := readBaseline(file)
		return b, err
	}
	r, _, err := a.open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	live, broken, err := readInForce(r)
	switch {
	case err != nil:
		return nil, err
	case broken != nil:
		return nil, fmt.Errorf("the baseline in force: %w", broken)
	case live.baseline == nil:
		return nil, errors.New("no baseline is in force\nhint: umpire baseline learn, then umpire baseline promote")
	}
	return live.baseline, nil
}

func (a *app) baselineBudget() *cobra.Command {
	file, alerts, per := "", 1, "7d"
	cmd := &cobra.Command{
		Use:   "budget [--alerts 1] [--per 7d]",
		Short: "Say which threshold costs so many honest calls, for each agent",
		Long: "Budget says for each agent which threshold no more than so many of its honest calls would have exceeded in any span of so\n" +
			"much time. A rule says the same with baseline: {alerts: 1, per: 7d}. Honest calls were scored by what other days taught.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			span, err := document.ParseDuration(per)
			if err != nil || span <= 0 || alerts < 1 {
				return usageError{fmt.Errorf("--alerts %d --per %s: want alerts from 1 on, in a time such as 24h or 7d", alerts, view.Text(per, 40))}
			}
			b, err := a.shownBaseline(file)
			if err != nil {
				return err
			}
			p := view.New(a.stdout)
			rows := [][]string{{"AGENT", "STRANGER THAN", "HONEST CALLS"}}
			for _, x := range b.Agents {
				if x.Score == nil {
					continue
				}
				share := baseline.Billion - x.Score.Budget(alerts, span).Share()
				rows = append(rows, []string{view.Text(x.Name, 60), fmt.Sprintf("0.%09d", share), fmt.Sprint(x.Score.Calls)})
			}
			p.Table(rows)
			return p.Err()
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "ask this `FILE` in place of what is in force")
	cmd.Flags().IntVar(&alerts, "alerts", alerts, "so many honest calls of an agent")
	cmd.Flags().StringVar(&per, "per", per, "in any span of this `DURATION`")
	return cmd
}
