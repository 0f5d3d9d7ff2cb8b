//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// pipe returns both ends of a pipe; what is left of them is closed when the test ends.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{r, w} {
		f.SetDeadline(time.Now().Add(soon))
		t.Cleanup(func() { f.Close() })
	}
	return r, w
}

// peers are a client and a child at the far ends of a shim's pipes.
type peers struct {
	clientIn, childIn   *os.File // what they are told
	clientOut, childOut *os.File // what they say
}

// ends makes pipes, with their far ends.
func ends(t *testing.T) (p peers, client, child transport.Ends) {
	t.Helper()
	client.In, p.clientOut = pipe(t)
	p.clientIn, client.Out = pipe(t)
	child.In, p.childOut = pipe(t)
	p.childIn, child.Out = pipe(t)
	return p, client, child
}

// pipework makes the pipes of a shim, with their far ends.
func pipework(t *testing.T) (p peers, own *transport.Pipework) {
	t.Helper()
	p, client, child := ends(t)
	own, err := transport.NewPipework(client, child)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{client.In, client.Out, child.In, child.Out} {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s is still open: %v", f.Name(), err)
		}
	}
	return p, own
}

// ledgerFile returns the file behind a new ledger.
func ledgerFile(t *testing.T) *os.File {
	t.Helper()
	l, err := transport.NewLedger()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.File()
}

// shim is what a shim does with its pipes: it closes those to the child when the client has left, and all of them when all
// is said.
type shim struct {
	left, ended chan struct{}
	err         error // when it has ended
}

// give gives pipes to the daemon at path.
func give(t *testing.T, path string, own *transport.Pipework) *shim {
	t.Helper()
	g, err := transport.Give(t.Context(), path, transport.Hello{Name: "files"}, own)
	if err != nil {
		t.Fatal(err)
	}
	s := &shim{left: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = g.Wait(sync.OnceFunc(func() {
			own.HangUp()
			close(s.left)
		}))
		if s.err == nil {
			own.Close()
		}
	}()
	return s
}

// given gives pipes to a daemon. Ended is closed when the shim has heard that all is said, left when the client has gone.
func given(t *testing.T) (p peers, a attached, left, ended <-chan struct{}) {
	t.Helper()
	path, shims := daemon(t, 0)
	p, own := pipework(t)
	s := give(t, path, own)
	a = next(t, shims)
	t.Cleanup(func() { // wait for the shim
		a.close()
		if <-s.ended; s.err != nil {
			t.Error(s.err)
		}
	})
	return p, a, s.left, s.ended
}

// silent fails the test if c is closed.
func silent(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Error(what)
	default:
	}
}

func TestPipesThatAreGivenCarryBytesBothWays(t *testing.T) {
	p, a, left, ended := given(t)
	if a.hello.Name != "files" {
		t.Errorf("%+v", a.hello)
	}
	large := bytes.Repeat([]byte("0123456789\n\r\x00"), 40<<10)
	for name, ends := range map[string]struct {
		to   io.Writer
		from io.Reader
	}{
		"the client says": {p.clientOut, a.client}, "the client hears": {a.client, p.clientIn},
		"the child says": {p.childOut, a.server}, "the child hears": {a.server, p.childIn},
	} {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := ends.to.Write(large); err != nil {
				t.Error(err)
			}
		})
		got := make([]byte, len(large))
		if _, err := io.ReadFull(ends.from, got); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%s: %v", name, err)
		}
		wg.Wait()
	}
	silent(t, "the client has not left", left)
	silent(t, "not all is said", ended)
}

// closes waits until reading from f is at its end.
func closes(t *testing.T, what string, f io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(f); err != nil || len(rest) > 0 {
		t.Errorf("%s: %q %v", what, rest, err)
	}
}

// A process that gives pipes up takes no line more, not of what it has read ahead either: the next one finds them.
func TestWhatWasReadAheadIsLeftForTheNext(t *testing.T) {
	p, own := pipework(t)
	defer own.Close()
	if _, err := p.clientOut.WriteString("one\ntwo\nthree\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		client, server, err := own.Sides(func() {})
		if err != nil {
			t.Fatal(err)
		}
		lines := transport.NewLines(client, 100)
		if got, err := lines.Read(); string(got) != want || err != nil {
			t.Errorf("%q %v, want %s", got, err, want)
		}
		client.Drop()
		if got, err := lines.Read(); !errors.Is(err, io.EOF) {
			t.Errorf("%q %v after %s", got, err, want)
		}
		lines.Close()
		if got, err := lines.Read(); !errors.Is(err, io.EOF) {
			t.Errorf("%q %v after %s and the end", got, err, want)
		}
		server.Close()
	}
}

