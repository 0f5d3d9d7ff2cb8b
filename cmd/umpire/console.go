package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/cli/browser"
	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/console"
)

func (a *app) console() *cobra.Command {
	listen, open, keep := "", false, false
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Open the web console: sessions, held calls, policy, tools, charts",
		Long: "Console has the daemon open the web console on this machine, opens it in your browser and prints a link to it. Where\n" +
			"its output is no terminal, or there is no desktop, it prints the link alone. A link lets one browser in,\n" +
			"once, within " + fmt.Sprint(int(console.LinkFor.Minutes())) + " minutes; the browser stays in for " + fmt.Sprint(int(console.StayFor.Hours())) + " hours, or until the daemon ends.",
		Example: "  umpire console\n  umpire console --no-open --listen 127.0.0.1:7778",
		RunE: func(*cobra.Command, []string) error {
			if open && keep {
				return usageError{errors.New("--open and --no-open")}
			}
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
			show := open || !keep && a.desktop()
			link, err := d.Console(listen, show)
			if errors.Is(err, history.ErrEnded) {
				return errors.New("no daemon is running, and the console is a part of it\nhint: start umpire serve; without it, umpire sessions and umpire show read the history")
			}
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintln(a.stdout, link.URL); err == nil && show {
				err = openFile(link.File)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&open, "open", false, "open a browser, whatever the output is")
	cmd.Flags().BoolVar(&keep, "no-open", false, "print the link alone")
	cmd.Flags().StringVar(&listen, "listen", "", "`HOST:PORT` of this machine to open it at (default any free port of 127.0.0.1)")
	return cmd
}

// desktop reports whether somebody sits before the terminal who sees a browser that opens.
func (a *app) desktop() bool {
	if !view.Terminal(a.stdout) {
		return false
	}
	switch runtime.GOOS {
	case "windows":
		return true
	case "darwin":
		return os.Getenv("SSH_CONNECTION") == ""
	}
	return cmp.Or(os.Getenv("WAYLAND_DISPLAY"), os.Getenv("DISPLAY"), os.Getenv("WSL_DISTRO_NAME")) != ""
}

// opens is how long what opens a browser may take. Where it becomes the browser itself, it goes on.
const opens = 3 * time.Second

// openFile opens a file in the browser. The link in it is not an argument of a process, which others could read.
func openFile(path string) error {
	address := path
	if runtime.GOOS != "windows" {
		address = (&url.URL{Scheme: "file", Path: path}).String()
	}
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	opened := make(chan error, 1)
	go func() { opened <- browser.OpenURL(address) }()
	select {
	case err := <-opened:
		if err != nil {
			return fmt.Errorf("no browser could be opened (%w)\nhint: open the link yourself; --no-open prints it alone", err)
		}
	case <-time.After(opens):
	}
	return nil
}
