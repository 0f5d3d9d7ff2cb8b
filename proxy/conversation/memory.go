package conversation

import (
	"sync"
	"time"
)

// The bounds of what is remembered, so that nobody who makes up conversations fills the memory.
const (
	maxTalks    = 1000
	maxKeys     = 1 << 20 // of all conversations
	maxTalkKeys = 1 << 16 // of one
)

// The bounds of what is recorded of one conversation: so much at once, and so much more each second. All of them together get
// allShare times as much, since the id of a conversation is a claim.
const (
	turnsAtOnce    = 10_000
	turnsPerSecond = 10
	bytesAtOnce    = 64 << 20
	bytesPerSecond = 64 << 10
	allShare       = 8
)

// memory is what is known of one conversation.
type memory struct {
	mu   sync.Mutex
	seen map[uint64]int // how often each piece was told at most within one hearing
	room Room
	lost Losing

	// Of the Ear, behind its lock.
	used time.Time
	size int
	gone bool
}

// remember notes that a piece was recorded for the n-th time in a hearing. m.mu is held.
func (e *Ear) remember(m *memory, key uint64, n int) {
	if m.seen[key] == 0 {
		fresh := 1
		if len(m.seen) >= maxTalkKeys {
			fresh -= len(m.seen)
			clear(m.seen)
		}
		e.mu.Lock()
		if m.size += fresh; !m.gone {
			e.keys += fresh
		}
		e.mu.Unlock()
	}
	m.seen[key] = n
}

// admit reports whether a turn of so many bytes may be recorded now. m.mu is held.
func (e *Ear) admit(m *memory, size int) bool {
	now := e.Now()
	if !m.room.Has(now, size) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.room.Has(now, size) {
		return false
	}
	m.room.Take(size)
	e.room.Take(size)
	return true
}

// drop forgets a conversation. e.mu is held.
func (e *Ear) drop(key string) {
	if m := e.talks[key]; m != nil {
		e.keys -= m.size
		m.gone = true
		delete(e.talks, key)
	}
}

// Room is what may be recorded yet, of one conversation or of several.
type Room struct {
	share int
	turns int
	bytes int
	from  time.Time // when room was last added
}

// NewRoom returns the room of one conversation.
func NewRoom(now time.Time) Room { return newRoom(now, 1) }

// NewSharedRoom returns the room that all conversations have together.
func NewSharedRoom(now time.Time) Room { return newRoom(now, allShare) }

func newRoom(now time.Time, share int) Room {
	return Room{share: share, turns: share * turnsAtOnce, bytes: share * bytesAtOnce, from: now}
}

// Has adds the room that time has brought, and reports whether a turn of so many bytes fits. A turn that never would fits
// where everything else does.
func (r *Room) Has(now time.Time, size int) bool {
	if more := int(min(now.Sub(r.from)/time.Second, 1<<20)); more > 0 {
		r.turns = min(r.turns+more*r.share*turnsPerSecond, r.share*turnsAtOnce)
		r.bytes = min(r.bytes+more*r.share*bytesPerSecond, r.share*bytesAtOnce)
		r.from = now
	}
	return r.turns > 0 && r.bytes >= min(size, bytesAtOnce)
}

// Take uses up room for a turn.
func (r *Room) Take(size int) {
	r.turns--
	r.bytes -= size
}
