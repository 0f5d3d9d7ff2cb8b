package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/reissue"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// against is replay --against: a test server, and whether calls are made there.
type against struct {
	url                string
	sse                bool
	headers, ignore    []string
	dryRun, yes, force bool
	limit              time.Duration
}

func (g *against) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.url, "against", "", "make the calls that passed again, at the test server at this `URL`, and compare the answers")
	f.BoolVar(&g.sse, "sse", false, "with --against: it speaks HTTP+SSE")
	f.StringArrayVar(&g.headers, "header", nil, "with --against: `'NAME: VALUE'` that the server is told; ${VARIABLE} comes from the environment")
	f.StringArrayVar(&g.ignore, "ignore", nil, "with --against: do not compare what stands at `PATH`, such as content.*.text.created")
	f.BoolVar(&g.dryRun, "dry-run", false, "with --against: say which calls would be made, and make none")
	f.BoolVar(&g.yes, "yes", false, "with --against: make them without a question")
	f.BoolVar(&g.force, "force", false, "with --against: also at a server that the configuration names")
	f.DurationVar(&g.limit, "timeout", time.Minute, "with --against: how long to wait for each answer")
}

// given returns the first flag on the command line that is for --against only.
func (g *against) given(cmd *cobra.Command) string {
	for _, name := range []string{"sse", "header", "ignore", "dry-run", "yes", "force", "timeout"} {
		if cmd.Flags().Changed(name) {
			return "--" + name
		}
	}
	return ""
}

// target checks the flags.
func (g *against) target() (reissue.Target, *url.URL, error) {
	t := reissue.Target{URL: g.url, SSE: g.sse, Header: http.Header{}}
	u, err := url.Parse(g.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return t, nil, usageError{fmt.Errorf("--against %q: want the URL of a test server, such as http://127.0.0.1:9001/mcp", g.url)}
	}
	if g.limit <= 0 {
		return t, nil, usageError{fmt.Errorf("--timeout %s: want some time", g.limit)}
	}
	for _, h := range g.headers {
		name, value, err := config.Header(h)
		if err != nil {
			return t, nil, usageError{fmt.Errorf("--header: %w", err)}
		}
		t.Header.Add(name, value)
	}
	return t, u, nil
}

