package conversation_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/rules/event"
)

// talks is a model API that holds a conversation over a WebSocket.
func talks(t testing.TB, header http.Header, talk func(conn *websocket.Conn)) api {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		up := websocket.Upgrader{Subprotocols: []string{"realtime"}, EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
		conn, err := up.Upgrade(w, r, header)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		talk(conn)
	}
}

// dial opens a WebSocket through the booth.
func (b *booth) dial(d websocket.Dialer, path string, headers ...string) *websocket.Conn {
	b.t.Helper()
	h := http.Header{}
	for _, text := range headers {
		name, value, _ := strings.Cut(text, ": ")
		h.Set(name, value)
	}
	conn, resp, err := d.Dial("ws"+strings.TrimPrefix(b.url, "http")+path, h)
	if err != nil {
		b.t.Fatal(err, resp)
	}
	resp.Body.Close()
	return conn
}

// Every conversation over a WebSocket is heard as it says, compressed or not: the messages of the client begin with <, those of
// the API with >.
func TestSocketTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "conversation", "socket", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, compressed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/compressed %v", strings.TrimSuffix(filepath.Base(file), ".txtar"), compressed), func(t *testing.T) {
				socketTranscript(t, txtar.Parse(text), compressed)
			})
		}
	}
}

func socketTranscript(t *testing.T, a *txtar.Archive, compressed bool) {
	lines := strings.Split(strings.TrimSpace(string(a.Files[0].Data)), "\n")
	b := newBooth(t, talks(t, nil, func(conn *websocket.Conn) {
		for _, line := range lines {
			if line[0] == '>' {
				conn.WriteMessage(websocket.TextMessage, []byte(line[2:]))
			} else if _, got, err := conn.ReadMessage(); err != nil || string(got) != line[2:] {
				t.Errorf("the API got %s %v", got, err)
			}
		}
	}))
	conn := b.dial(websocket.Dialer{EnableCompression: compressed}, "/v1/responses", "Session-Id: 5e55")
	for _, line := range lines {
		if line[0] == '<' {
			conn.WriteMessage(websocket.TextMessage, []byte(line[2:]))
		} else if _, got, err := conn.ReadMessage(); err != nil || string(got) != line[2:] {
			t.Errorf("the client got %s %v", got, err)
		}
	}
	conn.Close()
	if got := b.heard(); got != string(a.Files[1].Data) {
		t.Errorf("heard\n%s", got)
	}
	for _, turn := range b.turns() {
		if turn.Conversation != "5e55" {
			t.Errorf("%+v", turn)
		}
	}
}

// Frames pass as they are in both directions, those of control among them: whole and in pieces, the subprotocol that was chosen, and
// how the connection was closed.
func TestAWebSocketPassesAsItIs(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, what)
		return nil
	}
	b := newBooth(t, talks(t, http.Header{"X-Models-Etag": {"7"}}, func(conn *websocket.Conn) {
		conn.SetPingHandler(func(data string) error {
			note("ping " + data)
			return conn.WriteMessage(websocket.PongMessage, []byte(data))
		})
		_, text, _ := conn.ReadMessage()
		note(string(text))
		conn.WriteMessage(websocket.BinaryMessage, []byte{0, 1})
		conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4007, "enough"))
		conn.ReadMessage()
	}))
	conn := b.dial(websocket.Dialer{Subprotocols: []string{"other", "realtime"}, WriteBufferSize: 64}, "/v1/responses?model=m", "Authorization: Bearer s3cr3t")
	defer conn.Close()
	if conn.Subprotocol() != "realtime" {
		t.Errorf("the subprotocol is %q", conn.Subprotocol())
	}
	conn.SetPongHandler(func(data string) error { return note("pong " + data) })
	conn.WriteMessage(websocket.PingMessage, []byte("there?"))
	w, err := conn.NextWriter(websocket.TextMessage) // of which the small buffer makes pieces
	if err != nil {
		t.Fatal(err)
	}
	long := `{"type":"response.create","input":"` + strings.Repeat("word ", 100) + `"}`
	io.WriteString(w, long)
	w.Close()
	if kind, text, err := conn.ReadMessage(); kind != websocket.BinaryMessage || !bytes.Equal(text, []byte{0, 1}) {
		t.Errorf("%d %q %v", kind, text, err)
	}
	closed := &websocket.CloseError{}
	if _, _, err := conn.ReadMessage(); !errors.As(err, &closed) || closed.Code != 4007 || closed.Text != "enough" {
		t.Error(err)
	}
	conn.Close()
	heard := b.heard()
	if want := []string{"ping there?", "pong there?", long}; strings.Join(got, "|") != strings.Join([]string{want[0], want[2], want[1]}, "|") && strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	want := "user: " + strings.Repeat("word ", 100) + "\nunheard (): a message was not heard to its end: it is binary\n" +
		"unheard (): a conversation was not heard to its end: it breaks off\n" // it was never answered
	if heard != want {
		t.Errorf("heard\n%s", heard)
	}
	for e := range b.Events(1) {
		if raw, err := e.AppendJSON(nil); err != nil || strings.Contains(string(raw), "s3cr3t") {
			t.Errorf("%s %v", raw, err)
		}
	}
}

