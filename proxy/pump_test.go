package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestAPipeKeepsItsOrder(t *testing.T) {
	x := begin(t, noDeletes)
	x.disk.set(true, nil) // what needs no record does not overtake what waits for it
	var want []string
	for i := range 20 {
		frames := []string{
			toolCall(fmt.Sprint(i), "read", "{}"),
			fmt.Sprintf(`{"jsonrpc":"2.0","id":"p%d","method":"ping"}`, i),
			toolCall(fmt.Sprintf(`"d%d"`, i), "delete_order", "{}"),
			fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i),
			fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"roots":[]}}`, i),
		}
		x.say(x.client, frames...)
		want = append(want, frames[0], frames[1], frames[3], frames[4])
	}
	x.disk.set(false, nil)
	x.hears(x.server, want...)
	for i := range 20 {
		denied(t, x.hear(x.client), fmt.Sprintf(`"d%d"`, i))
	}
	x.disk.set(true, nil)
	want = nil
	for i := range 20 {
		frames := []string{
			result(fmt.Sprint(i), okResult),
			fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":%d}}`, i),
			result(fmt.Sprintf(`"p%d"`, i), "{}"),
		}
		x.say(x.server, frames...)
		want = append(want, frames...)
	}
	x.disk.set(false, nil)
	x.hears(x.client, want...)
}

// What may go on waits for nothing that may not.
func TestWhatIsSettledGoesAhead(t *testing.T) {
	x := begin(t, noDeletes)
	x.disk.set(true, nil)
	pings := []string{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":2,"method":"ping"}`}
	x.say(x.client, pings[0], pings[1], toolCall("3", "read", "{}"))
	x.hears(x.server, pings...)
	x.disk.set(false, nil)
	x.hears(x.server, toolCall("3", "read", "{}"))
}

// slow says when it is written to, and lets a test look at each write.
type slow struct {
	*plug
	begun  chan struct{}
	writes chan string
}

// Write implements proxy.Conn.
func (s slow) Write(frames ...[]byte) error {
	s.begun <- struct{}{}
	s.writes <- string(bytes.Join(frames, []byte("\n")))
	return nil
}

// What has come while a write was in progress shares the next one.
func TestWhatIsReadyIsOneWrite(t *testing.T) {
	stdin, client, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	server, nearServer := cable()
	writes := slow{nearServer, make(chan struct{}), make(chan string)}
	link := proxy.NewLink(proxy.LinkConfig{Judge: proxy.Denier{}, Cleaner: cleaner(t), Origin: support})
	ended := make(chan error, 1)
	go func() { ended <- link.Pump(transport.NewLines(keyboard{stdin}, wire.MaxSize), writes) }()
	frame := func(i int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/%d"}`, i) }
	fmt.Fprintln(client, frame(0))
	<-writes.begun
	var rest []string
	for i := range 50 {
		rest = append(rest, frame(i+1))
	}
	fmt.Fprintln(client, strings.Join(rest, "\n"))
	if got := <-writes.writes; got != frame(0) {
		t.Errorf("the first write: %s", got)
	}
	<-writes.begun
	if got, want := <-writes.writes, strings.Join(rest, "\n"); got != want {
		t.Errorf("the second write: %s", got)
	}
	client.Close()
	server.Close()
	if err := receiveErr(t, ended); err != nil {
		t.Error(err)
	}
}

// Attempt: make a message wait for the next one by what looks like the beginning of another.
func TestNothingWaitsForWhatHasNotCome(t *testing.T) {
	const message = `{"jsonrpc":"2.0","method":"notifications/x"}`
	for _, behind := range []string{"\n", "\n\n", "\n \n\t\n", "\n\r\n", "\n{", "\n\n\x85\n{\"jsonrpc\""} {
		stdin, client, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		server, nearServer := cable()
		x := &talk{t: t, server: server}
		link := proxy.NewLink(proxy.LinkConfig{Judge: proxy.Denier{}, Cleaner: cleaner(t), Origin: support})
		ended := make(chan error, 1)
		go func() { ended <- link.Pump(transport.NewLines(keyboard{stdin}, wire.MaxSize), nearServer) }()
		fmt.Fprint(client, message+behind)
		x.hears(server, message)
		client.Close()
		server.Close()
		if err := receiveErr(t, ended); err != nil {
			t.Errorf("%q: %v", behind, err)
		}
	}
}

// While a call is in flight, either side may talk.
func TestBothSidesTalkWhileACallIsInFlight(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "ask", `{"q":1}`))
	for _, step := range []struct{ server, client string }{
		{server: `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":0,"progress":0.5,"total":1.0}}`},
		{server: `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}`}, // the ids of the server are its own
		{client: `{"jsonrpc":"2.0","id":1,"result":{"role":"assistant","content":{"type":"text","text":"tools/call"}}}`},
		{server: `{"jsonrpc":"2.0","id":"e","method":"elicitation/create","params":{"message":"sure?"}}`},
		{client: `{"jsonrpc":"2.0","id":"e","error":{"code":-1,"message":"declined"}}`},
		{server: `{"jsonrpc":"2.0","id":2,"method":"roots/list"}`},
		{client: `{"jsonrpc":"2.0","id":2,"result":{"roots":[{"uri":"file:///w"}]}}`},
		{server: `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`},
		{client: `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`},
		{client: `{"jsonrpc":"2.0","id":2,"method":"ping"}`},
		{server: `{"jsonrpc":"2.0","id":2,"result":{}}`},
		{client: `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"changed my mind"}}`},
		{server: result("1", okResult)}, // it was too late to cancel
	} {
		if step.client != "" {
			x.pass(step.client)
		} else {
			x.say(x.server, step.server)
			x.hears(x.client, step.server)
		}
	}
	if got := kinds(x.log()); got != "loaded opened call verdict result" {
		t.Error(got)
	}
}

