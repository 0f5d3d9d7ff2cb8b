//go:build unix

package shim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The whole of umpire run is tested from outside, in cmd/umpire; here is what can only be seen from within.

// startShell starts a shell that runs a script.
func startShell(t *testing.T, script string) *child {
	t.Helper()
	c, err := start("/bin/sh", Options{Command: []string{"sh", "-c", script}})
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
			if got := c.supervise(passed, nil); got != tc.status {
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
	if got := c.supervise(never, nil); got != 5 {
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
	if status := c.supervise(done, nil); status != 0 {
		t.Errorf("status %d", status)
	}
	c.Close()
}

// Why a daemon ended stands in a log that others write to as well.
func TestLastWords(t *testing.T) {
	const old = "error: of another day\n"
	for name, tc := range map[string]struct{ log, want string }{
		"nothing":               {"", "exit status 1"},
		"an error and a hint":   {"error: no room\nhint: make some\n", "error: no room"},
		"another one was first": {"08:00:00 INFO umpire: listening\nerror: in use\nhint: wait\n08:00:01 INFO umpire: attached\n", "error: in use"},
		"a panic":               {"08:00:00 INFO umpire: listening\npanic: oh\n", "panic: oh"},
		"several errors":        {"error: p.yaml:1:2: one\nerror: p.yaml:3:4: two\n", "error: p.yaml:1:2: one"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(old+tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(path, int64(len(old)), errors.New("exit status 1")); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := lastWords(filepath.Join(t.TempDir(), "none"), 0, fmt.Errorf("exit status %d", 1)); got != "exit status 1" {
		t.Error(got)
	}
}
