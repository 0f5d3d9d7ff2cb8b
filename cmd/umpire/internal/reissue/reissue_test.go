package reissue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/reissue"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// How a value is written makes no difference; what it is does, wherever it stands.
func TestAnswersAreComparedByValue(t *testing.T) {
	for name, tc := range map[string]struct {
		was, is string
		want    string
	}{
		"the same":                     {`{"content":[{"type":"text","text":"a"}]}`, `{"content": [{"text":"\u0061", "type":"text"}]}`, ""},
		"isError that is false":        {`{"content":[]}`, `{"content":[],"isError":false}`, ""},
		"protocol members":             {`{"content":[],"_meta":{"a":1}}`, `{"content":[],"resultType":"complete"}`, ""},
		"numbers":                      {`{"structuredContent":{"n":1.0,"m":100}}`, `{"structuredContent":{"m":1e2,"n":1}}`, ""},
		"large numbers":                {`{"structuredContent":{"n":9007199254740993}}`, `{"structuredContent":{"n":9007199254740992}}`, "structuredContent.n 9007199254740993 9007199254740992"},
		"another text":                 {`{"content":[{"type":"text","text":"a"}]}`, `{"content":[{"type":"text","text":"b"}]}`, `content.0.text "a" "b"`},
		"JSON in a text":               {`{"content":[{"text":"{\"a\":1,\"b\":[1,2]}"}]}`, `{"content":[{"text":"{ \"b\":[1,3], \"a\":1 }"}]}`, "content.0.text.b.1 2 3"},
		"JSON in one of them":          {`{"content":[{"text":"{\"a\":1}"}]}`, `{"content":[{"text":"sorry"}]}`, `content.0.text "{\"a\":1}" "sorry"`},
		"more of it":                   {`{"content":[]}`, `{"content":[{"text":"a"}]}`, `content.0  {"text":"a"}`},
		"less of it":                   {`{"structuredContent":{"a":null}}`, `{"structuredContent":{}}`, "structuredContent.a null "},
		"what is ignored":              {`{"content":[{"text":"a","at":1}]}`, `{"content":[{"text":"a","at":2}]}`, ""},
		"what is not in the history":   {`{"structuredContent":{"token":"[redacted 1]"}}`, `{"structuredContent":{"token":"sk-1"}}`, "1 hidden"},
		"a secret, and something else": {`{"structuredContent":{"token":"[redacted 1]","n":1}}`, `{"structuredContent":{"token":"sk-1","n":2}}`, "structuredContent.n 1 2; 1 hidden"},
	} {
		recorded := &event.Result{Outcome: event.OutcomeOK, Content: json.RawMessage(tc.was), Findings: []event.Finding{{Kind: event.Redacted, Path: "result.structuredContent.token"}}}
		found, hidden := reissue.Compare(recorded, reissue.Answer{Outcome: event.OutcomeOK, Result: json.RawMessage(tc.is)}, []string{"content.*.at"})
		var got []string
		for _, d := range found {
			got = append(got, fmt.Sprintf("%s %s %s", d.Path, d.Was, d.Is))
		}
		if hidden > 0 {
			got = append(got, fmt.Sprint(hidden, " hidden"))
		}
		if s := strings.Join(got, "; "); s != tc.want {
			t.Errorf("%s: %q, want %q", name, s, tc.want)
		}
	}
}

func TestDifferencesAreBounded(t *testing.T) {
	many := `{"content":[` + strings.Repeat("1,", 1000) + "1]}"
	found, _ := reissue.Compare(&event.Result{Outcome: event.OutcomeOK, Content: json.RawMessage(`{"content":[]}`)}, reissue.Answer{Outcome: event.OutcomeOK, Result: json.RawMessage(many)}, nil)
	if len(found) != reissue.MaxDifferences {
		t.Errorf("%d differences", len(found))
	}
}

