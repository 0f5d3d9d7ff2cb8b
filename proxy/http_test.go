package proxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

const (
	noRules   = `rules: []`
	noPurge   = `rules: [{name: no-purge, on: "*/purge", do: deny}]`
	oneRefund = `rules: [{name: once, on: "*/refund", rate: {max: 1, per: 24h, by: agent}, do: deny}]`
)

// Invariant 5: what is judged is what is forwarded.
func TestAllowedBytesArriveAsTheyWereSent(t *testing.T) {
	const asked = " {\"params\": {\"arguments\":{\"b\":1.10,\"a\":\"\\u00e9\\/ é\",\"n\":12345678901234567890},\n\t\"name\":\"refund\" ,\"x\":null}," +
		"\"method\":\"tools\\/call\",\"id\":1e2,\"jsonrpc\":\"2.0\"} \r\n"
	const answered = "\n{ \"result\":{\"content\":[ ],\"y\":1.0},\"id\":1e2 ,\"jsonrpc\":\"2.0\" }\n"
	f := stand(t, noRules, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header()["X-Two"] = []string{"a", "b"}
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, answered)
	}, func(c *proxy.HTTPConfig) {
		c.URL.RawQuery = "read_only=true"
		c.Headers = http.Header{"X-Key": {"configured"}}
	})
	f.url += "/billing/mcp?read_only=false&a=%20b&%72ead_only=&c"
	a := f.post(asked, "Mcp-Param-Region: eu", "Last-Event-ID: 7", "Mcp-Protocol-Version: 2025-06-18", "Authorization: Bearer mine",
		"X-Key: guessed", "X-Two: a", "X-Two: b", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Te: trailers", "Proxy-Authorization: x",
		"Upgrade: h2c", "Expect: 100-continue", "Idempotency-Key: k", "User-Agent: bot/1")

	if a.StatusCode != http.StatusCreated || a.body != answered {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	if h := a.Header; !slices.Equal(h["X-Two"], []string{"a", "b"}) || h.Get("Alt-Svc") != "" || h.Get("Keep-Alive") != "" ||
		h.Get("Content-Type") != "application/json; charset=UTF-8" {
		t.Errorf("headers to the client: %v", h)
	}
	got := f.requests()[0]
	if got.body != asked || got.method != http.MethodPost {
		t.Errorf("%s %q", got.method, got.body)
	}
	if got.query != "read_only=true&a=%20b&c" {
		t.Errorf("query %s", got.query)
	}
	if "http://"+got.host != f.server.URL {
		t.Errorf("host %s", got.host)
	}
	for name, want := range map[string][]string{
		"Mcp-Param-Region": {"eu"}, "Last-Event-Id": {"7"}, "Mcp-Protocol-Version": {"2025-06-18"}, "Authorization": {"Bearer mine"},
		"X-Key": {"configured"}, "X-Two": {"a", "b"}, "Idempotency-Key": {"k"}, "User-Agent": {"bot/1"}, "Accept-Encoding": {"identity"},
		"Content-Type": {"application/json"}, "Connection": nil, "X-Hop": nil, "Te": nil, "Proxy-Authorization": nil, "Upgrade": nil, "Expect": nil,
	} {
		if !slices.Equal(got.header[name], want) {
			t.Errorf("header %s: %q, want %q", name, got.header[name], want)
		}
	}
	if r := f.ended(event.OutcomeOK); r.Tool != "refund" || string(r.Content) != `{"content":[ ],"y":1.0}` {
		t.Errorf("%+v", r)
	}
}

