package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// closedHistory makes a history of n calls in three sessions.
func closedHistory(t *testing.T, n uint64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := storetest.Append(db, storetest.Call(1+3*i, fmt.Sprint("s", i%3), "refund", event.Allow)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// The file is mapped into memory, and what is behind its end faults. However much of it is gone, that is an error and
// not the end of the process, and nothing is written to what is left.
func TestAFileThatIsCutOffIsDamaged(t *testing.T) {
	whole, err := os.ReadFile(closedHistory(t, 200))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.db")
	for size := 1; size < len(whole)/2; size += 4095 {
		cut := whole[:size]
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{true, false} {
			db, err := store.Open(store.Config{Path: path, ReadOnly: readOnly})
			if err == nil {
				db.Close()
			}
			if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%d of %d bytes, read only %v: %v", size, len(whole), readOnly, err)
			}
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, cut) {
			t.Errorf("%d of %d bytes: what is left was written to", size, len(whole))
		}
	}
}

// Somebody cuts the file off while it is open.
func TestAFileThatIsCutOffWhileItIsReadIsDamaged(t *testing.T) {
	path := closedHistory(t, 200)
	db, err := store.Open(store.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it cannot be read
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	var failed error
	for _, err := range db.Events(1) {
		failed = err
	}
	if !errors.Is(failed, store.ErrDamaged) {
		t.Error(failed)
	}
	if err := db.Check(); !errors.Is(err, store.ErrDamaged) {
		t.Error(err)
	}
}

// Invariant 11: the log is the truth. Without its indexes a history is whole; who may write makes them again, and they
// say what they said.
func TestIndexesThatAreMissingAreMadeAgain(t *testing.T) {
	path := closedHistory(t, 50)
	ask := func() (out []any) {
		db := storetest.Open(t, store.Config{Path: path, ReadOnly: true})
		sessions, err := db.Sessions()
		tools, err2 := db.Tools()
		result, err3 := db.ResultOf(4)
		if err := errors.Join(err, err2, err3, db.Close()); err != nil {
			t.Fatal(err)
		}
		return append(out, sessions, tools, result)
	}
	before := ask()
	for _, gone := range []string{"sessions", "calls", "tools"} {
		bolt, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(bolt.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(gone)) }), bolt.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(store.Config{Path: path, ReadOnly: true}); !errors.Is(err, store.ErrIndexes) {
			t.Errorf("without %s: %v", gone, err)
		}
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Errorf("without %s: %v", gone, err)
		}
		if after := ask(); !reflect.DeepEqual(before, after) {
			t.Errorf("without %s:\n%v, before\n%v", gone, after, before)
		}
	}
}

// Who is killed while it makes the file leaves one without anything in it. It holds no history, and it can become one.
func TestAFileThatWasNeverFilledIsFilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	bolt, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(store.Config{Path: path, ReadOnly: true}); !errors.Is(err, store.ErrMissing) {
		t.Error(err)
	}
	db := storetest.Open(t, store.Config{Path: path})
	if err := storetest.Append(db, storetest.Call(1, "s1", "refund", event.Allow)...); err != nil {
		t.Error(err)
	}
}

// Indexes of another version know less: who may write makes them again.
func TestIndexesOfAnotherVersionAreMadeAgain(t *testing.T) {
	path := closedHistory(t, 5)
	bolt, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = bolt.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket([]byte("meta")).Delete([]byte("indexes")), tx.Bucket([]byte("tools")).Put([]byte("billing\x00refund"), []byte(`{}`)))
	})
	if err := errors.Join(err, bolt.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(store.Config{Path: path, ReadOnly: true}); !errors.Is(err, store.ErrIndexes) {
		t.Error(err)
	}
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	tools, err := db.Tools()
	if err := errors.Join(err, db.Check(), db.Close()); err != nil || len(tools) != 1 || tools[0].Calls != 5 || len(tools[0].Users) != 1 || tools[0].Users[0].Calls != 5 {
		t.Errorf("%v: %+v", err, tools)
	}
}

// Agents choose their names: of many, those that called last are known.
func TestTheAgentsThatUsedAToolLastAreKnown(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	for i := range uint64(30) {
		events := storetest.Call(1+2*i, "s1", "refund", event.Deny)
		for _, e := range events {
			if c, ok := e.Body.(*event.Call); ok {
				c.Agent = fmt.Sprint("agent", i%25)
			}
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
	}
	tools, err := db.Tools()
	if err != nil {
		t.Fatal(err)
	}
	users := tools[0].Users
	if len(users) != 20 || users[0].Agent != "agent4" || users[0].Calls != 1 || users[19].Agent != "agent10" {
		t.Errorf("%+v", users)
	}
}