// against makes calls again that passed.
func (a *app) against(ctx context.Context, g against, w whatIf, asJSON bool) error {
	target, u, err := g.target()
	if err != nil {
		return err
	}
	if known := a.inUse(ctx, u); known != "" && !g.force {
		return fmt.Errorf("%s is %s: calls that were made there once are not made there again\nhint: --against is for a test server; --force says that this is one", u.Redacted(), known)
	}
	var candidate *rules.Policy
	if len(w.files) > 0 {
		if candidate, _, err = a.compile(w.files); err != nil {
			return err
		}
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	if w.sessions, err = sessionsNamed(r, w.sessions); err != nil {
		return err
	}
	plan, inForce, err := w.plan(r, candidate)
	if err != nil {
		return err
	}
	if len(plan.Servers) > 1 {
		return usageError{fmt.Errorf("calls of several servers passed: %s\nhint: --server NAME chooses those that the test server is to get", view.Text(strings.Join(plan.Servers, ", "), 200))}
	}
	people := view.New(a.stdout)
	if asJSON {
		people = view.New(a.stderr)
	}
	printPlan(people, u, plan, inForce)
	if g.dryRun || len(plan.Calls) == 0 {
		return people.Err()
	}
	if err := a.confirm(&g, len(plan.Calls), u); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := reissue.Dial(ctx, target, g.limit)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it has answered
	return a.reissue(ctx, c, r, plan, &g, asJSON)
}

// plan chooses the calls that passed; under candidate, too, if there is one. InForce is the policy that was in force last.
func (w *whatIf) plan(r history.Reader, candidate *rules.Policy) (plan *reissue.Plan, inForce *rules.Policy, err error) {
	plan = &reissue.Plan{}
	err = lasting(r, func(pruned store.Pruned) error {
		var trial *replay.Trial
		if candidate != nil {
			trial = replay.NewTrial(replay.History(again(r)), pruned.At, candidate)
		}
		calls := map[uint64]event.Event{} // that have no verdict yet, or wait for a person
		var loaded *event.Loaded
		for e, err := range history.Events(r, 1) {
			if err != nil {
				return err
			}
			passes := true
			if trial != nil {
				j, judged, err := trial.Add(e)
				if err != nil {
					return err
				}
				passes = judged && j.Replayed.Action.Passes()
			}
			switch b := e.Body.(type) {
			case *event.Loaded:
				loaded = b
			case *event.Call:
				if b.Seen && w.about(e) {
					plan.Passed(e)
				} else if w.about(e) {
					calls[e.Seq] = e
				}
			case *event.Verdict:
				call, wanted := calls[e.Cause]
				if wanted && b.Action.Passes() && passes {
					plan.Passed(call)
				}
				if b.Action != event.Hold {
					delete(calls, e.Cause)
				}
			case *event.Result:
				plan.Answered(e)
			case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
			}
		}
		plan.End()
		if loaded != nil {
			inForce, _ = rules.Compile(loaded.Sources, loaded.Env) //nolint:errcheck // it is for a word about effects
		}
		return nil
	})
	return plan, inForce, err
}

// printPlan says what is going to be done.
func printPlan(p *view.Printer, u *url.URL, plan *reissue.Plan, inForce *rules.Policy) {
	n := len(plan.Calls)
	if n == 0 {
		p.Line("no calls to make again")
	} else {
		p.Line(fmt.Sprintf("at %s: %s of server %s, one after the other, in the order in which they were made:", view.Text(u.Redacted(), 200), count(n, "call"), view.Text(plan.Servers[0], 60)))
		calls := map[string]int{}
		for _, c := range plan.Calls {
			calls[c.Tool]++
		}
		rows := [][]string{{"TOOL", "CALLS", "EFFECTS"}}
		for _, tool := range slices.Sorted(maps.Keys(calls)) {
			effects := "unknown"
			if inForce != nil {
				effects = strings.Join(inForce.About(plan.Servers[0], tool).Effects, ", ")
			}
			rows = append(rows, []string{view.ASCII(tool, 80), fmt.Sprint(calls[tool]), view.Text(effects, 80)})
		}
		p.Table(rows)
	}
	for _, why := range slices.Sorted(maps.Keys(plan.Skipped)) {
		p.Line(fmt.Sprintf("not made: %s: %s", count(plan.Skipped[why], "call"), why))
	}
}

// confirm asks whether the calls are to be made.
func (a *app) confirm(g *against, n int, u *url.URL) error {
	if g.yes {
		return nil
	}
	if !term.IsTerminal(os.Stdin.Fd()) {
		return usageError{errors.New("nobody is there to ask whether these calls are to be made\nhint: --yes makes them, --dry-run only says which")}
	}
	fmt.Fprintf(a.stderr, "Make %s at %s? They do there what they did: pay, write, delete. [y/N] ", count(n, "call"), u.Redacted())
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
		return errors.New("no call was made")
	}
	return nil
}

// reissued is a call that was made again.
type reissued struct {
	Call        uint64               `json:"call"`
	Tool        string               `json:"tool"`
	Same        bool                 `json:"same"`
	Differences []reissue.Difference `json:"differences,omitempty"`
	Hidden      int                  `json:"hidden,omitempty"` // values that cannot be compared, since they are redacted or cut in the history
	Text        string               `json:"text,omitempty"`   // of an error
}

