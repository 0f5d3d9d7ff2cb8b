package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/shim"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
)

func (a *app) hook() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook CLIENT",
		Short: "Tell the daemon what a client's hook tells, and answer the client",
		Long: "Hook is what a client runs as its hook: it reads the hook's JSON from stdin, passes it on to the daemon, which it starts\n" +
			"if none runs, and answers as the client expects it. The client's own tools are judged by the rules for the server\n" +
			hook.Server + "; what is denied does not happen. If no daemon can be had, no tool is used.\n\n" +
			"Clients: " + strings.Join(hook.Names(), ", "),
		Example: "  umpire hook claude-code",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := hook.Find(args[0])
			if client == nil {
				return usageError{fmt.Errorf("the hooks of %.60q are not known\nhint: umpire hook takes %s", args[0], strings.Join(hook.Names(), ", "))}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			raw, err := io.ReadAll(io.LimitReader(os.Stdin, wire.MaxSize+1))
			var answer hook.Answer
			if err == nil {
				answer, err = a.tell(ctx, client, raw)
			}
			if err != nil {
				answer = client.Refuse(raw, fmt.Errorf("it cannot be judged: %w", err))
			}
			return a.reply(answer)
		},
	}
	cmd.Flags().String("made", "", "what umpire wrap --hooks made for this hook: umpire unwrap reads it")
	cmd.Flags().Lookup("made").Hidden = true
	return cmd
}

// tell has the daemon hear a hook.
func (a *app) tell(ctx context.Context, client *hook.Client, raw []byte) (hook.Answer, error) {
	var opts shim.Options
	if err := a.place(&opts); err != nil {
		return hook.Answer{}, err
	}
	d := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer d.Close() //nolint:errcheck // it was only asked
	if err := shim.Reach(opts, func(string) error {
		_, err := d.Status()
		return err
	}); err != nil {
		return hook.Answer{}, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	ctx, cancel := context.WithTimeout(ctx, rules.HoldFor+time.Minute/2) // less than its client waits
	defer cancel()
	return d.Hook(ctx, client.Name, url.Values{"root": client.Roots(os.Getenv, home)}, raw)
}

// reply says what there is to say to the client.
func (a *app) reply(answer hook.Answer) error {
	if answer.Stdout != "" {
		if _, err := fmt.Fprintln(a.stdout, answer.Stdout); err != nil {
			return err
		}
	}
	if answer.Stderr != "" {
		fmt.Fprintln(a.stderr, answer.Stderr)
	}
	if answer.Exit != 0 {
		return exitStatus(answer.Exit)
	}
	return nil
}
