// Package daemon is umpire serve: it owns the history, the gate and every listener.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/console"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/store"
)

// Options says what to run.
type Options struct {
	Config   config.Config
	StateDir string
	Version  string
	// SocketOnly starts without the TCP listener if its address is taken: a daemon that a shim started has to serve
	// the shim in any case.
	SocketOnly bool
	Bell       io.Writer        // the terminal that rings when a call is put on hold; nil is none
	Now        func() time.Time // nil is time.Now
	Log        *slog.Logger
}

// Daemon is a running umpire serve.
type Daemon struct {
	opts    Options
	db      *store.DB
	gate    *proxy.Gate
	cleaner *wire.Cleaner
	guard   proxy.Guard
	ear     *conversation.Ear
	models  []*conversation.Model
	asks    *proxy.Elicitor // nil if no user is asked in his client
	hooks   *hook.Hooks
	fronts  []*proxy.HTTP
	relays  []*proxy.Relay
	notify  *notify.Notifier
	user    string
	started time.Time

	listener net.Listener // nil with SocketOnly
	servers  []*http.Server
	ctx      context.Context // done when the daemon ends
	stop     context.CancelFunc
	running  sync.WaitGroup // goroutines of the daemon
	serving  sync.WaitGroup // requests and pipes in progress

	mu    sync.Mutex
	pipes map[*proxy.Link]func() // ends the link's connections
	// passages are the fronts of servers that clients name: *proxy.HTTP, or *proxy.Relay for WebSockets.
	passages map[string]any
	serial   int

	console     *console.Console // nil until somebody asks for it
	consoleAddr string
	linked      []*time.Timer  // that remove files which lead to it
	counts      *console.Tally // likewise
	past        past
	playing     playing
	nearing     nearing
	practising  practising
	pictures    pictures

	busy    atomic.Int64 // when something last happened, in Unix nanoseconds
	streams atomic.Int64 // requests over HTTP in progress
	rest    rest
}

// Start starts a daemon. If it returns an error, nothing is left behind.
func Start(opts Options) (d *Daemon, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	sources, err := opts.Config.Sources()
	if err != nil {
		return nil, err
	}
	policy, err := rules.Compile(sources, config.Env())
	if err != nil {
		return nil, err
	}
	d = &Daemon{opts: opts, started: time.Now(), pipes: map[*proxy.Link]func(){}, passages: map[string]any{}, rest: rest{free: freeMemory}}
	d.busy.Store(time.Now().UnixNano())
	defer func() {
		if err != nil {
			d.Close()
			d = nil
		}
	}()
	if d.user, err = userName(); err != nil {
		return d, err
	}
	if d.guard, err = guard(opts, d.user); err != nil {
		return d, err
	}
	h := opts.Config.History
	d.db, err = store.Open(store.Config{Path: filepath.Join(opts.StateDir, config.HistoryFile), Async: h.Async, Log: opts.Log})
	if err != nil {
		return d, err
	}
	if d.cleaner, err = wire.NewCleaner(wire.CleanerConfig{Redact: h.Redact, MaxValue: h.MaxValue, Secret: d.db.Secret()}); err != nil {
		return d, err
	}
	g := proxy.GateConfig{Recorder: d.db, Policy: policy, Now: opts.Now, Log: opts.Log}
	d.past.db = d.db
	d.unlink() // of one that was killed
	if g.Build, err = build(); err == nil {
		g.Snapshots, d.past.build = d.db, g.Build
	} else {
		opts.Log.Warn("snapshots are not used: it is not known which program this is", "error", err)
	}
	if d.gate, err = proxy.NewGate(g); err != nil {
		return d, err
	}
	if clients := opts.Config.Holds.AskInClient; len(clients) > 0 {
		d.asks, err = proxy.NewElicitor(proxy.ElicitorConfig{Desk: d.gate.Desk(), Clients: clients, Secret: d.db.Secret(), Log: opts.Log})
		if err != nil {
			return d, err
		}
	}
	d.notify = notify.Start(d.gate.Desk(), notifying(opts))
	if d.ear, err = conversation.NewEar(conversation.Config{
		Recorder: d.gate, Tools: d.gate, Cleaner: d.cleaner, Keep: h.Conversation, Now: opts.Now, Log: opts.Log,
	}); err != nil {
		return d, err
	}
	if d.hooks, err = hook.New(hook.Config{Gate: d.gate, Cleaner: d.cleaner, Keep: h.Conversation, Now: opts.Now, Log: opts.Log}); err != nil {
		return d, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.ctx, d.stop = ctx, cancel
	if err = d.listen(); err != nil {
		return d, err
	}
	if err = d.watchPolicy(ctx); err != nil {
		return d, err
	}
	d.running.Go(func() { d.prune(ctx) })
	return d, nil
}

// notifying says how people and programs are told that a call is on hold.
func notifying(opts Options) notify.Config {
	told := opts.Config.Notify
	cfg := notify.Config{Desktop: told.Desktop, Webhook: told.Webhook, Version: opts.Version, Log: opts.Log}
	if told.Bell {
		cfg.Bell = opts.Bell
	}
	return cfg
}

func userName() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("who you are is not known: %w", err)
	}
	return u.Username, nil
}

