package transport

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Hello is what the shim of a stdio server tells the daemon about itself.
type Hello struct {
	Name      string            `json:"name"`                // of the server, as policies know it
	Command   []string          `json:"command"`             // what the shim runs
	Workspace string            `json:"workspace,omitempty"` // its working directory
	Process   string            `json:"process,omitempty"`   // the client that started it: "claude[4711]"
	Asserted  map[string]string `json:"asserted,omitempty"`  // ids of the conversation, from the environment
	// Of a server that is not a child of the shim: where it is, the transport that it speaks, and what it has to be told.
	URL       string      `json:"url,omitempty"`
	Transport string      `json:"transport,omitempty"`
	Header    http.Header `json:"header,omitempty"`
}

// A shim gives the daemon its pipes themselves where it can (see Give). Else it opens two connections to the daemon's
// socket, one that carries the client's stdin and stdout and one for the child's, each a plain stream of bytes in both
// directions after the upgrade, and copies:
//
//	POST /v1/pipes/client   {Hello}         -> 101, Umpire-Pipes: TOKEN
//	POST /v1/pipes/server?token=TOKEN       -> 101
//
// For a server that the daemon is to reach itself there is the client's connection alone:
//
//	POST /v1/pipes/remote   {Hello}         -> 101, or why the server cannot be reached
const (
	pathPipesClient = "/v1/pipes/client"
	pathPipesServer = "/v1/pipes/server"
	pathPipesRemote = "/v1/pipes/remote"
	headerPipes     = "Umpire-Pipes"
	upgradePipes    = "umpire-pipes"
)

// Pipes is the daemon's end. Serve is called for each shim with both sides, which it has to close. Where a side has a
// CloseWrite, that ends what is written to it and lets the rest go on.
type Pipes struct {
	Serve func(hello Hello, client, server io.ReadWriteCloser)
	// Connect opens a connection to the server that a Hello has a URL of. What it returns is called with the client's side,
	// or with nil if that has gone meanwhile.
	Connect func(ctx context.Context, hello Hello) (serve func(client io.ReadWriteCloser), err error)
	// Patience is for how long the daemon waits for what a shim has to send next; 0 is ten seconds.
	Patience time.Duration

	mu      sync.Mutex
	waiting map[string]half
}

type half struct {
	hello  Hello
	client net.Conn
}

// Register adds the handlers to mux.
func (p *Pipes) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathPipesClient, p.acceptClient)
	mux.HandleFunc("POST "+pathPipesServer, p.acceptServer)
	mux.HandleFunc("POST "+pathPipesRemote, p.acceptRemote)
	p.registerGiven(mux)
}

func (p *Pipes) acceptRemote(w http.ResponseWriter, r *http.Request) {
	hello, ok := readHello(w, r)
	if !ok {
		return
	}
	serve, err := p.Connect(r.Context(), hello)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	conn, err := hijack(w)
	if err == nil {
		err = upgrade(conn, "")
	}
	if err != nil {
		serve(nil)
		return
	}
	serve(conn)
}

func (p *Pipes) patience() time.Duration { return cmp.Or(p.Patience, 10*time.Second) }

// readHello reads the Hello that a request brings. If there is none, it answers so.
func readHello(w http.ResponseWriter, r *http.Request) (hello Hello, ok bool) {
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&hello); err != nil || hello.Name == "" {
		http.Error(w, "want the hello of a shim", http.StatusBadRequest)
		return hello, false
	}
	return hello, true
}

func (p *Pipes) acceptClient(w http.ResponseWriter, r *http.Request) {
	hello, ok := readHello(w, r)
	if !ok {
		return
	}
	conn, err := hijack(w)
	if err != nil {
		return
	}
	token := rand.Text()
	p.mu.Lock() // before the token is out: the second half may come right after
	if p.waiting == nil {
		p.waiting = map[string]half{}
	}
	p.waiting[token] = half{hello: hello, client: conn}
	p.mu.Unlock()
	if upgrade(conn, token) != nil {
		p.take(token)
		return
	}
	time.AfterFunc(p.patience(), func() { // the shim died in between
		if h, ok := p.take(token); ok {
			h.client.Close() //nolint:errcheck // nobody uses it
		}
	})
}

