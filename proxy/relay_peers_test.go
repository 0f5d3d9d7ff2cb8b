package proxy_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	mark3transport "github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/server"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// Real clients and servers of both Go libraries: every transport of the client in front of every transport of the server.
// Over WebSocket, which neither library speaks, they speak through a socket that carries the lines of stdio.

// pipes returns the two ends of a pair of pipes.
func pipes() (a, b duplex) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return duplex{ar, aw}, duplex{br, bw}
}

// duplex is an end of two pipes.
type duplex struct {
	io.ReadCloser
	io.WriteCloser
}

// Close implements io.Closer.
func (d duplex) Close() error {
	d.WriteCloser.Close()
	return d.ReadCloser.Close()
}

// overPipes is the way over stdio.
func overPipes(d duplex) way {
	return way{
		official: func() (sdk.Transport, error) {
			return &sdk.IOTransport{Reader: d.ReadCloser, Writer: d.WriteCloser}, nil
		},
		mark3: func(string) (mark3transport.Interface, error) {
			return mark3transport.NewIO(d.ReadCloser, d.WriteCloser, io.NopCloser(strings.NewReader(""))), nil
		},
	}
}

// overSSE is the way over HTTP+SSE.
func overSSE(url string, c *http.Client) way {
	return way{
		official: func() (sdk.Transport, error) { return &sdk.SSEClientTransport{Endpoint: url, HTTPClient: c}, nil },
		mark3: func(string) (mark3transport.Interface, error) {
			return mark3transport.NewSSE(url, mark3transport.WithHTTPClient(c))
		},
	}
}

// lines carries the lines of a pipe over a WebSocket, until one of the two ends.
func lines(ws *websocket.Conn, d duplex) {
	var both sync.WaitGroup
	both.Go(func() {
		in := bufio.NewScanner(d)
		in.Buffer(nil, 64<<20)
		for in.Scan() {
			if ws.WriteMessage(websocket.TextMessage, in.Bytes()) != nil {
				break
			}
		}
		ws.Close()
	})
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			break
		}
		if _, err := d.Write(append(bytes.TrimSpace(text), '\n')); err != nil {
			break
		}
	}
	ws.Close()
	d.Close()
	both.Wait()
}

// overWS is the way over WebSocket.
func overWS(t *testing.T, url string, running *sync.WaitGroup) way {
	dial := func() (way, error) {
		d := websocket.Dialer{Subprotocols: []string{transport.Subprotocol}}
		ws, resp, err := d.DialContext(t.Context(), strings.Replace(url, "http", "ws", 1), nil)
		if err != nil {
			return way{}, err
		}
		resp.Body.Close()
		near, far := pipes()
		running.Go(func() { lines(ws, far) })
		return overPipes(near), nil
	}
	return way{
		official: func() (sdk.Transport, error) {
			w, err := dial()
			if err != nil {
				return nil, err
			}
			return w.official()
		},
		mark3: func(revision string) (mark3transport.Interface, error) {
			w, err := dial()
			if err != nil {
				return nil, err
			}
			return w.mark3(revision)
		},
	}
}

// speak serves one client over a pipe.
func speak(library string, h *house, d duplex) {
	defer d.Close()
	if library == "official" {
		officialServer(h).Run(context.Background(), &sdk.IOTransport{Reader: d.ReadCloser, Writer: d.WriteCloser}) //nolint:errcheck // it ends with the client
		return
	}
	server.NewStdioServer(mark3Server(h)).Listen(context.Background(), d.ReadCloser, d.WriteCloser) //nolint:errcheck // as above
}

// relayPair says who meets, and over what.
type relayPair struct {
	pair
	clientVia, serverVia string
}

// legal reports whether the protocol lets the two meet: HTTP+SSE is older than the newest revision.
func (p relayPair) legal() bool {
	modern := p.revision == ""
	direct := p.clientVia == "http" && p.serverVia == "http" // which the reverse proxy serves
	turns := p.clientVia == "turns" && p.serverVia != "sse"  // which the reverse proxy serves if the server speaks the same
	return !direct && !turns && (!modern || p.clientVia != "sse" && p.serverVia != "sse")
}

