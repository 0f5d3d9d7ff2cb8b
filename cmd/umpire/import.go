package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) imports() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "import --state DIR FILE…",
		Short: "Make a history of sessions from elsewhere, to try policies on",
		Long: "Import reads what umpire export prints, a corpus as umpire eval reads it, or transcripts of Claude Code\n" +
			"(~/.claude/projects/*/*.jsonl) and Codex (~/.codex/sessions/*/*/*/*.jsonl), and makes a history of it in DIR, where there is\n" +
			"none yet. Every command that reads a history works on it; umpire serve refuses it, so that nothing live is judged by\n" +
			"what was imported.\n\n" +
			"An export comes in as it is, to the byte. Sessions of transcripts and corpora are called import-1, import-2 …; their\n" +
			"calls are recorded as passed, since they happened. What your configuration keeps out of the history is kept out.",
		Example: "  umpire --state /tmp/past import ~/.claude/projects/*/*.jsonl\n  umpire --state /tmp/past replay --policy policy.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.importFiles(ctx, files, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the counts as JSON")
	return cmd
}

func (a *app) importFiles(ctx context.Context, files []string, asJSON bool) error {
	cfg, err := a.load("", "", "", nil, false)
	if err != nil {
		return err
	}
	dir, err := config.StateDir(a.state)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, config.HistoryFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = errHistory(dir)
		}
		return err
	}
	report, err := importInto(ctx, path, &cfg.History, files)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(report)
	}
	p := view.New(a.stdout)
	p.Line(fmt.Sprintf("%d events of %d %s with %d %s are in %s",
		report.Events, report.Sessions, plural(report.Sessions, "session", "sessions"), report.Calls, plural(report.Calls, "call", "calls"), view.Text(dir, 0)))
	if report.Repeated > 0 {
		p.Line(fmt.Sprintf("%d more calls are told of twice, and were imported once", report.Repeated))
	}
	if report.Unread > 0 {
		p.Line(fmt.Sprintf("%d %s could not be understood, and what they say is missing", report.Unread, plural(report.Unread, "line", "lines")))
	}
	p.Line("try a policy on them: umpire --state", view.Text(dir, 0), "replay --policy FILE")
	return p.Err()
}

func errHistory(dir string) error {
	return fmt.Errorf("there is a history in %s already, and what is imported does not mix with it\nhint: choose a new directory, with --state DIR", dir)
}

// importInto makes the history at path of files. Nothing is at path unless all of it is.
func importInto(ctx context.Context, path string, h *config.History, files []string) (r interchange.Report, err error) {
	draft := path + ".import"
	db, err := openDraft(draft)
	if err != nil {
		return r, err
	}
	defer func() {
		if left := os.Remove(draft); err == nil {
			err = left
		}
	}()
	err = func() error {
		defer db.Close() //nolint:errcheck // what counts is closed below
		clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: h.Redact, MaxValue: h.MaxValue, Secret: db.Secret()})
		if err != nil {
			return err
		}
		e := evaluation{known: map[string][]event.Catalog{}}
		im := interchange.Import{DB: db, Cleaner: clean, Keep: h.Conversation, Env: config.Env(), Surroundings: e.surroundings}
		if r, err = im.Files(ctx, files); err != nil {
			return err
		}
		if err := db.Check(); err != nil {
			return err
		}
		return db.Close()
	}()
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("interrupted: nothing was imported")
	case err != nil:
		return r, err
	}
	if err = os.Link(draft, path); errors.Is(err, fs.ErrExist) { // unlike a renaming, this takes nobody's place
		err = errHistory(filepath.Dir(path))
	}
	return r, err
}

// openDraft opens a new history. What an import that was killed has left is removed.
func openDraft(path string) (*store.DB, error) {
	open := func() (*store.DB, error) { return store.Open(store.Config{Path: path, Imported: true}) }
	db, err := open()
	switch {
	case err == nil && db.Last() == 0:
		return db, nil
	case err == nil:
		if err := db.Close(); err != nil {
			return nil, err
		}
	case !errors.Is(err, store.ErrDamaged):
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return open()
}
