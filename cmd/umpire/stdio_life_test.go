//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// ended returns with which status a command ended.
func ended(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	eventually(t, "umpire run to end", func() string {
		if cmd.ProcessState == nil {
			return "it still runs"
		}
		return ""
	})
	return cmd.ProcessState.ExitCode()
}

// A server that dies while it works: the client learns it at once, the call is recorded as lost, and umpire run ends as
// the server did.
func TestAServerThatDiesLeavesNoCallOpen(t *testing.T) {
	for how, status := range map[string]int{"0": 0, "7": 7, "by a signal": 128 + int(syscall.SIGKILL)} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "rules: []")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, cmd, stderr := s.connect(ctx, t, "peer", "official")
			if _, err := c.Call(ctx, "die", map[string]any{"text": how}); err == nil || !strings.Contains(err.Error(), "server peer ended before it answered") {
				t.Errorf("the client learns: %v", err)
			}
			c.Close()
			if got := ended(t, cmd); got != status {
				t.Errorf("umpire run ended with status %d, the server with %d\n%s", got, status, stderr)
			}
			if got := s.calls(t); !slices.Equal(got, []string{"peer/die allow lost"}) {
				t.Errorf("recorded: %v", got)
			}
		})
	}
}

// How a server ends that was told to is passed on, and its last words, too.
func TestAClientThatHangsUpEndsTheServer(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, cmd, stderr := s.connect(ctx, t, "peer", "official", "9")
	if err := c.Close(); err == nil {
		t.Error("the server ended with status 0")
	}
	if got := ended(t, cmd); got != 9 || !strings.Contains(stderr.String(), "goodbye") {
		t.Errorf("status %d\n%s", got, stderr)
	}
}

// A client that is killed closes nothing in order: the server has to end all the same, by the end of its input.
func TestAClientThatIsKilledEndsTheServer(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, stderr := s.run("peer", "stdio-peer", "official")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := stderr.wait(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	stdout.Close() // so that every answer goes nowhere
	for range 3 {
		if _, err := stdin.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n")); err != nil {
			t.Error(err)
		}
	}
	stdin.Close()
	err = cmd.Wait()
	if err != nil || !strings.Contains(stderr.String(), "goodbye") {
		t.Errorf("%v\n%s", err, stderr)
	}
}

// Files and terminals cannot be given to the daemon as pipes can: umpire run copies then, and nothing else is different.
func TestUmpireRunReadsAndWritesFiles(t *testing.T) {
	s := newSite(t, `rules: [{name: no-deletes, on: "*/delete", do: deny}]`)
	const denied = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete","arguments":{}}}`
	const passes = `{"jsonrpc":"2.0","method":"notifications/x"}`
	in, out := filepath.Join(s.dir, "in"), filepath.Join(s.dir, "out")
	if err := os.WriteFile(in, []byte(denied+"\n"+passes+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd, stderr := s.run("peer", "sh", "-c", "cat", "sh") // says what it hears
	cmd.Stdin, cmd.Stdout = stdin, stdout
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	text, err := os.ReadFile(out)
	if got := string(text); err != nil || !strings.Contains(got, "Umpire denied peer/delete") || !strings.Contains(got, passes+"\n") || strings.Contains(got, "arguments") {
		t.Errorf("%s %v", got, err)
	}
	if got := s.calls(t); !slices.Equal(got, []string{"peer/delete deny"}) {
		t.Errorf("recorded: %v", got)
	}
}

// Nothing that a server started survives it, even if it holds the server's pipes.
func TestNothingIsLeftOfAServer(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	file := filepath.Join(s.dir, "pid")
	cmd, stderr := s.run("peer", "sh", "-c", "sleep 600 & echo $! >"+file+"; exec stdio-peer official", "sh")
	c, err := dialOfficial(ctx, cmd, "", &hearing{})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var pids []int
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forked, err := c.Call(ctx, "fork", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{string(text), forked} {
		pid, err := strconv.Atoi(regexp.MustCompile(`\b\d\d+\b`).FindString(p))
		if err != nil || !lives(pid) {
			t.Fatalf("%q is no process: %v", p, err)
		}
		pids = append(pids, pid)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		gone(t, pid)
	}
}

// Clients end servers by signals, too. A signal that umpire run gets, the server gets.
func TestSignalsReachTheServer(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "rules: []")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, cmd, _ := s.connect(ctx, t, "peer", "official")
			if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			if _, err := c.Call(ctx, "hang", nil); err == nil {
				t.Error("the server still answers")
			}
			c.Close()
			if got := ended(t, cmd); got != 128+int(sig) {
				t.Errorf("status %d", got)
			}
		})
	}
}

// However many clients start at the same time, they get one daemon, and rules see across all of them.
func TestShimsThatStartAtOnceShareOneDaemon(t *testing.T) {
	s := newSite(t, `rules: [{name: three, on: "*/echo", rate: {max: 3, per: 1h, by: principal}, do: deny}]`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			cmd, stderr := s.run("peer"+strconv.Itoa(i), "stdio-peer", "official")
			c, err := dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
			if err != nil {
				t.Errorf("%v\n%s", err, stderr)
				return
			}
			defer c.Close()
			if got, err := c.Call(ctx, "echo", map[string]any{"text": "x"}); err != nil || strings.Contains(got, "cannot judge") {
				t.Errorf("%v %s\n%s", err, got, stderr)
			}
		})
	}
	all.Wait()
	if got := strings.Join(s.calls(t), " "); strings.Count(got, "allow ok") != 3 || strings.Count(got, "deny") != 3 {
		t.Errorf("recorded: %s", got)
	}
	eventually(t, "the daemons that came late to end", func() (left string) {
		daemons := 0
		for _, line := range processes(s.dir) {
			if strings.Contains(line, " serve ") {
				left += line + "\n"
				daemons++
			}
		}
		if daemons == 1 {
			return ""
		}
		return "daemons: " + left
	})
}

// A client that gives up a call tells so, and the server hears it.
func TestACancellationReachesTheServer(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, stderr := s.connect(ctx, t, "peer", "official")
	call, giveUp := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(call, "hang", nil)
		done <- err
	}()
	if err := stderr.wait(ctx, "hanging"); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if err := <-done; err == nil {
		t.Error("a call that was cancelled has an answer")
	}
	if err := stderr.wait(ctx, "cancelled"); err != nil {
		t.Error(err)
	}
	c.Close()
}
