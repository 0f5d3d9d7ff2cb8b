package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// stage is a relay with servers in memory, in the hands of a test.
type stage struct {
	*front
	dials   atomic.Int64
	servers chan *plug // the server's end of each connection
	relay   *proxy.Relay
	header  atomic.Pointer[http.Header] // of the last client
}

// backstage puts a relay with a policy before servers that the test plays.
func backstage(t *testing.T, policyText string, change ...func(*proxy.RelayConfig)) *stage {
	t.Helper()
	s := &stage{front: &front{t: t, disk: &manual{}}, servers: make(chan *plug, 16)}
	s.gate = gate(t, s.disk, policy(t, policyText), nil)
	cfg := proxy.RelayConfig{
		Server: "billing", Judge: s.gate, Cleaner: cleaner(t), Guard: proxy.Guard{User: "alice"},
		Dial: func(_ context.Context, header http.Header) (proxy.Conn, error) {
			near, far := cable()
			s.header.Store(&header)
			s.dials.Add(1)
			s.servers <- far
			return near, nil
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if s.relay, err = proxy.NewRelay(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.relay.Close()
		s.gate.Close()
		verify(t, s.disk)
	})
	return s
}

// relayed has such a relay listen.
func relayed(t *testing.T, policyText string, change ...func(*proxy.RelayConfig)) *stage {
	t.Helper()
	s := backstage(t, policyText, change...)
	mux := http.NewServeMux()
	mux.HandleFunc("/billing/mcp", s.relay.Streamable)
	mux.HandleFunc("/billing/sse", s.relay.Events)
	mux.HandleFunc("/billing/messages", s.relay.Messages)
	mux.HandleFunc("/billing/ws", s.relay.WebSocket)
	server := httptest.NewServer(mux)
	s.url = server.URL + "/billing/mcp"
	t.Cleanup(func() {
		s.relay.Close()
		server.Close()
	})
	return s
}

// at makes the stage send to another path from now on.
func (s *stage) at(path string) { s.url = s.url[:strings.Index(s.url, "/billing/")] + path }

// obeys answers what a server gets with done, until it has ended.
func obeys(server *plug) {
	for {
		data, err := server.Read()
		if err != nil {
			server.Close()
			return
		}
		frame, err := wire.Parse(data, wire.FromClient)
		if err != nil {
			continue
		}
		if m := &frame.Messages[0]; m.Kind == wire.Request {
			server.Write([]byte(done(m.ID))) //nolint:errcheck // the client may be gone
		}
	}
}

// web opens a WebSocket.
func (s *stage) web(headers ...string) (*websocket.Conn, *http.Response, error) {
	s.t.Helper()
	h := http.Header{}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	d := websocket.Dialer{Subprotocols: []string{"mcp"}}
	if h.Get("Sec-WebSocket-Protocol") != "" {
		d.Subprotocols = nil
	}
	ws, resp, err := d.DialContext(s.t.Context(), strings.Replace(s.url[:strings.Index(s.url, "/billing/")], "http", "ws", 1)+"/billing/ws", h)
	if err == nil {
		s.t.Cleanup(func() { ws.Close() })
	}
	return ws, resp, err
}

// hears checks the next text that a WebSocket brings.
func hears(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, got, err := ws.ReadMessage(); err != nil || !strings.Contains(string(got), want) {
		t.Fatalf("%v %.300s, want %s", err, got, want)
	}
}

func TestAWebSocketIsJudgedLikeEverythingElse(t *testing.T) {
	s := relayed(t, `rules: [{name: no, on: "billing/purge", do: deny}]`)
	ws, _, err := s.web("Authorization: Bearer theirs")
	if err != nil || ws.Subprotocol() != "mcp" {
		t.Fatal(err)
	}
	server := receive(t, s.servers, "the server")
	if told := *s.header.Load(); told.Get("Authorization") != "Bearer theirs" || len(told["Sec-Websocket-Key"]) > 0 {
		t.Errorf("the server was told %v", told)
	}
	send := func(text string) {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send(call("1", "purge", `{}`))
	hears(t, ws, "Umpire denied billing/purge")
	send("{\n" + call("2", "look", `{}`)[1:])
	if frame, err := server.Read(); err != nil || string(frame) != "{\n"+call("2", "look", `{}`)[1:] {
		t.Fatalf("%v %s", err, frame)
	}
	server.Write([]byte(done("2")))
	hears(t, ws, "done 2")
	send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","method":"ping"}`)
	hears(t, ws, "ambiguous")
	server.Close() // a server that ends says so, with a code
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Error(err)
	}
}

// Attempts to get a WebSocket from where none may come, or as something else than MCP.
func TestWebSocketsFromElsewhereAreRefused(t *testing.T) {
	s := relayed(t, "rules: []")
	for name, tc := range map[string]struct {
		header string
		status int
	}{
		"a web page":           {"Origin: https://evil.example", http.StatusForbidden},
		"no page at all":       {"Origin: null", http.StatusForbidden},
		"a name that rebinds":  {"Host: evil.example", http.StatusForbidden},
		"another subprotocol":  {"Sec-WebSocket-Protocol: chat", http.StatusBadRequest},
		"with a local extra":   {"Origin: http://127.0.0.1.evil.example", http.StatusForbidden},
		"a page of extensions": {"Origin: chrome-extension://abc", http.StatusForbidden},
	} {
		_, resp, err := s.web(tc.header)
		if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != tc.status {
			t.Errorf("%s: %v %v", name, err, resp)
		}
	}
	if resp := s.send(http.MethodGet, ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
}

// Attempts to break a WebSocket: each ends it, with the code that says why, and its server with it.
func TestABrokenWebSocketEndsWithItsServer(t *testing.T) {
	for name, tc := range map[string]struct {
		attack func(ws *websocket.Conn) error
		code   int
		signal string
	}{
		"a binary message": {func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, []byte(`{}`))
		}, websocket.CloseUnsupportedData, "a binary message"},
		"more than may be, in pieces": {func(ws *websocket.Conn) error {
			w, err := ws.NextWriter(websocket.TextMessage)
			for piece := make([]byte, 1<<20); err == nil; {
				_, err = w.Write(piece)
			}
			return nil // it hung up
		}, websocket.CloseMessageTooBig, "too long"},
		"a half frame": {func(ws *websocket.Conn) error {
			_, err := ws.NetConn().Write([]byte{0x01, 0x85, 1, 2})
			return errors.Join(err, ws.NetConn().Close())
		}, 0, ""},
		"reserved bits": {func(ws *websocket.Conn) error {
			_, err := ws.NetConn().Write([]byte{0xf1, 0x80, 1, 2, 3, 4})
			return err
		}, websocket.CloseProtocolError, ""},
		"no mask": {func(ws *websocket.Conn) error {
			_, err := ws.NetConn().Write([]byte{0x81, 0x02, '{', '}'})
			return err
		}, websocket.CloseProtocolError, ""},
		"pings without end that nobody reads the answers of": {func(ws *websocket.Conn) error {
			for range 20_000 {
				if ws.WriteControl(websocket.PingMessage, make([]byte, 125), time.Now().Add(time.Second)) != nil {
					break
				}
			}
			return ws.NetConn().Close()
		}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := relayed(t, "rules: []")
			ws, _, err := s.web()
			if err != nil {
				t.Fatal(err)
			}
			server := receive(t, s.servers, "the server")
			if err := tc.attack(ws); err != nil {
				t.Fatal(err)
			}
			ws.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, _, err := ws.ReadMessage(); tc.code != 0 && !websocket.IsCloseError(err, tc.code) && !strings.Contains(err.Error(), "reset") {
				t.Errorf("closed with %v, want %d", err, tc.code)
			}
			if frame, err := server.Read(); !errors.Is(err, io.EOF) {
				t.Errorf("the server got %q %v", frame, err)
			}
			if tc.signal != "" {
				await(s.front, "a signal", func(_ event.Event, b *event.Signal) bool { return strings.Contains(b.Text, tc.signal) })
			}
		})
	}
}

