//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// The reference server that does everything, written in TypeScript: lists, all kinds of content, progress, and requests
// to the client while a call is in flight.
func TestServerEverything(t *testing.T) {
	installed(t, "mcp-server-everything")
	s := newSite(t, `rules: [{name: no-environment, on: "everything/get-env", do: deny}]`)
	steps := func(cmd *exec.Cmd) (said, heard []string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		h := &hearing{}
		c, err := dialOfficial(ctx, cmd, "2025-11-25", h)
		if err != nil {
			t.Fatal(err)
		}
		said = everything(ctx, t, c, cmd.Path == s.umpire().Path)
		if err := cmd.Process.Signal(os.Interrupt); err != nil { // as Claude Code ends its servers
			t.Error(err)
		}
		// It closes stdin as well. Node ends at either, and if the signal comes while it ends already, of the signal.
		var ended *exec.ExitError
		if err := c.Close(); err != nil && (!errors.As(err, &ended) || ended.ExitCode() != 128+int(syscall.SIGINT)) {
			t.Error(err)
		}
		return said, slices.DeleteFunc(h.all(), func(w string) bool { return w == "progress 0" })
	}
	want, wantHeard := steps(exec.Command("mcp-server-everything"))
	cmd, _ := s.run("everything", "mcp-server-everything", "stdio")
	got, gotHeard := steps(cmd)
	alike(t, "stdio", got, want, gotHeard, wantHeard)
	out := s.output(t, "log", "-n", "0")
	for _, line := range []string{
		"everything/trigger-sampling-request", "everything/get-env", "untrusted user (mcp:sampling/createMessage of everything): ",
		" assistant (mcp:sampling/createMessage of everything): ", "untrusted tool (mcp:elicitation/create of everything): ",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("umpire log says nothing of %s:\n%s", line, out)
		}
	}
}

// The same server over HTTP+SSE: with a client that speaks the same, where umpire.yaml names the server and where the
// client does, as after umpire wrap; and with one that speaks stdio.
func TestServerEverythingOverSSE(t *testing.T) {
	installed(t, "mcp-server-everything")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	port := freePort(t)
	server, stderr := exec.CommandContext(ctx, "mcp-server-everything", "sse"), &written{}
	server.Env, server.Stderr = append(os.Environ(), "PORT="+port), stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	if err := stderr.wait(ctx, "is running on port"); err != nil {
		t.Fatal(err)
	}
	at := "http://127.0.0.1:" + port + "/sse"
	s := newSite(t, "servers: {everything: {transport: sse, url: \""+at+"\"}}\n"+
		`rules: [{name: no-environment, on: "*/get-env", do: deny}]`)
	daemon, err := launch(s.state, func(cmd *exec.Cmd) { cmd.Dir = s.dir }, "--config", s.config)
	if err != nil {
		t.Fatal(err)
	}
	steps := func(over sdk.Transport, denies bool) (said, heard []string) {
		h := &hearing{}
		c, err := meet(ctx, over, "2025-11-25", h)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said = everything(ctx, t, c, denies)
		return said, slices.DeleteFunc(h.all(), func(w string) bool { return w == "progress 0" })
	}
	want, wantHeard := steps(&sdk.SSEClientTransport{Endpoint: at}, false)
	for over, transport := range map[string]sdk.Transport{
		"everything": &sdk.SSEClientTransport{Endpoint: daemon.url + "/everything/sse"},
		"wrapped":    &sdk.SSEClientTransport{Endpoint: daemon.url + "/wrapped/to/" + at},
		"shim":       &sdk.CommandTransport{Command: s.umpire("run", "--name", "shim", "--transport", "sse", "--url", at)},
	} {
		got, gotHeard := steps(transport, true)
		alike(t, over, got, want, gotHeard, wantHeard)
		if out := s.output(t, "log", "-n", "0"); !strings.Contains(out, over+"/trigger-sampling-request") || !strings.Contains(out, over+"/get-env") {
			t.Errorf("umpire log says nothing of %s:\n%s", over, out)
		}
	}
	if err := daemon.interrupt(); err != nil {
		t.Error(err)
	}
}

