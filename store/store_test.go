package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

func seqs(t testing.TB, db *store.DB, from uint64) (out []uint64) {
	t.Helper()
	for e, err := range db.Events(from) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Seq)
	}
	return out
}

func TestWhatIsAppendedIsThereAfterOpeningAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "history.db")
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.Append(db, storetest.Call(1, "s1", "refund", event.Allow)...); err != nil {
		t.Fatal(err)
	}
	secret := db.Secret()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	db = storetest.Open(t, store.Config{Path: path})
	if got := seqs(t, db, 1); !slices.Equal(got, []uint64{1, 2, 3}) || db.Last() != 3 {
		t.Errorf("%v, last %d", got, db.Last())
	}
	if string(db.Secret()) != string(secret) || len(secret) != 32 {
		t.Error("the key of redacted values changed")
	}
	if err := storetest.Append(db, storetest.Call(4, "s1", "refund", event.Deny)...); err != nil {
		t.Error(err)
	}
}

func TestAppendsShareCommitsAndKeepTheirOrder(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	const n = 1000
	var mu sync.Mutex
	var order []uint64
	var wg sync.WaitGroup
	for i := uint64(0); i < n; i++ {
		wg.Add(1)
		first := 1 + 3*i
		db.Append(storetest.Call(first, "s1", "refund", event.Allow), func(err error) {
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, first)
			mu.Unlock()
			wg.Done()
		})
	}
	wg.Wait()
	if !slices.IsSorted(order) || len(order) != n || db.Last() != 3*n {
		t.Errorf("%d done, in order: %v, last %d", len(order), slices.IsSorted(order), db.Last())
	}
}

func TestGapsAreRefused(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	if err := storetest.Append(db, storetest.Call(2, "s1", "x", event.Allow)...); !errors.Is(err, store.ErrGap) {
		t.Error(err)
	}
	if err := storetest.Append(db, storetest.Call(1, "s1", "x", event.Allow)...); err != nil {
		t.Error(err)
	}
	if err := storetest.Append(db, storetest.Call(1, "s1", "x", event.Allow)...); !errors.Is(err, store.ErrGap) {
		t.Error(err)
	}
}

