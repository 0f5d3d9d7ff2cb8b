package daemon_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// A client that umpire wrap has pointed here says where its server is. What it sends arrives there: path, query and
// headers are its own.
func TestAClientNamesItsServer(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.String()+" "+r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
	}))
	defer server.Close()
	d := start(t, options(t, `
servers: {billing: {url: "http://127.0.0.1:1/mcp", headers: {Authorization: "Bearer ours"}}}
rules: [{name: no-refunds, on: billing/refund, where: "true", do: deny}]`))
	defer d.Close()
	ask := func(path, tool string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.Addr()+path,
			strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{}}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	to := "/billing/to/" + server.URL
	if status, body := ask(to+"/a%2Fb/mcp?key=k%20x&key=y", "get", "Authorization", "Bearer theirs"); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if status, body := ask(to, "get"); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if want := "[/a%2Fb/mcp?key=k%20x&key=y Bearer theirs / ]"; fmt.Sprint(got) != want {
		t.Errorf("the server was asked for %s, want %s", got, want)
	}
	if _, body := ask(to+"/mcp", "refund"); !strings.Contains(body, "Umpire denied billing/refund") {
		t.Error(body)
	}
	for name, tc := range map[string]struct {
		path   string
		header []string
		status int
	}{
		"no URL":              {"/billing/to/${URL}/mcp", nil, http.StatusNotFound},
		"another scheme":      {"/billing/to/file:///etc/passwd", nil, http.StatusNotFound},
		"a name for all":      {"/*/to/" + server.URL, nil, http.StatusNotFound},
		"a page elsewhere":    {to, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"an image on a page":  {to, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a page on localhost": {to, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
	} {
		if status, body := ask(tc.path, "get", tc.header...); status != tc.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, tc.status)
		}
	}
	if len(got) != 2 {
		t.Errorf("the server was asked for %s", got)
	}
	for i := range 300 {
		if status, _ := ask(fmt.Sprintf("/n%d/to/%s", i, server.URL), "get"); status == http.StatusServiceUnavailable {
			return
		}
	}
	t.Error("clients can name any number of servers")
}

// A login that a wrapped server asks for leads through Umpire, too: a client takes no metadata of another address.
func TestALoginOfAServerThatAClientNames(t *testing.T) {
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-protected-resource/mcp" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"resource":"%s/mcp","authorization_servers":["https://login.example"]}`, server.URL)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+server.URL+`/.well-known/oauth-protected-resource/mcp"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	d := start(t, options(t, ""))
	defer d.Close()
	get := func(url string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	resource := "http://" + d.Addr() + "/billing/to/" + server.URL + "/mcp"
	resp, _ := get(resource)
	_, metadata, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), `resource_metadata="`)
	metadata, _, _ = strings.Cut(metadata, `"`)
	if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(metadata, "http://"+d.Addr()+"/") {
		t.Fatal(resp.Status, resp.Header)
	}
	if resp, body := get(metadata); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"resource":"`+resource+`"`) || !strings.Contains(body, "login.example") {
		t.Error(resp.Status, body)
	}
}

// A client that asks for a WebSocket gets one to its server, whose path, query and headers are its own; what it says is
// judged under the name in the path.
func TestAClientNamesItsServerOverWebSocket(t *testing.T) {
	told := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{Subprotocols: []string{"mcp"}}
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		told <- r.URL.String() + " " + r.Header.Get("Authorization")
		for {
			kind, text, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)) != nil {
				return
			}
			told <- string(text)
		}
	}))
	defer server.Close()
	d := start(t, options(t, `rules: [{name: no-refunds, on: billing/refund, where: "true", do: deny}]`))
	defer d.Close()
	dial := func(to string, header ...string) (*websocket.Conn, int) {
		t.Helper()
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		dialer := websocket.Dialer{Subprotocols: []string{"mcp"}}
		ws, resp, err := dialer.DialContext(t.Context(), "ws://"+d.Addr()+to, h)
		if err != nil && resp == nil {
			t.Fatal(err)
		}
		if err != nil {
			return nil, resp.StatusCode
		}
		t.Cleanup(func() { ws.Close() })
		return ws, resp.StatusCode
	}
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME","arguments":{}}}`
	for _, scheme := range []string{"ws", "http"} { // a client may spell it so
		ws, status := dial("/billing/to/"+strings.Replace(server.URL, "http", scheme, 1)+"/a%2Fb/mcp?key=k%20x", "Authorization", "Bearer theirs")
		if got := <-told; status != http.StatusSwitchingProtocols || got != "/a%2Fb/mcp?key=k%20x Bearer theirs" {
			t.Fatal(status, got)
		}
		for _, tool := range []string{"refund", "get"} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(strings.Replace(call, "NAME", tool, 1))); err != nil {
				t.Fatal(err)
			}
			_, text, err := ws.ReadMessage()
			if err != nil || strings.Contains(string(text), "Umpire denied billing/refund") != (tool == "refund") {
				t.Errorf("%s: %v %s", tool, err, text)
			}
		}
		if got := <-told; got != strings.Replace(call, "NAME", "get", 1) {
			t.Errorf("the server was told %s", got)
		}
	}
	to := "/billing/to/" + strings.Replace(server.URL, "http", "ws", 1)
	for name, tc := range map[string]struct {
		to     string
		header []string
		status int
	}{
		"no URL":              {"/billing/to/${URL}", nil, http.StatusNotFound},
		"another scheme":      {"/billing/to/ftp://127.0.0.1", nil, http.StatusNotFound},
		"nobody there":        {"/billing/to/ws://127.0.0.1:1", nil, http.StatusBadGateway},
		"a page elsewhere":    {to, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"a page in a frame":   {to, []string{"Origin", "http://127.0.0.1", "Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"a name that rebinds": {to, []string{"Host", "evil.example"}, http.StatusForbidden},
	} {
		if _, status := dial(tc.to, tc.header...); status != tc.status {
			t.Errorf("%s: %d, want %d", name, status, tc.status)
		}
	}
	resp, err := http.Get("http://" + d.Addr() + to)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusUpgradeRequired {
		t.Error(resp.Status)
	}
	for i := range 300 {
		if _, status := dial(fmt.Sprintf("/billing/to/ws://127.0.0.1:1/?%d", i)); status == http.StatusServiceUnavailable {
			return
		}
	}
	t.Error("clients can name any number of servers")
}

// A daemon that closes ends the streams of HTTP+SSE that pass through it, at both ends.
func TestClosingEndsWhatPassesThrough(t *testing.T) {
	left := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "event: endpoint\ndata: /messages\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		left <- r.URL.Path
	}))
	defer server.Close()
	d := start(t, options(t, "rules: []"))
	closed := sync.OnceFunc(d.Close)
	defer closed()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.Addr()+"/old/to/"+server.URL+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := bufio.NewReader(resp.Body)
	line := ""
	for !strings.HasPrefix(line, "data:") && err == nil {
		line, err = stream.ReadString('\n')
	}
	if want := "data: /old/to/" + server.URL + "/sse?umpire-session="; err != nil || !strings.HasPrefix(line, want) {
		t.Fatal(err, line)
	}
	closed()
	if got := <-left; got != "/sse" {
		t.Error(got)
	}
	if rest, err := io.ReadAll(stream); err == nil && len(rest) > 1 {
		t.Errorf("%s", rest)
	}
}
