package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/event"
)

// asyncEvery is how long an asynchronous Append waits for company.
const asyncEvery = 10 * time.Millisecond

// maxBuf is how many bytes of a commit are kept for the next one.
const maxBuf = 4 << 20

// ErrClosed says that the DB is closed.
var ErrClosed = errors.New("store: closed")

// ErrGap says that an Append does not continue the log: an append before it failed, and what followed it was decided on
// events that are not there. The caller has to refold from Events and go on from Last.
var ErrGap = errors.New("store: events do not continue the log")

// pending is an Append that waits for its commit.
type pending struct {
	events []event.Event
	done   func(error)
}

// Append queues events, whose Seqs must continue the log without gap, and returns at once. Calls are committed in their
// order. done is called exactly once, when the events are on disk or cannot get there; after an error nothing that was
// queued behind is written either, and everything is refused until an Append continues what is on disk.
// With Config.Async, done is called at once.
func (db *DB) Append(events []event.Event, done func(error)) {
	db.mu.Lock()
	err := db.enqueue(events, done)
	db.mu.Unlock()
	if err != nil {
		done(err)
		return
	}
	db.signal()
	if db.async {
		done(nil)
	}
}

func (db *DB) enqueue(events []event.Event, done func(error)) error {
	switch {
	case db.closed:
		return ErrClosed
	case db.failed != nil && len(db.queue) == 0 && events[0].Seq == db.last+1:
		db.failed, db.next = nil, db.last+1
	case db.failed != nil:
		return db.failed
	}
	for i, e := range events {
		if e.Seq != db.next+uint64(i) {
			return fmt.Errorf("%w: %d where %d is next", ErrGap, e.Seq, db.next+uint64(i))
		}
	}
	db.next += uint64(len(events))
	if db.async {
		done = func(err error) {
			if err != nil {
				db.log.Error("events that were already released could not be written", "error", err)
			}
		}
	}
	db.queue = append(db.queue, pending{events: events, done: done})
	return nil
}

func (db *DB) signal() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// write is the one writer: it commits whatever is queued, again and again.
func (db *DB) write() {
	defer close(db.stopped)
	for range db.wake {
		if db.async {
			time.Sleep(asyncEvery)
		}
		db.mu.Lock()
		batch, jobs, results, closed := db.queue, db.jobs, db.results, db.closed
		db.queue, db.jobs, db.results = nil, nil, nil
		db.mu.Unlock()
		if len(batch) > 0 {
			db.commit(batch)
		}
		for i, job := range jobs {
			results[i] <- db.update(job)
		}
		if closed {
			return
		}
	}
}

// commit writes a batch in one transaction and tells everybody who waits.
func (db *DB) commit(batch []pending) {
	err := db.update(func(tx *bbolt.Tx) error {
		events := tx.Bucket(bucketEvents)
		events.FillPercent = 0.95 // keys only grow
		ix := newIndexer()
		buf := db.buf[:0] // bbolt wants keys and values to stay as they are until the commit
		for _, p := range batch {
			for _, e := range p.events {
				from := len(buf)
				buf = binary.BigEndian.AppendUint64(buf, e.Seq)
				to := len(buf)
				var err error
				if buf, err = e.AppendJSON(buf); err != nil {
					return fmt.Errorf("event %d: %w", e.Seq, err)
				}
				if err := events.Put(buf[from:to:to], buf[to:len(buf):len(buf)]); err != nil {
					return fmt.Errorf("event %d: %w", e.Seq, err)
				}
				ix.add(e)
			}
		}
		if db.buf = buf; cap(buf) > maxBuf {
			db.buf = nil
		}
		return ix.flush(tx)
	})
	db.mu.Lock()
	var orphans []pending
	if err != nil {
		db.failed = fmt.Errorf("store: the history cannot be written: %w", err)
		err = db.failed
		orphans, db.queue = db.queue, nil
	} else {
		tail := batch[len(batch)-1].events
		db.last = tail[len(tail)-1].Seq
	}
	close(db.changed)
	db.changed = make(chan struct{})
	db.mu.Unlock()
	for _, p := range append(batch, orphans...) {
		p.done(err)
	}
}

// update runs f in a write transaction. Damage that makes bbolt panic is an error.
func (db *DB) update(f func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, db.path, r)
		}
	}()
	return db.bolt.Update(f)
}

// do runs f in a write transaction of the writer, between two commits, and waits for it.
func (db *DB) do(f func(*bbolt.Tx) error) error {
	result := make(chan error, 1)
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	db.jobs, db.results = append(db.jobs, f), append(db.results, result)
	db.mu.Unlock()
	db.signal()
	return <-result
}
