package conversation_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/rules/event"
)

// booth is a Model with a test on both of its sides.
type booth struct {
	*room
	*conversation.Model
	url   string
	close func() // returns when all is heard
}

// api is a scripted model API.
type api func(w http.ResponseWriter, r *http.Request, body []byte)

func newBooth(t testing.TB, answer api, change ...func(*conversation.Config)) *booth {
	t.Helper()
	b := &booth{room: newRoom(t, change...)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			answer(w, r, body)
		}
	}))
	u, err := url.Parse(upstream.URL + "/base")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.Model, err = conversation.NewModel(conversation.ModelConfig{
		Name: "test", URL: u, Mount: "/model/test", Ear: b.ear, Guard: proxy.Guard{User: "alice"}, Until: ctx,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(b.Model)
	b.url = s.URL + "/model/test"
	b.close = sync.OnceFunc(func() {
		cancel()
		s.Close()
		b.Close()
		upstream.CloseClientConnections()
		upstream.Close()
		if held := b.Held(); held != 0 {
			t.Errorf("%d bytes of copies are left", held)
		}
	})
	t.Cleanup(b.close)
	return b
}

// client is a client that takes bytes as they come.
var client = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

// ask posts a request with headers such as "User-Agent: x" and returns the answer with its whole body, as it came.
func (b *booth) ask(path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Logf("the answer breaks off: %v", err)
	}
	return resp, text
}

// heard returns all that was heard, when nothing more is said.
func (b *booth) heard() string {
	b.t.Helper()
	b.close()
	var out strings.Builder
	for e := range b.Events(1) {
		switch body := e.Body.(type) {
		case *event.Turn:
			out.WriteString(said([]*event.Turn{body}))
		case *event.Signal:
			fmt.Fprintf(&out, "%s (%s): %s\n", body.Name, body.Server, body.Text)
		case *event.Call:
			bound := ""
			if body.Bound != nil {
				bound = fmt.Sprintf(" of #%d", body.Bound.Turn)
			}
			fmt.Fprintf(&out, "seen %v %s/%s %s%s\n", body.Seen, body.Server, body.Tool, body.Args, bound)
		case *event.Result:
			fmt.Fprintf(&out, "result %s of #%d %s/%s %s%s\n", body.Outcome, e.Cause, body.Server, body.Tool, body.Content, body.Text)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Closed:
		}
	}
	return out.String()
}

// encodings are the ways to encode an answer.
var encodings = map[string]func(w io.Writer) io.WriteCloser{
	"":        func(w io.Writer) io.WriteCloser { return plain{w} },
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"zstd": func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return z
	},
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

func encode(t testing.TB, encoding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := encodings[encoding](&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var redacted = regexp.MustCompile(`\[redacted [0-9a-f]+\]`)

// transcripts are the exchanges of testdata/conversation.
func transcripts(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "conversation", "*.txtar"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	return files
}

// Every transcript is heard as it says, however its answers are encoded and cut into pieces, and passes to the byte.
func TestTranscripts(t *testing.T) {
	for _, file := range transcripts(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for encoding := range encodings {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+encoding, func(t *testing.T) {
				t.Parallel()
				transcript(t, txtar.Parse(text), encoding)
			})
		}
	}
}

func transcript(t *testing.T, a *txtar.Archive, encoding string) {
	var path, want, kind string
	var request, answer, got []byte
	var query string
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got, query = body, r.URL.RequestURI()
		w.Header().Set("Content-Type", kind)
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		for piece := range bytes.Lines(answer) {
			w.Write(piece[:len(piece)/2])
			http.NewResponseController(w).Flush()
			w.Write(piece[len(piece)/2:])
		}
	})
	for _, f := range a.Files {
		switch _, what, _ := strings.Cut(f.Name, "."); {
		case f.Name == "path":
			path = strings.TrimSpace(string(f.Data))
		case f.Name == "said":
			want = string(f.Data)
		case what == "request.json":
			request = f.Data
		default:
			kind = map[string]string{"answer.sse": "text/event-stream; charset=utf-8", "answer.json": "application/json"}[what]
			answer = encode(t, encoding, f.Data)
			resp, body := b.ask(path, bytes.NewReader(request), "Accept-Encoding: "+encoding)
			if !bytes.Equal(got, request) || !bytes.Equal(body, answer) || query != "/base"+path || resp.Header.Get("Content-Encoding") != encoding {
				t.Errorf("%s: the bytes are others: %s %s", f.Name, query, body)
			}
		}
	}
	heard := redacted.ReplaceAllString(b.heard(), "[redacted]")
	heard = regexp.MustCompile(`(?m)^(system.*>)\n(.*)\n(<)`).ReplaceAllString(heard, "$1 $2 $3")
	if heard != want {
		t.Errorf("heard\n%s\nwant\n%s", heard, want)
	}
	for e := range b.Events(1) {
		if raw, err := e.AppendJSON(nil); err != nil || strings.Contains(string(raw), "hunter2") || strings.Contains(string(raw), "geheim") {
			t.Errorf("%s %v", raw, err)
		}
	}
}

