package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Subprotocol is how MCP is called in the handshake of a WebSocket.
const Subprotocol = "mcp"

// ErrBinary says that a WebSocket brought a binary message, which MCP does not have.
var ErrBinary = errors.New("transport: a binary message")

// Patience is for how long a connection waits for a side that says nothing, or does not listen.
type Patience struct {
	Ping    time.Duration // between two questions whether the other side is there
	Silent  time.Duration // without a word of it, not even of that
	Stalled time.Duration // for a write that the other side does not read
	Close   time.Duration // for the other side to end after this one has
}

// patient is the Patience of connections that may stay silent for as long as they like.
var patient = Patience{Ping: 30 * time.Second, Silent: 75 * time.Second, Stalled: time.Minute, Close: 5 * time.Second}

// WebSocket carries one frame in each text message. It asks the other side from time to time whether it is there; one
// that does not answer, or does not read what it is sent, has ended.
type WebSocket struct {
	conn     *websocket.Conn
	patience Patience
	mu       sync.Mutex // serialises writes
	over     chan struct{}
	end      func()      // closes the connection
	closing  atomic.Bool // a close was sent
	failed   error       // of the reader: how it ended
}

// NewWebSocket returns the frames of conn. A message of more than max bytes ends it. A nil patience is the usual one.
func NewWebSocket(conn *websocket.Conn, max int, p *Patience) *WebSocket {
	w := &WebSocket{conn: conn, patience: patient, over: make(chan struct{})}
	if p != nil {
		w.patience = *p
	}
	w.end = sync.OnceFunc(func() {
		close(w.over)
		conn.Close() //nolint:errcheck // it is given up
	})
	conn.SetReadLimit(int64(max))
	conn.SetCloseHandler(func(code int, _ string) error {
		w.sayClose(code) // as RFC 6455 wants it
		return nil
	})
	conn.SetPongHandler(func(string) error { return w.heard() })
	conn.SetPingHandler(func(data string) error {
		if err := w.heard(); err != nil {
			return err
		}
		// A side that asks without reading the answers waits for itself.
		err := conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(w.patience.Stalled))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	go w.ping()
	return w
}

// IsWebSocket reports whether a request asks for a WebSocket.
func IsWebSocket(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// AcceptWebSocket upgrades a request for MCP; others it answers itself. The Origin of the request has to be checked before.
func AcceptWebSocket(w http.ResponseWriter, r *http.Request, max int) (*WebSocket, error) {
	if !slices.Contains(websocket.Subprotocols(r), Subprotocol) {
		text := "want a WebSocket with the subprotocol " + Subprotocol
		http.Error(w, text, http.StatusBadRequest)
		return nil, errors.New("transport: " + text)
	}
	u := websocket.Upgrader{
		Subprotocols: []string{Subprotocol}, HandshakeTimeout: dialTimeout, CheckOrigin: func(*http.Request) bool { return true },
	}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return NewWebSocket(conn, max, nil), nil
}

// DialWebSocket connects to a server. What it answers instead of an upgrade is a *StatusError.
func DialWebSocket(ctx context.Context, remote Remote, max int) (*WebSocket, error) {
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: dialTimeout, Subprotocols: []string{Subprotocol}}
	target := *remote.URL
	for range maxRedirects {
		conn, resp, err := d.DialContext(ctx, target.String(), remote.Header.Clone()) //nolint:bodyclose // gorilla has read what there is of it
		switch {
		case err == nil && conn.Subprotocol() != "" && conn.Subprotocol() != Subprotocol:
			conn.Close() //nolint:errcheck // it was not used
			return nil, fmt.Errorf("transport: it chose the subprotocol %.40q", conn.Subprotocol())
		case err == nil:
			return NewWebSocket(conn, max, nil), nil
		case resp == nil:
			return nil, fmt.Errorf("transport: %w", err)
		}
		next, err := remote.redirect(&target, resp)
		if err != nil {
			return nil, err
		}
		target = *next
	}
	return nil, errCircle
}

// heard notes that the other side is there.
func (w *WebSocket) heard() error {
	if w.closing.Load() {
		return nil // it has little time left
	}
	return w.conn.SetReadDeadline(time.Now().Add(w.patience.Silent))
}

// Read returns the next text message; the bytes are the caller's. When the other side has closed, the error is io.EOF.
func (w *WebSocket) Read() ([]byte, error) {
	if w.failed != nil {
		return nil, w.failed
	}
	frame, err := w.message()
	if err == nil {
		return frame, nil
	}
	w.failed = io.EOF
	var closed *websocket.CloseError
	switch {
	case errors.Is(err, ErrBinary):
		w.sayClose(websocket.CloseUnsupportedData)
	case errors.Is(err, websocket.ErrReadLimit): // which has closed with 1009
		w.closing.Store(true)
		err = ErrTooLong
	case errors.As(err, &closed) && (closed.Code == websocket.CloseNormalClosure || closed.Code == websocket.CloseGoingAway || closed.Code == websocket.CloseNoStatusReceived):
		err = io.EOF
	case w.closing.Load(): // and the other side just hung up, or did not end in time
		err = io.EOF
	default:
		err = fmt.Errorf("transport: %w", err)
		w.failed = err
	}
	if errors.Is(err, ErrBinary) || errors.Is(err, ErrTooLong) {
		time.AfterFunc(w.patience.Close, w.end) // so that the other side can read why
	} else {
		w.end()
	}
	return nil, err
}

func (w *WebSocket) message() ([]byte, error) {
	if err := w.heard(); err != nil {
		return nil, err
	}
	kind, r, err := w.conn.NextReader()
	switch {
	case err != nil:
		return nil, err
	case kind != websocket.TextMessage:
		return nil, ErrBinary
	}
	var frame []byte
	for {
		if len(frame) == cap(frame) {
			frame = slices.Grow(frame, max(512, len(frame)))
		}
		n, err := r.Read(frame[len(frame):cap(frame)])
		frame = frame[:len(frame)+n]
		switch {
		case errors.Is(err, io.EOF):
			return frame, nil
		case err != nil:
			return nil, err
		}
		if err := w.heard(); err != nil {
			return nil, err
		}
	}
}

// Write sends each frame as a text message. It is safe for concurrent use, and waits for a side that does not read, but
// not for ever.
func (w *WebSocket) Write(frames ...[]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range frames {
		w.conn.SetWriteDeadline(time.Now().Add(w.patience.Stalled)) //nolint:errcheck // it always is nil
		if err := w.conn.WriteMessage(websocket.TextMessage, f); err != nil {
			if !w.closing.Load() {
				w.end()
			}
			return fmt.Errorf("transport: %w", err)
		}
	}
	return nil
}

// ping asks the other side until one has ended.
func (w *WebSocket) ping() {
	tick := time.NewTicker(w.patience.Ping)
	defer tick.Stop()
	for {
		select {
		case <-w.over:
			return
		case <-tick.C:
			err := w.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(w.patience.Stalled))
			if err != nil && !w.closing.Load() {
				w.end()
			}
		}
	}
}

// sayClose sends a close, once.
func (w *WebSocket) sayClose(code int) {
	if w.closing.Swap(true) {
		return
	}
	soon := time.Now().Add(w.patience.Close)
	text := websocket.FormatCloseMessage(code, "")
	w.conn.WriteControl(websocket.CloseMessage, text, soon) //nolint:errcheck // it may be gone already
	w.conn.SetReadDeadline(soon)                            //nolint:errcheck // as above
}

// HangsUp says that CloseWrite ends both directions.
func (w *WebSocket) HangsUp() {}

// CloseWrite says that nothing more will be written. A WebSocket has no half: the other side will end, too, and has a few
// seconds for that.
func (w *WebSocket) CloseWrite() error {
	w.sayClose(websocket.CloseNormalClosure)
	return nil
}

// Close ends the connection; after CloseWrite, when the other side has ended, too, or a few seconds have passed. A Read in
// progress returns then.
func (w *WebSocket) Close() error {
	if w.closing.Load() {
		select {
		case <-w.over:
		default:
			time.AfterFunc(w.patience.Close, w.end)
		}
		return nil
	}
	w.closing.Store(true)
	text := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	w.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(100*time.Millisecond)) //nolint:errcheck // it may be gone already
	w.end()
	return nil
}
