package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// stalledFor is how long a client may take to read what it is sent, before it counts as gone.
const stalledFor = 30 * time.Second

// The bounds of what a board keeps for a client that does not listen.
const (
	maxBacklog      = 1000
	maxBacklogBytes = 4 << 20
)

// board is the client's end of a connection whose client posts its frames over HTTP and gets what the server says on the
// answers to several requests: a Conn. An answer goes to the POST that asked, news of a request to the POST of that
// request, and everything else to the main stream, a GET. A client of HTTP+SSE gets everything there.
type board struct {
	in   chan []byte
	over chan struct{} // closed when it has ended
	end  func()
	lost func(frames [][]byte) // is told of what could not be kept; nil if nobody wants to know

	mu       sync.Mutex
	posts    map[string]*posted // whose requests are not answered, by wire.Key of their ids
	main     *stream
	only     bool     // main is all there is: when it ends, so does the board
	backlog  [][]byte // what nobody has been there for
	backSize int
}

func newBoard() *board {
	b := &board{in: make(chan []byte), over: make(chan struct{}), posts: map[string]*posted{}}
	b.end = sync.OnceFunc(func() { close(b.over) })
	return b
}

// posted is a POST with requests.
type posted struct {
	open    map[string]bool // wire.Key of the requests that are not answered
	ids     map[string]string
	tokens  map[string]bool // the progress tokens of the requests, as they are written
	stream  *stream         // nil if the client takes no stream of events
	answers [][]byte        // then
	done    chan struct{}   // closed when all is answered
	left    bool            // nobody waits for the rest any more
}

// Why a frame finds no room on a board.
var (
	errIDInUse    = errors.New("a request with this id has not been answered yet")
	errUnanswered = fmt.Errorf("%d requests are unanswered, and no more can be", maxWaiting)
)

// post makes room for the answers to a frame, before it is given to Read. It returns nil if the frame has no request. Where
// several clients share a board, their progress tokens must differ as their ids must.
func (b *board) post(frame *wire.Frame, shared bool) (*posted, error) {
	p := &posted{open: map[string]bool{}, ids: map[string]string{}, tokens: map[string]bool{}, done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range frame.Messages {
		m := &frame.Messages[i]
		if m.Kind != wire.Request {
			continue
		}
		key := wire.Key(m.ID)
		if b.posts[key] != nil || p.open[key] {
			return nil, errIDInUse
		}
		p.open[key], p.ids[key] = true, m.ID
		if token := m.Meta("progressToken"); token.Exists() {
			p.tokens[token.Raw] = true
		}
	}
	switch {
	case len(p.open) == 0:
		return nil, nil
	case len(b.posts)+len(p.open) > maxWaiting:
		return nil, errUnanswered
	}
	for _, other := range b.posts {
		for token := range p.tokens {
			if shared && other.tokens[token] {
				return nil, errIDInUse
			}
		}
	}
	for key := range p.open {
		b.posts[key] = p
	}
	return p, nil
}

// listen gives a POST a stream for what it is answered.
func (b *board) listen(p *posted, s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.stream = s
}

// leave says that nobody waits for a POST any more. It returns the ids of the requests that were not answered. If they were
// given to Read, the ids stay taken: their answers may still come, and are not those to whatever is asked next.
func (b *board) leave(p *posted, given bool) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.left, p.stream = true, nil
	for key := range p.open {
		ids = append(ids, p.ids[key])
		if !given {
			delete(b.posts, key)
		}
	}
	return ids
}

// idle reports whether nobody waits for anything.
func (b *board) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.posts {
		if !p.left {
			return false
		}
	}
	return b.main == nil
}

// ended reports whether b has ended.
func (b *board) ended() bool {
	select {
	case <-b.over:
		return true
	default:
		return false
	}
}

// claim makes s the main stream, unless there is one.
func (b *board) claim(s *stream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.main != nil {
		return false
	}
	b.main = s
	return true
}

// catchUp sends on s what nobody was there for.
func (b *board) catchUp(s *stream) {
	b.mu.Lock()
	kept := b.backlog
	b.backlog, b.backSize = nil, 0
	b.mu.Unlock()
	for i, f := range kept {
		if s.send(transport.AppendEvent(nil, f)) != nil {
			for _, f := range kept[i:] {
				b.keep(f)
			}
			return
		}
	}
}

func (b *board) detach(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.main == s {
		b.main = nil
	}
}

// Read implements Conn.
func (b *board) Read() ([]byte, error) {
	select {
	case f := <-b.in:
		return f, nil
	case <-b.over:
		return nil, io.EOF
	}
}

// give hands a frame to Read. It is not ok if the board has ended or the client has gone first.
func (b *board) give(frame []byte, gone <-chan struct{}) (ok bool) {
	select {
	case b.in <- frame:
		return true
	case <-b.over:
	case <-gone:
	}
	return false
}

