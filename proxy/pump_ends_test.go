package proxy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

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
	if early := link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, "x", proxy.Any); len(early) > 0 {
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
	x.say(client, toolCall("1", "read", "{}"), toolCall("2", "delete_order", "{}"), toolCall("3", "read", "{}"), toolCall("4", "delete_order", "{}"))
	denied(t, x.hear(client), "2")
	denied(t, x.hear(client), "4") // 3 was let through before
	x.clientHeardNoMore()          // it says something yet
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
