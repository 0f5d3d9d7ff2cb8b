// Package reissue makes recorded calls again at a test server, and compares what it answers with what was recorded.
package reissue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// Target is a test server.
type Target struct {
	URL    string
	SSE    bool // it speaks HTTP+SSE, and not Streamable HTTP
	Header http.Header
}

// Answer is what a server answers to a call.
type Answer struct {
	Outcome event.Outcome
	Code    int64           // of a JSON-RPC error
	Text    string          // of a JSON-RPC error, or why there is no answer
	Result  json.RawMessage // as it was sent
}

// Client makes calls, one after the other. Nothing is tried twice, and no redirection is followed.
type Client struct {
	Name    string // of the server, as it says itself
	limit   time.Duration
	session *mcp.ClientSession
	web     *http.Client
	heard   *heard
	cancel  context.CancelFunc
}

// Dial connects to a test server, which may take so long for each answer.
func Dial(ctx context.Context, t Target, limit time.Duration) (*Client, error) {
	stay := func(r *http.Request, _ []*http.Request) error {
		return fmt.Errorf("it leads on to %s, where nothing is sent", r.URL.Redacted())
	}
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.ResponseHeaderTimeout = 2 * limit // where there is no other: to end the session, too
	c := &Client{limit: limit, web: &http.Client{Transport: headers{t.Header, web}, CheckRedirect: stay}, heard: &heard{}}
	ctx, c.cancel = context.WithCancel(ctx)
	late := time.AfterFunc(limit, c.cancel)
	defer late.Stop()
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: t.URL, HTTPClient: c.web, MaxRetries: -1, DisableStandaloneSSE: true}
	if t.SSE {
		transport = &mcp.SSEClientTransport{Endpoint: t.URL, HTTPClient: c.web}
	}
	c.heard.of = transport
	session, err := mcp.NewClient(&mcp.Implementation{Name: "umpire-replay", Version: "1"}, nil).Connect(ctx, c.heard, nil)
	if err != nil {
		c.cancel()
		web.CloseIdleConnections()
		return nil, fmt.Errorf("the test server cannot be reached: %w", err)
	}
	c.session = session
	if info := session.InitializeResult().ServerInfo; info != nil {
		c.Name = info.Name + " " + info.Version
	}
	return c, nil
}

// Close ends the session.
func (c *Client) Close() error {
	err := c.session.Close()
	c.cancel()
	c.web.CloseIdleConnections()
	return err
}

// Call makes a call.
func (c *Client) Call(ctx context.Context, tool string, args json.RawMessage) Answer {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	c.heard.forget()
	_, err := c.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	var refused *jsonrpc.Error
	switch raw := c.heard.last(); {
	case raw == nil && errors.Is(ctx.Err(), context.DeadlineExceeded): // the library may call that an error of JSON-RPC
		return Answer{Outcome: event.OutcomeLost, Text: fmt.Sprintf("no answer within %s", c.limit)}
	case errors.As(err, &refused):
		return Answer{Outcome: event.OutcomeError, Code: refused.Code, Text: refused.Message}
	case raw == nil:
		return Answer{Outcome: event.OutcomeLost, Text: fmt.Sprint(err)}
	case gjson.GetBytes(raw, "isError").Bool():
		return Answer{Outcome: event.OutcomeFailed, Result: raw}
	case gjson.GetBytes(raw, "resultType").Str == "input_required":
		return Answer{Outcome: event.OutcomeInput, Result: raw}
	case gjson.GetBytes(raw, "task").Exists():
		return Answer{Outcome: event.OutcomeStarted, Result: raw}
	default:
		return Answer{Outcome: event.OutcomeOK, Result: raw}
	}
}

// headers sends headers along.
type headers struct {
	set http.Header
	to  *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range h.set {
		r.Header[name] = values
	}
	return h.to.RoundTrip(r)
}

// CloseIdleConnections lets those of http.Client reach them.
func (h headers) CloseIdleConnections() { h.to.CloseIdleConnections() }

// heard is a transport that keeps the newest result as it was sent: what a library makes of it can be less.
type heard struct {
	of mcp.Transport
	mcp.Connection
	mu  sync.Mutex
	raw json.RawMessage
}

// Connect implements mcp.Transport.
func (h *heard) Connect(ctx context.Context) (mcp.Connection, error) {
	c, err := h.of.Connect(ctx)
	h.Connection = c
	return h, err
}

// Read implements mcp.Connection.
func (h *heard) Read(ctx context.Context) (jsonrpc.Message, error) {
	m, err := h.Connection.Read(ctx)
	if r, ok := m.(*jsonrpc.Response); ok && err == nil && r.Error == nil {
		h.mu.Lock()
		h.raw = r.Result
		h.mu.Unlock()
	}
	return m, err
}

func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raw = nil
}

func (h *heard) last() json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.raw
}
