package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/demo"
)

func (a *app) demo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Watch an agent being talked into refunds, without Umpire and with it",
		Long: "Demo starts three small MCP servers, the daemon in front of them and a scripted MCP client on this machine, and\n" +
			"plays seven scenes; before the last one it learns what is normal. It takes some seconds. Its histories stay below the\n" +
			"state directory, to look at.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := config.StateDir(a.state)
			if err != nil {
				return err
			}
			log := slog.New(slog.DiscardHandler)
			if a.verbose {
				log = a.logger()
			}
			return demo.Run(cmd.Context(), demo.Options{
				StateDir: filepath.Join(state, "demo"), Out: io.Writer(a.stdout), Command: command(), Version: version(), Log: log,
			})
		},
	}
}

// command returns how to call this binary again.
func command() string {
	self, err := os.Executable()
	switch {
	case err == nil && strings.Contains(filepath.ToSlash(self), "/go-build"): // go run
		return "go run ./cmd/umpire"
	case strings.ContainsRune(os.Args[0], filepath.Separator):
		return os.Args[0]
	}
	return "umpire"
}
