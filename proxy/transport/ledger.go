package transport

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Ledger is what whoever serves the pipes of a shim has on hand and owes, in memory that outlives the process: what has
// been read and not been dealt with, whether a write was whole, which requests are unanswered. When a daemon ends without a
// word, the shim gives pipes and ledger to the next one, which goes on where the former one was. A line is dealt with at
// most once.
//
// One process at a time may use it. Its methods are safe for concurrent use; nil keeps nothing. What other processes write
// meanwhile harms nobody but the two sides: whatever the memory says is looked at once, and bounded.
type Ledger struct {
	whole sync.RWMutex // held for what belongs together
	mu    sync.Mutex   // guards what follows
	file  *os.File     // nil if other processes cannot share it
	mem   []byte       // nil when it is closed
	books *books
	free  []int32 // slots that were used and are not
}

// books is the head of the memory. Each of its fields is written after what it speaks of: a process that is killed leaves
// them as they were between two instructions.
type books struct {
	version  atomic.Uint64 // 0 is a ledger that nobody has written to
	lanes    [2]passage
	greeting atomic.Uint32 // bytes
	slots    atomic.Uint32 // how many were ever used: memory that nobody touches costs nothing
}

// passage is what has been read of one side, in bytes since the pipes were made. What was not taken stands in a ring, in
// which the system itself writes what is read, at a place that is zero before: there is no zero in JSON, and so a process that
// comes after one that was killed right after a read finds how much that was.
type passage struct {
	base    atomic.Uint64 // the byte at the beginning of the ring
	read    atomic.Uint64
	taken   atomic.Uint64 // up to here lines have been taken off
	hand    atomic.Uint64 // from here to taken is a line that somebody may be dealing with
	lost    atomic.Uint64 // what is before is not in the ring, because more than fits has been read and not been taken
	room    atomic.Uint64 // from read up to here the ring is zero, except for what a read has just put there
	dirty   atomic.Uint64 // the ring is zero from this place on
	writing atomic.Uint32 // not 0 while something is written to the side
}

// ledgerVersion is what a process that keeps its books in another way must not go on with: a shim can be older than the daemon.
// It changes with anything about where things are.
const ledgerVersion = 1

// Where things are in the memory of a ledger, in bytes.
const (
	greetingAt  = 4 << 10
	greetingMax = 28 << 10
	slotsAt     = greetingAt + greetingMax
	slotSize    = 64 // an id and, before it, its length
	slotCount   = 4096
	ringsAt     = slotsAt + slotCount*slotSize
	ringSize    = 1 << 20
	ledgerSize  = ringsAt + 2*ringSize
)

// The sides of a ledger.
const (
	ofClient = iota
	ofServer
)

// ErrLedger says that the memory of a ledger is not what a ledger leaves behind.
var ErrLedger = errors.New("transport: no ledger")

// openLedger returns the ledger in mem.
func openLedger(file *os.File, mem []byte) (*Ledger, error) {
	if len(mem) != ledgerSize {
		return nil, ErrLedger
	}
	l := &Ledger{file: file, mem: mem, books: (*books)(unsafe.Pointer(&mem[0]))} //nolint:gosec // fields at known places of shared memory
	if l.books.version.CompareAndSwap(0, ledgerVersion); l.books.version.Load() != ledgerVersion {
		return nil, fmt.Errorf("%w of this version", ErrLedger)
	}
	for i := range l.books.lanes {
		p := &l.books.lanes[i]
		l.arrived(i)
		hand, taken, read := p.hand.Load(), p.taken.Load(), p.read.Load()
		kept := max(hand, p.lost.Load())
		if hand > taken || taken > read || read > 1<<62 || read-kept > ringSize || kept < read && p.base.Load() > kept {
			return nil, ErrLedger
		}
	}
	if l.books.greeting.Load() > greetingMax || l.books.slots.Load() > slotCount {
		return nil, ErrLedger
	}
	for i := range l.used() {
		if length, _ := l.slot(i); length.Load() == 0 {
			l.free = append(l.free, i)
		}
	}
	return l, nil
}

// used returns how many slots were ever used.
func (l *Ledger) used() int32 { return int32(min(l.books.slots.Load(), slotCount)) } //nolint:gosec // at most slotCount

