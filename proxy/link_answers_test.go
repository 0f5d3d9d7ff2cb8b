package proxy_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestHowACallEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  string // after the id
		outcome event.Outcome
		code    int64
		text    string
	}{
		"a result":               {`"result":{"content":[]}`, event.OutcomeOK, 0, ""},
		"an empty result":        {`"result":{}`, event.OutcomeOK, 0, ""},
		"a result that is none":  {`"result":null`, event.OutcomeOK, 0, ""},
		"isError":                {`"result":{"isError":true,"content":[]}`, event.OutcomeFailed, 0, ""},
		"isError is false":       {`"result":{"isError":false,"content":[]}`, event.OutcomeOK, 0, ""},
		"isError somewhere else": {`"result":{"content":[{"isError":true}],"_meta":{"isError":true}}`, event.OutcomeOK, 0, ""},
		"an error":               {`"error":{"code":-32602,"message":"no such order"}`, event.OutcomeError, -32602, "no such order"},
		"an error without text":  {`"error":{"code":7}`, event.OutcomeError, 7, ""},
		"complete":               {`"result":{"resultType":"complete","content":[]}`, event.OutcomeOK, 0, ""},
		"a question":             {`"result":{"resultType":"input_required","inputRequests":{},"requestState":"s"}`, event.OutcomeInput, 0, ""},
		"a task":                 {`"result":{"resultType":"task","taskId":"t1"}`, event.OutcomeStarted, 0, ""},
		"a task of 2025-11-25":   {`"result":{"task":{"taskId":"t1","status":"working"}}`, event.OutcomeStarted, 0, ""},
		"a result about a task":  {`"result":{"task":{"taskId":"t1"},"content":[]}`, event.OutcomeOK, 0, ""},
		"a failed question":      {`"result":{"resultType":"input_required","isError":true}`, event.OutcomeFailed, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, noDeletes)
			x.pass(toolCall("1", "read", "{}"))
			answer := `{"jsonrpc":"2.0","id":1,` + tc.answer + `}`
			x.say(x.server, answer)
			x.hears(x.client, answer)
			events := x.log()
			last := events[len(events)-1]
			r, ok := last.Body.(*event.Result)
			if !ok || r.Outcome != tc.outcome || r.Code != tc.code || r.Text != tc.text || last.Cause != 3 || r.Tool != "read" || r.Size == 0 {
				t.Errorf("%+v %+v", last, last.Body)
			}
		})
	}
}

func TestAnAnswerIsGivenOnce(t *testing.T) {
	x := begin(t, noDeletes)
	first, second := result("1", `{"content":["first"]}`), result("1", `{"content":["second"]}`)
	for _, request := range []string{toolCall("1", "read", "{}"), `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}`, listTools} {
		x.pass(request)
		x.say(x.server, first, second, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"third"}}`, result("1.0", "{}"))
		x.hears(x.client, first)
		x.clientHeardNoMore()
		x.noted("unknown-id", "1.0")
	}
	if n := len(logged[*event.Result](x)); n != 1 {
		t.Errorf("%d results of one call", n)
	}
}

func TestWhatNobodyAskedIsNotAnswered(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.say(x.client, toolCall("2", "delete_order", "{}"))
	denied(t, x.hear(x.client), "2")
	for _, id := range []string{"2", "3", `"1"`, "-1", "1e1", `"2"`} {
		x.say(x.server, result(id, okResult))
		x.clientHeardNoMore()
		x.noted("unknown-id", id)
	}
	x.say(x.server, result("1", okResult))
	x.hears(x.client, result("1", okResult))
	if n := len(logged[*event.Result](x)); n != 1 {
		t.Errorf("%d results", n)
	}
}

// Attempt: a server that guesses ids answers before it was asked, so that a call that is denied, or whose record is not
// on disk yet, has a result.
func TestNothingCanBeAnsweredBeforeItWasAsked(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.disk.set(true, nil)
	x.say(x.client, toolCall("2", "read", "{}"), toolCall("3", "delete_order", "{}"))
	for len(logged[*event.Call](x)) < 1 || !x.disk.holds(2) { // both calls are being judged
		x.gate.Reopen("")
	}
	for _, id := range []string{"2", "3"} {
		x.say(x.server, result(id, `{"content":["early"]}`))
		x.say(x.server, `{"jsonrpc":"2.0","id":`+id+`,"result":{"a":1,"a":2}}`) // and one that cannot be read
	}
	x.clientHeardNoMore()
	x.disk.set(false, nil)
	x.hears(x.server, toolCall("2", "read", "{}"))
	denied(t, x.hear(x.client), "3")
	x.say(x.server, result("2", okResult))
	x.hears(x.client, result("2", okResult))
	x.serverHeardNoMore()
	events := x.log()
	var answered []uint64
	for _, e := range events {
		if r, ok := e.Body.(*event.Result); ok {
			if r.Outcome != event.OutcomeOK || e.Session == "" {
				t.Errorf("%+v %+v", e, r)
			}
			answered = append(answered, e.Cause)
		}
		if c, ok := e.Body.(*event.Call); ok && string(c.ID) == "2" && len(answered) > 0 {
			t.Error("the answer is recorded before the call")
		}
	}
	if len(answered) != 1 {
		t.Errorf("answers to %v", answered)
	}
}

// holds reports whether so many appends wait for the disk.
func (m *manual) holds(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) >= n
}

func TestAnErrorThatAnswersNobodyPasses(t *testing.T) {
	x := begin(t, noDeletes)
	for _, frame := range []string{
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}`,
		`{"jsonrpc":"2.0","error":{"code":-32700,"message":"parse error"}}`,
	} {
		x.say(x.server, frame)
		x.hears(x.client, frame)
	}
}

