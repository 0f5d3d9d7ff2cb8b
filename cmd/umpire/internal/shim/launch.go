package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/store"
)

// Reach calls attach with the socket of the daemon until it succeeds, and starts a daemon if none is there.
func Reach(opts Options, attach func(socket string) error) error {
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
