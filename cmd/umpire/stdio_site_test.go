//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
)

// site is a state directory, a configuration, and what runs with them. At the end of the test, its daemon is stopped,
// its history is replayed, and nothing may be left running.
type site struct {
	dir, state, config string
	flags              []string // of every umpire
}

// newSite makes a site with a policy. The directory is short, since it holds a socket.
func newSite(t *testing.T, rules string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "u")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, state: filepath.Join(dir, "s"), config: filepath.Join(dir, "umpire.yaml")}
	s.flags = []string{"--state", s.state, "--config", s.config}
	if err := os.WriteFile(s.config, []byte("listen: 127.0.0.1:0\n"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop(t)
		s.alone(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// umpire returns a command that is not started.
func (s *site) umpire(args ...string) *exec.Cmd {
	cmd := exec.Command("umpire", append(s.flags[:len(s.flags):len(s.flags)], args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+s.dir, "XDG_STATE_HOME="+s.dir, "NO_COLOR=1")
	return cmd
}

// run returns umpire run with a server; what it says on stderr is kept. The server's arguments end with the directory
// of the site, so that it can be found.
func (s *site) run(name string, server ...string) (*exec.Cmd, *written) {
	cmd := s.umpire(append(append([]string{"run", "--name", name, "--"}, server...), s.dir)...)
	stderr := &written{}
	cmd.Stderr = stderr
	return cmd, stderr
}

// connect starts umpire run with a server of the test and connects a client of the official SDK to it.
func (s *site) connect(ctx context.Context, t *testing.T, name string, server ...string) (c stdioClient, cmd *exec.Cmd, stderr *written) {
	t.Helper()
	cmd, stderr = s.run(name, append([]string{"stdio-peer"}, server...)...)
	c, err := dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	return c, cmd, stderr
}

// output runs a command that has to succeed.
func (s *site) output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := s.umpire(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("umpire %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// status asks the daemon; the error says that there is none.
func (s *site) status() (history.Status, error) {
	d := history.Dial(filepath.Join(s.state, config.SocketFile))
	defer d.Close()
	return d.Status()
}

// events returns what is recorded, from the daemon or from the file.
func (s *site) events(t *testing.T) (out []event.Event) {
	t.Helper()
	r, _, err := history.Open(s.state)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for e, err := range history.Events(r, 1) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// calls formats the recorded calls, with what became of them.
func (s *site) calls(t *testing.T) (out []string) {
	t.Helper()
	at := map[uint64]int{}
	for _, e := range s.events(t) {
		switch b := e.Body.(type) {
		case *event.Call:
			at[e.Seq] = len(out)
			out = append(out, b.Server+"/"+b.Tool)
		case *event.Verdict:
			out[at[e.Cause]] += " " + b.Action.String()
		case *event.Result:
			out[at[e.Cause]] += " " + string(b.Outcome)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return out
}

// stop ends the daemon, if there is one, and checks the history that it leaves. If several shims started one at the same
// time, one that waited for the history can take over from the one that had it.
func (s *site) stop(t *testing.T) {
	t.Helper()
	_, err := s.status()
	eventually(t, "the daemon to end", func() string {
		left := ""
		for pid, line := range processes(s.dir) {
			if strings.Contains(line, " serve ") {
				left = line
				syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		return left
	})
	if err != nil {
		return
	}
	if out := s.output(t, "replay", "--verify"); !strings.Contains(out, " 0 different") {
		t.Error(out)
	}
}

// alone makes sure that no process of the site is left.
func (s *site) alone(t *testing.T) {
	t.Helper()
	eventually(t, "the processes of the test to end", func() string {
		left := processes(s.dir)
		if len(left) == 0 {
			return ""
		}
		return fmt.Sprint(left)
	})
}

// processes returns the command lines that mention a word, by process id.
func processes(word string) map[int]string {
	found := map[int]string{}
	note := func(pid, line string) {
		if n, err := strconv.Atoi(strings.TrimSpace(pid)); err == nil && strings.Contains(line, word) {
			found[n] = line
		}
	}
	if !isDir("/proc/self") {
		text, err := exec.Command("ps", "-A", "-o", "pid=,command=").Output()
		if err != nil {
			return map[int]string{0: err.Error()}
		}
		for line := range strings.Lines(string(text)) {
			pid, command, _ := strings.Cut(strings.TrimSpace(line), " ")
			note(pid, command)
		}
		return found
	}
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return map[int]string{0: err.Error()}
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			note(filepath.Base(filepath.Dir(path)), string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d to end", pid), func() string {
		if !lives(pid) {
			return ""
		}
		return "it still runs"
	})
}

// lives reports whether a process runs. One that has ended but whose parent has not asked how does not.
func lives(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !os.IsNotExist(err) || !isDir("/proc/self")
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// eventually asks again and again until nothing is missing any more, since nobody tells.
func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("waited in vain for %s: %s", what, m)
			return
		}
	}
}