// The client hangs up, the child ends of it, and what it says last reaches the client.
func TestGivenPipesEndOneByOne(t *testing.T) {
	p, a, left, ended := given(t)
	p.clientOut.Close()
	closes(t, "the daemon hears the client", a.client)
	<-left
	transport.NewLines(a.server, 100).CloseWrite()
	closes(t, "the child hears", p.childIn)
	if _, err := p.childOut.WriteString("last words\n"); err != nil {
		t.Error(err)
	}
	p.childOut.Close()
	if got, err := io.ReadAll(a.server); string(got) != "last words\n" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, err := a.client.Write([]byte("answer\n")); err != nil {
		t.Error(err)
	}
	silent(t, "not all is said", ended)
	a.close()
	if got, err := io.ReadAll(p.clientIn); string(got) != "answer\n" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	<-ended
}

// The daemon gives the client up, because nothing can be written to it: the child has to end all the same.
func TestAChildThatIsHungUpOnEnds(t *testing.T) {
	_, a, left, ended := given(t)
	a.server.(interface{ CloseWrite() error }).CloseWrite()
	<-left
	silent(t, "not all is said", ended)
}

// A shim that is killed closes nothing in order. The pipes of its client and its child are the daemon's, and end.
func TestPipesOfAShimThatDiesEnd(t *testing.T) {
	path, shims := daemon(t, 0)
	p, client, child := ends(t)
	files := []*os.File{ledgerFile(t), client.In, client.Out, child.In, child.Out}
	conn := offer(t, path, files...)
	for _, f := range files {
		f.Close()
	}
	a := next(t, shims)
	var reads sync.WaitGroup
	for _, s := range []io.Reader{a.client, a.server} { // in progress
		reads.Go(func() { closes(t, "the daemon hears", s) })
	}
	conn.Close()
	closes(t, "the client hears", p.clientIn)
	closes(t, "the child hears", p.childIn)
	reads.Wait()
	for _, f := range []*os.File{p.clientOut, p.childOut} {
		var err error
		for err == nil { // a reader that has been told may not have closed its end yet; a full pipe waits for that
			_, err = f.Write(make([]byte, 64<<10))
		}
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("somebody still reads: %v", err)
		}
	}
}

// offer asks the daemon to take pipes, and sends these files.
func offer(t *testing.T, path string, files ...*os.File) *net.UnixConn {
	t.Helper()
	resp, c := half(t, path, "POST /v1/pipes/files", sized(`{"name":"files"}`))
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = syscall.UnixRights(fds...)
	}
	conn := c.(*net.UnixConn)
	if _, _, err := conn.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Attempt: send the daemon something else than a ledger and four pipes. It keeps none of it open.