// meetVia brings a pair together through Umpire. The users of the clients that are named are asked about calls on hold.
func meetVia(t *testing.T, p relayPair, policyText string, asked ...string) *meeting {
	t.Helper()
	m := &meeting{house: newHouse(), sent: &bodies{}, received: &bodies{}, listening: make(chan struct{}), disk: &manual{}, url: "stdio:"}
	var running sync.WaitGroup
	var ends []func()
	g := gate(t, m.disk, policy(t, policyText), nil)
	e := elicitor(t, g, asked...)
	clean, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: 256 << 10, Secret: []byte("peers")})
	if err != nil {
		t.Fatal(err)
	}
	dial := serverOver(t, p, m, &running, &ends)
	var w way
	switch p.clientVia {
	case "stdio":
		near, far := pipes()
		s, err := dial(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: clean, Elicitor: e, Origin: proxy.Origin{Link: "stdio:1", Server: "peer", Transport: proxy.TransportStdio}})
		pumped := make(chan struct{})
		go func() {
			link.Pump(transport.NewLines(far, wire.MaxSize), s)
			close(pumped)
		}()
		close(m.listening)
		w = overPipes(near)
		ends = append(ends, func() {
			near.Close()
			receive(t, pumped, "the end") // with that of the server's session
		})
	case "turns":
		h, err := proxy.NewHTTP(proxy.HTTPConfig{Server: "peer", Judge: g, Cleaner: clean, Elicitor: e, Guard: proxy.Guard{User: "ann"}, URL: m.server})
		if err != nil {
			t.Fatal(err)
		}
		umpire := httptest.NewServer(h)
		c := &http.Client{Transport: &http.Transport{}}
		m.url = umpire.URL
		close(m.listening)
		w = overSSE(umpire.URL+"/sse", c)
		ends = append(ends, umpire.Close, h.Close, c.CloseIdleConnections)
	default:
		r, err := proxy.NewRelay(proxy.RelayConfig{Server: "peer", Judge: g, Cleaner: clean, Elicitor: e, Guard: proxy.Guard{User: "ann"}, Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		umpire := httptest.NewServer(mounts(r, m))
		c := &http.Client{Transport: &http.Transport{}}
		m.url = umpire.URL
		switch p.clientVia {
		case "http":
			w = overHTTP(umpire.URL+"/mcp", c)
		case "sse":
			close(m.listening)
			w = overSSE(umpire.URL+"/sse", c)
		case "ws":
			close(m.listening)
			w = overWS(t, umpire.URL+"/ws", &running)
		}
		ends = append(ends, umpire.Close, r.Close, c.CloseIdleConnections)
	}
	m.peer = peerClients[p.client](w, p.revision, m.house.heard)
	m.end = func() {
		close(m.house.over)
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
		running.Wait()
		g.Close()
	}
	return m
}

// mounts returns a relay's handler, and notes when a client over Streamable HTTP listens.
func mounts(r *proxy.Relay, m *meeting) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/sse", r.Events)
	mux.HandleFunc("/messages", r.Messages)
	mux.HandleFunc("/ws", r.WebSocket)
	var once sync.Once
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet {
			w = &statusWriter{ResponseWriter: w, begun: func() { once.Do(func() { close(m.listening) }) }}
		}
		r.Streamable(w, q)
	})
	return mux
}

