package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// million makes a history of a million events, 313 bytes each, that ends with 100,000 that windows remember.
func million(b *testing.B) (path string, c *clock) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "history.db")
	db := open(b, path)
	c = newClock()
	at := event.At(c.at)
	var events []event.Event
	add := func(cause uint64, body event.Body) uint64 {
		seq := uint64(len(events) + 1)
		events = append(events, event.Event{V: event.Version, Seq: seq, At: at, Session: fmt.Sprint("s", seq%97), Cause: cause, Body: body})
		return seq
	}
	args := strings.Repeat("thanks ", 20)
	for i := range 333_333 {
		if i == 233_333 {
			at = at.Add(48 * time.Hour)
		}
		at = at.Add(time.Millisecond)
		call := add(0, &event.Call{
			Link: "l", Server: "billing", Tool: []string{"issue_refund", "get_order"}[i%2], ID: json.RawMessage("1"),
			Args: fmt.Appendf(nil, `{"order":"ord_%d","amount":%d.50,"note":%q}`, i%50_000, i%100, args), Peer: event.Peer{Principal: "local:a", Agent: "bot"},
		})
		add(call, &event.Verdict{Action: event.Allow, Why: "no rule objects", Policy: "p"})
		add(call, &event.Result{Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeOK, Content: json.RawMessage(`{"text":"delivered"}`)})
	}
	c.at = at.Time()
	for len(events) > 0 {
		part := events[:min(len(events), 10_000)]
		events = events[len(part):]
		done := make(chan error, 1)
		if db.Append(part, func(err error) { done <- err }); <-done != nil {
			b.Fatal("not appended")
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return path, c
}

// BenchmarkStart starts a gate over a million events of which windows remember 100,000 calls: folding all of them, and
// from a snapshot.
func BenchmarkStart(b *testing.B) {
	path, c := million(b)
	p := policy(b, allKinds)
	start := func(b *testing.B, every uint64) {
		db, err := store.Open(store.Config{Path: path, Async: true})
		if err != nil {
			b.Fatal(err)
		}
		g := derived(b, db, p, c, every, "bench", io.Discard)
		b.StopTimer()
		g.Close()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.Run("refold", func(b *testing.B) {
		for b.Loop() {
			start(b, 1<<40)
		}
	})
	start(b, 1)
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			start(b, 1<<40)
		}
	})
}
