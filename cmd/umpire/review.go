package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/desk"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) review() *cobra.Command {
	asJSON, list := false, false
	cmd := &cobra.Command{
		Use:   "review",
		Short: "Show the calls that wait for a person, approve or deny them",
		Long: "Review shows the calls that a rule with do: hold has stopped until a person decides: on a terminal as they come and\n" +
			"go, with what led to each, and keys to decide; else, or with --list, one a line. An approved call is judged\n" +
			"again before it goes on: what has come true meanwhile can still deny it.",
		Example: "  umpire review\n  umpire review --list\n  umpire review approve 41 --note 'customer called'\n  umpire review approve 41 --remember --for 7d --where order_id,amount\n  umpire log --follow --verdict hold",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.dial()
			if err != nil {
				return err
			}
			defer d.Close() //nolint:errcheck // it was only read
			if !asJSON && !list && view.Terminal(a.stdout) && view.Terminal(os.Stdin) {
				return a.watchHeld(cmd.Context(), d)
			}
			held, err := d.Held()
			if err != nil {
				return noDaemon(err)
			}
			return a.printHeld(held, asJSON, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one call a line")
	cmd.Flags().BoolVar(&list, "list", false, "print the list, also on a terminal")
	cmd.AddCommand(a.decide("approve", true), a.decide("deny", false), a.exceptions(), a.revoke())
	return cmd
}

// watchHeld shows what is on hold until the person has seen enough.
func (a *app) watchHeld(ctx context.Context, d *history.Daemon) error {
	s, err := d.Status()
	if err != nil {
		return noDaemon(err)
	}
	return desk.Run(ctx, os.Stdin, a.stdout, desk.Config{Desk: d, Bell: s.Bell, Now: time.Now, Story: func(call uint64) (view.Call, error) {
		e, found, err := callAt(d, call)
		if err == nil && !found {
			err = fmt.Errorf("call #%d is not in the history", call)
		}
		if err != nil {
			return view.Call{}, err
		}
		return storyOf(d, e)
	}})
}

// decide is the command with which a person approves or denies.
func (a *app) decide(name string, approve bool) *cobra.Command {
	note, asJSON := "", false
	var memory remembering
	cmd := &cobra.Command{
		Use:   name + " CALL",
		Short: strings.ToUpper(name[:1]) + name[1:] + " a call that waits",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w\nhint: %s --help", err, cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			by, err := memory.decision(review.Decision{Approve: approve, Note: note})
			if err != nil {
				return err
			}
			d, err := a.dial()
			if err != nil {
				return err
			}
			defer d.Close() //nolint:errcheck // nothing is written through it any more
			call, err := heldNamed(d, args[0])
			if err != nil {
				return err
			}
			var p review.Proposal
			if by.Remember != nil {
				if p, err = d.Propose(call, by); err != nil {
					return noDaemon(err)
				}
				if memory.dryRun {
					return a.printProposal(p, asJSON)
				}
			}
			v, err := d.Decide(call, by)
			if err != nil {
				return noDaemon(err)
			}
			return a.printDecided(call, approve, v, p.Diff, asJSON)
		},
	}
	if approve {
		memory.flags(cmd.Flags())
	}
	cmd.Flags().StringVar(&note, "note", "", "why: for the record, and for the model whose call it is")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return cmd
}

// dial returns the daemon's side of the state directory.
func (a *app) dial() (*history.Daemon, error) {
	state, err := config.StateDir(a.state)
	if err != nil {
		return nil, err
	}
	return history.Dial(filepath.Join(state, config.SocketFile)), nil
}

func noDaemon(err error) error {
	if errors.Is(err, history.ErrEnded) {
		return errors.New("no daemon is running, so nothing is on hold\nhint: calls that were on hold when it ended were denied; umpire log shows them")
	}
	return err
}

func (a *app) printHeld(list []review.Held, asJSON bool, now time.Time) error {
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		for _, h := range list {
			if err := enc.Encode(h); err != nil {
				return err
			}
		}
		return nil
	}
	p := view.New(a.stdout)
	if len(list) == 0 {
		p.Line("nothing is on hold")
		return p.Err()
	}
	rows := [][]string{{"CALL", "SESSION", "AGENT", "TOOL", "ARGUMENTS", "LEFT", "WHY"}}
	for _, h := range list {
		rows = append(rows, []string{
			view.Ref(h.Call), h.Session, view.Text(h.Agent, 30), view.Text(h.Server+"/"+h.Tool, 60), view.JSON(h.Args, 200),
			max(h.Expires.Sub(max(event.At(now), h.Since)), 0).Round(time.Second).String(), view.Text(h.Rule+": "+h.Why, 200),
		})
	}
	p.Table(rows)
	return p.Err()
}

// printDecided says what became of a call, and shows what is remembered. A call that was approved and yet denied is a failure.
func (a *app) printDecided(call uint64, approve bool, v event.Verdict, diff string, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(a.stdout).Encode(v); err != nil {
			return err
		}
	} else {
		p := view.New(a.stdout)
		p.Line(view.Ref(call), view.Action(v.Action), view.Text(v.Why, 0))
		for _, m := range v.Also {
			if diff != "" && m.Excepted && m.Exception != 0 {
				p.Line(fmt.Sprintf("remembered as exception #%d, as if this were the policy; umpire review revoke %[1]d ends it:", m.Exception))
				if _, err := fmt.Fprint(a.stdout, plain(diff)); err != nil {
					return err
				}
				break
			}
		}
		if err := p.Err(); err != nil {
			return err
		}
	}
	if approve && !v.Action.Passes() {
		return exitStatus(1)
	}
	return nil
}
