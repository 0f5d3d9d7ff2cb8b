package transport_test

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
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// soon is longer than anything here takes.
const soon = 20 * time.Second

// attached is what Serve is called with.
type attached struct {
	hello          transport.Hello
	client, server io.ReadWriteCloser
}

func (a attached) close() {
	a.client.Close()
	a.server.Close()
}

// socket returns a path that is short enough for one.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "u")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// listen serves h on a new socket until the test ends.
func listen(t *testing.T, h http.Handler) (path string) {
	t.Helper()
	path = socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	var done sync.WaitGroup
	done.Go(func() { s.Serve(l) })
	t.Cleanup(func() {
		s.Close()
		done.Wait()
	})
	return path
}

// daemon serves pipes; what attaches comes out of the channel.
func daemon(t *testing.T, patience time.Duration) (path string, shims <-chan attached) {
	t.Helper()
	out := make(chan attached, 32)
	p := &transport.Pipes{Patience: patience, Serve: func(hello transport.Hello, client, server io.ReadWriteCloser) {
		out <- attached{hello, client, server}
	}}
	mux := http.NewServeMux()
	p.Register(mux)
	return listen(t, mux), out
}

func attach(t *testing.T, path string, hello transport.Hello) (client, server *net.UnixConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	client, server, err := transport.Attach(ctx, path, hello)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(soon))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

func next(t *testing.T, shims <-chan attached) attached {
	t.Helper()
	select {
	case a := <-shims:
		t.Cleanup(a.close)
		return a
	case <-time.After(soon):
		t.Fatal("nobody attached")
		return attached{}
	}
}

func TestAHelloArrivesWhole(t *testing.T) {
	path, shims := daemon(t, 0)
	hello := transport.Hello{
		Name: "files", Command: []string{"npx", "-y", "a b", "ä\n\"<&>"}, Workspace: "/home/ann/project x", Process: "claude[4711]",
		Asserted: map[string]string{"CLAUDE_CODE_SESSION_ID": "5f0c"},
	}
	attach(t, path, hello)
	if got := next(t, shims).hello; !reflect.DeepEqual(got, hello) {
		t.Errorf("%+v", got)
	}
}

func TestEachPipeCarriesBytesBothWays(t *testing.T) {
	path, shims := daemon(t, 0)
	client, server := attach(t, path, transport.Hello{Name: "files"})
	a := next(t, shims)
	large := bytes.Repeat([]byte("0123456789\n\r\x00"), 40<<10)
	for name, ends := range map[string][2]io.ReadWriter{
		"client": {client, a.client}, "client back": {a.client, client}, "server": {server, a.server}, "server back": {a.server, server},
	} {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := ends[0].Write(large); err != nil {
				t.Error(err)
			}
		})
		got := make([]byte, len(large))
		if _, err := io.ReadFull(ends[1], got); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%s: %v", name, err)
		}
		wg.Wait()
	}
}

// What the daemon sends right behind its answer, in the same packet, belongs to the stream.
func TestFirstBytesAreNotSwallowed(t *testing.T) {
	for _, size := range []int{1, 15, 16, 17, 4096, 100_000} {
		first := bytes.Repeat([]byte("x"), size)
		path := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: umpire-pipes\r\nUmpire-Pipes: T\r\n\r\n"
			conn.Write(append([]byte(head), first...))
		}))
		client, server := attach(t, path, transport.Hello{Name: "files"})
		for name, c := range map[string]net.Conn{"client": client, "server": server} {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, first) {
				t.Errorf("%s: %d of %d bytes (%v)", name, len(got), size, err)
			}
		}
	}
}

// A client that closes its stdin can still be answered.
func TestEachDirectionEndsForItself(t *testing.T) {
	path, shims := daemon(t, 0)
	client, server := attach(t, path, transport.Hello{Name: "files"})
	a := next(t, shims)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(a.client); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	if err := transport.NewLines(a.client, 100).Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if got, err := transport.NewLines(client, 100).Read(); string(got) != "answer" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	daemonSide := transport.NewLines(a.server, 100)
	if err := daemonSide.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(server); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	if _, err := server.Write([]byte("last words\n")); err != nil {
		t.Error(err)
	}
	if got, err := daemonSide.Read(); string(got) != "last words" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestShimsAreNeverMixedUp(t *testing.T) {
	path, shims := daemon(t, 0)
	const n = 20
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			a := <-shims
			fmt.Fprintf(a.client, "client of %s\n", a.hello.Name)
			fmt.Fprintf(a.server, "server of %s\n", a.hello.Name)
			a.close()
		}
	})
	for i := range n {
		wg.Go(func() {
			name := fmt.Sprintf("s%d", i)
			client, server, err := transport.Attach(t.Context(), path, transport.Hello{Name: name})
			if err != nil {
				t.Error(err)
				return
			}
			for want, c := range map[string]net.Conn{"client of " + name + "\n": client, "server of " + name + "\n": server} {
				if got, err := io.ReadAll(c); string(got) != want || err != nil {
					t.Errorf("%q, want %q (%v)", got, want, err)
				}
				c.Close()
			}
		})
	}
	wg.Wait()
}

// half sends a request for one half of the pipes and returns the answer and the connection that it is on.
func half(t *testing.T, path, target, body string) (*http.Response, net.Conn) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: umpire\r\nConnection: Upgrade\r\nUpgrade: umpire-pipes\r\n%s", target, body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, c
}

