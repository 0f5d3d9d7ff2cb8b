// Umpire is a firewall for MCP tool calls: it stands between LLM clients and MCP servers, judges every tools/call by
// the history that led to it, and records everything.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"charm.land/log/v2"
	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/store"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run runs one command and returns the exit status: 0 for success, 1 for failure or for "no", 2 for wrong usage (and failure of diff), 3 if a limit
// is exceeded that the user has set; umpire run returns that of its server.
func run(args []string, stdout, stderr io.Writer) int {
	app := &app{stdout: stdout, stderr: stderr}
	root := app.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	printError(stderr, err)
	var usage usageError
	var limit limitError
	var diff trouble
	switch {
	case errors.As(err, &usage), errors.As(err, &diff):
		return 2
	case errors.As(err, &limit):
		return 3
	}
	return 1
}

// app is what the commands share.
type app struct {
	stdout, stderr io.Writer
	config, state  string // flags
	past           bool   // likewise: read what was imported
	verbose        bool
}

// exitStatus is the error of a command that has said all it had to say.
type exitStatus int

// Error implements error.
func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "umpire",
		Short: "A firewall for MCP tool calls",
		Long: "Umpire stands between LLM clients and MCP servers. It judges every tool call by rate and shape rules over the\n" +
			"history that led to it, records everything, and replays what it recorded.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "configuration `FILE` (default $UMPIRE_CONFIG, ./umpire.yaml, $XDG_CONFIG_HOME/umpire/umpire.yaml)")
	flags.StringVar(&a.state, "state", "", "`DIR` of the history, the socket and the token (default $XDG_STATE_HOME/umpire)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more on stderr")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nhint: %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(a.wrap(), a.unwrap(), a.doctor(), a.serve(), a.run(), a.hook(), a.check(), a.sessions(), a.show(),
		a.log(), a.review(), a.console(), a.tools(), a.baseline(), a.export(), a.imports(),
		a.replay(), a.diffs(), a.suggest(), a.test(), a.drill(), a.eval(), a.demo(), a.version(), a.docs())
	for _, c := range root.Commands() {
		switch c.Name() {
		case "sessions", "show", "log", "tools", "export", "replay", "drill", "suggest":
			c.Flags().BoolVar(&a.past, "past", false, "read what umpire import has brought in, and not what was recorded")
		case "baseline":
			c.PersistentFlags().BoolVar(&a.past, "past", false, "read what umpire import has brought in, and not what was recorded")
		}
	}
	for _, c := range append(root.Commands(), root) {
		check := c.Args
		c.Args = func(cmd *cobra.Command, args []string) error {
			if check == nil {
				check = cobra.NoArgs
			}
			err := check(cmd, args)
			if err == nil {
				return nil
			}
			if cmd == root {
				if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
					return usageError{fmt.Errorf("%w\nhint: did you mean %s %s?", err, cmd.Name(), meant[0])}
				}
			}
			return usageError{fmt.Errorf("%w\nhint: %s --help", err, cmd.CommandPath())}
		}
	}
	return root
}

// logger returns the log for people, on stderr.
func (a *app) logger() *slog.Logger {
	level := log.InfoLevel
	if a.verbose {
		level = log.DebugLevel
	}
	return slog.New(log.NewWithOptions(a.stderr, log.Options{Level: level, ReportTimestamp: true, TimeFormat: time.TimeOnly, Prefix: "umpire"}))
}

// printError writes "error: …", where it stands, and "hint: …".
func printError(w io.Writer, err error) {
	var problems document.Errors
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(w, "error:", p.Detail())
		}
		return
	}
	fmt.Fprintln(w, "error:", err)
	if h := hint(err); h != "" {
		fmt.Fprintln(w, "hint:", h)
	}
}

// hint says what to do about an error.
func hint(err error) string {
	switch {
	case errors.Is(err, review.ErrGone):
		return "umpire review lists what is on hold, umpire show CALL what became of a call"
	case errors.Is(err, store.ErrMissing):
		return "nothing was recorded yet; try umpire demo, or put umpire serve in front of a server"
	case errors.Is(err, store.ErrLocked):
		return "is an umpire serve still starting or stopping? it lets go of the history when it ends"
	case errors.Is(err, store.ErrDamaged):
		return "move " + config.HistoryFile + " away and start again, or bring a copy back; umpire never writes to a damaged history"
	case errors.Is(err, store.ErrFormat):
		return "use the version of umpire that wrote it, or another --state"
	case errors.Is(err, store.ErrImported):
		return "umpire replay and whatever else reads a history works on it; live calls want another --state"
	case errors.Is(err, store.ErrIndexes):
		return "umpire serve makes them again when it starts"
	case errors.Is(err, syscall.EADDRINUSE):
		return "is another umpire serve running? choose an address with --listen HOST:PORT"
	case errors.Is(err, daemon.ErrNoToken):
		return "write one: (umask 077; openssl rand -hex 32 > TOKEN-FILE), or listen on 127.0.0.1"
	}
	return ""
}

// versionText and commitText are set by the release build.
var versionText, commitText = "", ""

// Version returns the version of this binary.
func version() string {
	if versionText != "" {
		return versionText
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
