package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

// elicited makes a call as a client whose user is asked about it, and does what he is told to: ANSWER is the action, with
// approve or deny after accept, and a note. It prints what the user has read, and how the call ended.
func elicited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 6 {
		ts.Fatalf("usage: elicited AGENT REVISION ANSWER SERVER TOOL ARGUMENTS")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	action, rest, _ := strings.Cut(args[2], " ")
	decision, note, _ := strings.Cut(rest, " ")
	read := make(chan string, 10)
	c := sdk.NewClient(&sdk.Implementation{Name: args[0], Version: "1.0"}, &sdk.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			read <- r.Params.Message
			answer := &sdk.ElicitResult{Action: action}
			if decision != "" {
				answer.Content = map[string]any{"decision": decision, "note": note}
			}
			return answer, nil
		},
	})
	var over sdk.Transport = &sdk.StreamableClientTransport{Endpoint: args[3], MaxRetries: -1}
	if !strings.HasPrefix(args[3], "http:") {
		words := strings.Fields(args[3])
		path, err := exec.LookPath(words[0])
		ts.Check(err)
		cmd := exec.Command(path, words[1:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
		over = &sdk.CommandTransport{Command: cmd}
	}
	s, err := c.Connect(ctx, over, &sdk.ClientSessionOptions{ProtocolVersion: args[1]})
	ts.Check(err)
	defer s.Close()
	res, err := s.CallTool(ctx, &sdk.CallToolParams{Name: args[4], Arguments: json.RawMessage(args[5])})
	ts.Check(err)
	for len(read) > 0 {
		fmt.Fprintf(ts.Stdout(), "the user reads:\n%s\n\n", <-read)
	}
	text, ok := res.Content[0].(*sdk.TextContent)
	if !ok {
		ts.Fatalf("no text")
	}
	fmt.Fprintf(ts.Stdout(), "%s (revision %s)\n", strings.TrimSpace(text.Text), s.InitializeResult().ProtocolVersion)
}
