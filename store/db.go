// Package store keeps the history: one bbolt file, one writer.
//
// The bucket "events" (big-endian Seq -> JSON) is the truth. The buckets "sessions", "calls" and "tools" are indexes
// that Open and Rebuild make again from the events, and "snapshots" saves folding them. "meta" holds the format version, the key of redacted values and what
// retention has removed.
package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/umpire-dev/umpire/rules/event"
)

// indexes is the version of the indexes; those of another one are made again.
const indexes = "2"

// Format is the version of the file that this package reads and writes.
const Format = 1

var (
	bucketEvents   = []byte("events")
	bucketSessions = []byte("sessions")
	bucketCalls    = []byte("calls")
	bucketTools    = []byte("tools")
	bucketMeta     = []byte("meta")

	keyFormat = []byte("format")
	keySecret = []byte("redaction-key")
	keyPruned = []byte("pruned")

	keyIndexes  = []byte("indexes")
	keyImported = []byte("imported")
)

// The errors of Open.
var (
	ErrLocked  = errors.New("store: another umpire has the history open")
	ErrDamaged = errors.New("store: the history is damaged")
	ErrFormat  = errors.New("store: the history was written by another version of umpire")
	ErrMissing = errors.New("store: there is no history")
	// ErrImported says that the history is an imported one, which nobody may continue, or that it was to be one and is not.
	ErrImported = errors.New("store: an imported history is for reading")
	ErrIndexes  = errors.New("store: the indexes of the history are missing") // with Config.ReadOnly; else they are made again
)

// Config says where the history is and how it is kept.
type Config struct {
	Path     string
	ReadOnly bool // fail with ErrMissing instead of creating the file
	// Imported makes a history of what happened elsewhere. It can be read, and written only with Imported: nothing live is judged
	// by it.
	Imported bool
	// Async lets Append return before the commit: events are committed every 10 ms, and a crash may lose that much.
	Async bool
	// MaxFile bounds the file in bytes; a commit that needs more fails. 0 is no bound.
	MaxFile int
	// LockWait is how long to wait for another process to close the file; 0 is one second.
	LockWait time.Duration
	Log      *slog.Logger // nil discards
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	if c.Path == "" {
		return errors.New("store: want a path")
	}
	return nil
}

// DB is an open history.
type DB struct {
	bolt   *bbolt.DB
	path   string
	async  bool
	log    *slog.Logger
	secret []byte

	imported bool

	mu      sync.Mutex
	queue   []pending
	last    uint64        // Seq of the newest event that is committed
	next    uint64        // Seq that the next Append has to begin with
	failed  error         // why the last commit failed; cleared by an Append that begins anew after last
	wake    chan struct{} // holds one token while there is something to do
	changed chan struct{} // closed at the next commit, also if it fails
	closed  bool
	stopped chan struct{} // closed when the writer has ended
	jobs    []func(*bbolt.Tx) error
	results []chan error
	buf     []byte // of the writer
}

// Open opens the history, and creates it unless cfg.ReadOnly.
func Open(cfg Config) (db *DB, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // the file is mapped; a part of it that is gone faults
	defer func() {                                           // bbolt panics on some kinds of damage
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %s: %v", ErrDamaged, cfg.Path, r)
		}
	}()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = time.Second
	}
	info, err := os.Stat(cfg.Path)
	switch missing := errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0; {
	case missing && cfg.ReadOnly:
		return nil, fmt.Errorf("%w at %s", ErrMissing, cfg.Path)
	case missing:
		if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	case !cfg.ReadOnly:
		if err := probe(cfg); err != nil {
			return nil, err
		}
	}
	bolt, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
		Timeout: cfg.LockWait, ReadOnly: cfg.ReadOnly, MaxSize: cfg.MaxFile, FreelistType: bbolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrLocked, cfg.Path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrFreePagesNotLoaded), err != nil && strings.Contains(err.Error(), "file size too small"):
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, cfg.Path, err)
	case err != nil:
		return nil, fmt.Errorf("store: %s: %w", cfg.Path, err)
	}
	db = &DB{
		bolt: bolt, path: cfg.Path, async: cfg.Async, log: cfg.Log,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := db.prepare(cfg); err != nil {
		bolt.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	if cfg.ReadOnly {
		close(db.stopped)
	} else {
		go db.write()
	}
	return db, nil
}

// probe reports whether a history can be read, before anything is written to it.
func probe(cfg Config) error {
	cfg.ReadOnly = true
	db, err := Open(cfg)
	switch {
	case errors.Is(err, ErrIndexes), errors.Is(err, ErrMissing): // what is missing can be made
		return nil
	case err != nil:
		return err
	}
	return db.Close()
}

// prepare creates or checks the buckets and reads where the log ends.
func (db *DB) prepare(cfg Config) error {
	setup := func(tx *bbolt.Tx) error {
		if info, err := os.Stat(db.path); err != nil || info.Size() < tx.Size() {
			return fmt.Errorf("%w: %s is cut off: it should have %d bytes", ErrDamaged, db.path, tx.Size())
		}
		meta := tx.Bucket(bucketMeta)
		if name, _ := tx.Cursor().First(); name == nil { // its maker did not live to fill it
			return fmt.Errorf("%w at %s", ErrMissing, db.path)
		}
		if meta == nil {
			return fmt.Errorf("%w: %s has no meta bucket", ErrDamaged, db.path)
		}
		if got := string(meta.Get(keyFormat)); got != fmt.Sprint(Format) {
			return fmt.Errorf("%w: %s has format %q, this one knows %d", ErrFormat, db.path, got, Format)
		}
		db.imported = meta.Get(keyImported) != nil
		if !cfg.ReadOnly && db.imported != cfg.Imported {
			return fmt.Errorf("%w: %s", ErrImported, db.path)
		}
		db.secret = append([]byte(nil), meta.Get(keySecret)...)
		if tx.Bucket(bucketEvents) == nil {
			return fmt.Errorf("%w: %s has no bucket %s", ErrDamaged, db.path, bucketEvents)
		}
		if !indexed(tx) {
			if cfg.ReadOnly {
				return fmt.Errorf("%w: %s", ErrIndexes, db.path)
			}
			if err := rebuild(tx, tx); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrDamaged, db.path, err)
			}
		}
		if k, _ := tx.Bucket(bucketEvents).Cursor().Last(); k != nil {
			db.last = binary.BigEndian.Uint64(k)
		}
		var p Pruned
		if text := meta.Get(keyPruned); text != nil {
			if err := json.Unmarshal(text, &p); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrDamaged, db.path, err)
			}
		}
		db.last = max(db.last, p.Seq)
		db.next = db.last + 1
		return nil
	}
	if cfg.ReadOnly {
		return db.bolt.View(setup)
	}
	return db.bolt.Update(func(tx *bbolt.Tx) error {
		if err := create(tx, cfg.Imported); err != nil {
			return err
		}
		return setup(tx)
	})
}