// guard says who may connect over TCP: only this machine, unless there is a token.
func guard(opts Options, user string) (proxy.Guard, error) {
	g := proxy.Guard{User: user}
	if config.IsLoopback(opts.Config.Listen) {
		return g, nil
	}
	path := filepath.Join(opts.StateDir, config.TokenFile)
	text, err := os.ReadFile(path)
	g.Token = strings.TrimSpace(string(text))
	if err != nil || len(g.Token) < 16 {
		return g, fmt.Errorf("%w: listening on %s lets other machines connect, and %s holds no token of 16 characters or more",
			ErrNoToken, opts.Config.Listen, path)
	}
	return g, nil
}

// ErrNoToken says that Umpire will not listen beyond this machine without a bearer token.
var ErrNoToken = errors.New("no bearer token")

// listen opens the listeners and begins to serve.
func (d *Daemon) listen() error {
	mux := http.NewServeMux()
	var names []string
	for _, s := range d.opts.Config.Servers {
		mounted, err := d.mount(mux, s)
		if err != nil {
			return err
		}
		names = append(names, mounted)
	}
	mux.Handle("/v1/turns", conversation.Turns{Ear: d.ear, Principal: d.guard.Principal})
	for _, name := range hook.Names() {
		mux.HandleFunc("/hooks/"+name, d.hookURL(hook.Find(name)))
	}
	mux.HandleFunc("/", d.unknown(names))
	all, err := d.withModels(mux)
	if err != nil {
		return err
	}

	socket := filepath.Join(d.opts.StateDir, config.SocketFile)
	if len(socket) > 100 {
		return fmt.Errorf("the path of the socket is too long for this system: %s", socket)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) { // the history is ours, so nobody listens there
		return fmt.Errorf("the socket is in the way: %w", err)
	}
	unix, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		unix.Close() //nolint:errcheck // the first error counts
		return err
	}
	tcp, err := new(net.ListenConfig).Listen(context.Background(), "tcp", d.opts.Config.Listen)
	if err != nil && !d.opts.SocketOnly {
		unix.Close() //nolint:errcheck // the first error counts
		return err
	}
	d.listener = tcp // before anybody can ask for it
	d.mu.Lock()      // as soon as the socket is served, somebody can ask for the console
	defer d.mu.Unlock()
	d.serve(unix, d.api())
	if err != nil {
		d.opts.Log.Warn("serving the socket only", "error", err)
		return nil
	}
	d.serve(tcp, d.alive(d.through(all)))
	for _, n := range names {
		d.opts.Log.Info("server", "mount", n)
	}
	return nil
}

// shown returns a URL without its secrets: many servers are told a key in the query.
func shown(u *url.URL) string {
	out := *u
	if out.RawQuery != "" {
		out.RawQuery = "…"
	}
	return out.Redacted()
}

// serve begins to serve a listener. d.mu is held.
func (d *Daemon) serve(l net.Listener, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(d.opts.Log.Handler(), slog.LevelDebug),
	}
	d.servers = append(d.servers, s)
	d.running.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.opts.Log.Error("a listener ended", "error", err)
		}
	})
}

// alive notes that the daemon is in use.
func (d *Daemon) alive(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.serving.Add(1)
		defer d.serving.Done()
		d.streams.Add(1)
		defer d.streams.Add(-1)
		d.touch()
		defer d.touch()
		h.ServeHTTP(w, r)
	})
}

func (d *Daemon) touch() {
	d.busy.Store(time.Now().UnixNano())
	d.rest.await(&d.busy)
}

// Idle returns for how long nobody has used the daemon.
func (d *Daemon) Idle() time.Duration {
	d.mu.Lock()
	n := len(d.pipes)
	d.mu.Unlock()
	if n > 0 || d.streams.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, d.busy.Load()))
}

// unknown answers paths at which there is no server.
func (d *Daemon) unknown(names []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := d.guard.Principal(w, r); !ok {
			return
		}
		status, text := http.StatusNotFound, "no MCP server at "+r.URL.Path
		if r.URL.Path == "/" {
			status, text = http.StatusOK, "umpire "+d.opts.Version
		}
		http.Error(w, text+"\n\nservers:\n"+strings.Join(names, "\n"), status)
	}
}