func TestWhatIsNoPipeworkIsRefused(t *testing.T) {
	path, shims := daemon(t, 0)
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	shrinks, err := os.CreateTemp(t.TempDir(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer shrinks.Close()
	size, err := ledgerFile(t).Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := shrinks.Truncate(size.Size()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		first, last *os.File
		pipes       int
	}{
		"none": {}, "three pipes": {pipes: 3}, "five pipes": {pipes: 5}, "twelve pipes": {pipes: 12},
		"a ledger alone": {first: ledgerFile(t)}, "a ledger and three": {first: ledgerFile(t), pipes: 3},
		"a ledger, three and a file": {first: ledgerFile(t), pipes: 3, last: regular},
		"a file for a ledger":        {first: regular, pipes: 4},
		"a ledger that can shrink":   {first: shrinks, pipes: 4},
	} {
		if name == "a ledger that can shrink" && runtime.GOOS != "linux" {
			continue // nobody can say so there
		}
		var files, near, far []*os.File
		if tc.first != nil {
			files = append(files, tc.first)
		}
		for range tc.pipes {
			r, w := pipe(t)
			files, near, far = append(files, w), append(near, w), append(far, r)
		}
		if tc.last != nil {
			files = append(files, tc.last)
		}
		conn := offer(t, path, files...)
		closes(t, name, conn)
		for i, f := range far {
			near[i].Close()
			closes(t, name, f)
		}
	}
	if len(shims) > 0 {
		t.Errorf("%+v is attached", (<-shims).hello)
	}
}

func TestAShimThatSendsNothingIsForgotten(t *testing.T) {
	path, shims := daemon(t, time.Millisecond)
	_, conn := half(t, path, "POST /v1/pipes/files", sized(`{"name":"files"}`))
	closes(t, "the daemon gives up first", conn)
	if len(shims) > 0 {
		t.Error("nobody is attached")
	}
}

// Where pipes cannot be given, nothing has happened to them, and the shim copies.
func TestWhatCannotBeGivenStaysAsItWas(t *testing.T) {
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	r, w := pipe(t)
	both := transport.Ends{In: r, Out: w}
	for name, client := range map[string]transport.Ends{"stdout": {In: r, Out: regular}, "stdin": {In: regular, Out: w}} {
		if _, err := transport.NewPipework(client, both); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s is no pipe: %v", name, err)
		}
		if _, err := w.WriteString("x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A daemon that takes no pipes leaves them to the shim, which offers them to the next one.
func TestPipesThatNobodyTakesAreKept(t *testing.T) {
	p, own := pipework(t)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	other := listen(t, http.NotFoundHandler())
	path, shims := daemon(t, 0)
	for name, tc := range map[string]struct {
		path, hello string
	}{
		"another daemon": {other, "files"}, "nobody listens": {socket(t), "files"}, "the hello has no name": {path, ""},
	} {
		if g, err := transport.Give(ctx, tc.path, transport.Hello{Name: tc.hello}, own); err == nil {
			t.Errorf("%s: %v", name, g)
		}
	}
	if len(shims) > 0 {
		t.Error("a shim is attached")
	}
	s := give(t, path, own)
	a := next(t, shims)
	if _, err := p.clientOut.WriteString("hello\n"); err != nil {
		t.Error(err)
	}
	hears(t, transport.NewLines(a.client, 100), "hello")
	a.close()
	<-s.ended
}

// The daemon ends and neither side is told; the next one goes on where it was.
func TestPipesGoOnWithTheNextDaemon(t *testing.T) {
	p, own := pipework(t)
	for round := range 3 {
		path, shims := daemon(t, 0)
		s := give(t, path, own)
		a := next(t, shims)
		client, child := transport.NewLines(a.client, 1000), transport.NewLines(a.server, 1000)
		if round > 0 { // what the one before had read and not taken, and what was cut off
			hears(t, client, "two")
			if _, err := p.clientOut.WriteString("ee\n"); err != nil {
				t.Fatal(err)
			}
			hears(t, client, "three")
		}
		if _, err := p.clientOut.WriteString("one\ntwo\nthr"); err != nil {
			t.Fatal(err)
		}
		hears(t, client, "one")
		if err := child.Write([]byte("told")); err != nil {
			t.Fatal(err)
		}
		told := make([]byte, 5)
		if _, err := io.ReadFull(p.childIn, told); err != nil || string(told) != "told\n" {
			t.Errorf("%q %v", told, err)
		}
		a.client.(*transport.Side).Drop()
		a.close()
		<-s.ended
		if !errors.Is(s.err, transport.ErrGone) {
			t.Error(s.err)
		}
		silent(t, "nobody has left", s.left)
	}
	path, shims := daemon(t, 0)
	s := give(t, path, own)
	a := next(t, shims)
	p.clientOut.Close()
	if got, err := io.ReadAll(a.client); string(got) != "two\nthr" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	<-s.left
	a.close()
	<-s.ended
	closes(t, "the client hears", p.clientIn)
	closes(t, "the child hears", p.childIn)
}

// hears reads a line.
func hears(t *testing.T, from *transport.Lines, want string) {
	t.Helper()
	if got, err := from.Read(); string(got) != want || err != nil {
		t.Errorf("%q %v, want %q", got, err, want)
	}
}

// Where no daemon can be had, the shim itself serves duplicates of its pipes, and a daemon goes on with them.
func TestAShimServesItsOwnPipesForAWhile(t *testing.T) {
	p, own := pipework(t)
	left := make(chan struct{})
	client, server, err := own.Sides(sync.OnceFunc(func() { close(left) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.clientOut.WriteString("one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, transport.NewLines(client, 1000), "one")
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		io.ReadAll(server)
	}()
	client.Drop()
	client.Close()
	server.Close()
	<-reading
	silent(t, "nobody has left", left)
	path, shims := daemon(t, 0)
	give(t, path, own)
	a := next(t, shims)
	hears(t, transport.NewLines(a.client, 1000), "two")
	p.clientOut.Close()
	closes(t, "the daemon hears", a.client)
}

// The rest of a line whose beginning is lost is skipped, however many processes it takes.
func TestALineThatIsLostIsSkippedToItsEnd(t *testing.T) {
	p, own := pipework(t)
	defer own.Close()
	says := func(text string) {
		t.Helper()
		if _, err := p.clientOut.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	serve := func() (client *transport.Lines, ends func()) {
		side, child, err := own.Sides(func() { t.Error("the client has left") })
		if err != nil {
			t.Fatal(err)
		}
		return transport.NewLines(side, 10<<20), func() {
			side.Drop()
			side.Close()
			child.Close()
		}
	}
	for _, piece := range []int{1 << 20, 1 << 10, 300 << 10, 0, 100 << 10} {
		client, ends := serve()
		var reading sync.WaitGroup
		reading.Go(func() {
			if got, err := client.Read(); err == nil {
				t.Errorf("%.30q… of %d bytes", got, len(got))
			}
		})
		says(strings.Repeat("x", piece+128<<10)) // more than the pipe holds: the piece has been read then
		ends()
		reading.Wait()
	}
	client, ends := serve()
	defer ends()
	says("x\nnext\n")
	hears(t, client, "next")
}
