//go:build unix

package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// givenFiles is how many files a shim gives.
const givenFiles = 4

func give(ctx context.Context, path string, hello Hello, files []*os.File) (*Given, error) {
	for _, f := range files {
		if !passable(f) {
			return nil, fmt.Errorf("transport: %s is no pipe: %w", f.Name(), errors.ErrUnsupported)
		}
	}
	text, err := json.Marshal(hello)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	conn, _, err := dialUpgrade(ctx, path, pathPipesFiles, text)
	if err != nil {
		return nil, err
	}
	if err := send(conn, files); err != nil {
		conn.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("transport: %w", err)
	}
	for _, f := range files {
		f.Close() //nolint:errcheck // the daemon has its own
	}
	return &Given{conn: conn}, nil
}

// passable reports whether f can be read and written without holding a thread, and so by the daemon.
func passable(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// send sends files over conn.
func send(conn *net.UnixConn, files []*os.File) error {
	var fds []int
	for _, f := range files {
		raw, err := f.SyscallConn() // Fd would make it blocking
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return err
		}
	}
	_, _, err := conn.WriteMsgUnix([]byte{0}, syscall.UnixRights(fds...), nil)
	runtime.KeepAlive(files)
	return err
}

// receive returns the files that a shim sends over conn. What else comes is closed.
func receive(conn *net.UnixConn, patience time.Duration) (files []*os.File, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close() //nolint:errcheck // nobody uses it
			}
			files = nil
		}
	}()
	rights := make([]byte, syscall.CmsgSpace(2*givenFiles*4)) // more is dropped by the kernel
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else than files
		}
		for _, fd := range fds {
			syscall.SetNonblock(fd, true) //nolint:errcheck // a read would hold a thread
			files = append(files, os.NewFile(uintptr(fd), "pipe"))
		}
	}
	if len(files) != givenFiles {
		return files, fmt.Errorf("%d files, want %d", len(files), givenFiles)
	}
	for _, f := range files {
		if !passable(f) {
			return files, errors.New("a file that is no pipe")
		}
	}
	return files, conn.SetReadDeadline(time.Time{})
}

func (p *Pipes) registerGiven(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathPipesFiles, p.acceptFiles)
}

func (p *Pipes) acceptFiles(w http.ResponseWriter, r *http.Request) {
	hello, ok := readHello(w, r)
	if !ok {
		return
	}
	hijacked, err := hijack(w)
	if err != nil || upgrade(hijacked, "") != nil {
		return
	}
	conn, ok := hijacked.(*net.UnixConn)
	if !ok { // files come over unix sockets only
		hijacked.Close() //nolint:errcheck // the shim learns it so
		return
	}
	files, err := receive(conn, p.patience())
	if err != nil {
		conn.Close() //nolint:errcheck // as above
		return
	}
	g := &given{conn: conn}
	g.open.Store(2)
	client := &side{given: g, Ends: Ends{In: files[0], Out: files[1]}, client: true}
	server := &side{given: g, Ends: Ends{In: files[2], Out: files[3]}}
	var watch sync.WaitGroup
	watch.Go(func() {
		io.Copy(io.Discard, conn) //nolint:errcheck // it ends with the shim, or when both sides are closed
		client.Close()            //nolint:errcheck // it may be closed already
		server.Close()            //nolint:errcheck // as above
	})
	p.Serve(hello, client, server)
	watch.Wait()
}

// given is the daemon's end of the connection to a shim that has given it its pipes.
type given struct {
	conn *net.UnixConn
	left sync.Once
	open atomic.Int32 // how many sides are not closed; with the last one, the connection ends
}

// tell tells the shim that the client has ended.
func (g *given) tell() {
	g.left.Do(func() { g.conn.Write([]byte{0}) }) //nolint:errcheck // it may be gone already
}

// side is the client, or the child, at the other end of pipes.
type side struct {
	*given
	Ends
	client bool
	once   sync.Once
}

// Read reads what the side says. That it was closed here is its end, too.
func (s *side) Read(p []byte) (int, error) {
	n, err := s.In.Read(p)
	if err != nil {
		if s.client {
			s.tell()
		}
		if errors.Is(err, os.ErrClosed) {
			err = io.EOF
		}
	}
	return n, err
}

// Write tells the side something.
func (s *side) Write(p []byte) (int, error) { return s.Out.Write(p) }

// CloseWrite tells the side that nothing more will come.
func (s *side) CloseWrite() error {
	if !s.client {
		s.tell()
	}
	return s.Out.Close()
}

// Close ends both directions. A Read in progress returns.
func (s *side) Close() (err error) {
	s.once.Do(func() {
		s.CloseWrite() //nolint:errcheck // it may be closed already
		err = s.In.Close()
		if s.open.Add(-1) == 0 {
			s.conn.Close() //nolint:errcheck // the shim learns that all is said
		}
	})
	return err
}
