package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// Nobody goes on with what was imported, and nothing is imported into what goes on.
func TestAnImportedHistoryIsNotContinued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(store.Config{Path: path, Imported: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(store.Config{Path: path}); !errors.Is(err, store.ErrImported) {
		t.Error(err)
	}
	db, err = store.Open(store.Config{Path: path, ReadOnly: true})
	if err != nil || !db.Imported() {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	live := closedHistory(t, 1)
	if _, err := store.Open(store.Config{Path: live, Imported: true}); !errors.Is(err, store.ErrImported) {
		t.Error(err)
	}
	db, err = store.Open(store.Config{Path: live})
	if err != nil || db.Imported() {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing was written
	if err := db.Skip(100, 1); !errors.Is(err, store.ErrImported) {
		t.Error(err)
	}
}

// What is not there counts as removed, and numbers never go back.
func TestSkipLeavesOut(t *testing.T) {
	db, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "history.db"), Imported: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test
	if err := db.Skip(40, 7); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Append(db, storetest.Call(40, "s1", "refund", event.Allow)...); err != nil {
		t.Fatal(err)
	}
	if p, err := db.Pruned(); err != nil || p != (store.Pruned{Seq: 39, At: 7}) {
		t.Error(p, err)
	}
	if err := db.Skip(41, 8); !errors.Is(err, store.ErrGap) {
		t.Error(err)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}
