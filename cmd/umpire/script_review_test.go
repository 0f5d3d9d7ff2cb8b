package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/proxy/review"
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

// heldCalls waits until so many calls are on hold, and recorded: the Desk has them a moment before.
func heldCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held N")
	}
	d := history.Dial(filepath.Join(ts.Getenv("STATE"), config.SocketFile))
	defer d.Close()
	await(ts, args[0]+" calls on hold", func() bool {
		list, err := d.Held()
		return err == nil && fmt.Sprint(len(list)) == args[0] && !slices.ContainsFunc(list, func(h review.Held) bool {
			for e, err := range history.Events(d, h.Call) {
				return err != nil || e.Seq != h.Call
			}
			return true
		})
	})
}

// reviewers lets many decide about the call on hold at the same time, each in a process of its own: half of them approve it, half
// deny it. One of them has to be the first; every other has to be told so.
func reviewers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reviewers N, with one call on hold")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	d := history.Dial(filepath.Join(ts.Getenv("STATE"), config.SocketFile))
	defer d.Close()
	list, err := d.Held()
	if err != nil || len(list) != 1 {
		ts.Fatalf("on hold are %v (%v)", list, err)
	}
	call := fmt.Sprint(list[0].Call)
	path, err := exec.LookPath("umpire")
	ts.Check(err)
	said := make([]string, n)
	first := make(chan string, n)
	var wg sync.WaitGroup
	for i := range n {
		verb, done := "approve", "approved"
		if i%2 == 1 {
			verb, done = "deny", "denied"
		}
		cmd := exec.Command(path, "review", verb, call)
		cmd.Env = environment(ts)
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			if said[i] = string(out); err == nil {
				first <- done
			}
		})
	}
	wg.Wait()
	if len(first) != 1 {
		ts.Fatalf("%d of %d reviewers decided:\n%s", len(first), n, strings.Join(said, ""))
	}
	who := regexp.MustCompile(`^error: call #` + call + ` is not on hold any more: local:\S+ ` + <-first + ` it\n`)
	late := 0
	for _, text := range said {
		if who.MatchString(text) {
			late++
		}
	}
	if late != n-1 {
		ts.Fatalf("%d of %d reviewers who came too late were told who was first:\n%s", late, n-1, strings.Join(said, ""))
	}
}

// receiver takes webhooks at $RECEIVER and writes them to a file, one a line.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver FILE")
	}
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = fmt.Fprintf(file, "%s\n", body)
		}
		if err != nil || r.Header.Get("Webhook-Signature") == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(func() {
		server.Close()
		file.Close()
	})
	ts.Setenv("RECEIVER", server.URL)
}
