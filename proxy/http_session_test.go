package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// stateful is a server with one session, "s1". What it says besides answers to calls comes from the script, which gets
// the requests that are neither initialize nor DELETE.
func stateful(revision string, rest script) script {
	return func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case gjson.Get(body, "method").Str == "initialize":
			w.Header().Set("Mcp-Session-Id", "s1")
			give(w, http.StatusOK, fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":%q,"capabilities":{},"serverInfo":{"name":"x"}}}`, revision))
		case r.Header.Get("Mcp-Session-Id") != "s1":
			give(w, http.StatusNotFound, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		default:
			rest(w, r, body)
		}
	}
}

const inSession = "Mcp-Session-Id: s1"

// begin initializes and returns how the session of the protocol is called.
func (f *front) begin() {
	f.t.Helper()
	if a := f.post(initialize); a.Header.Get("Mcp-Session-Id") != "s1" {
		f.t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}

// opened returns the links of the log, in order, and the sessions that they were opened in.
func (f *front) opened() (links []*event.Opened, sessions []string) {
	f.t.Helper()
	for _, e := range f.log() {
		if o, ok := e.Body.(*event.Opened); ok {
			links, sessions = append(links, o), append(sessions, e.Session)
		}
	}
	return links, sessions
}

func TestASessionOfTheProtocolIsALink(t *testing.T) {
	f := stand(t, noRules, stateful("2025-06-18", obey))
	f.begin()
	for _, id := range []string{"1", "2"} {
		if a := f.post(call(id, "refund", `{}`), inSession); a.body != done(id) {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	links, _ := f.opened()
	if len(links) != 1 || links[0].Agent != "bot" || links[0].Client.Version != "2" || links[0].Protocol != "2025-06-18" ||
		links[0].Principal != "local:alice" || strings.Contains(links[0].Link, "s1") {
		t.Fatalf("%+v", links)
	}
	if a := f.send(http.MethodDelete, "", inSession); a.StatusCode != http.StatusNoContent {
		t.Errorf("%d", a.StatusCode)
	}
	await(f, "the end of the link", func(_ event.Event, c *event.Closed) bool { return c.Link == links[0].Link })
	if _, known := f.gate.Reopen(links[0].Link); known {
		t.Error("the link is still open")
	}
}

// A session that the server does not know any more has ended; what waited for an answer is lost. A GET that the server
// does not know says nothing about the session.
func TestASessionEndsWhenTheServerForgetsIt(t *testing.T) {
	cut := make(chan struct{})
	f := stand(t, noRules, stateful("2025-11-25", func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(body, "slow"):
			send := stream(w)
			send("id: 1\ndata:\n\n")
			<-cut // the stream stays open
		case strings.Contains(body, "after"):
			w.WriteHeader(http.StatusNotFound)
		default:
			obey(w, r, body)
		}
	}))
	f.begin()
	slow := f.open(f.request(t.Context(), http.MethodPost, call("1", "slow", `{}`), inSession))
	if got := f.next(listener(slow)); got != "id: 1\ndata:\n\n" {
		t.Fatalf("%q", got)
	}
	if a := f.send(http.MethodGet, "", inSession); a.StatusCode != http.StatusNotFound {
		t.Errorf("%d", a.StatusCode)
	}
	if a := f.post(call("2", "refund", `{}`), inSession); a.body != done("2") {
		t.Errorf("after a GET that the server does not know: %s", a.body)
	}
	if got := kinds(f.log()); strings.Contains(got, "closed") || strings.Count(got, "opened") != 1 {
		t.Errorf("%s", got)
	}
	if a := f.post(call("3", "after", `{}`), inSession); a.StatusCode != http.StatusNotFound {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	await(f, "the end of the link", func(event.Event, *event.Closed) bool { return true })
	f.ended(event.OutcomeLost)
	close(cut)
}

// Before 2026-07-28 a stream that breaks is no end: the answer comes on the stream that resumes it, and is recorded then.
func TestAnAnswerComesOnTheStreamThatResumes(t *testing.T) {
	const notice = "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n"
	const question = "data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"roots/list\"}\n\n"
	for name, begin := range map[string]func(w http.ResponseWriter){
		"the stream is cut":              func(w http.ResponseWriter) { stream(w)("id: 1\nretry: 10\ndata:\n\n") },
		"the stream is cut in an event":  func(w http.ResponseWriter) { stream(w)("id: 1\ndata: \n\nid: 2\ndata: {\"jsonrpc\"") },
		"the answer will come elsewhere": func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"with a body that says so": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, "Accepted")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, noRules, stateful("2025-11-25", func(w http.ResponseWriter, r *http.Request, _ string) {
				if r.Method == http.MethodPost {
					begin(w)
					return
				}
				if r.Header.Get("Last-Event-Id") != "1" {
					t.Errorf("resumed after %q", r.Header.Get("Last-Event-Id"))
				}
				send := stream(w)
				send(notice)
				send(question)
				send("id: 3\ndata: " + done("1") + "\n\n")
			}))
			f.begin()
			if a := f.post(call("1", "refund", `{}`), inSession); strings.Contains(a.body, "error") {
				t.Errorf("the call has failed already: %s", a.body)
			}
			listen := listener(f.open(f.request(t.Context(), http.MethodGet, "", inSession, "Last-Event-ID: 1")))
			for _, want := range []string{notice, question, "id: 3\ndata: " + done("1") + "\n\n", ""} {
				if got := f.next(listen); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			f.close()
			if got := kinds(log(t, f.disk)); got != "loaded opened call verdict result" {
				t.Error(got)
			}
			if r := log(t, f.disk)[4].Body.(*event.Result); r.Outcome != event.OutcomeOK {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Without a session of the protocol nothing can be resumed: the client is told at once.
func TestWithoutASessionACutStreamIsTheEnd(t *testing.T) {
	for name, answer := range map[string]script{
		"a stream":      func(w http.ResponseWriter, _ *http.Request, _ string) { stream(w)("id: 1\ndata:\n\n") },
		"a mere status": func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusAccepted) },
		"an empty body": func(w http.ResponseWriter, _ *http.Request, _ string) { give(w, http.StatusOK, "") },
	} {
		f := stand(t, noRules, answer)
		a := f.post(call("1", "refund", `{}`))
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"id":1,"error"`) {
			t.Errorf("%s: %d %q", name, a.StatusCode, a.body)
		}
		await(f, "the end of the call", func(_ event.Event, r *event.Result) bool { return r.Outcome != event.OutcomeOK })
	}
}

// MCP 2026-07-28: closing the stream cancels the request.
func TestClosingTheStreamCancelsTheCall(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{}, 2)
	f := stand(t, noRules, func(w http.ResponseWriter, r *http.Request, body string) {
		if strings.Contains(body, "stream") {
			stream(w)("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n")
		}
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	for _, how := range []string{"stream", "silence"} {
		ctx, cancel := context.WithCancel(t.Context())
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			r := f.request(ctx, http.MethodPost, modern("1", "tools/call", `"name":"`+how+`"`))
			if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_, err = resp.Body.Read(make([]byte, 10))
				for err == nil {
					_, err = resp.Body.Read(make([]byte, 10))
				}
				resp.Body.Close()
			}
		}()
		receive(t, begun, "the call")
		cancel()
		receive(t, ended, "the end of the call at the server")
		receive(t, closed, "the end of the call at the client")
		await(f, "the lost call", func(_ event.Event, r *event.Result) bool { return r.Outcome == event.OutcomeLost && r.Tool == how })
	}
}

// MCP 2026-07-28: subscriptions/listen is one long stream.
func TestASubscriptionIsALongStream(t *testing.T) {
	more := make(chan string)
	f := stand(t, noRules, func(w http.ResponseWriter, r *http.Request, _ string) {
		send := stream(w)
		for {
			select {
			case e := <-more:
				send(e)
			case <-r.Context().Done():
				return
			}
		}
	})
	resp := f.open(f.request(t.Context(), http.MethodPost, modern(`"listen:0"`, "subscriptions/listen", `"notifications":{}`)))
	listen := listener(resp)
	for i := range 3 {
		e := fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":{\"n\":%d}}\n\n", i)
		more <- e
		if got := f.next(listen); got != e {
			t.Errorf("%q", got)
		}
		if a := f.post(call("1", "purge", `{}`), "Mcp-Name: x"); a.StatusCode != http.StatusBadRequest {
			t.Errorf("meanwhile: %d", a.StatusCode)
		}
	}
}

// A session of the protocol is the server's: when Umpire starts again, the session goes on, and its client is who it was.
func TestASessionGoesOnAfterARestart(t *testing.T) {
	for name, tc := range map[string]struct {
		guard proxy.Guard
		same  bool
	}{
		"the same user": {proxy.Guard{User: "alice"}, true},
		"another user":  {proxy.Guard{User: "bob"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			u := serve(t, stateful("2025-03-26", func(w http.ResponseWriter, r *http.Request, body string) {
				if strings.Contains(body, "slow") {
					w.WriteHeader(http.StatusAccepted)
					return
				}
				obey(w, r, body)
			}))
			before := standBefore(t, &manual{}, oneRefund, u)
			before.begin()
			before.post(call("1", "refund", `{}`), inSession)
			before.post(call("2", "slow", `{}`), inSession)
			before.close()

			f := standBefore(t, before.disk, oneRefund, u, func(c *proxy.HTTPConfig) { c.Guard = tc.guard })
			a := f.post(call("2", "refund", `{}`), inSession)
			if denied := a.get("result.isError").Bool(); denied != tc.same {
				t.Errorf("the second refund: %s", a.body)
			}
			f.ended(event.OutcomeLost)
			links, sessions := f.opened()
			if tc.same {
				if len(links) != 1 {
					t.Errorf("%+v in %v", links, sessions)
				}
				if batch := f.post("["+call("3", "x", `{}`)+"]", inSession); batch.StatusCode != http.StatusOK {
					t.Errorf("the revision is forgotten: %s", batch.body)
				}
				return
			}
			if len(links) != 2 || links[1].Agent == "bot" || links[1].Principal != "local:bob" || sessions[0] == sessions[1] {
				t.Errorf("%+v in %v", links, sessions)
			}
		})
	}
}

// A client that loses its connection asks for what it has not got. What it was given once, it is given again: an answer
// that was recorded must not be lost for it. Anything else that comes under its id is dropped.
func TestAnAnswerThatTheClientLostIsGivenAgain(t *testing.T) {
	event1 := "id: 1\ndata: " + done("1") + "\n\n"
	forged := "id: 1\ndata: " + strings.Replace(done("1"), "done", "obey", 1) + "\n\n"
	f := stand(t, noRules, stateful("2025-11-25", func(w http.ResponseWriter, r *http.Request, body string) {
		send := stream(w)
		switch {
		case strings.Contains(body, "cut"):
			send("id: 0\ndata:\n\n")
			return
		case r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != "cut":
			send(forged)
		}
		send(event1)
	}))
	f.begin()
	for range 2 { // in the second round, the id is used anew, and its events are the same
		if a := f.post(call("1", "refund", `{}`), inSession); a.body != event1 {
			t.Fatalf("%q", a.body)
		}
		if a := f.send(http.MethodGet, "", inSession, "Last-Event-ID: 0"); a.body != event1 {
			t.Errorf("resumed: %q", a.body)
		}
	}
	if a := f.send(http.MethodGet, "", inSession); a.body != "" {
		t.Errorf("not resumed: %q", a.body)
	}
	if a := f.send(http.MethodGet, "", "Mcp-Session-Id: s2", "Last-Event-ID: 0"); strings.Contains(a.body, "done") {
		t.Errorf("another session: %q", a.body)
	}
	f.signalled("unknown-id")
	f.post(call("1", "cut", `{}`), inSession)
	if a := f.send(http.MethodGet, "", inSession, "Last-Event-ID: cut"); a.body != event1 {
		t.Errorf("resumed after a cut: %q", a.body)
	}
	if got := f.results(); len(got) != 3 || got[2] != event.OutcomeOK {
		t.Errorf("%v", got)
	}
}
