package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/examples/billing"
)

// stage is what the commands of one script share.
type stage struct {
	shop   *billing.Shop
	daemon *daemonProcess // nil if none runs
	screen *terminalOf    // nil if nobody looks at one
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// shop opens the billing server over HTTP and sets $SHOP to its URL; or over HTTP+SSE, or WebSocket.
func shop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: shop [sse|ws]")
	}
	s := stageOf(ts)
	s.shop = billing.NewShop(200)
	var h http.Handler
	var path string
	switch strings.Join(args, "") {
	case "":
		h, path = s.shop.Handler(), "/mcp"
	case "sse":
		h, path = server.NewSSEServer(s.shop.Server()), "/sse"
	case "ws":
		h, path = http.HandlerFunc(counter), "/ws"
	default:
		ts.Fatalf("no shop over %s", args[0])
	}
	shop := httptest.NewServer(h)
	ts.Defer(shop.Close)
	ts.Setenv("SHOP", shop.URL+path)
	if path == "/ws" {
		ts.Setenv("SHOP", strings.Replace(shop.URL, "http", "ws", 1)+path)
	}
}

// customers writes a corpus of so many sessions of an honest support agent.
func customers(ts *testscript.TestScript, neg bool, args []string) {
	n, err := 0, error(nil)
	if len(args) == 2 {
		n, err = strconv.Atoi(args[1])
	}
	if neg || n == 0 || err != nil {
		ts.Fatalf("usage: customers FILE N")
	}
	var out strings.Builder
	for i := range n {
		var events []map[string]any
		call := func(tool string, args map[string]any) {
			id := fmt.Sprint(len(events))
			events = append(events, map[string]any{"type": "call", "id": id, "server": "billing", "tool": tool, "args": args}, map[string]any{"type": "result", "id": id, "text": "ok"})
		}
		for k := range 2 + i%3 {
			call("get_order", map[string]any{"order_id": fmt.Sprintf("ord_%d", 1000+(i*7919+k*104729)%8999)})
		}
		for range i % 4 {
			call("issue_refund", map[string]any{"amount": 5 + i*37%90, "reason": []string{"late", "damaged"}[i%2]})
		}
		line, err := json.Marshal(map[string]any{"source": "shop", "suite": "support", "label": "benign", "events": events})
		ts.Check(err)
		out.Write(append(line, '\n'))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o600))
}

// counter serves a shop of its own over a WebSocket: a message each line of billing-stdio.
func counter(w http.ResponseWriter, r *http.Request) {
	u := websocket.Upgrader{Subprotocols: []string{"mcp"}}
	ws, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	cmd := exec.Command("billing-stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan() && ws.WriteMessage(websocket.TextMessage, lines.Bytes()) == nil; {
		}
		cmd.Wait()
		ws.Close()
	}()
	defer in.Close()
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if _, err := in.Write(append(text, '\n')); err != nil {
			return
		}
	}
}

// refunds checks how many refunds the shop has paid: what the server saw, not what Umpire says it saw.
func refunds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: refunds N")
	}
	if got := fmt.Sprint(stageOf(ts).shop.Refunds()); got != args[0] {
		ts.Fatalf("the shop paid %s refunds, want %s", got, args[0])
	}
}

// serve starts umpire serve on a free port, waits until it answers and sets $UMPIRE to its URL. What it says goes to
// serve.log.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	if neg || s.daemon != nil {
		ts.Fatalf("usage: serve [flags], once at a time")
	}
	log, err := os.OpenFile(ts.MkAbs("serve.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	defer log.Close()
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	s.daemon, err = launch(ts.Getenv("STATE"), func(cmd *exec.Cmd) {
		cmd.Dir, cmd.Env, cmd.Stderr = ts.MkAbs("."), environment(ts), log
	}, args...)
	if err != nil {
		ts.Fatalf("%v\n%s", err, ts.ReadFile("serve.log"))
	}
	ts.Defer(s.daemon.kill)
	ts.Setenv("UMPIRE", s.daemon.url)
}

// interrupt interrupts umpire serve, as Ctrl-C does, and checks that it ends well.
func interrupt(ts *testscript.TestScript, neg bool, _ []string) {
	s := stageOf(ts)
	if neg || s.daemon == nil {
		ts.Fatalf("usage: interrupt, after serve")
	}
	if err := s.daemon.interrupt(); err != nil {
		ts.Fatalf("umpire serve ended with %v\n%s", err, ts.ReadFile("serve.log"))
	}
	s.daemon = nil
}

// crash kills umpire serve: it cannot clean up.
func crash(ts *testscript.TestScript, neg bool, _ []string) {
	s := stageOf(ts)
	if neg || s.daemon == nil {
		ts.Fatalf("usage: crash, after serve")
	}
	s.daemon.kill()
	s.daemon = nil
}

// awaits waits until a file holds a line that matches.
func awaits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: awaits PATTERN FILE")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	await(ts, args[0]+" in "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[1]))
		return err == nil && pattern.Match(text)
	})
}