// What the client sees of an event does not wait for the next one. Within a call, the server tells of its progress and
// asks the client, and the client answers.
func TestEventsPassOneByOne(t *testing.T) {
	const (
		progress = ": a comment\r\nid: 1\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata:\"method\":\"notifications/progress\"}\r\nretry: 5\r\n\r\n"
		question = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sampling/createMessage\",\"params\":{}}\n\n"
		other    = "event: ping\ndata: not of the protocol\n\n"
	)
	replied := make(chan string, 2)
	f := stand(t, noRules, func(w http.ResponseWriter, _ *http.Request, body string) {
		if gjson.Get(body, "method").Str != "tools/call" {
			w.WriteHeader(http.StatusAccepted)
			replied <- body
			return
		}
		send := stream(w)
		send(progress)
		send(receive(t, replied, "what the client says to the first event")[:0] + other)
		send(question)
		receive(t, replied, "the answer of the client")
		send("data: " + done("1") + "\n\n")
	})
	resp := f.open(f.request(t.Context(), http.MethodPost, call("1", "refund", `{}`)))
	listen := listener(resp)
	if got := f.next(listen); got != progress {
		t.Errorf("%q", got)
	}
	if a := f.post(`{"jsonrpc":"2.0","method":"notifications/x"}`); a.StatusCode != http.StatusAccepted || a.body != "" {
		t.Errorf("notification: %d %q", a.StatusCode, a.body)
	}
	if got := f.next(listen); got != other {
		t.Errorf("%q", got)
	}
	if got := f.next(listen); got != question {
		t.Errorf("%q", got)
	}
	const reply = `{"jsonrpc":"2.0","id":1,"result":{"role":"assistant"}}`
	if a := f.post(reply); a.StatusCode != http.StatusAccepted || a.body != "" {
		t.Errorf("response: %d %q", a.StatusCode, a.body)
	}
	if got := f.requests()[2].body; got != reply {
		t.Errorf("the server got %s", got)
	}
	if got := f.next(listen); got != "data: "+done("1")+"\n\n" {
		t.Errorf("%q", got)
	}
	if got := f.next(listen); got != "" {
		t.Errorf("after the end: %q", got)
	}
	f.ended(event.OutcomeOK)
}