func sized(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

func TestWhoIsNoShimIsRefused(t *testing.T) {
	path, shims := daemon(t, 0)
	for name, tc := range map[string]struct {
		target, body string
		want         int
	}{
		"no hello":               {"POST /v1/pipes/client", sized(""), http.StatusBadRequest},
		"a hello without name":   {"POST /v1/pipes/client", sized(`{"command":["x"]}`), http.StatusBadRequest},
		"a name of another type": {"POST /v1/pipes/client", sized(`{"name":1}`), http.StatusBadRequest},
		"no JSON":                {"POST /v1/pipes/client", sized(`name=files`), http.StatusBadRequest},
		"a list":                 {"POST /v1/pipes/client", sized(`[{"name":"files"}]`), http.StatusBadRequest},
		"a hello without end":    {"POST /v1/pipes/client", sized(`{"command":["` + strings.Repeat("x", 1<<20) + `"],"name":"files"}`), http.StatusBadRequest},
		"another method":         {"GET /v1/pipes/client", sized(`{"name":"files"}`), http.StatusMethodNotAllowed},
		"no token":               {"POST /v1/pipes/server", sized(""), http.StatusNotFound},
		"an empty token":         {"POST /v1/pipes/server?token=", sized(""), http.StatusNotFound},
		"a token of nobody":      {"POST /v1/pipes/server?token=AAAAAAAAAAAAAAAAAAAAAAAAAA", sized(""), http.StatusNotFound},
		"another path":           {"POST /v1/pipes", sized(`{"name":"files"}`), http.StatusNotFound},
	} {
		if resp, _ := half(t, path, tc.target, tc.body); resp.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", name, resp.Status, tc.want)
		}
	}
	if len(shims) > 0 {
		t.Errorf("%+v is attached", (<-shims).hello)
	}
}

// Attempt: join the pipes of another shim with its token.
func TestATokenIsGoodForOneHalf(t *testing.T) {
	path, shims := daemon(t, 0)
	first, _ := half(t, path, "POST /v1/pipes/client", sized(`{"name":"files"}`))
	token := first.Header.Get("Umpire-Pipes")
	if resp, _ := half(t, path, "POST /v1/pipes/server?token="+token, sized("")); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	next(t, shims)
	if resp, _ := half(t, path, "POST /v1/pipes/server?token="+token, sized("")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the second time: %s", resp.Status)
	}
}

func TestAShimThatDiesBetweenTheHalvesIsForgotten(t *testing.T) {
	path, shims := daemon(t, time.Millisecond)
	first, conn := half(t, path, "POST /v1/pipes/client", sized(`{"name":"files"}`))
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 { // the daemon gives up first: we see how it hangs up
		t.Errorf("%q %v", rest, err)
	}
	if resp, _ := half(t, path, "POST /v1/pipes/server?token="+first.Header.Get("Umpire-Pipes"), sized("")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the second half comes too late: %s", resp.Status)
	}
	if len(shims) > 0 {
		t.Error("half a shim is attached")
	}
}

// Attempt: send messages before the daemon has answered, so that they are read as HTTP.
func TestBytesBeforeTheUpgradeEndIt(t *testing.T) {
	const early = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n"
	path, shims := daemon(t, 0)
	impatient := func(target, body string) {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: umpire\r\nConnection: Upgrade\r\nUpgrade: umpire-pipes\r\n%s", target, sized(body)+early)
		if answer, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(answer) > 0 {
			t.Errorf("%q %v", answer, err)
		}
	}
	impatient("POST /v1/pipes/client", `{"name":"files"}`)
	first, conn := half(t, path, "POST /v1/pipes/client", sized(`{"name":"files"}`))
	impatient("POST /v1/pipes/server?token="+first.Header.Get("Umpire-Pipes"), "")
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("the first half is not closed with the second: %q %v", rest, err)
	}
	if len(shims) > 0 {
		t.Error("a shim that does not wait is attached")
	}
}

func TestAttachFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, _, err := transport.Attach(ctx, socket(t), transport.Hello{Name: "files"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody listens: %v", err)
	}
	refuses := listen(t, http.NotFoundHandler())
	if _, _, err := transport.Attach(ctx, refuses, transport.Hello{Name: "files"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("not a daemon: %v", err)
	}
	path, _ := daemon(t, 0)
	if _, _, err := transport.Attach(ctx, path, transport.Hello{}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("no name: %v", err)
	}
	closed := make(chan error, 1)
	secondFails := http.NewServeMux()
	secondFails.HandleFunc("POST /v1/pipes/client", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Umpire-Pipes", "T")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(soon))
			_, err = conn.Read(make([]byte, 1))
		}
		closed <- err
	})
	if _, _, err := transport.Attach(ctx, listen(t, secondFails), transport.Hello{Name: "files"}); err == nil {
		t.Error("attached with one half")
	}
	if err := <-closed; !errors.Is(err, io.EOF) {
		t.Errorf("the first half is left open: %v", err)
	}
}

func TestAttachDoesNotWaitForEver(t *testing.T) {
	path := socket(t)
	l, err := net.Listen("unix", path) // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := transport.Attach(ctx, path, transport.Hello{Name: "files"}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
