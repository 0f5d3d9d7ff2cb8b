//go:build unix

package shim

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// A daemon that takes the pipes and gives them up at once, as one of another version may, is not asked for ever: calls are
// denied meanwhile.
func TestADaemonThatServesNothing(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, config.SocketFile)) //nolint:noctx // it is here
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&transport.Pipes{Serve: func(_ transport.Hello, client, server io.ReadWriteCloser) {
		client.(*transport.Side).Drop()
		client.Close()
		server.Close()
	}}).Register(mux)
	daemon := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go daemon.Serve(listener) //nolint:errcheck // until the end
	defer daemon.Close()

	c, err := child.Start(child.Config{Path: "/bin/cat", Command: []string{"cat"}, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	in, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hear, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hear.SetDeadline(time.Now().Add(30 * time.Second))
	v := conversation{opts: Options{Name: "cat", StateDir: dir, Log: slog.New(slog.DiscardHandler)}, own: &pipeEnds{in: in, out: out}, child: c}
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		if err := v.serve(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := say.WriteString(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}` + "\n"); err != nil {
		t.Error(err)
	}
	heard := bufio.NewReader(hear)
	if line, err := heard.ReadString('\n'); err != nil || !strings.Contains(line, "umpire cannot judge this call") {
		t.Errorf("%s %v", line, err)
	}
	say.Close()
	c.Supervise(passed, nil)
	if rest, err := io.ReadAll(heard); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	hear.Close()
}
