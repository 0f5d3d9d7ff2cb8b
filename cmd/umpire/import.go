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
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// pastDir is the directory, in that of the state, of what umpire import has brought in unless it was told another one.
const pastDir = "past"

func (a *app) imports() *cobra.Command {
	asJSON, replace := false, false
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Make a history of sessions from elsewhere, to try policies on",
		Long: "Import reads what umpire export prints, a corpus as umpire eval reads it, or transcripts of Claude Code\n" +
			"(~/.claude/projects/*/*.jsonl) and Codex (~/.codex/sessions/*/*/*/*.jsonl), and makes a history of its own of it, beside\n" +
			"that of live calls: every command that reads a history reads this one with --past. With --state DIR it is made in DIR.\n" +
			"Files can be compressed (gzip, zstd), and - is the standard input.\n\n" +
			"What is imported never gets into the history of live calls: that is one sequence in time, and each verdict in it depends\n" +
			"on what stands before it. What is put in before would change the verdicts that were given, and what is put in behind\n" +
			"would count in the windows of calls to come. So umpire serve refuses a history that was imported.\n\n" +
			"An export comes in as it is, to the byte. Sessions of transcripts and corpora are called import-1, import-2 …; their\n" +
			"calls are recorded as passed, since they happened. What your configuration keeps out of the history is kept out.\n" +
			"To add to what was imported, import all of it again, with --replace.",
		Example: "  umpire import ~/.claude/projects/*/*.jsonl ~/.codex/sessions/*/*/*/*.jsonl\n  umpire replay --past --policy policy.yaml\n" +
			"  ssh build umpire export | umpire --state build import -",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.importFiles(ctx, files, replace, asJSON)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "take the place of what was imported before")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the counts as JSON")
	return cmd
}

func (a *app) importFiles(ctx context.Context, files []string, replace, asJSON bool) error {
	cfg, err := a.load("", "", "", nil, false)
	if err != nil {
		return err
	}
	dir, err := config.StateDir(a.state)
	if err != nil {
		return err
	}
	flags := "--state " + view.Text(dir, 0)
	if a.state == "" {
		dir, flags = filepath.Join(dir, pastDir), "--past"
	}
	path := filepath.Join(dir, config.HistoryFile)
	if err := vacant(path, replace); err != nil {
		return err
	}
	report, err := a.importInto(ctx, path, &cfg.History, serverNames(&cfg), files, replace)
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
	if n := len(report.Guessed); n > 0 {
		shown := report.Guessed[:min(n, mostNamed)]
		p.Line(fmt.Sprintf("%s could be one of another server, too: %s", fmt.Sprintf("%d %s", n, plural(n, "name of a tool", "names of tools")), view.Text(strings.Join(shown, ", "), 400)))
		p.Line("  they were taken as they are in policies if umpire.yaml, or a client's file, names the server, else cut at the first __")
	}
	p.Line("try a policy on them: umpire replay", flags, "--policy FILE")
	return p.Err()
}

// serverNames returns the servers that umpire.yaml and the files of the user's clients name.
func serverNames(cfg *config.Config) []string {
	names := cfg.Names()
	files, _, err := configFiles(nil, true)
	if err != nil {
		return names // they help to read names, and no more
	}
	for _, f := range files {
		_, text, err := inplace.Read(f.Path)
		if err != nil {
			continue
		}
		servers, err := clients.Servers(f.Client.Format, text, cfg.Listen)
		if err != nil {
			continue
		}
		for _, s := range servers {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// vacant reports whether what is imported may get to path: nothing is there, or what was imported and may be replaced.
func vacant(path string, replace bool) error {
	if _, err := os.Lstat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	db, err := store.Open(store.Config{Path: path, ReadOnly: true})
	if err != nil && !errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("there is something in %s that is no history that was imported: %w", filepath.Dir(path), err)
	}
	was := err == nil && db.Imported()
	if err == nil {
		db.Close() //nolint:errcheck // it was only read
	}
	switch {
	case !was:
		return fmt.Errorf("there is a history of live calls in %s, and what is imported does not mix with it\nhint: leave --state out, or choose a new directory", filepath.Dir(path))
	case !replace:
		return fmt.Errorf("there is an imported history in %s already\nhint: --replace to put another one in its place, --state DIR to make one elsewhere", filepath.Dir(path))
	}
	return nil
}

// importInto makes the history at path of files. What is at path stays as it is unless all of the new one is there.
func (a *app) importInto(ctx context.Context, path string, h *config.History, servers, files []string, replace bool) (r interchange.Report, err error) {
	draft := path + ".import"
	db, err := openDraft(draft)
	if err != nil {
		return r, err
	}
	defer func() {
		if left := os.Remove(draft); err == nil && !errors.Is(left, fs.ErrNotExist) {
			err = left
		}
	}()
	progress := view.NewProgress(a.stderr)
	defer progress.Close()
	err = func() error {
		defer db.Close() //nolint:errcheck // what counts is closed below
		clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: h.Redact, MaxValue: h.MaxValue, Secret: db.Secret()})
		if err != nil {
			return err
		}
		e := evaluation{known: map[string][]event.Catalog{}}
		im := interchange.Import{
			DB: db, Cleaner: clean, Keep: h.Conversation, Env: config.Env(), Stdin: os.Stdin, Scratch: filepath.Dir(path), Progress: progress,
			Servers: servers, Surroundings: e.surroundings,
		}
		if r, err = im.Files(ctx, files); err != nil {
			return err
		}
		progress.Begin("checking", 0, nil)
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
	if err := vacant(path, replace); err != nil { // it could have changed
		return r, err
	}
	if replace {
		return r, os.Rename(draft, path)
	}
	if err = os.Link(draft, path); errors.Is(err, fs.ErrExist) { // unlike a renaming, this takes nobody's place
		err = vacant(path, false)
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
