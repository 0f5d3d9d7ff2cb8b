package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The bounds of a Client's connections.
const (
	dialTimeout = 10 * time.Second
	idleTimeout = 90 * time.Second
	maxIdle     = 256
	maxHeaders  = 1 << 20  // bytes of the status line and headers of one answer
	maxInterim  = 5        // 1xx answers before the real one
	oneWrite    = 4 << 10  // bytes of a request that are gathered
	longBody    = 64 << 10 // bytes that a socket takes without a reader
)

// Client speaks HTTP/1.1 without TLS to one address. The goroutine that asks writes the request and reads the answer
// itself, on a connection of a pool; http.Transport hands both to goroutines of the connection, which a busy proxy pays for
// (BenchmarkExchange). A request is never sent twice.
type Client struct {
	addr string

	mu     sync.Mutex
	idle   []*clientConn // the last used one last
	sweep  *time.Timer   // closes connections that have not been used for long; nil while there are none
	closed bool
}

// NewClient returns a Client of the server at addr, a host and a port.
func NewClient(addr string) *Client { return &Client{addr: addr} }

// Send sends a request with this body, whatever req.Body is, and returns the answer, whose Body has to be closed. Where
// nothing was sent because there is no connection, errors.As finds a *net.OpError whose Op is "dial".
func (c *Client) Send(req *http.Request, body []byte) (*http.Response, error) {
	ctx := req.Context()
	conn, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	// A deadline in the past ends whatever waits for the connection.
	conn.leave = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it is broken anyway
	resp, err := conn.exchange(req, body)
	if err != nil {
		conn.leave()
		conn.Close() //nolint:errcheck // it is given up
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return resp, nil
}

// get returns a connection that the server has not closed.
func (c *Client) get(ctx context.Context) (*clientConn, error) {
	for {
		c.mu.Lock()
		n := len(c.idle) - 1
		if n < 0 {
			c.mu.Unlock()
			break
		}
		conn := c.idle[n]
		c.idle[n], c.idle = nil, c.idle[:n]
		c.mu.Unlock()
		if time.Since(conn.used) < idleTimeout && quiet(conn.Conn) {
			return conn, nil
		}
		conn.Close() //nolint:errcheck // it is given up
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	nc, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	conn := &clientConn{Conn: nc, client: c}
	conn.r = bufio.NewReaderSize(conn, 4<<10)
	return conn, nil
}

// put keeps a connection for the next request.
func (c *Client) put(conn *clientConn) {
	conn.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) == maxIdle {
		conn.Close() //nolint:errcheck // it is given up
		return
	}
	c.idle = append(c.idle, conn)
	if c.sweep == nil {
		c.sweep = time.AfterFunc(idleTimeout, c.closeOld)
	}
}

// closeOld closes connections that have not been used for long, and looks again when the next one is due.
func (c *Client) closeOld() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	young := slices.IndexFunc(c.idle, func(conn *clientConn) bool { return now.Sub(conn.used) < idleTimeout })
	if young < 0 {
		young = len(c.idle)
	}
	for _, conn := range c.idle[:young] {
		conn.Close() //nolint:errcheck // it is given up
	}
	c.idle = slices.Delete(c.idle, 0, young)
	if c.sweep = nil; len(c.idle) > 0 {
		c.sweep = time.AfterFunc(idleTimeout-now.Sub(c.idle[0].used), c.closeOld)
	}
}

// CloseIdleConnections closes the connections that no request uses, and every other one when its request ends.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.sweep != nil {
		c.sweep.Stop()
	}
	for _, conn := range c.idle {
		conn.Close() //nolint:errcheck // it is given up
	}
	c.idle = nil
}

// clientConn is a connection, and what its request and answer need.
type clientConn struct {
	net.Conn
	client *Client
	r      *bufio.Reader
	head   bytes.Buffer
	used   time.Time
	budget int         // bytes that the headers of this answer may still have; none is no bound
	leave  func() bool // stops waiting for the end of the request's context
	whole  chan error  // the request is written; nil if that did not need a goroutine
}

