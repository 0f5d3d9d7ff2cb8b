package proxy_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// hasty is a patience that a test has, too.
var hasty = transport.Patience{Ping: 50 * time.Millisecond, Silent: time.Second, Stalled: time.Minute, Close: time.Second}

// sockets returns the two ends of a WebSocket. While nobody reads from far, it answers no ping: as a machine that has lost
// its network.
func sockets(t *testing.T) (near, far *websocket.Conn) {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{}
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- ws
	}))
	t.Cleanup(server.Close)
	near, resp, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(server.URL, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	far = receive(t, accepted, "the other end")
	t.Cleanup(func() { far.Close() })
	return near, far
}

// pumped pumps from client to server.
func pumped(t *testing.T, client, server proxy.Conn) (f *front, ended <-chan error) {
	t.Helper()
	f = &front{t: t, disk: &manual{}}
	f.gate = gate(t, f.disk, policy(t, "rules: []"), nil)
	link := proxy.NewLink(proxy.LinkConfig{Judge: f.gate, Cleaner: cleaner(t), Origin: support})
	over := make(chan error, 1)
	go func() { over <- link.Pump(client, server) }()
	t.Cleanup(func() {
		f.gate.Close()
		verify(t, f.disk)
	})
	return f, over
}

// A server that is dead and whose connection is not, is found out: what it was working on is answered with an error.
func TestAServerThatIsDeadBehindItsWebSocketIsNoticed(t *testing.T) {
	near, far := sockets(t)
	client, nearClient := cable()
	f, ended := pumped(t, nearClient, transport.NewWebSocket(near, wire.MaxSize, &hasty))
	client.Write([]byte(call("1", "look", `{}`)))
	if _, text, err := far.ReadMessage(); err != nil || string(text) != call("1", "look", `{}`) { // and then no more
		t.Fatal(err, string(text))
	}
	answer, err := client.Read()
	if err != nil || !strings.Contains(string(answer), `"id":1,"error"`) || !strings.Contains(string(answer), "ended before it answered") {
		t.Fatal(err, string(answer))
	}
	if err := receiveErr(t, ended); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("it ended with %v", err)
	}
	f.ended(event.OutcomeLost)
}

// A client that is dead and whose connection is not, is found out: its server is told, and what it had asked is lost.
func TestAClientThatIsDeadBehindItsWebSocketIsNoticed(t *testing.T) {
	near, far := sockets(t)
	server, nearServer := cable()
	f, ended := pumped(t, transport.NewWebSocket(near, wire.MaxSize, &hasty), nearServer)
	if err := far.WriteMessage(websocket.TextMessage, []byte(call("1", "look", `{}`))); err != nil {
		t.Fatal(err)
	}
	if frame, err := server.Read(); err != nil || string(frame) != call("1", "look", `{}`) {
		t.Fatal(err, string(frame))
	}
	if frame, err := server.Read(); !errors.Is(err, io.EOF) { // as it would be told of a client that has ended
		t.Error(err, string(frame))
	}
	server.Close()
	if err := receiveErr(t, ended); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("it ended with %v", err)
	}
	f.ended(event.OutcomeLost)
}
