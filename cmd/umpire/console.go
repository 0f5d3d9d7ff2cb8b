package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/proxy/console"
)

func (a *app) console() *cobra.Command {
	listen := ""
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Print a link to the web console: sessions, held calls, policy, tools, charts",
		Long: "Console has the daemon open the web console on this machine and prints a link to it. A link lets one browser in,\n" +
			"once, within " + fmt.Sprint(int(console.LinkFor.Minutes())) + " minutes; the browser stays in for " + fmt.Sprint(int(console.StayFor.Hours())) + " hours, or until the daemon ends.",
		Example: "  umpire console\n  umpire console --listen 127.0.0.1:7778",
		RunE: func(*cobra.Command, []string) error {
			if listen != "" {
				if err := config.CheckListen(listen); err != nil {
					return usageError{err}
				}
			}
			d, err := a.dial()
			if err != nil {
				return err
			}
			defer d.Close() //nolint:errcheck // it was only read
			link, err := d.Console(listen)
			if errors.Is(err, history.ErrEnded) {
				return errors.New("no daemon is running, and the console is a part of it\nhint: start umpire serve; without it, umpire sessions and umpire show read the history")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, link)
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`HOST:PORT` of this machine to open it at (default any free port of 127.0.0.1)")
	return cmd
}
