// Package shim is umpire run: it starts a stdio server as a child and gives the four pipes, the client's and the child's,
// to the daemon, or copies between them and the daemon where they cannot be given away. A server that is elsewhere it has
// the daemon reach. It knows nothing else. When the daemon ends, it gives the pipes to the next one. While none can be had,
// it denies every call itself.
package shim

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/proxy/transport"
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

// conversationIDs lists the variables in which clients tell their children which conversation they belong to.
var conversationIDs = []string{"CLAUDE_CODE_SESSION_ID", "COPILOT_AGENT_SESSION_ID"}

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
	v := conversation{opts: opts, own: stdio(), child: c}
	passed := make(chan struct{}) // all that there was to say to the client has been said
	go func() {
		if err := v.serve(ctx); err != nil { // how the child ends counts
			opts.Log.Error("the connection ended", "error", err)
		}
		close(passed)
	}()
	return c.Supervise(passed, signals), nil
}

// runRemote connects the client to a server that the daemon reaches for it. It returns when either has ended.
func runRemote(ctx context.Context, opts Options, signals <-chan os.Signal) (status int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := conversation{opts: opts, own: stdio()}
	ended := make(chan error, 1)
	go func() { ended <- v.serve(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			return 1, err
		}
		return 0, nil
	case s := <-signals: // the daemon ends the rest when we are gone
		if number, ok := s.(syscall.Signal); ok {
			return 128 + int(number), nil
		}
		return 1, nil
	}
}

// hello says who is here.
func hello(opts Options) transport.Hello {
	h := transport.Hello{Name: opts.Name, Command: opts.Command, Process: parent(), Asserted: map[string]string{}}
	if wd, err := os.Getwd(); err == nil {
		h.Workspace = wd
	}
	for _, name := range conversationIDs {
		if id := os.Getenv(name); id != "" {
			h.Asserted[name] = id
		}
	}
	return h
}
