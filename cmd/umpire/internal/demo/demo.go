// Package demo plays a customer-service agent that is talked into giving money away, against a real MCP server, with a
// real MCP client, without Umpire and with it in between.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/examples/billing"
	"github.com/umpire-dev/umpire/examples/policies"
)

// Options says where the demo keeps its history and what it prints.
type Options struct {
	StateDir string // replaced if it exists
	Out      io.Writer
	Command  string // how umpire was called, for the commands to go on with
	Version  string
	Log      *slog.Logger
}

// policyFile is the policy of the demo, as it lies in examples/policies.
const policyFile = "refunds.yaml"

// Run plays every scene and prints what happened. It fails if anything happened otherwise than it should.
func Run(ctx context.Context, opts Options) error {
	if err := os.RemoveAll(opts.StateDir); err != nil {
		return err
	}
	if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
		return err
	}
	s := &stage{Options: opts, clock: newClock()}
	defer s.close()
	if err := s.build(); err != nil {
		return err
	}
	s.say("A shop's billing server   %s", s.direct)
	s.say("Umpire in front of it     %s", s.guarded)
	s.say("Its policy                %s (%s)", filepath.Join("examples", "policies", policyFile), s.policy)
	s.say("A support agent           a scripted MCP client; it believes what customers write")
	var without, with float64
	for i, scene := range scenes {
		s.say("")
		s.say("%s", heading.Render(fmt.Sprintf("%d. %s", i+1, scene.title)))
		lost, kept, err := s.play(ctx, scene)
		if err != nil {
			return fmt.Errorf("scene %d: %w", i+1, err)
		}
		without, with = without+lost, with+kept
	}
	s.say("")
	s.say("%s", heading.Render(fmt.Sprintf("Money that left: %.2f without Umpire, %.2f with it.", without, with)))
	session, err := s.sessionOf(s.denied)
	if err != nil {
		return err
	}
	s.say("")
	s.say("Go on with:")
	for _, line := range []string{"sessions", "show " + session, fmt.Sprintf("show %d", s.denied), "log --verdict deny -n 5", "replay --verify"} {
		s.say("  %s --state %s %s", opts.Command, opts.StateDir, line)
	}
	return s.err
}

var (
	heading = lipgloss.NewStyle().Bold(true)
	good    = lipgloss.NewStyle().Foreground(lipgloss.Green)
	bad     = lipgloss.NewStyle().Foreground(lipgloss.Red)
	dim     = lipgloss.NewStyle().Faint(true)
)

// clock is the time of the demo. It runs as the machine's does, but the script sets it, and it never runs past what the
// script does next: a slow machine plays the same scenes.
type clock struct {
	mu   sync.Mutex
	at   time.Time     // what the script set …
	set  time.Time     // … when it was this late on the machine
	room time.Duration // how far it may run from there
}

func newClock() *clock {
	c := &clock{}
	c.to(time.Now(), time.Hour)
	return c
}

func (c *clock) to(at time.Time, room time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.set, c.room = at, time.Now(), room
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Add(min(time.Since(c.set), c.room))
}

func (s *stage) say(f string, a ...any) { s.print(fmt.Sprintf(f, a...) + "\n") }
func (s *stage) print(text string) {
	_, err := lipgloss.Fprint(s.Out, text)
	s.err = errors.Join(s.err, err)
}
func (s *stage) onClose(f func()) { s.ends = append(s.ends, f) }

// stage is where the scenes are played: the shop twice, once with Umpire in front.
type stage struct {
	Options
	clock   *clock
	bare    *billing.Shop // reached directly
	shop    *billing.Shop // reached through Umpire
	direct  string
	guarded string
	policy  string
	denied  uint64 // the first call that was denied
	ends    []func()
	err     error
}

func (s *stage) close() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
}

// sessionOf asks the history to which session a call belongs.
func (s *stage) sessionOf(call uint64) (string, error) {
	r, _, err := history.Open(s.StateDir)
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // it was only read
	e, _, err := history.Get(r, call)
	return e.Session, err
}

func (s *stage) build() error {
	s.bare, s.shop = billing.NewShop(200), billing.NewShop(200)
	var err error
	if s.direct, err = s.serve(s.bare); err != nil {
		return err
	}
	behind, err := s.serve(s.shop)
	if err != nil {
		return err
	}
	text, err := policies.Files.ReadFile(policyFile)
	if err != nil {
		return err
	}
	policy := filepath.Join(s.StateDir, policyFile)
	if err := os.WriteFile(policy, text, 0o600); err != nil {
		return err
	}
	upstream, err := config.ParseURL(behind)
	if err != nil {
		return err
	}
	cfg := config.Default()
	cfg.Listen, cfg.Policies = "127.0.0.1:0", []string{policy}
	cfg.Servers = []config.Server{{Name: "billing", URL: upstream}}
	d, err := daemon.Start(daemon.Options{Config: cfg, StateDir: s.StateDir, Version: s.Version, Now: s.clock.now, Log: s.Log})
	if err != nil {
		return err
	}
	s.onClose(d.Close)
	s.guarded = "http://" + d.Addr() + "/billing/mcp"
	s.policy = d.Status().Policy[:12]
	return nil
}

// serve serves a shop on a free port of this machine.
func (s *stage) serve(shop *billing.Shop) (url string, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", shop.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)                   //nolint:errcheck // it ends when it is closed
	s.onClose(func() { server.Close() }) //nolint:errcheck // nothing is left to serve
	return "http://" + l.Addr().String() + "/mcp", nil
}

// agent is the scripted MCP client.
type agent struct {
	url string
	mcp *client.Client
}

func (a *agent) open(ctx context.Context, name string) error {
	c, err := client.NewStreamableHttpClient(a.url)
	if err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	req := mcp.InitializeRequest{}
	req.Params.ProtocolVersion = "2025-11-25"
	req.Params.ClientInfo = mcp.Implementation{Name: name, Version: "1.0"}
	if _, err := c.Initialize(ctx, req); err != nil {
		return err
	}
	_, err = c.ListTools(ctx, mcp.ListToolsRequest{})
	a.mcp = c
	return err
}

// answer is what became of a call.
type answer struct {
	text    string
	denied  bool
	rule    string
	call    uint64
	because string
}

func (a *agent) call(ctx context.Context, tool string, args map[string]any) (answer, error) {
	req := mcp.CallToolRequest{}
	req.Params.Name, req.Params.Arguments = tool, args
	res, err := a.mcp.CallTool(ctx, req)
	if err != nil {
		return answer{}, err
	}
	var out answer
	for _, c := range res.Content {
		if t, ok := c.(mcp.TextContent); ok {
			out.text += t.Text
		}
	}
	if res.Meta == nil {
		return out, nil
	}
	if v, ok := res.Meta.AdditionalFields["umpire/verdict"].(map[string]any); ok {
		out.denied = true
		out.rule, _ = v["rule"].(string)
		out.because, _ = v["why"].(string)
		if n, ok := v["call"].(float64); ok {
			out.call = uint64(n)
		}
	}
	return out, nil
}
