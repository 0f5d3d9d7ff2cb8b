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
	"net/url"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// origin is a server that answers each request on each connection as a test says.
type origin struct {
	t     *testing.T
	l     net.Listener
	conns chan int // the number of each connection, as it is accepted
	ended chan struct{}
}

func serve(t *testing.T, talk func(n int, c net.Conn, r *bufio.Reader)) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, l: l, conns: make(chan int, 100), ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.conns <- n
			talk(n, c, bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-o.ended })
	return o
}

// answer reads a whole request and writes the text.
func answer(c net.Conn, r *bufio.Reader, text string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return false
	}
	_, err = io.WriteString(c, text)
	return err == nil
}

func (o *origin) client() *transport.Client {
	c := transport.NewClient(o.l.Addr().String())
	o.t.Cleanup(c.CloseIdleConnections)
	return c
}

func post(ctx context.Context) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://origin/mcp", nil)
	if err != nil {
		panic(err)
	}
	return r
}

// ask sends a request and returns the body of the answer.
func ask(t *testing.T, c *transport.Client, body string) (string, error) {
	t.Helper()
	resp, err := c.Send(post(t.Context()), []byte(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestAConnectionIsUsedAgain(t *testing.T) {
	o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for answer(c, r, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok) {
		}
	})
	c := o.client()
	for range 3 {
		if got, err := ask(t, c, "{}"); got != "ok" || err != nil {
			t.Fatal(got, err)
		}
	}
	if n := len(o.conns); n != 1 {
		t.Errorf("%d connections for three requests", n)
	}
}

func TestAConnectionThatCannotBeTrustedIsNotUsedAgain(t *testing.T) {
	for name, first := range map[string]string{
		"closed after the answer":         ok,
		"announced to be closed":          "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":                        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"with a second answer at its end": ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			o := serve(t, func(n int, c net.Conn, r *bufio.Reader) {
				if n > 1 {
					answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
					return
				}
				answer(c, r, first)
				c.Close()
				close(gone)
			})
			c := o.client()
			if got, err := ask(t, c, "{}"); got != "ok" || err != nil {
				t.Fatal(got, err)
			}
			<-gone
			if got, err := ask(t, c, "{}"); got != "new" || err != nil {
				t.Errorf("got %q, %v on the second request", got, err)
			}
		})
	}
}

// The second answer arrives while the connection is idle: it must not be taken for that of the next request.
func TestWhatAServerSaysUnaskedAnswersNothing(t *testing.T) {
	said, next := make(chan struct{}), make(chan struct{})
	o := serve(t, func(n int, c net.Conn, r *bufio.Reader) {
		if n > 1 {
			answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
			return
		}
		answer(c, r, ok)
		<-next
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		close(said)
	})
	c := o.client()
	if got, err := ask(t, c, "{}"); got != "ok" || err != nil {
		t.Fatal(got, err)
	}
	close(next)
	<-said
	if got, err := ask(t, c, "{}"); got != "new" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestARequestIsNeverSentTwice(t *testing.T) {
	requests := make(chan string, 10)
	o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			if requests <- string(body); string(body) == "pay" {
				return
			}
			io.WriteString(c, ok)
		}
	})
	c := o.client()
	if got, err := ask(t, c, "look"); got != "ok" || err != nil {
		t.Fatal(got, err)
	}
	if got, err := ask(t, c, "pay"); err == nil {
		t.Fatalf("got %q from a server that does not answer", got)
	}
	if got, err := ask(t, c, "look"); got != "ok" || err != nil {
		t.Fatal(got, err)
	}
	if first, second, third := <-requests, <-requests, <-requests; first != "look" || second != "pay" || third != "look" || len(requests) > 0 {
		t.Errorf("the server saw %s, %s, %s and %d more", first, second, third, len(requests))
	}
}