// await asks again and again, since nobody tells.
func await(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

// call is an MCP client: it connects, lists the tools, makes the calls one after the other and prints how each ended.
// With ! it has to fail to connect. The server is a URL, or the command of a stdio server in one word.
func call(ts *testscript.TestScript, neg bool, args []string) {
	agent, token := "support", ""
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-as":
			agent = args[1]
		case "-token":
			token = args[1]
		default:
			ts.Fatalf("call has no %s", args[0])
		}
		args = args[2:]
	}
	if len(args)%2 != 1 {
		ts.Fatalf("usage: call [-as AGENT] [-token TOKEN] SERVER [TOOL ARGUMENTS]…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := dial(ctx, ts, args[0], agent, token)
	if err != nil {
		if !neg {
			ts.Fatalf("%s: %v", args[0], err)
		}
		fmt.Fprintln(ts.Stderr(), err)
		return
	}
	defer c.Close()
	if neg {
		ts.Fatalf("%s lets us in", args[0])
	}
	for args = args[1:]; len(args) > 0; args = args[2:] {
		req := mcp.CallToolRequest{}
		req.Params.Name, req.Params.Arguments = args[0], json.RawMessage(args[1])
		res, err := c.CallTool(ctx, req)
		if err != nil {
			fmt.Fprintln(ts.Stdout(), "error:", err)
			continue
		}
		how := "ok:"
		if res.IsError {
			how = "failed:"
		}
		for _, content := range res.Content {
			if t, ok := content.(mcp.TextContent); ok {
				fmt.Fprintln(ts.Stdout(), how, t.Text)
			}
		}
	}
}

func dial(ctx context.Context, ts *testscript.TestScript, at, agent, token string) (c *client.Client, err error) {
	if strings.HasPrefix(at, "http:") {
		var options []transport.StreamableHTTPCOption
		if token != "" {
			options = append(options, transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + token}))
		}
		if c, err = client.NewStreamableHttpClient(at, options...); err == nil {
			err = c.Start(ctx)
		}
	} else {
		words := strings.Fields(at)
		c, err = client.NewStdioMCPClientWithOptions(words[0], nil, words[1:],
			transport.WithCommandFunc(func(ctx context.Context, command string, _, args []string) (*exec.Cmd, error) {
				cmd := exec.CommandContext(ctx, command, args...)
				cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
				return cmd, nil
			}))
		if err == nil {
			stderr, ok := client.GetStderr(c)
			if !ok {
				ts.Fatalf("no stderr")
			}
			go io.Copy(io.Discard, stderr)
		}
	}
	if err != nil {
		return nil, err
	}
	req := mcp.InitializeRequest{}
	req.Params.ProtocolVersion = "2025-11-25"
	req.Params.ClientInfo = mcp.Implementation{Name: agent, Version: "1.0"}
	if _, err := c.Initialize(ctx, req); err != nil {
		c.Close()
		return nil, err
	}
	if _, err := c.ListTools(ctx, mcp.ListToolsRequest{}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// get prints what a URL answers.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	resp, err := http.Get(args[0])
	ts.Check(err)
	printBody(ts, resp)
}

// enters opens the link in a file as a browser does, whose page takes the token out of it.
func enters(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: enters FILE")
	}
	origin, token, _ := strings.Cut(strings.TrimSpace(ts.ReadFile(args[0])), "/#token=")
	req, err := http.NewRequest(http.MethodPost, origin+"/enter", strings.NewReader(fmt.Sprintf(`{"token":%q}`, token)))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", origin)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s", resp.Status)
	}
	printBody(ts, resp)
}

