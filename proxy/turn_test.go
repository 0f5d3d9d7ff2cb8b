package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// elder is a server of HTTP+SSE in the hands of a test. What the client says is noted as by every upstream.
type elder struct {
	say    chan string // goes out on its stream, as it is
	took   chan string // what it was posted, with the token
	left   chan string // has an element for each stream that has ended
	tokens func(token string) bool
}

// old puts a front end before a server that speaks HTTP+SSE alone, and whose endpoint is /in?s=1.
func old(t *testing.T, policyText string, change ...func(*proxy.HTTPConfig)) (*front, *elder) {
	t.Helper()
	e := &elder{say: make(chan string, 16), took: make(chan string, 16), left: make(chan string, 16), tokens: func(string) bool { return true }}
	return stand(t, policyText, func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case !e.tokens(r.Header.Get("Authorization")):
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="https://elsewhere.example/metadata"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet:
			send := stream(w)
			defer func() { e.left <- r.URL.Path }()
			for {
				select {
				case text := <-e.say:
					send(text)
				case <-r.Context().Done():
					return
				}
			}
		case r.URL.RequestURI() == "/in?s=1":
			e.took <- body + " " + r.Header.Get("Authorization")
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	}, change...), e
}

const named = "event: endpoint\ndata: /in?s=1\n\n"

