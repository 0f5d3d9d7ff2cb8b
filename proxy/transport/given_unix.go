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
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files that a shim gives: the ledger, and the pipes to one side or to two.
const (
	ledgerAndClient = 3
	ledgerAndBoth   = 5
)

func newPipework(files []*os.File) (*Pipework, error) {
	for _, f := range files {
		if !passable(f) {
			return nil, fmt.Errorf("transport: %s is no pipe: %w", f.Name(), errors.ErrUnsupported)
		}
	}
	p := &Pipework{}
	for _, f := range files {
		raw, err := f.SyscallConn() // Fd would make it blocking
		fd, failed := -1, error(nil)
		if err == nil {
			err = raw.Control(func(old uintptr) { fd, failed = duplicate(int(old)) })
		}
		if err = errors.Join(err, failed); err != nil {
			p.Close()
			return nil, fmt.Errorf("transport: %w", err)
		}
		p.fds = append(p.fds, fd)
	}
	var err error
	if p.ledger, err = NewLedger(); err != nil {
		p.Close()
		return nil, err
	}
	closeAll(files)
	return p, nil
}

func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// HangUp closes what leads to the child, because the client has left.
func (p *Pipework) HangUp() {
	if len(p.fds) == 4 {
		p.shut(3)
	}
}

// Close closes all of it.
func (p *Pipework) Close() {
	for i := range p.fds {
		p.shut(i)
	}
	p.ledger.Close() //nolint:errcheck // nobody uses it any more
}

func (p *Pipework) shut(i int) {
	if p.fds[i] >= 0 {
		unix.Close(p.fds[i]) //nolint:errcheck // it is given up
		p.fds[i] = -1
	}
}

func give(ctx context.Context, path string, hello Hello, p *Pipework) (*Given, error) {
	text, err := json.Marshal(hello)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	conn, _, err := dialUpgrade(ctx, path, pathPipesFiles, text)
	if err != nil {
		return nil, err
	}
	rights := unix.UnixRights(append([]int{int(p.ledger.file.Fd())}, p.fds...)...)
	if _, _, err := conn.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
		conn.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("transport: %w", err)
	}
	return &Given{conn: conn}, nil
}

// Sides returns duplicates of both sides, to be served in this process; the server's is nil if there is none. Leaves is
// called when the client has ended.
func (p *Pipework) Sides(leaves func()) (client, server *Side, err error) {
	var files []*os.File
	for _, fd := range append([]int{int(p.ledger.file.Fd())}, p.fds...) {
		own, err := duplicate(fd)
		if err != nil {
			closeAll(files)
			return nil, nil, fmt.Errorf("transport: %w", err)
		}
		files = append(files, pollable(own, len(files) > 0))
	}
	return sides(files, leaves, func() {})
}

// pollable makes a file of a descriptor; if it is a pipe, one that can be read without holding a thread.
func pollable(fd int, isPipe bool) *os.File {
	if isPipe {
		unix.SetNonblock(fd, true) //nolint:errcheck // a read would hold a thread
	}
	return os.NewFile(uintptr(fd), "pipe")
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() //nolint:errcheck // nobody uses it
	}
}

// sides makes sides of a ledger and pipes. If it fails, all of them are closed.
func sides(files []*os.File, leaves, over func()) (client, server *Side, err error) {
	ledger, err := mapLedger(files[0])
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	j := &joint{ledger: ledger, leaves: leaves, over: over}
	client = newSide(j, ofClient, Ends{In: files[1], Out: files[2]})
	if len(files) == ledgerAndBoth {
		server = newSide(j, ofServer, Ends{In: files[3], Out: files[4]})
	}
	return client, server, nil
}

// passable reports whether f can be read and written without holding a thread, and so by the daemon.
func passable(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// receive returns the files that a shim sends over conn. What else comes is closed.
func receive(conn *net.UnixConn, want int, patience time.Duration) (files []*os.File, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	rights := make([]byte, syscall.CmsgSpace(2*ledgerAndBoth*4)) // more is dropped by the kernel
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
			files = append(files, pollable(fd, len(files) > 0)) // the first one is the ledger
		}
	}
	if len(files) != want {
		return files, fmt.Errorf("%d files, want %d", len(files), want)
	}
	for _, f := range files[1:] {
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
	serve, want := func(client io.ReadWriteCloser) { client.Close() }, ledgerAndBoth //nolint:errcheck // nobody uses it
	if hello.URL != "" {
		var err error
		if serve, err = p.Connect(r.Context(), hello); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		want = ledgerAndClient
	}
	conn, client, server := p.files(w, want)
	if conn == nil {
		if hello.URL != "" {
			serve(nil)
		}
		return
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		io.Copy(io.Discard, conn) //nolint:errcheck // it ends with the shim, or when both sides are closed
		client.Close()            //nolint:errcheck // it may be closed already
		if server != nil {
			server.Close() //nolint:errcheck // as above
		}
	})
	if server != nil {
		p.Serve(hello, client, server)
	} else {
		serve(client)
	}
	watch.Wait()
}

// files takes the connection and the pipes of a shim over. Conn is nil if that fails.
func (p *Pipes) files(w http.ResponseWriter, want int) (conn *net.UnixConn, client, server *Side) {
	hijacked, err := hijack(w)
	if err != nil || upgrade(hijacked, "") != nil {
		return nil, nil, nil
	}
	conn, ok := hijacked.(*net.UnixConn)
	if !ok { // files come over unix sockets only
		hijacked.Close() //nolint:errcheck // the shim learns it so
		return nil, nil, nil
	}
	files, err := receive(conn, want, p.patience())
	if err == nil {
		say := func(word byte) { conn.Write([]byte{word}) } //nolint:errcheck // it may be gone already
		client, server, err = sides(files, func() { say(saidLeft) }, nil)
		if err == nil {
			j := client.joint
			j.over = func() {
				if !j.dropped.Load() {
					say(saidAll)
				}
				conn.Close() //nolint:errcheck // the shim learns that all is said
			}
		}
	}
	if err != nil {
		conn.Close() //nolint:errcheck // as above
		return nil, nil, nil
	}
	return conn, client, server
}
