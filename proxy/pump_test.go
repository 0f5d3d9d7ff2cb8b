package proxy_test

import (
	"bytes"
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