func TestAContextThatEndsEndsTheExchange(t *testing.T) {
	for name, begin := range map[string]string{
		"before the answer": "",
		"in its head":       "HTTP/1.1 200 OK\r\nContent-Type: text/pl",
		"in its body":       "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
				answer(c, r, begin)
				if !strings.HasSuffix(begin, "some") {
					cancel()
				}
				io.Copy(io.Discard, r) // until the client closes
			})
			resp, err := o.client().Send(post(ctx), []byte("{}"))
			if err == nil {
				io.ReadFull(resp.Body, make([]byte, 4))
				cancel()
				_, err = resp.Body.Read(make([]byte, 1))
				resp.Body.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// What a client put into its request cannot become a second one.
func TestNothingInARequestEndsItsHead(t *testing.T) {
	heads := make(chan *http.Request, 1)
	o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		heads <- req
		io.WriteString(c, ok)
	})
	c := o.client()
	r := post(t.Context())
	r.Header = http.Header{
		"X-Note": {"a\r\nX-Evil: 1"}, "X-Evil: 1\r\nX-Name": {"a"}, "Content-Length": {"0"}, "Transfer-Encoding": {"chunked"}, "Host": {"evil"},
	}
	resp, err := c.Send(r, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-heads; got.Header.Get("X-Evil") != "" || got.ContentLength != 2 || got.TransferEncoding != nil || got.Host != "origin" {
		t.Errorf("the server saw %+v", got)
	}
	for _, r := range []*http.Request{
		{Method: "POST", Host: "origin", URL: &url.URL{Path: "/mcp", RawQuery: "a b"}},
		{Method: "POST", Host: "origin\r\nX-Evil: 1", URL: &url.URL{Path: "/mcp"}},
		{Method: "GET / HTTP/1.1\r\n\r\nPOST", Host: "origin", URL: &url.URL{Path: "/mcp"}},
	} {
		if resp, err := c.Send(r, nil); err == nil {
			resp.Body.Close()
			t.Errorf("%+v was sent", r)
		}
	}
}

// A server that refuses a long body need not read it.
func TestAnEarlyAnswerIsHeard(t *testing.T) {
	o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r) // its head
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		r.WriteTo(io.Discard) // until the client closes
	})
	c := o.client()
	resp, err := c.Send(post(t.Context()), make([]byte, 20<<20))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || string(text) != "no" || err != nil {
		t.Errorf("got %d %q, %v", resp.StatusCode, text, err)
	}
}

func TestALongBodyArrivesWhole(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			got, _ := io.ReadAll(req.Body)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(got), got)
		}
	})
	c := o.client()
	for range 2 {
		if got, err := ask(t, c, body); got != body || err != nil {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
	}
}

func TestHeadsWithoutEndAreRefused(t *testing.T) {
	for name, head := range map[string]string{
		"headers":         "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1100) + "\r\n",
		"interim answers": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 6) + ok,
		"no HTTP":         "SSH-2.0-OpenSSH\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := serve(t, func(_ int, c net.Conn, r *bufio.Reader) { answer(c, r, head) })
			if got, err := ask(t, o.client(), "{}"); err == nil {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAServerThatIsNotThereWasSentNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = ask(t, transport.NewClient(l.Addr().String()), "{}")
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("err = %v, want that of a dial", err)
	}
}

// BenchmarkExchange compares the client with net/http's, over a server of net/http, eight exchanges at once for each core.
func BenchmarkExchange(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 1<<10)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })}
	go s.Serve(l)
	defer s.Close()
	url := "http://" + l.Addr().String()
	client, std := transport.NewClient(l.Addr().String()), &http.Transport{MaxIdleConnsPerHost: 256}
	for _, c := range []struct {
		name string
		send func(*http.Request) (*http.Response, error)
	}{
		{"client=umpire", func(r *http.Request) (*http.Response, error) { return client.Send(r, body) }},
		{"client=net-http", func(r *http.Request) (*http.Response, error) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			return std.RoundTrip(r)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, url, nil)
					resp, err := c.send(r)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}
