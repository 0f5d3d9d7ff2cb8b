//go:build unix

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// heirs is the pipes of a shim, which several processes serve one after the other.
type heirs struct {
	t              testing.TB
	disk           *manual
	gate           *proxy.Gate
	pipes          *transport.Pipework
	client, server far
	leave          func()
}

// far is one far end.
type far struct {
	io.Writer
	lines *bufio.Reader
}

func newHeirs(t *testing.T, policyText string) *heirs {
	s := &heirs{t: t, disk: &manual{}}
	s.gate = gate(t, s.disk, policy(t, policyText), nil)
	side := func() (far, transport.Ends) {
		in, say, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		hear, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []*os.File{in, say, hear, out} {
			f.SetDeadline(time.Now().Add(30 * time.Second))
			t.Cleanup(func() { f.Close() })
		}
		return far{say, bufio.NewReader(hear)}, transport.Ends{In: in, Out: out}
	}
	var client, server transport.Ends
	s.client, client = side()
	s.server, server = side()
	var err error
	if s.pipes, err = transport.NewPipework(client, server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pipes.Close)
	t.Cleanup(func() {
		s.leave()
		s.gate.Close()
		verify(t, s.disk)
	})
	s.next()
	return s
}

// next lets another process go on.
func (s *heirs) next() *proxy.Link {
	s.t.Helper()
	if s.leave != nil {
		s.leave()
	}
	client, server, err := s.pipes.Sides(func() { s.t.Error("the client has left") })
	if err != nil {
		s.t.Fatal(err)
	}
	who := support
	who.Protocol, who.Peer.Agent = "", ""
	link := proxy.NewLink(proxy.LinkConfig{Judge: s.gate, Cleaner: cleaner(s.t), Origin: who, Ledger: client.Ledger()})
	ended := make(chan error, 1)
	go func() {
		ended <- link.Pump(transport.NewLines(client, wire.MaxSize), transport.NewLines(server, wire.MaxSize))
	}()
	s.leave = func() {
		link.Leave("umpire stopped")
		client.Drop()
		client.Close()
		server.Close()
		receiveErr(s.t, ended) //nolint:errcheck // that it can write nothing more is no fault
	}
	return link
}

func (s *heirs) say(from far, text ...string) {
	s.t.Helper()
	if _, err := io.WriteString(from, strings.Join(text, "\n")); err != nil {
		s.t.Fatal(err)
	}
}