func TestADeniedCallIsAToolResultAndNeverReachesTheServer(t *testing.T) {
	f := stand(t, noPurge, obey)
	for name, tc := range map[string]struct {
		ask        string
		resultType string
	}{
		"2025-11-25": {call(`"a<b"`, "purge", `{"x":1}`), ""},
		"2026-07-28": {modern(`"a<b"`, "tools/call", `"name":"purge"`), "complete"},
	} {
		a := f.post(tc.ask)
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || a.get("id").Raw != `"a<b"` {
			t.Errorf("%s: %d %v %s", name, a.StatusCode, a.Header, a.body)
		}
		if text := a.get("result.content.0.text").Str; !a.get("result.isError").Bool() || !strings.Contains(text, "no-purge") {
			t.Errorf("%s: %s", name, a.body)
		}
		if a.get("result._meta.umpire/verdict.rule").Str != "no-purge" || a.get("result.resultType").Str != tc.resultType {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("the server got %v", got)
	}
	if got := kinds(f.log()); strings.Count(got, "call verdict") != 2 || strings.Contains(got, "result") {
		t.Error(got)
	}
}

func TestHeadersOfTheModernEraSayWhatTheBodySays(t *testing.T) {
	ask := modern("7", "tools/call", `"name":"réfund"`)
	encoded := "Mcp-Name: =?base64?csOpZnVuZA==?="
	for name, tc := range map[string]struct {
		body    string
		headers []string
		passes  bool
	}{
		"none":                       {ask, nil, true},
		"as the body":                {ask, []string{"Mcp-Method: tools/call", encoded, "Mcp-Protocol-Version: 2026-07-28"}, true},
		"another method":             {ask, []string{"Mcp-Method: tools/list"}, false},
		"a method in another case":   {ask, []string{"Mcp-Method: Tools/Call"}, false},
		"another tool":               {ask, []string{"Mcp-Method: tools/call", "Mcp-Name: echo"}, false},
		"another tool in base64":     {ask, []string{"Mcp-Name: =?base64?ZWNobw==?="}, false},
		"broken base64":              {ask, []string{"Mcp-Name: =?base64?csOpZnVuZA?="}, false},
		"another revision":           {ask, []string{"Mcp-Protocol-Version: 2025-11-25"}, false},
		"the method twice":           {ask, []string{"Mcp-Method: tools/call", "Mcp-Method: tools/call"}, false},
		"a second, other method":     {ask, []string{"Mcp-Method: tools/call", "Mcp-Method: ping"}, false},
		"the name twice":             {ask, []string{encoded, encoded}, false},
		"two revisions":              {call("7", "x", "{}"), []string{"Mcp-Protocol-Version: 2025-03-26", "Mcp-Protocol-Version: 2025-11-25"}, false},
		"two sessions":               {call("7", "x", "{}"), []string{"Mcp-Session-Id: a", "Mcp-Session-Id: b"}, false},
		"another URI":                {modern("7", "resources/read", `"uri":"note://1"`), []string{"Mcp-Name: note://2"}, false},
		"the URI":                    {modern("7", "resources/read", `"uri":"note://1"`), []string{"Mcp-Name: note://1"}, true},
		"a method for a response":    {`{"jsonrpc":"2.0","id":7,"result":{}}`, []string{"Mcp-Method: tools/call"}, false},
		"a call as legacy with name": {call("7", "x", "{}"), []string{"Mcp-Method: tools/call", "Mcp-Name: y"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, noRules, obey)
			a := f.post(tc.body, tc.headers...)
			if tc.passes {
				if a.StatusCode != http.StatusOK || len(f.requests()) != 1 {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
				return
			}
			if a.StatusCode != http.StatusBadRequest || a.get("error.code").Int() != wire.CodeHeaderMismatch || a.get("id").Raw != "7" {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if len(f.requests()) > 0 {
				t.Error("it reached the server")
			}
			f.signalled("refused")
		})
	}
}

// Errors of the server are its own: clients find out by them what the server speaks and whether a session still lives.
func TestStatusesAndTheirBodiesPass(t *testing.T) {
	const problem = `{"jsonrpc":"2.0","id":%s,"error":{"code":-32600,"message":"no"}}`
	discover, ping := modern("1", "server/discover", `"x":1`), `{"jsonrpc":"2.0","method":"notifications/x"}`
	for name, tc := range map[string]struct {
		method, ask string
		status      int
		mediaType   string
		body        string
	}{
		"a probe that a modern server refuses":      {"POST", discover, 400, "application/json", fmt.Sprintf(problem, "1")},
		"a probe that a legacy server refuses":      {"POST", discover, 400, "text/plain", "Bad Request: no session\n"},
		"a probe that nobody expected":              {"POST", discover, 404, "text/html", "<html>"},
		"an error under no id":                      {"POST", discover, 400, "application/json", fmt.Sprintf(problem, "null")},
		"an error under an id of the server":        {"POST", discover, 406, "application/json", fmt.Sprintf(problem, `"server-error"`)},
		"a call that needs a token":                 {"POST", call("1", "x", "{}"), 401, "application/json", `{"error":"invalid_token"}`},
		"a call within a session that has ended":    {"POST", call("1", "x", "{}"), 404, "application/json", fmt.Sprintf(problem, `"server-error"`)},
		"a call that the server is too busy for":    {"POST", call("1", "x", "{}"), 503, "text/plain", "busy"},
		"no GET stream":                             {"GET", "", 405, "application/json", fmt.Sprintf(problem, `"server-error"`)},
		"no DELETE":                                 {"DELETE", "", 405, "text/plain", "no"},
		"a notification that is refused":            {"POST", ping, 400, "application/json", fmt.Sprintf(problem, "null")},
		"a notification with a plain answer":        {"POST", ping, 202, "text/plain;charset=iso-8859-1", "Accepted"},
		"a notification with no content":            {"POST", ping, 204, "", ""},
		"what a page asks before it asks":           {"OPTIONS", "", 204, "", ""},
		"a session that can be resumed: try again":  {"POST", call("1", "x", "{}"), 409, "application/json", `{}`},
		"an error as a stream that says nothing":    {"POST", call("1", "x", "{}"), 400, "text/event-stream", ": no\n\n"},
		"a call that fails with something else":     {"POST", call("1", "x", "{}"), 500, "application/json", `{"jsonrpc":"2.0","method":"notifications/x"}`},
		"an error with two types, for a person":     {"POST", discover, 400, "text/html; charset", "<html>"},
		"a probe that is answered with its results": {"POST", discover, 200, "application/json", `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, noRules, func(w http.ResponseWriter, _ *http.Request, _ string) {
				if tc.mediaType != "" {
					w.Header().Set("Content-Type", tc.mediaType)
				}
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			a := f.send(tc.method, tc.ask, "Mcp-Session-Id: s")
			if rest, ok := strings.CutPrefix(a.body, tc.body); !ok || a.StatusCode != tc.status || rest != "" && tc.mediaType != "text/event-stream" {
				t.Errorf("%d %q", a.StatusCode, a.body)
			}
			if a.Header.Get("Content-Type") != tc.mediaType || a.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%v", a.Header)
			}
			if strings.Contains(tc.ask, "tools/call") {
				want := event.OutcomeError
				switch {
				case tc.mediaType == "text/event-stream":
					want = event.OutcomeLost
				case tc.status >= 500: // the tool may have run
					want = event.OutcomeUnclear
				}
				if r := f.ended(want); !strings.Contains(r.Text, "server billing") && r.Code == 0 {
					t.Errorf("%+v", r)
				}
			}
			f.close()
			if got := strings.Count(kinds(log(t, f.disk)), "result"); got > 1 {
				t.Errorf("one call ended %d times", got)
			}
		})
	}
}

// Some servers answer notifications with a body of their own. No client reads it, and none gets it unread.
func TestNobodyGetsAnAnswerToANotification(t *testing.T) {
	for _, body := range []string{`{}`, `null`, `{"status":"ok"}`, `"accepted"`, done("9"), `{"jsonrpc":"2.0","id":9,"result":{},"result":{}}`} {
		f := stand(t, noRules, func(w http.ResponseWriter, _ *http.Request, _ string) { give(w, http.StatusAccepted, body) })
		if a := f.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); a.StatusCode != http.StatusAccepted || a.body != "" {
			t.Errorf("%s: %d %q", body, a.StatusCode, a.body)
		}
	}
}

func TestToolsThatThePolicyDeniesAreNotListed(t *testing.T) {
	const (
		ask  = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
		list = "{\"jsonrpc\":\"2.0\", \"id\":1,\"result\":{\"ttlMs\":5,\"cacheScope\":\"public\",\"tools\":[ {\"name\":\"purge\",\"x\":1} ,{\"name\": \"refund\",\n \"inputSchema\":{}}]}}"
		want = "{\"jsonrpc\":\"2.0\", \"id\":1,\"result\":{\"ttlMs\":5,\"cacheScope\":\"private\",\"tools\":[{\"name\": \"refund\",\n \"inputSchema\":{}}]}}"
	)
	asStream := "id: 4\ndata: " + strings.ReplaceAll(list, "\n", "\ndata: ") + "\n\n"
	for name, tc := range map[string]struct{ policy, mediaType, body, want string }{
		"JSON":           {noPurge, "application/json", list, want},
		"events":         {noPurge, "text/event-stream", asStream, "id: 4\ndata: " + strings.ReplaceAll(want, "\n", " ") + "\n\n"},
		"JSON, all":      {noRules, "application/json", list, list},
		"events, all":    {noRules, "text/event-stream", asStream, asStream},
		"none but these": {`{allow: ["billing/purge"], rules: []}`, "application/json", list, strings.Replace(want, "{\"name\": \"refund\",\n \"inputSchema\":{}}", `{"name":"purge","x":1}`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, tc.policy, func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", tc.mediaType)
				fmt.Fprint(w, tc.body)
			})
			if a := f.post(ask); a.body != tc.want {
				t.Errorf("%q, want\n%q", a.body, tc.want)
			}
			e := await(f, "the catalog", func(event.Event, *event.Catalog) bool { return true })
			if c := e.Body.(*event.Catalog); len(c.Tools) != 2 {
				t.Errorf("recorded: %+v", c)
			}
		})
	}
}

// A server that asks for input gets the same call again: that is one call, but its arguments are judged again.
func TestACallThatAsksForInputIsOneCall(t *testing.T) {
	f := stand(t, oneRefund, func(w http.ResponseWriter, _ *http.Request, body string) {
		if gjson.Get(body, "params.inputResponses").Exists() {
			give(w, http.StatusOK, done(gjson.Get(body, "id").Raw))
			return
		}
		give(w, http.StatusOK, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"s 1","inputRequests":{"n":{}}}}`)
	})
	retry := func(id, args string) answer {
		return f.post(modern(id, "tools/call", `"name":"refund","arguments":`+args+`,"requestState":"s 1","inputResponses":{"n":{}}`))
	}
	if a := f.post(modern("1", "tools/call", `"name":"refund","arguments":{"amount":1}`)); a.get("result.resultType").Str != "input_required" {
		t.Fatal(a.body)
	}
	f.ended(event.OutcomeInput)
	if a := retry("2", `{"amount":1000}`); !a.get("result.isError").Bool() {
		t.Errorf("other arguments count as the same call: %s", a.body)
	}
	if a := retry("3", `{"amount":1}`); a.body != done("3") {
		t.Errorf("the retry: %s", a.body)
	}
	if a := retry("4", `{"amount":1}`); !a.get("result.isError").Bool() {
		t.Errorf("a second retry: %s", a.body)
	}
	if got := len(f.requests()); got != 2 {
		t.Errorf("the server got %d requests", got)
	}
}

func TestParallelCallsOverHTTPCannotRacePastALimit(t *testing.T) {
	f := stand(t, threeRefunds, obey)
	var passed, denied atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 64 {
		wg.Go(func() {
			<-start
			id := fmt.Sprint(i)
			switch a := f.post(call(id, "issue_refund", fmt.Sprintf(`{"amount":%d}`, i))); {
			case a.body == done(id):
				passed.Add(1)
			case a.get("result.isError").Bool() && a.get("id").Raw == id:
				denied.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if passed.Load() != 3 || denied.Load() != 61 || len(f.requests()) != 3 {
		t.Errorf("%d passed, %d were denied, %d reached the server", passed.Load(), denied.Load(), len(f.requests()))
	}
}

// Invariant 4 over HTTP.
func TestNothingGoesOutThatCannotBeRecorded(t *testing.T) {
	full := errors.New("no space left on device")
	var f *front
	f = stand(t, noRules, func(w http.ResponseWriter, r *http.Request, body string) {
		if strings.Contains(body, "fill") {
			f.disk.set(false, full)
		}
		obey(w, r, body)
	})
	a := f.post(call("1", "fill", `{}`))
	if a.get("error.code").Int() != wire.CodeNotRecorded || a.get("id").Raw != "1" || strings.Contains(a.body, "done") {
		t.Errorf("an answer that is not recorded: %s", a.body)
	}
	a = f.post("[" + call("2", "x", `{}`) + `,` + call("3", "x", `{}`) + "]")
	for i, id := range []string{"2", "3"} {
		if m := gjson.Parse(a.body).Array()[i]; m.Get("id").Raw != id || !m.Get("result.isError").Bool() || !strings.Contains(m.Raw, "no space left") {
			t.Errorf("a call that is not recorded: %s", m.Raw)
		}
	}
	if got := f.requests(); len(got) != 1 {
		t.Errorf("the server got %d requests", len(got))
	}
	f.disk.set(false, nil)
}

func TestAConfigurationHasToBeWhole(t *testing.T) {
	clean, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: 1 << 10, Secret: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	whole := proxy.HTTPConfig{Server: "a", URL: &url.URL{Scheme: "http", Host: "h"}, Judge: proxy.Denier{}, Cleaner: clean}
	if err := whole.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*proxy.HTTPConfig){
		"no name":      func(c *proxy.HTTPConfig) { c.Server = "" },
		"a glob":       func(c *proxy.HTTPConfig) { c.Server = "a*" },
		"a path":       func(c *proxy.HTTPConfig) { c.Server = "a/b" },
		"no URL":       func(c *proxy.HTTPConfig) { c.URL = nil },
		"no host":      func(c *proxy.HTTPConfig) { c.URL = &url.URL{Scheme: "http"} },
		"a file":       func(c *proxy.HTTPConfig) { c.URL = &url.URL{Scheme: "file", Host: "h"} },
		"no judge":     func(c *proxy.HTTPConfig) { c.Judge = nil },
		"no redaction": func(c *proxy.HTTPConfig) { c.Cleaner = nil },
	} {
		c := whole
		spoil(&c)
		if _, err := proxy.NewHTTP(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Without a gate, everything passes but calls.
func TestADenierDeniesOverHTTP(t *testing.T) {
	f := stand(t, noRules, obey, func(c *proxy.HTTPConfig) { c.Judge = proxy.Denier{Reason: "the history is damaged"} })
	if a := f.post(call("1", "x", `{}`)); !strings.Contains(a.get("result.content.0.text").Str, "the history is damaged") {
		t.Error(a.body)
	}
	if a := f.post(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); a.body != done("2") {
		t.Error(a.body)
	}
	if len(f.requests()) != 1 || !json.Valid([]byte(f.requests()[0].body)) {
		t.Errorf("%v", f.requests())
	}
}
