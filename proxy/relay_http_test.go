package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Streamable HTTP in front of a server that speaks frames: one connection a session, and streams for what it says.
func TestStreamableHTTPInFrontOfFrames(t *testing.T) {
	s := relayed(t, "rules: []")
	for i, bad := range []string{call("1", "look", `{}`), `[` + initialize + `]`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`} {
		if resp := s.post(bad); resp.StatusCode != http.StatusBadRequest || s.dials.Load() != 0 {
			t.Errorf("%d without session: %s, %d connections", i, resp.Status, s.dials.Load())
		}
	}
	began := make(chan answer)
	go func() { began <- s.post(initialize) }()
	server := receive(t, s.servers, "the server")
	server.Read()
	server.Write([]byte(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}`))
	resp := receive(t, began, "the answer")
	id := "Mcp-Session-Id: " + resp.Header.Get("Mcp-Session-Id")
	if resp.Header.Get("Content-Type") != "text/event-stream" || len(id) < 30 || !strings.Contains(resp.body, "2025-11-25") {
		t.Fatal(resp.Header, resp.body)
	}
	server.Write([]byte(`{"jsonrpc":"2.0","method":"notifications/early"}`)) // nobody listens yet
	go func() { began <- s.post(call("1", "look", `{}`), id, "Accept: application/json") }()
	server.Read()
	if again := s.post(call("1", "look", `{}`), id); again.StatusCode != http.StatusBadRequest || !strings.Contains(again.body, "has not been answered") {
		t.Error(again.Status, again.body)
	}
	server.Write([]byte(done("1")))
	if resp := receive(t, began, "the answer"); resp.body != done("1") || resp.Header.Get("Content-Type") != "application/json" {
		t.Error(resp.Header, resp.body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := s.open(s.request(ctx, http.MethodGet, "", id))
	if got := s.next(listener(stream)); !strings.Contains(got, "notifications/early") {
		t.Error(got)
	}
	if second := s.send(http.MethodGet, "", id); second.StatusCode != http.StatusConflict {
		t.Error(second.Status)
	}
	if gone := s.send(http.MethodDelete, "", id); gone.StatusCode != http.StatusNoContent {
		t.Error(gone.Status)
	}
	if _, err := server.Read(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if gone := s.post(call("2", "look", `{}`), id); gone.StatusCode != http.StatusNotFound {
		t.Error(gone.Status)
	}
}

// Since 2026-07-28 requests share a connection unless their ids clash, a refused probe is passed back as refused, and a
// client that hangs up has cancelled.
func TestModernRequestsShareAConnection(t *testing.T) {
	s := relayed(t, "rules: []")
	probe := make(chan answer)
	go func() { probe <- s.post(modern("1", "server/discover", `"a":1`)) }()
	legacy := receive(t, s.servers, "the server")
	legacy.Read()
	legacy.Write([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}`))
	if resp := receive(t, probe, "the answer"); resp.StatusCode != http.StatusNotFound || resp.get("error.code").Int() != -32601 {
		t.Error(resp.Status, resp.body)
	}
	if _, err := legacy.Read(); !errors.Is(err, io.EOF) {
		t.Error("a server that is not modern is kept")
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := s.open(s.request(ctx, http.MethodPost, modern("7", "tools/call", `"name":"look","arguments":{}`)))
	one := receive(t, s.servers, "the server")
	one.Read()
	others := make(chan answer, 2)
	go func() { others <- s.post(modern("8", "tools/call", `"name":"look","arguments":{}`)) }()
	if frame, _ := one.Read(); !strings.Contains(string(frame), `"id":8`) {
		t.Errorf("%s", frame)
	}
	go func() { others <- s.post(modern("7", "tools/call", `"name":"look","arguments":{}`)) }() // another client, perhaps
	two := receive(t, s.servers, "another server")
	two.Read()
	cancel()
	first.Body.Close()
	if frame, _ := one.Read(); !strings.Contains(string(frame), `"notifications/cancelled"`) || !strings.Contains(string(frame), `"requestId":7`) {
		t.Errorf("%s", frame)
	}
	one.Close()
	two.Close()
	for range 2 {
		if resp := receive(t, others, "an answer"); !strings.Contains(resp.body, "ended before it answered") {
			t.Error(resp.Status, resp.body)
		}
	}
}

// At the bound, the session goes that was not used for the longest time, and a client that is there is not disturbed.
func TestThereAreNotAnyNumberOfConnections(t *testing.T) {
	s := relayed(t, "rules: []", func(c *proxy.RelayConfig) { c.Max = 2 })
	if _, _, err := s.web(); err != nil {
		t.Fatal(err)
	}
	receive(t, s.servers, "the server")
	var ids []string
	for range 3 {
		began := make(chan answer)
		go func() { began <- s.post(initialize) }()
		go obeys(receive(t, s.servers, "the server"))
		ids = append(ids, "Mcp-Session-Id: "+receive(t, began, "the answer").Header.Get("Mcp-Session-Id"))
	}
	if old, young := s.post(call("1", "look", `{}`), ids[1]), s.post(call("1", "look", `{}`), ids[2]); old.StatusCode != http.StatusNotFound || !strings.Contains(young.body, "done 1") {
		t.Error(old.Status, young.Status)
	}
	if ws, _, err := s.web(); err != nil { // the idle one goes
		t.Error(err)
	} else {
		receive(t, s.servers, "the server")
		if _, resp, err := s.web(); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Error("there are more than may be")
		}
		ws.Close()
	}
}

// Who asks with other credentials has a connection of his own: the server was told whose calls come on it when it began.
func TestNobodyAsksWithTheCredentialsOfAnother(t *testing.T) {
	s := relayed(t, "rules: []")
	ask := func(header string) {
		t.Helper()
		if resp := s.post(modern("1", "tools/call", `"name":"look","arguments":{}`), header, "Traceparent: 00-1", "Mcp-Param-Region: eu"); !strings.Contains(resp.body, "done 1") {
			t.Error(resp.Status, resp.body)
		}
	}
	for i, header := range []string{"Authorization: Bearer a", "Authorization: Bearer b", "X-Api-Key: c", "Cookie: d=e"} {
		asked := make(chan struct{})
		go func() { defer close(asked); ask(header) }()
		go obeys(receive(t, s.servers, "a server of their own"))
		receive(t, asked, "the answer")
		ask(header)
		name, value, _ := strings.Cut(header, ": ")
		told := *s.header.Load()
		if told.Get(name) != value || told.Get("Traceparent")+told.Get("Mcp-Param-Region") != "" || s.dials.Load() != int64(i+1) {
			t.Errorf("%s: the server of %d was told %v", header, s.dials.Load(), told)
		}
	}
}

// A request that is refused has no server started for it.
func TestWhatIsRefusedOpensNoConnection(t *testing.T) {
	s := relayed(t, "rules: []")
	for _, tc := range []struct{ body, header string }{
		{initialize, "Mcp-Method: ping"},
		{modern("1", "ping", `"a":1`), "Mcp-Method: tools/call"},
		{"[" + modern("1", "ping", `"a":1`) + "]", "Mcp-Method: ping"},
	} {
		if resp := s.post(tc.body, tc.header); resp.StatusCode != http.StatusBadRequest || s.dials.Load() != 0 {
			t.Errorf("%s: %s, %d connections", tc.body, resp.Status, s.dials.Load())
		}
	}
}

// Whoever asks with the id of a request that was given up does not get its answer, which may still come, and is not told
// that the id is in use: another connection is taken.
func TestAnAnswerToWhatWasGivenUpIsForNobody(t *testing.T) {
	s := relayed(t, "rules: []")
	look := modern("7", "tools/call", `"name":"look","arguments":{},"_meta":{"progressToken":1}`)
	look = strings.Replace(look, `,"_meta":{"progressToken":1},"_meta":{`, `,"_meta":{"progressToken":1,`, 1)
	ctx, cancel := context.WithCancel(t.Context())
	first := s.open(s.request(ctx, http.MethodPost, look))
	one := receive(t, s.servers, "the server")
	one.Read()
	cancel()
	first.Body.Close()
	if frame, _ := one.Read(); !strings.Contains(string(frame), `"notifications/cancelled"`) {
		t.Fatalf("%s", frame)
	}
	second := make(chan answer)
	go func() { second <- s.post(look) }()
	two := receive(t, s.servers, "another server")
	two.Read()
	third := make(chan answer)
	go func() { third <- s.post(modern("8", "tools/call", `"name":"look","arguments":{}`)) }()
	one.Read()
	for _, late := range []string{
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`, done("7"), done("8"),
	} {
		one.Write([]byte(late))
	}
	if resp := receive(t, third, "its answer"); strings.Count(resp.body, "data:") != 1 || !strings.Contains(resp.body, "done 8") {
		t.Error(resp.body)
	}
	two.Write([]byte(`{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"the second"}]}}`))
	if resp := receive(t, second, "its answer"); strings.Contains(resp.body, "done") || !strings.Contains(resp.body, "the second") {
		t.Error(resp.body)
	}
	go func() { third <- s.post(look) }() // on the first connection again, where it is answered by now
	if frame, _ := one.Read(); !strings.Contains(string(frame), `"id":7`) {
		t.Errorf("%s", frame)
	}
	one.Write([]byte(done("7")))
	receive(t, third, "its answer")
}

// Neither a session nor a connection can be used any more on which too many are unanswered.
func TestNotAnyNumberOfRequestsAreGivenUp(t *testing.T) {
	s := relayed(t, "rules: []")
	began := make(chan answer)
	go func() { began <- s.post(initialize) }()
	server := receive(t, s.servers, "the server")
	server.Read()
	server.Write([]byte(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-03-26"}}`))
	id := "Mcp-Session-Id: " + receive(t, began, "the answer").Header.Get("Mcp-Session-Id")
	ctx, cancel := context.WithCancel(t.Context())
	for from := 0; from < 10_000; from += wire.MaxBatch {
		var many []string
		for i := range wire.MaxBatch {
			many = append(many, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, from+i))
		}
		if resp := s.open(s.request(ctx, http.MethodPost, "["+strings.Join(many, ",")+"]", id)); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		for range many {
			server.Read()
		}
	}
	cancel()
	if resp := s.post(call(`"a"`, "look", `{}`), id); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(resp.body, "no more can be") {
		t.Error(resp.Status, resp.body)
	}
}

// mute is a client whose connection breaks after the beginning of its answer, without anybody noticing.
type mute struct {
	*httptest.ResponseRecorder
	written int
}

// Write implements io.Writer.
func (m *mute) Write(p []byte) (int, error) {
	if m.written++; m.written > 1 {
		return 0, io.ErrClosedPipe
	}
	return m.ResponseRecorder.Write(p)
}

// A client that can be sent nothing has gone, whatever its connection says: its call is not on hold any more.
func TestAClientThatTakesNothingHasGone(t *testing.T) {
	for name, body := range map[string]string{
		"modern": modern("1", "tools/call", `"name":"refund","arguments":{}`),
		"before": call("1", "refund", `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := relayed(t, `rules: [{name: ask, on: "billing/refund", do: hold}]`, func(c *proxy.RelayConfig) { c.KeepAlive = time.Millisecond })
			headers := []string{"Host: localhost"}
			if name == "before" {
				began := make(chan answer)
				go func() { began <- s.post(initialize) }()
				go obeys(receive(t, s.servers, "the server"))
				headers = append(headers, "Mcp-Session-Id: "+receive(t, began, "the answer").Header.Get("Mcp-Session-Id"))
			}
			s.relay.Streamable(&mute{ResponseRecorder: httptest.NewRecorder()}, s.request(t.Context(), http.MethodPost, body, headers...))
			await(s.front, "the end of the hold", func(event.Event, *event.Expired) bool { return true })
		})
	}
}
