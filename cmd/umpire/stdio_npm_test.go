//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
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
		list := ""
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
		if env, err := c.Call(ctx, "get-env", nil); cmd.Path == s.umpire().Path && (err != nil || !strings.Contains(env, "(rule no-environment)") || strings.Contains(env, "PATH=")) {
			t.Errorf("get-env: %v %s", err, env)
		}
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
	want[0] = strings.Replace(want[0], "get-env ", "", 1)
	if !slices.Equal(got, want) {
		t.Errorf("through Umpire:\n%s\n\ndirect:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(gotHeard, wantHeard) || !slices.Contains(gotHeard, "sample") || !slices.Contains(gotHeard, "progress 3") {
		t.Errorf("through Umpire, the client heard %v, else %v", gotHeard, wantHeard)
	}
	out := s.output(t, "log", "-n", "0")
	for _, line := range []string{"everything/trigger-sampling-request", "everything/get-env"} {
		if !strings.Contains(out, line) {
			t.Errorf("umpire log says nothing of %s:\n%s", line, out)
		}
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
