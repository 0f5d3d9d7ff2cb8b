package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// maxChildren is how many children a server with a command may have for clients that speak HTTP or WebSocket.
const maxChildren = 100

// mount makes a server available over every transport, and returns what is where. A server over Streamable HTTP has a
// reverse proxy before it for clients that speak the same; anything else is relayed.
func (d *Daemon) mount(mux *http.ServeMux, s config.Server) (at string, err error) {
	prefix := "/" + s.Name
	if s.Bare {
		prefix = ""
	}
	kind := ""
	intent := d.opts.Config.Intent.Of(s.Name)
	relay := proxy.RelayConfig{
		Server: s.Name, Headers: s.Headers, Judge: d.gate, Cleaner: d.cleaner, Hearer: d.ear, Intent: intent, Elicitor: d.asks, Guard: d.guard, Log: d.opts.Log,
	}
	if s.URL == nil {
		relay.Dial, relay.Max = d.starter(s), maxChildren
		at = fmt.Sprintf("%s/mcp -> a command (over stdio: umpire run --name %s)", prefix, s.Name)
	} else {
		if kind, err = config.TransportOf(s.URL, s.Transport); err != nil {
			return "", err
		}
		relay.Dial = func(ctx context.Context, header http.Header) (proxy.Conn, error) {
			return proxy.Dial(ctx, kind, transport.Remote{URL: s.URL, Header: header})
		}
		at = fmt.Sprintf("%s/mcp -> %s", prefix, shown(s.URL))
	}
	r, err := proxy.NewRelay(relay)
	if err != nil {
		return "", err
	}
	d.relays = append(d.relays, r)
	mux.HandleFunc(prefix+"/sse", r.Events)
	mux.HandleFunc(prefix+"/messages", r.Messages)
	mux.HandleFunc(prefix+"/ws", r.WebSocket)
	if kind != proxy.TransportHTTP {
		mux.HandleFunc(prefix+"/mcp", r.Streamable)
		return at, nil
	}
	front, err := proxy.NewHTTP(proxy.HTTPConfig{
		Server: s.Name, URL: s.URL, Headers: s.Headers, Judge: d.gate, Cleaner: d.cleaner, Hearer: d.ear, Intent: intent, Elicitor: d.asks, Guard: d.guard, Log: d.opts.Log,
	})
	if err != nil {
		return "", err
	}
	d.fronts = append(d.fronts, front)
	path := prefix + "/mcp"
	mux.Handle(path, front)
	mux.Handle(proxy.MetadataPath+path, front.Metadata(path))
	over := slices.DeleteFunc(slices.Clone(d.opts.Config.Servers), func(s config.Server) bool { return s.URL == nil })
	if len(over) == 1 {
		mux.Handle(proxy.MetadataPath, front.Metadata(path)) // for clients that look nowhere else
	}
	return at, nil
}

// rejoinWait is for how long a server may take to begin a conversation anew.
const rejoinWait = 30 * time.Second

// reach connects to the server of a shim that has no child.
func (d *Daemon) reach(ctx context.Context, hello transport.Hello) (serve func(client io.ReadWriteCloser), err error) {
	u, err := config.ParseURL(hello.URL)
	if err != nil {
		return nil, err
	}
	kind, err := config.TransportOf(u, hello.Transport)
	if err != nil {
		return nil, err
	}
	server, err := proxy.Dial(ctx, kind, transport.Remote{URL: u, Header: hello.Header})
	if err != nil {
		return nil, err
	}
	return func(client io.ReadWriteCloser) {
		if client == nil {
			server.Close() //nolint:errcheck // it was not used
			return
		}
		if side, ok := client.(*transport.Side); ok {
			if greeting := side.Ledger().Greeting(); greeting != nil { // of a conversation that a former daemon served
				ctx, cancel := context.WithTimeout(d.ctx, rejoinWait)
				defer cancel()
				if err := proxy.Rejoin(ctx, server, greeting); err != nil {
					d.opts.Log.Warn("a server cannot go on where it was", "server", hello.Name, "error", err)
					server.Close() //nolint:errcheck // ends the pump, which tells the client
				}
			}
		}
		d.pump(hello, client, server)
	}, nil
}

// starter returns what starts the command of a server for a client that cannot. It works in the directory of the
// configuration.
func (d *Daemon) starter(s config.Server) func(context.Context, http.Header) (proxy.Conn, error) {
	return func(context.Context, http.Header) (proxy.Conn, error) {
		program, dir := s.Command[0], filepath.Dir(d.opts.Config.Path)
		if filepath.Base(program) != program && !filepath.IsAbs(program) {
			program = filepath.Join(dir, program)
		}
		path, err := exec.LookPath(program)
		if err != nil {
			return nil, fmt.Errorf("it cannot be started: %w", err)
		}
		c, err := child.Start(child.Config{
			Path: path, Command: s.Command, Env: s.Env, Dir: dir,
			Stderr: &diary{log: d.opts.Log.With("server", s.Name), clean: d.cleaner},
		})
		if err != nil {
			return nil, fmt.Errorf("it cannot be started: %w", err)
		}
		o := &offspring{Lines: transport.NewLines(c, wire.MaxSize), over: make(chan struct{})}
		d.running.Go(func() {
			said := make(chan struct{})
			close(said)
			status := c.Supervise(said, nil)
			d.opts.Log.Info("a child ended", "server", s.Name, "status", status)
			close(o.over)
		})
		return o, nil
	}
}

// offspring is a connection to a child of the daemon.
type offspring struct {
	*transport.Lines
	over chan struct{}
}

// Close ends the child, and returns when it has ended.
func (o *offspring) Close() error {
	err := o.Lines.Close()
	<-o.over
	return err
}

// diary writes what a child says on stderr to the log, a line each.
type diary struct {
	log   *slog.Logger
	clean *wire.Cleaner
	mu    sync.Mutex
	line  []byte
}

// maxLine is how much of a line is kept.
const maxLine = 4 << 10

// Write implements io.Writer.
func (w *diary) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, line[:min(len(line), maxLine-len(w.line))]...)
		if rest = after; whole {
			w.log.Info("stderr", "text", w.clean.Text(string(bytes.TrimSpace(w.line))))
			w.line = w.line[:0]
		}
	}
	return len(p), nil
}
