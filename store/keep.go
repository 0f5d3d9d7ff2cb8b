package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/event"
)

// Pruned says what retention has removed: events up to Seq, the newest of which happened at At. Loaded, Catalog,
// Accepted, Exception and Revoked events are kept, since later verdicts depend on them whatever their age, and so is the
// newest Promoted one: a baseline is a whole file, and those before it judge nothing that is left.
type Pruned struct {
	Seq uint64     `json:"seq"`
	At  event.Time `json:"at"`
}

// Pruned returns what retention has removed; zero if nothing was.
func (db *DB) Pruned() (p Pruned, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		if text := tx.Bucket(bucketMeta).Get(keyPruned); text != nil {
			return json.Unmarshal(text, &p)
		}
		return nil
	})
	return p, err
}

// Skip says of an imported history that nothing is known of what came before next and has not been appended: it counts as removed by
// retention up to at. The next Append begins with next.
func (db *DB) Skip(next uint64, at event.Time) error {
	if !db.imported {
		return fmt.Errorf("%w: nothing is left out of one that goes on", ErrImported)
	}
	err := db.do(func(tx *bbolt.Tx) error {
		if last, _ := tx.Bucket(bucketEvents).Cursor().Last(); last != nil && bytes.Compare(last, seqKey(next)) >= 0 {
			return fmt.Errorf("%w: %d is not behind the last one", ErrGap, next)
		}
		return put(tx.Bucket(bucketMeta), keyPruned, Pruned{Seq: next - 1, At: at})
	})
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.last, db.next = next-1, next
	return nil
}

// Retention says what to keep.
type Retention struct {
	Before   event.Time // remove what happened before
	MaxBytes int64      // then remove the oldest until the file uses no more than this; 0 is no bound
	Floor    event.Time // but never what happened at or after Floor: a window can still need it
}

// Prune removes old events and returns how many. Pages that become free are used again; the file does not shrink.
func (db *DB) Prune(r Retention) (removed int, err error) {
	for {
		const chunk = 1000
		n, more := 0, false
		err := db.do(func(tx *bbolt.Tx) error {
			used := tx.Size() - int64(db.bolt.Stats().FreePageN*db.bolt.Info().PageSize)
			before := min(r.Before, r.Floor)
			if r.MaxBytes > 0 && used > r.MaxBytes {
				before = r.Floor
			}
			var err error
			n, more, err = prune(tx, before, chunk)
			return err
		})
		removed += n
		if err != nil || !more {
			return removed, err
		}
	}
}

