package main

import (
	"encoding/json"
	"iter"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

// watched is a history of which a person is told how far reading it is.
type watched struct {
	history.Reader
	progress    *view.Progress
	first, last uint64 // as far as there are events
}

// watch returns r, watched if stderr is a terminal.
func (a *app) watch(r history.Reader) history.Reader {
	p := view.NewProgress(a.stderr)
	if p == nil {
		return r
	}
	w := &watched{Reader: r, progress: p, last: r.Last()}
	if pruned, err := r.Pruned(); err == nil {
		w.first = pruned.Seq
	}
	return w
}

// Raw implements history.Reader.
func (w *watched) Raw(from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		w.progress.Begin("reading the history", int64(w.last-min(max(from, w.first), w.last)), func(n int64) string { return count(int(n), "event") })
		defer w.progress.Begin("", 0, nil)
		for raw, err := range w.Reader.Raw(from) {
			if !yield(raw, err) {
				return
			}
			w.progress.Done(1)
		}
	}
}

// Check implements history.Reader.
func (w *watched) Check() error {
	w.progress.Begin("checking the history", 0, nil)
	defer w.progress.Begin("", 0, nil)
	return w.Reader.Check()
}

// Close implements history.Reader.
func (w *watched) Close() error {
	w.progress.Close()
	return w.Reader.Close()
}

// imported reports whether r is a history of what happened elsewhere.
func imported(r history.Reader) bool {
	if w, ok := r.(*watched); ok {
		r = w.Reader
	}
	db, ok := r.(interface{ Imported() bool })
	return ok && db.Imported()
}
