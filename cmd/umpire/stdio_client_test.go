//nolint:staticcheck // peers still speak what is deprecated
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// stdioClient is a client of a stdio server that it starts itself, whichever library it is written with. Results are
// the JSON of what the library gives its user.
type stdioClient interface {
	Tools(ctx context.Context) (string, error)
	Call(ctx context.Context, tool string, args any) (string, error)
	Close() error // ends the server, and returns how that ended
}

// hearing collects what the server says of its own accord.
type hearing struct {
	mu   sync.Mutex
	said []string
}

func (h *hearing) hear(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, fmt.Sprintf(format, args...))
}

func (h *hearing) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said)
}

// officialClient is a client of the official SDK.
type officialClient struct{ *sdk.ClientSession }

func dialOfficial(ctx context.Context, cmd *exec.Cmd, revision string, h *hearing) (stdioClient, error) {
	return meet(ctx, &sdk.CommandTransport{Command: cmd}, revision, h)
}

// meet connects a client of the official SDK over any transport.
func meet(ctx context.Context, over sdk.Transport, revision string, h *hearing) (stdioClient, error) {
	c := sdk.NewClient(&sdk.Implementation{Name: "official", Version: "1.8"}, &sdk.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			h.hear("elicit %s", req.Params.Message)
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann"}}, nil
		},
		CreateMessageHandler: func(context.Context, *sdk.CreateMessageRequest) (*sdk.CreateMessageResult, error) {
			h.hear("sample")
			return &sdk.CreateMessageResult{Model: "bard", Role: "assistant", Content: &sdk.TextContent{Text: "roses"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, req *sdk.ProgressNotificationClientRequest) {
			h.hear("progress %v", req.Params.Progress)
		},
	})
	s, err := c.Connect(ctx, over, &sdk.ClientSessionOptions{ProtocolVersion: revision})
	return officialClient{s}, err
}

// Tools implements stdioClient.
func (c officialClient) Tools(ctx context.Context) (string, error) {
	return asText(c.ListTools(ctx, nil))
}

// Call implements stdioClient.
func (c officialClient) Call(ctx context.Context, tool string, args any) (string, error) {
	params := &sdk.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken("tok")
	return asText(c.CallTool(ctx, params))
}

// mark3Client is a client of mcp-go.
type mark3Client struct {
	*client.Client
	*hearing
}

func dialMark3(ctx context.Context, cmd *exec.Cmd, revision string, h *hearing) (stdioClient, error) {
	stderr := cmd.Stderr
	if stderr == nil {
		stderr = io.Discard
	}
	cmd.Stderr = nil // the library wants to open the pipe itself
	t := transport.NewStdioWithOptions(cmd.Path, nil, nil, transport.WithCommandLogger(slog.New(slog.DiscardHandler)),
		transport.WithCommandStderrWriter(stderr),
		transport.WithCommandFunc(func(context.Context, string, []string, []string) (*exec.Cmd, error) { return cmd, nil }))
	c := &mark3Client{hearing: h}
	c.Client = client.NewClient(t, client.WithElicitationHandler(c), client.WithProtocolVersion(revision))
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	c.OnNotification(func(n mcp.JSONRPCNotification) {
		if n.Method == "notifications/progress" {
			h.hear("progress %v", n.Params.AdditionalFields["progress"])
		}
	})
	req := mcp.InitializeRequest{}
	req.Params.ClientInfo = mcp.Implementation{Name: "mark3", Version: "1.2"}
	_, err := c.Initialize(ctx, req)
	return c, err
}

// Elicit implements client.ElicitationHandler.
func (c *mark3Client) Elicit(_ context.Context, req mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	c.hear("elicit %s", req.Params.Message)
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: "accept", Content: map[string]any{"name": "Ann"}}}, nil
}

// Tools implements stdioClient.
func (c *mark3Client) Tools(ctx context.Context) (string, error) {
	return asText(c.ListTools(ctx, mcp.ListToolsRequest{}))
}

// Call implements stdioClient.
func (c *mark3Client) Call(ctx context.Context, tool string, args any) (string, error) {
	return asText(c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{
		Name: tool, Arguments: args, Meta: &mcp.Meta{ProgressToken: "tok"},
	}}))
}

var stdioClients = map[string]func(context.Context, *exec.Cmd, string, *hearing) (stdioClient, error){
	"official": dialOfficial, "mark3": dialMark3,
}

// asText formats a result for comparison.
func asText(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	out, err := json.Marshal(v)
	return string(out), err
}

// written is what a process has written, as it comes.
type written struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed at the next write
}

// Write implements io.Writer.
func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return w.text.Write(p)
}

// String returns all of it.
func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait waits until it holds s.
func (w *written) wait(ctx context.Context, s string) error {
	for {
		w.mu.Lock()
		found := strings.Contains(w.text.String(), s)
		if w.more == nil {
			w.more = make(chan struct{})
		}
		more := w.more
		w.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("no %q in %q: %w", s, w, ctx.Err())
		}
	}
}