// The same server, and a model that declares why it calls: the server never knows, also after nobody is asked to any more.
func TestServerEverythingDoesNotHearIntents(t *testing.T) {
	installed(t, "mcp-server-everything")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	explain := `rules: [{name: explain, on: "everything/get-sum", where: "call.intent == ''", do: deny}]`
	s := newSite(t, "intent: {servers: [everything]}\n"+explain)
	talk := func(asked bool) {
		cmd, _ := s.run("everything", "mcp-server-everything", "stdio")
		c, err := dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			cmd.Process.Signal(os.Interrupt)
			c.Close() //nolint:errcheck // it ends of the signal
		}()
		list, err := c.Tools(ctx)
		if echo := gjson.Get(list, `tools.#(name=="echo").inputSchema`); err != nil || echo.Get("properties.umpire_intent").Exists() != asked || !echo.Get("properties.message").Exists() {
			t.Errorf("%v %s", err, list)
		}
		for _, call := range []struct{ tool, args, want string }{
			{"echo", `{"umpire_intent":"The user is bored.","message":"hello"}`, "Echo: hello"},
			{"get-sum", `{"a":1,"umpire_intent":"The user adds up.","b":2}`, "The sum of 1 and 2 is 3."},
			{"get-sum", `{"a":1,"b":2}`, "(rule explain)"},
		} {
			if got, err := c.Call(ctx, call.tool, json.RawMessage(call.args)); err != nil || !strings.Contains(got, call.want) {
				t.Errorf("%s %s: %v %s", call.tool, call.args, err, got)
			}
		}
	}
	talk(true)
	s.stop(t)
	write(t, s.config, "listen: 127.0.0.1:0\n"+explain)
	talk(false)
	intents := 0
	for _, e := range s.events(t) {
		if b, ok := e.Body.(*event.Call); ok {
			if strings.Contains(string(b.Args), "umpire_intent") {
				t.Errorf("%s/%s %s", b.Server, b.Tool, b.Args)
			}
			if b.Intent != "" {
				intents++
			}
		}
		if b, ok := e.Body.(*event.Catalog); ok {
			for _, tool := range b.Tools {
				if strings.Contains(string(tool.InputSchema), "umpire_intent") || len(tool.Doubts) > 0 {
					t.Errorf("%s is pinned as %s %v", tool.Name, tool.InputSchema, tool.Doubts)
				}
			}
		}
	}
	if intents != 4 {
		t.Errorf("%d calls with an intent", intents)
	}
}

// freePort returns a port on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// everything has a client use the server that does everything, and returns what that says. If get-env is to be denied, it
// is left out of the list.
func everything(ctx context.Context, t *testing.T, c stdioClient, denies bool) (said []string) {
	t.Helper()
	list, err := "", error(nil)
	eventually(t, "the tools that need a client who can be asked", func() string {
		if list, err = c.Tools(ctx); err != nil || !strings.Contains(list, "trigger-sampling-request") {
			return list
		}
		return ""
	})
	said = append(said, "tools -> "+strings.Join(names(t, list), " "))
	for _, call := range []struct{ tool, args string }{
		{"echo", `{"message":"é \"quoted\" <html> \u2028"}`},
		{"get-sum", `{"a":0.1,"b":1e3}`},
		{"get-sum", `{"a":"no number"}`},
		{"get-tiny-image", `{}`},
		{"get-structured-content", `{"location":"Chicago"}`},
		{"get-annotated-message", `{"messageType":"error","includeImage":true}`},
		{"get-resource-links", `{"count":3}`},
		{"trigger-long-running-operation", `{"duration":0.3,"steps":3}`},
		{"trigger-sampling-request", `{"prompt":"a poem","maxTokens":9}`},
		{"trigger-elicitation-request", `{}`},
		{"nothing-of-the-kind", `{}`},
	} {
		got, err := c.Call(ctx, call.tool, json.RawMessage(call.args))
		if err != nil {
			got = "error: " + err.Error()
		}
		said = append(said, call.tool+" -> "+got)
	}
	if env, err := c.Call(ctx, "get-env", nil); denies && (err != nil || !strings.Contains(env, "(rule no-environment)") || strings.Contains(env, "PATH=")) {
		t.Errorf("get-env: %v %s", err, env)
	}
	return said
}