// post sends a body as an MCP client does and prints the answer.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: post URL BODY")
	}
	req, err := http.NewRequest(http.MethodPost, args[0], strings.NewReader(args[1]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	printBody(ts, resp)
}

func printBody(ts *testscript.TestScript, resp *http.Response) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n", body)
}

// exits runs a command that has to end with the given status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARGUMENT]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], got, want)
	}
}

// what differs from run to run, and what is written instead.
var scrubs = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?\b|\b\d\d:\d\d:\d\d(\.\d{3})?\b`), "TIME"},
	{regexp.MustCompile(`"at":"[^"]+"`), `"at":"TIME"`},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "DIGEST"},
	{regexp.MustCompile(`\bpolicy( +)[0-9a-f]{12}\b`), "policy${1}DIGEST"},
	{regexp.MustCompile(`\bhttp:billing:[0-9a-f]{12}\b`), "LINK"},
	{regexp.MustCompile(`\[redacted [0-9a-f]{16}\]`), "[redacted DIGEST]"},
	{regexp.MustCompile(`\blocal:[^",) ]+`), "local:USER"},
	{regexp.MustCompile(`\bafter \d+(\.\d+)?(µs|ms|s)\b`), "after SPAN"},
	{regexp.MustCompile(`\b(5m0s|4m\d+s) `), "LEFT "},
	{regexp.MustCompile(`( retry +in |can pass in )[0-9hms.]+`), "${1}SPAN"},
}

// scrub writes stdout to a file, without what differs from run to run.
func scrub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: scrub FILE")
	}
	text := ts.ReadFile("stdout")
	for _, s := range scrubs {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// mode checks who may touch files.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE…")
	}
	for _, f := range args[1:] {
		info, err := os.Stat(ts.MkAbs(f))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", f, got, args[0])
		}
	}
}

// environment is that of the script.
func environment(ts *testscript.TestScript) []string {
	env := os.Environ()
	for _, name := range []string{
		"HOME", "PATH", "STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "UMPIRE_CONFIG", "NO_COLOR", "SHOP", "TOOLBOX", "TOKEN", "MODEL",
		"DBUS_SESSION_BUS_ADDRESS", "HOOK_SECRET", "WORK",
	} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// entryOf sets a variable to what a client would start or dial for a server of its configuration file.
func entryOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: entry VARIABLE CLIENT FILE SERVER")
	}
	c, ok := clients.Named(args[1])
	servers, err := clients.Servers(c.Format, []byte(ts.ReadFile(args[2])), config.DefaultListen)
	i := slices.IndexFunc(servers, func(s clients.Server) bool { return s.Name == args[3] })
	if !ok || err != nil || i < 0 {
		ts.Fatalf("no server %s in %s: %v", args[3], args[2], err)
	}
	ts.Setenv(args[0], servers[i].URL+strings.Join(servers[i].Command, " "))
}

// requests writes a corpus of so many sessions in which users say about which of their orders they ask.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	n, err := 0, error(nil)
	if len(args) == 2 {
		n, err = strconv.Atoi(args[1])
	}
	if neg || n == 0 || err != nil {
		ts.Fatalf("usage: requests FILE N")
	}
	var out strings.Builder
	for i := range n {
		customer, order := fmt.Sprintf("c_%d", 1+i%10), fmt.Sprintf("ord_%d", 1001+i*7919%8999)
		line, err := json.Marshal(map[string]any{"source": "shop", "suite": "support", "label": "benign", "events": []map[string]any{
			{"type": "user", "text": "I am " + customer + ". Where is my order " + order + "?"},
			{"type": "call", "id": "1", "server": "billing", "tool": "list_orders", "args": map[string]any{"customer_id": customer}},
			{"type": "result", "id": "1", "text": "There are some orders, the last one of this week."},
			{"type": "call", "id": "2", "server": "billing", "tool": "get_order", "args": map[string]any{"order_id": order}},
			{"type": "result", "id": "2", "text": "delivered"},
		}})
		ts.Check(err)
		out.Write(append(line, '\n'))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o600))
}
