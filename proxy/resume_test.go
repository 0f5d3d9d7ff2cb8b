package proxy_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/rules/event"
)

// faraway puts a relay before a server of Streamable HTTP that a test scripts, and opens a WebSocket to it.
func faraway(t *testing.T, answer script) (*stage, *websocket.Conn, *upstream) {
	t.Helper()
	u := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		switch gjson.Get(body, "method").Str {
		case "initialize":
			w.Header().Set("Mcp-Session-Id", "s1")
			give(w, http.StatusOK, `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`)
		case "notifications/initialized":
			w.WriteHeader(http.StatusAccepted)
		default:
			answer(w, r, body)
		}
	})
	at, err := url.Parse(u.server.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	s := relayed(t, "rules: []", func(c *proxy.RelayConfig) {
		c.Dial = func(ctx context.Context, h http.Header) (proxy.Conn, error) {
			return proxy.Dial(ctx, proxy.TransportHTTP, transport.Remote{URL: at, Header: h})
		}
	})
	ws, _, err := s.web()
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(initialize)); err != nil {
		t.Fatal(err)
	}
	hears(t, ws, "2025-11-25")
	return s, ws, u
}

// step is an event that says how far a call has come.
func step(n string) string {
	return `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":` + n + `}}` + "\n\n"
}

// A stream that breaks before it has brought the answer goes on in another, after the last event that arrived. The call is
// not sent again, and nothing is heard twice.
func TestAStreamThatBreaksOffGoesOn(t *testing.T) {
	var gets atomic.Int64
	s, ws, server := faraway(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Method == http.MethodDelete {
			return
		}
		if r.Method == http.MethodPost {
			stream(w)("id: a 1\nretry: 1\n" + step("1") + "id: a 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"resu")
			panic(http.ErrAbortHandler) // the connection breaks within an event
		}
		if got := r.Header["Last-Event-Id"]; r.Header.Get("Mcp-Session-Id") != "s1" || r.Header.Get("Mcp-Protocol-Version") != "2025-11-25" || len(got) != 1 {
			t.Errorf("resumed with %v", r.Header)
		}
		switch gets.Add(1) {
		case 1: // it is not back yet
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2: // and breaks again
			if got := r.Header.Get("Last-Event-Id"); got != "a 1" {
				t.Errorf("resumed after %q", got)
			}
			stream(w)("id: a 3\n" + step("2"))
			panic(http.ErrAbortHandler)
		default:
			if got := r.Header.Get("Last-Event-Id"); got != "a 3" {
				t.Errorf("resumed after %q", got)
			}
			stream(w)("id: a 4\ndata: " + done("1") + "\n\n")
		}
	})
	if err := ws.WriteMessage(websocket.TextMessage, []byte(call("1", "look", `{}`))); err != nil {
		t.Fatal(err)
	}
	hears(t, ws, `"progress":1`)
	hears(t, ws, `"progress":2`)
	hears(t, ws, "done 1")
	s.ended(event.OutcomeOK)
	calls := 0
	for _, r := range server.requests() {
		if r.method == http.MethodPost && strings.Contains(r.body, "tools/call") {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("the call was sent %d times", calls)
	}
}

// A stream that cannot go on leaves its call without an answer, and the client is told.
func TestAStreamThatCannotGoOnEndsItsCall(t *testing.T) {
	for name, answer := range map[string]script{
		"it has no id": func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == http.MethodGet {
				t.Error("a stream without id is asked for again")
			}
			stream(w)(step("1"))
			panic(http.ErrAbortHandler)
		},
		"the server has forgotten it": func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == http.MethodGet {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			stream(w)("id: 1\nretry: 1\n" + step("1"))
		},
		"it goes on with something else": func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == http.MethodGet {
				give(w, http.StatusOK, done("1"))
				return
			}
			stream(w)("id: 1\nretry: 1\n" + step("1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, ws, _ := faraway(t, answer)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(call("1", "look", `{}`))); err != nil {
				t.Fatal(err)
			}
			hears(t, ws, `"progress":1`)
			hears(t, ws, `"id":1,"error"`)
			if r := s.ended(event.OutcomeLost); r.Tool != "look" {
				t.Error(r)
			}
		})
	}
}