// Addr returns the address that the daemon listens on; empty if it serves the socket only.
func (d *Daemon) Addr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// attach serves a shim until one of its ends is gone.
func (d *Daemon) attach(hello transport.Hello, client, server io.ReadWriteCloser) {
	d.pump(hello, client, transport.NewLines(server, wire.MaxSize))
}

// pump moves frames between a shim and its server until one of them is gone. When the daemon ends, a shim that has given
// its pipes keeps both.
func (d *Daemon) pump(hello transport.Hello, client io.ReadWriteCloser, server proxy.Conn) {
	d.serving.Add(1)
	defer d.serving.Done()
	d.mu.Lock()
	d.serial++
	id := fmt.Sprintf("%s:%s:%x-%d", proxy.TransportStdio, hello.Name, d.started.UnixNano(), d.serial)
	d.mu.Unlock()
	cfg := proxy.LinkConfig{
		Judge: d.gate, Cleaner: d.cleaner, Hearer: d.ear, Intent: d.opts.Config.Intent.Of(hello.Name), Elicitor: d.asks, Log: d.opts.Log, Origin: stdioOrigin(id, d.user, hello),
	}
	given, ok := client.(*transport.Side)
	if ok {
		cfg.Ledger = given.Ledger()
	}
	link := proxy.NewLink(cfg)
	end := func() {
		if given != nil {
			given.Drop()
			link.Leave("umpire stopped")
		}
		client.Close() //nolint:errcheck // ends the pump
		server.Close() //nolint:errcheck // as above
	}
	d.mu.Lock()
	d.pipes[link] = end
	d.mu.Unlock()
	if d.ctx.Err() != nil { // Close may have ended all pipes before it knew of this one
		end()
	}
	d.opts.Log.Info("attached", "server", hello.Name, "command", d.cleaner.Text(strings.Join(hello.Command, " ")), "client", hello.Process)
	if err := link.Pump(transport.NewLines(client, wire.MaxSize), server); err != nil {
		d.opts.Log.Warn("a stdio server ended with an error", "server", hello.Name, "error", err)
	}
	d.mu.Lock()
	delete(d.pipes, link)
	d.mu.Unlock()
	d.touch()
}

// Status returns what the daemon says about itself.
func (d *Daemon) Status() history.Status {
	return history.Status{
		Version: d.opts.Version, PID: os.Getpid(), Listen: d.Addr(), Config: d.opts.Config.Path, Policy: d.gate.Policy().Digest(), Started: d.started, Last: d.db.Last(),
		Notify: d.notify.Channels(), Bell: d.opts.Config.Notify.Bell,
	}
}

// prune applies the retention, now and every hour.
func (d *Daemon) prune(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		h := d.opts.Config.History
		now := d.opts.Now()
		needed := max(d.gate.Policy().Horizon(), rules.HoldFor) // a policy before may have held a call
		n, err := d.db.Prune(store.Retention{
			Before: eventTime(now.Add(-h.Keep)), MaxBytes: h.MaxSize, Floor: eventTime(now.Add(-needed)),
		})
		switch {
		case err != nil && ctx.Err() == nil:
			d.opts.Log.Error("old history could not be removed", "error", err)
		case n > 0:
			d.opts.Log.Info("old history removed", "events", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close ends everything: listeners first, then links, then the gate and the history.
func (d *Daemon) Close() {
	if d.stop != nil {
		d.stop()
	}
	if d.gate != nil { // while there still is somebody to tell
		d.gate.Desk().Close("umpire is stopping")
	}
	d.mu.Lock()
	relays, servers := d.relays, d.servers
	d.mu.Unlock()
	for _, r := range relays { // their streams do not end by themselves
		r.Close()
	}
	for _, s := range servers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if s.Shutdown(ctx) != nil { // streams stay open for ever if nobody ends them
			s.Close() //nolint:errcheck // nothing is left to serve
		}
		cancel()
	}
	if d.notify != nil {
		d.notify.Close()
	}
	d.mu.Lock()
	ends := make([]func(), 0, len(d.pipes))
	for _, end := range d.pipes {
		ends = append(ends, end)
	}
	d.mu.Unlock()
	for _, end := range ends {
		end()
	}
	d.serving.Wait()
	if d.db != nil { // the directory is ours
		d.unlink()
	}
	d.rest.stop()
	for _, f := range slices.Backward(d.fronts) {
		f.Close()
	}
	for _, m := range d.models {
		m.Close()
	}
	d.running.Wait()
	if d.gate != nil {
		d.gate.Close()
	}
	if d.db != nil {
		if err := d.db.Close(); err != nil {
			d.opts.Log.Error("the history could not be closed", "error", err)
		}
	}
}
