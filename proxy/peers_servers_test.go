//nolint:staticcheck // peers still speak what is deprecated
package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// The servers that the peers talk to. Each library gets the same tools, one resource and one prompt:
//
//	echo   gives its arguments back
//	fail   is a result with isError
//	work   sends three progress notifications, each after the client has got the one before
//	ask    elicits and samples; before 2026-07-28 by requests to the client, since then by a result that asks for input
//	roots  lists the client's roots, likewise
//	wait   does not answer before it is cancelled
//	purge  is what a policy denies

// schema is what every tool says of its arguments.
const schema = `{"type":"object","properties":{"n":{"type":"number"},"text":{"type":"string"}}}`

// form is what ask wants to have filled in.
const form = `{"type":"object","properties":{"name":{"type":"string"}}}`

// house is what a server has seen.
type house struct {
	mu        sync.Mutex
	ran       []string      // tools with their arguments
	heard     chan struct{} // gets one for each progress notification that has reached the client
	waiting   chan struct{} // gets one for each wait that began …
	cancelled chan struct{} // … and for each whose context ended
	over      chan struct{} // closed at the end of the test
}

func newHouse() *house {
	return &house{heard: make(chan struct{}, 8), waiting: make(chan struct{}, 8), cancelled: make(chan struct{}, 8), over: make(chan struct{})}
}

func (h *house) note(tool string, args []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ran = append(h.ran, tool+" "+string(args))
}

func (h *house) tools() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.ran...)
}

// wait blocks until the call is cancelled.
func (h *house) wait(ctx context.Context) error {
	h.waiting <- struct{}{}
	select {
	case <-ctx.Done():
		h.cancelled <- struct{}{}
		return ctx.Err()
	case <-h.over:
		return errors.New("the test is over")
	}
}

// listen blocks until the client has got a progress notification.
func (h *house) listen(ctx context.Context) error {
	select {
	case <-h.heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.over:
		return errors.New("the test is over")
	}
}

// official returns a server of the official SDK over Streamable HTTP.
func official(h *house, opts *sdk.StreamableHTTPOptions) http.Handler {
	s := officialServer(h)
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, opts)
}

func officialServer(h *house) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "peer", Version: "1"}, nil)
	add := func(name string, run func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error)) {
		s.AddTool(&sdk.Tool{Name: name, Description: name + "!", InputSchema: json.RawMessage(schema)},
			func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
				h.note(name, req.Params.Arguments)
				return run(ctx, req)
			})
	}
	text := func(s string) []sdk.Content { return []sdk.Content{&sdk.TextContent{Text: s}} }
	add("echo", func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: text(string(req.Params.Arguments)), StructuredContent: req.Params.Arguments}, nil
	})
	add("fail", func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: text("it failed"), IsError: true}, nil
	})
	add("purge", func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: text("all is gone")}, nil
	})
	add("wait", func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return nil, h.wait(ctx)
	})
	add("work", func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{
				ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3, Message: "busy",
			})
			if err == nil {
				err = h.listen(ctx)
			}
			if err != nil {
				return nil, err
			}
		}
		return &sdk.CallToolResult{Content: text("worked")}, nil
	})
	add("ask", func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		given := req.Params.InputResponses
		if len(given) == 0 {
			return &sdk.CallToolResult{RequestState: "state 1", InputRequests: sdk.InputRequestMap{
				"name": &sdk.ElicitParams{Mode: "form", Message: "your name?", RequestedSchema: json.RawMessage(form)},
				"poem": &sdk.CreateMessageParams{MaxTokens: 9, Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: "a poem"}}}},
			}}, nil
		}
		who, ok := given["name"].(*sdk.ElicitResult)
		if !ok || req.Params.RequestState != "state 1" {
			return nil, fmt.Errorf("answer %T with %q", given["name"], req.Params.RequestState)
		}
		model := "no model"
		switch poem := given["poem"].(type) {
		case *sdk.CreateMessageResult:
			model = poem.Model
		case *sdk.CreateMessageWithToolsResult:
			model = poem.Model
		}
		return &sdk.CallToolResult{Content: text(fmt.Sprint(who.Action, who.Content, model))}, nil
	})
	add("roots", func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		roots, ok := req.Params.InputResponses["roots"].(*sdk.ListRootsResult)
		if !ok {
			return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"roots": &sdk.ListRootsParams{}}}, nil
		}
		return &sdk.CallToolResult{Content: text(roots.Roots[0].URI)}, nil
	})
	s.AddResource(&sdk.Resource{Name: "note", URI: "note://1"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "note://1", Text: "a note", MIMEType: "text/plain"}}}, nil
	})
	s.AddPrompt(&sdk.Prompt{Name: "greet"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "hello"}}}}, nil
	})
	return s
}

// mark3 returns a server of mcp-go over Streamable HTTP.
func mark3(h *house, opts ...server.StreamableHTTPOption) http.Handler {
	return server.NewStreamableHTTPServer(mark3Server(h), append(opts, server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)))...)
}

func mark3Server(h *house) *server.MCPServer {
	s := server.NewMCPServer("peer", "1", server.WithElicitation(), server.WithRoots(),
		server.WithResourceCapabilities(false, false), server.WithPromptCapabilities(false))
	s.EnableSampling()
	add := func(name string, run server.ToolHandlerFunc) {
		s.AddTool(mcp.NewToolWithRawSchema(name, name+"!", json.RawMessage(schema)),
			func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				h.note(name, req.Params.RawArguments)
				return run(ctx, req)
			})
	}
	add("echo", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultStructured(req.GetArguments(), string(req.Params.RawArguments)), nil
	})
	add("fail", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("it failed"), nil
	})
	add("purge", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("all is gone"), nil
	})
	add("wait", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) { return nil, h.wait(ctx) })
	add("work", func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			err := server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
				"progressToken": req.Params.Meta.ProgressToken, "progress": i + 1, "total": 3, "message": "busy",
			})
			if err == nil {
				err = h.listen(ctx)
			}
			if err != nil {
				return nil, err
			}
		}
		return mcp.NewToolResultText("worked"), nil
	})
	add("ask", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		given := req.Params.InputResponses
		if len(given) == 0 {
			return server.NewInputRequestBuilder("state 1").
				Elicit("name", mcp.ElicitationParams{Message: "your name?", RequestedSchema: json.RawMessage(form)}).
				Sample("poem", mcp.CreateMessageParams{MaxTokens: 9, Messages: []mcp.SamplingMessage{{Role: "user", Content: mcp.NewTextContent("a poem")}}}).
				ToolResult(), nil
		}
		who, poem := server.ElicitationResponse(given, "name"), server.SamplingResponse(given, "poem")
		if who == nil || poem == nil || req.Params.RequestState != "state 1" {
			return nil, fmt.Errorf("answers %v %v with %q", who, poem, req.Params.RequestState)
		}
		return mcp.NewToolResultText(fmt.Sprint(who.Action, who.Content, poem.Model)), nil
	})
	add("roots", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		roots := server.RootsResponse(req.Params.InputResponses, "roots")
		if roots == nil {
			return server.NewInputRequestBuilder("").Roots("roots").ToolResult(), nil
		}
		return mcp.NewToolResultText(roots.Roots[0].URI), nil
	})
	s.AddResource(mcp.NewResource("note://1", "note"), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: "note://1", Text: "a note", MIMEType: "text/plain"}}, nil
	})
	s.AddPrompt(mcp.NewPrompt("greet"), func(context.Context, mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return mcp.NewGetPromptResult("", []mcp.PromptMessage{mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent("hello"))}), nil
	})
	return s
}
