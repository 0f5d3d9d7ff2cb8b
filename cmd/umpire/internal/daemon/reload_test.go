package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/umpire-dev/umpire/rules/event"
)

// A policy file is read while it is being written, and what is there by then would compile. It is not loaded before it
// has stayed as it is.
func TestAPolicyIsNotLoadedBeforeItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan fsnotify.Event)
		var text atomic.Value // the file
		var loaded []string
		w := watch{
			events: events, errs: make(chan error), log: slog.New(slog.DiscardHandler),
			follow: func() []string { return []string{"/policy.yaml"} },
			read:   func() reading { return reading{sources: []event.Source{{Text: text.Load().(string)}}} },
			load:   func(r reading) { loaded = append(loaded, r.sources[0].Text) },
		}
		go w.run(ctx)
		passes := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		write := func(s string) {
			text.Store(s)
			events <- fsnotify.Event{Name: "/policy.yaml", Op: fsnotify.Write}
		}
		write("rules: [a")
		passes(settle / 2)
		write("rules: [a, b")
		passes(settle + 1) // read, but not loaded
		write("rules: [a, b, c")
		passes(settle + 1)
		text.Store("rules: [a, b, c]") // its event comes late
		passes(time.Second)
		write("rules: [d]")
		passes(time.Second)
		events <- fsnotify.Event{Name: "/policy.yaml.swp", Op: fsnotify.Write}
		passes(time.Second)
		cancel()
		synctest.Wait()
		if want := []string{"rules: [a, b, c]", "rules: [d]"}; !slices.Equal(loaded, want) {
			t.Errorf("loaded %q, want %q", loaded, want)
		}
	})
}