// prune takes about limit events that happened before and removes those that need not be kept; more says that there may
// be more of them. It never parts a verdict from what it follows: a history that begins with a verdict cannot be replayed.
// Nor does it remove the newest event and what happened with it, whatever its age: the log goes on from there, in Seq and
// in time.
func prune(tx *bbolt.Tx, before event.Time, limit int) (n int, more bool, err error) {
	meta := tx.Bucket(bucketMeta)
	var p Pruned
	if text := meta.Get(keyPruned); text != nil {
		if err := json.Unmarshal(text, &p); err != nil {
			return 0, false, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	var gone []event.Event
	events := tx.Bucket(bucketEvents)
	c := events.Cursor()
	if k, v := c.Last(); k != nil {
		var newest event.Event
		if err := newest.UnmarshalJSON(v); err != nil {
			return 0, false, err
		}
		before = min(before, newest.At)
	}
	for k, v := c.Seek(seqKey(p.Seq + 1)); k != nil; k, v = c.Next() {
		var e event.Event
		if err := e.UnmarshalJSON(v); err != nil {
			return 0, false, err
		}
		_, follows := e.Body.(*event.Verdict)
		if more = len(gone) >= limit && !follows; more || e.At >= before {
			break
		}
		gone = append(gone, e)
	}
	if len(gone) == 0 {
		return 0, false, nil
	}
	calls := tx.Bucket(bucketCalls)
	n, err = pruneBaselines(events, gone)
	if err != nil {
		return 0, false, err
	}
	for _, e := range gone {
		switch e.Body.(type) {
		case *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked:
			continue
		case *event.Opened, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
		if err := events.Delete(seqKey(e.Seq)); err != nil {
			return 0, false, fmt.Errorf("store: %w", err)
		}
		for _, key := range [][]byte{seqKey(e.Cause), settledKey(e.Cause)} {
			if err := calls.Delete(key); err != nil {
				return 0, false, fmt.Errorf("store: %w", err)
			}
		}
		n++
	}
	tail := gone[len(gone)-1]
	if err := put(meta, keyPruned, Pruned{Seq: tail.Seq, At: tail.At}); err != nil {
		return 0, false, err
	}
	return n, more, errors.Join(pruneSessions(tx, tail.Seq), pruneSnapshots(tx, tail.Seq))
}

// pruneBaselines removes the baselines that were in force before the newest one among gone, which are all events that were not
// removed before, and returns how many.
func pruneBaselines(events *bbolt.Bucket, gone []event.Event) (n int, err error) {
	newest := uint64(0)
	for _, e := range gone {
		if _, ok := e.Body.(*event.Promoted); ok {
			newest = e.Seq
		}
	}
	c := events.Cursor()
	var old [][]byte
	for k, v := c.First(); k != nil && bytes.Compare(k, seqKey(newest)) < 0; k, v = c.Next() {
		if !bytes.Contains(v[:min(len(v), 1<<10)], []byte(`"promoted":{`)) { // of those that are kept, few are none
			continue
		}
		var e event.Event
		if err := e.UnmarshalJSON(v); err != nil {
			return 0, err
		}
		if _, ok := e.Body.(*event.Promoted); ok {
			old = append(old, bytes.Clone(k))
		}
	}
	for _, k := range old {
		if err := events.Delete(k); err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
	}
	return len(old), nil
}

// pruneSessions removes the sessions that ended before seq.
func pruneSessions(tx *bbolt.Tx, seq uint64) error {
	b := tx.Bucket(bucketSessions)
	var gone [][]byte
	err := b.ForEach(func(k, v []byte) error {
		var s Session
		if err := json.Unmarshal(v, &s); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if s.Last <= seq {
			gone = append(gone, append([]byte(nil), k...))
		}
		return nil
	})
	for _, k := range gone {
		err = errors.Join(err, b.Delete(k))
	}
	return err
}

// Check reads the whole file: its pages, every event, their order, and the indexes against the events. Where retention
// has removed events, the indexes remember more than the events tell, and only the order is checked.
func (db *DB) Check() error {
	pruned, err := db.Pruned()
	if err != nil {
		return err
	}
	return db.view(func(tx *bbolt.Tx) error {
		var found []error
		for err := range tx.Check() {
			found = append(found, fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		found = append(found, checkEvents(tx, pruned))
		if pruned.Seq == 0 {
			found = append(found, checkIndexes(tx))
		}
		return errors.Join(found...)
	})
}

func checkEvents(tx *bbolt.Tx, pruned Pruned) error {
	chain := Chain{Pruned: pruned}
	for e, err := range decode(storedIn(tx, 0), nil) {
		if err == nil {
			err = chain.Add(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Chain checks that events, from the first one on, are all of a history: none is missing but what retention has removed, and
// they stand in the order in which they happened.
type Chain struct {
	Pruned
	seq uint64 // of the event before
	at  event.Time
}

// Add says what is wrong with the next event: an ErrDamaged.
func (c *Chain) Add(e event.Event) error {
	switch {
	case e.Seq != c.seq+1 && e.Seq > c.Seq+1:
		return fmt.Errorf("%w: event %d follows %d", ErrDamaged, e.Seq, c.seq)
	case e.At < c.at:
		return fmt.Errorf("%w: event %d happened before the one before it", ErrDamaged, e.Seq)
	case e.Cause >= e.Seq:
		return fmt.Errorf("%w: event %d is its own cause or caused by a later one", ErrDamaged, e.Seq)
	}
	c.seq, c.at = e.Seq, e.At
	return nil
}

// checkIndexes rebuilds the indexes in a scratch file and compares.
func checkIndexes(tx *bbolt.Tx) error {
	dir, err := os.MkdirTemp("", "umpire-check-")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	scratch, err := bbolt.Open(filepath.Join(dir, "index.db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer scratch.Close() //nolint:errcheck // not used again
	return scratch.Update(func(into *bbolt.Tx) error {
		if err := create(into, false); err != nil {
			return err
		}
		if err := rebuild(tx, into); err != nil {
			return err
		}
		for _, name := range [][]byte{bucketSessions, bucketCalls, bucketTools} {
			if !sameBucket(tx, into, name) {
				return fmt.Errorf("%w: index %s does not say what the events say", ErrDamaged, name)
			}
		}
		return nil
	})
}
