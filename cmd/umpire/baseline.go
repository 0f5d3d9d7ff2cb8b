package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
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

// learn is what umpire baseline learn is asked.
type learn struct {
	filter filter // since is used
	agent  string
	out    string
	enough string
	asJSON bool
}

func (a *app) baselineLearn() *cobra.Command {
	var l learn
	cmd := &cobra.Command{
		Use:   "learn [--agent NAME] [--since 30d] [-o FILE]",
		Short: "Learn what agents normally do, from the history into a file",
		Long: "Learn reads the history and writes what each agent normally does into a file, which changes nothing until it is\n" +
			"promoted. It takes the file some thousand calls to be good: until an agent has 30 sessions, 200 calls and 3 days, its calls\n" +
			"are compared with those of agents that use the same servers.\n\n" +
			"Where a baseline is in force, no threshold goes further from it than 2 % for each day between them; what would have is\n" +
			"told. So nobody makes much of anything normal by doing a little more of it every day.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.learn(&l, time.Now()) },
	}
	f := cmd.Flags()
	f.StringVar(&l.agent, "agent", "", "only what the agent of this `NAME` did")
	f.StringVar(&l.filter.since, "since", "", "learn from calls of this `DURATION` before now: 24h, 30d")
	f.StringVarP(&l.out, "output", "o", baselineFile, "`FILE` to write")
	f.StringVar(&l.enough, "enough", "30,200,3", "`SESSIONS,CALLS,DAYS` before calls are compared with what their agent does")
	f.BoolVar(&l.asJSON, "json", false, "print the agents as JSON, one a line")
	return cmd
}

// parseEvidence reads SESSIONS,CALLS,DAYS.
func parseEvidence(text string) (e baseline.Evidence, err error) {
	parts := strings.Split(text, ",")
	numbers := []*int64{&e.Sessions, &e.Calls, &e.Days}
	if len(parts) == len(numbers) {
		for i, n := range numbers {
			if *n, err = strconv.ParseInt(strings.TrimSpace(parts[i]), 10, 64); err != nil || *n < 1 {
				break
			}
		}
	}
	if err != nil || e.Sessions < 1 || e.Calls < 1 || e.Days < 1 {
		return e, usageError{fmt.Errorf("--enough %s: want three numbers from 1 on, such as 30,200,3", view.Text(text, 40))}
	}
	return e, nil
}

func (a *app) learn(l *learn, now time.Time) error {
	if err := l.filter.prepare(now); err != nil {
		return err
	}
	enough, err := parseEvidence(l.enough)
	if err != nil {
		return err
	}
	if _, _, err := readBaseline(l.out); errors.Is(err, baseline.ErrFile) {
		return fmt.Errorf("%s is something else than a baseline, and stays\nhint: choose another file, with -o FILE", l.out)
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	r = a.watch(r)
	defer r.Close() //nolint:errcheck // it was only read
	live, broken, err := readInForce(r)
	if err != nil {
		return err
	}
	how := baseline.Learning{Since: l.filter.from, Agent: l.agent, Enough: enough, Effects: live.effects, Live: live.baseline}
	how.Trails = func() baseline.Trails { return live.policy.Origins() }
	b, err := baseline.Learn(func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }, how)
	if err != nil {
		return err
	}
	if len(b.Agents) == 0 {
		return errors.New("there is nothing to learn from: no call passed to which no rule objected\nhint: umpire sessions lists what was recorded; --since and --agent leave some of it out")
	}
	text, err := b.Encode()
	if err != nil {
		return err
	}
	if err := replaceFile(l.out, text); err != nil {
		return err
	}
	if b, err = baseline.Parse(text); err != nil {
		return err
	}
	if l.asJSON {
		return a.printAgents(b.Agents)
	}
	p := view.New(a.stdout)
	if broken != nil {
		p.Line("the baseline in force cannot be read, so nothing is capped:", view.Text(broken.Error(), 200))
	}
	if b.Until > event.At(now.Add(time.Hour)) {
		p.Line("the newest calls are in the future: the clock was wrong when they were recorded, and days do not count as they should")
	}
	rows := [][]string{{"AGENT", "SESSIONS", "CALLS", "DAYS", "TOOLS", "STATE"}}
	for _, x := range b.Agents {
		rows = append(rows, []string{
			view.Text(x.Name, 40), fmt.Sprint(x.Sessions), fmt.Sprint(x.Calls), fmt.Sprint(len(x.Days)), fmt.Sprint(len(x.Tools)), agentState(b, x),
		})
	}
	p.Table(rows)
	for _, c := range b.Capped {
		p.Line("capped:", view.Text(c.String(), 200))
	}
	p.Line(fmt.Sprintf("baseline %.12s is in %s; umpire baseline diff %[2]s, then umpire baseline promote %[2]s", b.Digest(), view.Text(l.out, 0)))
	return p.Err()
}

