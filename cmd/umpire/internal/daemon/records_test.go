package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// asker asks the daemon over its socket, as commands do.
func asker(t testing.TB, opts daemon.Options) func(path string) (status int, body string, total string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(opts.StateDir, config.SocketFile))
	}}}
	t.Cleanup(c.CloseIdleConnections)
	return func(path string) (int, string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://umpire"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text), resp.Header.Get("Umpire-Total")
	}
}

// recorded fills a history before the daemon starts: calls of two sessions in turn, every tenth denied, and some words.
func recorded(t testing.TB, opts daemon.Options, calls int) {
	t.Helper()
	db, err := store.Open(store.Config{Path: filepath.Join(opts.StateDir, config.HistoryFile), Async: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seq := uint64(1)
	add := func(events ...event.Event) {
		for i := range events {
			events[i].V, events[i].Seq = event.Version, seq
			events[i].At = storetest.Begin
			seq++
		}
		db.Append(events, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	p, err := rules.Compile([]event.Source{{Name: "p", Text: "rules: [{name: many, on: \"*/*\", rate: {max: 900000, per: 1h, by: agent}}]"}}, config.Env())
	if err != nil {
		t.Fatal(err)
	}
	add(event.Event{Body: p.Loaded()})
	for i := range 2 {
		add(event.Event{Session: fmt.Sprint("s", i), Body: &event.Opened{Link: "l", Server: "billing", Transport: "http", Peer: event.Peer{Principal: "local:ann", Agent: fmt.Sprint("bot-", i), Workspace: "/home/ann"}}})
	}
	for i := range calls {
		action := event.Allow
		if i%10 == 9 {
			action = event.Deny
		}
		add(storetest.Call(seq, fmt.Sprint("s", i%2), "refund", action)...)
	}
	add(event.Event{Session: "s1", Body: &event.Turn{Role: event.RoleUser, Source: "api", Trust: event.Trusted, Text: "The NEEDLE in the haystack", Size: 26}})
}

// seqs returns the numbers of the events of a page.
func seqs(body string) (out []uint64) {
	for _, s := range gjson.Get(body, "events.#.seq").Array() {
		out = append(out, s.Uint())
	}
	return out
}

// Pages forwards and backwards have every event of a session once, in order, and nothing of another.
func TestPagesGoThroughASessionInBothDirections(t *testing.T) {
	opts := options(t, "rules: []")
	recorded(t, opts, 3_000)
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	var forward, backward []uint64
	for from := uint64(1); from != 0; {
		status, body, _ := ask(fmt.Sprintf("/v1/page?session=s1&from=%d&limit=173", from))
		if status != http.StatusOK || strings.Contains(body, `"session":"s0"`) {
			t.Fatalf("%d %.300s", status, body)
		}
		forward = append(forward, seqs(body)...)
		from = gjson.Get(body, "next").Uint()
	}
	for before := uint64(1 << 50); before != 0; {
		status, body, _ := ask(fmt.Sprintf("/v1/page?session=s1&before=%d&limit=170", before))
		if status != http.StatusOK {
			t.Fatalf("%d %.300s", status, body)
		}
		backward = append(seqs(body), backward...)
		before = gjson.Get(body, "next").Uint()
	}
	want := 1 + 1500*3 - 300 + 1 // opened; calls, of which those that were denied have no result; the turn
	for i := range forward {
		if i > 0 && forward[i] <= forward[i-1] {
			t.Fatalf("#%d after #%d", forward[i], forward[i-1])
		}
	}
	if len(forward) != want || fmt.Sprint(forward) != fmt.Sprint(backward) {
		t.Errorf("%d events forwards, %d backwards, want %d", len(forward), len(backward), want)
	}
}

// A baseline is a whole file: a page says that it came into force, and leaves it where it is.
func TestAPageLeavesFilesOut(t *testing.T) {
	opts := options(t, "rules: []")
	recorded(t, opts, 20)
	db, err := store.Open(store.Config{Path: filepath.Join(opts.StateDir, config.HistoryFile)})
	if err != nil {
		t.Fatal(err)
	}
	seq := db.Last() + 1
	file, named := json.RawMessage(`"`+strings.Repeat("x", 5<<20)+`"`), json.RawMessage(`{"promoted":{"who":"me"}}`)
	call := storetest.Call(seq+1, "s1", "refund", event.Deny)
	call[0].Body.(*event.Call).Args = named
	promoted := event.Event{V: event.Version, Seq: seq, At: storetest.Begin, Body: &event.Promoted{Who: "local:ann", Name: "baseline.json", Digest: "d", Baseline: file}}
	for i := range call {
		call[i].At = storetest.Begin
	}
	if err := storetest.Append(db, append([]event.Event{promoted}, call...)...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	for _, path := range []string{fmt.Sprintf("/v1/page?from=%d", seq-3), fmt.Sprintf("/v1/page?before=%d", seq+3)} {
		status, body, _ := ask(path)
		if status != http.StatusOK || len(body) > 100_000 || !strings.Contains(body, `"promoted":{"who":"local:ann","digest":"d","name":"baseline.json","baseline":null}`) || !strings.Contains(body, string(named)) {
			t.Errorf("%s: %d, %d bytes: %.300s", path, status, len(body), body)
		}
	}
}

func TestRecordsAreFound(t *testing.T) {
	opts := options(t, `
tools: [{match: "billing/get", effects: [read]}]
rules:
  - {name: small, on: "billing/*", rate: {max: 3, per: 1h}, do: deny}
  - {name: order, on: "billing/refund", require: [{name: o, on: billing/get}], within: 1m, do: hold, mode: observe}`)
	recorded(t, opts, 300)
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	for _, tc := range []struct {
		path string
		want string // a path into the answer, and what is there
	}{
		{"/v1/page?before=99999&q=needle", "events.#=1"},
		{"/v1/page?before=99999&q=needle", "events.0.turn.text=The NEEDLE in the haystack"},
		{"/v1/page?from=1&q=nowhere", "events.#=0"},
		{"/v1/page?from=1&session=s77", "events.#=0"},
		{"/v1/page?from=4&limit=1", "events.0.call.tool=refund"},
		{"/v1/sessions?limit=1", "#=1"},
		{"/v1/sessions?limit=1&skip=1", "0.id=s0"},
		{"/v1/sessions?skip=99", "#=0"},
		{"/v1/sessions?q=BOT-1", "0.agent=bot-1"},
		{"/v1/sessions?agent=bot-0", "#=1"},
		{"/v1/sessions?server=mail", "#=0"},
		{"/v1/sessions?with=denied", "0.denied=30"}, // every tenth call, which is s1's
		{"/v1/sessions?with=held", "#=0"},
		{"/v1/sessions", "#=2"},
		{"/v1/sessions/s1", "calls=150"},
		{"/v1/agents", "#=2"},
		{"/v1/agents", "0.servers.0=billing"},
		{"/v1/inventory", "0.calls=300"},
		{"/v1/policy", "rules.#=2"},
		{"/v1/policy", "rules.0.kind=rate"},
		{"/v1/policy", "rules.0.line=5"},
		{"/v1/policy", "rules.1.observed=true"},
		{"/v1/policy", "rules.1.on.0=billing/refund"},
		{"/v1/chart?minutes=60&steps=24", "steps.#=24"},
	} {
		status, body, _ := ask(tc.path)
		path, want, _ := strings.Cut(tc.want, "=")
		if got := gjson.Get(body, path).String(); status != http.StatusOK || got != want {
			t.Errorf("%s: %d, %s is %q, want %q\n%.500s", tc.path, status, path, got, want, body)
		}
	}
	if _, _, total := ask("/v1/sessions?limit=1&q=bot"); total != "2" {
		t.Errorf("of how many: %s", total)
	}
	for path, want := range map[string]string{
		"/v1/page":                       "want either from or before",
		"/v1/page?from=1&before=2":       "want either from or before",
		"/v1/page?from=x":                "from: want a number",
		"/v1/page?from=1&limit=0":        "limit: want a number from 1 to 1000",
		"/v1/page?from=1&limit=1001":     "limit: want a number from 1 to 1000",
		"/v1/page?before=-1":             "before: want a number",
		"/v1/sessions?with=luck":         "with: want calls, denied",
		"/v1/sessions?skip=x":            "skip: want a number",
		"/v1/chart?steps=401":            "steps: want a number from 1 to 400",
		"/v1/chart?minutes=0&steps=9999": "minutes: want a number",
	} {
		if status, body, _ := ask(path); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := ask("/v1/sessions/s77"); status != http.StatusNotFound {
		t.Error(status)
	}
}

// The console cannot do more than look and decide: what else the socket offers is not there.
func TestTheConsoleHasOnlyAPartOfTheAPI(t *testing.T) {
	opts, _, link := consoled(t)
	at, token, _ := strings.Cut(link(), "/#token=")
	do := func(method, path, body string, headers map[string]string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", at)
		r.Header.Set("Content-Type", "application/json")
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := do("POST", "/enter", fmt.Sprintf(`{"token":%q}`, token), nil)
	var in struct{ Key string }
	if err := json.NewDecoder(resp.Body).Decode(&in); err != nil {
		t.Fatal(err)
	}
	cookie, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	headers := map[string]string{"Cookie": cookie, "Umpire-Key": in.Key}
	for path, want := range map[string]int{
		"GET /v1/status": http.StatusOK, "GET /v1/sessions": http.StatusOK, "POST /v1/held/99": http.StatusConflict,
		"POST /v1/turns": http.StatusNotFound, "POST /v1/hooks/claude-code": http.StatusNotFound, "POST /v1/tools/accepted": http.StatusBadRequest, "GET /v1/tools/definition?server=a&tool=b": http.StatusNotFound, "GET /v1/play?session=s1": http.StatusNotFound,
		"POST /v1/console": http.StatusNotFound, "GET /v1/attach": http.StatusNotFound, "GET /v1/events?from=1": http.StatusNotFound, "GET /billing/mcp": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(path, " ")
		if got := do(method, path, `{"approve":false}`, headers).StatusCode; got != want {
			t.Errorf("%s %s: %d, want %d", method, path, got, want)
		}
	}
	if status, _, _ := asker(t, opts)("/v1/status"); status != http.StatusOK {
		t.Error("the socket has it still")
	}
}

// What it costs a page to look at 100,000 events.
func BenchmarkRecords(b *testing.B) {
	opts := options(b, "rules: []")
	recorded(b, opts, 34_000)
	d := start(b, opts)
	defer d.Close()
	ask := asker(b, opts)
	for name, path := range map[string]string{
		"page of the newest": "/v1/page?session=s1&before=1000000&limit=400", "page of the oldest": "/v1/page?session=s1&from=1&limit=400",
		"page from the middle": "/v1/page?session=s1&before=50000&limit=400", "a search for nothing": "/v1/page?before=1000000&q=nowhere",
		"sessions": "/v1/sessions?limit=200", "tools": "/v1/inventory", "chart": "/v1/chart?minutes=15&steps=96",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if status, body, _ := ask(path); status != http.StatusOK {
					b.Fatal(body)
				}
			}
		})
	}
}
