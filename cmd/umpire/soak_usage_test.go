//go:build unix

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
)

// usage is what a process uses.
type usage struct {
	pid, threads int
	files        int // that are open
	idle         int // connections that the other end has closed; it keeps some of them for 90 s at least
	memory       int // KiB
	goroutines   int
}

// closeWait matches, in /proc/net/tcp, the state of a connection that the other end has closed, and its inode.
var closeWait = regexp.MustCompile(`(?m)^ *\d+: \S+ \S+ 08 (?:\S+ +){5}(\d+) `)

// usageOf returns what can be seen of a process from outside; ok is false where nothing can.
func usageOf(pid int) (u usage, ok bool) {
	at := fmt.Sprintf("/proc/%d/", pid)
	files, err := os.ReadDir(at + "fd")
	status, err2 := os.ReadFile(at + "status")
	tcp, err3 := os.ReadFile(at + "net/tcp")
	if err != nil || err2 != nil || err3 != nil {
		return u, false
	}
	u.pid = pid
	idle := map[string]bool{}
	for _, m := range closeWait.FindAllStringSubmatch(string(tcp), -1) {
		idle["socket:["+m[1]+"]"] = true
	}
	for _, f := range files {
		if to, err := os.Readlink(at + "fd/" + f.Name()); err == nil && idle[to] {
			u.idle++
		} else if err == nil {
			u.files++
		}
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &u.memory)
		fmt.Sscanf(line, "Threads: %d", &u.threads)
	}
	return u, true
}

// daemon starts a daemon, and returns what it uses while nobody is there.
func (s *soak) daemon() (u usage) {
	cmd := s.umpire("serve")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.fault("%v", err)
		return u
	}
	go cmd.Wait()
	eventually(s.test, "a daemon to listen", func() string {
		status, err := s.status()
		if err == nil && status.PID != cmd.Process.Pid {
			err = fmt.Errorf("process %d is there instead of %d", status.PID, cmd.Process.Pid)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	u, _ = usageOf(cmd.Process.Pid)
	u.pid = cmd.Process.Pid
	return u
}

// ofProgram matches the stack of a goroutine that is not the runtime's.
var ofProgram = regexp.MustCompile(`(?m)^(main\.main\(|created by (github|net/|sync\.|os/signal))`)

// quit ends a daemon by a signal that makes it say what its goroutines do, and returns that of each.
func (s *soak) quit(pid int) (stacks []string) {
	logs := []string{s.log.Name(), filepath.Join(s.state, config.LogFile)}
	before := map[string]int{}
	for _, path := range logs {
		text, _ := os.ReadFile(path) // it may not be there yet
		before[path] = len(text)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		s.fault("the daemon is not there: %v", err)
	}
	gone(s.test, pid)
	for _, path := range logs {
		text, _ := os.ReadFile(path) // as above
		for _, part := range strings.Split(string(text[before[path]:]), "\n\n") {
			if strings.HasPrefix(part, "goroutine ") && ofProgram.MatchString(part) {
				stacks = append(stacks, part)
			}
		}
	}
	return stacks
}

// fresh returns what a daemon uses that has served a request or two.
func (s *soak) fresh() usage {
	u := s.daemon()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/shop/mcp", "/shop/to/" + s.upstream.url()} {
		resp, err := client.Post(s.url+path, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			s.fault("%v", err)
			continue
		}
		resp.Body.Close()
	}
	u, _ = usageOf(u.pid)
	u.goroutines = len(s.quit(u.pid))
	return u
}

// leavesNothing checks that when all clients have left nothing is there but a daemon, and that this has forgotten them.
// It ends it.
func (s *soak) leavesNothing(fresh usage) {
	var pid int
	eventually(s.test, "all processes but the daemon to end", func() string {
		left := processes(s.dir)
		for p, line := range left {
			if strings.Contains(line, " serve ") {
				pid = p
			}
		}
		if len(left) == 1 && pid != 0 {
			return ""
		}
		return fmt.Sprint(left)
	})
	var last usage
	eventually(s.test, "the daemon to close what it has opened", func() string {
		u, ok := usageOf(pid)
		if last = u; !ok || u.files <= fresh.files {
			return ""
		}
		return fmt.Sprintf("%+v, when hardly anybody had used it: %+v", u, fresh)
	})
	stacks := slices.DeleteFunc(s.quit(pid), func(stack string) bool {
		first, _, _ := strings.Cut(stack, "\n")
		return strings.HasSuffix(first, "[runnable]:") // what stays behind waits: this one has seen its connection close
	})
	if last.idle > len(s.clients) {
		s.fault("the daemon keeps %d connections, and there were %d clients", last.idle, len(s.clients))
	}
	if last.goroutines = len(stacks); last.goroutines > fresh.goroutines {
		s.fault("%d goroutines are left, when hardly anybody had used it there were %d:\n%s", last.goroutines, fresh.goroutines, strings.Join(stacks, "\n\n"))
	}
	again := s.daemon() // over the same history; it also says what became of that which was open
	if last.memory > 3*again.memory+64<<10 {
		s.fault("the daemon keeps %d KiB, one that has just begun over the same history %d", last.memory, again.memory)
	}
	s.t.Logf("the daemon before anybody came: %+v\nafter all have left: %+v\nanother one over the same history: %+v", fresh, last, again)
	if err := syscall.Kill(again.pid, syscall.SIGTERM); err != nil {
		s.fault("the daemon is not there: %v", err)
	}
	gone(s.test, again.pid)
	for _, path := range []string{s.log.Name(), filepath.Join(s.state, config.LogFile)} {
		text, _ := os.ReadFile(path) // it may not be there
		for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
			if i := strings.Index(string(text), bad); i >= 0 {
				s.fault("%s has: %s", path, text[max(0, i-500):min(len(text), i+3000)])
			}
		}
	}
}