// indexed reports whether the indexes are there, and of this version.
func indexed(tx *bbolt.Tx) bool {
	return string(tx.Bucket(bucketMeta).Get(keyIndexes)) == indexes && tx.Bucket(bucketSessions) != nil && tx.Bucket(bucketCalls) != nil && tx.Bucket(bucketTools) != nil
}

func create(tx *bbolt.Tx, imported bool) error {
	if name, _ := tx.Cursor().First(); name != nil {
		return nil // not new
	}
	for _, name := range [][]byte{bucketEvents, bucketSessions, bucketCalls, bucketTools, bucketMeta} {
		if _, err := tx.CreateBucket(name); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	secret := make([]byte, 32)
	rand.Read(secret) //nolint:errcheck // never fails
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keySecret, secret); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := meta.Put(keyIndexes, []byte(indexes)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if imported {
		if err := meta.Put(keyImported, []byte("1")); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return meta.Put(keyFormat, fmt.Append(nil, Format))
}

// Path returns the path of the file.
func (db *DB) Path() string { return db.path }

// Secret returns the key for the digests that stand for redacted values: 32 random bytes, made with the file.
func (db *DB) Secret() []byte { return db.secret }

// Imported reports whether the history is one that was imported.
func (db *DB) Imported() bool { return db.imported }

// Last returns the Seq of the newest committed event, 0 if there is none.
func (db *DB) Last() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.last
}

// Events yields the committed events from Seq from on, in order. It waits until what was appended before is committed, or
// has failed to be. It holds no transaction while the caller works.
func (db *DB) Events(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		db.settle()
		decode(db.stored(from), nil)(yield)
	}
}

// settle waits for what is queued.
func (db *DB) settle() {
	db.mu.Lock()
	defer db.mu.Unlock()
	for end := db.next; db.last+1 < end && db.failed == nil && !db.closed; {
		changed := db.changed
		db.mu.Unlock()
		<-changed
		db.mu.Lock()
	}
}

// Raw yields the committed events from Seq from on as they are stored.
func (db *DB) Raw(from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for s, err := range db.stored(from) {
			if !yield(s.raw, err) {
				return
			}
		}
	}
}

func (db *DB) stored(from uint64) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		const chunk = 512
		for {
			batch := make([]stored, 0, chunk)
			err := db.view(func(tx *bbolt.Tx) error {
				for s, err := range storedIn(tx, from) {
					if batch = append(batch, s); err != nil || len(batch) == chunk {
						return err
					}
				}
				return nil
			})
			if err != nil {
				yield(stored{}, err)
				return
			}
			for _, s := range batch {
				if !yield(s, nil) {
					return
				}
				from = s.seq + 1
			}
			if len(batch) < chunk {
				return
			}
		}
	}
}

// storedIn yields the events from Seq from on that a transaction sees. The error is always nil.
func storedIn(tx *bbolt.Tx, from uint64) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		c := tx.Bucket(bucketEvents).Cursor()
		for k, v := c.Seek(seqKey(from)); k != nil; k, v = c.Next() {
			if !yield(stored{binary.BigEndian.Uint64(k), append(json.RawMessage(nil), v...)}, nil) {
				return
			}
		}
	}
}

// Watch yields the events from Seq from on, and waits for more until done is closed or the DB is.
func (db *DB) Watch(done <-chan struct{}, from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for {
			db.mu.Lock()
			changed, last, closed := db.changed, db.last, db.closed
			db.mu.Unlock()
			if last >= from {
				for s, err := range db.stored(from) {
					from = s.seq + 1
					if errors.Is(err, berrors.ErrDatabaseNotOpen) || !yield(s.raw, err) || err != nil {
						return
					}
				}
			}
			if closed {
				return
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}
}

// view runs f in a read transaction. Damage that makes bbolt panic is an error.
func (db *DB) view(f func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, db.path, r)
		}
	}()
	err = db.bolt.View(f)
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("store: %w", err)
}

// Close commits what is queued and closes the file.
func (db *DB) Close() error {
	db.mu.Lock()
	already := db.closed
	db.closed = true
	db.mu.Unlock()
	if already {
		return nil
	}
	db.signal()
	<-db.stopped
	db.mu.Lock()
	close(db.changed)
	db.mu.Unlock()
	if err := db.bolt.Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
