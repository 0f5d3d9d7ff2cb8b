package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// ErrSnapshot says that the snapshot in the file is not of this history, or damaged. The history itself is whole.
var ErrSnapshot = errors.New("store: the snapshot cannot be used")

// bucketSnapshots has a bucket for each snapshot, in their order: one that is complete, and what is left of those whose
// writer did not live to complete them. All of it can be deleted at any time.
var bucketSnapshots = []byte("snapshots")

// keyHeader is written last, and makes a snapshot complete; the other keys of its bucket number the pieces.
var keyHeader = []byte("header")

// The sizes of a snapshot's pieces, and of what is written in one transaction, in bytes. They are small: a value wants
// pages in a row, and commits wait for a transaction.
const (
	snapshotPiece = 32 << 10
	snapshotWrite = 1 << 20
)

// header ties a snapshot to the history that it was made of.
type header struct {
	Seq    uint64 `json:"seq"`    // it has what follows from the events up to this one
	Event  string `json:"event"`  // hex SHA-256 of this event as it is stored
	Size   int    `json:"size"`   // bytes
	Pieces int    `json:"pieces"` // keys
}

// SaveSnapshot keeps data as what follows from the events up to seq, in place of all earlier ones. It is written between
// commits, piece by piece, one snapshot at a time. Data has to be able to tell whether it is whole; the history does not.
func (db *DB) SaveSnapshot(seq uint64, data []byte) error {
	var key []byte // of its bucket
	h := header{Seq: seq, Size: len(data)}
	for rest := data; len(rest) > 0 || key == nil; {
		part := rest[:min(len(rest), snapshotWrite)]
		rest = rest[len(part):]
		err := db.do(func(tx *bbolt.Tx) error {
			all, err := tx.CreateBucketIfNotExists(bucketSnapshots)
			if err != nil {
				return err
			}
			if key == nil {
				n, err := all.NextSequence()
				if err != nil {
					return err
				}
				key = seqKey(n)
			}
			b, err := all.CreateBucketIfNotExists(key)
			for ; err == nil && len(part) > 0; h.Pieces++ {
				piece := part[:min(len(part), snapshotPiece)]
				part = part[len(piece):]
				err = b.Put(pieceKey(h.Pieces), piece)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("store: writing a snapshot: %w", err)
		}
	}
	err := db.do(func(tx *bbolt.Tx) error {
		text := tx.Bucket(bucketEvents).Get(seqKey(seq))
		if text == nil {
			return fmt.Errorf("there is no event %d", seq)
		}
		h.Event = digest(text)
		all := tx.Bucket(bucketSnapshots)
		if err := put(all.Bucket(key), keyHeader, h); err != nil {
			return err
		}
		return dropSnapshots(all, key)
	})
	if err != nil {
		return fmt.Errorf("store: writing a snapshot: %w", err)
	}
	return nil
}

// Snapshot returns what SaveSnapshot has kept last; seq is 0 if there is nothing. The error is ErrSnapshot if it is of
// another history than the one in the file, such as one that has been set back since.
func (db *DB) Snapshot() (seq uint64, data []byte, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		h, key, err := newestSnapshot(tx)
		if key == nil {
			return err
		}
		b := tx.Bucket(bucketSnapshots).Bucket(key)
		text := tx.Bucket(bucketEvents).Get(seqKey(h.Seq))
		if text == nil || digest(text) != h.Event {
			return fmt.Errorf("%w: it is of an event %d that is not in the history", ErrSnapshot, h.Seq)
		}
		for i := range h.Pieces {
			piece := b.Get(pieceKey(i))
			if piece == nil {
				break
			}
			data = append(data, piece...)
		}
		if len(data) != h.Size {
			return fmt.Errorf("%w: %d of its %d bytes are there", ErrSnapshot, len(data), h.Size)
		}
		seq = h.Seq
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return seq, data, nil
}

// newestSnapshot returns the newest snapshot that is complete, and the key of its bucket; that is nil if there is none.
func newestSnapshot(tx *bbolt.Tx) (h header, key []byte, err error) {
	all := tx.Bucket(bucketSnapshots)
	if all == nil {
		return h, nil, nil
	}
	c := all.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		if v != nil {
			return h, nil, fmt.Errorf("%w: %q is no snapshot", ErrSnapshot, k)
		}
		text := all.Bucket(k).Get(keyHeader)
		if text == nil {
			continue
		}
		if err := json.Unmarshal(text, &h); err != nil {
			return h, nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		return h, bytes.Clone(k), nil
	}
	return h, nil, nil
}

// dropSnapshots deletes all but one.
func dropSnapshots(all *bbolt.Bucket, keep []byte) error {
	var gone [][]byte
	c := all.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if string(k) != string(keep) {
			gone = append(gone, append([]byte(nil), k...))
		}
	}
	for _, k := range gone {
		err := all.Delete(k)
		if all.Bucket(k) != nil {
			err = all.DeleteBucket(k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneSnapshots deletes the snapshot if retention has removed the event that it is tied to, and not what is there by now
// of the next one.
func pruneSnapshots(tx *bbolt.Tx, removed uint64) error {
	h, key, err := newestSnapshot(tx)
	if key == nil || err != nil || h.Seq > removed {
		return nil //nolint:nilerr // who reads it will say so
	}
	return tx.Bucket(bucketSnapshots).DeleteBucket(key)
}

func pieceKey(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
