package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/umpire-dev/umpire/rules/event"
)

// Session is what the index knows of a session.
type Session struct {
	ID        string       `json:"id"`
	First     uint64       `json:"first"` // Seq of its first and last event
	Last      uint64       `json:"last"`
	Opened    event.Time   `json:"opened"`
	Active    event.Time   `json:"active"`
	Principal string       `json:"principal"`
	Agent     string       `json:"agent"`
	Client    event.Client `json:"client"`
	Workspace string       `json:"workspace,omitempty"`
	Servers   []string     `json:"servers"`
	Calls     int          `json:"calls"`
	Denied    int          `json:"denied"`
	Logged    int          `json:"logged"` // calls that passed with a note
	Failed    int          `json:"failed"` // calls that passed and failed
}

// Tool is what the index knows of the use of a tool.
type Tool struct {
	Server string     `json:"server"`
	Tool   string     `json:"tool"`
	Calls  int        `json:"calls"`
	Denied int        `json:"denied"`
	Last   uint64     `json:"last"` // Seq of the newest call
	Used   event.Time `json:"used"`
}

// indexer collects what a batch of events changes, so that each index entry is written once a commit.
type indexer struct {
	sessions map[string][]event.Event
	results  map[uint64]uint64 // call -> result
	calls    map[uint64]*event.Call
	verdicts []event.Event
}

func newIndexer() *indexer {
	return &indexer{sessions: map[string][]event.Event{}, results: map[uint64]uint64{}, calls: map[uint64]*event.Call{}}
}

func (ix *indexer) add(e event.Event) {
	if e.Session != "" {
		ix.sessions[e.Session] = append(ix.sessions[e.Session], e)
	}
	switch b := e.Body.(type) {
	case *event.Call:
		ix.calls[e.Seq] = b
	case *event.Verdict:
		ix.verdicts = append(ix.verdicts, e)
	case *event.Result:
		ix.results[e.Cause] = e.Seq
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Signal, *event.Closed:
	}
}

func (ix *indexer) flush(tx *bbolt.Tx) error {
	sessions := tx.Bucket(bucketSessions)
	for id, events := range ix.sessions {
		s := Session{ID: id, First: events[0].Seq, Opened: events[0].At}
		if text := sessions.Get([]byte(id)); text != nil {
			if err := json.Unmarshal(text, &s); err != nil {
				return fmt.Errorf("session %s: %w", id, err)
			}
		}
		for _, e := range events {
			s.add(e)
		}
		if err := put(sessions, []byte(id), s); err != nil {
			return err
		}
	}
	calls := tx.Bucket(bucketCalls)
	for call, result := range ix.results {
		if err := calls.Put(seqKey(call), seqKey(result)); err != nil {
			return fmt.Errorf("call %d: %w", call, err)
		}
	}
	return ix.flushTools(tx.Bucket(bucketTools))
}

func (ix *indexer) flushTools(bucket *bbolt.Bucket) error {
	tools := map[string]*Tool{}
	for _, v := range ix.verdicts {
		c := ix.calls[v.Cause] // a call and its verdict are appended together
		if c == nil {
			continue
		}
		key := c.Server + "\x00" + c.Tool
		t := tools[key]
		if t == nil {
			t = &Tool{Server: c.Server, Tool: c.Tool}
			if text := bucket.Get([]byte(key)); text != nil {
				if err := json.Unmarshal(text, t); err != nil {
					return fmt.Errorf("tool %s/%s: %w", c.Server, c.Tool, err)
				}
			}
			tools[key] = t
		}
		t.Calls++
		if !v.Body.(*event.Verdict).Action.Passes() {
			t.Denied++
		}
		t.Last, t.Used = v.Cause, v.At
	}
	for key, t := range tools {
		if err := put(bucket, []byte(key), t); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) add(e event.Event) {
	s.Last, s.Active = e.Seq, e.At
	switch b := e.Body.(type) {
	case *event.Opened:
		s.Principal, s.Agent, s.Client, s.Workspace = b.Principal, b.Agent, b.Client, b.Workspace
		if i, found := slices.BinarySearch(s.Servers, b.Server); !found {
			s.Servers = slices.Insert(s.Servers, i, b.Server)
		}
	case *event.Call:
		s.Calls++
	case *event.Verdict:
		switch b.Action {
		case event.Deny:
			s.Denied++
		case event.Log:
			s.Logged++
		case event.Allow:
		}
	case *event.Result:
		if b.Outcome.Failed() {
			s.Failed++
		}
	case *event.Loaded, *event.Catalog, *event.Signal, *event.Closed:
	}
}

func put(b *bbolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = b.Put(key, text)
	}
	if err != nil {
		return fmt.Errorf("index %q: %w", key, err)
	}
	return nil
}

// Sessions returns every session, the most recently active first.
func (db *DB) Sessions() ([]Session, error) {
	var out []Session
	err := db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSessions).ForEach(func(_, v []byte) error {
			var s Session
			if err := json.Unmarshal(v, &s); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			out = append(out, s)
			return nil
		})
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Last > out[j].Last })
	return out, err
}

// Tools returns every tool that was called, by server and name.
func (db *DB) Tools() ([]Tool, error) {
	var out []Tool
	err := db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTools).ForEach(func(_, v []byte) error {
			var t Tool
			if err := json.Unmarshal(v, &t); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			out = append(out, t)
			return nil
		})
	})
	return out, err
}

// Get returns the event with the given Seq; found is false if there is none.
func (db *DB) Get(seq uint64) (e event.Event, found bool, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		text := tx.Bucket(bucketEvents).Get(seqKey(seq))
		if text == nil {
			return nil
		}
		found = true
		return e.UnmarshalJSON(text)
	})
	return e, found, err
}

// ResultOf returns the Seq of the result of a call, 0 if there is none yet.
func (db *DB) ResultOf(call uint64) (result uint64, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketCalls).Get(seqKey(call)); v != nil {
			result = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	return result, err
}

// Rebuild makes the indexes again from the events.
func (db *DB) Rebuild() error {
	return db.do(func(tx *bbolt.Tx) error { return rebuild(tx, tx) })
}

// rebuild indexes the events of from into into, whose indexes it deletes first.
func rebuild(from, into *bbolt.Tx) error {
	for _, name := range [][]byte{bucketSessions, bucketCalls, bucketTools} {
		if err := into.DeleteBucket(name); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
			return fmt.Errorf("store: %w", err)
		}
		if _, err := into.CreateBucket(name); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	ix := newIndexer()
	n := 0
	err := from.Bucket(bucketEvents).ForEach(func(_, v []byte) error {
		var e event.Event
		if err := e.UnmarshalJSON(v); err != nil {
			return err
		}
		ix.add(e)
		n++
		if _, call := e.Body.(*event.Call); n >= 1000 && !call { // never between a call and its verdict
			err := ix.flush(into)
			ix, n = newIndexer(), 0
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ix.flush(into)
}

// sameBucket reports whether a bucket holds the same keys and values in both transactions.
func sameBucket(a, b *bbolt.Tx, name []byte) bool {
	x, y := a.Bucket(name).Cursor(), b.Bucket(name).Cursor()
	k, v := x.First()
	l, w := y.First()
	for k != nil && l != nil && bytes.Equal(k, l) && bytes.Equal(v, w) {
		k, v = x.Next()
		l, w = y.Next()
	}
	return k == nil && l == nil
}
