package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// settle is how long a policy file has to stay as it is before it is loaded: editors write in several steps.
const settle = 100 * time.Millisecond

// reading is what the policy's files said at one moment.
type reading struct {
	sources []event.Source
	config  config.Config // the configuration file anew
	empty   string        // a file with nothing in it, as it is while somebody begins to write, or a full disk has cut it
	err     error         // why there is no policy
	bad     error         // why there is no configuration
}

func (d *Daemon) read() (r reading) {
	for _, f := range d.opts.Config.Files() {
		if info, err := os.Stat(f); err == nil && info.Size() == 0 {
			r.empty = f
		}
	}
	r.sources, r.err = d.opts.Config.Sources()
	if path := d.opts.Config.Path; path != "" {
		r.config, r.bad = config.Load(path)
	}
	return r
}

// watchPolicy loads the policy again when one of its files changes. A policy that does not compile is refused, and the
// old one stays in force.
func (d *Daemon) watchPolicy(ctx context.Context) error {
	if len(d.opts.Config.Files()) == 0 {
		return nil
	}
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	if _, err := d.follow(files); err != nil {
		files.Close() //nolint:errcheck // the first error counts
		return err
	}
	w := watch{events: files.Events, errs: files.Errors, log: d.opts.Log, read: d.read, load: d.reload, follow: func() []string {
		names, err := d.follow(files)
		if err != nil {
			d.opts.Log.Error("policy files cannot be watched", "error", err)
		}
		return names
	}}
	d.running.Go(func() {
		defer files.Close() //nolint:errcheck // not used again
		w.run(ctx)
	})
	return nil
}

// watch loads what has changed, once it has been read twice with settle in between and was the same: a file that is being
// written can be read at any point, and the first half of a policy may well compile.
type watch struct {
	events <-chan fsnotify.Event
	errs   <-chan error
	log    *slog.Logger
	follow func() []string // the files to look out for from now on
	read   func() reading
	load   func(reading)
}

func (w watch) run(ctx context.Context) {
	timer := time.NewTimer(settle) // what changed before anybody watched
	files := w.follow()
	var last reading
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.events:
			if slices.Contains(files, e.Name) && !e.Has(fsnotify.Chmod) {
				timer.Reset(settle)
			}
		case err := <-w.errs:
			w.log.Error("policy files cannot be watched", "error", err)
			timer.Reset(settle) // what changed while nobody watched
		case <-timer.C:
			files = w.follow()
			now := w.read()
			if reflect.DeepEqual(now, last) {
				w.load(now)
				continue
			}
			last = now
			timer.Reset(settle)
		}
	}
}

// follow watches the directories of the policy's files, since editors replace a file, and those of what links point to
// now, since a link can stay while that changes. It returns the files to look out for.
func (d *Daemon) follow(w *fsnotify.Watcher) (files []string, err error) {
	for _, f := range d.opts.Config.Files() {
		files = append(files, f)
		if real, err := filepath.EvalSymlinks(f); err == nil && real != f {
			files = append(files, real)
		}
	}
	dirs := map[string]bool{}
	for _, f := range files {
		dirs[filepath.Dir(f)] = true
	}
	for _, dir := range w.WatchList() {
		if !dirs[dir] {
			w.Remove(dir) //nolint:errcheck // it may be gone
		}
	}
	for dir := range dirs {
		err = errors.Join(err, w.Add(dir))
	}
	return files, err
}

func (d *Daemon) reload(r reading) {
	if r.bad == nil {
		d.restartNeeded(r.config)
	}
	err := r.err
	if err == nil && rules.Digest(r.sources, config.Env()) == d.gate.Policy().Digest() {
		return
	}
	if err == nil && r.empty != "" {
		err = fmt.Errorf("%s is empty: a policy that lets everything pass says so, with rules: []", r.empty)
	}
	var policy *rules.Policy
	if err == nil {
		policy, err = rules.Compile(r.sources, config.Env())
	}
	if err == nil {
		err = d.gate.Load(policy)
	}
	if err != nil {
		d.opts.Log.Error("the changed policy is refused; the old one stays in force", "error", err)
		return
	}
	d.opts.Log.Info("policy loaded", "digest", policy.Digest()[:12])
}

// restartNeeded says so if more than the policy has changed in the configuration.
func (d *Daemon) restartNeeded(now config.Config) {
	was := d.opts.Config
	if was.Path == "" {
		return
	}
	same := reflect.DeepEqual(now.Servers, was.Servers) && reflect.DeepEqual(now.History, was.History) &&
		reflect.DeepEqual(now.Model, was.Model) && reflect.DeepEqual(now.Intent, was.Intent) &&
		reflect.DeepEqual(now.Holds, was.Holds) && reflect.DeepEqual(now.Notify, was.Notify)
	if !same || len(now.Policies) > 0 && !slices.Equal(now.Policies, was.Policies) {
		d.opts.Log.Warn("policies are loaded as they change; servers, model APIs, intent, holds, notifications, history and the list of policy files need a restart", "config", was.Path)
	}
}
