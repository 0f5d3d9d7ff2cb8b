package conversation

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// The bounds of what is heard. Whatever is longer passes all the same, and is not heard to its end.
const (
	maxDocument = wire.MaxSize // bytes of one document, or one event of a stream
	maxStream   = 64 << 20     // decoded bytes of one streamed answer
	maxCopies   = 256 << 20    // bytes of all copies at one time
	maxWindow   = 8 << 20      // of a decoder
)

// Why something is not heard to its end.
var (
	errLong = fmt.Errorf("it is longer than %d MiB", maxDocument>>20)
	errFull = errors.New("too much is said at the same time")
	errHalf = errors.New("it breaks off")
)

// budget bounds the memory of all copies.
type budget struct {
	used, most atomic.Int64
}

func (b *budget) take(n int) bool {
	used := b.used.Add(int64(n))
	if used > maxCopies {
		b.used.Add(-int64(n))
		return false
	}
	for most := b.most.Load(); used > most && !b.most.CompareAndSwap(most, used); most = b.most.Load() {
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// tap is a copy of what passes, for somebody else to read. Who writes never waits: a copy that nobody reads in time, or for
// which there is no room, ends with an error instead.
type tap struct {
	budget *budget

	mu     sync.Mutex
	more   sync.Cond
	chunks [][]byte
	held   int
	over   error // io.EOF at the end
	begun  bool  // something will be copied
	idle   bool  // who reads has read all, and waits for more
	left   bool  // nobody reads any more
}

func newTap(b *budget) *tap {
	t := &tap{budget: b}
	t.more.L = &t.mu
	return t
}

// A backlog of more than manyChunks grows in chunks of at least chunkSize, so that it takes no more memory than is counted,
// however small the pieces are.
const (
	manyChunks = 16
	chunkSize  = 4 << 10
)

// copy takes in what passes, which can be of two parts.
func (t *tap) copy(head, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := len(head) + len(p)
	switch {
	case t.over != nil || len(p) == 0:
		return
	case t.held+size > maxDocument || !t.budget.take(size):
		t.drop(errFull)
		return
	}
	t.held += size
	t.idle = false
	n := len(t.chunks)
	if n == 0 || cap(t.chunks[n-1])-len(t.chunks[n-1]) < size {
		room := size
		if n >= manyChunks {
			room = max(room, chunkSize)
		}
		t.chunks = append(t.chunks, make([]byte, 0, room))
		n++
	}
	t.chunks[n-1] = append(append(t.chunks[n-1], head...), p...)
	t.more.Broadcast()
}

// end says that nothing more will pass, and why. The first reason counts.
func (t *tap) end(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over == nil {
		t.over = why
		t.more.Broadcast()
	}
}

// leave gives the copy up: nobody reads it any more.
func (t *tap) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	t.drop(errHalf)
}

// begin says that there will be something to copy.
func (t *tap) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = true
}

// caughtUp returns when who reads has taken in all that has passed so far.
func (t *tap) caughtUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.left && (t.over != nil || t.begun && !t.idle) {
		t.more.Wait()
	}
}

func (t *tap) drop(why error) {
	t.budget.give(t.held)
	t.chunks, t.held = nil, 0
	t.over = why
	t.more.Broadcast()
}

// Read implements io.Reader. It waits for what passes.
func (t *tap) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.chunks) == 0 && t.over == nil {
		t.idle = true
		t.more.Broadcast()
		t.more.Wait()
	}
	if len(t.chunks) == 0 {
		return 0, t.over
	}
	n := copy(p, t.chunks[0])
	if t.chunks[0] = t.chunks[0][n:]; len(t.chunks[0]) == 0 {
		t.chunks[0] = nil
		t.chunks = t.chunks[1:]
	}
	t.held -= n
	t.budget.give(n)
	return n, nil
}

// tapped is a body of which a tap has a copy.
type tapped struct {
	io.ReadCloser
	tap  *tap
	left int64 // of a body whose length is known; else negative
}

// Read implements io.Reader.
func (b *tapped) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.tap.copy(nil, p[:n])
	if b.left >= 0 {
		b.left -= int64(n)
	}
	switch {
	case errors.Is(err, io.EOF) || b.left == 0: // who knows the length need not ask for the end
		b.tap.end(io.EOF)
	case err != nil:
		b.tap.end(errHalf)
	}
	return n, err
}

// Close implements io.Closer.
func (b *tapped) Close() error {
	b.tap.end(errHalf)
	return b.ReadCloser.Close()
}

// decoder undoes a Content-Encoding.
func decoder(r io.Reader, encoding string) (io.ReadCloser, error) {
	switch e := strings.ToLower(strings.TrimSpace(encoding)); e {
	case "", "identity":
		return io.NopCloser(r), nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate":
		return zlib.NewReader(r)
	case "br":
		return io.NopCloser(brotli.NewReader(r)), nil
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("its encoding is %.40q", e)
	}
}

// document reads a JSON document to its end. Release gives its memory back, whether or not there is an error.
func (b *budget) document(r io.Reader) (doc []byte, release func(), err error) {
	if doc, release, err = b.read(r, 64<<10); err == nil {
		err = wire.Check(doc)
	}
	return doc, release, err
}

// read reads anything to its end, which is likely to be at most so many bytes long. Release gives its memory back, whether or not there is an error.
func (b *budget) read(r io.Reader, likely int) (doc []byte, release func(), err error) {
	var taken int
	release = func() { b.give(taken) }
	buf := make([]byte, 0, likely)
	for {
		if more := cap(buf) - taken; !b.take(more) {
			return nil, release, errFull
		}
		taken = cap(buf)
		n, err := r.Read(buf[len(buf):cap(buf)])
		switch buf = buf[:len(buf)+n]; {
		case len(buf) > maxDocument:
			return nil, release, errLong
		case errors.Is(err, io.EOF):
			return buf, release, nil
		case err != nil:
			return nil, release, err
		case len(buf) == cap(buf):
			grown := make([]byte, len(buf), min(2*cap(buf), maxDocument+1))
			copy(grown, buf)
			buf = grown
		}
	}
}
