//nolint:staticcheck // peers still speak what is deprecated
package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// peer is a client, whichever library it is written with. Results are the JSON of what the library gives its user.
type peer interface {
	// Connect initializes, or discovers, and returns the server's name and the revision.
	Connect(ctx context.Context) (string, error)
	Tools(ctx context.Context) (string, error)
	// Call calls a tool; with progress, notifications about it are asked for.
	Call(ctx context.Context, tool string, args any, progress bool) (string, error)
	Read(ctx context.Context, uri string) (string, error)
	Prompt(ctx context.Context, name string) (string, error)
	Close() error
	// Heard returns what the server said of its own accord, sorted.
	Heard() []string
}

// ears collects what a server says of its own accord.
type ears struct {
	mu    sync.Mutex
	heard []string
	news  chan<- struct{} // gets one for each progress notification
}

func (e *ears) hear(format string, args ...any) {
	e.mu.Lock()
	e.heard = append(e.heard, fmt.Sprintf(format, args...))
	e.mu.Unlock()
	if strings.HasPrefix(format, "progress") {
		e.news <- struct{}{}
	}
}

// Heard implements peer.
func (e *ears) Heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.heard))
}

func asJSON(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// filledIn is how a user fills in the form of a tool, and of Umpire: what is to be refused he denies.
func filledIn(message string) map[string]any {
	switch {
	case !strings.HasPrefix(message, "Umpire holds "):
		return map[string]any{"name": "Ann"}
	case strings.Contains(message, `"refuse me"`):
		return map[string]any{"decision": "deny", "note": "no"}
	}
	return map[string]any{"decision": "approve"}
}

// way is how a client reaches its server.
type way struct {
	official func() (sdk.Transport, error)
	mark3    func(revision string) (transport.Interface, error)
}

// overHTTP is the way over Streamable HTTP. A client of mcp-go that listens all the time speaks no revision that knows no
// listening.
func overHTTP(url string, c *http.Client) way {
	return way{
		official: func() (sdk.Transport, error) {
			return &sdk.StreamableClientTransport{Endpoint: url, HTTPClient: c, MaxRetries: -1}, nil
		},
		mark3: func(revision string) (transport.Interface, error) {
			opts := []transport.StreamableHTTPCOption{transport.WithHTTPBasicClient(c), transport.WithHTTPLogger(slog.New(slog.DiscardHandler))}
			if revision != "" {
				opts = append(opts, transport.WithContinuousListening())
			}
			return transport.NewStreamableHTTP(url, opts...)
		},
	}
}

// officialPeer is a client of the official SDK.
type officialPeer struct {
	*ears
	way
	revision string
	*sdk.ClientSession
}

func newOfficialPeer(way way, revision string, news chan<- struct{}) peer {
	return &officialPeer{ears: &ears{news: news}, way: way, revision: revision}
}

// Connect implements peer.
func (p *officialPeer) Connect(ctx context.Context) (string, error) {
	c := sdk.NewClient(&sdk.Implementation{Name: "official", Version: "1.8"}, &sdk.ClientOptions{
		CreateMessageHandler: func(_ context.Context, req *sdk.CreateMessageRequest) (*sdk.CreateMessageResult, error) {
			p.hear("sample %d", req.Params.MaxTokens)
			return &sdk.CreateMessageResult{Model: "bard", Role: "assistant", Content: &sdk.TextContent{Text: "roses"}}, nil
		},
		ElicitationHandler: func(_ context.Context, req *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			p.hear("elicit %s", req.Params.Message)
			return &sdk.ElicitResult{Action: "accept", Content: filledIn(req.Params.Message)}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, req *sdk.ProgressNotificationClientRequest) {
			p.hear("progress %v: %v of %v %s", req.Params.ProgressToken, req.Params.Progress, req.Params.Total, req.Params.Message)
		},
	})
	c.AddRoots(&sdk.Root{URI: "file:///home/ann"})
	t, err := p.official()
	if err != nil {
		return "", err
	}
	p.ClientSession, err = c.Connect(ctx, t, &sdk.ClientSessionOptions{ProtocolVersion: p.revision})
	if err != nil {
		return "", err
	}
	r := p.InitializeResult()
	return asJSON(r, nil)
}

// Tools implements peer.
func (p *officialPeer) Tools(ctx context.Context) (string, error) {
	return asJSON(p.ListTools(ctx, nil))
}

// Call implements peer.
func (p *officialPeer) Call(ctx context.Context, tool string, args any, progress bool) (string, error) {
	params := &sdk.CallToolParams{Name: tool, Arguments: args}
	if progress {
		params.SetProgressToken("tok")
	}
	return asJSON(p.CallTool(ctx, params))
}

// Read implements peer.
func (p *officialPeer) Read(ctx context.Context, uri string) (string, error) {
	return asJSON(p.ReadResource(ctx, &sdk.ReadResourceParams{URI: uri}))
}

// Prompt implements peer.
func (p *officialPeer) Prompt(ctx context.Context, name string) (string, error) {
	return asJSON(p.GetPrompt(ctx, &sdk.GetPromptParams{Name: name}))
}

// mark3Peer is a client of mcp-go.
type mark3Peer struct {
	*ears
	way
	revision string
	*client.Client
}

func newMark3Peer(way way, revision string, news chan<- struct{}) peer {
	return &mark3Peer{ears: &ears{news: news}, way: way, revision: revision}
}

// CreateMessage implements client.SamplingHandler.
func (p *mark3Peer) CreateMessage(_ context.Context, req mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	p.hear("sample %d", req.MaxTokens)
	return &mcp.CreateMessageResult{Model: "bard", SamplingMessage: mcp.SamplingMessage{Role: "assistant", Content: mcp.NewTextContent("roses")}}, nil
}

// Elicit implements client.ElicitationHandler.
func (p *mark3Peer) Elicit(_ context.Context, req mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	p.hear("elicit %s", req.Params.Message)
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: "accept", Content: filledIn(req.Params.Message)}}, nil
}