const deleteOrBurst = `rules: [{name: no-deletes, on: "billing/delete_*", do: deny}, {name: burst, on: billing/refund, rate: {max: 2, per: 1h}, do: deny}]`

// negotiate lets the client ask for a revision and the server answer with one.
func (x *talk) negotiate(asked, answered string) {
	x.t.Helper()
	x.pass(strings.Replace(hello, "2025-11-25", asked, 1))
	welcome := result("0", `{"protocolVersion":"`+answered+`","capabilities":{}}`)
	x.say(x.server, welcome)
	x.hears(x.client, welcome)
}

func TestABatchIsJudgedElementByElement(t *testing.T) {
	for _, revision := range []string{"2024-11-05", "2025-03-26"} {
		x := begin(t, deleteOrBurst)
		x.negotiate(revision, revision)
		elements := []string{
			toolCall("1", "refund", `{"a": 1.0}`), toolCall("2", "delete_order", "{}"), `{"jsonrpc":"2.0","id":3,"method":"ping"}`,
			`{"jsonrpc":"2.0","method":"notifications/x"}`, toolCall("4", "refund", "{}"), toolCall("5", "refund", "{}"), toolCall("1.0", "refund", "{}"),
		}
		x.say(x.client, " [ "+strings.Join(elements, " , ")+" ]")
		x.hears(x.server, elements[0], elements[2], elements[3], elements[4])
		denied(t, x.hear(x.client), "2")
		denied(t, x.hear(x.client), "5")
		failed(t, x.hear(x.client), "1.0", wire.CodeInvalidRequest)
		x.serverHeardNoMore()
		answers := []string{result("4", okResult), result("3", "{}"), result("1", okResult)}
		x.say(x.server, "["+answers[0]+","+answers[1]+","+result("2", okResult)+"]", "["+answers[2]+"]")
		x.hears(x.client, answers...)
		x.clientHeardNoMore()
	}
}

