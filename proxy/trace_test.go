package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	parent  = "00-" + traceID + "-b7ad6b7169203331-01"
)

func TestATraceparentIsReadStrictly(t *testing.T) {
	for name, good := range map[string]string{
		"version 00":                  parent,
		"not sampled":                 "00-" + traceID + "-b7ad6b7169203331-00",
		"a later version":             "cc-" + traceID + "-b7ad6b7169203331-01",
		"a later version with more":   "cc-" + traceID + "-b7ad6b7169203331-01-what-the-future-brings",
		"the least that is not zeros": "00-00000000000000000000000000000001-0000000000000001-00",
	} {
		if id := proxy.TraceID(good); id != good[3:35] {
			t.Errorf("%s: %q gives %q", name, good, id)
		}
	}
	for name, bad := range map[string]string{
		"nothing":              "",
		"no trace":             "garbage",
		"capital letters":      strings.ToUpper(parent),
		"zeros":                "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01",
		"no parent":            "00-" + traceID + "-" + strings.Repeat("0", 16) + "-01",
		"version ff":           "ff" + parent[2:],
		"00 with more":         parent + "-more",
		"later, run together":  "cc" + parent[2:] + "more",
		"too short":            parent[:len(parent)-1],
		"a space":              " " + parent,
		"no hex":               strings.Replace(parent, "0a", "0g", 1),
		"other separators":     strings.ReplaceAll(parent, "-", "_"),
		"fields of other size": "00-" + traceID + "0-b7ad6b716920333-01",
		"far too long":         "cc" + parent[2:] + "-" + strings.Repeat("a", 1000),
	} {
		if id := proxy.TraceID(bad); id != "" {
			t.Errorf("%s: %q gives %q", name, bad, id)
		}
	}
}

// What a program says in a trace, and calls in the same, belong together; the surer ways come first, and another principal's
// trace is another.
func TestACallBelongsToWhatWasSaidInItsTrace(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	call := func(p event.Peer, trace, want string) {
		t.Helper()
		who := proxy.Origin{Link: "http:bank:1", Server: "bank", Transport: proxy.TransportHTTP, Peer: p}
		c := event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: []byte("1"), Args: []byte(`{"amount":5}`), Peer: p, Trace: trace}
		tk := x.gate.Call(who, c, proxy.Retry{})
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
		got, all := "nothing", log(t, x.disk)
		if b := all[tk.Seq-1].Body.(*event.Call).Bound; b != nil {
			got = fmt.Sprintf("%s %s #%d", b.By, b.Confidence, b.Turn)
		}
		if got != want {
			t.Errorf("bound %s, want %s", got, want)
		}
	}
	const other = "1bf7651916cd43dd8448eb211c80319c"
	said := x.turn(asserting("agent"), event.Turn{Role: event.RoleUser, Source: "api", Trace: traceID, Text: "pay"})
	call(asserting("agent"), traceID, fmt.Sprintf("trace likely #%d", said))
	call(asserting("agent"), other, "nothing")
	call(event.Peer{Principal: "local:bob", Agent: "agent"}, traceID, "nothing")
	made := x.turn(asserting("agent"), event.Turn{Role: event.RoleAssistant, Source: "api", Trace: traceID, Calls: []string{"call_1"}})
	x.restart()
	call(asserting("agent"), traceID, fmt.Sprintf("trace likely #%d", made))
	args := x.announce(asserting("agent"), "", pay("", "5"))
	call(asserting("agent"), traceID, fmt.Sprintf("arguments likely #%d", args))
}

// Attempt: an agent whose hooks have not told of a call has another one announce it in the same trace.
func TestATraceDoesNotStandInForTheHooksOfAnAgent(t *testing.T) {
	x := newTable(t)
	x.turn(asserting("agent"), event.Turn{Role: event.RoleUser, Text: "hello"}) // it has hooks
	x.turn(asserting("other"), event.Turn{Role: event.RoleAssistant, Source: "api", Trace: traceID, Calls: []string{"call_1"}})
	p := asserting("agent")
	who := proxy.Origin{Link: "http:bank:1", Server: "bank", Transport: proxy.TransportHTTP, Peer: p}
	tk := x.gate.Call(who, event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: []byte("1"), Args: []byte("{}"), Peer: p, Trace: traceID}, proxy.Retry{})
	if err := tk.Wait(); err != nil {
		t.Fatal(err)
	}
	if b := log(t, x.disk)[tk.Seq-1].Body.(*event.Call).Bound; b == nil || b.By != event.ByTrace || !b.Missing {
		t.Errorf("bound %+v", b)
	}
}

// A call that is under way names its trace in _meta, or else its request does so in a header, whatever stands behind it.
func TestTheTraceOfACallIsRecorded(t *testing.T) {
	const (
		mine = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		meta = `,"_meta":{"traceparent":"` + mine + `"}`
	)
	plain := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_order"}}`
	named := `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_order"` + meta + `}}`
	wrong := `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_order","_meta":{"traceparent":"00-xyz"}}}`
	traces := func(f *front) (out []string) {
		for _, e := range f.log() {
			if c, ok := e.Body.(*event.Call); ok {
				out = append(out, c.Trace)
			}
		}
		return out
	}
	want := fmt.Sprint([]string{traceID, mine[3:35], traceID, "", "", ""})
	steps := func(f *front, headers ...string) {
		for _, body := range []string{plain, named, wrong} {
			f.post(body, append(headers, "Traceparent: "+parent)...)
		}
		f.post(plain, headers...)
		f.post(plain, append(headers, "Traceparent: 00-"+strings.ToUpper(traceID)+"-b7ad6b7169203331-01")...)
		f.post(plain, append(headers, "Traceparent: garbage")...)
		if got := fmt.Sprint(traces(f)); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	t.Run("in front of HTTP", func(t *testing.T) {
		steps(stand(t, noRules, obey))
	})
	t.Run("in front of frames", func(t *testing.T) {
		s := relayed(t, noRules)
		go func() { obeys(<-s.servers) }()
		first := s.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`)
		steps(s.front, "Mcp-Session-Id: "+first.Header.Get("Mcp-Session-Id"))
	})
	if got := proxy.TraceOf(http.Header{"Traceparent": {parent, parent}}); got != "" {
		t.Errorf("two headers give %q", got)
	}
}
