package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/shim"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// idleExit is how long a daemon that a shim started stays without a client.
const idleExit = "10m"

func (a *app) run() *cobra.Command {
	var name string
	var noArgs bool
	var at remote
	cmd := &cobra.Command{
		Use:   "run [--name NAME] [--url URL | -- COMMAND ARG…]",
		Short: "Run a stdio server behind the daemon, or one that is elsewhere as if it were here",
		Long: "Run starts a stdio MCP server and connects it and the client to the daemon, which it starts if none runs.\n" +
			"In a client's configuration, put it before the server's command. With --url, the client speaks stdio and the\n" +
			"server is elsewhere. With neither, the server of that name in the configuration is run. If there is no daemon to\n" +
			"judge them, every call is denied.",
		Example: "  umpire run --name files -- npx -y @modelcontextprotocol/server-filesystem .\n" +
			"  umpire run --name billing --url https://mcp.example.com/mcp --header 'Authorization: Bearer ${BILLING_TOKEN}'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := shim.Options{Name: name, Command: args, Log: a.logger()}
			if err := at.fill(&opts); err != nil {
				return usageError{err}
			}
			if err := a.fill(&opts); err != nil {
				return err
			}
			a.warnOfConfig(opts)
			status, err := shim.Run(cmd.Context(), opts)
			if err != nil {
				printError(a.stderr, err)
			}
			if status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the server in the policy and in the history (default from the command)")
	cmd.Flags().BoolVar(&noArgs, "no-args", false, "the entry had no args before umpire wrap: umpire unwrap reads it")
	cmd.Flags().Lookup("no-args").Hidden = true
	cmd.Flags().StringVar(&at.url, "url", "", "`URL` of a server that speaks Streamable HTTP, or ws:// and wss://")
	cmd.Flags().StringVar(&at.transport, "transport", "", "what the server at --url speaks: `http, sse` (HTTP+SSE of 2024-11-05) or ws")
	cmd.Flags().StringArrayVar(&at.headers, "header", nil, "`'NAME: VALUE'` that the server is told; ${VARIABLE} comes from the environment")
	return cmd
}

// remote is what the flags say of a server that is elsewhere.
type remote struct {
	url, transport string
	headers        []string
}

func (r remote) fill(opts *shim.Options) error {
	if r.url == "" {
		if r.transport != "" || len(r.headers) > 0 {
			return errors.New("--transport and --header are for --url")
		}
		return nil
	}
	switch {
	case len(opts.Command) > 0:
		return errors.New("want either --url or a command")
	case opts.Name == "":
		return errors.New("--url wants --name NAME, as the policy knows the server")
	case r.transport != "" && !slices.Contains([]string{proxy.TransportHTTP, proxy.TransportSSE, proxy.TransportWS}, r.transport):
		return fmt.Errorf("--transport %q: want http, sse or ws", r.transport)
	}
	u, err := config.ParseURL(r.url)
	if err != nil {
		return err
	}
	if opts.Transport, err = config.TransportOf(u, r.transport); err != nil {
		return err
	}
	opts.Remote = &transport.Remote{URL: u, Header: http.Header{}}
	for _, h := range r.headers {
		name, value, err := config.Header(h)
		if err != nil {
			return err
		}
		opts.Remote.Header.Add(name, value)
	}
	return nil
}

// warnOfConfig says so if a daemon runs with another configuration than the one that was named: it is the one that judges.
func (a *app) warnOfConfig(opts shim.Options) {
	d := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer d.Close() //nolint:errcheck // it was only asked
	if s, err := d.Status(); err == nil && opts.Config != "" && s.Config != opts.Config {
		opts.Log.Warn("the daemon that runs was started with another configuration, and judges by it", "daemon", s.Config, "named", opts.Config)
	}
}

// fill completes what the command line leaves open.
func (a *app) fill(opts *shim.Options) error {
	if err := a.place(opts); err != nil {
		return err
	}
	if len(opts.Command) == 0 && opts.Remote == nil {
		if err := a.configured(opts); err != nil {
			return err
		}
	}
	if opts.Name == "" {
		opts.Name = nameOf(opts.Command)
	}
	if err := config.CheckName(opts.Name); err != nil {
		return usageError{fmt.Errorf("%w\nhint: --name NAME", err)}
	}
	return nil
}

// place says where the daemon is, and how one is started.
func (a *app) place(opts *shim.Options) (err error) {
	if opts.StateDir, err = config.StateDir(a.state); err != nil {
		return err
	}
	if a.config != "" || os.Getenv("UMPIRE_CONFIG") != "" { // the daemon works in another directory
		if opts.Config, err = config.Find(a.config, true); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	opts.Daemon = []string{self, "serve", "--state", opts.StateDir, "--idle-exit", idleExit}
	return nil
}

// configured takes the command or the URL from the configuration.
func (a *app) configured(opts *shim.Options) error {
	path, err := config.Find(a.config, true)
	if err != nil {
		return err
	}
	if opts.Name == "" || path == "" {
		return usageError{errors.New("want a command after --, --url, or --name of a server in the configuration")}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Servers, func(s config.Server) bool { return s.Name == opts.Name })
	if i < 0 {
		return fmt.Errorf("%s has no server %s", path, opts.Name)
	}
	s := cfg.Servers[i]
	opts.Command, opts.Env, opts.Config = s.Command, s.Env, path
	if s.URL != nil {
		opts.Remote, opts.Transport = &transport.Remote{URL: s.URL, Header: s.Headers}, s.Transport
	}
	return nil
}

// nameOf derives a name from a command: the last word that names a package or program, without version and scope.
func nameOf(command []string) string {
	name := filepath.Base(command[0])
	for _, word := range command[1:] {
		launcher := slices.Contains([]string{"npx", "node", "uvx", "uv", "python", "python3", "bunx", "deno", "docker", "go"}, name)
		if !launcher || strings.HasPrefix(word, "-") || word == "run" {
			continue
		}
		name = filepath.Base(word)
	}
	if i := strings.LastIndex(name, "@"); i > 0 {
		name = name[:i]
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "@"), filepath.Ext(name))
	return strings.TrimPrefix(strings.TrimPrefix(name, "mcp-server-"), "server-")
}

// absolute makes paths independent of the working directory.
func absolute(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	for i, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		out[i] = abs
	}
	return out, nil
}
