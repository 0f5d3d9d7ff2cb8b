package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

func (a *app) wrap() *cobra.Command {
	var c change
	cmd := &cobra.Command{
		Use:   "wrap [CLIENT…]",
		Short: "Put Umpire in front of the MCP servers of your clients",
		Long: "Wrap changes the entries of MCP servers in the configuration files of clients, yours and those of the working\n" +
			"directory, so that every call passes through Umpire. Nothing else in the files changes, and umpire unwrap gives them\n" +
			"back to the byte. Without CLIENT it looks for all that it knows: " + strings.Join(clients.Names(), ", ") + ".",
		Example: "  umpire wrap --dry-run\n  umpire wrap\n  umpire wrap claude-code cursor",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			u, err := a.front()
			if err != nil {
				return err
			}
			c.one = func(f clients.Format, file []byte) ([]byte, []clients.Server, error) { return clients.Wrap(f, file, u) }
			c.listen, c.to, c.verb = u.Listen, clients.Wrapped, "wrapped"
			if c.withHooks {
				c.hooks = func(f clients.HookFile, file []byte) ([]byte, bool, error) {
					out, err := f.AddHooks(file, u)
					return out, false, err
				}
			}
			return a.change(c, args)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.withHooks, "hooks", false, "let clients that have hooks tell Umpire what is said, and ask before their own tools are used")
	return cmd
}

func (a *app) unwrap() *cobra.Command {
	var c change
	cmd := &cobra.Command{
		Use:   "unwrap [CLIENT…]",
		Short: "Take Umpire out again: the clients' files as they were",
		Long: "Unwrap undoes umpire wrap, from what stands in the files alone: every entry becomes what it was, byte for byte,\n" +
			"whatever else has changed meanwhile.",
		Example: "  umpire unwrap --dry-run\n  umpire unwrap\n  umpire unwrap codex",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			listen, err := a.reachable()
			if err != nil {
				return err
			}
			c.one = func(f clients.Format, file []byte) ([]byte, []clients.Server, error) {
				return clients.Unwrap(f, file, listen)
			}
			c.listen, c.to, c.verb = listen, clients.Bare, "unwrapped"
			c.hooks = clients.HookFile.RemoveHooks
			return a.change(c, args)
		},
	}
	c.flags(cmd)
	return cmd
}

// change is what wrap and unwrap do to each file.
type change struct {
	dryRun, user bool
	listen       string
	verb         string
	to           clients.State // of the servers that have been changed
	one          func(clients.Format, []byte) ([]byte, []clients.Server, error)
	withHooks    bool
	// hooks changes a settings file, nil if there is none; gone says that it is to go. It is nil if hooks stay as they are.
	hooks func(f clients.HookFile, file []byte) (out []byte, gone bool, err error)
}

func (c *change) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&c.dryRun, "dry-run", "n", false, "print what would change as a diff, and change nothing")
	cmd.Flags().BoolVar(&c.user, "user", false, "leave the files of the working directory alone: others may share them")
}

// change changes the files of the clients. What is wrong with one of them does not keep it from the others.
func (a *app) change(c change, names []string) error {
	files, looked, err := configFiles(names, c.user)
	if err != nil {
		return err
	}
	overHTTP := false
	p := view.New(a.stdout)
	if c.dryRun {
		p = view.New(a.stderr) // the diff alone on stdout
	}
	hooked, changed, failed := a.changeHooks(c, names, files, p)
	if len(files) == 0 && !hooked {
		return errors.Join(noConfig(looked), p.Err())
	}
	for _, f := range files {
		did, web, err := a.changeFile(c, f, p)
		if err != nil {
			failed = true
			fmt.Fprintf(a.stderr, "error: %s (%s): %v\n", shown(f), f.Client.Title, err)
			if errors.Is(err, inplace.ErrChanged) {
				fmt.Fprintln(a.stderr, "hint: quit", f.Client.Title+", and try again")
			}
		}
		changed, overHTTP = changed || did, overHTTP || web
	}
	if changed && !c.dryRun {
		p.Line("Restart the clients: they read these files when they start.")
	}
	if overHTTP && !a.listening(c.listen) {
		p.Line("Servers with a URL are reached through http://" + c.listen + ": keep umpire serve running.")
	}
	if failed {
		return errors.Join(exitStatus(1), p.Err())
	}
	return p.Err()
}

// changeFile changes one file and says what became of its servers. OverHTTP says that clients now need the daemon's
// address.
func (a *app) changeFile(c change, f clients.File, p *view.Printer) (changed, overHTTP bool, err error) {
	_, was, err := inplace.Read(f.Path)
	if err != nil {
		return false, false, err
	}
	before, err := clients.Servers(f.Client.Format, was, c.listen)
	if err != nil {
		return false, false, err
	}
	now, servers, err := c.one(f.Client.Format, was)
	if err != nil {
		return false, false, err
	}
	changed = !bytes.Equal(was, now)
	if changed && c.dryRun {
		if err := a.diff(shown(f), shown(f), was, now); err != nil {
			return false, false, err
		}
	} else if changed {
		if err := inplace.Write(f.Path, was, now); err != nil {
			return false, false, err
		}
	}
	verb := c.verb
	if c.dryRun {
		verb = "would be " + verb
	}
	p.Line(f.Client.Title+":", view.Text(shown(f), 0))
	for i, s := range servers {
		what := string(s.State)
		switch {
		case before[i].State != s.State:
			what = verb
			overHTTP = overHTTP || s.State == clients.Wrapped && s.Transport != clients.Stdio
		case s.State == clients.Bare:
			what = "not wrapped"
		case s.State == c.to:
			what = "already wrapped"
		case s.State == clients.ByHand && c.to == clients.Bare:
			what = "left alone: it was pointed to Umpire by hand"
		case s.State == clients.ByHand:
			what = "already behind Umpire, by hand"
		case s.State == clients.Unfit && c.to == clients.Bare:
			what = "left alone: it was not wrapped"
		case s.State == clients.Unfit:
			what = "left alone: " + s.Why
		}
		p.Line(" ", view.Text(label(s), 80)+":", what)
	}
	if len(servers) == 0 {
		p.Line("  no MCP servers")
	}
	return changed, overHTTP, nil
}

