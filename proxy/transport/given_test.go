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

// given gives pipes to a daemon. Ended is closed when the shim has heard that all is said, left when the client has gone.
func given(t *testing.T) (p peers, a attached, left, ended <-chan struct{}) {
	t.Helper()
	path, shims := daemon(t, 0)
	var client, child transport.Ends
	client.In, p.clientOut = pipe(t)
	p.clientIn, client.Out = pipe(t)
	child.In, p.childOut = pipe(t)
	p.childIn, child.Out = pipe(t)
	g, err := transport.Give(t.Context(), path, transport.Hello{Name: "files"}, client, child)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{client.In, client.Out, child.In, child.Out} {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the shim still has %s: %v", f.Name(), err)
		}
	}
	gone, over := make(chan struct{}), make(chan struct{})
	go func() {
		g.Wait(sync.OnceFunc(func() { close(gone) }))
		close(over)
	}()
	a = next(t, shims)
	t.Cleanup(func() { // wait for the shim
		a.close()
		<-over
	})
	return p, a, gone, over
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
	p := peers{}
	files := make([]*os.File, 4)
	files[0], p.clientOut = pipe(t)
	p.clientIn, files[1] = pipe(t)
	files[2], p.childOut = pipe(t)
	p.childIn, files[3] = pipe(t)
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

// Attempt: send the daemon something else than four pipes. It keeps none of it open.
func TestWhatIsNotFourPipesIsRefused(t *testing.T) {
	path, shims := daemon(t, 0)
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	for name, n := range map[string]int{"none": 0, "three": 3, "five": 5, "twelve": 12, "three and a file": -3} {
		var files, far []*os.File
		for range max(n, -n) {
			r, w := pipe(t)
			files, far = append(files, w), append(far, r)
		}
		if n < 0 {
			files = append(files, regular)
		}
		conn := offer(t, path, files...)
		closes(t, name, conn)
		for i, f := range far {
			files[i].Close()
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
	path, shims := daemon(t, 0)
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	r, w := pipe(t)
	both := transport.Ends{In: r, Out: w}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for name, tc := range map[string]struct {
		path   string
		client transport.Ends
		want   error
	}{
		"a file is no pipe":     {path, transport.Ends{In: r, Out: regular}, errors.ErrUnsupported},
		"an older daemon":       {listen(t, http.NotFoundHandler()), both, errors.ErrUnsupported},
		"nobody listens":        {socket(t), both, os.ErrNotExist},
		"the hello has no name": {path, both, nil},
	} {
		g, err := transport.Give(ctx, tc.path, transport.Hello{}, tc.client, both)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v %v", name, g, err)
		}
		if _, err := w.WriteString("x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(shims) > 0 {
		t.Error("a shim is attached")
	}
}