// ListRoots implements client.RootsHandler.
func (p *mark3Peer) ListRoots(context.Context, mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	p.hear("roots")
	return &mcp.ListRootsResult{Roots: []mcp.Root{{URI: "file:///home/ann"}}}, nil
}

// Connect implements peer.
func (p *mark3Peer) Connect(ctx context.Context) (string, error) {
	t, err := p.mark3(p.revision)
	if err != nil {
		return "", err
	}
	p.Client = client.NewClient(t, client.WithSamplingHandler(p), client.WithElicitationHandler(p), client.WithRootsHandler(p),
		client.WithProtocolVersion(p.revision))
	p.OnNotification(func(n mcp.JSONRPCNotification) {
		if f := n.Params.AdditionalFields; n.Method == "notifications/progress" {
			p.hear("progress %v: %v of %v %v", f["progressToken"], f["progress"], f["total"], f["message"])
		}
	})
	if err := p.Start(ctx); err != nil {
		return "", err
	}
	req := mcp.InitializeRequest{}
	req.Params.ClientInfo = mcp.Implementation{Name: "mark3", Version: "1.2"}
	return asJSON(p.Initialize(ctx, req))
}

// Tools implements peer.
func (p *mark3Peer) Tools(ctx context.Context) (string, error) {
	return asJSON(p.ListTools(ctx, mcp.ListToolsRequest{}))
}

// Call implements peer.
func (p *mark3Peer) Call(ctx context.Context, tool string, args any, progress bool) (string, error) {
	req := mcp.CallToolRequest{Params: mcp.CallToolParams{Name: tool, Arguments: args}}
	if progress {
		req.Params.Meta = &mcp.Meta{ProgressToken: "tok"}
	}
	return asJSON(p.CallTool(ctx, req))
}

// Read implements peer.
func (p *mark3Peer) Read(ctx context.Context, uri string) (string, error) {
	req := mcp.ReadResourceRequest{}
	req.Params.URI = uri
	return asJSON(p.ReadResource(ctx, req))
}

// Prompt implements peer.
func (p *mark3Peer) Prompt(ctx context.Context, name string) (string, error) {
	req := mcp.GetPromptRequest{}
	req.Params.Name = name
	return asJSON(p.GetPrompt(ctx, req))
}

// posts is an http.RoundTripper that keeps the bodies of POSTs.
type posts struct {
	*http.Transport
	kept *bodies
}

// bodies are message bodies, in no order.
type bodies struct {
	mu   sync.Mutex
	list []string
}

func (b *bodies) add(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, s)
}

func (b *bodies) sorted(without string) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.list {
		if without == "" || !strings.Contains(s, without) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}
