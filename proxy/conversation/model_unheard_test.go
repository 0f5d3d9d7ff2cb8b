package conversation_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// What cannot be heard, or not to its end, passes all the same.

// A prompt of 100 MiB passes, and costs a bounded part of that.
func TestAHugePromptPasses(t *testing.T) {
	size := 0
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		give(http.StatusOK, "application/json", `{"content":[{"type":"text","text":"Long."}]}`)(w, r, body)
	})
	huge := strings.NewReader(strings.Repeat("x", 1<<20))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		size = int(n)
		give(http.StatusOK, "application/json", `{"content":[{"type":"text","text":"Long."}]}`)(w, r, nil)
	}))
	defer upstream.Close()
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.URL = u
	body := []io.Reader{strings.NewReader(`{"messages":[{"role":"user","content":"`)}
	for range 100 {
		body = append(body, io.NewSectionReader(huge, 0, 1<<20))
	}
	_, answer := b.ask("/v1/messages", io.MultiReader(append(body, strings.NewReader(`"}]}`))...))
	if string(answer) != `{"content":[{"type":"text","text":"Long."}]}` || size < 100<<20 {
		t.Errorf("%s after %d bytes", answer, size)
	}
	if got := b.heard(); !strings.HasPrefix(got, "unheard (): a request was not heard to its end: it is longer than 32 MiB\nassistant: Long.") {
		t.Errorf("heard\n%.300s", got)
	}
	if most := b.Most(); most > 150<<20 {
		t.Errorf("%d MiB of copies at one time", most>>20)
	}
}

// What cannot be understood passes all the same, and it is known that nobody has heard it.
func TestWhatIsNotUnderstoodPasses(t *testing.T) {
	for name, tc := range map[string]struct {
		request, kind, encoding, answer, want string
	}{
		"no JSON":             {`{"messages":[`, "application/json", "", `{}`, "a request was not heard to its end: message ends too early"},
		"two readings":        {`{"messages":[],"messages":[]}`, "application/json", "", `{}`, `a request was not heard to its end: duplicate key \"messages\"`},
		"deep":                {strings.Repeat("[", 1<<20), "application/json", "", `{}`, "a request was not heard to its end: nested deeper than 128"},
		"deep answer":         {`{}`, "application/json", "", strings.Repeat(`{"content":`, 1<<18), "an answer was not heard to its end: nested deeper than 128"},
		"deep event":          {`{}`, events, "", "data: " + strings.Repeat(`[`, 1<<20) + "\n\n", "an answer was not heard to its end: nested deeper than 128"},
		"no gzip":             {`{}`, "application/json", "gzip", `{"content":[]}`, "an answer was not heard to its end: gzip: invalid header"},
		"unknown encoding":    {`{}`, "application/json", "snappy", `{}`, `an answer was not heard to its end: its encoding is \"snappy\"`},
		"two encodings":       {`{}`, "application/json", "gzip, br", `{}`, `an answer was not heard to its end: its encoding is \"gzip, br\"`},
		"another type":        {`{}`, "application/vnd.amazon.eventstream", "", `x`, `an answer was not heard to its end: it is of type \"application/vnd.amazon.eventstream\"`},
		"events of something": {`{}`, events, "", "data: hello\n\n", "an answer was not heard to its end: no JSON value"},
	} {
		b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if tc.encoding != "" {
				w.Header().Set("Content-Encoding", tc.encoding)
			}
			if string(body) != tc.request {
				t.Errorf("%s: the API got %.100s", name, body)
			}
			give(http.StatusOK, tc.kind, tc.answer)(w, r, body)
		})
		if _, answer := b.ask("/v1/messages", strings.NewReader(tc.request)); string(answer) != tc.answer {
			t.Errorf("%s: %.100s", name, answer)
		}
		if got := strings.ReplaceAll(b.heard(), `"`, `\"`); !strings.Contains(got, "unheard") || !strings.Contains(strings.ReplaceAll(got, "wire: ", ""), tc.want) {
			t.Errorf("%s: heard %.300s, want %s", name, got, tc.want)
		}
	}
}

// A small answer that swells does not fill the memory, however it is packed.
func TestABombIsNotHeard(t *testing.T) {
	for encoding, pack := range encodings {
		if encoding == "" {
			continue
		}
		var swollen bytes.Buffer
		z := pack(&swollen)
		io.WriteString(z, `{"content":"`)
		for range 40 {
			z.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		z.Close()
		bomb := swollen.Bytes()
		b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
			w.Header().Set("Content-Encoding", encoding)
			give(http.StatusOK, "application/json", string(bomb))(w, r, body)
		})
		if _, answer := b.ask("/v1/messages", strings.NewReader(`{}`)); !bytes.Equal(answer, bomb) {
			t.Errorf("%s: the bytes are others", encoding)
		}
		if got := b.heard(); got != "unheard (): an answer was not heard to its end: it is longer than 32 MiB\n" {
			t.Errorf("%s: heard %.300s", encoding, got)
		}
		if most := b.Most(); most > 100<<20 {
			t.Errorf("%s: %d MiB of copies at one time", encoding, most>>20)
		}
	}
}

