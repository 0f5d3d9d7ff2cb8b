package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/clients"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inplace"
)

// hooks looks at the hooks of the named clients, or of all that are there. Hooked says that there are some.
func (d *doctor) hooks(names []string, files []clients.File, userOnly bool) (hooked bool) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return false // configFiles has said so
	}
	project := ""
	if !userOnly {
		if project, err = os.Getwd(); err != nil {
			project = ""
		}
	}
	home := clients.Home{OS: runtime.GOOS, Dir: dir, Getenv: os.Getenv}
	for _, f := range clients.HookFiles() {
		if len(names) > 0 && !slices.ContainsFunc(names, f.Is) {
			continue
		}
		_, err := os.Stat(f.Home(home))
		if err != nil && !slices.ContainsFunc(files, func(x clients.File) bool { return f.Is(x.Client.Name) && !x.Project }) {
			continue
		}
		at := clients.File{Path: f.User(home)}
		out := finding{Client: f.Client, File: shown(at)}
		_, text, err := inplace.Read(at.Path)
		var list []clients.Hook
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			list, err = f.Hooks(text)
		}
		if err != nil {
			out.wrong("", "its hooks: %v", err)
			d.add(out)
			continue
		}
		if d.installed(&out, f, list) {
			hooked = true
			for _, h := range f.Hindered(home, project, list, func(path string) []byte {
				if _, text, err := inplace.Read(path); err == nil {
					return text
				}
				return nil
			}) {
				out.wrong(h.Mend, "%s", h.What)
			}
		}
		d.add(out)
	}
	return hooked
}

// installed says which hooks there are and whether they lead here, and reports whether there is one.
func (d *doctor) installed(out *finding, f clients.HookFile, list []clients.Hook) bool {
	var missing []string
	for _, h := range list {
		if h.State == clients.Bare {
			missing = append(missing, h.Event)
		}
	}
	again := "umpire unwrap " + f.Client + " && umpire wrap --hooks " + f.Client
	switch {
	case len(missing) == len(list):
		out.Hooks = "none"
		out.note("no hooks: what is said, and what its own tools do, is not known (umpire wrap --hooks %s)", f.Client)
		return false
	case len(missing) > 0:
		out.Hooks = "some"
		out.wrong("umpire wrap --hooks "+f.Client, "no hook tells Umpire of %s", strings.Join(missing, ", "))
	default:
		out.Hooks = "installed"
	}
	said := map[string]bool{}
	for _, h := range list {
		if h.State == clients.Bare || said[h.Command+h.URL] {
			continue
		}
		said[h.Command+h.URL] = true
		if h.URL != "" {
			d.posts(out, h.URL, again)
			continue
		}
		found, err := exec.LookPath(h.Program)
		switch other := h.Flag("--state"); {
		case err != nil:
			out.wrong(again, "there is no umpire at %s any more, which its hooks run", h.Program)
		case !isThis(found):
			out.wrong(again, "%s, which its hooks run, is not this umpire", found)
		case !d.sameState(other):
			out.wrong(again, "its hooks tell the daemon of another state directory, %s", orNone(other))
		}
	}
	return true
}

// posts says whether hooks that post reach the daemon.
func (d *doctor) posts(out *finding, to, again string) {
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Host != d.listen:
		out.wrong(again, "its hooks post to %s, and umpire listens on %s", to, orNone(d.listen))
	case !d.up:
		out.wrong("umpire serve", "nobody listens on %s, where its hooks post to", d.listen)
	}
}

// sameState reports whether a hook with this state directory, or without one, tells the daemon that is asked.
func (d *doctor) sameState(dir string) bool {
	mine, err := config.StateDir(d.state)
	if err != nil {
		return true
	}
	theirs, err := config.StateDir(dir)
	return err == nil && theirs == mine
}
