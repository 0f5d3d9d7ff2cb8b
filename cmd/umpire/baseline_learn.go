package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// learn is what umpire baseline learn is asked.
type learn struct {
	filter filter // since is used
	agent  string
	out    string
	enough string
	accept []string
	asJSON bool
}

func (a *app) baselineLearn() *cobra.Command {
	var l learn
	cmd := &cobra.Command{
		Use:   "learn [--agent NAME] [--since 30d] [--accept WHAT] [-o FILE]",
		Short: "Learn what agents normally do, from the history into a file",
		Long: "Learn reads the history and writes what each agent normally does into a file, which changes nothing until it is\n" +
			"promoted. It takes the file some thousand calls to be good: until an agent has 30 sessions, 200 calls and 3 days, its calls\n" +
			"are compared with those of agents that use the same servers.\n\n" +
			"Where a baseline is in force, no threshold goes further from it than 2 % for each day between them, and a name that is new\n" +
			"(a tool, an order of tools, an argument, a value …) is known once it was seen in 3 sessions on 3 days, and then at most\n" +
			"twice as frequent each day. What would have gone further is told. So nobody makes much of anything normal by doing a\n" +
			"little more of it every day. --accept says that something is known at once. Where none is in force, there is nothing to\n" +
			"compare it with, and whatever passed is normal.\n\n" +
			"With --agent the other agents stay as they are in force. Sessions in which a call was denied teach nothing, but where\n" +
			"there is too little else.",
		Example: "  umpire baseline learn --since 30d\n  umpire baseline learn --accept 'tool mail/send' --accept 'mail/send after *'",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.learn(&l, time.Now()) },
	}
	f := cmd.Flags()
	f.StringVar(&l.agent, "agent", "", "learn only this agent, named by its `NAME` or the beginning of it")
	f.StringVar(&l.filter.since, "since", "", "learn from calls of this `DURATION` before now: 24h, 30d")
	f.StringArrayVar(&l.accept, "accept", nil, "`WHAT` is known at once, as learn names what is new; * at its end is anything, all is all of it")
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
	defer r.Close() //nolint:errcheck // it was only read
	live, broken, err := readInForce(r)
	if err != nil {
		return err
	}
	how := baseline.Learning{Since: l.filter.from, Enough: enough, Effects: live.effects, Live: live.baseline}
	how.Trails = func() baseline.Trails { return live.policy.Origins() }
	if l.agent != "" {
		if how.Agent, err = agentNamed(r, l.agent); err != nil {
			return err
		}
	}
	accepted := accepting(l.accept)
	how.Accepted = accepted.is
	b, err := baseline.Learn(func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }, how)
	if err != nil {
		return err
	}
	if len(b.Agents) == 0 {
		return errors.New("there is nothing to learn from: no call passed to which no rule objected\nhint: umpire sessions lists what was recorded; --since and --agent leave some of it out")
	}
	if err := accepted.unused(); err != nil {
		return err
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
	if live.baseline != nil && live.baseline.Until > b.Until {
		p.Line("the baseline in force was learned until", live.baseline.Until.Time().Format(time.DateTime), "UTC, and the newest call was before that: no threshold and no name goes any further until then")
	}
	rows := [][]string{{"AGENT", "SESSIONS", "CALLS", "DAYS", "TOOLS", "STATE"}}
	for _, x := range b.Agents {
		rows = append(rows, []string{
			view.Text(x.Name, 40), fmt.Sprint(x.Sessions), fmt.Sprint(x.Calls), fmt.Sprint(len(x.Days)), fmt.Sprint(len(x.Tools)), agentState(b, x),
		})
	}
	p.Table(rows)
	for _, x := range b.Agents {
		switch {
		case x.DeniedTaught:
			p.Line(view.Text(x.Name, 40)+":", count(int(x.Denied), "session"), "with a call that was denied taught as well, since there are too few others")
		case x.Denied > 0:
			p.Line(view.Text(x.Name, 40)+":", count(int(x.Denied), "session"), "with a call that was denied taught nothing")
		}
	}
	capped(p, b, live.baseline != nil, maxTold)
	p.Line(fmt.Sprintf("baseline %.12s is in %s; umpire baseline diff %[2]s, then umpire baseline promote %[2]s", b.Digest(), view.Text(l.out, 0)))
	return p.Err()
}

// maxTold is how many lines of a kind learn and promote print; diff prints all.
const maxTold = 8

// capped says what of a baseline was kept from going further, and what was not.
func capped(p *view.Printer, b *baseline.Baseline, compared bool, most int) {
	lines := func(what string, n, more int, line func(i int) string) {
		for i := range min(n, most) {
			p.Line(what, view.Text(line(i), 300))
		}
		if more += max(n-most, 0); more > 0 {
			where := ": umpire baseline diff lists them"
			if most > n {
				where = ""
			}
			p.Line(what, "and", fmt.Sprint(more), "more"+where)
		}
	}
	lines("capped:", len(b.Capped), 0, func(i int) string { return b.Capped[i].String() })
	lines("new:", len(b.Newcomers), int(b.MoreNewcomers), func(i int) string { return b.Newcomers[i].String() })
	lines("accepted:", len(b.Accepted), 0, func(i int) string { return b.Accepted[i] })
	if compared {
		lines("not capped:", len(b.Uncapped), 0, func(i int) string {
			return b.Uncapped[i] + ": there was nothing to compare it with in the baseline in force, so all that it did is normal for it"
		})
	}
}

// acceptance is what a person says is known.
type acceptance struct {
	patterns []string
	used     []bool
}

func accepting(patterns []string) *acceptance {
	return &acceptance{patterns, make([]bool, len(patterns))}
}

// is reports whether what is new to an agent is accepted.
func (x *acceptance) is(agent, what string) (yes bool) {
	for i, p := range x.patterns {
		begin, any := strings.CutSuffix(p, "*")
		for _, name := range [...]string{what, agent + ": " + what} {
			if p == "all" || name == p || any && strings.HasPrefix(name, begin) {
				x.used[i], yes = true, true
			}
		}
	}
	return yes
}

// unused says which pattern was about nothing.
func (x *acceptance) unused() error {
	for i, p := range x.patterns {
		if !x.used[i] {
			return fmt.Errorf("--accept %s: nothing that is new is called that\nhint: umpire baseline learn without it lists what is new, such as tool mail/send", view.Text(p, 100))
		}
	}
	return nil
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
		return fmt.Errorf("%s cannot be written: %w", path, err)
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
	if err = temp.Sync(); err != nil {
		return err
	}
	if err = temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