var errHeaders = errors.New("its headers are too long")

// Read implements io.Reader.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.budget < 0 {
		return 0, errHeaders
	}
	n, err := c.Conn.Read(p)
	if c.budget > 0 {
		if c.budget -= n; c.budget == 0 {
			c.budget = -1
		}
	}
	return n, err
}

// begin makes the head of a request.
func (c *clientConn) begin(req *http.Request, body []byte) error {
	uri := req.URL.RequestURI()
	if strings.ContainsFunc(uri+req.Host+req.Method, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%q cannot be asked for", uri)
	}
	h := &c.head
	h.Reset()
	for _, s := range []string{req.Method, " ", uri, " HTTP/1.1\r\nHost: ", req.Host, "\r\n"} {
		h.WriteString(s)
	}
	if len(body) > 0 || req.Method == http.MethodPost {
		h.WriteString("Content-Length: ")
		h.Write(strconv.AppendInt(h.AvailableBuffer(), int64(len(body)), 10))
		h.WriteString("\r\n")
	}
	if err := req.Header.WriteSubset(h, ownHeaders); err != nil { // without line breaks
		return err
	}
	h.WriteString("\r\n")
	return nil
}

// write writes the request, in one write if it can.
func (c *clientConn) write(body []byte) error {
	if c.head.Len()+len(body) <= oneWrite {
		c.head.Write(body)
		body = nil
	}
	_, err := (&net.Buffers{c.head.Bytes(), body}).WriteTo(c.Conn)
	return err
}

// ownHeaders are written from elsewhere or not at all.
var ownHeaders = map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true}

// exchange writes the request and reads the head of its answer. A server may answer before it has read all, so a long
// body is written meanwhile.
func (c *clientConn) exchange(req *http.Request, body []byte) (*http.Response, error) {
	if err := c.begin(req, body); err != nil {
		return nil, err
	}
	var sent error
	if c.whole = nil; len(body) > longBody {
		c.whole = make(chan error, 1)
		go func(whole chan<- error) { whole <- c.write(body) }(c.whole)
	} else {
		sent = c.write(body) // if it was not read to its end, there may be an answer that says why
	}
	c.budget = maxHeaders
	for range maxInterim {
		resp, err := http.ReadResponse(c.r, req)
		switch {
		case err != nil && sent != nil:
			return nil, sent
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("it closed the connection without an answer")
		case err != nil:
			return nil, err
		case resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		c.budget = 0
		keep := sent == nil && !resp.Close && !req.Close && resp.StatusCode != http.StatusSwitchingProtocols
		resp.Body = &clientBody{ReadCloser: resp.Body, conn: c, keep: keep, ctx: req.Context()}
		return resp, nil
	}
	return nil, errors.New("it does not come to its answer")
}

// clientBody gives its connection back when it was read to its end.
type clientBody struct {
	io.ReadCloser
	conn *clientConn
	keep bool
	ctx  context.Context //nolint:containedctx // of the request: a body lives as long as it
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.end(b.keep)
	case errors.Is(err, os.ErrDeadlineExceeded) && b.ctx.Err() != nil:
		err = b.ctx.Err()
	}
	return n, err
}

// Close implements io.Closer. An answer that was not read to its end takes its connection with it.
func (b *clientBody) Close() error {
	b.end(false)
	return nil
}

func (b *clientBody) end(keep bool) {
	c := b.conn
	if c == nil {
		return
	}
	b.conn = nil
	keep = c.leave() && keep && c.r.Buffered() == 0
	if c.whole != nil {
		select {
		case err := <-c.whole:
			keep = keep && err == nil
		default: // the server has answered and the request is not written: it never will be
			keep = false
		}
	}
	if !keep {
		c.Close() //nolint:errcheck // it is given up
		return
	}
	c.client.put(c)
}
