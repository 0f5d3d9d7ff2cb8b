package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/proof"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// proving is baseline prove: on what to measure, and how.
type proving struct {
	seeds    []uint
	times    int
	own      bool
	stranger string
	level    baseline.Bits
	asJSON   bool
}

func (a *app) baselineProve() *cobra.Command {
	p := proving{seeds: []uint{1}, times: 1, stranger: "0.999"}
	cmd := &cobra.Command{
		Use:   "prove [--own] [FILE.jsonl…]",
		Short: "Measure how well baselines tell changed behaviour from honest behaviour",
		Long: "Prove makes honest agents from seeds, learns 60 days of what they do, and counts how often somebody would be asked about the\n" +
			"30 days that follow, how many changes of behaviour would be found, and after how many calls of each; the same for simpler\n" +
			"methods. With FILEs (labelled sessions, as eval reads them) the honest sessions are theirs: half of them is learned and the\n" +
			"other one judged, and then the other way round. Intervals are Wilson's, of 95 %.\n\n" +
			"With --own it reads your own history: of each agent, how often somebody would have been asked about honest calls, had the\n" +
			"baseline been learned from every other day.",
		Example: "  umpire baseline prove --own\n  umpire baseline prove --seeds 1,2,3",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, files []string) error {
			switch {
			case p.own && len(files) > 0:
				return usageError{errors.New("--own and files: one of them")}
			case len(p.seeds) == 0 || len(p.seeds) > 100 || p.times < 1 || p.times > 100:
				return usageError{errors.New("--seeds and --times: want from 1 to 100 of them")}
			}
			share, ok := rules.Share(p.stranger)
			if !ok {
				return usageError{fmt.Errorf("--stranger-than %s: want a share from 0.5 to 0.999999999", view.Text(p.stranger, 40))}
			}
			p.level = baseline.BitsOf(baseline.Billion - share)
			if p.own {
				return a.proveOwn(&p)
			}
			return a.prove(&p, files)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&p.own, "own", false, "measure on your own history")
	f.UintSliceVar(&p.seeds, "seeds", p.seeds, "`NUMBERS` from which behaviour is made")
	f.IntVar(&p.times, "times", p.times, "make each change of each intensity so many `TIMES`")
	f.StringVar(&p.stranger, "stranger-than", p.stranger, "ask about calls that are stranger than this `SHARE` of honest ones")
	f.BoolVar(&p.asJSON, "json", false, "print the counts as JSON")
	return cmd
}

func (a *app) prove(p *proving, files []string) error {
	var trials []proof.Trial
	var few []string
	enough := baseline.Evidence{}
	seeds := make([]uint64, len(p.seeds))
	for i, s := range p.seeds {
		seeds[i] = uint64(s)
	}
	if len(files) == 0 {
		trials = proof.Generated(seeds)
	} else {
		recorded := proof.Recorded{}
		for _, f := range files {
			if err := honestSessions(f, recorded); err != nil {
				return err
			}
		}
		for _, s := range seeds {
			var more []proof.Trial
			more, few = recorded.Trials(s)
			trials = append(trials, more...)
		}
		enough = proof.Enough
	}
	if len(trials) == 0 {
		return fmt.Errorf("there is nothing to learn from: no agent has %d honest sessions with %d calls in each half", proof.Enough.Sessions, proof.Enough.Calls)
	}
	progress := view.NewProgress(a.stderr)
	progress.Begin("measuring", int64(len(trials)), func(n int64) string { return fmt.Sprint(n, " agents") })
	rows, err := proof.Measure(trials, append([]proof.Method{proof.Umpire(p.level, enough)}, proof.Peers()...), p.times, func() { progress.Done(1) })
	progress.Close()
	if err != nil {
		return err
	}
	if p.asJSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"seeds": p.seeds, "methods": rows, "too_few": few})
	}
	out := view.New(a.stdout)
	out.Table(methodTable(rows))
	out.Line()
	out.Table(changeTable(rows))
	out.Line()
	out.Table(agentTable(rows[0].ByAgent))
	for _, agent := range few {
		out.Line("too few sessions:", view.Text(agent, 80))
	}
	return out.Err()
}

