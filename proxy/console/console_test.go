package console_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/proxy/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// feed is a history of which only the length counts.
type feed struct {
	mu      sync.Mutex
	last    uint64
	changed chan struct{}
}

func (f *feed) grow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *feed) Watch(done <-chan struct{}, from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for {
			f.mu.Lock()
			last, changed := f.last, f.changed
			f.mu.Unlock()
			for ; from <= last; from++ {
				if !yield(json.RawMessage(`{}`), nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}
}

// stand is a console on a port of its own, with an API that counts who gets through.
type stand struct {
	t       *testing.T
	console *console.Console
	addr    string
	feed    *feed
	done    chan struct{}
	mu      sync.Mutex
	now     time.Time
	through int
}

func open(t *testing.T) *stand {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, addr: l.Addr().String(), feed: &feed{last: 7, changed: make(chan struct{})}, done: make(chan struct{}), now: time.Unix(1e9, 0)}
	s.console, err = console.New(console.Config{
		Addr: s.addr, Feed: s.feed, Waits: func() int { return 2 }, Done: s.done, Now: s.time,
		API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.mu.Lock()
			s.through++
			s.mu.Unlock()
			io.WriteString(w, `{"secret":true}`)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.console}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return s
}

func (s *stand) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stand) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// ask makes a request with headers such as "Origin: x". Own is how pages of the console make theirs.
func (s *stand) ask(method, path, body string, headers ...string) (int, string, http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func (s *stand) own() string { return "Origin: http://" + s.addr }

// enter uses a link and returns the headers with which a page is let in, or the status of the refusal.
func (s *stand) enter(link string) (headers []string, status int) {
	s.t.Helper()
	_, token, _ := strings.Cut(link, "/#token=")
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		s.t.Fatal(err)
	}
	status, text, header := s.ask("POST", "/enter", string(body), s.own(), "Content-Type: application/json", "Sec-Fetch-Site: same-origin")
	if status != http.StatusOK {
		return nil, status
	}
	var in struct{ Key string }
	if err := json.Unmarshal([]byte(text), &in); err != nil || in.Key == "" {
		s.t.Fatalf("%v %s", err, text)
	}
	cookie := header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/;"} {
		if !strings.Contains(cookie, want) {
			s.t.Errorf("the cookie is not %s: %s", want, cookie)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	if strings.Contains(value, in.Key) || strings.Contains(value, token) || strings.Contains(text, token) {
		s.t.Error("one secret tells another")
	}
	return []string{s.own(), "Cookie: " + value, "Umpire-Key: " + in.Key}, status
}

func TestALinkLetsOneBrowserInOnceAndInTime(t *testing.T) {
	s := open(t)
	link := s.console.Link(nil)
	if !strings.HasPrefix(link, "http://"+s.addr+"/#token=") || len(link) < len("http://"+s.addr+"/#token=")+43 {
		t.Errorf("a link: %s", link)
	}
	in, status := s.enter(link)
	if status != http.StatusOK {
		t.Fatal(status)
	}
	if status, text, header := s.ask("GET", "/v1/x", "", in...); status != http.StatusOK || text != `{"secret":true}` || header.Get("Cache-Control") != "no-store" {
		t.Errorf("who is in: %d %s %v", status, text, header)
	}
	if _, status := s.enter(link); status != http.StatusForbidden {
		t.Errorf("a link that was used: %d", status)
	}
	for _, wrong := range []string{"", "x", link[len(link)-43:] + "A", strings.Repeat("A", 43)} {
		if _, status := s.enter("http://x/#token=" + wrong); status != http.StatusForbidden {
			t.Errorf("the token %q: %d", wrong, status)
		}
	}
	late := s.console.Link(nil)
	s.later(console.LinkFor)
	if _, status := s.enter(late); status != http.StatusForbidden {
		t.Errorf("a link that is too old: %d", status)
	}
	first := s.console.Link(nil)
	for range 16 { // whoever prints links does not make more and more of them good
		s.console.Link(nil)
	}
	if _, status := s.enter(first); status != http.StatusForbidden {
		t.Errorf("the oldest of many links: %d", status)
	}
	s.later(console.StayFor)
	if status, _, _ := s.ask("GET", "/v1/x", "", in...); status != http.StatusUnauthorized {
		t.Errorf("who came in yesterday: %d", status)
	}
}

func TestEveryRequestNeedsTheCookieAndTheKey(t *testing.T) {
	s := open(t)
	one, _ := s.enter(s.console.Link(nil))
	two, _ := s.enter(s.console.Link(nil))
	for name, headers := range map[string][]string{
		"nothing":                       {s.own()},
		"the cookie alone":              {s.own(), one[1]},
		"the key alone":                 {s.own(), one[2]},
		"the cookie of another browser": {s.own(), two[1], one[2]},
		"an empty key":                  {s.own(), one[1], "Umpire-Key: "},
		"the cookie under another name": {s.own(), "Cookie: umpire=" + strings.SplitN(one[1], "=", 2)[1], one[2]},
	} {
		for _, request := range [][2]string{{"GET", "/v1/held"}, {"POST", "/v1/held/4"}, {"POST", "/leave"}, {"GET", "/live"}} {
			if status, text, _ := s.ask(request[0], request[1], "{}", headers...); status != http.StatusUnauthorized || strings.Contains(text, "secret") {
				t.Errorf("%s, %s: %d %s", name, request, status, text)
			}
		}
	}
	if s.through != 0 {
		t.Errorf("%d requests got through", s.through)
	}
	if status, _, _ := s.ask("POST", "/leave", "", one...); status != http.StatusNoContent {
		t.Error(status)
	}
	if status, _, _ := s.ask("GET", "/v1/held", "", one...); status != http.StatusUnauthorized {
		t.Errorf("who has left: %d", status)
	}
	if status, _, _ := s.ask("GET", "/v1/held", "", two...); status != http.StatusOK {
		t.Errorf("who has not: %d", status)
	}
}

// Whatever another page in the same browser can send along, even the cookie and the key: it is turned away.
func TestRequestsOfOtherPagesAreTurnedAway(t *testing.T) {
	s := open(t)
	in, _ := s.enter(s.console.Link(nil))
	_, port, _ := net.SplitHostPort(s.addr)
	const get, post = "GET /v1/held", "POST /v1/held/4"
	for name, tc := range map[string]struct {
		request string
		headers []string
	}{
		"a name that leads here":         {get, []string{"Host: evil.example"}},
		"the same with the port":         {get, []string{"Host: evil.example:" + port}},
		"another port":                   {get, []string{"Host: 127.0.0.1:1"}},
		"no port":                        {get, []string{"Host: 127.0.0.1"}},
		"a name within":                  {get, []string{"Host: localhost.evil.example:" + port}},
		"another address of the machine": {get, []string{"Host: 127.0.0.2:" + port}},
		"a rebound page's own origin":    {post, []string{"Host: evil.example:" + port, "Origin: http://evil.example:" + port}},
		"another origin":                 {post, []string{"Origin: http://evil.example"}},
		"another port of the machine":    {post, []string{"Origin: http://127.0.0.1:1"}},
		"the same name for it":           {post, []string{"Origin: http://localhost:" + port}},
		"https":                          {post, []string{"Origin: https://" + s.addr}},
		"a sandboxed frame":              {post, []string{"Origin: null"}},
		"no origin":                      {post, nil},
		"two origins":                    {post, []string{s.own(), "Origin: http://evil.example"}},
		"a read from elsewhere":          {get, []string{"Origin: http://evil.example"}},
		"a script elsewhere":             {get, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}},
		"a server of this machine":       {get, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}},
		"somebody who follows a link":    {get, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}},
		"a frame of the pages":           {"GET /", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}},
		"a script tag":                   {"GET /js/main.js", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"}},
		"a form":                         {"POST /enter", []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.example", "Content-Type: text/plain"}},
		"a socket":                       {"GET /live", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Origin: http://evil.example"}},
		"a socket of a rebound page":     {"GET /live", []string{"Upgrade: websocket", "Connection: Upgrade", "Host: evil.example:" + port, "Origin: http://evil.example:" + port}},
		"a socket without origin":        {"GET /live", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}},
		"an old link to the pages":       {"POST /", []string{s.own() + "x"}},
	} {
		method, path, _ := strings.Cut(tc.request, " ")
		if status, text, _ := s.ask(method, path, `{"approve":true}`, append(tc.headers, in[1:]...)...); status != http.StatusForbidden || strings.Contains(text, "secret") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if s.through != 0 {
		t.Errorf("%d requests got through", s.through)
	}
	for name, headers := range map[string][]string{
		"a page":                {s.own(), "Sec-Fetch-Site: same-origin"},
		"by its name":           {"Host: localhost:" + port, "Origin: http://localhost:" + port},
		"in another case":       {"Host: LOCALHOST:" + port},
		"a read without origin": {"Sec-Fetch-Site: same-origin"},
	} {
		if status, _, _ := s.ask("GET", "/v1/held", "", append(headers, in[1:]...)...); status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _, _ := s.ask("GET", "/", "", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"); status != http.StatusOK {
		t.Errorf("a person who opens the page: %d", status)
	}
}

func TestEveryAnswerForbidsScriptsThatAreNotTheConsolesOwn(t *testing.T) {
	s := open(t)
	for _, path := range []string{"/", "/js/main.js", "/base.css", "/icon.svg", "/nothing", "/v1/x", "/js", "/js/", "/..%2f..%2fdoor.go", "/assets/index.html"} {
		status, text, h := s.ask("GET", path, "")
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: %s", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, h)
		}
		if strings.Contains(text, "package console") {
			t.Errorf("%s serves what is no asset", path)
		}
		if found := strings.Contains(path, ".") && !strings.Contains(path, "..") && !strings.HasPrefix(path, "/assets") || path == "/"; (status == http.StatusOK) != found {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _, _ := s.ask("GET", "/", "", "Host: evil.example"); status != http.StatusForbidden {
		t.Errorf("the page under another name: %d", status)
	}
}

// Pages build nodes. Of what makes markup or code of text, none may come in again.
func TestNoAssetMakesMarkupOfText(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML|\beval\b|new Function|\bimport\(|style="|<style|javascript:|https?://(?:[^w]|w[^w])`)
	inline := regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|\son[a-z]+="`)
	n := 0
	err := fs.WalkDir(os.DirFS("assets"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join("assets", path))
		n++
		if m := forbidden.Find(text); m != nil {
			t.Errorf("%s: %s", path, m)
		}
		if m := inline.Find(text); m != nil && strings.HasSuffix(path, ".html") {
			t.Errorf("%s: %s", path, m)
		}
		if lines := strings.Count(string(text), "\n"); lines > 500 {
			t.Errorf("%s has %d lines", path, lines)
		}
		return err
	})
	if err != nil || n < 10 {
		t.Errorf("%v, %d assets", err, n)
	}
}

// news waits for what a page hears.
func news(t *testing.T, c *websocket.Conn) (n console.News, err error) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	err = c.ReadJSON(&n)
	return n, err
}

func (s *stand) listen(in []string) *websocket.Conn {
	s.t.Helper()
	_, cookie, _ := strings.Cut(in[1], ": ")
	_, key, _ := strings.Cut(in[2], ": ")
	d := websocket.Dialer{Subprotocols: []string{console.Protocol, "key." + key}}
	c, resp, err := d.DialContext(s.t.Context(), "ws://"+s.addr+"/live", http.Header{"Origin": {"http://" + s.addr}, "Cookie": {cookie}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if c.Subprotocol() != console.Protocol {
		s.t.Errorf("the key is told again: %s", c.Subprotocol())
	}
	return c
}

func TestPagesHearThatThereIsMore(t *testing.T) {
	s := open(t)
	in, _ := s.enter(s.console.Link(nil))
	c := s.listen(in)
	defer c.Close()
	if n, err := news(t, c); err != nil || n != (console.News{Last: 7, Held: 2}) {
		t.Errorf("%v %+v", err, n)
	}
	for range 5_000 {
		s.feed.grow()
	}
	heard := 0
	for n := (console.News{}); n.Last < 5007; heard++ {
		var err error
		if n, err = news(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if heard > 100 { // a busy daemon does not drown its readers
		t.Errorf("%d pieces of news of 5,000 events", heard)
	}
	close(s.done)
	for {
		if _, err := news(t, c); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Error(err)
			}
			break
		}
	}
}

func TestThereAreOnlySoManySockets(t *testing.T) {
	s := open(t)
	in, _ := s.enter(s.console.Link(nil))
	for range 32 {
		c := s.listen(in)
		defer c.Close()
		if _, err := news(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, _ := s.ask("GET", "/live", "", in...); status != http.StatusServiceUnavailable {
		t.Error(status)
	}
}

func TestAConsoleIsForThisMachineAlone(t *testing.T) {
	for _, addr := range []string{"", "0.0.0.0:80", "[::]:80", "192.0.2.1:80", ":80", "127.0.0.1", "127.0.0.1:0", "localhost:80", "example.com:80"} {
		if _, err := console.New(console.Config{Addr: addr, API: http.NotFoundHandler(), Feed: &feed{}, Waits: func() int { return 0 }, Done: make(chan struct{})}); err == nil {
			t.Errorf("%q is taken", addr)
		}
	}
}
