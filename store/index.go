package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	Calls     int          `json:"calls"`          // that were judged
	Denied    int          `json:"denied"`         // calls that did not pass in the end
	Held      int          `json:"held"`           // calls that waited for a person, whatever became of them
	Logged    int          `json:"logged"`         // calls that passed with a note
	Failed    int          `json:"failed"`         // calls that passed and failed
	Seen      int          `json:"seen,omitempty"` // calls that nobody could judge
}

// Tool is what the index knows of the use of a tool.
type Tool struct {
	Server string     `json:"server"`
	Tool   string     `json:"tool"`
	Calls  int        `json:"calls"`
	Denied int        `json:"denied"`
	Held   int        `json:"held"`
	Last   uint64     `json:"last"` // Seq of the newest call
	Used   event.Time `json:"used"`
	Users  []User     `json:"users"` // the maxUsers newest, the newest first
}

// User is an agent that has called a tool.
type User struct {
	Agent string     `json:"agent"`
	Calls int        `json:"calls"`
	Used  event.Time `json:"used"`
}

// maxUsers bounds Tool.Users: agents choose their names.
const maxUsers = 20

// used counts a call of an agent.
func (t *Tool) used(agent string, at event.Time) {
	u := User{Agent: agent}
	if i := slices.IndexFunc(t.Users, func(u User) bool { return u.Agent == agent }); i >= 0 {
		u = t.Users[i]
		t.Users = slices.Delete(t.Users, i, i+1)
	}
	u.Calls++
	u.Used = at
	t.Users = slices.Insert(t.Users, 0, u)
	t.Users = t.Users[:min(len(t.Users), maxUsers)]
}

// indexer collects what a batch of events changes, so that each index entry is written once a commit.
type indexer struct {
	sessions map[string][]event.Event
	results  map[uint64]uint64    // call -> result
	settled  map[uint64]uint64    // call -> the verdict that ended its hold
	tools    map[uint64]toolNamed // what was judged: a call, or the review or expiry that ended its hold
	verdicts []event.Event
}

type toolNamed struct{ server, tool, agent string }

func newIndexer() *indexer {
	return &indexer{
		sessions: map[string][]event.Event{}, results: map[uint64]uint64{}, settled: map[uint64]uint64{}, tools: map[uint64]toolNamed{},
	}
}

func (ix *indexer) add(e event.Event) {
	if e.Session != "" {
		ix.sessions[e.Session] = append(ix.sessions[e.Session], e)
	}
	switch b := e.Body.(type) {
	case *event.Call: // without a verdict it is looked up by nobody
		ix.tools[e.Seq] = toolNamed{b.Server, b.Tool, b.Agent}
	case *event.Review:
		ix.tools[e.Seq] = toolNamed{server: b.Server, tool: b.Tool}
	case *event.Expired:
		ix.tools[e.Seq] = toolNamed{server: b.Server, tool: b.Tool}
	case *event.Verdict:
		ix.verdicts = append(ix.verdicts, e)
		if b.After != 0 {
			ix.settled[e.Cause] = e.Seq
		}
	case *event.Result:
		ix.results[e.Cause] = e.Seq
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Signal, *event.Turn, *event.Closed:
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
	for _, call := range slices.Sorted(maps.Keys(ix.results)) { // in order: bbolt moves what stands behind a new key
		if err := calls.Put(seqKey(call), seqKey(ix.results[call])); err != nil {
			return fmt.Errorf("call %d: %w", call, err)
		}
	}
	for _, call := range slices.Sorted(maps.Keys(ix.settled)) {
		if err := calls.Put(settledKey(call), seqKey(ix.settled[call])); err != nil {
			return fmt.Errorf("call %d: %w", call, err)
		}
	}
	return ix.flushTools(tx.Bucket(bucketTools))
}

func (ix *indexer) flushTools(bucket *bbolt.Bucket) error {
	tools := map[string]*Tool{}
	for _, v := range ix.verdicts {
		b := v.Body.(*event.Verdict)
		judged := v.Cause // is appended together with its verdict
		if b.After != 0 {
			judged = b.After
		}
		c, ok := ix.tools[judged]
		if !ok {
			continue
		}
		key := c.server + "\x00" + c.tool
		t := tools[key]
		if t == nil {
			t = &Tool{Server: c.server, Tool: c.tool}
			if text := bucket.Get([]byte(key)); text != nil {
				if err := json.Unmarshal(text, t); err != nil {
					return fmt.Errorf("tool %s/%s: %w", c.server, c.tool, err)
				}
			}
			tools[key] = t
		}
		if b.After == 0 {
			t.Calls++
			t.Last, t.Used = v.Cause, v.At
			t.used(c.agent, v.At)
		}
		switch b.Action {
		case event.Deny:
			t.Denied++
		case event.Hold:
			t.Held++
		case event.Log, event.Allow:
		}
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
		if b.Seen {
			s.Seen++
		} else {
			s.Calls++
		}
	case *event.Verdict:
		switch b.Action {
		case event.Deny:
			s.Denied++
		case event.Hold:
			s.Held++
		case event.Log:
			s.Logged++
		case event.Allow:
		}
	case *event.Result:
		if b.Outcome.Failed() && !b.Seen {
			s.Failed++
		}
	case *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
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

// Session returns what the index knows of one session; found is false if it knows nothing.
func (db *DB) Session(id string) (s Session, found bool, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		text := tx.Bucket(bucketSessions).Get([]byte(id))
		if text == nil {
			return nil
		}
		found = true
		return json.Unmarshal(text, &s)
	})
	return s, found, err
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

// settledKey is the key under which the index of calls has the verdict that ended a hold.
func settledKey(call uint64) []byte { return append(seqKey(call), 'v') }

// SettledBy returns the Seq of the verdict that ended the hold of a call, 0 if there was no hold or it goes on.
func (db *DB) SettledBy(call uint64) (verdict uint64, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketCalls).Get(settledKey(call)); v != nil {
			verdict = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	return verdict, err
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
	if err := into.Bucket(bucketMeta).Put(keyIndexes, []byte(indexes)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	ix := newIndexer()
	n := 0
	for e, err := range decode(storedIn(from, 0), nil) {
		if err != nil {
			return err
		}
		ix.add(e)
		n++
		if n >= 1000 && !awaitsVerdict(e) {
			if err := ix.flush(into); err != nil {
				return err
			}
			ix, n = newIndexer(), 0
		}
	}
	return ix.flush(into)
}

// awaitsVerdict reports whether the verdict on e comes right after it, in the same batch.
func awaitsVerdict(e event.Event) bool {
	switch b := e.Body.(type) {
	case *event.Call:
		return !b.Seen
	case *event.Review, *event.Expired:
		return true
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	return false
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
