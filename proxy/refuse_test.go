package proxy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

func utf16le(s string) string {
	var b bytes.Buffer
	for _, u := range utf16.Encode([]rune("\uFEFF" + s)) {
		b.Write([]byte{byte(u), byte(u >> 8)})
	}
	return b.String()
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

// Invariant 6: what two parsers could read differently is refused, in words that a client understands, and noted. The
// tool is one that the policy denies: each of these reached one of the servers of this world past some firewall.
func TestWhatServersReadDifferentlyNeverReachesThem(t *testing.T) {
	purge := call("7", "purge", `{}`)
	const (
		noJSON    = wire.CodeParse
		noMessage = wire.CodeInvalidRequest
	)
	for name, tc := range map[string]struct {
		body    string
		headers []string
		status  int
		code    int64
		id      string
	}{
		"no body":                       {"", nil, 400, noJSON, "null"},
		"white space":                   {" \n", nil, 400, noJSON, "null"},
		"no JSON":                       {`{"jsonrpc":`, nil, 400, noJSON, "null"},
		"JSON5":                         {strings.Replace(purge, `"id"`, `id`, 1), nil, 400, noJSON, "null"},
		"a comment":                     {purge + " // hi", nil, 400, noJSON, "7"},
		"a second document":             {call("7", "echo", `{}`) + "\n" + purge, nil, 400, noJSON, "7"},
		"the name twice":                {strings.Replace(purge, `"name":"purge"`, `"name":"echo","name":"purge"`, 1), nil, 400, noMessage, "7"},
		"the name twice, escaped":       {strings.Replace(purge, `"name":"purge"`, `"name":"echo","n\u0061me":"purge"`, 1), nil, 400, noMessage, "7"},
		"the params twice":              {strings.Replace(purge, `"params":`, `"params":{"name":"echo"},"params":`, 1), nil, 400, noMessage, "7"},
		"the id twice":                  {strings.Replace(purge, `"id":7`, `"id":7,"id":8`, 1), nil, 400, noMessage, "null"},
		"a name in another case":        {strings.Replace(purge, `"name":"purge"`, `"name":"echo","Name":"purge"`, 1), nil, 400, noMessage, "7"},
		"params with a long s":          {strings.Replace(purge, `"params":`, `"params":{"name":"echo"},"paramſ":`, 1), nil, 400, noMessage, "7"},
		"a method in another case":      {strings.Replace(purge, `tools/call`, `Tools/Call`, 1), nil, 400, noMessage, "7"},
		"a call without id":             {strings.Replace(purge, `"id":7,`, ``, 1), nil, 400, noMessage, "null"},
		"an id that is none":            {strings.Replace(purge, `7`, `[7]`, 1), nil, 400, noMessage, "null"},
		"both a request and a response": {strings.Replace(purge, `"id"`, `"result":{},"id"`, 1), nil, 400, noMessage, "7"},
		"a batch within a batch":        {"[[" + purge + "]]", nil, 400, noMessage, "null"},
		"a byte order mark":             {"\uFEFF" + purge, nil, 400, noJSON, "null"},
		"UTF-16":                        {utf16le(purge), nil, 400, noJSON, "null"},
		"UTF-16 that says so":           {utf16le(purge), []string{"Content-Type: application/json; charset=utf-16"}, 415, noMessage, "null"},
		"UTF-7 in two types":            {purge, []string{"Content-Type: application/json", "Content-Type: application/json; charset=utf-7"}, 415, noMessage, "null"},
		"two charsets":                  {purge, []string{"Content-Type: application/json; charset=utf-8; charset=utf-7"}, 415, noMessage, "null"},
		"gzip":                          {zipped(purge), []string{"Content-Encoding: gzip"}, 415, noMessage, "null"},
		"gzip behind another encoding":  {zipped(purge), []string{"Content-Encoding: identity", "Content-Encoding: gzip"}, 415, noMessage, "null"},
		"gzip that does not say so":     {zipped(purge), nil, 400, noJSON, "null"},
		"another type":                  {purge, []string{"Content-Type: text/plain"}, 415, noMessage, "null"},
		"a form":                        {purge, []string{"Content-Type: multipart/form-data; boundary=x"}, 415, noMessage, "null"},
		"no type":                       {purge, []string{"Content-Type: "}, 415, noMessage, "null"},
		"a type that is none":           {purge, []string{"Content-Type: application/json;"}, 200, 0, "7"}, // legal, so it is judged
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, noPurge, obey)
			a := f.post(tc.body, append(tc.headers, "User-Agent: bot/1")...)
			if a.StatusCode != tc.status || a.get("error.code").Int() != tc.code || a.get("id").Raw != tc.id {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if a.Header.Get("Content-Type") != "application/json" || !gjson.Valid(a.body) {
				t.Errorf("%v %q", a.Header, a.body)
			}
			if got := f.requests(); len(got) > 0 {
				t.Errorf("the server got %q", got[0].body)
			}
			if tc.status != 200 {
				if s := f.signalled("refused"); s.Server != "billing" || s.Link == "" || !strings.Contains(s.Text, "client") {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

func TestMethodsThatTheTransportDoesNotHaveAreRefused(t *testing.T) {
	f := stand(t, noRules, obey)
	for _, method := range []string{"PUT", "PATCH", "HEAD", "TRACE", "PROPFIND", "post", "QUERY"} {
		a := f.send(method, call("1", "x", `{}`), "Content-Type: application/json")
		if a.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("%s: %d %v", method, a.StatusCode, a.Header)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("the server got %v", got)
	}
}

// endless is a body without end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestABodyThatIsTooLongIsNotRead(t *testing.T) {
	f := stand(t, noRules, obey)
	for name, announced := range map[string]int64{"announced": 64 << 20, "chunked": -1} {
		body := &endless{}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", body)
		r.ContentLength = announced
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		f.http.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || gjson.Get(w.Body.String(), "error.code").Int() != wire.CodeInvalidRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if most := map[string]int{"announced": 0, "chunked": wire.MaxSize + 1}[name]; body.read > 2*most {
			t.Errorf("%s: %d bytes were read", name, body.read)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("the server got %d requests", len(got))
	}
	f.signalled("refused")
}

// raw sends bytes and returns the response to them.
func (f *front) raw(text string) answer {
	f.t.Helper()
	c, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, text)
	c.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// A body that is cut off, or that two HTTP implementations would end at different places, is no message.
func TestABodyThatEndsInTwoPlacesIsRefused(t *testing.T) {
	f := stand(t, noRules, obey)
	ask := call("1", "purge", `{}`)
	head := "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for name, text := range map[string]string{
		"cut off":               head + "Content-Length: 500\r\n\r\n" + ask,
		"cut off in a chunk":    head + "Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + ask,
		"without a last chunk":  head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(ask), ask),
		"two lengths":           head + fmt.Sprintf("Content-Length: %d\r\nContent-Length: 3\r\n\r\n%s", len(ask), ask),
		"another encoding":      head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + ask,
		"a length that is none": head + "Content-Length: +9\r\n\r\n" + ask,
		"no length":             head + "\r\n" + ask,
	} {
		if a := f.raw(text); a.StatusCode < 400 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	for _, got := range f.requests() {
		t.Errorf("the server got %q", got.body)
	}
}

func TestAnIDIsGoodForOneRequestAtATime(t *testing.T) {
	release := make(chan struct{})
	f := stand(t, noRules, stateful("2025-11-25", func(w http.ResponseWriter, _ *http.Request, body string) {
		stream(w)(": begun\n\n")
		<-release
		fmt.Fprintf(w, "data: %s\n\n", done(gjson.Get(body, "id").Raw))
	}))
	f.begin()
	first := listener(f.open(f.request(t.Context(), http.MethodPost, call("1", "slow", `{}`), inSession)))
	f.next(first)
	for _, id := range []string{"1", "1.0", "10e-1"} {
		a := f.post(call(id, "purge", `{}`), inSession)
		if a.get("error.code").Int() != wire.CodeInvalidRequest || a.get("id").Raw != id {
			t.Errorf("%s: %s", id, a.body)
		}
	}
	f.signalled("id-in-use")
	other := listener(f.open(f.request(t.Context(), http.MethodPost, call(`"1"`, "other", `{}`), inSession)))
	f.next(other)
	close(release)
	if got := f.next(first) + f.next(other); got != "data: "+done("1")+"\n\ndata: "+done(`"1"`)+"\n\n" {
		t.Errorf("%q", got)
	}
	if got := f.requests(); len(got) != 3 {
		t.Errorf("the server got %d requests", len(got))
	}
}

// In 2025-03-26, the only revision in which servers must take them, every message of a batch is judged.
func TestEveryMessageOfABatchIsJudged(t *testing.T) {
	note := `{"jsonrpc":"2.0","method":"notifications/x"}`
	denied := func(id string) string { return `"id":` + id + `,"result":{"_meta":{"umpire/verdict"` }
	for name, tc := range map[string]struct {
		body  string
		sent  string   // what the server gets, "" if nothing
		gives []string // what the client's answer holds
	}{
		"all pass": {
			"[ " + call("1", "a", `{}`) + " ,\n" + note + "," + call(`"2"`, "b", `{}`) + "] ", "=",
			[]string{done("1"), done(`"2"`)},
		},
		"some pass": {
			"[" + call("1", "a", `{"x": 1.0}`) + "," + call("2", "purge", `{}`) + ",\n" + note + "," + call("3", "purge", `{}`) + "]",
			"[" + call("1", "a", `{"x": 1.0}`) + "," + note + "]",
			[]string{done("1"), denied("2"), denied("3")},
		},
		"none passes":                  {"[" + call("1", "purge", `{}`) + "," + call("2", "purge", `{}`) + "]", "", []string{denied("1"), denied("2")}},
		"only a notification passes":   {"[" + note + "," + call("2", "purge", `{}`) + "]", "[" + note + "]", []string{denied("2")}},
		"one id for two":               {"[" + call("1", "a", `{}`) + "," + call("1", "b", `{}`) + "]", "[" + call("1", "a", `{}`) + "]", []string{done("1"), `"id":1,"error"`}},
		"a message that cannot be":     {"[" + call("1", "a", `{}`) + `,{"jsonrpc":"2.0","id":2,"method":"tools/call","method":"ping"}]`, "", []string{`"error"`}},
		"initialize":                   {"[" + strings.Replace(initialize, "2025-11-25", "2025-03-26", 1) + "," + call("1", "a", `{}`) + "]", "", []string{`"error"`}},
		"with a message of 2026-07-28": {"[" + call("1", "a", `{}`) + "," + modern("2", "tools/call", `"name":"a"`) + "]", "", []string{`"error"`}},
		"none":                         {"[]", "", []string{`"error"`}},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, noPurge, obey)
			a := f.post(tc.body, "Mcp-Protocol-Version: 2025-03-26")
			for _, want := range tc.gives {
				if !strings.Contains(a.body, want) {
					t.Errorf("%s is not in %s", want, a.body)
				}
			}
			if want := len(tc.gives); gjson.Parse(a.body).IsArray() && len(gjson.Parse(a.body).Array()) != want || !gjson.Valid(a.body) {
				t.Errorf("%s: want %d answers", a.body, want)
			}
			if tc.sent == "=" {
				tc.sent = tc.body
			}
			var sent []string
			for _, r := range f.requests() {
				sent = append(sent, r.body)
			}
			if tc.sent == "" && len(sent) > 0 || tc.sent != "" && !slices.Equal(sent, []string{tc.sent}) {
				t.Errorf("the server got %q", sent)
			}
		})
	}
}

// A stream answers a batch too: what Umpire answers comes first, and does not wait.
func TestABatchCanBeAnsweredAsAStream(t *testing.T) {
	f := stand(t, noPurge, func(w http.ResponseWriter, _ *http.Request, _ string) {
		send := stream(w)
		send("data: " + done("1") + "\n\n")
		send("data: [" + done("3") + "," + done("1") + "," + done("9") + "]\n\n")
	})
	a := f.post("[" + call("1", "a", `{}`) + "," + call("2", "purge", `{}`) + "," + call("3", "a", `{}`) + "]")
	want := []string{`"id":2,"result":{"_meta":{"umpire/verdict"`, "data: " + done("1") + "\n\n", "data: [" + done("3") + "]\n\n"}
	rest := a.body
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Fatalf("%q is not where it should be in %q", w, a.body)
		}
		rest = after
	}
	if rest != "" {
		t.Errorf("and then %q", rest)
	}
	f.signalled("unknown-id")
}