// Write implements Conn. It waits for a client that does not read, but not for ever.
func (b *board) Write(frames ...[]byte) error {
	for _, f := range frames {
		if b.ended() {
			return io.ErrClosedPipe
		}
		if err := b.route(f); err != nil {
			return err
		}
	}
	return nil
}

// WriteBeside sends a frame that belongs to a request which is not answered, on the stream of its POST if it has one.
func (b *board) WriteBeside(id string, frame []byte) error {
	b.mu.Lock()
	var to *stream
	if p := b.posts[wire.Key(id)]; p != nil {
		to = p.stream
	}
	b.mu.Unlock()
	if to != nil && to.send(transport.AppendEvent(nil, frame)) == nil {
		return nil
	}
	return b.Write(frame)
}

// route sends a frame where it belongs.
func (b *board) route(data []byte) error {
	frame, err := wire.Parse(data, wire.FromServer)
	if err != nil {
		return err // it was parsed before
	}
	m := &frame.Messages[0]
	b.mu.Lock()
	if b.only {
		main := b.main
		b.mu.Unlock()
		return main.send(transport.AppendEvent(nil, data))
	}
	p := b.wants(m)
	answer := m.Kind == wire.Response && m.ID != ""
	if p != nil && answer {
		delete(p.open, wire.Key(m.ID))
		delete(b.posts, wire.Key(m.ID))
	}
	if p == nil && answer || p != nil && p.left { // whoever asked has gone
		b.mu.Unlock()
		return nil
	}
	if answer {
		if p.stream == nil {
			p.answers = append(p.answers, data)
		}
		to, last := p.stream, len(p.open) == 0
		b.mu.Unlock()
		if to != nil {
			to.send(transport.AppendEvent(nil, data)) //nolint:errcheck // whoever asked has gone
		}
		if last {
			close(p.done)
		}
		return nil
	}
	to := b.main
	if p != nil && p.stream != nil {
		to = p.stream
	}
	for _, other := range b.posts { // a client without main stream still reads the others
		if to == nil {
			to = other.stream
		}
	}
	b.mu.Unlock()
	if to == nil || to.send(transport.AppendEvent(nil, data)) != nil {
		b.keep(data)
	}
	return nil
}

// wants returns the POST that a message of the server is for; nil if it is for none. b.mu is held.
func (b *board) wants(m *wire.Message) *posted {
	if m.Kind == wire.Response {
		return b.posts[wire.Key(m.ID)]
	}
	if token := m.Params.Get("progressToken"); m.Method == "notifications/progress" && token.Exists() {
		for _, p := range b.posts {
			if p.tokens[token.Raw] {
				return p
			}
		}
	}
	if id := m.Meta(metaSubscription); id.Type == gjson.String || id.Type == gjson.Number {
		return b.posts[wire.Key(id.Raw)]
	}
	return nil
}

// metaSubscription names the request to whose answer a notification belongs, since 2026-07-28.
const metaSubscription = "io.modelcontextprotocol/subscriptionId"

// keep keeps a frame until somebody listens; the oldest are lost where there are too many.
func (b *board) keep(data []byte) {
	b.mu.Lock()
	b.backlog = append(b.backlog, data)
	b.backSize += len(data)
	var lost [][]byte
	for len(b.backlog) > 1 && (len(b.backlog) > maxBacklog || b.backSize > maxBacklogBytes) {
		lost = append(lost, b.backlog[0])
		b.backSize -= len(b.backlog[0])
		b.backlog[0], b.backlog = nil, b.backlog[1:]
	}
	b.mu.Unlock()
	if len(lost) > 0 && b.lost != nil {
		b.lost(lost)
	}
}

// CloseWrite implements Conn.
func (b *board) CloseWrite() error { return b.Close() }

// Close implements Conn.
func (b *board) Close() error {
	b.end()
	return nil
}

// stream is an answer over HTTP that is a stream of events, until its handler leaves it.
type stream struct {
	mu   sync.Mutex
	w    http.ResponseWriter // nil when the handler has left
	gone chan struct{}       // closed when it cannot be written to
	once sync.Once
}

// newStream begins the answer.
func newStream(w http.ResponseWriter) *stream {
	s := &stream{gone: make(chan struct{})}
	s.begin(w)
	return s
}

func (s *stream) begin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	w.WriteHeader(http.StatusOK)
	s.mu.Lock()
	s.w = w
	s.mu.Unlock()
	s.send(nil) //nolint:errcheck // it has ended then
}

// send writes bytes of the stream at once.
func (s *stream) send(raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		return io.ErrClosedPipe
	}
	control := http.NewResponseController(s.w)
	control.SetWriteDeadline(time.Now().Add(stalledFor)) //nolint:errcheck // where there are none, writes are not bounded
	_, err := s.w.Write(raw)                             //nolint:gosec // a stream of events, no page
	if err == nil {
		err = control.Flush()
	}
	control.SetWriteDeadline(time.Time{}) //nolint:errcheck // as above
	if err != nil {
		s.w = nil
		s.once.Do(func() { close(s.gone) })
	}
	return err
}

// leave says that the handler returns: nothing may be written any more.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = nil
}
