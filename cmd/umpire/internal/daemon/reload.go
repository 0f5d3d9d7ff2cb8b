package daemon

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/rules"
)

// settle is how long a policy file has to stay as it is before it is read: editors write in several steps.
const settle = 100 * time.Millisecond

// watchPolicy loads the policy again when one of its files changes. A policy that does not compile is refused, and the
// old one stays in force.
func (d *Daemon) watchPolicy(ctx context.Context) error {
	files := d.opts.Config.Files()
	if len(files) == 0 {
		return nil
	}
	for _, f := range files { // a link can stay while what it points to changes
		if real, err := filepath.EvalSymlinks(f); err == nil && real != f {
			files = append(files, real)
		}
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	for _, f := range files { // the directory, since editors replace the file
		if err := w.Add(filepath.Dir(f)); err != nil {
			w.Close() //nolint:errcheck // the first error counts
			return err
		}
	}
	d.running.Go(func() {
		defer w.Close()                //nolint:errcheck // not used again
		timer := time.NewTimer(settle) // what changed before anybody watched
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-w.Events:
				if slices.Contains(files, e.Name) && !e.Has(fsnotify.Chmod) {
					timer.Reset(settle)
				}
			case err := <-w.Errors:
				d.opts.Log.Error("policy files cannot be watched", "error", err)
			case <-timer.C:
				d.reload()
			}
		}
	})
	return nil
}

func (d *Daemon) reload() {
	d.restartNeeded()
	sources, err := d.opts.Config.Sources()
	if err == nil && rules.Digest(sources, config.Env()) == d.gate.Policy().Digest() {
		return
	}
	var policy *rules.Policy
	if err == nil {
		policy, err = rules.Compile(sources, config.Env())
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
func (d *Daemon) restartNeeded() {
	was := d.opts.Config
	if was.Path == "" {
		return
	}
	now, err := config.Load(was.Path)
	if err != nil {
		return // the policy's error counts
	}
	same := reflect.DeepEqual(now.Servers, was.Servers) && reflect.DeepEqual(now.History, was.History)
	if !same || len(now.Policies) > 0 && !slices.Equal(now.Policies, was.Policies) {
		d.opts.Log.Warn("policies are loaded as they change; servers, history and the list of policy files need a restart", "config", was.Path)
	}
}