// The revisions after 2025-03-26 have no batches; a server may still execute one.
func TestABatchIsRefusedWhereTheRevisionHasNone(t *testing.T) {
	batch := "[" + call("1", "purge", `{}`) + "," + call("2", "a", `{}`) + "]"
	for name, tc := range map[string]struct {
		revision string // of the session, "" if there is none
		header   string
		refused  bool
	}{
		"no session":                  {"", "", false},
		"no session, 2025-03-26":      {"", "2025-03-26", false},
		"no session, 2025-06-18":      {"", "2025-06-18", true},
		"no session, a revision of ?": {"", "draft", true},
		"2025-03-26":                  {"2025-03-26", "", false},
		"2025-06-18":                  {"2025-06-18", "", true},
		"2025-06-18 under a pretence": {"2025-06-18", "2025-03-26", true},
		"2025-11-25":                  {"2025-11-25", "2025-11-25", true},
	} {
		t.Run(name, func(t *testing.T) {
			answer := script(obey)
			var headers []string
			if tc.revision != "" {
				answer, headers = stateful(tc.revision, obey), []string{inSession}
			}
			if tc.header != "" {
				headers = append(headers, "Mcp-Protocol-Version: "+tc.header)
			}
			f := stand(t, noPurge, answer)
			if tc.revision != "" {
				f.begin()
			}
			before := len(f.requests())
			a := f.post(batch, headers...)
			if refused := a.StatusCode == http.StatusBadRequest && a.get("error.code").Int() == wire.CodeInvalidRequest; refused != tc.refused {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if reached := len(f.requests()) > before; reached == tc.refused {
				t.Errorf("it reached the server: %v", reached)
			}
		})
	}
}

// The ids of sessions are what clients say: they cannot fill the memory.
func TestTheTableOfSessionsIsBounded(t *testing.T) {
	f := stand(t, noRules, obey, func(c *proxy.HTTPConfig) { c.Judge = proxy.Denier{} })
	ask := func(id int, body string) int {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://localhost/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Mcp-Session-Id", fmt.Sprint(id))
		w := httptest.NewRecorder()
		f.http.ServeHTTP(w, r)
		return w.Code
	}
	const most = 10_000
	for i := range most {
		if got := ask(i, `{`); got != http.StatusBadRequest {
			t.Fatalf("session %d: %d", i, got)
		}
	}
	if got := ask(most, call("1", "x", `{}`)); got != http.StatusServiceUnavailable {
		t.Errorf("one more session: %d", got)
	}
	if got := ask(0, call("1", "x", `{}`)); got != http.StatusOK {
		t.Errorf("a session that there is: %d", got)
	}
	if got := f.send(http.MethodGet, "", fmt.Sprintf("Mcp-Session-Id: %d", most)); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream of one more session: %d", got.StatusCode)
	}
	if len(f.requests()) > 0 {
		t.Errorf("the server got %v", f.requests())
	}
}

