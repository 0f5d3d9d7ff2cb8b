package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// held waits until n calls are on hold and returns them.
func held(t testing.TB, g *proxy.Gate, n int) []review.Held {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if list := g.Desk().List(); len(list) == n {
			return list
		}
	}
	t.Fatalf("on hold are %+v, want %d", g.Desk().List(), n)
	return nil
}

func decide(t testing.TB, g *proxy.Gate, call uint64, d review.Decision) {
	t.Helper()
	if _, err := g.Desk().Decide(call, d); err != nil {
		t.Fatal(err)
	}
}

// withToken is a tools/call whose progress the client wants to hear of under a token.
func withToken(id, token string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"_meta":{"progressToken":%s}, "name":"issue_refund","arguments":{ "amount":1.10 }}}`, id, token)
}

// progress checks that a frame tells, under a token, that a call waits, and returns its progress.
func progress(t testing.TB, frame, token string) float64 {
	t.Helper()
	params := gjson.Get(frame, "params")
	if gjson.Get(frame, "method").Str != "notifications/progress" || params.Get("progressToken").Raw != token ||
		!strings.Contains(params.Get("message").Str, "until a person approves it") {
		t.Fatalf("%s is no news under %s", frame, token)
	}
	if _, err := wire.Parse([]byte(frame), wire.FromServer); err != nil {
		t.Errorf("%s: %v", frame, err)
	}
	return params.Get("progress").Num
}

// A call on hold lets everything else on the pipe go by, in its order. Its client hears again and again that it waits, and
// once it is approved its own bytes go out.
func TestACallOnHoldDoesNotHoldUpThePipe(t *testing.T) {
	for _, token := range []string{"0", `"tok"`, "-1.5e3", `"0"`} {
		x := begin(t, heldRefunds)
		frame := withToken("7", token)
		x.say(x.client, frame)
		last := 0.0
		for range 5 {
			n := progress(t, x.hear(x.client), token)
			if n <= last {
				t.Errorf("progress %v after %v", n, last)
			}
			last = n
		}
		for i := range 20 {
			x.pass(toolCall(fmt.Sprintf(`"r%d"`, i), "read", "{}"))
		}
		decide(t, x.gate, held(t, x.gate, 1)[0].Call, approve)
		x.hears(x.server, frame)
		x.say(x.server, result("7", okResult))
		for got := ""; got != result("7", okResult); {
			if got = x.hear(x.client); got != result("7", okResult) {
				progress(t, got, token)
			}
		}
	}
}

// Without a token there is nothing to say on a pipe. A denial says who denied and why.
func TestACallIsDeniedByAPerson(t *testing.T) {
	x := begin(t, heldRefunds)
	x.say(x.client, toolCall("1", "issue_refund", "{}"), toolCall("2", "issue_refund", "{}"))
	list := held(t, x.gate, 2)
	decide(t, x.gate, list[1].Call, refuse)
	text, verdict := denied(t, x.hear(x.client), "2")
	if !strings.HasPrefix(text, `Umpire denied billing/issue_refund: local:bob denied it ("not without a ticket"); it was on hold: `) ||
		verdict.Get("rule").Str != "ask" || verdict.Get("call").Uint() != list[1].Call {
		t.Error(text, verdict)
	}
	decide(t, x.gate, list[0].Call, approve)
	x.hears(x.server, toolCall("1", "issue_refund", "{}"))
	x.serverHeardNoMore()
}

// A call that a person has denied is better not repeated; one that nobody looked at may be.
func TestTheClientHearsWhetherToAskAgain(t *testing.T) {
	x := begin(t, heldRefunds)
	x.say(x.client, toolCall("1", "issue_refund", "{}"))
	decide(t, x.gate, held(t, x.gate, 1)[0].Call, refuse)
	if text, _ := denied(t, x.hear(x.client), "1"); !strings.HasSuffix(text, "(rule ask). Repeating the same call will not help.") {
		t.Error(text)
	}
	disk := &manual{}
	g, err := proxy.NewGate(proxy.GateConfig{Recorder: disk, Policy: policy(t, heldRefunds), HoldFor: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	x = join(t, disk, g, support)
	x.say(x.client, toolCall("2", "issue_refund", "{}"))
	text, _ := denied(t, x.hear(x.client), "2")
	if !strings.HasSuffix(text, "(rule ask). Allowed: the same call again, once a person is there to decide.") {
		t.Error(text)
	}
}

func TestAClientCanCancelACallOnHold(t *testing.T) {
	x := begin(t, heldRefunds)
	x.say(x.client, toolCall("7.0", "issue_refund", "{}"), toolCall(`"7"`, "issue_refund", "{}"))
	list := held(t, x.gate, 2)
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`
	x.pass(cancel)
	denied(t, x.hear(x.client), "7.0")
	if _, err := x.gate.Desk().Decide(list[0].Call, approve); !errors.Is(err, review.ErrGone) || !strings.Contains(err.Error(), "cancelled") {
		t.Error(err)
	}
	decide(t, x.gate, list[1].Call, approve)
	x.hears(x.server, toolCall(`"7"`, "issue_refund", "{}"))
	for _, odd := range []string{`null`, `{}`, `[7]`, `8`, `"x"`} { // nobody's
		x.pass(strings.Replace(cancel, "7", odd, 1))
	}
}