// A server that logs to stdout for hours must not fill the disk.
func TestOfManySignalsSomeAreRecorded(t *testing.T) {
	x := begin(t, noDeletes)
	since := time.Now()
	for range 1000 {
		x.say(x.server, "a line of a log")
	}
	x.say(x.server, result("7", okResult)) // which is another matter
	x.clientHeardNoMore()
	most := 100 + 1 + int(time.Since(since)/time.Second) // one more each second
	if n := len(logged[*event.Signal](x)); n < 100+1 || n > most {
		t.Errorf("%d signals are recorded, want at most %d", n, most)
	}
	x.noted("unknown-id")
}

func TestSignalsThatAreNotRecordedAreCounted(t *testing.T) {
	var q proxy.Quota
	at := newClock().now()
	take := func(name string, wantMissed int, want bool) {
		t.Helper()
		if missed, ok := q.Take(name, at); missed != wantMissed || ok != want {
			t.Errorf("%s at %s: %d %v, want %d %v", name, at.Format(time.TimeOnly), missed, ok, wantMissed, want)
		}
	}
	for range 100 {
		take("refused", 0, true)
	}
	for range 7 {
		take("refused", 0, false)
	}
	take("unknown-id", 0, true)
	at = at.Add(1500 * time.Millisecond)
	take("refused", 7, true)
	take("refused", 0, false)
	at = at.Add(500 * time.Millisecond)
	take("refused", 1, true)
	at = at.Add(-time.Hour) // the clock is set back
	take("refused", 0, false)
	at = at.Add(24 * time.Hour)
	for i := range 100 {
		take("refused", max(0, 1-i), true)
	}
	take("refused", 0, false)
}

// Nor can a client that never waits for an answer fill the memory.
func TestUnansweredRequestsAreBounded(t *testing.T) {
	x := begin(t, noDeletes)
	ping := func(id int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, id) }
	for id := range 10_000 {
		x.pass(ping(id))
	}
	x.say(x.client, toolCall("10000", "read", "{}"))
	if why := failed(t, x.hear(x.client), "10000", wire.CodeUnavailable); !strings.Contains(why, "10000 requests are unanswered") {
		t.Error(why)
	}
	x.serverHeardNoMore()
	x.noted("too-many", "10000")
	x.say(x.server, result("7", "{}")) // makes room
	x.hears(x.client, result("7", "{}"))
	x.pass(toolCall("10000", "read", "{}"))
}