// diff prints what would change in a file. The names of what is not there are /dev/null.
func (a *app) diff(before, after string, was, now []byte) error {
	_, err := fmt.Fprint(a.stdout, plain(udiff.Unified(before, after, string(was), string(now))))
	return err
}

// label names a server, with the project that it is for.
func label(s clients.Server) string {
	if s.Scope != "" {
		return s.Name + " (" + s.Scope + ")"
	}
	return s.Name
}

// plain makes a diff safe to show: what is in the file of a project was written by others.
func plain(diff string) string {
	lines := strings.Split(diff, "\n")
	for i, l := range lines {
		parts := strings.Split(strings.TrimSuffix(l, "\r"), "\t")
		for j := range parts {
			parts[j] = view.Text(parts[j], 0)
		}
		lines[i] = strings.Join(parts, "\t")
	}
	return strings.Join(lines, "\n")
}

// shown shortens the path of a file for people.
func shown(f clients.File) string {
	home, err := os.UserHomeDir()
	if rel, relErr := filepath.Rel(home, f.Path); err == nil && relErr == nil && filepath.IsLocal(rel) {
		return filepath.Join("~", rel)
	}
	return f.Path
}

// configFiles finds the files of the named clients, or of all: those of the user, then those of the working directory.
// Looked says where they could have been.
func configFiles(names []string, userOnly bool) (files []clients.File, looked []string, err error) {
	list := clients.All()
	if len(names) > 0 {
		list = nil
	}
	for _, n := range names {
		c, ok := clients.Named(n)
		if !ok {
			return nil, nil, usageError{fmt.Errorf("%s is no client that umpire knows\nhint: it knows %s", view.Text(n, 40), strings.Join(clients.Names(), ", "))}
		}
		list = append(list, c)
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return nil, nil, fmt.Errorf("where clients keep their files is not known: %w", err)
	}
	project := ""
	if !userOnly {
		if project, err = os.Getwd(); err != nil {
			return nil, nil, err
		}
	}
	return clients.Find(list, clients.Home{OS: runtime.GOOS, Dir: dir, Getenv: os.Getenv}, project)
}

func noConfig(looked []string) error {
	return fmt.Errorf("no configuration of a client was found; looked for\n  %s", strings.Join(looked, "\n  "))
}

// reachable returns where clients reach the daemon over HTTP; empty if they cannot without a token.
func (a *app) reachable() (string, error) {
	cfg := config.Default()
	path, err := config.Find(a.config, true)
	if err == nil && path != "" {
		cfg, err = config.Load(path)
	}
	if err != nil || !config.IsLoopback(cfg.Listen) || strings.HasSuffix(cfg.Listen, ":0") {
		return "", err
	}
	return cfg.Listen, nil
}

// front returns what clients are pointed to: this program, under the name by which it is found if it has one.
func (a *app) front() (u clients.Umpire, err error) {
	if u.Listen, err = a.reachable(); err != nil {
		return u, err
	}
	if u.Program, err = program(); err != nil {
		return u, err
	}
	for _, flag := range []struct{ name, value string }{{"--config", a.config}, {"--state", a.state}} {
		if flag.value == "" {
			continue
		}
		path, err := filepath.Abs(flag.value)
		if err != nil {
			return u, err
		}
		u.Flags = append(u.Flags, flag.name, path)
	}
	return u, nil
}

// program returns the path of umpire that lasts: what PATH leads to, if that is this program, since where a package
// manager has put this version changes with the next one.
func program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if found, err := exec.LookPath("umpire"); err == nil && isThis(found) {
		return filepath.Abs(found)
	}
	if !clients.IsUmpire(self) {
		return "", fmt.Errorf("%s is not called umpire, by which umpire unwrap would know it\nhint: rename it", self)
	}
	if slices.ContainsFunc(strings.Split(filepath.ToSlash(self), "/"), func(part string) bool { return strings.HasPrefix(part, "go-build") }) {
		return "", fmt.Errorf("%s will not be there any more when a client starts it\nhint: go install ./cmd/umpire, and use that one", self)
	}
	return self, nil
}

// isThis reports whether a path leads to this program.
func isThis(path string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	a, err := os.Stat(path)
	b, selfErr := os.Stat(self)
	return err == nil && selfErr == nil && os.SameFile(a, b)
}

// listening reports whether the daemon of the state directory listens on the address.
func (a *app) listening(addr string) bool {
	d, err := a.dial()
	if err != nil {
		return false
	}
	defer d.Close() //nolint:errcheck // it was only asked
	s, err := d.Status()
	return err == nil && s.Listen == addr
}