// A client that asks and never reads holds up its own server, and no memory.
func TestAClientThatNeverReadsHoldsUpItsOwnServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is certain that nothing more happens
		s := backstage(t, "rules: []")
		sockets := make(memory)
		umpire := &http.Server{Handler: http.HandlerFunc(s.relay.WebSocket)}
		go umpire.Serve(sockets)
		defer umpire.Close()
		d := websocket.Dialer{Subprotocols: []string{"mcp"}, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			sockets <- far
			return near, nil
		}}
		ws, _, err := d.DialContext(t.Context(), "ws://localhost/billing/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		server := receive(t, s.servers, "the server")
		const many = 600
		for range many {
			server.Write([]byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x", 64<<10) + `"}}`))
		}
		synctest.Wait()
		const room = 300 // frames that are judged ahead
		if taken := many - len(server.out.frames); taken == 0 || taken > room {
			t.Errorf("%d frames were taken in for a client that reads none", taken)
		}
	})
}

// memory is a net.Listener of connections that are put into it.
type memory chan net.Conn

// Accept implements net.Listener.
func (m memory) Accept() (net.Conn, error) {
	if c, ok := <-m; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (m memory) Close() error {
	close(m)
	return nil
}

// Addr implements net.Listener.
func (m memory) Addr() net.Addr { return &net.UnixAddr{} }

// events opens the stream of HTTP+SSE, and returns the endpoint that it names.
func (s *stage) events(headers ...string) (endpoint string, next func() string, hangUp func()) {
	s.t.Helper()
	s.at("/billing/sse")
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	resp := s.open(s.request(ctx, http.MethodGet, "", headers...))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatal(resp.Status)
	}
	in := bufio.NewReader(resp.Body)
	next = func() string {
		text := ""
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return "EOF"
			}
			if text += line; line == "\n" {
				return text
			}
		}
	}
	first := next()
	endpoint, ok := strings.CutPrefix(strings.TrimSuffix(first, "\n\n"), "event: endpoint\ndata: ")
	if !ok {
		s.t.Fatal(first)
	}
	return endpoint, next, cancel
}

func TestHTTPAndSSEAsAClientSeesIt(t *testing.T) {
	s := relayed(t, `rules: [{name: no, on: "billing/purge", do: deny}]`)
	endpoint, next, hangUp := s.events()
	if !strings.HasPrefix(endpoint, "/billing/messages?sessionId=") {
		t.Fatal(endpoint) // it has to lead to Umpire
	}
	server := receive(t, s.servers, "the server")
	s.at(endpoint)
	if resp := s.post(call("1", "purge", `{}`)); resp.StatusCode != http.StatusAccepted || resp.body != "" {
		t.Error(resp.Status, resp.body)
	}
	if got := next(); !strings.HasPrefix(got, "event: message\ndata: {") || !strings.Contains(got, "Umpire denied") {
		t.Error(got)
	}
	s.post(call("2", "look", `{"a": 1.0}`))
	if frame, _ := server.Read(); string(frame) != call("2", "look", `{"a": 1.0}`) {
		t.Errorf("%s", frame)
	}
	server.Write([]byte("{\n" + done("2")[1:]))
	if got := next(); got != "event: message\ndata: { "+done("2")[1:]+"\n\n" {
		t.Errorf("%q", got)
	}
	if resp := s.post(`{`); resp.StatusCode != http.StatusAccepted || !strings.Contains(next(), "-32700") {
		t.Error(resp.Status)
	}
	if resp := s.send(http.MethodGet, ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
	hangUp()
	if _, err := server.Read(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	server.Close()
	await(s.front, "the end", func(_ event.Event, b *event.Closed) bool { return strings.HasPrefix(b.Link, "sse:billing:") })
	if resp := s.post(call("3", "look", `{}`)); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
}

// Attempts to use the session of somebody else.
func TestASessionIsItsOwners(t *testing.T) {
	token := strings.Repeat("t", 16)
	s := relayed(t, "rules: []", func(c *proxy.RelayConfig) { c.Guard.Token = token })
	auth := "Authorization: Bearer " + token
	endpoint, _, _ := s.events(auth)
	receive(t, s.servers, "the server")
	for name, tc := range map[string]struct {
		path, header string
		status       int
	}{
		"no token":                  {endpoint, "X: y", http.StatusUnauthorized},
		"another token":             {endpoint, "Authorization: Bearer " + token + "t", http.StatusUnauthorized},
		"a guess":                   {endpoint[:len(endpoint)-1] + "!", auth, http.StatusNotFound},
		"no id":                     {"/billing/messages", auth, http.StatusNotFound},
		"a web page":                {endpoint, "Origin: https://evil.example", http.StatusForbidden},
		"as one of Streamable HTTP": {"/billing/mcp", auth, http.StatusNotFound},
	} {
		s.at(tc.path)
		headers := []string{tc.header}
		if tc.path == "/billing/mcp" {
			_, id, _ := strings.Cut(endpoint, "sessionId=")
			headers = append(headers, "Mcp-Session-Id: "+id)
		}
		if resp := s.post(call("1", "look", `{}`), headers...); resp.StatusCode != tc.status {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// Attempts of a server to have its client's words elsewhere.
func TestAnEndpointElsewhereIsRefused(t *testing.T) {
	for _, endpoint := range []string{
		"https://evil.example/messages", "//evil.example/messages", "http://127.0.0.1:1/messages", "http://user@HOST/messages",
		"ftp://HOST/", "", "ws://HOST/messages", "\\\\evil.example\\messages:x", "http://HOST:80/m",
	} {
		reached := atomic.Bool{}
		u := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			reached.Store(reached.Load() || r.Method == http.MethodPost)
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: endpoint\ndata: "+strings.ReplaceAll(endpoint, "HOST", r.Host)+"\n\n")
		})
		at, _ := url.Parse(u.server.URL + "/sse")
		c, err := proxy.Dial(t.Context(), proxy.TransportSSE, transport.Remote{URL: at, Header: http.Header{"Authorization": {"Bearer secret"}}})
		if endpoint == "\\\\evil.example\\messages:x" && err == nil { // a strange path, of this very server
			c.Close()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "endpoint") || reached.Load() {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
