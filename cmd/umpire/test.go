package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// tester is what umpire test is asked.
type tester struct {
	policies       []string
	update, asJSON bool
	given          []event.Source // what --policy says
	edge           corpus.Edge
}

func (a *app) test() *cobra.Command {
	var t tester
	cmd := &cobra.Command{
		Use:   "test FILE…",
		Short: "Play cases of what happens under a policy, and compare what is decided",
		Long: "Test plays cases: what is called when, what is said and what comes back, one event a line, and below each call what\n" +
			"is to be decided on it. A FILE is a txtar archive. Files in it that end in .yaml are the policy, begin comes before\n" +
			"each case, env.json names the machine ({\"os\": \"linux\", \"home\": \"/home/alice\"}), and every other file is a case:\n\n" +
			"  -- policy.yaml --\n" +
			"  rules: [{name: burst, on: billing/issue_refund, rate: {max: 1, per: 10s}, do: deny}]\n" +
			"  -- two at once --\n" +
			"  0s call billing/issue_refund {\"amount\": 5} -> ok\n" +
			"  1s call billing/issue_refund {\"amount\": 5}\n" +
			"    deny burst: 2nd call of billing/issue_refund in 10s…\n\n" +
			"Without a policy in it, that of the configuration is tested. A call with nothing below it has to pass. A verdict can\n" +
			"end after the action, the rule, or anywhere in the reason with …; passes and stopped are whatever does so. Secrets are\n" +
			"taken out, and tools looked at, as in live traffic. The exit status is 1 if anything came out otherwise.",
		Example: "  umpire test policies/*.txtar\n  umpire test --policy new.yaml incident.txtar\n  umpire test --update refunds.txtar",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, files []string) error { return a.testAll(&t, files) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&t.policies, "policy", nil, "test this policy `FILE` in place of what the archives hold; several are one policy")
	f.BoolVar(&t.update, "update", false, "write what is decided in place of what came out otherwise")
	f.BoolVar(&t.asJSON, "json", false, "print JSON, one case a line")
	return cmd
}

// tested is a case as it is printed as JSON.
type tested struct {
	File     string    `json:"file"`
	Case     string    `json:"case"`
	Policy   string    `json:"policy"`
	Calls    int       `json:"calls"`
	Failures []failure `json:"failures"`
}

type failure struct {
	Line int      `json:"line"`
	Text string   `json:"text"`
	Nth  int      `json:"nth,omitempty"` // which one, of a line that repeats
	Want []string `json:"want"`          // empty: it should have passed
	Got  []string `json:"got"`
}

func (a *app) testAll(t *tester, files []string) error {
	history := config.Default().History
	if len(t.policies) > 0 {
		p, _, err := a.compile(t.policies)
		if err != nil {
			return err
		}
		t.given = p.Loaded().Sources
	} else if _, cfg, err := a.compile(nil); err == nil {
		history = cfg.History // what is taken out of messages; the policy matters to those only that have none
	}
	clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: history.Redact, MaxValue: history.MaxValue, Secret: []byte("test")})
	if err != nil {
		return err
	}
	t.edge.Cleaner = clean
	cases, calls, failed, updated := 0, 0, 0, 0
	out := view.New(a.stdout)
	p := view.NewProgress(a.stderr)
	defer p.Close()
	p.Begin("testing", int64(len(files)), func(n int64) string { return count(int(n), "file") })
	for _, f := range files {
		results, written, err := a.testFile(t, f)
		p.Done(1)
		if err != nil {
			return err
		}
		if written {
			updated++
		}
		for _, r := range results {
			cases, calls = cases+1, calls+r.Calls
			if len(r.Failures) > 0 {
				failed++
			}
			if t.asJSON {
				err = a.encode(r)
			} else {
				out.Case(r.File, r.Case, r.Calls, len(r.Failures) == 0)
				for _, x := range r.Failures {
					out.Differs(fmt.Sprintf("%s:%d: %s", r.File, x.Line, x.Text), x.Nth, x.Want, x.Got)
				}
				err = out.Err()
			}
			if err != nil {
				return err
			}
		}
	}
	if !t.asJSON {
		line := fmt.Sprintf("%s, %s, %d failed", count(cases, "case"), count(calls, "call"), failed)
		if updated > 0 {
			line += fmt.Sprintf("; %s written", count(updated, "file"))
		}
		out.Line(line)
	}
	if failed > 0 && out.Err() == nil {
		return exitStatus(1)
	}
	return out.Err()
}

// encode prints a value as JSON, in one line.
func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// testFile plays the cases of a file. With update it writes what is decided, and then plays what is there now.
func (a *app) testFile(t *tester, name string) (out []tested, written bool, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, false, err
	}
	archive, out, err := a.play(t, name, text)
	if err != nil || !t.update {
		return out, false, err
	}
	now := archive.Format(false)
	if string(now) == string(text) {
		return out, false, nil
	}
	if err := inplace.Write(name, text, now); err != nil {
		return nil, false, err
	}
	_, out, err = a.play(t, name, now)
	return out, true, err
}

func (a *app) play(t *tester, name string, text []byte) (*transcript.Archive, []tested, error) {
	archive, err := transcript.Parse(name, text)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.policyOf(t, archive)
	if err != nil {
		return nil, nil, err
	}
	var out []tested
	for _, c := range archive.Cases {
		r, err := c.Play(transcript.NewPlayer(rules.NewState(p), t.edge))
		if err != nil {
			return nil, nil, err
		}
		x := tested{File: name, Case: c.Name, Policy: p.Digest(), Calls: r.Calls, Failures: []failure{}}
		for _, f := range r.Failures {
			x.Failures = append(x.Failures, failure(f))
		}
		out = append(out, x)
	}
	return archive, out, nil
}

// policyOf compiles the policy under which the cases of an archive are played: on the machine that the archive names,
// so that they come out the same everywhere.
func (a *app) policyOf(t *tester, archive *transcript.Archive) (*rules.Policy, error) {
	sources := t.given
	if sources == nil {
		sources = archive.Sources()
	}
	if len(sources) == 0 {
		p, _, err := a.compile(nil)
		if err != nil {
			return nil, err
		}
		sources = p.Loaded().Sources
	}
	p, err := rules.Compile(sources, archive.Env)
	var problems document.Errors
	if t.given == nil && errors.As(err, &problems) { // they stand within the archive
		for _, e := range problems {
			if line := archive.Line(e.File, e.Line); line > 0 {
				e.File, e.Line = archive.Name, line
			}
		}
	}
	return p, err
}
