package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/probe"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) doctor() *cobra.Command {
	asJSON, user, trust := false, false, false
	limit := 20 * time.Second
	cmd := &cobra.Command{
		Use:   "doctor [CLIENT…]",
		Short: "Say for every client and server what is wrong, and what mends it",
		Long: "Doctor says of each server in the configuration files of your clients whether its calls pass through Umpire, whether\n" +
			"it answers, and which era of the protocol it speaks; whether history is recorded; and of hooks, whether they are there,\n" +
			"lead to this Umpire, and are run. It starts the servers as the\n" +
			"client would, without Umpire, says hello, and calls no tool. Servers that files of the working directory name are\n" +
			"started with --trust-project only: whoever wrote those files chooses what runs.",
		Example: "  umpire doctor\n  umpire doctor codex --json",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, looked, err := configFiles(args, user)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d := doctor{app: a, limit: limit, trust: trust}
			d.umpire()
			for _, f := range files {
				d.file(f)
			}
			if hooked := d.hooks(args, files, user); len(files) == 0 && !hooked {
				d.findings[0].wrong("", "%v", noConfig(looked)) // that of Umpire: of no client
			}
			d.ask(ctx)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return d.print(asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON, one server a line")
	f.BoolVar(&user, "user", false, "leave the files of the working directory alone")
	f.BoolVar(&trust, "trust-project", false, "start the servers that files of the working directory name, too")
	f.DurationVar(&limit, "timeout", limit, "how long a server may take to answer")
	return cmd
}

// finding is what there is to say about Umpire itself, a file, or a server in it.
type finding struct {
	Client    string        `json:"client,omitempty"`
	File      string        `json:"file,omitempty"`
	Server    string        `json:"server,omitempty"`
	Scope     string        `json:"scope,omitempty"`
	Transport string        `json:"transport,omitempty"`
	State     clients.State `json:"state,omitempty"`
	As        string        `json:"as,omitempty"` // its name in policies and in the history
	Disabled  bool          `json:"disabled,omitempty"`
	Reachable *bool         `json:"reachable,omitempty"` // nil if it was not asked
	Era       string        `json:"era,omitempty"`       // modern or legacy
	Protocol  string        `json:"protocol,omitempty"`
	Daemon    string        `json:"daemon,omitempty"`
	History   string        `json:"history,omitempty"`
	Notify    []string      `json:"notify,omitempty"` // how people and programs are told that a call is on hold
	Hooks     string        `json:"hooks,omitempty"`  // installed, some or none
	Notes     []string      `json:"notes,omitempty"`
	Problems  []problem     `json:"problems,omitempty"`

	target *probe.Target
}

// problem is what is wrong, and the command that mends it if there is one.
type problem struct {
	What string `json:"what"`
	Mend string `json:"mend,omitempty"`
}

func (f *finding) wrong(mend, format string, args ...any) {
	f.Problems = append(f.Problems, problem{What: fmt.Sprintf(format, args...), Mend: mend})
}

func (f *finding) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

type doctor struct {
	*app
	limit    time.Duration
	trust    bool
	listen   string // where clients reach the daemon …
	up       bool   // … and whether they do
	findings []*finding
}

func (d *doctor) add(f finding) { d.findings = append(d.findings, &f) }

// umpire looks at the configuration, the daemon and the history.
func (d *doctor) umpire() {
	var f finding
	defer func() { d.add(f) }()
	var err error
	if d.listen, err = d.reachable(); err != nil {
		f.wrong("umpire check", "the configuration: %v", err)
	} else if _, _, err := d.compile(nil); err != nil {
		f.wrong("umpire check", "the policy: %v", err)
	}
	state, err := config.StateDir(d.state)
	if err != nil {
		f.wrong("", "%v", err)
		return
	}
	socket := history.Dial(filepath.Join(state, config.SocketFile))
	defer socket.Close() //nolint:errcheck // it was only asked
	f.History = filepath.Join(state, config.HistoryFile)
	s, err := socket.Status()
	switch {
	case err == nil:
		d.up = s.Listen != "" && s.Listen == d.listen
		f.Daemon = fmt.Sprintf("%s, process %d, policy %.12s", s.Version, s.PID, s.Policy)
		if s.Listen != "" {
			f.Daemon += ", at " + s.Listen
		}
		f.told(s.Notify)
		return // it would not run if it could not write
	case !errors.Is(err, history.ErrEnded):
		f.wrong("umpire serve", "the daemon does not answer: %v", err)
		return
	}
	f.note("no daemon runs; the first call of a stdio server starts one")
	if cfg, err := d.load("", "", "", nil, false); err == nil {
		f.told(notify.Ways(notify.Config{Desktop: cfg.Notify.Desktop, Webhook: cfg.Notify.Webhook}))
	}
	if r, _, err := d.open(); err == nil {
		r.Close() //nolint:errcheck // it was only opened
	} else if !errors.Is(err, store.ErrMissing) {
		f.wrong("", "history cannot be recorded: %v (%s)", err, hint(err))
	}
	if err := writable(state); err != nil {
		f.wrong("", "history cannot be recorded: %v", err)
	}
}

// told says how people and programs are told that a call is on hold. A desktop that is not there is no fault.
func (f *finding) told(ways []notify.Channel) {
	for _, w := range ways {
		switch {
		case w.Problem == "":
			f.Notify = append(f.Notify, w.Name)
		case w.Name == notify.OfDesktop:
			f.note("no notifications on the desktop when a call is on hold: %s", w.Problem)
		default:
			f.wrong("", "the %s does not work: %s", w.Name, w.Problem)
		}
	}
}

// writable reports whether files can be made in a directory, or in the nearest above it that is there.
func writable(dir string) error {
	for {
		temp, err := os.CreateTemp(dir, ".umpire-doctor-*")
		switch {
		case err == nil:
			return errors.Join(temp.Close(), os.Remove(temp.Name()))
		case !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir:
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// file looks at the servers of one file.
func (d *doctor) file(f clients.File) {
	_, text, err := inplace.Read(f.Path)
	var servers []clients.Server
	if err == nil {
		servers, err = clients.Servers(f.Client.Format, text, d.listen)
	}
	if err != nil {
		d.add(finding{Client: f.Client.Name, File: shown(f), Problems: []problem{{What: err.Error()}}})
		return
	}
	if len(servers) == 0 {
		d.add(finding{Client: f.Client.Name, File: shown(f), Notes: []string{"no MCP servers"}})
	}
	for _, s := range servers {
		d.add(d.server(f, s))
	}
}

// server says what can be said without asking the server.
func (d *doctor) server(f clients.File, s clients.Server) finding {
	out := finding{
		Client: f.Client.Name, File: shown(f), Server: s.Name, Scope: s.Scope, Transport: s.Transport, State: s.State, As: s.As(), Disabled: s.Disabled,
	}
	if s.Disabled {
		out.note("disabled")
		return out
	}
	switch s.State {
	case clients.Bare:
		out.wrong("umpire wrap "+f.Client.Name, "its calls do not pass through Umpire")
	case clients.Unfit:
		if s.Transport == "" {
			out.note("%s", s.Why)
			return out
		}
		out.wrong("", "its calls do not pass through Umpire, and it cannot be wrapped: %s", s.Why)
	case clients.Wrapped:
		d.wrapped(&out, s, "umpire unwrap "+f.Client.Name+" && umpire wrap "+f.Client.Name)
	case clients.ByHand:
	}
	d.prepare(&out, f, s)
	return out
}

// wrapped says whether it is this Umpire to which a wrapped entry leads: whoever writes the file of a project could name
// another program the same.
func (d *doctor) wrapped(out *finding, s clients.Server, again string) {
	switch {
	case s.Transport == clients.Stdio:
		found, err := exec.LookPath(s.Command[0])
		if err != nil {
			out.wrong(again, "there is no umpire at %s any more", s.Command[0])
		} else if !isThis(found) {
			out.wrong(again, "%s is not this umpire", found)
		}
	case !clients.IsAt(s.URL, d.listen):
		out.wrong(again, "it does not lead to where umpire listens, %s", d.listen)
	case !d.up:
		out.wrong("umpire serve", "nobody listens on %s, where the client looks for it", d.listen)
	}
}

// prepare says how to reach the server itself.
func (d *doctor) prepare(out *finding, f clients.File, s clients.Server) {
	if f.Project && !d.trust {
		out.note("not asked: a file of this directory names it (--trust-project)")
		return
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	work := s.Scope
	if !filepath.IsAbs(work) {
		if work, err = os.Getwd(); err != nil {
			work = ""
		}
	}
	x := clients.Expander{Lookup: os.LookupEnv, Home: home, Work: work}
	t := &probe.Target{Dir: work, Headers: map[string]string{}}
	command, url := s.Command, s.URL
	if s.State == clients.Wrapped {
		command, url = s.Inner(), s.Upstream()
	}
	for _, word := range command {
		t.Command = append(t.Command, x.Expand(word))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		t.Env = append(t.Env, name+"="+x.Expand(s.Env[name]))
	}
	for name, value := range s.Headers {
		t.Headers[name] = x.Expand(value)
	}
	if t.URL, t.Transport = x.Expand(url), s.Transport; s.Untold {
		t.Transport = ""
	}
	if dir := x.Expand(s.Dir); filepath.IsAbs(dir) {
		t.Dir = dir
	} else if dir != "" {
		t.Dir = filepath.Join(t.Dir, dir)
	}
	switch {
	case len(x.Missing) > 0:
		out.note("not asked: %s is not known here", strings.Join(x.Missing, ", "))
	case s.State == clients.Unfit && len(t.Command) > 0 && t.URL != "":
		out.note("not asked: it has both a command and a URL")
	default:
		out.target = t
	}
}

// parallel is how many servers are asked at once: starting one can cost a lot.
const parallel = 4

// ask asks the servers.
func (d *doctor) ask(ctx context.Context) {
	p := view.NewProgress(d.stderr)
	defer p.Close()
	p.Begin("asking servers", 0, func(n int64) string { return fmt.Sprintf("%d have answered", n) })
	var all sync.WaitGroup
	free := make(chan struct{}, parallel)
	for _, f := range d.findings {
		if f.target == nil {
			continue
		}
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			f.hear(probe.Ask(ctx, *f.target, d.limit))
			p.Done(1)
		})
	}
	all.Wait()
}

// hear takes down what a server has answered.
func (f *finding) hear(a probe.Answer, err error) {
	reachable := err == nil || errors.Is(err, probe.ErrAuthorization)
	f.Reachable = &reachable
	switch {
	case errors.Is(err, probe.ErrAuthorization):
		f.note("it is there, and wants authorization, which is the client's to give")
	case err != nil:
		mend := ""
		if errors.Is(err, probe.ErrNotFound) {
			mend = "install " + f.target.Command[0] + ", or write its whole path into " + f.File
		}
		f.wrong(mend, "%v", err)
	default:
		f.Protocol, f.Era = a.Protocol, "legacy"
		if a.Protocol >= probe.Modern {
			f.Era = "modern"
		}
	}
}

// print prints the findings. The status is 1 if there is a problem.
func (d *doctor) print(asJSON bool) error {
	sick := slices.ContainsFunc(d.findings, func(f *finding) bool { return len(f.Problems) > 0 })
	p := view.New(d.stdout)
	enc := json.NewEncoder(d.stdout)
	enc.SetEscapeHTML(false)
	file := ""
	for _, f := range d.findings {
		if asJSON {
			if err := enc.Encode(f); err != nil {
				return err
			}
			continue
		}
		if f.File != file {
			p.Line(f.Client+":", view.Text(f.File, 0))
			file = f.File
		}
		f.print(p)
	}
	if err := p.Err(); err != nil {
		return err
	}
	if sick {
		return exitStatus(1)
	}
	if !asJSON {
		p.Line("Nothing is wrong.")
	}
	return p.Err()
}

func (f *finding) print(p *view.Printer) {
	if f.History != "" {
		p.Line("daemon:", orNone(f.Daemon))
		p.Line("history:", f.History)
		p.Line("notifications:", orNone(strings.Join(f.Notify, ", ")))
	}
	if f.Server != "" {
		line := []string{view.Text(label(clients.Server{Name: f.Server, Scope: f.Scope}), 80) + ":", string(f.State)}
		if f.As != "" && f.As != f.Server {
			line = append(line, "as "+f.As)
		}
		if f.Protocol != "" {
			line = append(line, "answers,", f.Era, f.Protocol)
		}
		p.Line(append([]string{" "}, line...)...)
	}
	if f.Hooks != "" {
		p.Line("  hooks:", f.Hooks)
	}
	for _, n := range f.Notes {
		p.Line("    note:", view.Text(n, 0))
	}
	for _, w := range f.Problems {
		for i, l := range strings.Split(w.What, "\n") {
			if i == 0 {
				l = "wrong: " + l
			}
			p.Line("   ", view.Text(l, 0))
		}
		if w.Mend != "" {
			p.Line("    mend:", view.Text(w.Mend, 0))
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