// hears reads lines until all that are wanted have come, in any order, and nothing else.
func (s *heirs) hears(at far, want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		line, err := at.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%v after %q", err, got)
		}
		got = append(got, strings.TrimSpace(line))
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		s.t.Errorf("heard\n%s\n\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// restarted is what a client is told whose request was under way.
func restarted(id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"Umpire was restarted before the answer came; whether the server has done what was asked is not known"}}`,
		id, wire.CodeUnavailable)
}

// A process that serves pipes ends. The next one answers what is unanswered, once and with an error; forwards nothing
// twice; and goes on in the middle of a line.
func TestWhatAFormerProcessOwedIsAnswered(t *testing.T) {
	s := newHeirs(t, noDeletes)
	const hello = `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"Claude","version":"2"}}}`
	ping := `{"jsonrpc":"2.0","id":"p","method":"ping"}`
	cancelled := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}`
	s.say(s.client, hello, toolCall("1", "read", "{}"), ping, toolCall("2", "read", "{}"), toolCall("4", "read", "{}"), cancelled, "")
	s.hears(s.server, hello, toolCall("1", "read", "{}"), ping, toolCall("2", "read", "{}"), toolCall("4", "read", "{}"), cancelled)
	s.say(s.server, result(`"i"`, `{"protocolVersion":"2025-11-25"}`), result("2", okResult), "")
	s.hears(s.client, result(`"i"`, `{"protocolVersion":"2025-11-25"}`), result("2", okResult))
	s.say(s.client, toolCall("3", "delete_order", "{}"), "")
	line, err := s.client.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	denied(t, strings.TrimSpace(line), "3")
	whole := toolCall("5", "read", `{"path":"x"}`)
	s.say(s.client, "", "\n"+whole[:30])
	s.say(s.server, result("1", okResult)[:20]) // its answer is on the way

	link := s.next()
	s.hears(s.client, restarted("1"), restarted(`"p"`))
	if who := link.Origin(); who.Peer.Agent != "Claude" || who.Peer.Client.Version != "2" || who.Protocol != "2025-11-25" {
		t.Errorf("the next process takes the client for %+v", who)
	}
	s.say(s.client, whole[30:], "")
	s.hears(s.server, whole)
	s.say(s.server, result("1", okResult)[20:], result("5", okResult), "")
	s.hears(s.client, result("5", okResult)) // and not the one to 1 as well

	s.next() // nothing is owed
	s.say(s.client, toolCall("6", "read", "{}"), "")
	s.hears(s.server, toolCall("6", "read", "{}"))
	s.next()
	s.next()
	s.hears(s.client, restarted("6")) // once
	s.say(s.client, toolCall("7", "read", "{}"), "")
	s.hears(s.server, toolCall("7", "read", "{}"))
	s.say(s.server, result("7", okResult), "")
	s.hears(s.client, result("7", okResult))

	var outcomes []string
	for e, err := range s.disk.Events(1) {
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Body.(*event.Result); ok {
			outcomes = append(outcomes, fmt.Sprint(r.Outcome))
		}
	}
	if got, want := fmt.Sprint(outcomes), "[ok lost lost ok lost ok]"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
}

// Attempt: use an id twice, so that the answer to the second passes for the answer to the first.
func TestARefusedRequestPaysForNoOther(t *testing.T) {
	s := newHeirs(t, noDeletes)
	s.say(s.client, toolCall("1", "read", "{}"), toolCall("1", "delete_order", "{}"), "")
	s.hears(s.server, toolCall("1", "read", "{}"))
	s.hears(s.client, wireError("1", wire.CodeInvalidRequest, "a request with this id has not been answered yet"))
	s.next()
	s.hears(s.client, restarted("1"))
}

// watched is a connection to a client that looks at the ledger before it says something.
type watched struct {
	*transport.Lines
	look func()
}

// Write implements proxy.Conn.
func (w watched) Write(frames ...[]byte) error {
	w.look()
	return w.Lines.Write(frames...)
}

