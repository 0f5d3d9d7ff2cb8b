package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// remembering is what approve is told about remembering.
type remembering struct {
	wanted, dryRun bool
	ask            review.Remember
}

func (m *remembering) flags(f *pflag.FlagSet) {
	f.BoolVar(&m.wanted, "remember", false, "let calls like this one pass for a while: an exception, shown as a change of the policy")
	f.StringVar(&m.ask.For, "for", "", "for how long to remember, such as 7d: at most "+document.FormatDuration(rules.MaxExcepted)+" (default 24h)")
	f.StringSliceVar(&m.ask.Where, "where", nil, "the arguments that have to be the same, such as order_id,amount (default all of them)")
	f.BoolVar(&m.dryRun, "dry-run", false, "show what would be remembered, and decide nothing")
}

// decision adds what is to be remembered.
func (m *remembering) decision(by review.Decision) (review.Decision, error) {
	switch {
	case m.wanted:
		by.Remember = &m.ask
	case m.ask.For != "" || len(m.ask.Where) > 0 || m.dryRun:
		return by, usageError{errors.New("--for, --where and --dry-run go with --remember")}
	}
	return by, nil
}

// printProposal shows what would be remembered, as a diff that can be applied to the policy.
func (a *app) printProposal(p review.Proposal, asJSON bool) error {
	if asJSON {
		return a.encode(p)
	}
	_, err := fmt.Fprint(a.stdout, plain(p.Diff))
	return err
}

func (a *app) exceptions() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "exceptions",
		Short: "List what approvals are remembered: which calls pass, from which rules, and until when",
		Long: "Exceptions lists the exceptions that umpire review approve --remember has made and that are not over. Those that stand\n" +
			"in the policy, except:, are not among them. One whose rule says something else by now, or is gone, does nothing.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := a.remembered()
			if err != nil {
				return err
			}
			return a.printExceptions(list, asJSON, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one exception a line")
	return cmd
}

func (a *app) printExceptions(list []rules.Exception, asJSON bool, now time.Time) error {
	if asJSON {
		for _, x := range list {
			if err := a.encode(x); err != nil {
				return err
			}
		}
		return nil
	}
	p := view.New(a.stdout)
	if len(list) == 0 {
		p.Line("nothing is remembered")
		return p.Err()
	}
	rows := [][]string{{"EXCEPTION", "FROM", "AGENT", "TOOL", "CALLS", "UNTIL", "BY"}}
	for _, x := range list {
		names := make([]string, len(x.Rules))
		for i, r := range x.Rules {
			names[i] = r.Name
		}
		from := strings.Join(names, ", ")
		if len(x.Idle) > 0 {
			from += " (not in force: " + strings.Join(x.Idle, ", ") + " is another rule by now)"
		}
		calls := fmt.Sprintf("as #%d, %s", x.Call, view.Bound(&x.Exception))
		by := view.Text(x.Who, 40)
		if x.Note != "" {
			by += fmt.Sprintf(" (%q)", view.Text(x.Note, 60))
		}
		rows = append(rows, []string{
			view.Ref(x.Seq), view.Text(from, 120), view.Text(x.Agent, 30), view.Text(x.Server+"/"+x.Tool, 60), view.Text(calls, 160), view.Time(x.Expires, now), by,
		})
	}
	p.Table(rows)
	return p.Err()
}

// remembered returns the exceptions that are not over: from the daemon where one runs, else from the history.
func (a *app) remembered() ([]rules.Exception, error) {
	r, _, err := a.open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	if d, ok := r.(*history.Daemon); ok {
		return d.Exceptions()
	}
	s, _, err := folded(r)
	if err != nil || s == nil {
		return nil, err
	}
	return s.Exceptions(event.At(time.Now())), nil
}

// folded returns the state that a history leaves, as far as exceptions are concerned, and the policy that was in force last; nil if
// there was none.
func folded(r history.Reader) (s *rules.State, loaded *event.Loaded, err error) {
	var made []event.Event
	kinds := [][]byte{[]byte(`"loaded":`), []byte(`"exception":`), []byte(`"revoked":`)}
	for raw, err := range r.Raw(1) {
		if err != nil {
			return nil, nil, err
		}
		if !bytes.Contains(raw, kinds[0]) && !bytes.Contains(raw, kinds[1]) && !bytes.Contains(raw, kinds[2]) {
			continue
		}
		var e event.Event
		if err := e.UnmarshalJSON(raw); err != nil {
			return nil, nil, err
		}
		switch b := e.Body.(type) {
		case *event.Loaded:
			loaded = b
		case *event.Exception, *event.Revoked:
			made = append(made, e)
		default: // an argument of that name
		}
	}
	if loaded == nil {
		return nil, nil, nil
	}
	p, err := rules.Compile(loaded.Sources, loaded.Env)
	if err != nil {
		return nil, nil, fmt.Errorf("the policy that was in force last: %w", err)
	}
	s = rules.NewState(p)
	for _, e := range made {
		s.Apply(e)
	}
	return s, loaded, nil
}

func (a *app) revoke() *cobra.Command {
	note := ""
	cmd := &cobra.Command{
		Use:     "revoke EXCEPTION",
		Short:   "End an exception before its time",
		Example: "  umpire review exceptions\n  umpire review revoke 43 --note 'it was a mistake'",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w\nhint: %s --help", err, cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(strings.TrimPrefix(args[0], "#"), 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%s is no number of an exception\nhint: umpire review exceptions lists them", view.Text(args[0], 60))}
			}
			if err := a.end(n, note); err != nil {
				return err
			}
			p := view.New(a.stdout)
			p.Line(fmt.Sprintf("exception %s is revoked: such calls are held again", view.Ref(n)))
			return p.Err()
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why: for the record")
	return cmd
}

// end revokes an exception: through the daemon where one runs.
func (a *app) end(exception uint64, note string) error {
	d, err := a.dial()
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing is written through it any more
	err = d.Revoke(exception, note)
	if !errors.Is(err, history.ErrEnded) {
		return err
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	_, loaded, err := folded(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if loaded == nil {
		return fmt.Errorf("#%d is no exception: nothing was ever judged", exception)
	}
	stateDir, err := config.StateDir(a.state)
	if err != nil {
		return err
	}
	return daemon.Revoke(stateDir, loaded, exception, note, a.logger())
}
