// Package demo plays a customer-service agent that is talked into giving money away, against a real MCP server, with a
// real MCP client, without Umpire and with it in between.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/examples/billing"
	"github.com/umpire-dev/umpire/examples/office"
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

// policyFiles are the policy of the demo, as they lie in examples/policies.
var policyFiles = []string{"exfiltration.yaml", "refunds.yaml"}

// Run plays every scene and prints what happened. It fails if anything happened otherwise than it should.
func Run(ctx context.Context, opts Options) error {
	if err := os.RemoveAll(opts.StateDir); err != nil {
		return err
	}
	s, err := newStage(opts, time.Now())
	if err != nil {
		return err
	}
	defer s.close()
	s.say("A shop's billing server   %s", s.bare.urls["billing"])
	s.say("Umpire in front of it     %s", s.guarded.urls["billing"])
	s.say("                          and of two more servers, files and mail")
	s.say("Its policy                %s in %s (%s)", strings.Join(policyFiles, " and "), filepath.Join("examples", "policies"), s.policy)
	s.say("A support agent           a scripted MCP client; it believes what customers write")
	var without, with float64
	for i, scene := range scenes {
		lost, kept, err := s.scene(ctx, i+1, scene)
		if err != nil {
			return err
		}
		without, with = without+lost, with+kept
	}
	opts.StateDir = filepath.Join(opts.StateDir, "habits")
	h, err := newStage(opts, firstDay(time.Now()))
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.learn(ctx); err != nil {
		return fmt.Errorf("what is normal: %w", err)
	}
	lost, kept, err := h.scene(ctx, len(scenes)+1, strange)
	if err != nil {
		return err
	}
	s.say("")
	s.say("%s", heading.Render(fmt.Sprintf("Money that left: %.2f without Umpire, %.2f with it.", without+lost, with+kept)))
	session, err := s.sessionOf(s.denied)
	if err != nil {
		return err
	}
	s.say("")
	s.say("Go on with:")
	for _, line := range []string{"sessions", "show " + session, fmt.Sprintf("show %d", s.denied), "log --verdict deny -n 5", "replay --verify"} {
		s.say("  %s --state %s %s", opts.Command, s.StateDir, line)
	}
	for _, line := range []string{"baseline show " + strange.agent, fmt.Sprintf("show %d", h.denied)} {
		s.say("  %s --state %s %s", opts.Command, h.StateDir, line)
	}
	return errors.Join(s.err, h.err)
}