// A process can be killed right after it has answered: it must be written down by then that nothing but that was asked.
func TestWhatIsAnsweredIsNoLongerInHand(t *testing.T) {
	s := newHeirs(t, noDeletes)
	s.leave()
	client, server, err := s.pipes.Sides(func() {})
	if err != nil {
		t.Fatal(err)
	}
	var inHand [][]byte
	near := watched{Lines: transport.NewLines(client, wire.MaxSize), look: func() {
		if last := client.Ledger().InHand(); last != nil {
			inHand = append(inHand, last)
		}
	}}
	link := proxy.NewLink(proxy.LinkConfig{Judge: s.gate, Cleaner: cleaner(t), Origin: support, Ledger: client.Ledger()})
	ended := make(chan error, 1)
	go func() { ended <- link.Pump(near, transport.NewLines(server, wire.MaxSize)) }()
	s.say(s.client, `{"jsonrpc":"2.0","id":1,"method":"x"`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":[]}`, toolCall("3", "delete_order", "{}"), "")
	for range 3 {
		if line, err := s.client.lines.ReadString('\n'); err != nil {
			t.Fatalf("%s %v", line, err)
		}
	}
	client.Drop()
	client.Close()
	server.Close()
	receiveErr(t, ended) //nolint:errcheck // it was ended
	if len(inHand) > 0 {
		t.Errorf("in hand while it is answered: %q", inHand)
	}
	s.leave = func() {} // it has
	s.next()
	s.say(s.client, toolCall("4", "read", "{}"), "")
	s.hears(s.server, toolCall("4", "read", "{}"))
	s.say(s.server, result("4", okResult), "")
	s.hears(s.client, result("4", okResult))
}

// ending is a connection to a client that is given up right after something is written to it.
type ending struct {
	*transport.Lines
	end func()
}

// Write implements proxy.Conn.
func (e ending) Write(frames ...[]byte) error {
	err := e.Lines.Write(frames...)
	e.end()
	return err
}

// A process that gives the pipes up while it answers notes first that it has: the next one does not answer again.
func TestWhatIsAnsweredAtTheEndIsNotAnsweredAgain(t *testing.T) {
	for name, tc := range map[string]struct{ before, asks, says string }{
		"a result":                         {asks: toolCall("1", "read", "{}"), says: result("1", okResult)},
		"a denial":                         {asks: toolCall("1", "delete_order", "{}")},
		"a message that cannot be read":    {asks: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}`},
		"what the process before had owed": {before: toolCall("1", "read", "{}")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newHeirs(t, noDeletes)
			if tc.before != "" {
				s.say(s.client, tc.before, "")
				s.hears(s.server, tc.before)
			}
			s.leave()
			s.leave = func() {} // it has
			client, server, err := s.pipes.Sides(func() {})
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{})
			near := ending{Lines: transport.NewLines(client, wire.MaxSize), end: sync.OnceFunc(func() {
				go func() {
					client.Drop()
					client.Close()
					server.Close()
					close(closed)
				}()
				select {
				case <-closed:
					t.Error("the ledger is closed, and does not say that this was answered")
				case <-time.After(20 * time.Millisecond): // it waits
				}
			})}
			link := proxy.NewLink(proxy.LinkConfig{Judge: s.gate, Cleaner: cleaner(t), Origin: support, Ledger: client.Ledger()})
			ended := make(chan error, 1)
			go func() { ended <- link.Pump(near, transport.NewLines(server, wire.MaxSize)) }()
			if tc.asks != "" {
				s.say(s.client, tc.asks, "")
			}
			if tc.says != "" {
				s.hears(s.server, tc.asks)
				s.say(s.server, tc.says, "")
			}
			if line, err := s.client.lines.ReadString('\n'); err != nil || gjson.Get(line, "id").Raw != "1" {
				t.Errorf("%s %v", line, err)
			}
			receive(t, closed, "the end of the pipes")
			receiveErr(t, ended) //nolint:errcheck // it was ended

			s.next()
			s.say(s.client, toolCall("2", "read", "{}"), "")
			s.hears(s.server, toolCall("2", "read", "{}"))
			s.say(s.server, result("2", okResult), "")
			s.hears(s.client, result("2", okResult)) // and nothing before it
		})
	}
}

// What could not be written to a client, because this process has given the pipes up, is not taken for answered.
func TestWhatIsNotWrittenIsOwed(t *testing.T) {
	s := newHeirs(t, noDeletes)
	s.leave()
	client, unused, err := s.pipes.Sides(func() {})
	if err != nil {
		t.Fatal(err)
	}
	server, near := cable()
	link := proxy.NewLink(proxy.LinkConfig{Judge: s.gate, Cleaner: cleaner(t), Origin: support, Ledger: client.Ledger()})
	ended := make(chan error, 1)
	go func() { ended <- link.Pump(transport.NewLines(client, wire.MaxSize), near) }()
	s.say(s.client, toolCall("1", "read", "{}"), toolCall("2", "read", "{}"), toolCall("3", "read", "{}"), "")
	for range 3 {
		if _, err := server.Read(); err != nil {
			t.Fatal(err)
		}
	}
	client.Drop()
	client.Close()
	for id := range 3 {
		if err := server.Write([]byte(result(fmt.Sprint(id+1), okResult))); err != nil {
			t.Error(err)
		}
	}
	server.Close()
	receiveErr(t, ended) //nolint:errcheck // it was ended
	unused.Close()
	s.leave = func() {} // it has
	s.next()
	s.hears(s.client, restarted("1"), restarted("2"), restarted("3"))
}

func wireError(id string, code int, message string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, message)
}

// A client that reads nothing holds up neither the next process nor its end.
func TestAClientThatReadsNothingHoldsUpNoRestart(t *testing.T) {
	s := newHeirs(t, noDeletes)
	long := strings.Repeat("x", 60<<10)
	for i := range 8 {
		s.say(s.client, toolCall(fmt.Sprint(i), "read", "{}"), "")
		s.hears(s.server, toolCall(fmt.Sprint(i), "read", "{}"))
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	answers.Go(func() {
		for i := range 8 {
			s.say(s.server, result(fmt.Sprint(i), `{"content":[{"type":"text","text":"`+long+`"}]}`), "")
		}
	})
	s.next()
	s.next()
	for id := map[string]bool{}; len(id) < 8; { // each is answered, the one that was cut off by the end of its process, too
		line, err := s.client.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if gjson.Valid(line) {
			id[gjson.Get(line, "id").Raw] = true
		}
	}
}

// Attempt: leave a ledger behind that ends the next process, or has it send what nobody judges.
func TestALedgerThatNoProcessLeavesBehind(t *testing.T) {
	ledger, err := transport.NewLedger()
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	for _, id := range []string{`"`, `"\`, "{}", `1,"params":{}`, "1 ", "\n", "-", "1e99999", "7"} {
		ledger.Owe(id)
	}
	server, nearServer := cable()
	client, nearClient := cable()
	link := proxy.NewLink(proxy.LinkConfig{Judge: proxy.Denier{}, Cleaner: cleaner(t), Ledger: ledger})
	ended := make(chan error, 1)
	go func() { ended <- link.Pump(nearClient, nearServer) }()
	if got, err := client.Read(); err != nil || string(got) != restarted("7") {
		t.Errorf("%s %v", got, err)
	}
	server.Close()
	if got, err := client.Read(); err == nil {
		t.Errorf("the client heard %s", got)
	}
	client.Close()
	receiveErr(t, ended) //nolint:errcheck // it has ended
	for _, greeting := range []string{"", "[]", "[" + toolCall("1", "delete_order", "{}") + "]", toolCall("1", "delete_order", "{}"), `{"jsonrpc":"2.0","method":"initialize"}`} {
		server, near := cable()
		if err := proxy.Rejoin(t.Context(), near, []byte(greeting)); err == nil {
			t.Errorf("%s begins a conversation", greeting)
		}
		near.Close()
		if got, err := server.Read(); err == nil {
			t.Errorf("the server heard %s", got)
		}
		server.Close()
	}
}

// A server that is elsewhere does not know of the conversation: it is begun anew, and the client hears nothing of it.
func TestAConversationIsBegunAnew(t *testing.T) {
	greeting := []byte(`{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
	for name, tc := range map[string]struct {
		says []string
		want string // of the error
	}{
		"it does":             {says: []string{`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`, "no JSON", result("7", "{}")}},
		"it does not want to": {says: []string{wireError("7", -32000, "go away")}, want: "go away"},
		"it ends":             {want: "EOF"},
	} {
		server, near := cable()
		done := make(chan error, 1)
		go func() { done <- proxy.Rejoin(t.Context(), near, greeting) }()
		if got, err := server.Read(); err != nil || string(got) != string(greeting) {
			t.Errorf("%s: %s %v", name, got, err)
		}
		for _, text := range tc.says {
			if err := server.Write([]byte(text)); err != nil {
				t.Error(err)
			}
		}
		if tc.want == "" {
			if got, err := server.Read(); err != nil || string(got) != `{"jsonrpc":"2.0","method":"notifications/initialized"}` {
				t.Errorf("%s: %s %v", name, got, err)
			}
		}
		if tc.says == nil {
			server.Close()
		}
		err := <-done
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
		near.Close()
	}
}
