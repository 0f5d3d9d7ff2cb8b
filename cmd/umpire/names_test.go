package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// A name finds the call that it is, else the only one that it begins, else nothing: as looking at every call would. Retention
// has removed what happened first.
func TestANameFindsTheCallThatLookingAtAllWouldFind(t *testing.T) {
	db, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "history.db"), Imported: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test
	first := uint64(97)
	if err := db.Skip(first, 1); err != nil {
		t.Fatal(err)
	}
	of := map[uint64]uint64{} // call, by event
	ids := map[string]uint64{}
	var calls []uint64
	for n := first; n < 1300; {
		id := fmt.Sprintf("toolu_%x", n*2654435761%4096)
		if n%5 == 0 {
			id += "<" // is written as it is
		}
		if ids[id] != 0 {
			id = fmt.Sprintf("call_%d", n)
		}
		events := storetest.Call(n, "s1", "refund", event.Action(n%4))
		events[0].Body.(*event.Call).Bound = &event.Bound{By: event.ByCall, Confidence: event.Exact, Use: id}
		if n%7 == 0 { // something else
			events = append(events, event.Event{V: event.Version, Seq: n + uint64(len(events)), At: events[0].At, Body: &event.Signal{Source: "wire", Text: id}})
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
		calls, ids[id] = append(calls, n), n
		for _, e := range events {
			if _, other := e.Body.(*event.Signal); !other {
				of[e.Seq] = n
			}
		}
		n += uint64(len(events))
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`#?[1-9][0-9]{0,3}|(toolu|call)_[0-9a-f]{0,4}<?`).Draw(t, "name")
		seq, whole, number := callNumber(name)
		want := map[uint64]bool{}
		switch {
		case number && of[seq] != 0:
			want[of[seq]] = true
		case number && !whole:
			for _, c := range calls {
				if strings.HasPrefix(fmt.Sprint(c), name) {
					want[c] = true
				}
			}
		case ids[name] != 0:
			want[ids[name]] = true
		case !number:
			for id, c := range ids {
				if strings.HasPrefix(id, name) {
					want[c] = true
				}
			}
		}
		got, err := callNamed(db, name)
		switch {
		case len(want) == 1 && (err != nil || !want[got.Seq]):
			t.Fatalf("%s is #%d, %v, want %v", name, got.Seq, err, want)
		case len(want) == 0 && (err == nil || !strings.HasPrefix(err.Error(), "no ")):
			t.Fatalf("%s is #%d, %v, and should be nothing", name, got.Seq, err)
		case len(want) > 1 && (err == nil || !strings.HasPrefix(err.Error(), "several calls begin with "+name+": #")):
			t.Fatalf("%s is #%d, %v, and should be any of %v", name, got.Seq, err, want)
		}
	})
}