func TestABatchIsRefusedWhereNoneIsLegal(t *testing.T) {
	batch := "[" + toolCall("1", "read", "{}") + `,{"jsonrpc":"2.0","method":"notifications/x"}]`
	for name, tc := range map[string]struct {
		asked, answered string
		frame           string
	}{
		"before anything is negotiated":   {"", "", batch},
		"2025-06-18":                      {"2025-06-18", "2025-06-18", batch},
		"2025-11-25":                      {"2025-11-25", "2025-11-25", batch},
		"the server chose a later one":    {"2025-03-26", "2025-06-18", batch},
		"a revision that does not exist":  {"zzz", "zzz", batch},
		"nested":                          {"2025-03-26", "2025-03-26", "[" + batch + "]"},
		"empty":                           {"2025-03-26", "2025-03-26", "[]"},
		"with something that is no call":  {"2025-03-26", "2025-03-26", "[" + toolCall("1", "read", "{}") + ",7]"},
		"with one that is read two ways":  {"2025-03-26", "2025-03-26", "[" + toolCall("1", "read", "{}") + `,{"jsonrpc":"2.0","id":2,"method":"ping","Method":"tools/call"}]`},
		"with a call that has no id":      {"2025-03-26", "2025-03-26", `[{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"}}]`},
		"with something behind it":        {"2025-03-26", "2025-03-26", batch + toolCall("2", "read", "{}")},
		"of more messages than are legal": {"2025-03-26", "2025-03-26", "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"x"},`, wire.MaxBatch) + `{"jsonrpc":"2.0","method":"x"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, noDeletes)
			if tc.asked != "" {
				x.negotiate(tc.asked, tc.answered)
			}
			x.say(x.client, tc.frame)
			if reply := x.hear(x.client); !strings.HasPrefix(reply, `{"jsonrpc":"2.0","id":null,"error":`) {
				t.Error(reply)
			}
			x.serverHeardNoMore()
			x.noted("refused", "message of the client")
			if calls := logged[*event.Call](x); len(calls) > 0 {
				t.Errorf("it was judged: %+v", calls)
			}
		})
	}
}

