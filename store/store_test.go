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
	"pgregory.net/rapid"

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

// Invariant 11: the log is the truth. Every index can be deleted and comes back identical.
func TestIndexesAreRebuilt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "history.db")
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			rt.Fatal(err)
		}
		var held []event.Event
		for range rapid.IntRange(1, 20).Draw(rt, "calls") {
			if len(held) > 0 && rapid.Bool().Draw(rt, "settle") {
				action := rapid.SampledFrom([]event.Action{event.Deny, event.Log, event.Allow}).Draw(rt, "then")
				if err := storetest.Append(db, storetest.Settle(db.Last()+1, held[0], action)...); err != nil {
					rt.Fatal(err)
				}
				held = held[1:]
				continue
			}
			action := rapid.SampledFrom([]event.Action{event.Deny, event.Hold, event.Log, event.Allow}).Draw(rt, "action")
			session := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(rt, "session")
			tool := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tool")
			call := storetest.Call(db.Last()+1, session, tool, action)
			if err := storetest.Append(db, call...); err != nil {
				rt.Fatal(err)
			}
			if action == event.Hold {
				held = append(held, call[0])
			}
		}
		before := dump(rt, db)
		if err := db.Check(); err != nil {
			rt.Fatal(err)
		}
		if err := db.Rebuild(); err != nil {
			rt.Fatal(err)
		}
		if after := dump(rt, db); after != before {
			rt.Fatalf("before\n%s\nafter\n%s", before, after)
		}
		if err := db.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func dump(t *rapid.T, db *store.DB) string {
	sessions, err1 := db.Sessions()
	tools, err2 := db.Tools()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]any{"sessions": sessions, "tools": tools}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= db.Last(); seq++ {
		result, err := db.ResultOf(seq)
		if err != nil {
			t.Fatal(err)
		}
		settled, err := db.SettledBy(seq)
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Appendf(text, "\n%d -> %d, %d", seq, result, settled)
	}
	return string(text)
}

// A call that is held is one call: it is denied if it did not pass in the end.
func TestIndexesCountAHeldCallOnce(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	for _, action := range []event.Action{event.Deny, event.Log, event.Allow} {
		call := storetest.Call(db.Last()+1, "s1", "x", event.Hold)
		if err := storetest.Append(db, call...); err != nil {
			t.Fatal(err)
		}
		if at, err := db.SettledBy(call[0].Seq); at != 0 || err != nil {
			t.Error(at, err)
		}
		if err := storetest.Append(db, storetest.Settle(db.Last()+1, call[0], action)...); err != nil {
			t.Fatal(err)
		}
		if at, err := db.SettledBy(call[0].Seq); at != db.Last() || err != nil {
			t.Error(at, err)
		}
	}
	if s, err := db.Sessions(); err != nil || s[0].Calls != 3 || s[0].Held != 3 || s[0].Denied != 1 || s[0].Logged != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if tools, err := db.Tools(); err != nil || len(tools) != 1 || tools[0].Calls != 3 || tools[0].Held != 3 || tools[0].Denied != 1 || tools[0].Last != 9 {
		t.Errorf("%+v %v", tools, err)
	}
}

func TestIndexes(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	opened := event.Event{V: 1, Seq: 1, At: storetest.Begin, Session: "s1", Body: &event.Opened{
		Link: "l", Server: "billing", Transport: "http", Peer: event.Peer{Principal: "local:u", Agent: "bot", Client: event.Client{Name: "bot"}, Workspace: "/w"},
	}}
	if err := storetest.Append(db, opened); err != nil {
		t.Fatal(err)
	}
	for _, call := range [][]event.Event{
		storetest.Call(2, "s1", "x", event.Allow), storetest.Call(5, "s1", "x", event.Deny), storetest.Call(7, "s1", "y", event.Log),
	} {
		if err := storetest.Append(db, call...); err != nil {
			t.Fatal(err)
		}
	}
	sessions, err := db.Sessions()
	if err != nil || len(sessions) != 1 {
		t.Fatal(sessions, err)
	}
	s := sessions[0]
	if s.ID != "s1" || s.First != 1 || s.Last != 9 || s.Calls != 3 || s.Denied != 1 || s.Logged != 1 || s.Agent != "bot" || s.Workspace != "/w" ||
		!slices.Equal(s.Servers, []string{"billing"}) {
		t.Errorf("%+v", s)
	}
	tools, err := db.Tools()
	if err != nil || len(tools) != 2 || tools[0].Calls != 2 || tools[0].Denied != 1 || tools[0].Last != 5 || tools[1].Tool != "y" {
		t.Errorf("%+v %v", tools, err)
	}
	if r, err := db.ResultOf(2); r != 4 || err != nil {
		t.Error(r, err)
	}
	if r, err := db.ResultOf(5); r != 0 || err != nil {
		t.Error(r, err)
	}
	if e, found, err := db.Get(5); !found || err != nil || e.Body.Kind() != "call" {
		t.Error(e, found, err)
	}
	if _, found, err := db.Get(99); found || err != nil {
		t.Error(found, err)
	}
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
	// By size: everything goes that may go.
	if n, err := db.Prune(store.Retention{Before: at(0), MaxBytes: 1, Floor: at(10_000)}); err != nil || n != 301-168-1 {
		t.Errorf("%d events removed, %v", n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = storetest.Open(t, store.Config{Path: path})
	if db.Last() != 301 {
		t.Errorf("after pruning everything, the log goes on at %d", db.Last()+1)
	}
	if err := storetest.Append(db, storetest.Call(302, "s9", "x", event.Allow)...); err != nil {
		t.Error(err)
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

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		for _, async := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/async=%v", callers, async), func(b *testing.B) {
				db, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "history.db"), Async: async})
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close() //nolint:errcheck // not what is measured
				turns := make(chan struct{}, callers)
				var wg sync.WaitGroup
				next := uint64(1)
				for b.Loop() {
					turns <- struct{}{}
					wg.Add(1)
					db.Append(storetest.Call(next, "s1", "x", event.Allow), func(err error) {
						if err != nil {
							b.Error(err)
						}
						<-turns
						wg.Done()
					})
					next += 3
				}
				wg.Wait()
			})
		}
	}
}
