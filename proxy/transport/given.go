package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// A shim that gives the daemon its pipes copies nothing: the daemon itself reads what the client and the child write. The
// shim keeps them, too, with the ledger, and gives them to the next daemon when this one ends without a word. The two keep
// one connection, by which each knows that the other is there:
//
//	POST /v1/pipes/files {Hello} -> 101, or why the server cannot be reached
//	shim:   one byte, and with it the ledger, the client's stdin and stdout, and of a child its stdout and stdin
//	daemon: "l" when the client has ended, so that the child has to; "." and the end when all is said
const pathPipesFiles = "/v1/pipes/files"

// What a daemon tells a shim.
const (
	saidLeft = 'l'
	saidAll  = '.'
)

// Ends are the pipes to one side: what it says is read from In, and what it is told is written to Out.
type Ends struct {
	In, Out *os.File
}

// Pipework is what a shim can give away: the pipes to its client and to its child, and their ledger. Without a child, the
// daemon is to reach the server itself. It is for one goroutine.
type Pipework struct {
	ledger *Ledger
	fds    []int // the client's stdin and stdout, the child's stdout and stdin; -1 is closed
}

// NewPipework takes pipes over, and closes the files: whoever only keeps a pipe must not be woken by what others write to
// it. Server is empty if there is no child. If they are neither pipes nor sockets, or cannot be passed on by this system,
// the error is errors.ErrUnsupported; after any error the files are as they were.
func NewPipework(client, server Ends) (*Pipework, error) {
	files := []*os.File{client.In, client.Out}
	if server.In != nil {
		files = append(files, server.In, server.Out)
	}
	return newPipework(files)
}

// Given is what a shim keeps of the pipes that it has given away.
type Given struct {
	conn *net.UnixConn
}

// Give gives the daemon that listens on the unix socket at path duplicates of the pipes.
func Give(ctx context.Context, path string, hello Hello, p *Pipework) (*Given, error) {
	return give(ctx, path, hello, p)
}

// ErrGone says that a daemon ended without a word.
var ErrGone = errors.New("the daemon is gone")

// Wait calls left when the client has ended. It returns nil when all is said that there was to say, and ErrGone if the
// daemon is gone before.
func (g *Given) Wait(left func()) error {
	defer g.conn.Close() //nolint:errcheck // nobody is there any more
	for {
		var said [1]byte
		if _, err := io.ReadFull(g.conn, said[:]); err != nil {
			return ErrGone
		}
		switch said[0] {
		case saidLeft:
			left()
		case saidAll:
			return nil
		}
	}
}

// joint is what the two sides that a shim has given have in common.
type joint struct {
	ledger  *Ledger
	leaves  func() // called when the client has ended
	over    func() // called when both sides are closed
	left    sync.Once
	open    atomic.Int32 // how many sides are not closed
	dropped atomic.Bool  // the conversation goes on elsewhere
}

// tell tells the shim that the client has ended.
func (j *joint) tell() {
	if !j.dropped.Load() {
		j.left.Do(j.leaves)
	}
}

// Side is the client, or the child, at the other end of the pipes of a shim.
type Side struct {
	*joint
	Ends
	which int // of the ledger

	reading, writes sync.Mutex
	rest            []byte // what the former process had read
	cut             bool   // what comes next, up to the end of the line, belongs to a line whose beginning is lost
	torn            bool   // the last write of the former process may not have been whole
	closing         sync.Once
}

func newSide(j *joint, which int, ends Ends) *Side {
	j.open.Add(1)
	s := &Side{joint: j, Ends: ends, which: which}
	s.rest, s.cut, s.torn = j.ledger.rest(which)
	return s
}

// Ledger returns the ledger of s.
func (s *Side) Ledger() *Ledger { return s.ledger }

// Read reads what the side says. That it was closed here is its end, too.
func (s *Side) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for {
		n, err := s.read(p)
		if s.cut {
			skipped, ended := n, false
			for i, c := range p[:n] {
				if c == '\n' {
					skipped, ended = i+1, true
					break
				}
			}
			s.ledger.skip(s.which, skipped, ended)
			s.cut = !ended
			if n = copy(p, p[skipped:n]); n == 0 && err == nil {
				continue
			}
		}
		return n, err
	}
}

func (s *Side) read(p []byte) (n int, err error) {
	if len(s.rest) > 0 {
		n = copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	if room := s.ledger.room(s.which, len(p)); room != nil {
		n, err = s.In.Read(room)
		copy(p, room[:n])
		s.ledger.came(s.which, n)
	} else {
		n, err = s.In.Read(p)
	}
	if err != nil {
		if s.which == ofClient {
			s.tell()
		}
		if errors.Is(err, os.ErrClosed) {
			err = io.EOF
		}
	}
	return n, err
}

// Taken says that the next n bytes of what has been read are a line that somebody deals with until Done. If it returns
// false, nobody may: the line is left for the next process.
func (s *Side) Taken(n int) bool { return !s.dropped.Load() && s.ledger.take(s.which, n) }

// Done says that the line that was taken last is dealt with.
func (s *Side) Done() { s.ledger.done(s.which) }

// Write tells the side something. A line that a former process has not written to its end is ended first.
func (s *Side) Write(p []byte) (int, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.torn {
		if _, err := s.Out.WriteString("\n"); err != nil {
			return 0, err
		}
		s.torn = false
	}
	s.ledger.writing(s.which, true)
	n, err := s.Out.Write(p)
	if err == nil || n == 0 {
		s.ledger.writing(s.which, false)
	}
	return n, err
}

// CloseWrite tells the side that nothing more will come.
func (s *Side) CloseWrite() error {
	if s.which == ofServer {
		s.tell()
	}
	return s.Out.Close()
}

// Close ends both directions. A Read in progress returns.
func (s *Side) Close() (err error) {
	s.closing.Do(func() {
		s.CloseWrite() //nolint:errcheck // it may be closed already
		err = s.In.Close()
		for _, mu := range []*sync.Mutex{&s.reading, &s.writes} { // what is in progress ends first: the next process begins then
			mu.Lock()
			mu.Unlock() //nolint:staticcheck // as above
		}
		if s.open.Add(-1) == 0 {
			err = errors.Join(err, s.ledger.Close())
			s.over()
		}
	})
	return err
}

// Drop makes Close leave the conversation as it is: neither side is told that it ends, and another process can go on.
func (s *Side) Drop() { s.dropped.Store(true) }