// What the API refuses is not a conversation.
func TestAWebSocketThatIsRefused(t *testing.T) {
	b := newBooth(t, give(http.StatusUpgradeRequired, "application/json", `{"error":"use HTTP"}`))
	_, resp, err := (&websocket.Dialer{}).Dial("ws"+strings.TrimPrefix(b.url, "http")+"/v1/responses", nil)
	if err == nil || resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("%v %v", resp, err)
	}
	resp.Body.Close()
	if got := b.heard(); got != "" {
		t.Errorf("heard %s", got)
	}
}

// frame is a frame as one side writes it; a client masks it.
func frame(client bool, head byte, payload string) string {
	var out bytes.Buffer
	out.WriteByte(head)
	masked := byte(0)
	if client {
		masked = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		out.WriteByte(masked | byte(n))
	case n < 1<<16:
		out.WriteByte(masked | 126)
		binary.Write(&out, binary.BigEndian, uint16(n))
	default:
		out.WriteByte(masked | 127)
		binary.Write(&out, binary.BigEndian, uint64(n))
	}
	if !client {
		return out.String() + payload
	}
	mask := []byte{1, 0x80, 3, 0x7f}
	out.Write(mask)
	for i := range len(payload) {
		out.WriteByte(payload[i] ^ mask[i&3])
	}
	return out.String()
}

// The heads of frames.
const (
	whole, begins, goes, ends = 0x81, 0x01, 0x00, 0x80
	zipped                    = 0xc1
)

