package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
)

// Each program of examples/turns tells the same conversation.
func TestExamplesTellTheirTurns(t *testing.T) {
	for name, command := range map[string][]string{
		"curl":       {"sh", "turns.sh"},
		"go":         {"go", "run", "./go"},
		"typescript": {"node", "turns.ts"},
	} {
		t.Run(name, func(t *testing.T) {
			needs(t, name)
			home, err := os.MkdirTemp("", "u") // short, since it holds a socket
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(home)
			cfg := config.Default()
			cfg.Listen = "127.0.0.1:0"
			d, err := daemon.Start(daemon.Options{Config: cfg, StateDir: home, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Dir, cmd.Env = filepath.Join(root, "examples", "turns"), append(os.Environ(), "UMPIRE=http://"+d.Addr())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := turnsOf(t, home); got != "user []: Please pay the rent.\nassistant [call_1]: I look it up.\ntool [call_1]: Rent: 980.00, to DE02…\n" {
				t.Errorf("told\n%s", got)
			}
		})
	}
}

// needs skips a test if what runs the example is not here, or too old for it.
func needs(t *testing.T, name string) {
	program := map[string]string{"curl": "curl", "go": "go", "typescript": "node"}[name]
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	if program != "node" {
		return
	}
	out, err := exec.CommandContext(t.Context(), program, "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, bad := strconv.Atoi(major); err != nil || bad != nil || n < 24 {
		t.Skipf("node %s runs no TypeScript", out)
	}
}

// turnsOf returns the turns of a history that a daemon has open.
func turnsOf(t *testing.T, state string) string {
	t.Helper()
	h, _, err := history.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var b strings.Builder
	for e, err := range history.Events(h, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if turn, ok := e.Body.(*event.Turn); ok {
			fmt.Fprintf(&b, "%s %s: %s\n", turn.Role, turn.Calls, turn.Text)
		}
	}
	return b.String()
}