// slot returns a slot's length, 0 if it is free, and its place.
func (l *Ledger) slot(i int32) (length *atomic.Uint32, id []byte) {
	s := l.mem[slotsAt+int(i)*slotSize:][:slotSize]
	return (*atomic.Uint32)(unsafe.Pointer(&s[0])), s[4:] //nolint:gosec // as above
}

// open reports whether l can be used, and locks it. If so, the caller unlocks it.
func (l *Ledger) open() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	if l.mem == nil {
		l.mu.Unlock()
		return false
	}
	return true
}

// Owe notes that a request waits for its answer, by its id as sent. It returns a slot for Paid; -1 if there is no room.
func (l *Ledger) Owe(id string) (slot int32) {
	if !l.open() {
		return -1
	}
	defer l.mu.Unlock()
	used := l.used()
	switch {
	case id == "", len(id) > slotSize-4, len(l.free) == 0 && used == slotCount:
		return -1
	case len(l.free) == 0:
		slot = used
		l.books.slots.Store(uint32(used) + 1) //nolint:gosec // at most slotCount
	default:
		slot = l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
	}
	length, place := l.slot(slot)
	length.Store(uint32(copy(place, id))) //nolint:gosec // at most slotSize
	return slot
}

// Paid notes that the request in a slot has been answered.
func (l *Ledger) Paid(slot int32) {
	if slot < 0 || !l.open() {
		return
	}
	defer l.mu.Unlock()
	if length, _ := l.slot(slot); length.Swap(0) != 0 {
		l.free = append(l.free, slot)
	}
}

// Owed yields the slots that are taken, and the ids in them.
func (l *Ledger) Owed() iter.Seq2[int32, string] {
	owed := map[int32]string{}
	if l.open() {
		for i := range l.used() {
			length, id := l.slot(i)
			if n := length.Load(); n > 0 && n <= slotSize-4 {
				owed[i] = string(id[:n])
			}
		}
		l.mu.Unlock()
	}
	return func(yield func(int32, string) bool) {
		for slot, id := range owed {
			if !yield(slot, id) {
				return
			}
		}
	}
}

// Greet keeps the frame by which the client began the conversation, if it is not too long.
func (l *Ledger) Greet(frame []byte) {
	if len(frame) > greetingMax || !l.open() {
		return
	}
	defer l.mu.Unlock()
	l.books.greeting.Store(0)
	l.books.greeting.Store(uint32(copy(l.mem[greetingAt:slotsAt], frame))) //nolint:gosec // at most greetingMax
}

// Greeting returns what Greet has kept; nil if nothing.
func (l *Ledger) Greeting() []byte {
	if !l.open() {
		return nil
	}
	defer l.mu.Unlock()
	return append([]byte(nil), l.mem[greetingAt:slotsAt][:min(l.books.greeting.Load(), greetingMax)]...)
}