// alike compares what a client of the server that does everything has got and heard with what it gets without Umpire.
func alike(t *testing.T, over string, got, want, heard, wantHeard []string) {
	t.Helper()
	want = slices.Clone(want)
	want[0] = strings.Replace(want[0], "get-env ", "", 1)
	if !slices.Equal(got, want) {
		t.Errorf("through Umpire, %s:\n%s\n\ndirect:\n%s", over, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(heard, wantHeard) || !slices.Contains(heard, "sample") || !slices.Contains(heard, "progress 3") {
		t.Errorf("through Umpire, %s, the client heard %v, else %v", over, heard, wantHeard)
	}
}

// names returns the names of the tools in a list.
func names(t *testing.T, list string) (out []string) {
	t.Helper()
	var l struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal([]byte(list), &l); err != nil {
		t.Fatal(err)
	}
	for _, tool := range l.Tools {
		out = append(out, tool.Name)
	}
	slices.Sort(out)
	return out
}

// The reference file server allows a whole tree; the policy allows one folder of it, however the path is spelled. What
// is outside is refused by Umpire's verdict: the server, which would read it, is not asked.
func TestServerFilesystem(t *testing.T) {
	installed(t, "mcp-server-filesystem")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	project := filepath.Join(dir, "project")
	for path, text := range map[string]string{
		"project/notes.txt": "inside", "project/deep/er.txt": "deeper inside", "secret.txt": "OUTSIDE",
		"project-2/plan.txt": "OUTSIDE", "project/%2e%2e/secret.txt": "OUTSIDE", "project/100%.txt": "a percent sign",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	s := newSite(t, strings.ReplaceAll(`
rules:
  - name: within-the-project
    on: "files/*"
    where: |
      has(args.path) && !path(args.path).within("PROJECT")
      || has(args.paths) && args.paths.exists(p, !path(p).within("PROJECT"))
      || has(args.source) && !path(args.source).within("PROJECT")
      || has(args.destination) && !path(args.destination).within("PROJECT")
    do: deny
`, "PROJECT", project))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, stderr := s.umpire("run", "--name", "files", "--", "mcp-server-filesystem", dir, s.dir), &written{}
	cmd.Stderr = stderr
	c, err := dialMark3(ctx, cmd, "", &hearing{})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	defer c.Close()
	if list, err := c.Tools(ctx); err != nil || !slices.Contains(names(t, list), "read_text_file") {
		t.Errorf("%v %s", err, list)
	}
	reads := func(path string) (string, error) {
		return c.Call(ctx, "read_text_file", map[string]any{"path": path})
	}
	for path, want := range map[string]string{
		project + "/notes.txt":                             "inside",
		project + "/deep/er.txt":                           "deeper inside",
		project + "/deep/../notes.txt":                     "inside",
		project + "//deep/./er.txt":                        "deeper inside",
		project + "/100%.txt":                              "a percent sign",
		project + "/none.txt":                              "ENOENT", // the server's own words
		dir + "/project-2/../project/../project/notes.txt": "inside",
	} {
		if got, err := reads(path); err != nil || !strings.Contains(got, want) || strings.Contains(got, "Umpire") {
			t.Errorf("%s: %v %s", path, err, got)
		}
	}
	attempts := 0
	refused := func(what, got string, err error) {
		t.Helper()
		attempts++
		if err != nil || !strings.Contains(got, "Umpire denied files/") || !strings.Contains(got, "(rule within-the-project)") || strings.Contains(got, "OUTSIDE") {
			t.Errorf("%s: %v %s", what, err, got)
		}
	}
	for _, path := range []string{
		dir + "/secret.txt", "/etc/passwd", "/", dir, dir + "/project-2/plan.txt", "~/.ssh/id_rsa", "~",
		project + "/../secret.txt", project + "/deep/../../secret.txt", project + "/./../secret.txt", "../secret.txt",
		project + "/%2e%2e/secret.txt", project + "/%2E./secret.txt", project + "/%252e%252e/secret.txt", project + "/..%2fsecret.txt",
		project + `/..\secret.txt`, project + `\..\..\secret.txt`, "file://" + dir + "/secret.txt", "file:///etc/passwd",
		project + "/notes.txt\x00/../../secret.txt", strings.ToUpper(project) + "/notes.txt", "", " " + dir + "/secret.txt",
		"secret.txt", "./project/notes.txt", `"` + dir + `/secret.txt"`, // relative to what the server likes
	} {
		got, err := reads(path)
		refused(path, got, err)
	}
	for tool, args := range map[string]map[string]any{
		"read_multiple_files": {"paths": []string{project + "/notes.txt", dir + "/secret.txt"}},
		"move_file":           {"source": project + "/notes.txt", "destination": dir + "/stolen.txt"},
		"write_file":          {"path": dir + "/secret.txt", "content": "overwritten"},
		"read_file":           {"path": []string{dir + "/secret.txt"}},
		"list_directory":      {"path": dir},
	} {
		got, err := c.Call(ctx, tool, args)
		refused(tool, got, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "secret.txt")); err != nil || string(text) != "OUTSIDE" {
		t.Errorf("%v %s", err, text)
	}
	if got, err := c.Call(ctx, "write_file", map[string]any{"path": project + "/new.txt", "content": "new"}); err != nil || strings.Contains(got, `"isError":true`) {
		t.Errorf("%v %s", err, got)
	}
	if out := s.output(t, "log", "-n", "0", "--verdict", "deny"); strings.Count(out, "within-the-project") != attempts {
		t.Errorf("umpire log:\n%s", out)
	}
}
