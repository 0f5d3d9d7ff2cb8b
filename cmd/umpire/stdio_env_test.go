//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where no daemon can be had, the server runs and says what it can do, and every call is denied with the reason.
func TestWithoutADaemonEveryCallIsDenied(t *testing.T) {
	for name, tc := range map[string]struct {
		rules  string
		spoil  func(t *testing.T, s *site)
		reason string
	}{
		"the state directory cannot be made": {
			spoil: func(t *testing.T, s *site) { write(t, s.state, "a file") }, reason: "not a directory",
		},
		"the history is damaged": {
			spoil: func(t *testing.T, s *site) {
				if err := os.Mkdir(s.state, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(s.state, "history.db"), strings.Repeat("no history ", 1000))
			},
			reason: "the history is damaged",
		},
		"the policy does not compile": {
			rules:  "rules: [{name: x, on: '*/*', rate: {max: many, per: 1h}, do: deny}]",
			reason: "umpire.yaml:2:",
		},
		"another program listens on the socket": {
			spoil: func(t *testing.T, s *site) {
				if err := os.MkdirAll(filepath.Join(s.state, "umpire.sock"), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(s.state, "umpire.sock", "x"), "")
			},
			reason: "the socket is in the way",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tc.rules)
			if tc.spoil != nil {
				tc.spoil(t, s)
			}
			for _, library := range []string{"official", "mark3"} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				cmd, stderr := s.run("peer", "stdio-peer", library)
				c, err := stdioClients[library](ctx, cmd, "", &hearing{})
				if err != nil {
					t.Fatalf("%v\n%s", err, stderr)
				}
				if list, err := c.Tools(ctx); err != nil || !strings.Contains(list, `"name":"say"`) {
					t.Errorf("%v %s", err, list)
				}
				got, err := c.Call(ctx, "say", map[string]any{"text": "unjudged"})
				if err != nil || !strings.Contains(got, "umpire cannot judge this call") || !strings.Contains(got, tc.reason) || !strings.Contains(got, `"isError":true`) {
					t.Errorf("%v %s", err, got)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if said := stderr.String(); strings.Contains(said, "unjudged") || !strings.Contains(said, "every call will be denied") || !strings.Contains(said, tc.reason) {
					t.Errorf("stderr: %s", said)
				}
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The server gets the environment of umpire run, and what the configuration adds.
func TestTheServerGetsItsEnvironment(t *testing.T) {
	s := newSite(t, "servers: {peer: {command: [stdio-peer, official, \"0\", \"${SITE}\"], env: {ADDED: \"${GIVEN} twice\"}}}")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.umpire("run", "--name", "peer")
	cmd.Env = append(cmd.Env, "GIVEN=once", "SITE="+s.dir)
	c, err := dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string]string{"GIVEN": `"once"`, "ADDED": `"once twice"`, "NEVER": `""`} {
		if got, err := c.Call(ctx, "env", map[string]any{"text": name}); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v %s", name, err, got)
		}
	}
}

// A configuration that the environment names, relative to where the client works, counts for the daemon that is
// started elsewhere.
func TestTheEnvironmentNamesTheConfiguration(t *testing.T) {
	s := newSite(t, `rules: [{name: no-echo, on: "*/echo", do: deny}]`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.flags = s.flags[:2] // no --config
	cmd, stderr := s.run("peer", "stdio-peer", "official")
	cmd.Env = append(cmd.Env, "UMPIRE_CONFIG=umpire.yaml")
	c, err := dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	defer c.Close()
	if got, err := c.Call(ctx, "echo", nil); err != nil || !strings.Contains(got, "(rule no-echo)") {
		t.Errorf("%v %s\n%s", err, got, stderr)
	}
}

// What a server writes to stderr comes out as it is written; if nobody reads it any more, the server goes on.
func TestTheServersWordsComeThrough(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, stderr := s.connect(ctx, t, "peer", "official")
	if _, err := c.Call(ctx, "say", map[string]any{"text": "something loud"}); err != nil {
		t.Error(err)
	}
	if err := stderr.wait(ctx, "something loud\n"); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd, _ := s.run("peer", "stdio-peer", "official")
	cmd.Stderr = w
	c, err = dialOfficial(ctx, cmd, "2025-11-25", &hearing{})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Close()
	loud := strings.Repeat("loud ", 40_000) // more than a pipe holds
	for range 3 {
		if got, err := c.Call(ctx, "say", map[string]any{"text": loud}); err != nil || !strings.Contains(got, "said") {
			t.Errorf("%v %s", err, got)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
