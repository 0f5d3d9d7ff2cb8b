package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The whole of umpire run is tested from outside, in cmd/umpire; here is what can only be seen from within.

// Why a daemon ended stands in a log that others write to as well.
func TestLastWords(t *testing.T) {
	const old = "error: of another day\n"
	for name, tc := range map[string]struct{ log, want string }{
		"nothing":               {"", "exit status 1"},
		"an error and a hint":   {"error: no room\nhint: make some\n", "error: no room"},
		"another one was first": {"08:00:00 INFO umpire: listening\nerror: in use\nhint: wait\n08:00:01 INFO umpire: attached\n", "error: in use"},
		"a panic":               {"08:00:00 INFO umpire: listening\npanic: oh\n", "panic: oh"},
		"several errors":        {"error: p.yaml:1:2: one\nerror: p.yaml:3:4: two\n", "error: p.yaml:1:2: one"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(old+tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(path, int64(len(old)), errors.New("exit status 1")); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := lastWords(filepath.Join(t.TempDir(), "none"), 0, fmt.Errorf("exit status %d", 1)); got != "exit status 1" {
		t.Error(got)
	}
}