// Nor can junk fill the disk, whoever sends it and however many sessions and clients it claims to come from.
func TestSignalsOverHTTPAreBounded(t *testing.T) {
	f := stand(t, noRules, obey)
	since := time.Now()
	for i := range 500 {
		f.post("{", fmt.Sprintf("User-Agent: bot%d/1", i))
		f.post("{", fmt.Sprintf("Mcp-Session-Id: %d", i))
	}
	n, most := 0, 100+int(time.Since(since)/time.Second)
	for _, e := range f.log() {
		if _, ok := e.Body.(*event.Signal); ok {
			n++
		}
	}
	if n < 100 || n > most {
		t.Errorf("%d signals are recorded of 1000, want at most %d", n, most)
	}
}

// What is not stored is said nowhere else: no secret of a message stands in a signal about it.
func TestASignalHoldsNoSecret(t *testing.T) {
	const secret = "sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-AAAAAAAA"
	f := stand(t, noRules, obey)
	f.post(`{"jsonrpc":"2.0","id":1,"method":"ping","` + secret + `":1,"` + secret + `":2}`)
	if s := f.signalled("refused"); strings.Contains(s.Text, secret[:40]) || !strings.Contains(s.Text, "duplicate key") {
		t.Errorf("%s", s.Text)
	}
	for _, e := range f.log() {
		if text, _ := e.MarshalJSON(); bytes.Contains(text, []byte(secret[:40])) {
			t.Errorf("%s", text)
		}
	}
}
