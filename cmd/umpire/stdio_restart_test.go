//go:build unix

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/rules/event"
)

// endDaemon ends the daemon of a site by a signal, and waits until it has ended.
func (s *site) endDaemon(t *testing.T, sig syscall.Signal) {
	t.Helper()
	status, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, sig); err != nil {
		t.Fatal(err)
	}
	gone(t, status.PID)
}

// However its daemon ends, a client hears an error for the call that was under way, and no more: it goes on with the next
// daemon, in the same session, with the same server, under the same limits.
func TestAConversationOutlivesItsDaemon(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, `rules: [{name: twice, on: "*/echo", rate: {max: 2, per: 1h, by: session}, do: deny}]`)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, cmd, stderr := s.connect(ctx, t, "peer", "official")
			for i, want := range []string{"text", "text", "Umpire denied"} {
				hanging := make(chan error, 1)
				go func() {
					_, err := c.Call(ctx, "hang", nil)
					hanging <- err
				}()
				eventually(t, "the call to hang", func() string {
					if strings.Count(stderr.String(), "hanging") > i {
						return ""
					}
					return stderr.String()
				})
				s.endDaemon(t, sig)
				if err := <-hanging; err == nil || !strings.Contains(err.Error(), "Umpire was restarted") {
					t.Errorf("the call that hung ended with %v", err)
				}
				if got, err := c.Call(ctx, "echo", map[string]any{"text": "text"}); err != nil || !strings.Contains(got, want) {
					t.Errorf("the next call: %s %v", got, err)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if got := ended(t, cmd); got != 0 || !strings.HasSuffix(stderr.String(), "goodbye from the server\n") {
				t.Errorf("status %d\n%s", got, stderr)
			}
			if got, want := s.calls(t), []string{
				"peer/hang allow lost", "peer/echo allow ok", "peer/hang allow lost", "peer/echo allow ok", "peer/hang allow lost", "peer/echo deny",
			}; !slices.Equal(got, want) {
				t.Errorf("recorded: %v", got)
			}
			sessions := map[string]bool{}
			for _, e := range s.events(t) {
				if b, ok := e.Body.(*event.Call); ok {
					sessions[e.Session+" "+b.Agent] = true
				}
			}
			if len(sessions) != 1 {
				t.Errorf("the calls belong to %v", sessions)
			}
		})
	}
}

// While no daemon can be had, calls are denied and the rest goes on. When one can be had again, it judges.
func TestCallsAreDeniedUntilADaemonCanBeHad(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, stderr := s.connect(ctx, t, "peer", "official")
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte("rules: nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.endDaemon(t, syscall.SIGKILL)
	got, err := c.Call(ctx, "echo", map[string]any{"text": "unjudged"})
	if err != nil || !strings.Contains(got, "umpire cannot judge this call") || !strings.Contains(got, "umpire.yaml:1:") {
		t.Errorf("%s %v", got, err)
	}
	if _, err := c.Tools(ctx); err != nil {
		t.Errorf("what is no call goes on: %v", err)
	}
	if err := os.WriteFile(s.config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := s.umpire("serve")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	go daemon.Wait() // it ends with the site
	eventually(t, "a call to pass", func() string {
		got, err := c.Call(ctx, "say", map[string]any{"text": "judged"})
		switch {
		case err != nil && !strings.Contains(err.Error(), "Umpire was restarted"):
			t.Fatalf("%v\n%s", err, stderr)
		case err != nil: // whoever denied it ended before it could say so
			return err.Error()
		case strings.Contains(got, "cannot judge"):
			return got
		}
		return ""
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := s.calls(t); !slices.Equal(got, []string{"peer/say allow ok"}) || strings.Count(stderr.String(), "judged") != 1 {
		t.Errorf("recorded: %v\n%s", got, stderr)
	}
}

// A server that the daemon reaches for a client over stdio does not know of the conversation after a restart; the client
// does not notice that it is begun anew.
func TestAConversationWithAServerElsewhereOutlivesItsDaemon(t *testing.T) {
	for name, opts := range map[string]*sdk.StreamableHTTPOptions{"with sessions": nil, "without": {Stateless: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return officialStdio() }, opts))
			defer server.Close()
			s := newSite(t, "rules: []")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := dialOfficial(ctx, s.remote(server.URL), "2025-11-25", &hearing{})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got, err := c.Call(ctx, "echo", map[string]any{"text": "text"}); err != nil || !strings.Contains(got, "text") {
					t.Errorf("%s %v", got, err)
				}
				s.endDaemon(t, syscall.SIGKILL)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if got, want := s.calls(t), slices.Repeat([]string{"peer/echo allow ok"}, 3); !slices.Equal(got, want) {
				t.Errorf("recorded: %v", got)
			}
		})
	}
}

// remote returns umpire run for a server that is elsewhere.
func (s *site) remote(url string) *exec.Cmd { return s.umpire("run", "--name", "peer", "--url", url) }
