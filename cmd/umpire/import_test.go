package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/store"
)

const oneCorpus = `{"id":"o","source":"a","suite":"b","label":"benign","events":[{"type":"call","id":"a","server":"mail","tool":"list","args":{}}]}`

func corpusFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.jsonl")
	if err := os.WriteFile(name, []byte(oneCorpus), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Whoever interrupts an import has no history, and no part of one.
func TestAnInterruptedImportLeavesNothing(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{stdout: io.Discard, stderr: io.Discard, state: dir}
	if err := a.importFiles(ctx, []string{corpusFile(t)}, false); err == nil || !strings.Contains(err.Error(), "interrupted: nothing was imported") {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// What an import that was killed has left, whole or torn, is in nobody's way; one that is going on is not disturbed.
func TestTheNextImportBeginsAnew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	h := config.Default().History
	if _, err := importInto(t.Context(), whole, &h, []string{corpusFile(t)}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 100, len(text) / 2, len(text)} {
		path := filepath.Join(t.TempDir(), config.HistoryFile)
		if err := os.WriteFile(path+".import", text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := importInto(t.Context(), path, &h, []string{corpusFile(t)}); err != nil || r.Calls != 1 {
			t.Errorf("after %d bytes: %+v %v", n, r, err)
		}
	}
	path := filepath.Join(t.TempDir(), config.HistoryFile)
	other, err := openDraft(path + ".import")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // nothing was written
	if _, err := importInto(t.Context(), path, &h, []string{corpusFile(t)}); !errors.Is(err, store.ErrLocked) {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".import"); err != nil {
		t.Error(err)
	}
}