// When the client or the server ends, nobody waits any more.
func TestALinkThatEndsLeavesNothingOnHold(t *testing.T) {
	for name, end := range map[string]func(x *talk){
		"the client finishes":  func(x *talk) { x.client.CloseWrite() },
		"the client goes away": func(x *talk) { x.client.Close() },
		"the server dies":      func(x *talk) { x.server.Close() },
		"both":                 func(x *talk) { x.hangUp(); x.ended <- nil },
	} {
		x := begin(t, heldRefunds)
		for i := range 20 {
			x.say(x.client, withToken(fmt.Sprint(i), fmt.Sprint(i)))
		}
		held(t, x.gate, 20)
		end(x)
		held(t, x.gate, 0)
		n := 0
		for _, e := range logged[*event.Expired](x) {
			if n++; e.Reason != "the client gave up" && !strings.Contains(e.Reason, "server billing ended") {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if n != 20 {
			t.Errorf("%s: %d holds expired", name, n)
		}
		if name == "the client finishes" {
			x.server.Close()
		}
		x.hangUp()
	}
}

// A client of HTTP gets its response at once, as a stream with news on it. The answer comes on it as an event, whatever
// form the server gave it.
func TestAHeldCallIsAStreamAtOnce(t *testing.T) {
	pretty := "{\r\n \"jsonrpc\":\"2.0\",\n \"id\":7,\"result\":{\"content\":[]}}"
	for name, tc := range map[string]struct {
		answer script
		want   string // the last event's data
		code   int64  // or its error
	}{
		"JSON":              {answer: obey, want: done("7")},
		"JSON on lines":     {answer: body(http.StatusOK, "application/json", pretty), want: strings.NewReplacer("\r", " ", "\n", " ").Replace(pretty)},
		"a stream":          {answer: events("id: 1\ndata: " + done("7") + "\n\n"), want: done("7")},
		"an error of HTTP":  {answer: body(http.StatusBadGateway, "text/html", "<h1>no</h1>"), code: wire.CodeBadAnswer},
		"an error, as JSON": {answer: body(http.StatusBadRequest, "application/json", `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}`), code: -32602},
		"an error of none":  {answer: body(http.StatusBadRequest, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}`), code: wire.CodeBadAnswer},
		"nothing":           {answer: body(http.StatusOK, "application/json", ""), code: wire.CodeBadAnswer},
		"garbage":           {answer: body(http.StatusOK, "application/json", "{"), code: wire.CodeBadAnswer},
		"202":               {answer: body(http.StatusAccepted, "", ""), code: wire.CodeBadAnswer},
		"a wrong encoding": {answer: func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Encoding", "br")
			give(w, http.StatusOK, done("7"))
		}, code: wire.CodeBadAnswer},
		"a broken connection": {answer: func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }, code: wire.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := stand(t, heldRefunds, tc.answer, func(c *proxy.HTTPConfig) { c.KeepAlive = time.Millisecond })
			frame := withToken("7", "0")
			resp := f.open(f.request(t.Context(), http.MethodPost, frame, "Mcp-Session-Id: 1"))
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
				t.Fatalf("%s %v", resp.Status, resp.Header)
			}
			listen := listener(resp)
			last := 0.0
			for range 5 {
				e, err := listen()
				if err != nil {
					t.Fatal(err)
				}
				if n := progress(t, string(e.Data), "0"); n <= last {
					t.Errorf("progress %v after %v", n, last)
				} else {
					last = n
				}
			}
			if len(f.requests()) != 0 {
				t.Error("it went out before it was approved")
			}
			decide(t, f.gate, held(t, f.gate, 1)[0].Call, approve)
			var data string
			for e, err := listen(); err == nil; e, err = listen() {
				data = string(e.Data)
			}
			if tc.want != "" && data != tc.want || gjson.Get(data, "error.code").Int() != tc.code || gjson.Get(data, "id").Raw != "7" {
				t.Errorf("got %s", data)
			}
			if seen := f.requests(); len(seen) != 1 || seen[0].body != frame {
				t.Errorf("%+v", seen)
			}
		})
	}
}

// Without a token the stream is kept open by comments; a client that takes no stream just waits.
func TestAClientWithoutATokenWaitsToo(t *testing.T) {
	f := stand(t, heldRefunds, obey, func(c *proxy.HTTPConfig) { c.KeepAlive = time.Millisecond })
	listen := listener(f.open(f.request(t.Context(), http.MethodPost, call("7", "issue_refund", "{}"))))
	for range 3 {
		if got := f.next(listen); got != ": on hold\n\n" {
			t.Errorf("%q", got)
		}
	}
	decide(t, f.gate, held(t, f.gate, 1)[0].Call, refuse)
	var e transport.Event
	for e.Data == nil {
		var err error
		if e, err = listen(); err != nil {
			t.Fatal(err)
		}
	}
	if text, _ := denied(t, string(e.Data), "7"); !strings.Contains(text, "local:bob") {
		t.Error(text)
	}
	if rest := f.next(listen); rest != "" {
		t.Errorf("%q", rest)
	}

	for _, d := range []review.Decision{approve, refuse} {
		answers := make(chan answer, 1)
		go func() { answers <- f.post(withToken("8", "8"), "Accept: application/json") }()
		decide(t, f.gate, held(t, f.gate, 1)[0].Call, d)
		a := receive(t, answers, "the answer")
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || a.get("id").Raw != "8" || a.get("result.isError").Bool() == d.Approve {
			t.Errorf("%s %s", a.Status, a.body)
		}
	}
}

// Who closes the stream, or cancels over HTTP, has given up: a later approval is refused and the server hears nothing.
func TestAClientOfHTTPCanGiveUp(t *testing.T) {
	f := stand(t, heldRefunds, stateful("2025-11-25", obey), func(c *proxy.HTTPConfig) { c.KeepAlive = time.Millisecond })
	f.begin()
	for _, accept := range []string{"application/json, text/event-stream", "application/json"} {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			r := f.request(ctx, http.MethodPost, withToken("7", "7"), "Mcp-Session-Id: s", "Accept: "+accept)
			if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
		h := held(t, f.gate, 1)[0]
		cancel()
		wg.Wait()
		await(f, "the end of the hold", func(e event.Event, x *event.Expired) bool {
			return e.Cause == h.Call && x.Reason == "the client gave up"
		})
		if _, err := f.gate.Desk().Decide(h.Call, approve); !errors.Is(err, review.ErrGone) {
			t.Error(err)
		}
	}
	for _, r := range f.requests() {
		if strings.Contains(r.body, "tools/call") {
			t.Errorf("%+v", r)
		}
	}
}

// All calls of a batch that are on hold are waited for; what was denied meanwhile stands on the same stream.
func TestABatchWaitsForAllThatIsOnHold(t *testing.T) {
	f := stand(t, heldRefunds, obey, func(c *proxy.HTTPConfig) { c.KeepAlive = time.Millisecond })
	elements := []string{withToken("1", "1"), call("2", "read", "{}"), withToken("3", "3")}
	listen := listener(f.open(f.request(t.Context(), http.MethodPost, "["+strings.Join(elements, ",")+"]", "Mcp-Protocol-Version: 2025-03-26")))
	list := held(t, f.gate, 2)
	decide(t, f.gate, list[1].Call, approve)
	decide(t, f.gate, list[0].Call, refuse)
	var data string
	for e, err := listen(); err == nil; e, err = listen() {
		data = string(e.Data)
	}
	ids := map[string]bool{}
	for _, m := range gjson.Parse(data).Array() {
		ids[m.Get("id").Raw] = m.Get("result.isError").Bool()
	}
	if len(ids) != 3 || !ids["1"] || ids["2"] || ids["3"] {
		t.Errorf("%s", data)
	}
	if seen := f.requests(); len(seen) != 1 || seen[0].body != "["+elements[1]+","+elements[2]+"]" {
		t.Errorf("%+v", seen)
	}
}
