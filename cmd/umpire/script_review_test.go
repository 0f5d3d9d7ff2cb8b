package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
)

// asks is call for one call that takes its time: the client connects at once, and when it has its answer and has gone,
// a file says how the call ended.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: asks FILE SERVER TOOL ARGUMENTS")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c, err := dial(ctx, ts, args[1], "support", "")
	ts.Check(err)
	file := ts.MkAbs(args[0])
	req := mcp.CallToolRequest{}
	req.Params.Name, req.Params.Arguments = args[2], json.RawMessage(args[3])
	req.Params.Meta = &mcp.Meta{ProgressToken: 0}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		text := ""
		res, err := c.CallTool(ctx, req)
		if err != nil {
			text = "error: " + err.Error()
		} else if t, ok := res.Content[0].(mcp.TextContent); ok {
			text = t.Text
		}
		c.Close()
		if err := os.WriteFile(file, []byte(strings.TrimSpace(text)+"\n"), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	ts.Defer(func() {
		cancel()
		<-ended
	})
}

// heldCalls waits until so many calls are on hold.
func heldCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held N")
	}
	d := history.Dial(filepath.Join(ts.Getenv("STATE"), config.SocketFile))
	defer d.Close()
	await(ts, args[0]+" calls on hold", func() bool {
		list, err := d.Held()
		return err == nil && fmt.Sprint(len(list)) == args[0]
	})
}