// A full disk: nothing is half written, everything that was queued behind is refused, and a caller that begins anew after
// the last event on disk can go on once there is room.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(store.Config{Path: path, MaxFile: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 100_000)
	fill := func(seq uint64, text string) event.Event {
		return event.Event{V: 1, Seq: seq, At: event.Time(seq), Body: &event.Signal{Text: text}}
	}
	var failed error
	seq := uint64(1)
	for ; failed == nil && seq < 100; seq++ {
		failed = storetest.Append(db, fill(seq, big))
	}
	if failed == nil {
		t.Fatal("the bound is none")
	}
	last := db.Last()
	if last != seq-2 {
		t.Errorf("last is %d after %d was refused", last, seq-1)
	}
	if err := storetest.Append(db, fill(seq, "")); err == nil {
		t.Error("an event after a lost one is taken")
	}
	if got := seqs(t, db, 1); uint64(len(got)) != last {
		t.Errorf("%d events, last is %d", len(got), last)
	}
	if err := storetest.Append(db, fill(last+1, big)); err == nil {
		t.Error("there is room where there was none")
	}
	db.SetMaxFile(8 << 20) // somebody made room
	if err := storetest.Append(db, fill(last+1, big)); err != nil {
		t.Errorf("no way back: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Check(t, path)
}

func TestAsyncReturnsAtOnceAndCommitsOnClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(store.Config{Path: path, Async: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); i < 100; i++ {
		called := false
		db.Append(storetest.Call(1+3*i, "s1", "x", event.Allow), func(err error) { called = err == nil })
		if !called {
			t.Fatal("an asynchronous Append waits")
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = storetest.Open(t, store.Config{Path: path})
	if db.Last() != 300 {
		t.Errorf("last is %d", db.Last())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Append(db, storetest.Call(301, "s1", "x", event.Allow)...); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("garbage"), []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Config{Path: path("locked")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // not what is tested
	edit := func(name string, f func(*bbolt.Tx) error) {
		d, err := store.Open(store.Config{Path: path(name)})
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		b, err := bbolt.Open(path(name), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.Update(f); err != nil {
			t.Fatal(err)
		}
	}
	edit("later", func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("2")) })
	edit("other", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("meta")) })
	edit("half", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("events")) })
	for name, tc := range map[string]struct {
		cfg  store.Config
		want error
	}{
		"no file":    {store.Config{Path: path("none"), ReadOnly: true}, store.ErrMissing},
		"garbage":    {store.Config{Path: path("garbage")}, store.ErrDamaged},
		"locked":     {store.Config{Path: path("locked"), LockWait: 50 * time.Millisecond}, store.ErrLocked},
		"later":      {store.Config{Path: path("later")}, store.ErrFormat},
		"not ours":   {store.Config{Path: path("other")}, store.ErrDamaged},
		"incomplete": {store.Config{Path: path("half")}, store.ErrDamaged},
	} {
		db, err := store.Open(tc.cfg)
		if !errors.Is(err, tc.want) || db != nil {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := store.Open(store.Config{}); err == nil {
		t.Error("a history without a path")
	}
}

// Damage on disk is found and named, and never panics.
func TestCheckFindsDamage(t *testing.T) {
	make3 := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "history.db")
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(0); i < 50; i++ {
			if err := storetest.Append(db, storetest.Call(1+3*i, fmt.Sprint("s", i%3), "x", event.Allow)...); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := func(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }
	for name, damage := range map[string]func(*bbolt.Tx) error{
		"a missing event":    func(tx *bbolt.Tx) error { return tx.Bucket([]byte("events")).Delete(key(7)) },
		"an unreadable one":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte("events")).Put(key(7), []byte("{")) },
		"a moved one":        func(tx *bbolt.Tx) error { b := tx.Bucket([]byte("events")); return b.Put(key(7), b.Get(key(8))) },
		"a wrong index":      func(tx *bbolt.Tx) error { return tx.Bucket([]byte("calls")).Put(key(1), key(9)) },
		"a missing session":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte("sessions")).Delete([]byte("s1")) },
		"an invented tool":   func(tx *bbolt.Tx) error { return tx.Bucket([]byte("tools")).Put([]byte("a\x00b"), []byte("{}")) },
		"time running back":  func(tx *bbolt.Tx) error { return rewrite(tx, 7, func(e *event.Event) { e.At = 1 }) },
		"an effect as cause": func(tx *bbolt.Tx) error { return rewrite(tx, 7, func(e *event.Event) { e.Cause = 7 }) },
	} {
		path := make3(t)
		b, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Update(damage); err != nil {
			t.Fatal(err)
		}
		b.Close()
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		db.Close()
	}
	// Bytes overwritten in the middle of the file.
	path := make3(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 4 * 4096; at < len(data); at += 512 {
		copy(data[at:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Config{Path: path})
	if err == nil {
		err = db.Check()
		if err == nil {
			err = storetest.Append(db, storetest.Call(db.Last()+1, "s", "x", event.Allow)...)
		}
		db.Close()
	}
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("overwritten: %v", err)
	}
}

func rewrite(tx *bbolt.Tx, seq byte, change func(*event.Event)) error {
	b := tx.Bucket([]byte("events"))
	key := []byte{0, 0, 0, 0, 0, 0, 0, seq}
	var e event.Event
	if err := e.UnmarshalJSON(b.Get(key)); err != nil {
		return err
	}
	change(&e)
	text, err := e.MarshalJSON()
	if err != nil {
		return err
	}
	return b.Put(key, text)
}

func TestPrune(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	db := storetest.Open(t, store.Config{Path: path})
	loaded := event.Event{V: 1, Seq: 1, At: storetest.Begin, Body: &event.Loaded{Digest: "p"}}
	if err := storetest.Append(db, loaded); err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); i < 100; i++ { // call i is of second 2+3i
		if err := storetest.Append(db, storetest.Call(2+3*i, fmt.Sprint("s", i/50), "x", event.Allow)...); err != nil {
			t.Fatal(err)
		}
	}
	at := func(s int) event.Time { return storetest.Begin.Add(time.Duration(s) * time.Second) }
	if n, err := db.Prune(store.Retention{Before: at(200), Floor: at(0)}); n != 0 || err != nil {
		t.Errorf("%d events that a window still needs are gone (%v)", n, err)
	}
	n, err := db.Prune(store.Retention{Before: at(200), Floor: at(170)})
	if err != nil || n != 168 {
		t.Errorf("%d events removed, %v", n, err)
	}
	left := seqs(t, db, 1)
	if left[0] != 1 || left[1] != 170 || len(left) != 301-168 {
		t.Errorf("%v", left[:4])
	}
	if p, err := db.Pruned(); err != nil || p.Seq != 169 || p.At >= at(170) {
		t.Errorf("%+v %v", p, err)
	}
	if sessions, err := db.Sessions(); err != nil || len(sessions) != 1 {
		t.Errorf("%v %v", sessions, err)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
	// By size: everything goes that may go. The newest call stays, for the log to go on from.
	if n, err := db.Prune(store.Retention{Before: at(0), MaxBytes: 1, Floor: at(10_000)}); err != nil || n != 301-168-1-3 {
		t.Errorf("%d events removed, %v", n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = storetest.Open(t, store.Config{Path: path})
	if db.Last() != 301 {
		t.Errorf("after pruning all that may go, the log goes on at %d", db.Last()+1)
	}
	if err := storetest.Append(db, storetest.Call(302, "s9", "x", event.Allow)...); err != nil {
		t.Error(err)
	}
}

// What later verdicts depend on whatever its age stays: policies, what is known of tools, and what people have excepted.
func TestPruneKeepsWhatLasts(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	bodies := []event.Body{
		&event.Loaded{Digest: "p"}, &event.Catalog{Server: "a"}, &event.Accepted{Server: "a"}, &event.Exception{Server: "a"}, &event.Revoked{Who: "local:ann"},
		&event.Signal{Name: "seen"},
	}
	for i, b := range bodies {
		if err := storetest.Append(db, event.Event{V: 1, Seq: uint64(i + 1), At: storetest.Begin, Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	later := storetest.Begin.Add(time.Hour)
	if err := storetest.Append(db, event.Event{V: 1, Seq: 7, At: later, Body: &event.Signal{Name: "seen"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Prune(store.Retention{Before: later, Floor: later}); err != nil || n != 1 {
		t.Errorf("%d events removed, %v", n, err)
	}
	if left := seqs(t, db, 1); !slices.Equal(left, []uint64{1, 2, 3, 4, 5, 7}) {
		t.Errorf("left are %v", left)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}

// However much there is to remove and wherever it stops, what is left can be replayed: no verdict has lost its call.
func TestPruneNeverPartsAVerdictFromItsCall(t *testing.T) {
	for first := uint64(1); first <= 3; first++ { // so that every kind of event comes to lie where it stops
		path := filepath.Join(t.TempDir(), "history.db")
		db := storetest.Open(t, store.Config{Path: path})
		var events []event.Event
		for seq := uint64(1); seq <= first; seq++ {
			events = append(events, event.Event{V: 1, Seq: seq, At: storetest.Begin, Body: &event.Loaded{Digest: "p"}})
		}
		for range 1500 {
			events = append(events, storetest.Call(uint64(len(events)+1), "s1", "x", event.Allow)...)
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		floor := storetest.Begin.Add(24 * time.Hour)
		if n, err := db.Prune(store.Retention{MaxBytes: info.Size() / 2, Floor: floor}); err != nil || n == 0 || n == 4500 {
			t.Fatalf("%d events removed, %v", n, err)
		}
		left := seqs(t, db, first+1)
		for e, err := range db.Events(left[0]) {
			if _, ok := e.Body.(*event.Verdict); err != nil || ok {
				t.Errorf("what is left begins with %s %d (%v)", e.Body.Kind(), e.Seq, err)
			}
			break
		}
		if n, err := db.Prune(store.Retention{Before: floor, Floor: floor}); err != nil || n != len(left)-3 { // the newest call stays
			t.Errorf("%d of %d old events removed at once, %v", n, len(left), err)
		}
	}
}

func TestWatch(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	if err := storetest.Append(db, storetest.Call(1, "s1", "x", event.Allow)...); err != nil {
		t.Fatal(err)
	}
	got := make(chan uint64, 100)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for raw, err := range db.Watch(done, 2) {
			var e event.Event
			if err == nil {
				err = e.UnmarshalJSON(raw)
			}
			if err != nil {
				t.Error(err)
				return
			}
			got <- e.Seq
		}
	})
	for i := uint64(0); i < 20; i++ {
		if err := storetest.Append(db, storetest.Call(4+3*i, "s1", "x", event.Allow)...); err != nil {
			t.Fatal(err)
		}
	}
	for want := uint64(2); want <= 63; want++ {
		if seq := <-got; seq != want {
			t.Fatalf("event %d, want %d", seq, want)
		}
	}
	close(done)
	wg.Wait()
	wg.Go(func() { // it also ends with the DB
		for range db.Watch(nil, 64) {
			t.Error("there is nothing to see")
		}
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// BenchmarkAppend is one event on its way to the disk, with so many on the way at a time; p50 and p99 are from Append to
// its callback.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		for _, async := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/async=%v", callers, async), func(b *testing.B) {
				db, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "history.db"), Async: async})
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close() //nolint:errcheck // not what is measured
				turns, done := make(chan struct{}, callers), make(chan time.Duration, callers)
				var took []time.Duration
				var wg sync.WaitGroup
				wg.Go(func() {
					for d := range done {
						took = append(took, d)
						<-turns
					}
				})
				next := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					turns <- struct{}{}
					begin := time.Now()
					db.Append(storetest.Call(next, "s1", "x", event.Allow), func(err error) {
						if err != nil {
							b.Error(err)
						}
						done <- time.Since(begin)
					})
					next += 3
				}
				for range callers {
					turns <- struct{}{} // until the last is back
				}
				close(done)
				wg.Wait()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
				b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			})
		}
	}
}

// Of the baselines that were in force, the newest one judges what is left, and is kept with those that came later; a verdict that
// is kept always has the one that it was judged by.
func TestPruneKeepsTheBaselineThatJudgesWhatIsLeft(t *testing.T) {
	db := storetest.Open(t, store.Config{Path: filepath.Join(t.TempDir(), "history.db")})
	at := func(seq uint64) event.Time { return storetest.Begin.Add(time.Duration(seq) * time.Second) }
	promoted := map[uint64]bool{}
	for seq := uint64(1); seq < 200; {
		if seq%20 == 1 { // as big as a file may be, now and then
			size := 1 << 10
			if seq == 101 {
				size = baseline.MaxSize
			}
			file := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
			if err := storetest.Append(db, event.Event{V: 1, Seq: seq, At: at(seq), Body: &event.Promoted{Who: "local:ann", Name: "b", Digest: fmt.Sprint(seq), Baseline: file}}); err != nil {
				t.Fatal(err)
			}
			promoted[seq] = true
			seq++
			continue
		}
		events := storetest.Call(seq, "s", "x", event.Allow)
		if seq%20 == 17 { // so that there are twenty
			events = append(events, event.Event{V: 1, Seq: seq + 3, At: at(seq), Session: "s", Body: &event.Signal{Source: "wire", Name: "n"}})
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
		seq += uint64(len(events))
	}
	for _, before := range []uint64{50, 61, 62, 150, 199} {
		if _, err := db.Prune(store.Retention{Before: at(before), Floor: at(before)}); err != nil {
			t.Fatal(err)
		}
		pruned, err := db.Pruned()
		if err != nil {
			t.Fatal(err)
		}
		left := map[uint64]bool{}
		for e, err := range db.Events(1) {
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := e.Body.(*event.Promoted); ok {
				if left[e.Seq] = true; e.Seq == 101 && len(b.Baseline) != baseline.MaxSize {
					t.Errorf("%d bytes of it are left", len(b.Baseline))
				}
			}
		}
		newest := uint64(0)
		for seq := range promoted {
			if seq <= pruned.Seq {
				newest = max(newest, seq)
			}
		}
		for seq := range promoted {
			if want := seq >= newest; left[seq] != want {
				t.Errorf("up to %d was removed: the baseline of %d is there: %t", pruned.Seq, seq, left[seq])
			}
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
	}
}
