// Package storetest opens histories for tests, checks them when the test ends, and makes events.
package storetest

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// Open opens a new history in a directory of the test. It is checked and closed when the test ends.
func Open(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "history.db")
	}
	db, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		Check(t, cfg.Path)
	})
	return db
}

// Check opens the history at path again and checks all of it.
func Check(t testing.TB, path string) {
	t.Helper()
	db, err := store.Open(store.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close() //nolint:errcheck // it was only read
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}

// Begin is when the events of Call happen: a second each, from here on.
var Begin = event.At(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))

// Call returns the events of one call, with Seqs from first on: Call, Verdict and Result, or only the first two if it
// is denied or held.
func Call(first uint64, session, tool string, action event.Action) []event.Event {
	at := Begin.Add(time.Duration(first) * time.Second)
	events := []event.Event{
		{Body: &event.Call{Link: "l", Server: "billing", Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(`{"a":1}`), Peer: event.Peer{Agent: "bot"}}},
		{Cause: first, Body: &event.Verdict{Action: action, Why: "no rule objects", Policy: "p"}},
	}
	if action.Passes() {
		events = append(events, event.Event{Cause: first, Body: &event.Result{Server: "billing", Tool: tool, Outcome: event.OutcomeOK}})
	}
	for i := range events {
		events[i].V, events[i].Seq, events[i].At, events[i].Session = event.Version, first+uint64(i), at, session
	}
	return events
}

// Settle returns the events that end the hold of a call of Call, with Seqs from first on: a Review and the Verdict, or an
// Expired and the Verdict if the call is denied.
func Settle(first uint64, call event.Event, action event.Action) []event.Event {
	b := call.Body.(*event.Call)
	var end event.Body = &event.Expired{Server: b.Server, Tool: b.Tool, Reason: "nobody decided"}
	if action.Passes() {
		end = &event.Review{Server: b.Server, Tool: b.Tool, Who: "local:ann", Approve: true}
	}
	events := []event.Event{{Body: end}, {Body: &event.Verdict{Action: action, Why: "settled", Policy: "p", After: first}}}
	for i := range events {
		e := &events[i]
		e.V, e.Seq, e.At, e.Session, e.Cause = event.Version, first+uint64(i), Begin.Add(time.Duration(first)*time.Second), call.Session, call.Seq
	}
	return events
}

// Append appends events and waits until they are on disk, or cannot get there.
func Append(db *store.DB, events ...event.Event) error {
	done := make(chan error, 1)
	db.Append(events, func(err error) { done <- err })
	return <-done
}
