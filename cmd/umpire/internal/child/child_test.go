//go:build unix

package child

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is seen of a child from outside is tested in cmd/umpire; here is what can only be seen from within.

// startShell starts a shell that runs a script.
func startShell(t *testing.T, script string) *Child {
	t.Helper()
	c, err := Start(Config{Path: "/bin/sh", Command: []string{"sh", "-c", script}, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	c.wait = 50 * time.Millisecond
	return c
}

// line reads the next line of a child.
func line(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	s, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// A server that hears neither the end of its input nor SIGTERM is asked, and then killed; how it ended is how umpire run
// ends.
func TestADeafServerIsKilled(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		status int
		wait   time.Duration // twice as long as a busy machine may need, where the child ends by itself
	}{
		"deaf to the end of its input":  {"echo ready; while :; do sleep 0.01; done", 128 + int(syscall.SIGTERM), 2 * time.Second},
		"deaf to SIGTERM":               {"trap '' TERM; echo ready; while :; do sleep 0.01; done", 128 + int(syscall.SIGKILL), 50 * time.Millisecond},
		"ends with a status of its own": {"trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done", 3, 2 * time.Second},
		"ends by the end of its input":  {"echo ready; cat >/dev/null; exit 4", 4, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startShell(t, tc.script)
			c.wait = tc.wait
			if got := line(t, bufio.NewReader(c)); got != "ready" {
				t.Fatal(got)
			}
			passed := make(chan struct{})
			close(passed)
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if got := c.Supervise(passed, nil); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
			if err := c.CloseWrite(); !errors.Is(err, os.ErrClosed) { // twice is once
				t.Error(err)
			}
			c.Close()
		})
	}
}

// Somebody who left the process group may hold the pipes for ever. Umpire run does not wait for ever.
func TestPipesThatStayOpenHoldNobodyUp(t *testing.T) {
	c := startShell(t, "exit 5")
	never := make(chan struct{})
	if got := c.Supervise(never, nil); got != 5 {
		t.Errorf("status %d", got)
	}
	c.Close()
}

// Messages larger than a pipe go both ways.
func TestLargeMessagesPassTheChildsPipes(t *testing.T) {
	c := startShell(t, "exec cat")
	big := append(bytes.Repeat([]byte("x"), 3<<20), '\n')
	go func() {
		if _, err := c.Write(big); err != nil {
			t.Error(err)
		}
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(big), err)
	}
	done := make(chan struct{})
	close(done)
	if status := c.Supervise(done, nil); status != 0 {
		t.Errorf("status %d", status)
	}
	c.Close()
}