func TestAServerThatDiesLeavesNothingUnanswered(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1.0", "read", "{}"))
	x.pass(toolCall("2", "read", "{}"))
	x.pass(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	x.say(x.server, result("2", okResult))
	x.hears(x.client, result("2", okResult))
	x.server.Close()
	replies := map[string]string{}
	for range 2 {
		frame := x.hear(x.client)
		replies[gjson.Get(frame, "id").Raw] = frame
	}
	for _, id := range []string{"1.0", `"p"`} {
		if why := failed(t, replies[id], id, wire.CodeUnavailable); why != "server billing ended before it answered" {
			t.Error(why)
		}
	}
	x.hears(x.client, "EOF")
	if err := receiveErr(t, x.ended); err != nil {
		t.Error(err)
	}
	x.ended <- nil // for hangUp
	events := x.log()
	if got := kinds(events); got != "loaded opened call verdict call verdict result result closed" {
		t.Error(got)
	}
	r, ok := events[7].Body.(*event.Result)
	if !ok || r.Outcome != event.OutcomeLost || events[7].Cause != 3 || events[7].Session != events[2].Session || !strings.Contains(r.Text, "ended before it answered") {
		t.Errorf("%+v %+v", events[7], r)
	}
	if c, ok := events[8].Body.(*event.Closed); !ok || c.Link != support.Link || c.Reason != "the server ended" {
		t.Errorf("%+v", events[8])
	}
}

// Calls that are being judged when the server dies: each that is allowed in the history has an end in it.
func TestAServerThatDiesDuringAVerdict(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.disk.set(true, nil)
	x.say(x.client, toolCall("2", "read", "{}"), toolCall("3", "delete_order", "{}"))
	for !x.disk.holds(2) {
		x.gate.Reopen("")
	}
	x.server.CloseWrite()
	go x.disk.set(false, nil)
	receiveErr(t, x.ended) //nolint:errcheck // the client may be gone before it has its answers
	x.ended <- nil
	open := map[uint64]bool{}
	for _, e := range x.log() {
		if v, ok := e.Body.(*event.Verdict); ok && v.Action.Passes() {
			open[e.Cause] = true
		}
		if r, ok := e.Body.(*event.Result); ok {
			if !open[e.Cause] || r.Outcome != event.OutcomeLost {
				t.Errorf("%+v %+v", e, r)
			}
			delete(open, e.Cause)
		}
	}
	if len(open) > 0 {
		t.Errorf("calls without an end: %v", open)
	}
}

// A client that closes its stdin has said all it had to say, and still hears what it asked for.
func TestAClientThatHasFinishedIsStillAnswered(t *testing.T) {
	x := begin(t, noDeletes)
	x.say(x.client, toolCall("1", "read", "{}"), toolCall("2", "delete_order", "{}"))
	x.client.CloseWrite()
	x.hears(x.server, toolCall("1", "read", "{}"), "EOF")
	denied(t, x.hear(x.client), "2")
	x.say(x.server, `{"jsonrpc":"2.0","method":"notifications/progress"}`, result("1", okResult))
	x.hears(x.client, `{"jsonrpc":"2.0","method":"notifications/progress"}`, result("1", okResult))
	x.server.CloseWrite()
	x.hears(x.client, "EOF")
	if err := receiveErr(t, x.ended); err != nil {
		t.Error(err)
	}
	x.ended <- nil
}

// A client that is gone does not keep the answers to its calls from the history.
func TestAClientThatIsGone(t *testing.T) {
	x := begin(t, noDeletes)
	x.pass(toolCall("1", "read", "{}"))
	x.pass(toolCall("2", "read", "{}"))
	x.client.Close()
	x.hears(x.server, "EOF")
	x.say(x.server, `{"jsonrpc":"2.0","method":"notifications/progress"}`, result("1", okResult))
	x.server.CloseWrite()
	if err := receiveErr(t, x.ended); err == nil {
		t.Error("nobody says that the client was not there any more")
	}
	x.ended <- nil
	outcomes := map[uint64]event.Outcome{}
	for _, e := range x.log() {
		if r, ok := e.Body.(*event.Result); ok {
			outcomes[e.Cause] = r.Outcome
		}
	}
	if outcomes[3] != event.OutcomeOK || outcomes[5] != event.OutcomeLost {
		t.Errorf("%v", outcomes)
	}
}

// A call that is still being judged when its link ends does not go out, and its history says that it is lost.
func TestACallThatIsJudgedTooLateDoesNotGoOut(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	defer g.Close()
	link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support})
	fromClient := func(text string) proxy.Ruling {
		frame, err := wire.Parse([]byte(text), wire.FromClient)
		if err != nil {
			t.Fatal(err)
		}
		return link.FromClient(&frame.Messages[0])
	}
	disk.set(true, nil)
	ruling := fromClient(toolCall("1", "read", "{}"))
	if early := link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, "x", func(string) bool { return true }); len(early) > 0 {
		t.Errorf("ended before it went out: %s", early)
	}
	replies := make(chan [][]byte, 1)
	go func() { replies <- link.Fail(wire.CodeUnavailable, event.OutcomeLost, "the server ended", nil) }()
	for { // once it is ended, its id is free
		if _, refused := fromClient(`{"jsonrpc":"2.0","id":1,"method":"ping"}`).Wait(); refused == nil {
			break
		}
	}
	disk.set(false, nil)
	forward, reply := ruling.Wait()
	if forward != nil {
		t.Errorf("forwarded: %s", forward)
	}
	failed(t, string(reply), "1", wire.CodeUnavailable)
	if twice := <-replies; len(twice) > 0 {
		t.Errorf("answered twice: %s", twice)
	}
	var results []*event.Result
	for _, e := range log(t, disk) {
		if r, ok := e.Body.(*event.Result); ok {
			results = append(results, r)
		}
	}
	if len(results) != 1 || results[0].Outcome != event.OutcomeLost {
		t.Errorf("%+v", results)
	}
	verify(t, disk)
}

// deaf is a connection to a peer that does not listen any more, and still talks.
type deaf struct{ *plug }

// Write implements proxy.Conn.
func (deaf) Write(...[]byte) error { return errors.New("broken pipe") }

