package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) baselinePromote() *cobra.Command {
	uncapped := false
	cmd := &cobra.Command{
		Use:   "promote [--uncapped] [FILE]",
		Short: "Put a baseline into force",
		Long: "Promote puts the baseline of FILE (baseline.json) into force, at once and through the daemon where one runs. The whole\n" +
			"file is recorded in the history, with who did it, so that replay judges by the same one.\n\n" +
			"One that was learned while another baseline was in force, or none, is refused: nothing keeps it near the one that is in\n" +
			"force now. Learn it again, or read what umpire baseline diff says and use --uncapped.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if a.past {
				return usageError{errors.New("--past: nothing comes into force in what is imported; a file that was learned from it does without\nhint: umpire baseline promote --help")}
			}
			return a.promote(fileOf(args), uncapped)
		},
	}
	cmd.Flags().BoolVar(&uncapped, "uncapped", false, "also one that was not learned under the baseline in force")
	return cmd
}

func (a *app) promote(path string, uncapped bool) error {
	b, text, err := readBaseline(path)
	if err != nil {
		return err
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	live, broken, err := readInForce(r)
	var sessions []store.Session
	if err == nil {
		sessions, err = r.Sessions()
	}
	r.Close() //nolint:errcheck // it was only read
	p := view.New(a.stdout)
	switch {
	case err != nil:
		return err
	case live.baseline != nil && live.baseline.Digest() == b.Digest():
		p.Line(fmt.Sprintf("baseline %.12s is in force already", b.Digest()))
		return p.Err()
	case live.baseline != nil && live.baseline.Digest() != b.Against && !uncapped:
		with := "no baseline was"
		if b.Against != "" {
			with = fmt.Sprintf("another baseline (%.12s) was", b.Against)
		}
		return fmt.Errorf("%s was learned while %s in force, so nothing keeps it near the one that is now (%.12s)\nhint: umpire baseline learn -o %[1]s learns it again; or umpire baseline diff %[1]s, then promote --uncapped %[1]s",
			view.Text(path, 200), with, live.baseline.Digest())
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
	switch {
	case broken != nil:
		p.Line("the one before cannot be read, so nothing was compared with it: whatever passed in those days is normal from now on")
	case live.baseline == nil:
		p.Line("no baseline was in force before, so there was nothing to compare it with: whatever passed in those days is normal from now on")
	default:
		for _, x := range live.baseline.Agents {
			if b.Agent(x.Name) == nil {
				p.Line(view.Text(x.Name, 60) + ": is no longer known; its calls are compared with agents like it, or rules with baseline: apply")
			}
		}
	}
	capped(p, b, live.baseline != nil, maxTold)
	strangers(p, b, sessions)
	if !live.policy.AsksBaseline() {
		p.Line(`no rule of the policy asks for it yet: {name: strange, on: "*/*", baseline: {stranger_than: 0.999}, do: hold}`)
	}
	return p.Err()
}

// strangers says so if no agent of a baseline has ever called here.
func strangers(p *view.Printer, b *baseline.Baseline, sessions []store.Session) {
	var here []string
	for i := range sessions {
		name := sessions[i].Agent
		if b.Agent(name) != nil {
			return
		}
		if name = view.Text(name, 40); !slices.Contains(here, name) {
			here = append(here, name)
		}
	}
	if slices.Sort(here); len(here) > 0 {
		more := ""
		if len(here) > mostNamed {
			here, more = here[:mostNamed], " …"
		}
		p.Line("none of its agents has ever called here; here there are " + strings.Join(here, ", ") + more)
	}
}