// However the bytes of a direction are cut, its messages are the same; what breaks the rules ends the hearing, and is never
// taken for something else.
func TestFramesAreReadStrictly(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	zip := conversation.Deflated("hello, hello, hello", "hello again, hello, hello")
	messages := func(side bool, heads ...any) (out string) {
		for i := 0; i < len(heads); i += 2 {
			out += frame(side, byte(heads[i].(int)), heads[i+1].(string))
		}
		return out
	}
	for name, tc := range map[string]struct {
		client     bool
		extensions string
		bytes      string
		want       string
	}{
		"whole":                   {true, "", messages(true, whole, "a", whole, "", whole, long), `a||` + long},
		"of the server":           {false, "", messages(false, whole, "a", whole, long), "a|" + long},
		"in pieces":               {true, "", messages(true, begins, "a", 0x89, "ping", goes, "", 0x8a, "pong", ends, "b", whole, "c"), "ab|c"},
		"after a close":           {true, "", messages(true, whole, "a", 0x88, "\x03\xe8bye", whole, "b"), "a"},
		"binary":                  {true, "", messages(true, 0x82, "a", whole, "b"), "lost: it is binary|b"},
		"compressed":              {false, "permessage-deflate", messages(false, zipped, zip[0], zipped, zip[1], whole, "plain"), "hello, hello, hello|hello again, hello, hello|plain"},
		"compressed in pieces":    {false, "permessage-deflate; client_no_context_takeover", messages(false, 0x41, zip[0][:3], ends, zip[0][3:], zipped, zip[1]), "hello, hello, hello|hello again, hello, hello"},
		"compressed, no context":  {false, "permessage-deflate; server_no_context_takeover", messages(false, zipped, zip[0], zipped, zip[0]), "hello, hello, hello|hello, hello, hello"},
		"refers to nothing":       {true, "permessage-deflate; client_no_context_takeover; client_max_window_bits=15", messages(true, zipped, zip[0], zipped, zip[1]), "hello, hello, hello|error: flate: corrupt input before offset 2"},
		"compressed, not agreed":  {true, "", messages(true, whole, "a", zipped, zip[0]), "a|error: a frame has a bit that nobody has agreed on"},
		"not masked":              {true, "", frame(false, whole, "a"), "error: a frame is masked by the server, or not by the client"},
		"masked by the server":    {false, "", frame(true, whole, "a"), "error: a frame is masked by the server, or not by the client"},
		"a bad opcode":            {true, "", messages(true, 0x83, "a"), "error: a frame has the opcode 3"},
		"a bad opcode of control": {true, "", messages(true, 0x8b, "a"), "error: a frame has the opcode 11"},
		"a bit":                   {true, "", messages(true, 0x91, "a"), "error: a frame has a bit that nobody has agreed on"},
		"goes on and never began": {true, "", messages(true, goes, "a"), "error: a message begins within another, or goes on and never began"},
		"begins within another":   {true, "", messages(true, begins, "a", whole, "b"), "error: a message begins within another, or goes on and never began"},
		"control in pieces":       {true, "", messages(true, 0x09, "a"), "error: a frame of control is long, or in pieces"},
		"long control":            {true, "", messages(true, 0x89, strings.Repeat("a", 126)), "error: a frame of control is long, or in pieces"},
		"a length below zero":     {false, "", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "error: a frame has a length below zero"},
		"another extension":       {true, "x-mux", messages(true, whole, "a"), `error: its extension is "x-mux"`},
		"half":                    {true, "", frame(true, whole, "hello")[:8], ""},
	} {
		for _, size := range []int{1, 3, 7, 1 << 20} {
			got, left := conversation.ReadFrames(tc.client, tc.extensions, tc.bytes, size)
			if got != tc.want || left != 0 {
				t.Errorf("%s, %d bytes each: %.200q, want %.200q; %d bytes of copies are left", name, size, got, tc.want, left)
			}
		}
	}
}