// A server need not answer what was cancelled. That must not use up a pipe which lives for weeks.
func TestCancelledRequestsMakeRoom(t *testing.T) {
	x := begin(t, noDeletes)
	cancel := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id)
	}
	x.pass(toolCall("0", "read", "{}"))
	x.pass(cancel(0))
	x.pass(toolCall("1", "read", "{}")) // which nobody cancels
	for id := range 9_998 {
		x.pass(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, id+2))
		x.pass(cancel(id + 2))
	}
	x.pass(toolCall("10000", "read", "{}"))
	x.say(x.server, result("1", okResult), result("10000", okResult), result("0", okResult))
	x.hears(x.client, result("1", okResult), result("10000", okResult))
	x.clientHeardNoMore()
	var outcomes []event.Outcome
	for _, r := range logged[*event.Result](x) {
		outcomes = append(outcomes, r.Outcome)
	}
	if !slices.Equal(outcomes, []event.Outcome{event.OutcomeLost, event.OutcomeOK, event.OutcomeOK}) {
		t.Errorf("%v", outcomes)
	}
}

// A call that was cancelled and never answered may still be running: it ends with its server, and the history says why
// nobody had an answer.
func TestTheHistorySaysWhatWasCancelled(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.pass(toolCall("2", "read", "{}"))
	x.pass(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	if n := len(logged[*event.Result](x)); n != 0 {
		t.Errorf("%d results before the server has ended", n)
	}
	x.server.CloseWrite()
	receiveErr(t, x.ended) //nolint:errcheck // the client may be gone before it has its answers
	x.ended <- nil
	why := map[uint64]string{}
	for _, e := range x.log() {
		if r, ok := e.Body.(*event.Result); ok && r.Outcome == event.OutcomeLost {
			why[e.Cause] = r.Text
		}
	}
	if want := map[uint64]string{3: "the client cancelled the call, and no answer came", 5: "server billing ended before it answered"}; !maps.Equal(why, want) {
		t.Errorf("%v, want %v", why, want)
	}
}

// Servers print to stdout what belongs to stderr.
func TestGarbageOfTheServerIsNotForwarded(t *testing.T) {
	x := begin(t, noDeletes)
	garbage := []string{
		"[INFO] listening on stdio", "Debugger attached.", "npm WARN deprecated", "{", "}", `{"level":"info","msg":"x"}`, `"text"`, "7", "null", "[]",
		"\x1b[32mready\x1b[0m", "\xff\xfe{\x00}\x00", `{"jsonrpc":"2.0"}`, `{"jsonrpc":"1.0","id":1,"result":{}}`, `{"id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}{"jsonrpc":"2.0","id":2,"result":{}}`, "\xEF\xBB\xBF" + result("1", "{}"), `{"jsonrpc":"2.0","result":{}}`,
		`{"jsonrpc":"2.0","id":null,"result":{}}`, `{"jsonrpc":"2.0","id":{},"result":{}}`, `[[{"jsonrpc":"2.0","id":1,"result":{}}]]`,
		`{"jsonrpc":"2.0","id":8,"METHOD":"sampling/createMessage"}`, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"x","Level":"y"}}`,
	}
	for _, g := range garbage {
		before := len(logged[*event.Signal](x))
		x.say(x.server, g)
		x.clientHeardNoMore()
		x.noted("refused", "message of the server: wire: ")
		if n := len(logged[*event.Signal](x)); n != before+1 {
			t.Errorf("%q: %d signals", g, n-before)
		}
	}
	x.serverHeardNoMore()
}

// Invariant 6 for answers: what the client could read in two ways it does not get, but it does not wait for ever.
func TestAnUnreadableAnswerIsAnError(t *testing.T) {
	for name, answer := range map[string]string{
		"duplicate result":    `{"jsonrpc":"2.0","id":7,"result":{"content":[]},"result":{"content":["evil"]}}`,
		"duplicate key":       `{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true,"isError":false}}`,
		"duplicate key, deep": `{"jsonrpc":"2.0","id":7.0,"result":{"content":[{"text":"a","t\u0065xt":"b"}]}}`,
		"case twin":           `{"jsonrpc":"2.0","id":7,"result":{"content":[],"Content":["evil"]}}`,
		"case twin of result": `{"jsonrpc":"2.0","id":7,"result":{},"Result":{"content":["evil"]}}`,
		"no result":           `{"jsonrpc":"2.0","id":7}`,
		"result and error":    `{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"x"}}`,
		"another version":     `{"jsonrpc":"3.0","id":7,"result":{}}`,
		"not UTF-8":           "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[{\"text\":\"\xff\"}]}}",
		"cut off":             `{"jsonrpc":"2.0","id":7,"result":{"content":[`,
		"in a batch":          `[{"jsonrpc":"2.0","id":7,"result":{"content":["evil"]}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, request := range []string{toolCall("7", "read", "{}"), `{"jsonrpc":"2.0","id":7,"method":"prompts/list"}`} {
				x := begin(t, noDeletes)
				x.pass(request)
				x.pass(toolCall("8", "read", "{}"))
				x.say(x.server, answer)
				if why := failed(t, x.hear(x.client), "7", wire.CodeBadAnswer); !strings.Contains(why, "server billing gave an answer that cannot be read") {
					t.Error(why)
				}
				x.noted("refused", "message of the server")
				results := logged[*event.Result](x)
				if isCall := strings.Contains(request, "tools/call"); isCall != (len(results) == 1) || isCall && results[0].Outcome != event.OutcomeUnclear {
					t.Errorf("%+v", results)
				}
				x.say(x.server, result("7", okResult)) // too late
				x.clientHeardNoMore()
				x.say(x.server, result("8", okResult))
				x.hears(x.client, result("8", okResult))
			}
		})
	}
}

func TestEachAnswerInABatchThatIsNotLegalIsAnError(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.pass(toolCall(`"b"`, "read", "{}"))
	x.say(x.server, `[`+result("1", okResult)+`,{"jsonrpc":"2.0","method":"notifications/x"},`+result(`"b"`, okResult)+`,`+result("9", okResult)+`]`)
	failed(t, x.hear(x.client), "1", wire.CodeBadAnswer)
	failed(t, x.hear(x.client), `"b"`, wire.CodeBadAnswer)
	x.clientHeardNoMore()
}

const once = `rules: [{name: once, on: "billing/*", rate: {max: 1, per: 24h}, do: deny}]`

// modernCall is a tools/call of 2026-07-28; more goes into its params.
func modernCall(id int, args, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"refund","arguments":%s%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		id, args, more)
}

