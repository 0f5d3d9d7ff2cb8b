//go:build unix

package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Real clients and servers of both Go libraries over stdio, in both eras: a client that puts umpire run before its
// server's command sees what it saw before, and the history has it all.
func TestStdioPeersSeeTheSameThroughUmpire(t *testing.T) {
	s := newSite(t, "rules: []")
	var want []string
	t.Run("pairs", func(t *testing.T) {
		for _, client := range []string{"official", "mark3"} {
			for _, server := range []string{"official", "mark3"} {
				for _, revision := range []string{"2025-03-26", "2025-11-25", ""} {
					name := strings.Trim(client+"-"+server+"-"+revision, "-")
					ask := name + "/ask allow ok"
					if revision == "" { // the answer to a call that asks for input is a second call
						ask = name + "/ask allow input " + name + "/ask allow ok"
					}
					want = append(want, name+"/echo allow ok", name+"/work allow ok", ask, name+"/none allow error")
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						direct := converse(t, client, exec.Command("stdio-peer", server), revision)
						cmd, stderr := s.run(name, "stdio-peer", server)
						through := converse(t, client, cmd, revision)
						if !slices.Equal(through, direct) {
							t.Errorf("through Umpire:\n%s\n\ndirect:\n%s", strings.Join(through, "\n"), strings.Join(direct, "\n"))
						}
						const words = "hello from the server\ngoodbye from the server\n"
						if got := stderr.String(); got != words && (client == "official" || !strings.HasPrefix(words, got)) {
							t.Errorf("stderr: %s", got) // mcp-go's client closes it before it closes stdin
						}
					})
				}
			}
		}
	})
	got := s.calls(t)
	if a, b := slices.Sorted(slices.Values(strings.Fields(strings.Join(got, " ")))), slices.Sorted(slices.Values(strings.Fields(strings.Join(want, " ")))); !slices.Equal(a, b) {
		t.Errorf("recorded:\n%s\n\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if out := s.output(t, "log", "-n", "0", "--tool", "echo"); strings.Count(out, "/echo") < 12 {
		t.Errorf("umpire log:\n%s", out)
	}
}

// converse does what a client can do and returns what it got.
func converse(t *testing.T, client string, cmd *exec.Cmd, revision string) (said []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h := &hearing{}
	c, err := stdioClients[client](ctx, cmd, revision, h)
	if err != nil {
		t.Fatal(err)
	}
	say := func(step, got string, err error) {
		if err != nil {
			got = "error: " + err.Error()
		}
		said = append(said, step+" -> "+got)
	}
	got, err := c.Tools(ctx)
	say("tools", got, err)
	for _, tool := range []string{"echo", "work", "ask", "none"} {
		got, err := c.Call(ctx, tool, map[string]any{"text": "a <b>\u2028 \"c\""})
		say(tool, got, err)
	}
	eventually(t, "three notifications", func() string {
		if got := strings.Join(h.all(), ", "); strings.Count(got, "progress") != 3 {
			return "heard only " + got
		}
		return ""
	})
	say("close", "", c.Close())
	all := strings.Join(said, "\n")
	for _, w := range []string{`"name":"fork"`, "worked", "hello Ann", "close -> "} {
		if !strings.Contains(all, w) {
			t.Errorf("the two do not get on: no %q in\n%s", w, all)
		}
	}
	if heard := h.all(); !slices.Contains(heard, "elicit your name?") {
		t.Errorf("the client heard %v", heard)
	}
	return append(said, slices.Sorted(slices.Values(h.all()))...)
}

// A denied call never reaches the server; a tool that is always denied is not listed; the history and its commands say
// the same as the client was told.
func TestStdioPeersUnderstandADenial(t *testing.T) {
	s := newSite(t, `
rules:
  - {name: no-fork, on: "*/fork", do: deny}
  - {name: twice, on: "*/echo", rate: {max: 2, per: 1h, by: agent}, do: deny}
`)
	for name, dial := range stdioClients {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd, stderr := s.run(name, "stdio-peer", "official")
		c, err := dial(ctx, cmd, "", &hearing{})
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		if list, err := c.Tools(ctx); err != nil || strings.Contains(list, "fork") || !strings.Contains(list, `"name":"echo"`) {
			t.Errorf("%v %s", err, list)
		}
		for i, want := range []string{"text 0", "text 1", "Umpire denied " + name + "/echo: "} {
			got, err := c.Call(ctx, "echo", map[string]any{"text": fmt.Sprint("text ", i)})
			if err != nil || !strings.Contains(got, want) || strings.Contains(got, `"isError":true`) != (i == 2) {
				t.Errorf("%s: call %d: %v %s", name, i, err, got)
			}
		}
		if got, err := c.Call(ctx, "fork", nil); err != nil || !strings.Contains(got, "(rule no-fork)") {
			t.Errorf("%v %s", err, got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	out := s.output(t, "log", "--verdict", "deny")
	for _, want := range []string{"official/echo", "official/fork", "mark3/echo", "mark3/fork"} {
		if !regexp.MustCompile(`deny +` + want).MatchString(out) {
			t.Errorf("umpire log says nothing of %s:\n%s", want, out)
		}
	}
}

// What is longer than the history keeps goes through whole, and calls that come at once share a limit.
func TestLargeAndManyCallsShareOnePipe(t *testing.T) {
	s := newSite(t, `rules: [{name: seven, on: "peer/env", rate: {max: 7, per: 1h, by: agent}, do: deny}]`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, _ := s.connect(ctx, t, "peer", "official")
	defer c.Close()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			long := strings.Repeat(fmt.Sprint("long ", i, " "), 60_000)
			got, err := c.Call(ctx, "echo", map[string]any{"text": long})
			if err != nil || !strings.Contains(got, long) {
				t.Errorf("%d bytes came back as %d: %v", len(long), len(got), err)
			}
		})
	}
	var passed atomic.Int64
	for range 40 {
		all.Go(func() {
			got, err := c.Call(ctx, "env", map[string]any{"text": "NEVER"})
			switch {
			case err != nil:
				t.Error(err)
			case !strings.Contains(got, `"isError":true`):
				passed.Add(1)
			}
		})
	}
	all.Wait()
	if passed.Load() != 7 {
		t.Errorf("%d calls passed a limit of 7", passed.Load())
	}
}
