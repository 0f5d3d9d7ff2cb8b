package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

// changeHooks changes the hooks of the named clients, or of all that are there: those with one of files, or with a
// directory for their settings. Hooked says that there is one.
func (a *app) changeHooks(c change, names []string, files []clients.File, p *view.Printer) (hooked, changed, failed bool) {
	if c.hooks == nil {
		return false, false, false
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return false, false, false // configFiles has said so
	}
	home := clients.Home{OS: runtime.GOOS, Dir: dir, Getenv: os.Getenv}
	for _, f := range clients.HookFiles() {
		if len(names) > 0 && !slices.ContainsFunc(names, f.Is) {
			continue
		}
		at := clients.File{Path: f.User(home)}
		_, err := os.Stat(f.Home(home))
		there := err == nil || slices.ContainsFunc(files, func(x clients.File) bool { return f.Is(x.Client.Name) && !x.Project })
		if !there {
			continue
		}
		before, after, err := a.changeSettings(c, f, at, f.Home(home))
		if err != nil {
			failed = true
			fmt.Fprintf(a.stderr, "error: %s (%s): %v\n", shown(at), f.Title, err)
			if errors.Is(err, inplace.ErrChanged) {
				fmt.Fprintln(a.stderr, "hint: quit", f.Title+", and try again")
			}
			continue
		}
		if what := c.hookNews(before, after); what != "" {
			hooked = true
			p.Line(f.Title+":", view.Text(shown(at), 0))
			p.Line("  hooks:", what)
			if f.Note != "" && c.to == clients.Wrapped {
				p.Line(" ", f.Note)
			}
		}
		changed = changed || !slices.Equal(before, after)
	}
	return hooked, changed, failed
}

// changeSettings changes a settings file, which may not be there, in a directory of its own below that of the client, and
// returns its hooks before and after.
func (a *app) changeSettings(c change, f clients.HookFile, at clients.File, home string) (before, after []clients.Hook, err error) {
	_, was, err := inplace.Read(at.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if _, link := os.Readlink(at.Path); missing && link == nil {
		return nil, nil, errors.New("it is a link to a file that is not there")
	}
	switch {
	case missing:
		was = nil
	case err != nil:
		return nil, nil, err
	case was == nil:
		was = []byte{}
	}
	if before, err = f.Hooks(was); err != nil {
		return nil, nil, err
	}
	now, gone, err := c.hooks(f, was)
	if err != nil {
		return nil, nil, err
	}
	if after, err = f.Hooks(now); gone {
		now = nil
		after, err = f.Hooks(nil)
	}
	if err != nil || !gone && bytes.Equal(was, now) {
		return before, after, err
	}
	if c.dryRun {
		old, fresh := shown(at), shown(at)
		if missing {
			old = os.DevNull
		}
		if gone {
			fresh = os.DevNull
		}
		return before, after, a.diff(old, fresh, was, now)
	}
	switch {
	case gone:
		if err = inplace.Remove(at.Path, was); err == nil && filepath.Dir(at.Path) != filepath.Clean(home) {
			os.Remove(filepath.Dir(at.Path)) //nolint:errcheck,gosec // it stays if others have files in it
		}
	case missing:
		if err = os.MkdirAll(filepath.Dir(at.Path), 0o700); err == nil {
			err = inplace.Create(at.Path, now)
		}
	default:
		err = inplace.Write(at.Path, was, now)
	}
	return before, after, err
}

// hookNews says what became of the hooks of a client; empty if there is nothing to say.
func (c change) hookNews(before, after []clients.Hook) string {
	var parts []string
	say := func(what string, which func(before, after clients.State) bool) {
		var events []string
		for i := range after {
			if which(before[i].State, after[i].State) {
				events = append(events, after[i].Event)
			}
		}
		switch {
		case len(events) == len(after):
			parts = append(parts, what)
		case len(events) > 0:
			parts = append(parts, what+" for "+strings.Join(events, ", "))
		}
	}
	would := ""
	if c.dryRun {
		would = "would be "
	}
	say(would+"installed", func(b, a clients.State) bool { return b == clients.Bare && a == clients.Wrapped })
	say("already installed", func(b, a clients.State) bool { return b == clients.Wrapped && a == clients.Wrapped })
	say(would+"removed", func(b, a clients.State) bool { return b == clients.Wrapped && a != clients.Wrapped })
	if c.to == clients.Wrapped {
		say("already there, by hand", func(_, a clients.State) bool { return a == clients.ByHand })
	} else {
		say("left alone where they were written by hand", func(_, a clients.State) bool { return a == clients.ByHand })
	}
	return strings.Join(parts, "; ")
}