func TestARetryAfterAQuestionIsTheSameCall(t *testing.T) {
	x := begin(t, once)
	question := func(id int, state string) {
		t.Helper()
		q := result(fmt.Sprint(id), `{"resultType":"input_required","inputRequests":{"a":{}},"requestState":"`+state+`"}`)
		x.say(x.server, q)
		x.hears(x.client, q)
	}
	const reply = `,"inputResponses":{"a":{"action":"accept"}},"requestState":`
	refused := func(frame string) {
		t.Helper()
		x.say(x.client, frame)
		reply := x.hear(x.client)
		if _, v := denied(t, reply, gjson.Get(frame, "id").Raw); v.Get("rule").Str != "once" {
			t.Error(reply)
		}
	}
	x.pass(modernCall(1, `{"amount":5}`, ""))
	question(1, "s1")
	refused(modernCall(2, `{"amount":5}`, ""))                 // not a retry
	refused(modernCall(2, `{"amount":500}`, reply+`"s1"`))     // another amount: judged anew, and counted anew
	refused(modernCall(2, `{"amount":5,"x":1}`, reply+`"s1"`)) // one more argument
	refused(modernCall(2, `{"amount":5}`, reply+`"s2"`))       // a state that the server did not give
	refused(modernCall(2, `{"amount":5}`, reply+`"S1"`))
	x.pass(modernCall(3, `{"amount":5}`, reply+`"s1"`))
	refused(modernCall(4, `{"amount":5}`, reply+`"s1"`)) // a question is answered once
	question(3, "s2")
	x.pass(modernCall(5, `{"amount":5}`, reply+`"s2"`)) // a second round
	x.say(x.server, result("5", okResult))
	x.hears(x.client, result("5", okResult))
	refused(modernCall(6, `{"amount":5}`, reply+`"s2"`))

	var retries, roots []uint64
	var outcomes []event.Outcome
	for _, c := range logged[*event.Call](x) {
		retries = append(retries, c.Retry)
	}
	for _, r := range logged[*event.Result](x) {
		roots, outcomes = append(roots, r.Root), append(outcomes, r.Outcome)
	}
	const root = 3 // loaded, opened, call
	if want := []uint64{0, 0, 0, 0, 0, 0, root, 0, root, 0}; !slices.Equal(retries, want) {
		t.Errorf("retries of %v", retries)
	}
	if !slices.Equal(roots, []uint64{0, root, root}) || !slices.Equal(outcomes, []event.Outcome{"input", "input", "ok"}) {
		t.Errorf("%v %v", roots, outcomes)
	}
}

