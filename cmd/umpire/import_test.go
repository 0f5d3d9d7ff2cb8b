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
	if err := a.importFiles(ctx, []string{corpusFile(t)}, false, false); err == nil || !strings.Contains(err.Error(), "interrupted: nothing was imported") {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

var quiet = &app{stdout: io.Discard, stderr: io.Discard}

// Nor does an import wait for ever for a pipe into which nobody writes.
func TestAnImportOfAPipeCanBeInterrupted(t *testing.T) {
	h := config.Default().History
	dir := t.TempDir()
	silent, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() //nolint:errcheck // nothing is written
	stdin := os.Stdin
	os.Stdin = silent
	defer func() { os.Stdin = stdin }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quiet.importInto(ctx, filepath.Join(dir, "past", config.HistoryFile), &h, nil, []string{"-"}, false); err == nil || !strings.HasPrefix(err.Error(), "interrupted") {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "past")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// What an import that was killed has left, whole or torn, is in nobody's way; one that is going on is not disturbed.
func TestTheNextImportBeginsAnew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	h := config.Default().History
	if _, err := quiet.importInto(t.Context(), whole, &h, nil, []string{corpusFile(t)}, false); err != nil {
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
		if r, err := quiet.importInto(t.Context(), path, &h, nil, []string{corpusFile(t)}, false); err != nil || r.Calls != 1 {
			t.Errorf("after %d bytes: %+v %v", n, r, err)
		}
	}
	path := filepath.Join(t.TempDir(), config.HistoryFile)
	other, err := openDraft(path + ".import")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // nothing was written
	if _, err := quiet.importInto(t.Context(), path, &h, nil, []string{corpusFile(t)}, false); !errors.Is(err, store.ErrLocked) {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".import"); err != nil {
		t.Error(err)
	}
}