// A client of HTTP+SSE finds such a server under the address of one of Streamable HTTP, and all that it says is judged.
func TestAServerThatTurnsOutToSpeakHTTPAndSSE(t *testing.T) {
	f, server := old(t, `rules: [{name: no, on: "billing/purge", do: deny}]`)
	base := f.url
	f.url = base + "/old/sse?team=a%2Fb"
	if refused := f.post(initialize); refused.StatusCode != http.StatusMethodNotAllowed { // newer clients try this first
		t.Error(refused.Status)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	server.say <- ": hello\n\n" + named
	listen := listener(f.open(f.request(ctx, http.MethodGet, "", "Accept: text/event-stream", "Authorization: Bearer one")))
	if got := f.next(listen); got != ": hello\n\n" {
		t.Errorf("%q", got)
	}
	endpoint, ok := strings.CutPrefix(f.next(listen), "event: endpoint\ndata: /old/sse?team=a%2Fb&umpire-session=")
	if !ok {
		t.Fatal(endpoint) // it has to lead to Umpire
	}
	f.url += "&umpire-session=" + strings.TrimSpace(endpoint)
	if asked := f.requests(); len(asked) != 2 || asked[1].query != "team=a%2Fb" || asked[1].header.Get("Authorization") != "Bearer one" {
		t.Error(asked)
	}
	if resp := f.post(call("1", "purge", `{}`)); resp.StatusCode != http.StatusAccepted || resp.body != "" {
		t.Error(resp.Status, resp.body)
	}
	if got := f.next(listen); !strings.Contains(got, "Umpire denied billing/purge") {
		t.Error(got)
	}
	f.post(call("2", "look", `{"a": 1.0}`), "Authorization: Bearer two")
	if got := receive(t, server.took, "the call"); got != call("2", "look", `{"a": 1.0}`)+" Bearer two" {
		t.Errorf("%q", got)
	}
	server.say <- "data: " + done("2") + "\n\n"
	if got := f.next(listen); got != "event: message\ndata: "+done("2")+"\n\n" {
		t.Errorf("%q", got)
	}
	if out := f.send(http.MethodGet, ""); out.StatusCode != http.StatusMethodNotAllowed {
		t.Error(out.Status)
	}
	if page := f.post(call("3", "look", `{}`), "Origin: https://evil.example"); page.StatusCode != http.StatusForbidden {
		t.Error(page.Status)
	}
	hangUp()
	receive(t, server.left, "the end of the stream")
	await(f, "the end", func(_ event.Event, b *event.Closed) bool { return strings.HasPrefix(b.Link, "sse:billing:") })
	if resp := f.post(call("4", "look", `{}`)); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
}

// A token that expires during a session: the client is told so as at its beginning, and goes on with another.
func TestATokenThatExpiresInASessionOfHTTPAndSSE(t *testing.T) {
	f, server := old(t, "rules: []")
	f.url += "/sse"
	valid := make(chan string, 1)
	valid <- "Bearer one"
	server.tokens = func(token string) bool {
		v := <-valid
		valid <- v
		return token == v
	}
	if resp := f.send(http.MethodGet, "", "Authorization: Bearer none"); resp.StatusCode != http.StatusUnauthorized {
		t.Error(resp.Status)
	}
	server.say <- named
	listen := listener(f.open(f.request(t.Context(), http.MethodGet, "", "Authorization: Bearer one")))
	_, query, _ := strings.Cut(f.next(listen), "?")
	began := f.url
	f.url += "?" + strings.TrimSpace(query)
	<-valid
	valid <- "Bearer two"
	f.post(call("1", "look", `{}`), "Authorization: Bearer one")
	if got := f.next(listen); !strings.Contains(got, `"id":1,"error"`) || !strings.Contains(got, "401") {
		t.Error(got)
	}
	if r := f.ended(event.OutcomeError); r.Tool != "look" { // it did not run
		t.Error(r)
	}
	asked := f.post(call("2", "look", `{}`), "Authorization: Bearer one")
	metadata := `resource_metadata="` + strings.Replace(began, "/sse", proxy.MetadataPath+"/sse", 1) + `"`
	if got := asked.Header.Get("WWW-Authenticate"); asked.StatusCode != http.StatusUnauthorized || !strings.Contains(got, `error="invalid_token"`) || !strings.Contains(got, metadata) {
		t.Error(asked.Status, got)
	}
	if again := f.post(call("2", "look", `{}`), "Authorization: Bearer two"); again.StatusCode != http.StatusAccepted {
		t.Error(again.Status, again.body)
	}
	if got := receive(t, server.took, "the second call"); got != call("2", "look", `{}`)+" Bearer two" {
		t.Error(got)
	}
	server.say <- "data: " + done("2") + "\n\n"
	if got := f.next(listen); !strings.Contains(got, "done 2") {
		t.Error(got)
	}
}

// Attempts of a server to have its client post elsewhere, or past Umpire.
func TestNoEndpointOfTheServersReachesAClient(t *testing.T) {
	for name, raw := range map[string]string{
		"elsewhere":                "event: endpoint\ndata: https://evil.example/in\n\n",
		"another port":             "event: endpoint\ndata: http://127.0.0.1:1/in\n\n",
		"after a message":          "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n" + named,
		"after what is no message": "event: ping\ndata: 1\n\n" + named,
		"nowhere":                  "event: endpoint\n\n",
		"twice":                    named + named,
	} {
		f, server := old(t, "rules: []")
		server.say <- raw
		listen := listener(f.open(f.request(t.Context(), http.MethodGet, "")))
		for got := f.next(listen); got != ""; got = f.next(listen) {
			if strings.Contains(got, "endpoint") && !strings.Contains(got, "umpire-session=") {
				t.Errorf("%s: %q", name, got)
			}
		}
		receive(t, server.left, "the end of the stream of "+name)
		if name != "twice" {
			if s := f.signalled("refused"); !strings.Contains(s.Text, "endpoint") {
				t.Errorf("%s: %s", name, s.Text)
			}
		}
		if n := len(f.requests()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	f := stand(t, "rules: []", func(w http.ResponseWriter, _ *http.Request, _ string) { stream(w)(named) })
	for _, got := range []answer{f.post(call("1", "look", "{}")), f.send(http.MethodGet, "", "Mcp-Session-Id: s")} {
		if strings.Contains(got.body, "event: endpoint") {
			t.Error(got.body)
		}
	}
}

// A front end that closes ends its sessions of HTTP+SSE, and what they leave unanswered is recorded as lost.
func TestClosingEndsSessionsOfHTTPAndSSE(t *testing.T) {
	f, server := old(t, "rules: []")
	server.say <- named
	listen := listener(f.open(f.request(t.Context(), http.MethodGet, "")))
	_, query, _ := strings.Cut(f.next(listen), "?")
	f.url += "?" + strings.TrimSpace(query)
	f.post(call("1", "look", `{}`))
	await(f, "the verdict", func(_ event.Event, _ *event.Verdict) bool { return true })
	f.close()
	receive(t, server.left, "the end of the stream")
	if got := f.results(); len(got) != 1 || got[0] != event.OutcomeLost {
		t.Error(got)
	}
}