func (p *Pipes) take(token string) (half, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.waiting[token]
	delete(p.waiting, token)
	return h, ok
}

func (p *Pipes) acceptServer(w http.ResponseWriter, r *http.Request) {
	h, ok := p.take(r.URL.Query().Get("token"))
	if !ok {
		http.Error(w, "no client with this token", http.StatusNotFound)
		return
	}
	conn, err := hijack(w)
	if err == nil {
		err = upgrade(conn, "")
	}
	if err != nil {
		h.client.Close() //nolint:errcheck // its other half never came
		return
	}
	p.Serve(h.hello, h.client, conn)
}

// hijack takes the connection of an HTTP exchange over.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	if buf.Reader.Buffered() > 0 { // the shim waits for the answer before it sends anything
		conn.Close() //nolint:errcheck // it does not keep to the protocol
		return nil, errors.New("transport: bytes before the upgrade")
	}
	return conn, nil
}

// upgrade answers on a connection that is a stream of bytes from then on. If it cannot, it closes it.
func upgrade(conn net.Conn, token string) error {
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + upgradePipes + "\r\n"
	if token != "" {
		head += headerPipes + ": " + token + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		conn.Close() //nolint:errcheck // the first error counts
		return fmt.Errorf("transport: %w", err)
	}
	return nil
}

// Attach connects a shim to the daemon that listens on the unix socket at path.
func Attach(ctx context.Context, path string, hello Hello) (client, server *net.UnixConn, err error) {
	text, err := json.Marshal(hello)
	if err != nil {
		return nil, nil, fmt.Errorf("transport: %w", err)
	}
	client, header, err := dialUpgrade(ctx, path, pathPipesClient, text)
	if err != nil {
		return nil, nil, err
	}
	server, _, err = dialUpgrade(ctx, path, pathPipesServer+"?token="+header.Get(headerPipes), nil)
	if err != nil {
		client.Close() //nolint:errcheck // its other half never came
		return nil, nil, err
	}
	return client, server, nil
}

// AttachRemote connects a shim of a server that the daemon is to reach itself. If it cannot, the error is ErrUnreachable.
func AttachRemote(ctx context.Context, path string, hello Hello) (client *net.UnixConn, err error) {
	text, err := json.Marshal(hello)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	client, _, err = dialUpgrade(ctx, path, pathPipesRemote, text)
	return client, err
}

// ErrUnreachable says that the daemon cannot reach the server of a shim.
var ErrUnreachable = errors.New("the server cannot be reached")

func dialUpgrade(ctx context.Context, socket, path string, body []byte) (*net.UnixConn, http.Header, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("transport: %w", err)
	}
	conn := c.(*net.UnixConn)
	fail := func(err error) (*net.UnixConn, http.Header, error) {
		conn.Close() //nolint:errcheck // the first error counts
		return nil, nil, fmt.Errorf("transport: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fail(err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://umpire"+path, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", upgradePipes)
	if err := req.Write(conn); err != nil {
		return fail(err)
	}
	// The daemon sends nothing of its own right behind the answer to the client's half, but a server may: read the head
	// byte by byte, so that nothing of what follows is swallowed.
	resp, err := http.ReadResponse(bufio.NewReaderSize(oneByte{conn}, 16), req) //nolint:bodyclose // the connection is the body
	if err != nil {
		return fail(err)
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
	case http.StatusBadGateway:
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) //nolint:errcheck // as far as it goes
		return fail(fmt.Errorf("%w: %s", ErrUnreachable, bytes.TrimSpace(why)))
	default:
		return fail(fmt.Errorf("the daemon answered %s", resp.Status))
	}
	return conn, resp.Header, conn.SetDeadline(time.Time{})
}

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

// Read implements io.Reader.
func (r oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return r.Reader.Read(p[:1])
}
