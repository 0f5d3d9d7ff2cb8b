// Package probe asks an MCP server whether it is there and which era it speaks: server/discover, then initialize. It
// never calls a tool.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/proxy"
)

// Target is a server as a client would reach it.
type Target struct {
	Command []string // of a server over stdio …
	Dir     string
	Env     []string // NAME=value, added to the environment
	URL     string   // … or the URL of any other
	// Transport is what is spoken at URL: "http" for Streamable HTTP, "sse" for HTTP+SSE, "ws" for WebSocket. If it is empty,
	// the first two are tried, as clients do that are not told.
	Transport string
	Headers   map[string]string
}

// Answer is what a server says about itself.
type Answer struct {
	Protocol string // the newest revision that both know
	Name     string
	Version  string
}

// The revisions that are asked for, of the two eras.
const (
	Modern = "2026-07-28"
	legacy = "2025-11-25"
)

// ErrAuthorization says that the server is there, and answers only those who show who they are.
var ErrAuthorization = errors.New("it wants authorization")

// ErrNotFound says that there is no such program.
var ErrNotFound = errors.New("it cannot be started")

// patience is how long a server may take to end once nobody talks to it, and again once it is asked to.
const patience = time.Second

// Ask asks a server within a limit for each era and transport. When it returns, nothing that it has started is left.
func Ask(ctx context.Context, t Target, limit time.Duration) (Answer, error) {
	path := ""
	if len(t.Command) > 0 {
		var err error
		if path, err = Look(t); err != nil {
			return Answer{}, err
		}
	}
	a, err := eras(ctx, t, path, limit)
	if err == nil || t.Transport != "" || t.URL == "" || errors.Is(err, ErrAuthorization) || ctx.Err() != nil {
		return a, err
	}
	t.Transport = proxy.TransportSSE
	if a, again := eras(ctx, t, path, limit); again == nil || errors.Is(again, ErrAuthorization) {
		return a, again
	}
	return Answer{}, err
}

func eras(ctx context.Context, t Target, path string, limit time.Duration) (Answer, error) {
	a, err := ask(ctx, t, path, Modern, limit)
	if err == nil || errors.Is(err, ErrAuthorization) || ctx.Err() != nil {
		return a, err
	}
	// Some servers end, or say nothing, at what they do not know.
	if a, again := ask(ctx, t, path, legacy, limit); again == nil || errors.Is(again, ErrAuthorization) {
		return a, again
	}
	return Answer{}, err
}

func ask(ctx context.Context, t Target, path, protocol string, limit time.Duration) (a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var transport mcp.Transport
	var explain func(error) error
	if path != "" {
		p, err := start(t, path)
		if err != nil {
			return a, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		defer p.end()
		transport, explain = &mcp.IOTransport{Reader: p.out, Writer: p.in}, p.explain
	} else if t.Transport == proxy.TransportWS {
		ws := socket{t.URL, t.Headers}
		transport, explain = ws, ws.explain
	} else {
		web := &header{set: t.Headers}
		client := &http.Client{Transport: web}
		defer client.CloseIdleConnections()
		transport = &mcp.StreamableClientTransport{Endpoint: t.URL, HTTPClient: client, MaxRetries: -1, DisableStandaloneSSE: true}
		if t.Transport == proxy.TransportSSE {
			transport = &mcp.SSEClientTransport{Endpoint: t.URL, HTTPClient: client}
		}
		explain = web.explain
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "umpire-doctor", Version: "1"}, nil)
	session, err := c.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: protocol})
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("it said nothing for %s", limit)
		}
		return a, explain(err)
	}
	defer session.Close() //nolint:errcheck // it has answered
	res := session.InitializeResult()
	a.Protocol = res.ProtocolVersion
	if res.ServerInfo != nil {
		a.Name, a.Version = res.ServerInfo.Name, res.ServerInfo.Version
	}
	return a, nil
}

// Look finds the program of a target, as the system would with the target's environment.
func Look(t Target) (string, error) {
	program := t.Command[0]
	if strings.ContainsAny(program, `/`+string(filepath.Separator)) {
		path := program
		if !filepath.IsAbs(path) {
			path = filepath.Join(t.Dir, path)
		}
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%w: there is no program %s", ErrNotFound, path)
		}
		return filepath.Abs(found)
	}
	list := os.Getenv("PATH")
	for _, e := range t.Env {
		if name, value, _ := strings.Cut(e, "="); name == "PATH" || runtime.GOOS == "windows" && strings.EqualFold(name, "PATH") {
			list = value // the last one counts
		}
	}
	for _, dir := range filepath.SplitList(list) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w: there is no %s on PATH, which is %s", ErrNotFound, program, list)
}

// process is a server over stdio.
type process struct {
	child   *child.Child
	in, out *os.File // its ends
	errs    tail
	once    sync.Once
}

func start(t Target, path string) (*process, error) {
	p := &process{}
	c, err := child.Start(child.Config{Path: path, Command: t.Command, Dir: t.Dir, Env: t.Env, Stderr: &p.errs, Patience: patience})
	if err != nil {
		return nil, err
	}
	p.child = c
	p.out, p.in = c.Ends()
	return p, nil
}

// end lets the server end, and ends it if it does not.
func (p *process) end() {
	p.once.Do(func() {
		p.child.CloseWrite() //nolint:errcheck // this is how MCP asks a server to end; the session may have done so
		answered := make(chan struct{})
		close(answered)
		p.child.Supervise(answered, nil)
		p.child.Close() //nolint:errcheck // it was only read
	})
}

// explain ends the server, and adds its last words to an error.
func (p *process) explain(err error) error {
	p.end()
	if words := p.errs.last(); words != "" {
		return fmt.Errorf("%w; its last words were: %s", err, words)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > 4<<10 {
		t.text = bytes.Clone(t.text[len(t.text)-4<<10:])
	}
	return len(b), nil
}

// last returns the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// header sets headers and sees whether the server refuses to talk.
type header struct {
	set map[string]string
	mu  sync.Mutex
	was int
}

// RoundTrip implements http.RoundTripper.
func (h *header) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range h.set {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		h.mu.Lock()
		h.was = resp.StatusCode
		h.mu.Unlock()
	}
	return resp, err
}

func (h *header) explain(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.was == http.StatusUnauthorized {
		return ErrAuthorization
	}
	return err
}
