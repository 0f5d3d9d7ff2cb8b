// Package shim is umpire run: it starts a stdio server as a child and gives the four pipes, the client's and the child's,
// to the daemon, or copies between them and the daemon where they cannot be given away. A server that is elsewhere it has
// the daemon reach. It knows nothing else. Where no daemon can be had, it denies every call itself.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/store"
)

// Options says what to run.
type Options struct {
	Name    string
	Command []string
	Env     []string // added to the environment
	// Remote is the server where it is not a child of the shim, and Transport what it speaks.
	Remote    *transport.Remote
	Transport string
	StateDir  string
	Config    string // passed on to a daemon that has to be started
	// Daemon is the command that starts a daemon for StateDir.
	Daemon []string
	Log    *slog.Logger
}

// The patience of the shim.
const (
	daemonWait = 10 * time.Second // for a daemon to listen
	remoteWait = 45 * time.Second // for a daemon to reach a server
)

// conversation lists the variables in which clients tell their children which conversation they belong to.
var conversation = []string{"CLAUDE_CODE_SESSION_ID", "COPILOT_AGENT_SESSION_ID"}

// Run runs the child until it ends and returns its exit status.
func Run(ctx context.Context, opts Options) (status int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	broken := make(chan os.Signal, 1) // nobody reads it: a write to a client that has gone fails, and does not end us
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	if opts.Remote != nil {
		return runRemote(ctx, opts, signals)
	}
	path, err := exec.LookPath(opts.Command[0])
	if err != nil {
		return 127, fmt.Errorf("the server cannot be started: %w", err)
	}
	c, err := child.Start(child.Config{Path: path, Command: opts.Command, Env: opts.Env, Stderr: os.Stderr})
	if err != nil {
		return 126, fmt.Errorf("the server cannot be started: %w", err)
	}
	own := stdio()
	passed := make(chan struct{}) // all that there was to say to the client has been said
	serve, err := connect(ctx, opts, own, c)
	if err != nil {
		opts.Log.Error("every call will be denied", "reason", err)
		serve = func() {
			pump(opts, err, own, transport.NewLines(c, wire.MaxSize))
		}
	}
	go func() {
		serve()
		close(passed)
	}()
	return c.Supervise(passed, signals), nil
}

// pump lets messages through by hand, and calls not at all.
func pump(opts Options, why error, own io.ReadWriteCloser, server proxy.Conn) {
	judge := proxy.Denier{Reason: fmt.Sprintf("umpire cannot judge this call: %v", why)}
	cleaner, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: wire.MinMaxValue, Secret: []byte("nothing is stored")})
	if err != nil {
		opts.Log.Error("calls cannot be answered", "error", err)
		return
	}
	link := proxy.NewLink(proxy.LinkConfig{Judge: judge, Cleaner: cleaner, Log: opts.Log, Origin: proxy.Origin{Server: opts.Name}})
	if err := link.Pump(transport.NewLines(own, wire.MaxSize), server); err != nil {
		opts.Log.Error("the connection ended", "error", err)
	}
}

// hello says who is here.
func hello(opts Options) transport.Hello {
	h := transport.Hello{Name: opts.Name, Command: opts.Command, Process: parent(), Asserted: map[string]string{}}
	if wd, err := os.Getwd(); err == nil {
		h.Workspace = wd
	}
	for _, name := range conversation {
		if id := os.Getenv(name); id != "" {
			h.Asserted[name] = id
		}
	}
	return h
}

// connect attaches client and child to the daemon. Serve returns when there is nothing more to say to the client.
func connect(ctx context.Context, opts Options, own *pipeEnds, c *child.Child) (serve func(), err error) {
	hello := hello(opts)
	err = reach(opts, func(socket string) error {
		ctx, cancel := context.WithTimeout(ctx, daemonWait)
		defer cancel()
		out, in := c.Ends()
		given, err := transport.Give(ctx, socket, hello, transport.Ends{In: own.in, Out: own.out}, transport.Ends{In: out, Out: in})
		if err == nil {
			serve = func() { given.Wait(c.HangUp) }
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		client, server, err := transport.Attach(ctx, socket, hello)
		serve = func() { copyAll(own, c, client, server) }
		return err
	})
	return serve, err
}

// reach calls attach with the socket of the daemon until it succeeds, and starts a daemon if none is there.
func reach(opts Options, attach func(socket string) error) error {
	socket := filepath.Join(opts.StateDir, config.SocketFile)
	if err := attach(socket); err == nil || errors.Is(err, transport.ErrUnreachable) {
		return err
	}
	failed, err := launch(opts)
	if err != nil {
		return fmt.Errorf("the daemon cannot be started: %w", err)
	}
	deadline := time.Now().Add(daemonWait)
	for {
		err := attach(socket)
		switch {
		case err == nil, errors.Is(err, transport.ErrUnreachable):
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("no daemon listens on %s: %w", socket, err)
		}
		select {
		case why := <-failed:
			// If another shim's daemon was faster, ours ends because the history is taken: wait for that one.
			if !strings.Contains(why, store.ErrLocked.Error()) {
				return fmt.Errorf("the daemon ended at once: %s", why)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// launch starts a daemon that outlives the shim. If it ends early, failed says with which last words.
func launch(opts Options) (failed <-chan string, err error) {
	if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
		return nil, err
	}
	logPath := filepath.Join(opts.StateDir, config.LogFile)
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the daemon has its own descriptor
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	args := opts.Daemon[1:]
	if opts.Config != "" {
		args = append(args, "--config", opts.Config)
	}
	cmd := exec.Command(opts.Daemon[0], args...) //nolint:gosec,noctx // this binary; it outlives us
	// Not the client's workspace: a repository must not bring its own umpire.yaml.
	cmd.Dir, cmd.Stdout, cmd.Stderr = opts.StateDir, log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	words := make(chan string, 1)
	go func() {
		err := cmd.Wait()
		words <- lastWords(logPath, from, err)
	}()
	return words, nil
}

// lastWords returns what a daemon wrote to its log before it ended: its error, if it names one. Other daemons that shims
// started at the same time write to the same file.
func lastWords(path string, from int64, err error) string {
	text, readErr := os.ReadFile(path)
	if readErr != nil || int64(len(text)) <= from {
		return fmt.Sprint(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text[from:])), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "error: ") {
			return strings.TrimSpace(l)
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

// copyAll copies between the pipes and the daemon until the daemon has said everything to the client.
func copyAll(own *pipeEnds, c *child.Child, client, server io.ReadWriter) {
	go func() {
		splice(client, own)
		c.HangUp()
	}()
	go splice(c, server)
	go splice(server, c)
	splice(own, client)
}

// splice copies until from ends, and tells to so.
func splice(to io.Writer, from io.Reader) {
	io.Copy(to, from) //nolint:errcheck // either end being gone is the end
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() //nolint:errcheck // it may be gone already
	}
}