// A message of 100 MiB passes, and so do bombs; they are not heard, what follows on the connection is where it can be, and the
// memory is bounded.
func TestAWebSocketIsHeardWithinBounds(t *testing.T) {
	const create, answer = `{"type":"response.create","input":"hello"}`, `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":"Hi."}}`
	huge := strings.Repeat("x", 1<<20)
	bomb := conversation.Deflated(strings.Repeat("x", 40<<20))[0]
	for name, tc := range map[string]struct {
		compressed bool
		write      func(w io.Writer)
		want       string
	}{
		"100 MiB": {false, func(w io.Writer) {
			io.WriteString(w, frame(true, begins, "{"))
			for range 100 {
				io.WriteString(w, frame(true, goes, huge))
			}
			io.WriteString(w, frame(true, ends, "}"))
		}, "unheard (): a message was not heard to its end: it is longer than 32 MiB\nuser: hello\nassistant: Hi.\n"},
		"a bomb":  {true, func(w io.Writer) { io.WriteString(w, frame(true, zipped, bomb)) }, "unheard (): a conversation was not heard to its end: it is longer than 32 MiB\n"},
		"no JSON": {false, func(w io.Writer) { io.WriteString(w, frame(true, whole, "{")) }, "unheard (): a message was not heard to its end: wire: want a key in quotes at byte 1\nuser: hello\nassistant: Hi.\n"},
		"two readings": {
			false, func(w io.Writer) { io.WriteString(w, frame(true, whole, `{"type":"x","type":"response.create"}`)) },
			"unheard (): a message was not heard to its end: wire: duplicate key \"type\": ambiguous message\nuser: hello\nassistant: Hi.\n",
		},
	} {
		passed := make(chan int64, 1)
		b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			extension := ""
			if tc.compressed {
				extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
			}
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + extension + "\r\n")
			rw.Flush()
			end := []byte(frame(true, whole, create))
			n, tail := int64(0), []byte{}
			buf := make([]byte, 64<<10)
			for !bytes.HasSuffix(tail, end) {
				k, err := rw.Read(buf)
				if err != nil {
					t.Error(err)
					break
				}
				n += int64(k)
				tail = append(tail, buf[:k]...)
				tail = tail[max(0, len(tail)-len(end)):]
			}
			passed <- n
			rw.WriteString(frame(false, whole, `{"type":"response.created","response":{"id":"resp_1"}}`) + frame(false, whole, answer) +
				frame(false, whole, `{"type":"response.completed","response":{"output":[]}}`) + frame(false, 0x88, "\x03\xe8"))
			rw.Flush()
		})
		r, err := http.NewRequest(http.MethodGet, b.url+"/v1/responses", nil)
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
		sent := &counter{w: conn}
		tc.write(sent)
		io.WriteString(sent, frame(true, whole, create))
		if n := <-passed; n != sent.n {
			t.Errorf("%s: %d bytes passed of %d", name, n, sent.n)
		}
		io.Copy(io.Discard, conn)
		conn.Close()
		if got := b.heard(); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: heard\n%s", name, got)
		}
		if most := b.Most(); most > 150<<20 {
			t.Errorf("%s: %d MiB of copies at one time", name, most>>20)
		}
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// A connection that ends in the middle of an answer was heard up to there; one on which nothing can be recorded goes on.
func TestAWebSocketThatBreaksOff(t *testing.T) {
	for _, broken := range []error{nil, io.ErrShortWrite} {
		b := newBooth(t, talks(t, nil, func(conn *websocket.Conn) {
			conn.ReadMessage()
			conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.created","response":{"id":"r"}}`))
			conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.output_text.delta","output_index":0,"delta":"I begin"}`))
		}))
		b.fail(broken)
		conn := b.dial(websocket.Dialer{}, "/v1/responses")
		conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.create","input":"hello"}`))
		n := 0
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				break
			}
			n++
		}
		conn.Close()
		want := "user: hello\nassistant: I begin\nunheard (): a conversation was not heard to its end: it breaks off\n"
		if broken != nil {
			want = ""
		}
		if got := b.heard(); got != want || n != 2 {
			t.Errorf("%d messages, heard\n%s", n, got)
		}
	}
}

// A conversation over a WebSocket ends with the daemon.
func TestAWebSocketEndsWithTheDaemon(t *testing.T) {
	b := newBooth(t, talks(t, nil, func(conn *websocket.Conn) { conn.ReadMessage() }))
	conn := b.dial(websocket.Dialer{}, "/v1/responses")
	defer conn.Close()
	b.close()
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the connection goes on")
	}
	if got := recorded[*event.Signal](b.room); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// Whatever a side sends, reading its frames ends, panics nowhere and gives its memory back.
func FuzzFrames(f *testing.F) {
	zip := conversation.Deflated("hello, hello", "hello again")
	for _, seed := range []string{
		frame(true, whole, "hello"), frame(false, begins, "a") + frame(false, ends, "b"), frame(false, zipped, zip[0]) + frame(false, zipped, zip[1]),
		"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff0000", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f.Add(true, "permessage-deflate", seed, uint8(3))
		f.Add(false, "", seed, uint8(200))
	}
	f.Fuzz(func(t *testing.T, client bool, extensions, text string, size uint8) {
		at, left := conversation.ReadFrames(client, extensions, text, 1+int(size))
		once, _ := conversation.ReadFrames(client, extensions, text, len(text)+1)
		if at != once || left != 0 {
			t.Fatalf("%q in pieces, %q at once; %d bytes are left", at, once, left)
		}
	})
}