const (
	hello  = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	events = "text/event-stream"
)

// give answers with a status.
func give(status int, kind, text string) api {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

// What the API refuses passes as it is; the request was made all the same, and is made again.
func TestErrorsPass(t *testing.T) {
	status := 529
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Retry-After", "3")
		give(status, "application/json", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"content":[{"type":"text","text":"unsaid"}]}`)(w, r, body)
	})
	for _, status = range []int{529, 429, 500, 302, 400} {
		client := *client
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := client.Post(b.url+"/v1/messages", "application/json", strings.NewReader(hello))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != status || resp.Header.Get("Retry-After") != "3" || !strings.Contains(string(body), "Overloaded") {
			t.Errorf("%d %s %v", resp.StatusCode, body, err)
		}
	}
	if got := b.heard(); got != "user: hello\n" {
		t.Errorf("heard\n%s", got)
	}
}

// An error without a body, with half of one, or with one that is not what it says passes as it is.
func TestErrorsPassWhateverTheirBodies(t *testing.T) {
	for _, tc := range []struct{ kind, encoding, length, body string }{
		{"", "", "0", ""},
		{"text/html", "", "", "<h1>overloaded"},
		{"application/json", "gzip", "", "no gzip"},
		{"text/event-stream", "", "", "event: error\ndata: {"},
		{"application/json", "", "100", `{"type":"error"`},
	} {
		b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			for name, value := range map[string]string{"Content-Type": tc.kind, "Content-Encoding": tc.encoding, "Content-Length": tc.length} {
				if value != "" {
					w.Header().Set(name, value)
				}
			}
			w.WriteHeader(529)
			io.WriteString(w, tc.body)
		})
		resp, body := b.ask("/v1/messages", strings.NewReader(hello))
		if resp.StatusCode != 529 || string(body) != tc.body || resp.Header.Get("Content-Encoding") != tc.encoding {
			t.Errorf("%+v: %d %q", tc, resp.StatusCode, body)
		}
		if got := b.heard(); got != "user: hello\n" {
			t.Errorf("%+v: heard %s", tc, got)
		}
	}
}

// A client gets each piece of a stream when the API sends it, also where somebody listens.
func TestStreamsFlow(t *testing.T) {
	next := make(chan string)
	b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", events)
		http.NewResponseController(w).Flush()
		for text := range next {
			io.WriteString(w, text)
			http.NewResponseController(w).Flush()
		}
	})
	resp, err := client.Post(b.url+"/v1/messages", "application/json", strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	for i := range 10 {
		text := fmt.Sprintf("data: {\"type\":\"ping\",\"n\":%d}\n\n", i)
		next <- text
		if n, err := io.ReadFull(resp.Body, buf[:len(text)]); err != nil || string(buf[:n]) != text {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
	close(next)
}

// The half of an answer that came was said. A call whose arguments are not complete is not one: no client makes it.
func TestHalfAStreamIsHalfHeard(t *testing.T) {
	for path, text := range map[string]string{
		"/v1/messages": `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I be"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"gin"}}

data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"x","input":{}}}

data: {"type":"content_block_delta","index":1,"del`,
		"/v1/chat/completions": `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"I begin"}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"x","arguments":"{"}}]}}]}

data: {"cho`,
		"/v1/responses": `data: {"type":"response.output_text.delta","output_index":0,"delta":"I begin"}

data: {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"call_1"}}

da`,
		"/v1/models/m:streamGenerateContent": `data: {"candidates":[{"content":{"parts":[{"text":"I begin"}]}}]}

data: {"candidates":[{"content":{"parts":[{"functi`,
	} {
		for _, encoding := range []string{"", "gzip"} {
			b := newBooth(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				w.Header().Set("Content-Type", events)
				if encoding != "" {
					w.Header().Set("Content-Encoding", encoding)
				}
				out := encodings[encoding](w)
				io.WriteString(out, text)
				if z, ok := out.(*gzip.Writer); ok {
					z.Flush()
				}
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			b.ask(path, strings.NewReader(`{}`))
			if got := b.heard(); got != "assistant: I begin\nunheard (): an answer was not heard to its end: transport: it breaks off\n" &&
				got != "assistant: I begin\nunheard (): an answer was not heard to its end: transport: unexpected EOF\n" {
				t.Errorf("%s %s: heard\n%s", path, encoding, got)
			}
		}
	}
}

// slow records nothing before it is told to.
type slow struct {
	conversation.Recorder
	begin chan struct{}
}

func (s slow) Record(who proxy.Origin, cause uint64, body event.Body) *proxy.Ticket {
	<-s.begin
	return s.Recorder.Record(who, cause, body)
}

// However far hearing is behind what passes, an answer is heard before what the client says to it. A client may say so before
// the stream has ended.
func TestAnswersAreHeardBeforeWhatFollows(t *testing.T) {
	for range 20 {
		begin, follow := make(chan struct{}), make(chan struct{})
		n := 0
		b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if n++; n > 1 {
				give(http.StatusOK, "application/json", `{"output":[]}`)(w, r, body)
				return
			}
			w.Header().Set("Content-Type", events)
			io.WriteString(w, `data: {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_1"}}`+"\n\n")
			http.NewResponseController(w).Flush()
			<-follow
		}, func(c *conversation.Config) { c.Recorder = slow{c.Recorder, begin} })
		resp, err := client.Post(b.url+"/v1/responses", "application/json", strings.NewReader(`{"input":"Echo."}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		b.ask("/v1/responses", strings.NewReader(`{"input":[{"type":"function_call_output","call_id":"call_1","output":"echo"}]}`))
		close(begin)
		close(follow)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := b.heard(); got != "user: Echo.\nassistant [call_1]: \ntool [call_1]: echo\n" {
			t.Fatalf("heard\n%s", got)
		}
	}
}

// A client that goes away while the model speaks leaves nothing behind.
func TestAClientThatGoesAway(t *testing.T) {
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Content-Type", events)
		io.WriteString(w, "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"Once\"}}\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	resp, err := client.Post(b.url+"/v1/messages", "application/json", strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 20))
	resp.Body.Close()
	if got := b.heard(); !strings.HasPrefix(got, "user: hello\nassistant: Once\nunheard") {
		t.Errorf("heard\n%s", got)
	}
}

// Credentials are in headers and in the query, and reach the API alone.
func TestCredentialsAreNotRecorded(t *testing.T) {
	got := http.Header{}
	b := newBooth(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got = r.Header.Clone()
		give(http.StatusOK, "application/json", `{"error":"bad key s3cr3t"}`)(w, r, body)
	})
	b.ask("/v1/messages?key=s3cr3t", strings.NewReader(hello), "Authorization: Bearer s3cr3t", "X-Api-Key: s3cr3t", "X-Goog-Api-Key: s3cr3t", "Cookie: a=s3cr3t")
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Cookie"} {
		if !strings.Contains(got.Get(name), "s3cr3t") {
			t.Errorf("the API does not get %s", name)
		}
	}
	b.close()
	for e := range b.Events(1) {
		if raw, err := e.AppendJSON(nil); err != nil || strings.Contains(string(raw), "s3cr3t") {
			t.Errorf("%s %v", raw, err)
		}
	}
}

// Whatever an API sends, hearing it ends, and panics nowhere.
func FuzzHear(f *testing.F) {
	for _, file := range transcripts(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		a := txtar.Parse(text)
		for i, file := range a.Files {
			if strings.HasSuffix(file.Name, "request.json") {
				for kind := range uint8(4) {
					f.Add(kind, file.Data, a.Files[i+1].Data)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, request, answer []byte) {
		paths := []string{"/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/models/m:generateContent"}
		path := paths[int(kind)%len(paths)]
		stream := kind/4%2 == 0
		for _, p := range conversation.HearAll(path, request, answer, stream) {
			if p.Role == "" || p.Trust == "" || p.Text == "" && len(p.Calls) == 0 && p.Use == nil && p.Role != event.RoleTool {
				t.Errorf("%+v", p)
			}
			if len(p.Text) > len(request)+len(answer)+len(answer)*4 {
				t.Errorf("a text of %d bytes of %d", len(p.Text), len(request)+len(answer))
			}
		}
	})
}