// agentState says what an agent's calls are compared with.
func agentState(b *baseline.Baseline, x *baseline.Agent) string {
	why := x.Missing()
	if why == "" {
		return "known"
	}
	of, _ := b.Of(x.Name, "")
	if of == nil {
		return "not yet: " + why + "; no group of agents like it"
	}
	return fmt.Sprintf("not yet: %s; compared with %d agents like it", why, len(of.Members))
}

// replaceFile writes a file that nobody else reads, all of it or nothing.
func replaceFile(path string, text []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temp.Close()           //nolint:errcheck // the first error counts
			os.Remove(temp.Name()) //nolint:errcheck // likewise
		}
	}()
	if _, err = temp.Write(text); err != nil {
		return err
	}
	if err = temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
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

func (a *app) baselinePromote() *cobra.Command {
	return &cobra.Command{
		Use:   "promote [FILE]",
		Short: "Put a baseline into force",
		Long: "Promote puts the baseline of FILE (baseline.json) into force, at once and through the daemon where one runs. The whole\n" +
			"file is recorded in the history, with who did it, so that replay judges by the same one.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if a.past {
				return usageError{errors.New("--past: nothing comes into force in what is imported; a file that was learned from it does without\nhint: umpire baseline promote --help")}
			}
			return a.promote(fileOf(args))
		},
	}
}

func fileOf(args []string) string {
	if len(args) == 0 {
		return baselineFile
	}
	return args[0]
}

func (a *app) promote(path string) error {
	b, text, err := readBaseline(path)
	if err != nil {
		return err
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	live, _, err := readInForce(r)
	r.Close() //nolint:errcheck // it was only read
	p := view.New(a.stdout)
	switch {
	case err != nil:
		return err
	case live.baseline != nil && live.baseline.Digest() == b.Digest():
		p.Line(fmt.Sprintf("baseline %.12s is in force already", b.Digest()))
		return p.Err()
	}
	d, err := a.dial()
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing is written through it any more
	name := filepath.Base(path)
	if err = d.Promote(name, text); errors.Is(err, history.ErrEnded) {
		var stateDir string
		if stateDir, err = config.StateDir(a.state); err == nil {
			err = daemon.Promote(stateDir, live.loaded, name, text, a.logger())
		}
	}
	if err != nil {
		return err
	}
	known := 0
	for _, x := range b.Agents {
		if x.Missing() == "" {
			known++
		}
	}
	p.Line(fmt.Sprintf("baseline %.12s is in force: %s, of %d of which enough is known", b.Digest(), count(len(b.Agents), "agent"), known))
	if !live.policy.AsksBaseline() {
		p.Line(`no rule of the policy asks for it yet: {name: strange, on: "*/*", baseline: {stranger_than: 0.999}, do: hold}`)
	}
	return p.Err()
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
				return usageError{fmt.Errorf("--alerts %d --per %s: want a number from 1 on, and such as 24h or 7d", alerts, view.Text(per, 40))}
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
