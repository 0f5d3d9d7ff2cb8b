package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// ofTask asks about a task.
func ofTask(id, method, task string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"taskId":%q}}`, id, method, task)
}

// working says that a task was made, in the form of 2025-11-25.
func working(id, task string) string {
	return result(id, fmt.Sprintf(`{"task":{"taskId":%q,"status":"working","ttl":60000}}`, task))
}

// exchange lets a request through and its answer back.
func (x *talk) exchange(request, answer string) {
	x.t.Helper()
	x.pass(request)
	x.say(x.server, answer)
	x.hears(x.client, answer)
}

// outcomes returns how the calls ended so far: "#2 started, #2 ok".
func outcomes(events []event.Event) string {
	var out []string
	for _, e := range events {
		if r, ok := e.Body.(*event.Result); ok {
			out = append(out, fmt.Sprintf("#%d %s", e.Cause, r.Outcome))
		}
	}
	return strings.Join(out, ", ")
}

func TestHowATaskEnded(t *testing.T) {
	const related = `"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}`
	started := result("1", `{"task":{"taskId":"t","status":"working"}}`)
	modernStart := result("1", `{"resultType":"task","taskId":"t","status":"working","pollIntervalMs":5}`)
	for name, tc := range map[string]struct {
		start, method, answer string // answer is the result of the request, or of a notification its params
		want                  string
		code                  int64
		text, content         string
	}{
		"the result itself":                  {started, "tasks/result", `{"content":["x"],` + related + `}`, "ok", 0, "", `{"content":["x"],` + related + `}`},
		"the result without its task":        {started, "tasks/result", `{"content":[]}`, "ok", 0, "", `{"content":[]}`},
		"a result that failed":               {started, "tasks/result", `{"content":[],"isError":true,` + related + `}`, "failed", 0, "", `{"content":[],"isError":true,` + related + `}`},
		"the result of another task":         {started, "tasks/result", strings.Replace(`{"content":[],`+related+`}`, `"t"`, `"u"`, 1), "", 0, "", ""},
		"a state where the result should be": {started, "tasks/result", `{"taskId":"t","status":"working"}`, "", 0, "", ""},
		"it works":                           {started, "tasks/get", `{"taskId":"t","status":"working"}`, "", 0, "", ""},
		"it asks":                            {started, "tasks/get", `{"taskId":"t","status":"input_required"}`, "", 0, "", ""},
		"it is done, fetch it":               {started, "tasks/get", `{"taskId":"t","status":"completed"}`, "", 0, "", ""},
		"it has failed":                      {started, "tasks/get", `{"taskId":"t","status":"failed","statusMessage":"no stock"}`, "failed", 0, "no stock", ""},
		"it is cancelled":                    {started, "tasks/get", `{"taskId":"t","status":"cancelled"}`, "cancelled", 0, "", ""},
		"the client cancels it":              {started, "tasks/cancel", `{"taskId":"t","status":"cancelled","statusMessage":"by request"}`, "cancelled", 0, "by request", ""},
		"a status that nobody knows":         {started, "tasks/get", `{"taskId":"t","status":"COMPLETED","result":{}}`, "", 0, "", ""},
		"about another task than asked":      {started, "tasks/get", `{"taskId":"u","status":"failed"}`, "", 0, "", ""},
		"without the id":                     {started, "tasks/get", `{"status":"failed"}`, "failed", 0, "", ""},
		"an id that is none":                 {started, "tasks/get", `{"taskId":7,"status":"failed"}`, "", 0, "", ""},
		"a notice of failure":                {started, "notifications/tasks/status", `{"taskId":"t","status":"failed"}`, "failed", 0, "", ""},
		"a notice of the end":                {started, "notifications/tasks/status", `{"taskId":"t","status":"completed"}`, "", 0, "", ""},
		"a notice about nothing":             {started, "notifications/tasks/status", `{}`, "", 0, "", ""},
		"modern: done":                       {modernStart, "tasks/get", `{"resultType":"complete","taskId":"t","status":"completed","result":{"content":["y"]}}`, "ok", 0, "", `{"content":["y"]}`},
		"modern: a result that failed":       {modernStart, "tasks/get", `{"resultType":"complete","taskId":"t","status":"completed","result":{"isError":true}}`, "failed", 0, "", `{"isError":true}`},
		"modern: failed with a result":       {modernStart, "tasks/get", `{"taskId":"t","status":"failed","result":{"content":[]}}`, "failed", 0, "", `{"content":[]}`},
		"modern: an error":                   {modernStart, "tasks/get", `{"taskId":"t","status":"failed","error":{"code":-32603,"message":"boom"}}`, "error", -32603, "boom", ""},
		"modern: it is acknowledged":         {modernStart, "tasks/cancel", `{"resultType":"complete"}`, "", 0, "", ""},
		"modern: a notice with the result":   {modernStart, "notifications/tasks", `{"taskId":"t","status":"completed","result":{"content":["z"]}}`, "ok", 0, "", `{"content":["z"]}`},
		"modern: a notice with the error":    {modernStart, "notifications/tasks", `{"taskId":"t","status":"failed","error":{"code":1,"message":"m"}}`, "error", 1, "m", ""},
		"modern: a notice with a question":   {modernStart, "notifications/tasks", `{"taskId":"t","status":"input_required","inputRequests":{"a":{}}}`, "", 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, noDeletes)
			x.exchange(toolCall("1", "read", "{}"), tc.start)
			if strings.HasPrefix(tc.method, "notifications/") {
				notice := fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s}`, tc.method, tc.answer)
				x.say(x.server, notice)
				x.hears(x.client, notice)
			} else {
				x.exchange(ofTask("2", tc.method, "t"), result("2", tc.answer))
			}
			want := strings.TrimSuffix("#3 started, #3 "+tc.want, ", #3 ")
			events := x.log()
			if got := outcomes(events); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
			last := events[len(events)-1]
			r := last.Body.(*event.Result)
			if tc.want != "" && (r.Code != tc.code || r.Text != tc.text || string(r.Content) != tc.content || r.Tool != "read" || r.Server != support.Server || last.Session != events[1].Session) {
				t.Errorf("%+v %+v", last, r)
			}
		})
	}
}

// What a client says about a task counts for nothing, nor does the answer to a request that only the client has spoiled.
func TestAClientCannotEndATask(t *testing.T) {
	const inFlight = `rules: [{name: one, on: "*/*", rate: {in_flight: 1}, do: deny}, {name: thrice, on: "*/*", rate: {max: 1, per: 1h, count: succeeded}, do: deny}]`
	x := begin(t, inFlight)
	x.exchange(toolCall("1", "read", "{}"), working("1", "t"))
	for i, attempt := range []string{
		`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t","status":"failed"}}`,
		`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t","status":"failed","error":{"code":1,"message":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"taskId":"t","status":"failed"}}`,
		`{"jsonrpc":"2.0","id":7,"result":{"isError":true,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
	} {
		x.pass(attempt)
		x.say(x.client, toolCall("3", "read", "{}"))
		if text, _ := denied(t, x.hear(x.client), "3"); !strings.Contains(text, "one") {
			t.Errorf("%d: %s", i, text)
		}
	}
	for i, question := range []string{
		`{"jsonrpc":"2.0","id":4,"method":"tasks/result","params":{"taskId":"t","x":[]}}`,
		`{"jsonrpc":"2.0","id":4,"method":"tasks/get","params":{"taskId":"t","_meta":{"progressToken":{}}}}`,
		ofTask("4", "tasks/cancel", "t"), ofTask("4", "tasks/unheard", "t"),
	} {
		x.exchange(question, `{"jsonrpc":"2.0","id":4,"error":{"code":-32602,"message":"no"}}`)
		x.say(x.client, toolCall("3", "read", "{}"))
		denied(t, x.hear(x.client), "3")
		if i == 2 { // cancelled is not stopped
			x.exchange(question, result("4", `{"taskId":"t","status":"cancelled"}`))
			x.say(x.client, toolCall("3", "read", "{}"))
			denied(t, x.hear(x.client), "3")
		}
	}
	if got := outcomes(x.log()); got != "#3 started, #3 cancelled" {
		t.Error(got)
	}
	x.exchange(ofTask("4", "tasks/result", "t"), result("4", `{"content":[],"isError":true}`)) // the server's own word
	x.pass(toolCall("3", "read", "{}"))
}

// Rules see the result of a task as that of any call: what is in flight, what succeeded, and what it says.
func TestRulesSeeHowATaskEnded(t *testing.T) {
	x := begin(t, `
rules:
  - {name: race, on: "*/slow", rate: {in_flight: 1}, do: deny}
  - {name: once, on: "*/slow", rate: {max: 1, per: 1h, count: succeeded}, do: deny}
  - {name: looked, on: "*/pay", require: [{name: v, on: "*/slow", where: v.ok}], within: 1h, do: deny}
  - {name: leak, sequence: [{name: r, on: "result */slow"}, {on: "*/send", where: "r.ok && flows(r.result, args.body)"}], within: 1h, do: deny}
`)
	deny := func(tool, args, rule string) {
		t.Helper()
		x.say(x.client, toolCall("9", tool, args))
		if text, _ := denied(t, x.hear(x.client), "9"); !strings.Contains(text, "(rule "+rule+")") {
			t.Error(text)
		}
	}
	x.exchange(toolCall("1", "slow", "{}"), working("1", "t1"))
	deny("slow", "{}", "race")
	deny("pay", "{}", "looked")
	x.exchange(ofTask("2", "tasks/get", "t1"), result("2", `{"taskId":"t1","status":"failed"}`))
	deny("pay", "{}", "looked")
	x.exchange(toolCall("1", "slow", "{}"), working("1", "t2"))
	x.exchange(toolCall("3", "send", `{"body":"secret-4711-abc"}`), result("3", okResult))
	x.exchange(ofTask("2", "tasks/result", "t2"), result("2", `{"content":[{"type":"text","text":"secret-4711-abc"}]}`))
	deny("send", `{"body":"secret-4711-abc"}`, "leak")
	deny("slow", "{}", "once")
	x.exchange(toolCall("3", "pay", "{}"), result("3", okResult))
}

// A failure is known from the state, and what the failed call gave comes later: both are recorded, each once.
func TestATaskEndsOnceForEachThingThatIsSaid(t *testing.T) {
	x := begin(t, noDeletes)
	x.exchange(toolCall("1", "read", "{}"), working("1", "t"))
	for range 3 {
		x.exchange(ofTask("2", "tasks/get", "t"), result("2", `{"taskId":"t","status":"failed"}`))
	}
	for range 3 {
		x.exchange(ofTask("2", "tasks/result", "t"), result("2", `{"content":["why"],"isError":true}`))
		x.exchange(ofTask("2", "tasks/get", "t"), result("2", `{"taskId":"t","status":"failed"}`))
	}
	x.exchange(ofTask("2", "tasks/result", "nobody's"), result("2", okResult))
	if got := outcomes(x.log()); got != "#3 started, #3 failed, #3 failed" {
		t.Error(got)
	}
}

// Invariant 4, for the results of tasks.
func TestATaskThatCannotBeRecordedIsNotReleased(t *testing.T) {
	x := begin(t, noDeletes)
	x.exchange(toolCall("1", "read", "{}"), working("1", "t"))
	x.pass(ofTask("2", "tasks/result", "t"))
	x.disk.set(true, nil)
	x.say(x.server, result("2", okResult))
	for !x.disk.holds(1) {
		x.gate.Reopen("")
	}
	x.disk.set(false, errors.New("disk full"))
	failed(t, x.hear(x.client), "2", -31003)
	x.disk.set(false, nil)
}

// Children of one command may all count their tasks from 1: a child's tasks are its own, and end with it.
func TestTasksOfChildrenAreTheirOwn(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	t.Cleanup(func() { g.Close(); verify(t, disk) })
	one, two := support, support
	one.Transport, two.Transport = proxy.TransportStdio, proxy.TransportStdio
	one.Link, two.Link = "stdio:1", "stdio:2"
	x, y := join(t, disk, g, one), join(t, disk, g, two)
	x.exchange(toolCall("1", "read", "{}"), working("1", "1"))
	y.exchange(toolCall("1", "write", "{}"), working("1", "1"))
	x.exchange(ofTask("2", "tasks/result", "1"), result("2", okResult))
	x.exchange(ofTask("2", "tasks/result", "1"), result("2", okResult))
	got := outcomes(x.log())
	y.hangUp()
	three := two
	three.Link = "stdio:3"
	z := join(t, disk, g, three)
	z.exchange(ofTask("2", "tasks/result", "1"), result("2", okResult))
	if now := outcomes(z.log()); got != now || strings.Count(got, "started") != 2 || strings.Count(got, "ok") != 1 {
		t.Errorf("%s, then %s", got, now)
	}
}

// tasksOverHTTP is a server in both eras. It makes a task of every call, and the task is done when it is asked for.
func tasksOverHTTP(w http.ResponseWriter, r *http.Request, body string) {
	m := gjson.Parse(body)
	id := m.Get("id").Raw
	task := m.Get("params.taskId").Str
	modern := m.Get(`params._meta.io\.modelcontextprotocol/protocolVersion`).Exists()
	switch m.Get("method").Str {
	case "tools/call":
		if task = m.Get("params.arguments.task").Str; modern {
			give(w, http.StatusOK, result(id, fmt.Sprintf(`{"resultType":"task","taskId":%q,"status":"working"}`, task)))
			return
		}
		give(w, http.StatusOK, working(id, task))
	case "tasks/get":
		stream(w)("event: message\ndata: " + result(id, fmt.Sprintf(`{"resultType":"complete","taskId":%q,"status":"completed","result":{"content":[]}}`, task)) + "\n\n")
	case "tasks/result":
		give(w, http.StatusOK, result(id, `{"content":[]}`))
	default:
		obey(w, r, body)
	}
}

// The result comes in another exchange, to another session of the protocol, and after a restart. It does not count for
// somebody else who asks for a task with this id.
func TestATaskOverHTTPOutlivesItsConnection(t *testing.T) {
	headers := func(method, name string) []string {
		return []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: " + method, "Mcp-Name: " + name}
	}
	disk := &manual{}
	u := serve(t, tasksOverHTTP)
	var want []string
	for restart := range 3 {
		f := standBefore(t, disk, noRules, u)
		if restart == 0 {
			for _, task := range []string{"m1", "m2"} {
				f.post(modern("1", "tools/call", fmt.Sprintf(`"name":"slow","arguments":{"task":%q}`, task)), headers("tools/call", "slow")...)
			}
			f.post(call("1", "slow", `{"task":"l1"}`), inSession)
			f.post(call("2", "slow", `{"task":"l2"}`), inSession)
			want = append(want, "#3 started, #6 started, #10 started, #13 started")
		} else {
			ask := fmt.Sprintf("m%d", restart)
			a := f.post(modern("5", "tasks/get", fmt.Sprintf(`"taskId":%q`, ask)), headers("tasks/get", ask)...)
			if !strings.Contains(a.body, "completed") {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			f.post(ofTask("6", "tasks/result", fmt.Sprintf("l%d", restart)), fmt.Sprintf("Mcp-Session-Id: other%d", restart))
			want = append(want, fmt.Sprintf("#%d ok, #%d ok", 3*restart, 3*restart+7))
		}
		f.close()
		if got := outcomes(log(t, disk)); got != strings.Join(want, ", ") {
			t.Fatalf("after %d restarts: %s, want %s", restart, got, strings.Join(want, ", "))
		}
	}
}

func TestATaskOfSomebodyElseIsNotEnded(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	t.Cleanup(func() { g.Close(); verify(t, disk) })
	alice, mallory, again := support, support, support
	alice.Transport, mallory.Transport, again.Transport = proxy.TransportHTTP, proxy.TransportHTTP, proxy.TransportHTTP
	mallory.Peer.Principal = "local:mallory"
	again.Link, mallory.Link = "http:2", alice.Link
	x, m, y := join(t, disk, g, alice), join(t, disk, g, mallory), join(t, disk, g, again)
	x.exchange(toolCall("1", "read", "{}"), working("1", "t"))
	m.exchange(ofTask("2", "tasks/get", "t"), result("2", `{"taskId":"t","status":"failed"}`))
	if got := outcomes(m.log()); strings.Contains(got, "failed") {
		t.Error(got)
	}
	y.exchange(ofTask("2", "tasks/get", "t"), result("2", `{"taskId":"t","status":"failed"}`))
	if got := outcomes(y.log()); !strings.HasSuffix(got, "failed") {
		t.Error(got)
	}
}

// A server that makes tasks without end fills no memory: the oldest are forgotten.
func TestTasksAreBounded(t *testing.T) {
	x := begin(t, noRules)
	const many = 10_001
	for i := range many {
		x.say(x.client, toolCall(fmt.Sprint(i), "read", "{}"))
		x.hear(x.server)
		x.say(x.server, working(fmt.Sprint(i), fmt.Sprint(i)))
		x.hear(x.client)
	}
	x.exchange(ofTask("-1", "tasks/result", "0"), result("-1", okResult))
	if n := strings.Count(outcomes(x.log()), "ok"); n != 0 {
		t.Errorf("%d", n)
	}
	x.exchange(ofTask("-1", "tasks/result", "1"), result("-1", okResult))
	if n := strings.Count(outcomes(x.log()), "ok"); n != 1 {
		t.Errorf("%d", n)
	}
}

// Sessions of one server may count their tasks from 1, too: a link's own task comes first, for others the newest counts.
func TestOfTasksWithOneIdTheOwnOneCounts(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	t.Cleanup(func() { g.Close(); verify(t, disk) })
	var talks []*talk
	for i := range 3 {
		who := support
		who.Transport, who.Link = proxy.TransportHTTP, fmt.Sprint("http:", i)
		talks = append(talks, join(t, disk, g, who))
	}
	for _, x := range talks[:2] {
		x.exchange(toolCall("1", "read", "{}"), working("1", "1"))
	}
	calls := strings.Fields(strings.ReplaceAll(outcomes(talks[0].log()), " started,", ""))
	for _, x := range []*talk{talks[0], talks[2], talks[2]} {
		x.exchange(ofTask("2", "tasks/result", "1"), result("2", okResult))
	}
	if got := outcomes(talks[2].log()); !strings.HasSuffix(got, fmt.Sprintf("started, %s ok, %s ok", calls[0], calls[1])) {
		t.Error(got)
	}
}
