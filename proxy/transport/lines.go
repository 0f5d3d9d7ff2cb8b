// Package transport moves raw frames: one JSON-RPC message or batch each. It never looks into them.
package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrTooLong says that a frame was longer than allowed.
var ErrTooLong = errors.New("transport: frame is too long")

// Lines carries one frame a line, as MCP's stdio transport does.
type Lines struct {
	conn io.ReadWriteCloser
	kept kept // nil if conn does not keep
	in   *bufio.Reader
	max  int
	mu   sync.Mutex // serialises writes
	out  []byte
}

// kept is a connection that keeps what has been read until somebody has dealt with it.
type kept interface {
	Taken(n int) bool
	Done()
}

// NewLines returns a connection over conn that refuses frames of more than max bytes.
func NewLines(conn io.ReadWriteCloser, max int) *Lines {
	l := &Lines{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), max: max}
	l.kept, _ = conn.(kept)
	return l
}

// Read returns the next line that is not empty, without its end; the bytes are the caller's. After ErrTooLong and
// ErrLineBreak the next Read returns the line after it. At the end of the stream the error is io.EOF, also if a line is
// cut off by it. A line is dealt with when the next one is read.
func (l *Lines) Read() ([]byte, error) {
	if l.kept != nil {
		l.kept.Done()
	}
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) > l.max:
			return nil, ErrTooLong
		case bytes.IndexByte(line, '\r') >= 0:
			return nil, ErrLineBreak
		case len(bytes.TrimSpace(line)) > 0:
			return line, nil
		}
	}
}

// Ready reports whether a frame has been read ahead, so that the next Read waits for nobody.
func (l *Lines) Ready() bool {
	ahead, err := l.in.Peek(l.in.Buffered())
	whole := ahead[:bytes.LastIndexByte(ahead, '\n')+1]
	return err == nil && len(bytes.TrimSpace(whole)) > 0 // Read skips empty lines
}

func (l *Lines) line() ([]byte, error) {
	var line []byte
	long, n := false, 0
	for {
		part, err := l.in.ReadSlice('\n')
		n += len(part)
		if !long {
			line = append(line, part...)
			if long = len(line) > l.max+len("\r\n"); long {
				line = nil
			}
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("transport: %w", err)
		default:
			if l.kept != nil && !l.kept.Taken(n) {
				return nil, io.EOF
			}
			if long {
				return nil, ErrTooLong
			}
			return line[:len(line)-1], nil
		}
	}
}

// ErrLineBreak says that a line has a carriage return in its midst, where some readers end it.
var ErrLineBreak = errors.New("transport: line break within a frame")

// Write sends frames, each with the end of its line, in one write. It is safe for concurrent use. A frame is JSON: line
// breaks in it, which other transports allow, stand between tokens and become spaces, and those at its ends are dropped.
func (l *Lines) Write(frames ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = l.out[:0]
	for _, f := range frames {
		from := len(l.out)
		l.out = append(l.out, bytes.Trim(f, "\r\n")...)
		unbreak(l.out[from:])
		l.out = append(l.out, '\n')
	}
	_, err := l.conn.Write(l.out)
	if cap(l.out) > 1<<20 {
		l.out = nil
	}
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	return nil
}

// unbreak makes one line of JSON, in place.
func unbreak(text []byte) {
	for _, end := range []byte("\n\r") {
		for rest := text; ; {
			i := bytes.IndexByte(rest, end)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
}

// CloseWrite says that no more frames will be written, if conn can say that; else it closes conn.
func (l *Lines) CloseWrite() error {
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return l.conn.Close()
}

// Close closes conn. A Read in progress returns.
func (l *Lines) Close() error { return l.conn.Close() }