// InHand returns the client's line that the former process may have been dealing with when it ended; nil if there is none.
func (l *Ledger) InHand() []byte {
	if !l.open() {
		return nil
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[ofClient]
	if p.hand.Load() < p.lost.Load() {
		return nil
	}
	return l.ring(ofClient, p.hand.Load(), p.taken.Load())
}

// ring returns a copy of what has been read of a side, from byte on to before byte. l.mu is held.
func (l *Ledger) ring(side int, from, to uint64) []byte {
	ring, base := l.mem[ringsAt+side*ringSize:][:ringSize], l.books.lanes[side].base.Load()
	if to-from > ringSize {
		return nil
	}
	var out []byte
	for from < to {
		at := (from - base) % ringSize
		n := min(to-from, ringSize-at)
		out = append(out, ring[at:][:n]...)
		from += n
	}
	return out
}

// rest returns what the former process had read of a side and not taken off. Cut says that the beginning of its first line
// is not there: what there is of that line is to be skipped.
func (l *Ledger) rest(side int) (text []byte, cut, torn bool) {
	if !l.open() {
		return nil, false, false
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	taken, lost := p.taken.Load(), p.lost.Load()
	return l.ring(side, max(taken, lost), p.read.Load()), lost > taken, p.writing.Load() != 0
}

// skip notes that n bytes have been skipped of a line whose beginning is lost, and whether that was all of it.
func (l *Ledger) skip(side, n int, ended bool) {
	if !l.open() {
		return
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	to := p.lost.Load() + uint64(n) //nolint:gosec // it is a length
	if !ended {
		p.lost.Store(to) // whoever comes next has to skip the rest
		return
	}
	p.taken.Store(to)
	p.hand.Store(to)
}

// room returns where the next bytes that are read of a side have to go, at most n; came says how many they were. It must
// not be used once the ledger is closed. Nil says that it is.
func (l *Ledger) room(side, n int) []byte {
	if !l.open() {
		return nil
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	read, kept := p.read.Load(), max(p.hand.Load(), p.lost.Load())
	if read-kept >= ringSize {
		p.lost.Store(read)
		kept = read
	}
	if kept == read {
		p.room.Store(read) // the place of what comes is another one
		p.base.Store(read)
	}
	from, full := (read-p.base.Load())%ringSize, ringSize-(read-kept)
	to := from + min(uint64(n), ringSize-from, full) //nolint:gosec // it is a length
	ring := l.mem[ringsAt+side*ringSize:][:ringSize]
	if dirty := min(p.dirty.Load(), ringSize); from < dirty {
		until := min(to, dirty)
		if kept == read { // once after what was long, and not a part of it each time
			until = dirty
		}
		clear(ring[from:until])
		if until == dirty {
			p.dirty.Store(from)
		}
	}
	p.room.Store(read + to - from)
	return ring[from:to:to]
}

// came notes that n bytes have been read into the room of a side.
func (l *Ledger) came(side, n int) {
	if n == 0 || !l.open() {
		return
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	read := p.read.Load()
	end := (read-p.base.Load())%ringSize + uint64(n) //nolint:gosec // it is a length
	p.dirty.Store(max(p.dirty.Load(), end))
	p.read.Store(read + uint64(n)) //nolint:gosec // as above
}

// arrived notes what came right before a process was killed.
func (l *Ledger) arrived(side int) {
	p := &l.books.lanes[side]
	read, room := p.read.Load(), p.room.Load()
	from := (read - p.base.Load()) % ringSize
	if room <= read || room-read > ringSize-from {
		return
	}
	ring := l.mem[ringsAt+side*ringSize:][from:][:room-read]
	n := bytes.IndexByte(ring, 0)
	if n < 0 {
		n = len(ring)
	}
	if n > 0 {
		p.dirty.Store(max(p.dirty.Load(), from+room-read)) // what is no JSON may have come
		p.read.Store(read + uint64(n))
		p.room.Store(read + uint64(n))
	}
}

// take notes that a line of n bytes has been taken off, which somebody deals with until done. False says that it is left
// for the next process.
func (l *Ledger) take(side, n int) bool {
	if !l.open() {
		return false
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	p.hand.Store(p.taken.Load())
	p.taken.Store(p.taken.Load() + uint64(n))
	return true
}

// Noted notes that what the client's line in hand asks is owed: its answer would else be given again by the next process.
func (l *Ledger) Noted() { l.done(ofClient) }

// done notes that the line that was taken last is dealt with, or that what it asked is owed.
func (l *Ledger) done(side int) {
	if !l.open() {
		return
	}
	defer l.mu.Unlock()
	p := &l.books.lanes[side]
	p.hand.Store(p.taken.Load())
}

// writing notes that a write to a side begins, or that all of it is written.
func (l *Ledger) writing(side int, begins bool) {
	if !l.open() {
		return
	}
	defer l.mu.Unlock()
	v := uint32(0)
	if begins {
		v = 1
	}
	l.books.lanes[side].writing.Store(v)
}

// Together calls do, of which Close waits for the end: an answer that is written is noted as well. It must end if the pipes
// are closed.
func (l *Ledger) Together(do func()) {
	if l != nil {
		l.whole.RLock()
		defer l.whole.RUnlock()
	}
	do()
}

// Close gives the memory back to the system. What it says stays for whoever shares it.
func (l *Ledger) Close() error {
	if l == nil {
		return nil
	}
	l.whole.Lock()
	defer l.whole.Unlock()
	if !l.open() {
		return nil
	}
	defer l.mu.Unlock()
	mem := l.mem
	l.mem, l.books = nil, nil
	if l.file == nil {
		return nil
	}
	return errors.Join(unmap(mem), l.file.Close())
}