// honestSessions reads the clean ones of labelled sessions.
func honestSessions(name string, into proof.Recorded) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	r := bufio.NewReaderSize(f, 1<<20)
	for line, more := 1, true; more; line++ {
		text, err := r.ReadBytes('\n')
		if more = err == nil; !more && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		s, l, err := corpus.Parse(text)
		if err == nil {
			err = into.Add(s, l)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	return nil
}

func (a *app) proveOwn(p *proving) error {
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	h := func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }
	agents, err := proof.Own(h, proof.Umpire(p.level, baseline.Evidence{}))
	if err != nil {
		return err
	}
	if len(agents) == 0 {
		return errors.New("there is nothing to learn from: no call passed to which no rule objected\nhint: umpire sessions lists what was recorded")
	}
	if p.asJSON {
		return json.NewEncoder(a.stdout).Encode(agents)
	}
	out := view.New(a.stdout)
	out.Table(agentTable(agents))
	return out.Err()
}

// methodTable compares methods.
func methodTable(rows []proof.Row) [][]string {
	out := [][]string{{"METHOD", "CHANGES FOUND", "95 %", "GROSS", "PLAIN", "FAINT", "CALLS: MEDIAN", "P90", "FALSE ALARMS PER 1,000", "95 %", "SESSIONS"}}
	for _, r := range rows {
		line := []string{r.Method, share(r.Changes.Share()), interval(r.Changes.Share())}
		for i := range r.ByMuch {
			line = append(line, fmt.Sprintf("%.0f%%", r.ByMuch[i].Share().Percent()))
		}
		out = append(out, append(line, within(&r.Changes, 0.5), within(&r.Changes, 0.9), perThousand(r.Honest.Calls), interval10(r.Honest.Calls), share(r.Honest.Sessions.Share())))
	}
	return out
}

// changeTable says which share of each change each method has found.
func changeTable(rows []proof.Row) [][]string {
	head := []string{"CHANGE", "MEDIAN", "P90"}
	for _, r := range rows {
		head = append(head, r.Method)
	}
	out := [][]string{head}
	for _, name := range proof.Changes() {
		own := rows[0].ByChange[name]
		if own == nil {
			continue
		}
		line := []string{name, within(own, 0.5), within(own, 0.9)}
		for i, r := range rows {
			text := fmt.Sprintf("%.0f%%", r.ByChange[name].Share().Percent())
			if i == 0 {
				text = fmt.Sprintf("%s %d/%d", text, own.N, own.Of)
			}
			line = append(line, text)
		}
		out = append(out, line)
	}
	return out
}

// agentTable says of each agent how often somebody would be asked about what is honest.
func agentTable(agents map[string]proof.Honest) [][]string {
	out := [][]string{{"AGENT", "FALSE ALARMS PER 1,000", "95 %", "SESSIONS", "TOO LITTLE KNOWN"}}
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		h := agents[name]
		out = append(out, []string{view.Text(name, 60), perThousand(h.Calls), interval10(h.Calls), share(h.Sessions.Share()), fmt.Sprint(h.Unknown, " calls")})
	}
	return out
}

// within says how many calls it took until so many of all changes were found.
func within(d *proof.Detected, of float64) string {
	if n := d.Within(of); n > 0 {
		return fmt.Sprint(n)
	}
	return "-"
}

func perThousand(c proof.Count) string {
	if c.Of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %d/%d", 10*c.Share().Percent(), c.N, c.Of)
}

func interval10(c proof.Count) string {
	if c.Of == 0 {
		return "-"
	}
	low, high := c.Share().Wilson()
	return fmt.Sprintf("%.2f–%.2f", 10*low, 10*high)
}
