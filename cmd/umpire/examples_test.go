package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/examples/billing"
)

// entry is a server in a client's configuration.
type entry struct {
	URL     string   `json:"url"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// The client configurations of examples/clients lead to the same tools before and after, with the daemon running under
// examples/umpire.yaml. Only the ports are others.
func TestExampleClientsSeeTheSameToolsBeforeAndAfter(t *testing.T) {
	shop := httptest.NewServer(billing.NewShop(200).Handler())
	defer shop.Close()
	home, err := os.MkdirTemp("", "u") // short, since it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	cfg, err := config.Load(filepath.Join(root, "examples", "umpire.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	for i, s := range cfg.Servers {
		if s.URL != nil {
			cfg.Servers[i].URL, err = config.ParseURL(shop.URL + s.URL.Path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := daemon.Start(daemon.Options{Config: cfg, StateDir: filepath.Join(home, "umpire"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ports := strings.NewReplacer("http://127.0.0.1:9001", shop.URL, "http://"+config.DefaultListen, "http://"+d.Addr())

	files, err := filepath.Glob(filepath.Join(root, "examples", "clients", "*.before.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, before := range files {
		after := strings.Replace(before, ".before.", ".after.", 1)
		was, is := entries(t, before, ports), entries(t, after, ports)
		if len(was) == 0 || len(was) != len(is) {
			t.Errorf("%s has %d servers, %s has %d", before, len(was), after, len(is))
		}
		for name := range was {
			t.Run(filepath.Base(after)+"/"+name, func(t *testing.T) {
				direct, guarded := was[name].tools(t, home), is[name].tools(t, home)
				if len(direct) == 0 || !slices.Equal(direct, guarded) {
					t.Errorf("%q directly, %q through Umpire", direct, guarded)
				}
			})
		}
	}
}

// What umpire wrap makes of the client configurations leads to the same tools, and umpire unwrap gives them back.
func TestWrappedExampleClientsSeeTheSameTools(t *testing.T) {
	shop := httptest.NewServer(billing.NewShop(200).Handler())
	defer shop.Close()
	home, err := os.MkdirTemp("", "u") // short, since it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	d, err := daemon.Start(daemon.Options{Config: cfg, StateDir: filepath.Join(home, "umpire"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	umpire, err := exec.LookPath("umpire")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"claude-code", "cursor", "vscode"} {
		c, ok := clients.Named(name)
		text, err := os.ReadFile(filepath.Join(root, "examples", "clients", name+".before.json"))
		if !ok || err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "http://127.0.0.1:9001", shop.URL))
		wrapped, servers, err := clients.Wrap(c.Format, text, clients.Umpire{Program: umpire, Listen: d.Addr()})
		if err != nil || len(servers) != 2 {
			t.Fatal(servers, err)
		}
		for _, s := range servers {
			t.Run(name+"/"+s.Name, func(t *testing.T) {
				is := entry{URL: s.URL}
				was := entry{URL: s.Upstream()}
				if s.Command != nil {
					is.Command, is.Args = s.Command[0], s.Command[1:]
					was.Command, was.Args = s.Inner()[0], s.Inner()[1:]
				}
				direct, guarded := was.tools(t, home), is.tools(t, home)
				if s.State != clients.Wrapped || len(direct) == 0 || !slices.Equal(direct, guarded) {
					t.Errorf("%s: %q directly, %q through Umpire", s.State, direct, guarded)
				}
			})
		}
		back, _, err := clients.Unwrap(c.Format, wrapped, d.Addr())
		if err != nil || string(back) != string(text) {
			t.Errorf("%s: %v\n%s", name, err, back)
		}
	}
}

// entries reads the servers of a client's configuration, which clients keep under one of two names.
func entries(t *testing.T, file string, ports *strings.Replacer) map[string]entry {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ MCPServers, Servers map[string]entry }
	if err := json.Unmarshal([]byte(ports.Replace(string(text))), &c); err != nil {
		t.Fatal(err)
	}
	if c.Servers != nil {
		return c.Servers
	}
	return c.MCPServers
}

// tools connects to the server as its client would and returns the names of its tools.
func (e entry) tools(t *testing.T, home string) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: e.URL}
	if e.Command != "" {
		bin := filepath.Dir(installed(t, "mcp-server-filesystem"))
		cmd := exec.CommandContext(ctx, e.Command, e.Args...)
		cmd.Dir = filepath.Dir(filepath.Dir(bin)) // npx finds what is installed here
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+home)
		transport = &mcp.CommandTransport{Command: cmd}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "1"}, nil).Connect(ctx, transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// installed returns where a server of the npm registry is. The test is skipped without it, but not where UMPIRE_CI is
// set: the project's own check has everything.
func installed(t *testing.T, server string) string {
	t.Helper()
	path, err := exec.LookPath(server)
	if err == nil {
		return path
	}
	why := fmt.Sprintf("%s is not on PATH: npm install --prefix DIR @modelcontextprotocol/%s, and add DIR/node_modules/.bin to PATH",
		server, strings.TrimPrefix(server, "mcp-"))
	if os.Getenv("UMPIRE_CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}
