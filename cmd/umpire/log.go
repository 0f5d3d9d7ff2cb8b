package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"sort"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// filter says which events a command is about.
type filter struct {
	verdict, session, server, tool, since string
	action                                event.Action
	from                                  event.Time
}

func (f *filter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.session, "session", "", "only this `SESSION`")
	flags.StringVar(&f.server, "server", "", "only this `SERVER`")
	flags.StringVar(&f.tool, "tool", "", "only this `TOOL`")
	flags.StringVar(&f.since, "since", "", "only what happened in this `DURATION` before now: 90s, 10m, 24h, 30d")
}

// prepare checks the flags.
func (f *filter) prepare(now time.Time) error {
	if f.verdict != "" {
		if err := f.action.UnmarshalText([]byte(f.verdict)); err != nil {
			return usageError{fmt.Errorf("--verdict %s: want deny, hold, log or allow", f.verdict)}
		}
	}
	if f.since != "" {
		d, err := document.ParseDuration(f.since)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%q is not in the past", f.since)
		}
		if err != nil {
			return usageError{fmt.Errorf("--since: %w, such as 90s, 10m, 24h or 30d", err)}
		}
		f.from = event.At(now.Add(-d))
	}
	return nil
}

// named finds the session that is named in the history.
func (f *filter) named(r history.Reader) error {
	if f.session == "" {
		return nil
	}
	ids, err := sessionsNamed(r, []string{f.session})
	if err == nil {
		f.session = ids[0]
	}
	return err
}

// about reports whether an event is of the session, server, tool and time asked for.
func (f *filter) about(e event.Event) bool {
	if e.At < f.from || f.session != "" && e.Session != f.session {
		return false
	}
	server, tool := "", ""
	switch b := e.Body.(type) {
	case *event.Call:
		server, tool = b.Server, b.Tool
	case *event.Review:
		server, tool = b.Server, b.Tool
	case *event.Expired:
		server, tool = b.Server, b.Tool
	case *event.Result:
		server, tool = b.Server, b.Tool
	case *event.Opened:
		server = b.Server
	case *event.Catalog:
		server = b.Server
	case *event.Accepted:
		server = b.Server
	case *event.Exception:
		server, tool = b.Server, b.Tool
	case *event.Signal:
		server = b.Server
	case *event.Closed:
		server = b.Server
	case *event.Turn:
		server = b.Server
	case *event.Loaded, *event.Promoted, *event.Revoked, *event.Verdict:
	}
	return (f.server == "" || f.server == server) && (f.tool == "" || f.tool == tool)
}

func (a *app) log() *cobra.Command {
	var f filter
	var follow, asJSON bool
	var last int
	cmd := &cobra.Command{
		Use:     "log",
		Short:   "Print what happened, one line an event",
		Example: "  umpire log --follow --verdict deny",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.prepare(time.Now()); err != nil {
				return err
			}
			r, live, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			if follow && !live {
				return errors.New("no daemon is running, so nothing more will happen\nhint: start umpire serve, or leave --follow out")
			}
			if err := f.named(r); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.printLog(ctx, r, &f, follow, asJSON, last)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.verdict, "verdict", "", "only calls with this `VERDICT`: deny, hold, log or allow")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the events as JSON, one a line")
	cmd.Flags().IntVarP(&last, "last", "n", 100, "begin with the last `N` that fit; 0 is all")
	return cmd
}

// printLog prints the last events that fit, then follows.
func (a *app) printLog(ctx context.Context, r history.Reader, f *filter, follow, asJSON bool, last int) error {
	p := view.New(a.stdout)
	t := view.Timeline{Printer: p, Now: time.Now(), Session: true}
	show := func(group []event.Event) error {
		for _, e := range group {
			if !asJSON {
				t.Event(e)
			} else if err := a.printJSON(e); err != nil {
				return err
			}
		}
		return p.Err()
	}
	g := grouper{filter: f}
	kept, next, err := newest(r, &g, last)
	if err != nil {
		return err
	}
	for _, group := range kept {
		if err := show(group); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	for e, err := range history.Watch(r, ctx.Done(), next) {
		if errors.Is(err, history.ErrEnded) {
			break
		}
		if err != nil {
			return err
		}
		if group := g.add(e); group != nil {
			if err := show(group); err != nil {
				return err
			}
		}
	}
	if ctx.Err() == nil {
		return history.ErrEnded
	}
	return nil
}

// newest returns the last groups that fit, all of them if last is 0, and the Seq that comes next. It looks at the end of the history
// first, and begins ever earlier as long as too few are there.
func newest(r history.Reader, g *grouper, last int) (kept [][]event.Event, next uint64, err error) {
	first, err := begin(r, g.from)
	if err != nil {
		return nil, 0, err
	}
	end := r.Last()
	for back := uint64(20 * last); ; back *= 4 {
		from := first
		if last > 0 && end > first+back {
			from = end - back
		}
		kept, next = kept[:0], max(end+1, 1)
		for e, err := range history.Events(r, from) {
			if err != nil {
				return nil, 0, err
			}
			next = e.Seq + 1
			if group := g.add(e); group != nil {
				if kept = append(kept, group); last > 0 && len(kept) >= 2*last {
					kept = append(kept[:0], kept[len(kept)-last:]...)
				}
			}
		}
		if last > 0 && len(kept) > last {
			kept = kept[len(kept)-last:]
		}
		if from == first || len(kept) == last {
			return kept, next, nil
		}
	}
}

// begin returns the Seq from which on events can have happened at from or later. Time never goes back in a history.
func begin(r history.Reader, from event.Time) (uint64, error) {
	if from == 0 {
		return 1, nil
	}
	var failed error
	seq := sort.Search(int(r.Last()), func(i int) bool { //nolint:gosec // as many as there are
		e, _, err := history.Get(r, uint64(i)+1)
		if err != nil {
			failed = err
		}
		return err != nil || e.Body == nil || e.At >= from
	})
	return uint64(seq) + 1, failed
}

// grouper puts a call, or what ended its hold, and the verdict together and leaves out what the filter does not want.
type grouper struct {
	*filter
	judged event.Event
}

// add returns the events to show once e is there; nil if there are none yet.
func (g *grouper) add(e event.Event) []event.Event {
	switch b := e.Body.(type) {
	case *event.Call:
		if !b.Seen {
			g.judged = e
			return nil
		}
	case *event.Review, *event.Expired:
		g.judged = e
		return nil
	case *event.Verdict:
		if g.judged.Seq != max(b.After, e.Cause) || !g.about(g.judged) || g.verdict != "" && b.Action != g.action {
			return nil
		}
		return []event.Event{g.judged, e}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	if g.verdict != "" || !g.about(e) {
		return nil
	}
	return []event.Event{e}
}