func (a *app) reissue(ctx context.Context, c *reissue.Client, r history.Reader, plan *reissue.Plan, g *against, asJSON bool) error {
	p := view.New(a.stdout)
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if !asJSON && c.Name != "" {
		p.Line("the server is", view.Text(c.Name, 80))
	}
	same := 0
	for _, planned := range plan.Calls {
		call, found, err := history.Get(r, planned.Seq)
		var result event.Event
		if err == nil && found {
			result, found, err = history.Get(r, planned.Result)
		}
		if err != nil || !found {
			return cmp.Or(err, errors.New("retention removed history meanwhile"))
		}
		now := c.Call(ctx, planned.Tool, call.Body.(*event.Call).Args)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted at call #%d, which may have been made", planned.Seq)
		}
		one := reissued{Call: planned.Seq, Tool: planned.Tool, Text: now.Text}
		one.Differences, one.Hidden = reissue.Compare(result.Body.(*event.Result), now, g.ignore)
		if one.Same = len(one.Differences) == 0; one.Same {
			same++
		}
		if asJSON {
			err = enc.Encode(one)
		} else {
			printReissued(p, one)
			err = p.Err()
		}
		if err != nil {
			return err
		}
	}
	if asJSON {
		if err := enc.Encode(map[string]map[string]int{"totals": {"calls": len(plan.Calls), "same": same, "different": len(plan.Calls) - same}}); err != nil {
			return err
		}
	} else {
		p.Line(fmt.Sprintf("%s made again: %d the same, %d different", count(len(plan.Calls), "call"), same, len(plan.Calls)-same))
	}
	if same < len(plan.Calls) {
		return cmp.Or(p.Err(), error(exitStatus(1)))
	}
	return p.Err()
}

func printReissued(p *view.Printer, one reissued) {
	word := "same"
	if !one.Same {
		word = "differs"
	}
	line := view.Ref(one.Call) + " " + view.ASCII(one.Tool, 80) + " " + word
	if one.Hidden > 0 {
		line += fmt.Sprintf(", but for %s that the history does not have", count(one.Hidden, "value"))
	}
	if one.Text != "" {
		line += ": " + view.Text(one.Text, 200)
	}
	p.Line(line)
	for _, d := range one.Differences {
		p.Line("   ", view.Text(cmp.Or(d.Path, "result"), 120)+":", cmp.Or(view.Text(d.Was, 100), "nothing"), "->", cmp.Or(view.Text(d.Is, 100), "nothing"))
	}
}

// inUse says what is known of a server: that the configuration names it, or that it is Umpire; empty if nothing is.
func (a *app) inUse(ctx context.Context, u *url.URL) string {
	if state, err := config.StateDir(a.state); err == nil {
		d := history.Dial(filepath.Join(state, config.SocketFile))
		defer d.Close() //nolint:errcheck // it was only asked
		if s, err := d.Status(); err == nil && s.Listen != "" && sameHost(ctx, u, &url.URL{Scheme: "http", Host: s.Listen}) {
			return "Umpire itself, and what is behind it is in use"
		}
	}
	path, err := config.Find(a.config, false)
	if err != nil || path == "" {
		return ""
	}
	cfg, err := config.Load(path)
	if err != nil {
		return ""
	}
	for _, s := range cfg.Servers {
		if s.URL != nil && sameHost(ctx, u, s.URL) {
			return "where the configuration has the server " + s.Name
		}
	}
	return ""
}

// sameHost reports whether two URLs lead to the same port of the same machine, as far as names tell.
func sameHost(ctx context.Context, a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "wss": "443"}[u.Scheme], "80")
	}
	if port(a) != port(b) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	hosts := func(u *url.URL) []string {
		name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		out := []string{name}
		if found, err := net.DefaultResolver.LookupHost(ctx, name); err == nil {
			out = append(out, found...)
		}
		for _, h := range out {
			if ip := net.ParseIP(h); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
				out = append(out, "loopback")
			}
		}
		return out
	}
	x := hosts(a)
	return slices.ContainsFunc(hosts(b), func(h string) bool { return slices.Contains(x, h) })
}