// The arguments of a retry are judged again: a rule may object to them that has come into force meanwhile.
func TestARetryIsJudgedAgain(t *testing.T) {
	x := begin(t, once)
	x.pass(modernCall(1, `{"amount":5}`, ""))
	q := result("1", `{"resultType":"input_required","inputRequests":{"a":{}}}`) // no state at all
	x.say(x.server, q)
	x.hears(x.client, q)
	if err := x.gate.Load(policy(t, `rules: [{name: small, on: "billing/*", where: "args.amount > 1", do: deny}]`)); err != nil {
		t.Fatal(err)
	}
	x.say(x.client, modernCall(2, `{"amount":5}`, `,"inputResponses":{"a":{}}`))
	if _, v := denied(t, x.hear(x.client), "2"); v.Get("rule").Str != "small" {
		t.Error(v.Raw)
	}
	x.serverHeardNoMore()
}

// Invariant 4: no result is given to the client that is not in the history.
func TestAResultThatCannotBeRecordedIsNotReleased(t *testing.T) {
	for request, answer := range map[string]string{
		toolCall("1", "read", "{}"): result("1", `{"content":["the secret answer"]}`),
		listTools:                   result("1", `{"tools":[{"name":"secret"}]}`),
	} {
		x := begin(t, noDeletes)
		x.pass(request)
		x.disk.set(false, errors.New("no space left on device"))
		x.say(x.server, answer)
		frame := x.hear(x.client)
		if why := failed(t, frame, "1", wire.CodeNotRecorded); !strings.Contains(why, "no space left") || strings.Contains(frame, "secret") {
			t.Error(frame)
		}
		x.disk.set(false, nil)
		for _, r := range logged[*event.Result](x) {
			t.Errorf("recorded: %+v", r)
		}
	}
}

func TestACallThatCannotBeRecordedIsDenied(t *testing.T) {
	x := begin(t, noDeletes)
	x.disk.set(false, errors.New("no space left on device"))
	for _, id := range []string{"1", "2"} { // the second is denied without trying
		x.say(x.client, toolCall(id, "read", "{}"))
		if text, _ := denied(t, x.hear(x.client), id); !strings.Contains(text, "not recorded") || !strings.Contains(text, "no space left") {
			t.Error(text)
		}
	}
	x.serverHeardNoMore()
	x.disk.set(false, nil)
	if got := kinds(x.log()); strings.Contains(got, "call") {
		t.Error(got)
	}
}

// Where nothing can be judged, no call passes, and everything else does.
func TestADenierDeniesOverStdio(t *testing.T) {
	client, nearClient := cable()
	server, nearServer := cable()
	x := &talk{t: t, client: client, server: server, ended: make(chan error, 1)}
	link := proxy.NewLink(proxy.LinkConfig{Judge: proxy.Denier{Reason: "no daemon"}, Cleaner: cleaner(t), Origin: proxy.Origin{Server: "billing"}})
	go func() { x.ended <- link.Pump(nearClient, nearServer) }()
	for _, request := range []string{hello, listTools} {
		x.pass(request)
		answer := result(gjson.Get(request, "id").Raw, `{"tools":[{"name":"a"}]}`)
		x.say(x.server, answer)
		x.hears(x.client, answer)
	}
	x.say(x.client, toolCall("5", "read", "{}"))
	if text, _ := denied(t, x.hear(x.client), "5"); text != "Umpire denied billing/read: no daemon. Repeating the same call will not help." {
		t.Error(text)
	}
	x.serverHeardNoMore()
	server.Close()
	x.hears(client, "EOF")
	if err := receiveErr(t, x.ended); err != nil {
		t.Error(err)
	}
}
