package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// stdioPeer is a program of its own: a server over stdio, of the library that its first argument names. The tools of
// both are
//
//	echo  gives its text back
//	work  sends three progress notifications
//	ask   asks the user for a name
//	env   is the value of a variable
//	say   writes a line to stderr
//	hang  answers when it is cancelled, which is too late
//	die   ends the server with a status, or by a signal that it sends itself
//	fork  starts a program that would live for long, and gives its process id
//
// It says hello and goodbye on stderr.
func stdioPeer() {
	signal.Ignore(syscall.SIGPIPE) // mcp-go's client closes our stderr before it ends us
	fmt.Fprintln(os.Stderr, "hello from the server")
	var err error
	switch os.Args[1] {
	case "official":
		err = officialStdio().Run(context.Background(), &sdk.StdioTransport{})
	case "mark3":
		err = server.NewStdioServer(mark3Stdio()).Listen(context.Background(), os.Stdin, os.Stdout)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Fprintln(os.Stderr, "goodbye from the server")
	if len(os.Args) > 2 {
		if status, err := strconv.Atoi(os.Args[2]); err == nil {
			os.Exit(status)
		}
	}
}

// stdioSchema is what every tool says of its arguments.
const stdioSchema = `{"type":"object","properties":{"text":{"type":"string"}}}`

// stdioTool runs what the tools of both libraries have in common.
func stdioTool(ctx context.Context, name, text string) (string, error) {
	switch name {
	case "echo":
		return text, nil
	case "env":
		return os.Getenv(text), nil
	case "say":
		fmt.Fprintln(os.Stderr, text)
		return "said", nil
	case "hang":
		fmt.Fprintln(os.Stderr, "hanging")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "cancelled")
		return "", ctx.Err()
	case "die":
		fmt.Fprintln(os.Stderr, "dying")
		status, err := strconv.Atoi(text)
		if err != nil {
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				return "", err
			}
			time.Sleep(patience)
		}
		os.Exit(status)
	case "fork":
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			return "", err
		}
		return strconv.Itoa(cmd.Process.Pid), nil
	}
	return "", errors.New("no such tool")
}

var stdioTools = []string{"echo", "env", "say", "hang", "die", "fork"}

func officialStdio() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "stdio", Version: "1"}, nil)
	text := func(s string) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
	}
	for _, name := range stdioTools {
		s.AddTool(&sdk.Tool{Name: name, InputSchema: json.RawMessage(stdioSchema)}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			var args struct{ Text string }
			if err := json.Unmarshal(req.Params.Arguments, &args); err != nil {
				return nil, err
			}
			out, err := stdioTool(ctx, name, args.Text)
			return text(out), err
		})
	}
	s.AddTool(&sdk.Tool{Name: "work", InputSchema: json.RawMessage(stdioSchema)}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3})
			if err != nil {
				return nil, err
			}
		}
		return text("worked"), nil
	})
	s.AddTool(&sdk.Tool{Name: "ask", InputSchema: json.RawMessage(stdioSchema)}, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		name, ok := req.Params.InputResponses["name"].(*sdk.ElicitResult)
		if !ok {
			return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"name": &sdk.ElicitParams{Mode: "form", Message: "your name?", RequestedSchema: json.RawMessage(nameForm)}}}, nil
		}
		return text(fmt.Sprint("hello ", name.Content["name"])), nil
	})
	return s
}

// nameForm is what ask wants to have filled in.
const nameForm = `{"type":"object","properties":{"name":{"type":"string"}}}`

func mark3Stdio() *server.MCPServer {
	s := server.NewMCPServer("stdio", "1", server.WithElicitation(), server.WithLogger(slog.New(slog.DiscardHandler)))
	add := func(name string, run server.ToolHandlerFunc) {
		s.AddTool(mcp.NewToolWithRawSchema(name, "", json.RawMessage(stdioSchema)), run)
	}
	for _, name := range stdioTools {
		add(name, func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			out, err := stdioTool(ctx, name, req.GetString("text", ""))
			return mcp.NewToolResultText(out), err
		})
	}
	add("work", func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			err := server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
				"progressToken": req.Params.Meta.ProgressToken, "progress": i + 1, "total": 3,
			})
			if err != nil {
				return nil, err
			}
		}
		return mcp.NewToolResultText("worked"), nil
	})
	add("ask", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		name := server.ElicitationResponse(req.Params.InputResponses, "name")
		if name == nil {
			return server.NewInputRequestBuilder("").Elicit("name", mcp.ElicitationParams{Message: "your name?", RequestedSchema: json.RawMessage(nameForm)}).ToolResult(), nil
		}
		fields, _ := name.Content.(map[string]any)
		return mcp.NewToolResultText(fmt.Sprint("hello ", fields["name"])), nil
	})
	return s
}
