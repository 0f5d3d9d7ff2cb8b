package daemon_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options returns what a daemon on a free port needs. The state directory is short, since it holds a socket.
func options(t testing.TB, rules string) daemon.Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "u")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "umpire.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:0\n"+rules+"\nnotify: {desktop: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return daemon.Options{Config: cfg, StateDir: dir, Version: "v1", Log: slog.New(slog.DiscardHandler)}
}

func start(t testing.TB, opts daemon.Options) *daemon.Daemon {
	t.Helper()
	d, err := daemon.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A daemon that cannot start leaves nothing behind: neither a listener nor the lock on the history. The next one starts.
func TestADaemonThatCannotStartLeavesNothingBehind(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tc := range map[string]struct {
		spoil func(o *daemon.Options)
		want  string
	}{
		"its address is taken":    {func(o *daemon.Options) { o.Config.Listen = taken.Addr().String() }, "address already in use"},
		"everybody could connect": {func(o *daemon.Options) { o.Config.Listen = "0.0.0.0:0" }, "no bearer token"},
		"its policy is gone":      {func(o *daemon.Options) { o.Config.Policies = []string{filepath.Join(o.StateDir, "none.yaml")} }, "the policy cannot be read"},
		"a server has no address": {func(o *daemon.Options) { o.Config.Servers = []config.Server{{Name: "x", URL: &url.URL{}}} }, "want an http or https URL"},
		"its directory has too long a name": {func(o *daemon.Options) {
			o.StateDir = filepath.Join(o.StateDir, strings.Repeat("long", 30))
		}, "too long"},
	} {
		opts := options(t, "rules: []")
		spoilt := opts
		tc.spoil(&spoilt)
		if d, err := daemon.Start(spoilt); err == nil || d != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		start(t, opts).Close()
	}
}

// A daemon that a shim started serves the shim, even if its address is taken.
func TestADaemonOfAShimNeedsNoAddress(t *testing.T) {
	opts := options(t, "rules: []")
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	opts.Config.Listen = strings.TrimPrefix(taken.URL, "http://")
	opts.SocketOnly = true
	d := start(t, opts)
	defer d.Close()
	r := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer r.Close()
	if s, err := r.Status(); err != nil || s.Listen != "" || s.PID != os.Getpid() || s.Version != "v1" {
		t.Errorf("%+v %v", s, err)
	}
}

// What a daemon that was killed left behind is no obstacle, and only its user can use what a daemon makes.
func TestADaemonTakesOverFromOneThatWasKilled(t *testing.T) {
	opts := options(t, "rules: []")
	opts.StateDir = filepath.Join(opts.StateDir, "s")
	if err := os.Mkdir(opts.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(opts.StateDir, config.SocketFile)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	d := start(t, opts)
	defer d.Close()
	r := history.Dial(socket)
	defer r.Close()
	if _, err := r.Status(); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]os.FileMode{socket: 0o600, filepath.Join(opts.StateDir, config.HistoryFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if second, err := daemon.Start(opts); err == nil {
		second.Close()
		t.Error("two daemons share a history")
	}
	if _, err := r.Status(); err != nil { // the second one did not take the socket away
		t.Error(err)
	}
}

// shim attaches a shim with the far ends of its pipes.
func shim(t *testing.T, state string) (client, server net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, s, err := transport.Attach(ctx, filepath.Join(state, config.SocketFile), transport.Hello{
		Name: "peer", Command: []string{"peer"}, Process: "test[1]", Asserted: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, conn := range []net.Conn{c, s} {
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	return c, s
}

func send(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want)+1)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want+"\n" {
		t.Fatalf("%v %q, want %q", err, buf, want)
	}
}

// A daemon that is stopped in the middle of a call ends the shims, and records what was lost and closed.
func TestCloseEndsTheShims(t *testing.T) {
	opts := options(t, "rules: []")
	d := start(t, opts)
	client, server := shim(t, opts.StateDir)
	defer client.Close()
	defer server.Close()
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{}}}`
	send(t, client, call)
	receive(t, server, call)
	if d.Idle() != 0 {
		t.Error("a daemon with a shim is idle")
	}
	d.Close()
	for _, c := range []net.Conn{client, server} {
		if rest, err := io.ReadAll(c); err != nil && !errors.Is(err, net.ErrClosed) || strings.Contains(string(rest), "result") {
			t.Errorf("%q %v", rest, err)
		}
	}
	path := filepath.Join(opts.StateDir, config.HistoryFile)
	storetest.Check(t, path)
	r, live, err := history.Open(opts.StateDir)
	if err != nil || live {
		t.Fatalf("%v %v", live, err)
	}
	defer r.Close()
	var kinds []string
	for e, err := range history.Events(r, 1) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Body.Kind())
		if b, ok := e.Body.(*event.Result); ok && b.Outcome != event.OutcomeLost {
			t.Errorf("%+v", b)
		}
	}
	if got := strings.Join(kinds, " "); got != "loaded opened call verdict result closed" {
		t.Error(got)
	}
}

// A daemon that nobody uses becomes idle, and only then.
func TestIdle(t *testing.T) {
	opts := options(t, "rules: []")
	d := start(t, opts)
	defer d.Close()
	client, server := shim(t, opts.StateDir)
	defer server.Close()
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	send(t, client, ping)
	receive(t, server, ping)
	if got := d.Idle(); got != 0 {
		t.Errorf("idle for %v, with a shim", got)
	}
	client.Close()
	server.Close()
	for deadline := time.Now().Add(10 * time.Second); d.Idle() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never idle")
		}
	}
}

// Where there is no server, the answer says where there are some, and keeps their secrets; strangers get none.
func TestPathsWithoutServer(t *testing.T) {
	opts := options(t, `servers: {shop: {url: "http://user:hunter2@127.0.0.1:1/mcp?key=hunter3"}, files: {command: [files]}}`)
	d := start(t, opts)
	defer d.Close()
	for _, tc := range []struct {
		path, host string
		status     int
		want       string
	}{
		{"/", "", http.StatusOK, "umpire v1"},
		{"/mcp", "", http.StatusNotFound, "no MCP server at /mcp"},
		{"/shop", "", http.StatusNotFound, "/shop/mcp -> http"},
		{"/x", "", http.StatusNotFound, "/files/mcp -> a command (over stdio: umpire run --name files)"},
		{"/", "evil.example", http.StatusForbidden, "not this machine"},
		{"/v1/status", "", http.StatusNotFound, "no MCP server"}, // the socket's, not the network's
		{"/v1/events?from=1", "", http.StatusNotFound, "no MCP server"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.Addr()+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tc.host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.want) || strings.Contains(string(body), "hunter") {
			t.Errorf("%s %s: %v %s %s", tc.host, tc.path, err, resp.Status, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
