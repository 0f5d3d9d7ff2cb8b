package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

var snapshots = []byte("snapshots")

// edited changes a closed history behind its back.
func edited(t testing.TB, path string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
}

// state is a snapshot of n bytes.
func state(n int) []byte { return bytes.Repeat([]byte("state"), n/5+1)[:n] }

// saved makes a history of 10 calls with a snapshot of size bytes after the event seq.
func saved(t testing.TB, seq uint64, size int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		if err := storetest.Append(db, storetest.Call(1+3*i, "s1", "refund", event.Allow)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.SaveSnapshot(seq, state(size)), db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASnapshotIsThereAfterOpeningAgain(t *testing.T) {
	for _, size := range []int{0, 1, 32 << 10, 32<<10 + 1, 1 << 20, 3<<20 + 7} {
		path := saved(t, 30, size)
		for _, readOnly := range []bool{true, false} {
			db, err := store.Open(store.Config{Path: path, ReadOnly: readOnly})
			if err != nil {
				t.Fatal(err)
			}
			if seq, data, err := db.Snapshot(); err != nil || seq != 30 || !bytes.Equal(data, state(size)) {
				t.Errorf("%d bytes: %d bytes up to #%d, %v", size, len(data), seq, err)
			}
			db.Close()
		}
		storetest.Check(t, path)
	}
}

func TestOneSnapshotIsKept(t *testing.T) {
	path := saved(t, 30, 5<<20)
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) {
		if err := db.SaveSnapshot(i+1, state(int(i))); err != nil {
			t.Fatal(err)
		}
		if seq, data, err := db.Snapshot(); err != nil || seq != i+1 || len(data) != int(i) {
			t.Fatalf("#%d, %d bytes, %v", seq, len(data), err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	edited(t, path, func(tx *bbolt.Tx) error {
		if s := tx.Bucket(snapshots).Stats(); s.BucketN != 2 {
			t.Errorf("%d buckets", s.BucketN)
		}
		return nil
	})
}

// A snapshot is used only with the history that it was made of: not when the log has been set back or goes on otherwise,
// nor when pieces are missing. The history is as good as before in any case, and the next snapshot can be used.
func TestASnapshotOfAnotherHistoryIsNotUsed(t *testing.T) {
	key := func(seq byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, seq} }
	newest := func(tx *bbolt.Tx) *bbolt.Bucket {
		k, _ := tx.Bucket(snapshots).Cursor().Last()
		return tx.Bucket(snapshots).Bucket(k)
	}
	for what, damage := range map[string]func(tx *bbolt.Tx) error{
		"the log ends before it": func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte("events")).Delete(key(30)), tx.Bucket([]byte("events")).Delete(key(29)), tx.Bucket([]byte("events")).Delete(key(28)))
		},
		"another event is there": func(tx *bbolt.Tx) error {
			e := storetest.Call(28, "s1", "refund", event.Allow)[2]
			e.Body.(*event.Result).Outcome = event.OutcomeFailed
			text, err := e.MarshalJSON()
			return errors.Join(err, tx.Bucket([]byte("events")).Put(key(30), text))
		},
		"a piece is missing":    func(tx *bbolt.Tx) error { return newest(tx).Delete([]byte{0, 0, 0, 1}) },
		"a piece is cut":        func(tx *bbolt.Tx) error { return newest(tx).Put([]byte{0, 0, 0, 1}, []byte("x")) },
		"its header is garbage": func(tx *bbolt.Tx) error { return newest(tx).Put([]byte("header"), []byte("garbage")) },
		"its header counts to the moon": func(tx *bbolt.Tx) error {
			return newest(tx).Put([]byte("header"), []byte(`{"pieces":-1,"size":-5,"seq":30}`))
		},
		"the bucket is garbage": func(tx *bbolt.Tx) error { return tx.Bucket(snapshots).Put([]byte("\xffgarbage"), []byte("garbage")) },
	} {
		t.Run(what, func(t *testing.T) {
			path := saved(t, 30, 100_000)
			edited(t, path, damage)
			db, err := store.Open(store.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if seq, data, err := db.Snapshot(); !errors.Is(err, store.ErrSnapshot) || seq != 0 || data != nil {
				t.Errorf("#%d, %d bytes, %v", seq, len(data), err)
			}
			if len(seqs(t, db, 1)) < 27 {
				t.Error("events are gone, too")
			}
			if err := db.SaveSnapshot(27, state(10)); err != nil {
				t.Fatal(err)
			}
			if seq, data, err := db.Snapshot(); err != nil || seq != 27 || len(data) != 10 {
				t.Errorf("#%d, %d bytes, %v", seq, len(data), err)
			}
		})
	}
}

// Without a snapshot, or with one whose writer did not live to complete it, there is none.
func TestThereNeedBeNoSnapshot(t *testing.T) {
	for what, change := range map[string]func(tx *bbolt.Tx) error{
		"deleted": func(tx *bbolt.Tx) error { return tx.DeleteBucket(snapshots) },
		"emptied": func(tx *bbolt.Tx) error { return errors.Join(tx.DeleteBucket(snapshots), create(tx, snapshots)) },
		"half": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(snapshots).Cursor().Last()
			return tx.Bucket(snapshots).Bucket(k).Delete([]byte("header"))
		},
	} {
		path := saved(t, 30, 100_000)
		edited(t, path, change)
		for _, readOnly := range []bool{true, false} {
			db, err := store.Open(store.Config{Path: path, ReadOnly: readOnly})
			if err != nil {
				t.Fatal(err)
			}
			if seq, data, err := db.Snapshot(); err != nil || seq != 0 || data != nil {
				t.Errorf("%s: #%d, %d bytes, %v", what, seq, len(data), err)
			}
			db.Close()
		}
	}
	// A newer one that is half does not hide an older one that is whole.
	path := saved(t, 30, 10)
	edited(t, path, func(tx *bbolt.Tx) error {
		b, err := tx.Bucket(snapshots).CreateBucket([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
		return errors.Join(err, b.Put([]byte{0, 0, 0, 0}, []byte("half")))
	})
	db := storetest.Open(t, store.Config{Path: path})
	if seq, data, err := db.Snapshot(); err != nil || seq != 30 || len(data) != 10 {
		t.Errorf("#%d, %d bytes, %v", seq, len(data), err)
	}
}

func create(tx *bbolt.Tx, name []byte) error {
	_, err := tx.CreateBucket(name)
	return err
}

func TestASnapshotNeedsItsEvent(t *testing.T) {
	db := storetest.Open(t, store.Config{Path: saved(t, 30, 10)})
	if err := db.SaveSnapshot(31, state(10)); err == nil {
		t.Error("a snapshot of what did not happen")
	}
	if seq, _, err := db.Snapshot(); err != nil || seq != 30 {
		t.Errorf("#%d, %v", seq, err)
	}
	// Retention that removes the event takes the snapshot along, so that nobody wonders about it later.
	if err := storetest.Append(db, storetest.Call(31, "s1", "refund", event.Allow)...); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ until, want uint64 }{{28, 30}, {40, 0}} {
		before := storetest.Begin.Add(time.Duration(tc.until) * time.Second)
		if _, err := db.Prune(store.Retention{Before: before, Floor: before}); err != nil {
			t.Fatal(err)
		}
		if seq, _, err := db.Snapshot(); err != nil || seq != tc.want {
			t.Errorf("pruned until #%d: #%d, %v", tc.until, seq, err)
		}
	}
}

// Retention that removes the event of a snapshot while the next one is written leaves alone what there is of that.
func TestRetentionLeavesASnapshotThatIsBeingWritten(t *testing.T) {
	path := saved(t, 3, 10)
	next, piece := []byte{0xff}, []byte("piece")
	edited(t, path, func(tx *bbolt.Tx) error {
		b, err := tx.Bucket(snapshots).CreateBucket(next)
		if err != nil {
			return err
		}
		return b.Put(piece, piece)
	})
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	before := storetest.Begin.Add(10 * time.Second)
	if _, err := db.Prune(store.Retention{Before: before, Floor: before}); err != nil {
		t.Fatal(err)
	}
	if seq, _, err := db.Snapshot(); err != nil || seq != 0 {
		t.Errorf("#%d, %v", seq, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	edited(t, path, func(tx *bbolt.Tx) error {
		if all := tx.Bucket(snapshots); all == nil || all.Bucket(next) == nil || !bytes.Equal(all.Bucket(next).Get(piece), piece) {
			t.Error("what was written of the next snapshot is gone")
		}
		return nil
	})
}

// Many events are decoded ahead of the reader, in order, up to the first that cannot be.
func TestEventsAreDecodedInOrder(t *testing.T) {
	damage := errors.New("the disk is gone")
	source := func(n, bad, gone int) iter.Seq2[json.RawMessage, error] {
		return func(yield func(json.RawMessage, error) bool) {
			for i := 1; i <= n; i++ {
				text := fmt.Sprintf(`{"v":1,"seq":%d,"at":"2026-11-23T08:00:00Z","closed":{}}`, i)
				if i == bad {
					text = `{"v":1,`
				}
				if i == gone {
					yield(nil, damage)
					return
				}
				if !yield(json.RawMessage(text), nil) {
					return
				}
			}
		}
	}
	for _, tc := range []struct {
		n, bad, gone int
		want         int
		err          error
	}{
		{0, 0, 0, 0, nil},
		{1, 0, 0, 1, nil},
		{64, 0, 0, 64, nil},
		{65, 0, 0, 65, nil},
		{10_000, 0, 0, 10_000, nil},
		{10_000, 1, 0, 0, store.ErrDamaged},
		{10_000, 65, 0, 64, store.ErrDamaged},
		{10_000, 5000, 0, 4999, store.ErrDamaged},
		{10_000, 0, 30, 29, damage},
		{10_000, 0, 5000, 4999, damage},
		{10_000, 4990, 5000, 4989, store.ErrDamaged},
	} {
		got, failed := 0, error(nil)
		for e, err := range store.Decode(source(tc.n, tc.bad, tc.gone)) {
			if failed != nil {
				t.Fatalf("%+v: it goes on after an error", tc)
			}
			if failed = err; err != nil {
				continue
			}
			if got++; e.Seq != uint64(got) {
				t.Fatalf("%+v: #%d at %d", tc, e.Seq, got)
			}
		}
		if got != tc.want || !errors.Is(failed, tc.err) {
			t.Errorf("%+v: %d events, %v", tc, got, failed)
		}
	}
	for stop := range 1000 { // whoever stops is not asked again
		n := 0
		for range store.Decode(source(10_000, 0, 0)) {
			if n++; n > stop {
				break
			}
		}
	}
}

// Who folds the log to go on from its end sees all that was appended before, although Append does not wait for the disk.
func TestEventsWaitsForWhatIsQueued(t *testing.T) {
	db := storetest.Open(t, store.Config{Async: true})
	for i := range uint64(20) {
		if err := storetest.Append(db, storetest.Call(1+3*i, "s1", "refund", event.Allow)...); err != nil {
			t.Fatal(err)
		}
		if got := seqs(t, db, 3*i+1); len(got) != 3 {
			t.Fatalf("%v after %d calls", got, i+1)
		}
	}
}