// serverOver returns the way to the pair's server.
func serverOver(t *testing.T, p relayPair, m *meeting, running *sync.WaitGroup, ends *[]func()) func(context.Context, http.Header) (proxy.Conn, error) {
	t.Helper()
	if p.serverVia == "stdio" {
		return func(context.Context, http.Header) (proxy.Conn, error) {
			near, far := pipes()
			running.Go(func() { speak(p.server, m.house, far) })
			return transport.NewLines(near, wire.MaxSize), nil
		}
	}
	var handler http.Handler
	switch p.serverVia + " " + p.server {
	case "http official":
		handler = official(m.house, &sdk.StreamableHTTPOptions{PropagateRequestCancellation: true, Stateless: p.revision == ""})
	case "http mark3":
		handler = mark3(m.house, server.WithStateful(p.revision != ""))
	case "sse official":
		s := officialServer(m.house)
		handler = sdk.NewSSEHandler(func(*http.Request) *sdk.Server { return s }, nil)
	case "sse mark3":
		handler = server.NewSSEServer(mark3Server(m.house))
	default:
		handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			u := websocket.Upgrader{Subprotocols: []string{transport.Subprotocol}}
			ws, err := u.Upgrade(w, q, nil)
			if err != nil {
				return
			}
			near, far := pipes()
			running.Go(func() { speak(p.server, m.house, far) })
			lines(ws, near)
		})
	}
	s := httptest.NewServer(handler)
	*ends = append(*ends, s.Close)
	u, err := url.Parse(s.URL + map[string]string{"http": "/mcp", "sse": "/sse", "ws": "/"}[p.serverVia])
	if err != nil {
		t.Fatal(err)
	}
	if p.serverVia == "ws" {
		u.Scheme = "ws"
	}
	m.server = u
	return func(ctx context.Context, header http.Header) (proxy.Conn, error) {
		if header == nil {
			header = http.Header{}
		}
		return proxy.Dial(ctx, p.serverVia, transport.Remote{URL: u, Header: header})
	}
}

// directly has a pair talk over a pipe, without Umpire.
func directly(t *testing.T, p relayPair) (said, ran []string) {
	t.Helper()
	m := &meeting{house: newHouse(), listening: make(chan struct{}), url: "stdio:"}
	close(m.listening)
	near, far := pipes()
	var running sync.WaitGroup
	running.Go(func() { speak(p.server, m.house, far) })
	m.peer = peerClients[p.client](overPipes(near), p.revision, m.house.heard)
	said = m.converse(t, p.pair)
	close(m.house.over)
	near.Close()
	running.Wait()
	return said, m.house.tools()
}

// eachVia runs a test for every client, server, revision and pair of transports, one after the other: all servers of mcp-go
// over stdio in a process share one session.
func eachVia(t *testing.T, run func(t *testing.T, p relayPair)) {
	ways := []string{"stdio", "http", "sse", "ws"}
	clientWays := append(ways, "turns") // HTTP+SSE in front of what looks like Streamable HTTP
	for _, c := range []string{"official", "mark3"} {
		for _, s := range []string{"official", "mark3"} {
			for _, revision := range []string{"2025-11-25", ""} {
				for _, clientVia := range clientWays {
					for _, serverVia := range ways {
						p := relayPair{pair{client: c, server: s, revision: revision, piped: true}, clientVia, serverVia}
						// Over HTTP+SSE, mcp-go's client answers nothing and its server asks little; over HTTP its client only
						// hangs up, which since 2026-07-28 is how to cancel.
						old := revision != ""
						elder := clientVia == "sse" || clientVia == "turns"
						p.mute = elder && c == "mark3" || serverVia == "sse" && s == "mark3"
						p.deaf = c == "mark3" && (elder || clientVia == "http" && old)
						if !p.legal() {
							continue
						}
						name := fmt.Sprintf("%s client over %s, %s server over %s, %s", c, clientVia, s, serverVia, cmp.Or(revision, "latest"))
						t.Run(name, func(t *testing.T) { run(t, p) })
					}
				}
			}
		}
	}
}

// A client sees the same whatever it speaks and whatever the server speaks, and the history that Umpire kept gives the same
// verdicts.
func TestPeersSeeTheSameOverEveryTransport(t *testing.T) {
	eachVia(t, func(t *testing.T, p relayPair) {
		want, wantRan := directly(t, p)
		m := meetVia(t, p, "rules: []")
		got := m.converse(t, p.pair)
		m.end()
		p.check(t, strings.Join(want, "\n"))
		same(t, "what the client sees", got, want)
		same(t, "what runs", m.house.tools(), wantRan)
		verify(t, m.disk)
	})
}