func TestAServerThatDoesNotListenStillHasItsClientAnswered(t *testing.T) {
	client, nearClient := cable()
	server, nearServer := cable()
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	defer g.Close()
	x := &talk{t: t, client: client, server: server, disk: disk, gate: g, ended: make(chan error, 1)}
	link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support})
	go func() { x.ended <- link.Pump(nearClient, deaf{nearServer}) }()
	x.say(client, toolCall("1", "read", "{}"), toolCall("2", "delete_order", "{}"), toolCall("3", "read", "{}"))
	denied(t, x.hear(client), "2")
	x.clientHeardNoMore() // it says something yet
	server.Close()
	ids := gjson.Get(x.hear(client), "id").Raw + gjson.Get(x.hear(client), "id").Raw
	if ids != "13" && ids != "31" {
		t.Error(ids)
	}
	x.hears(client, "EOF")
	if err := receiveErr(t, x.ended); err == nil || err.Error() != "broken pipe" {
		t.Error(err)
	}
}

func TestAClientThatDoesNotListenEndsTheServer(t *testing.T) {
	client, nearClient := cable()
	server, nearServer := cable()
	x := &talk{t: t, client: client, server: server, ended: make(chan error, 1)}
	link := proxy.NewLink(proxy.LinkConfig{Judge: proxy.Denier{}, Cleaner: cleaner(t), Origin: support})
	go func() { x.ended <- link.Pump(deaf{nearClient}, nearServer) }()
	x.say(server, `{"jsonrpc":"2.0","method":"notifications/progress"}`)
	x.hears(server, "EOF")
	server.CloseWrite()
	if err := receiveErr(t, x.ended); err == nil || err.Error() != "broken pipe" {
		t.Error(err)
	}
}

func TestABrokenReadEndsBoth(t *testing.T) {
	boom := errors.New("boom")
	for side, broken := range map[string]func(x *talk) *plug{
		"client": func(x *talk) *plug { return x.client }, "server": func(x *talk) *plug { return x.server },
	} {
		x := begin(t, noDeletes)
		broken(x).out.frames <- heard{err: boom}
		if side == "client" {
			x.hears(x.server, "EOF")
			x.server.CloseWrite()
		}
		x.hears(x.client, "EOF")
		if err := receiveErr(t, x.ended); !errors.Is(err, boom) {
			t.Errorf("%s: %v", side, err)
		}
		x.ended <- nil
	}
}

func TestFramesThatCannotBeReadAreNotTheEnd(t *testing.T) {
	for _, err := range []error{transport.ErrTooLong, transport.ErrLineBreak} {
		x := begin(t, noDeletes)
		x.client.out.frames <- heard{err: err}
		if why := failed(t, x.hear(x.client), "null", wire.CodeInvalidRequest); !strings.Contains(why, err.Error()) {
			t.Error(why)
		}
		x.noted("refused", "message of the client", err.Error())
		x.serverHeardNoMore()
		x.server.out.frames <- heard{err: err}
		x.clientHeardNoMore()
		x.noted("refused", "message of the server", err.Error())
	}
}

// The 47 refunds of the README, and the race: parallel calls through pipes cannot get past a limit, however many pipes.
func TestParallelCallsOverStdioCannotRacePastALimit(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, strings.Replace(threeRefunds, "10s", "1h", 1)), nil)
	t.Cleanup(func() {
		g.Close()
		verify(t, disk)
	})
	const links, calls = 4, 16
	var talks []*talk
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range links {
		who := support
		who.Link = fmt.Sprintf("stdio:billing:%d", i)
		x := join(t, disk, g, who)
		talks = append(talks, x)
		for j := range calls {
			wg.Go(func() {
				<-start
				x.say(x.client, toolCall(fmt.Sprint(j), "issue_refund", fmt.Sprintf(`{"amount":%d}`, j)))
			})
		}
	}
	close(start)
	wg.Wait()
	reached, answered := 0, 0
	for _, x := range talks {
		mark := `{"jsonrpc":"2.0","method":"notifications/end"}`
		x.say(x.client, mark)
		heard := 0
		for x.hear(x.server) != mark {
			heard++
		}
		for range calls - heard {
			frame := x.hear(x.client)
			if text, _ := denied(t, frame, gjson.Get(frame, "id").Raw); !strings.Contains(text, "limit 3") {
				t.Error(text)
			}
			answered++
		}
		reached += heard
	}
	if reached != 3 || answered != links*calls-3 {
		t.Errorf("%d of %d calls reached the server, %d were denied", reached, links*calls, answered)
	}
}
