package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
)

// Not even a killed daemon leaves the children behind that it started for clients over HTTP: on Linux, the kernel sees to
// that, also of one that would not end by itself. What a child has started ends with its pipes.
func TestADaemonThatIsKilledTakesItsChildrenAlong(t *testing.T) {
	s := newSite(t, "")
	write(t, s.config, fmt.Sprintf(`
listen: 127.0.0.1:0
rules: []
servers:
  peer: {command: [stdio-peer, official, %[1]s]}
  deaf: {command: [sh, -c, "trap '' TERM HUP; while :; do sleep 0.1; done", %[1]s]}
  nested: {command: [sh, -c, 'sh -c "cat; true" "$0"; true', %[1]s]}
`, s.dir))
	daemon, err := launch(s.state, func(cmd *exec.Cmd) { cmd.Dir = s.dir }, "--config", s.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range []string{"peer", "deaf", "nested"} {
		d := websocket.Dialer{Subprotocols: []string{"mcp"}}
		ws, _, err := d.DialContext(ctx, strings.Replace(daemon.url, "http", "ws", 1)+"/"+name+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
	}
	children := func() (lines []string) {
		for pid, line := range processes(s.dir) {
			if !strings.Contains(line, " serve ") {
				lines = append(lines, fmt.Sprint(pid, " ", line))
			}
		}
		return lines
	}
	eventually(t, "the children to begin", func() string {
		if lines := children(); len(lines) < 4 {
			return fmt.Sprint(lines)
		}
		return ""
	})
	if err := syscall.Kill(daemon.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-daemon.ended
	eventually(t, "the children to end", func() string { return strings.Join(children(), "\n") })
}
