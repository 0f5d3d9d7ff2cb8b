package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy"
)

func (a *app) serve() *cobra.Command {
	var listen, upstream, speaks, name string
	var policies []string
	var idleExit time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: judge, record, pass or deny",
		Long: "Serve runs the daemon in the foreground. It mounts every server of the configuration at /NAME/mcp, /NAME/sse\n" +
			"and /NAME/ws, or with --upstream one server at /mcp, /sse and /ws, and serves the shims of stdio servers (umpire run) over its socket.",
		Example: "  umpire serve\n  umpire serve --listen 127.0.0.1:7777 --upstream http://127.0.0.1:9001/mcp --policy policy.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if upstream == "" && (cmd.Flags().Changed("name") || speaks != "") {
				return usageError{errors.New("--name and --transport are for --upstream")}
			}
			if speaks != "" && !slices.Contains([]string{proxy.TransportHTTP, proxy.TransportSSE, proxy.TransportWS}, speaks) {
				return usageError{fmt.Errorf("--transport %q: want http, sse or ws", speaks)}
			}
			cfg, err := a.load(upstream, speaks, name, policies, idleExit > 0)
			if err != nil {
				return err
			}
			if listen != "" {
				if err := config.CheckListen(listen); err != nil {
					return usageError{err}
				}
				cfg.Listen = listen
			}
			state, err := config.StateDir(a.state)
			if err != nil {
				return err
			}
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
			log := a.logger()
			opts := daemon.Options{Config: cfg, StateDir: state, Version: version(), SocketOnly: idleExit > 0, Log: log}
			if view.Terminal(a.stderr) {
				opts.Bell = a.stderr
			}
			d, err := daemon.Start(opts)
			if err != nil {
				return err
			}
			defer d.Close()
			s := d.Status()
			log.Info("listening", "address", s.Listen, "history", state, "policy", s.Policy[:12])
			if idleExit == 0 {
				log.Info("the web console: umpire console prints a link to it")
			}
			for {
				select {
				case sig := <-signals:
					signal.Stop(signals) // a second one does not wait
					log.Info("stopping", "signal", sig)
					return nil
				case <-time.After(time.Second):
					if idleExit > 0 && d.Idle() > idleExit {
						log.Info("stopping: nobody needs it any more", "idle", idleExit)
						return nil
					}
				}
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "", "`HOST:PORT` to listen on (default that of the configuration, or "+config.DefaultListen+")")
	f.StringVar(&upstream, "upstream", "", "`URL` of one server to mount at /mcp, without a configuration file")
	f.StringVar(&speaks, "transport", "", "what that server speaks: `http, sse` (HTTP+SSE of 2024-11-05) or ws")
	f.StringVar(&name, "name", "upstream", "`NAME` of that server in the policy and in the history")
	f.StringSliceVar(&policies, "policy", nil, "policy `FILE` (default that of the configuration, or the starter policy)")
	f.DurationVar(&idleExit, "idle-exit", 0, "end after so long without a client; 0 is never")
	f.Lookup("idle-exit").Hidden = true
	return cmd
}

// load returns the configuration: with upstream that of the flags alone, else the file's.
func (a *app) load(upstream, speaks, name string, policies []string, byClient bool) (config.Config, error) {
	cfg := config.Default()
	if upstream != "" {
		u, err := config.ParseURL(upstream)
		if err == nil {
			err = config.CheckName(name)
		}
		if err != nil {
			return cfg, usageError{err}
		}
		if a.config != "" {
			return cfg, usageError{errors.New("--upstream and --config: put the server into the configuration")}
		}
		kind, err := config.TransportOf(u, speaks)
		if err != nil {
			return cfg, usageError{err}
		}
		cfg.Servers = []config.Server{{Name: name, URL: u, Transport: kind, Bare: true}}
	} else {
		path, err := config.Find(a.config, byClient)
		if err != nil {
			return cfg, err
		}
		if path != "" {
			if cfg, err = config.Load(path); err != nil {
				return cfg, err
			}
		}
	}
	if len(policies) > 0 {
		if len(cfg.Policies) > 0 {
			return cfg, usageError{fmt.Errorf("--policy and a policy in %s", cfg.Path)}
		}
		var err error
		cfg.Policies, err = absolute(policies)
		return cfg, err
	}
	return cfg, nil
}