// scene announces a scene and plays it. It returns the money that left without Umpire, and with it.
func (s *stage) scene(ctx context.Context, number int, sc scene) (without, with float64, err error) {
	s.say("")
	s.say("%s", heading.Render(fmt.Sprintf("%d. %s", number, sc.title)))
	if without, with, err = s.play(ctx, sc); err != nil {
		err = fmt.Errorf("scene %d: %w", number, err)
	}
	return without, with, err
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

func newClock(at time.Time) *clock {
	c := &clock{}
	c.to(at, time.Hour)
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

// stage is where the scenes are played: the servers twice, once with Umpire in front.
type stage struct {
	Options
	clock    *clock
	bare     world             // reached directly
	guarded  world             // reached through Umpire
	upstream map[string]string // the servers behind Umpire
	policies []string          // files
	policy   string            // begins its digest
	daemon   *daemon.Daemon
	denied   uint64 // the first call that was denied
	ends     []func()
	err      error
}

// world is a shop and an office, and where a client reaches their servers.
type world struct {
	shop   *billing.Shop
	office *office.Office
	urls   map[string]string // by the name of the server
}

// open opens the servers of a new world on free ports of this machine.
func (s *stage) open() (w world, err error) {
	w = world{shop: billing.NewShop(200), office: office.New(), urls: map[string]string{}}
	for name, handler := range map[string]http.Handler{
		"billing": w.shop.Handler(), "files": w.office.FilesHandler(), "mail": w.office.MailHandler(),
	} {
		if w.urls[name], err = s.serve(handler); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (s *stage) close() {
	if s.daemon != nil {
		s.daemon.Close()
	}
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

// newStage builds what a play needs, with a history of its own; the time there is begin.
func newStage(opts Options, begin time.Time) (s *stage, err error) {
	s = &stage{Options: opts, clock: newClock(begin)}
	if err = os.MkdirAll(opts.StateDir, 0o700); err == nil {
		err = s.build()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) build() (err error) {
	if s.bare, err = s.open(); err != nil {
		return err
	}
	if s.guarded, err = s.open(); err != nil {
		return err
	}
	s.upstream = maps.Clone(s.guarded.urls)
	for _, name := range policyFiles {
		text, err := policies.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := s.rule(name, text); err != nil {
			return err
		}
	}
	return s.guard()
}

// rule adds a file to the policy, for the next daemon.
func (s *stage) rule(name string, text []byte) error {
	path := filepath.Join(s.StateDir, name)
	s.policies = append(s.policies, path)
	return os.WriteFile(path, text, 0o600)
}

// guard puts a daemon in front of the servers, in place of one that is there.
func (s *stage) guard() (err error) {
	if s.daemon != nil {
		s.daemon.Close()
		s.daemon = nil
	}
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.Policies = s.policies
	for _, name := range slices.Sorted(maps.Keys(s.upstream)) {
		upstream, err := config.ParseURL(s.upstream[name])
		if err != nil {
			return err
		}
		cfg.Servers = append(cfg.Servers, config.Server{Name: name, URL: upstream})
	}
	s.daemon, err = daemon.Start(daemon.Options{Config: cfg, StateDir: s.StateDir, Version: s.Version, Now: s.clock.now, Log: s.Log})
	if err != nil {
		return err
	}
	for name := range s.upstream {
		s.guarded.urls[name] = "http://" + s.daemon.Addr() + "/" + name + "/mcp"
	}
	s.policy = s.daemon.Status().Policy[:12]
	return nil
}

// serve serves MCP on a free port of this machine.
func (s *stage) serve(handler http.Handler) (url string, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)                   //nolint:errcheck // it ends when it is closed
	s.onClose(func() { server.Close() }) //nolint:errcheck // nothing is left to serve
	return "http://" + l.Addr().String() + "/mcp", nil
}

// agent is the scripted MCP client. It connects to a server when it first has a call for it.
type agent struct {
	name string
	urls map[string]string
	mcp  map[string]*client.Client
}

func newAgent(name string, urls map[string]string) *agent {
	return &agent{name: name, urls: urls, mcp: map[string]*client.Client{}}
}

func (a *agent) close() {
	for _, c := range a.mcp {
		c.Close() //nolint:errcheck // the scene is over
	}
}

func (a *agent) open(ctx context.Context, server string) (*client.Client, error) {
	if c := a.mcp[server]; c != nil {
		return c, nil
	}
	c, err := client.NewStreamableHttpClient(a.urls[server])
	if err != nil {
		return nil, err
	}
	a.mcp[server] = c
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	req := mcp.InitializeRequest{}
	req.Params.ProtocolVersion = "2025-11-25"
	req.Params.ClientInfo = mcp.Implementation{Name: a.name, Version: "1.0"}
	if _, err := c.Initialize(ctx, req); err != nil {
		return nil, err
	}
	_, err = c.ListTools(ctx, mcp.ListToolsRequest{})
	return c, err
}

// answer is what became of a call.
type answer struct {
	text    string
	denied  bool
	rule    string
	call    uint64
	because string
}

func (a *agent) call(ctx context.Context, do call) (answer, error) {
	server, err := a.open(ctx, do.server)
	if err != nil {
		return answer{}, err
	}
	req := mcp.CallToolRequest{}
	req.Params.Name, req.Params.Arguments = do.tool, do.args
	res, err := server.CallTool(ctx, req)
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