// A model that never stops is heard for a while; its bytes pass on.
func TestAnAnswerWithoutEnd(t *testing.T) {
	delta := `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + strings.Repeat("word ", 13_000) + "\"}}\n\n"
	const n = 1100 // 68 MiB
	b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", events)
		io.WriteString(w, `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`+"\n\n")
		for range n {
			io.WriteString(w, delta)
		}
	})
	if _, answer := b.ask("/v1/messages", strings.NewReader(`{}`)); len(answer) < n*len(delta) {
		t.Errorf("%d bytes pass", len(answer))
	}
	got := b.heard()
	if !strings.HasPrefix(got, "assistant: word") || !strings.Contains(got, "unheard (): an answer was not heard to its end: ") {
		t.Errorf("heard %.100s … %s", got, got[max(0, len(got)-200):])
	}
	if turns := b.turns(); len(turns) != 1 || len(turns[0].Text) > maxValue || turns[0].Size < 1<<20 {
		t.Errorf("%d turns", len(turns))
	}
	if most := b.Most(); most > 150<<20 {
		t.Errorf("%d MiB of copies at one time", most>>20)
	}
}

// Very many calls in one answer, begun and never ended, ended and never begun, and whole: of the last, as many are recorded as of
// anything else.
func TestVeryManyBlocks(t *testing.T) {
	const n = 100_000
	b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", events)
		for i := range n {
			fmt.Fprintf(w, `data: {"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":"u%d","name":"pay","input":{}}}`+"\n\n", i, i)
			if i%2 == 0 {
				fmt.Fprintf(w, `data: {"type":"content_block_stop","index":%d}`+"\n\n", i)
			} else {
				fmt.Fprintf(w, `data: {"type":"content_block_stop","index":%d}`+"\n\n", n+i)
			}
		}
	})
	b.list("bank", "pay")
	b.ask("/v1/messages", strings.NewReader(`{}`))
	b.close()
	if got := len(b.turns()); got < 1000 || got > 10_000 { // what is never ended takes up the room for blocks in progress
		t.Errorf("%d turns", got)
	}
}

// What is not a conversation passes unheard, to whatever path, with whatever bytes the client has written it.
func TestEverythingElsePasses(t *testing.T) {
	var got string
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got = fmt.Sprintf("%s %s %s %q", r.Method, r.RequestURI, body, r.Header["User-Agent"])
		give(http.StatusOK, "application/json", `{"content":[{"type":"text","text":"unsaid"}]}`)(w, r, body)
	})
	for path, want := range map[string]string{
		"/v1/messages/count_tokens": "/base/v1/messages/count_tokens",
		"/v1/models//x/../y":        "/base/v1/models//x/../y",
		"/v1/a%2Fb%20c?q=1;2&x=%zz": "/base/v1/a%2Fb%20c?q=1;2&x=%zz",
		"/v1beta/models/m:embed":    "/base/v1beta/models/m:embed",
	} {
		r, err := http.NewRequest(http.MethodPut, b.url, strings.NewReader(`{"messages":[{"role":"user","content":"unsaid"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = strings.TrimPrefix(b.url, "http:") + path
		r.Header.Set("User-Agent", "")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if full := "PUT " + want + ` {"messages":[{"role":"user","content":"unsaid"}]} []`; got != full {
			t.Errorf("%s: the API got %s", path, got)
		}
	}
	if got := b.heard(); got != "" {
		t.Errorf("heard %s", got)
	}
}

func TestAnAPIThatIsNotThere(t *testing.T) {
	b := newBooth(t, nil)
	b.URL = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	if resp, body := b.ask("/v1/messages", strings.NewReader(hello)); resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(body), `"message":"umpire cannot reach the model API at 127.0.0.1:1"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// Nobody but programs of this machine may speak here.
func TestTheModelIsGuarded(t *testing.T) {
	b := newBooth(t, give(http.StatusOK, "application/json", `{}`))
	for _, header := range []string{"Origin: http://evil.com", "Sec-Fetch-Site: cross-site"} {
		if resp, _ := b.ask("/v1/messages", strings.NewReader(hello), header); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", header, resp.StatusCode)
		}
	}
	if got := b.heard(); got != "" {
		t.Errorf("heard %s", got)
	}
}

// If nothing can be recorded, the model goes on.
func TestTheModelGoesOnWhileNothingIsRecorded(t *testing.T) {
	b := newBooth(t, give(http.StatusOK, "application/json", `{"content":[{"type":"text","text":"hi"}]}`))
	b.fail(io.ErrShortWrite)
	for range 3 {
		if resp, body := b.ask("/v1/messages", strings.NewReader(hello)); resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	if got := b.heard(); got != "" {
		t.Errorf("recorded %s", got)
	}
}

// A connection that turns into something else passes, and is known not to be heard. It ends with the daemon.
func TestAnUpgradePassesUnheard(t *testing.T) {
	for path, why := range map[string]string{
		"/v1/responses": "a frame has a bit that nobody has agreed on", // what passes is no WebSocket, whatever it is called
		"/v1/realtime":  "it is not held over plain HTTP",
	} {
		upgraded(t, path, why)
	}
}

func upgraded(t *testing.T, path, why string) {
	b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		io.Copy(conn, rw)
	})
	r, err := http.NewRequest(http.MethodGet, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	resp, err := client.Do(r)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	conn := resp.Body.(io.ReadWriteCloser)
	defer conn.Close()
	buf := make([]byte, 5)
	if conn.Write([]byte("hello")); err == nil {
		_, err = io.ReadFull(conn, buf)
	}
	if err != nil || string(buf) != "hello" {
		t.Errorf("%q %v", buf, err)
	}
	if got := b.heard(); got != "unheard (): a conversation was not heard to its end: "+why+"\n" {
		t.Errorf("heard %s", got)
	}
	if n, err := conn.Read(buf); err == nil {
		t.Errorf("the connection goes on: %d", n)
	}
}
