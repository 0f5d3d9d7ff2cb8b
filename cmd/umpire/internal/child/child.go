// Package child runs a stdio server as a child process: in a process group of its own, its stderr drained, and nothing of it
// left when it has ended.
package child

import (
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// Config says what to run.
type Config struct {
	Path    string // of the program
	Command []string
	Env     []string  // added to the environment
	Dir     string    // empty is this process's
	Stderr  io.Writer // gets what the child says on stderr, which is read on even if a write fails
	// Patience is for how long the child may take to end after its stdin is closed, and again after SIGTERM; 0 is 5 s.
	Patience time.Duration
}

// Child is the server process, as the other end of its pipes: Read is its stdout, Write its stdin.
type Child struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	exited chan struct{}
	stderr chan struct{} // closed when all of it has been passed on
	quit   chan struct{} // closed when the client has ended
	once   sync.Once
	wait   time.Duration // for it to end when it should, and again after SIGTERM
}

// Start starts a child.
func Start(cfg Config) (*Child, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errs, childErrs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	widen(in, out)
	c := &Child{in: in, out: out, exited: make(chan struct{}), quit: make(chan struct{}), stderr: make(chan struct{})}
	c.wait = cmp.Or(cfg.Patience, 5*time.Second)
	c.cmd = exec.Command(cfg.Path, cfg.Command[1:]...) //nolint:gosec,noctx // running it is the purpose, and it ends with its pipes
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = childIn, childOut, childErrs
	c.cmd.Env, c.cmd.Dir = append(os.Environ(), cfg.Env...), cfg.Dir
	group(c.cmd)
	// The kernel ends the child with the thread that started it: keep that thread.
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.cmd.Wait() //nolint:errcheck // ProcessState tells
			close(c.exited)
		}
	}()
	err = <-started
	for _, f := range []*os.File{childIn, childOut, childErrs} {
		f.Close() //nolint:errcheck // the child has its own
	}
	if err != nil {
		for _, f := range []*os.File{in, out, errs} {
			f.Close() //nolint:errcheck // the first error counts
		}
		return nil, err
	}
	go func() {
		if _, err := io.Copy(cfg.Stderr, errs); err != nil {
			io.Copy(io.Discard, errs) //nolint:errcheck // nobody listens, but the child must not block
		}
		errs.Close() //nolint:errcheck // it was read
		close(c.stderr)
	}()
	return c, nil
}

// Read reads what the child says.
func (c *Child) Read(p []byte) (int, error) { return c.out.Read(p) }

// Write tells the child something.
func (c *Child) Write(p []byte) (int, error) { return c.in.Write(p) }

// CloseWrite tells the child that nothing more will come, which is how MCP asks a stdio server to end.
func (c *Child) CloseWrite() error {
	c.HangUp()
	return c.in.Close()
}

// Close ends both directions.
func (c *Child) Close() error {
	return errors.Join(c.CloseWrite(), c.out.Close())
}

// Ends returns the pipes to the child.
func (c *Child) Ends() (out, in *os.File) { return c.out, c.in }

// HangUp notes that the client has ended, so that the child has to, too.
func (c *Child) HangUp() { c.once.Do(func() { close(c.quit) }) }

// Supervise waits for the child to end and returns its exit status, 128 and the number if a signal ended it. It passes
// signals on, and waits for the end of passed for a while: then everything has been said to the client. A child that does
// not end after the client has is asked by SIGTERM, then killed with its whole process group.
func (c *Child) Supervise(passed <-chan struct{}, signals <-chan os.Signal) int {
	var patience <-chan time.Time
	quit := c.quit
	step := 0
	for running := true; running; {
		select {
		case s := <-signals:
			c.signal(s)
			if patience == nil {
				patience = time.After(c.wait)
			}
		case <-quit:
			quit, patience = nil, time.After(c.wait)
		case <-patience:
			if step++; step == 1 {
				c.terminate()
				patience = time.After(c.wait)
			} else {
				c.kill()
				patience = nil
			}
		case <-c.exited:
			running = false
		}
	}
	c.kill() // what is left of its process group
	late := time.After(c.wait)
	for _, done := range []<-chan struct{}{passed, c.stderr} {
		select {
		case <-done: // the daemon has answered what the child left open, and the client has it; the last words are out
		case <-late: // a grandchild that left the group may hold the pipes for ever
		}
	}
	return exitStatus(c.cmd.ProcessState)
}