func dial(t *testing.T, url string, limit time.Duration) *reissue.Client {
	t.Helper()
	c, err := reissue.Dial(t.Context(), reissue.Target{URL: url, Header: http.Header{"X-Test": {"yes"}}}, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAnAnswerIsTakenAsItWasSent(t *testing.T) {
	s := server.NewMCPServer("till", "1")
	s.AddTool(mcp.NewTool("pay"), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if r.GetString("n", "") == "bad" {
			return mcp.NewToolResultError("no"), nil
		}
		return mcp.NewToolResultText(r.Header.Get("X-Test")), nil
	})
	web := httptest.NewServer(server.NewStreamableHTTPServer(s))
	defer web.Close()
	c := dial(t, web.URL+"/mcp", 10*time.Second)
	if a := c.Call(t.Context(), "pay", json.RawMessage(`{"n":"1"}`)); a.Outcome != event.OutcomeOK || !strings.Contains(string(a.Result), `"text":"yes"`) {
		t.Errorf("%+v %s", a, a.Result)
	}
	if a := c.Call(t.Context(), "pay", json.RawMessage(`{"n":"bad"}`)); a.Outcome != event.OutcomeFailed {
		t.Errorf("%+v", a)
	}
	if a := c.Call(t.Context(), "none", json.RawMessage(`{}`)); a.Outcome != event.OutcomeError || a.Code == 0 {
		t.Errorf("%+v", a)
	}
	if c.Name != "till 1" {
		t.Error(c.Name)
	}
}

// A test server could lead on to the one in use.
func TestNoRedirectionIsFollowed(t *testing.T) {
	var reached atomic.Int32
	inUse := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inUse.Close()
	web := httptest.NewServer(http.RedirectHandler(inUse.URL, http.StatusTemporaryRedirect))
	defer web.Close()
	_, err := reissue.Dial(t.Context(), reissue.Target{URL: web.URL}, 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "it leads on to") || reached.Load() != 0 {
		t.Errorf("%v, reached %d times", err, reached.Load())
	}
}

// A server that never answers costs the time that was given, and a call that was not answered is not made twice.
func TestAServerThatSaysNothingIsWaitedForOnce(t *testing.T) {
	silent := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	}))
	defer web.Close()
	defer close(silent)
	if c, err := reissue.Dial(t.Context(), reissue.Target{URL: web.URL}, 50*time.Millisecond); err == nil {
		c.Close()
		t.Error("it answered")
	}
	var calls atomic.Int32
	s := server.NewMCPServer("till", "1")
	s.AddTool(mcp.NewTool("pay"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		calls.Add(1)
		select {
		case <-silent:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	})
	slow := httptest.NewServer(server.NewStreamableHTTPServer(s))
	defer slow.Close()
	c := dial(t, slow.URL+"/mcp", time.Second)
	if a := c.Call(t.Context(), "pay", json.RawMessage(`{}`)); a.Outcome != event.OutcomeLost || calls.Load() != 1 {
		t.Errorf("%+v after %d calls", a, calls.Load())
	}
}

func TestWhatCannotBeMadeAgainIsNotPlanned(t *testing.T) {
	var p reissue.Plan
	seq := uint64(0)
	call := func(c event.Call, outcomes ...event.Outcome) uint64 {
		if seq++; c.Server == "" {
			c.Server = "bank"
		}
		at := seq
		p.Passed(event.Event{Seq: at, Body: &c})
		for _, o := range outcomes {
			seq++
			p.Answered(event.Event{Seq: seq, Cause: at, Body: &event.Result{Outcome: o}})
		}
		return at
	}
	late := call(event.Call{Tool: "late"})
	good := call(event.Call{Tool: "pay"}, event.OutcomeOK)
	call(event.Call{Tool: "pay"}, event.OutcomeFailed)
	call(event.Call{Tool: "pay", Findings: []event.Finding{{Path: "args.password"}}}, event.OutcomeOK)
	call(event.Call{Tool: "pay", Retry: 3}, event.OutcomeOK)
	call(event.Call{Tool: "pay"}, event.OutcomeInput)
	call(event.Call{Tool: "pay"}, event.OutcomeStarted, event.OutcomeOK)
	call(event.Call{Tool: "pay"}, event.OutcomeUnclear)
	call(event.Call{Tool: "pay"})
	call(event.Call{Tool: "Bash", Server: "client"}, event.OutcomeOK)
	call(event.Call{Tool: "search", Server: "model:openai", Seen: true}, event.OutcomeOK)
	p.Answered(event.Event{Seq: seq + 1, Cause: late, Body: &event.Result{Outcome: event.OutcomeOK}})
	p.End()
	if len(p.Calls) != 3 || p.Calls[0].Seq != late || p.Calls[1].Seq != good || len(p.Servers) != 1 {
		t.Errorf("%+v", p)
	}
	for why, n := range map[string]int{reissue.Hidden: 1, reissue.Retried: 1, reissue.Deferred: 2, reissue.Unclear: 1, reissue.Unknown: 1, reissue.Elsewhere: 2} {
		if p.Skipped[why] != n {
			t.Errorf("%s: %d, want %d", why, p.Skipped[why], n)
		}
	}
}
