package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// table is conversations beside calls, on one clock.
type table struct {
	*testing.T
	*clock
	disk *manual
	gate *proxy.Gate
}

func newTable(t *testing.T) *table {
	x := &table{T: t, clock: newClock(), disk: &manual{}}
	x.gate = gate(t, x.disk, policy(t, "rules: []"), x.clock)
	return x
}

// restart ends the gate, and goes on with what is on disk. What it knew is what the log says.
func (x *table) restart() {
	x.Helper()
	x.gate.Close()
	if live, folded, whole := x.gate.Memory(); !whole || live != folded {
		x.Errorf("live\n%s\nfolded\n%s", live, folded)
	}
	x.gate = gate(x.T, x.disk, policy(x.T, "rules: []"), x.clock)
}

func asserting(agent string, ids ...string) event.Peer {
	p := event.Peer{Principal: "local:alice", Agent: agent}
	for i := 0; i < len(ids); i += 2 {
		if p.Asserted == nil {
			p.Asserted = map[string]string{}
		}
		p.Asserted[ids[i]] = ids[i+1]
	}
	return p
}

func pay(id, amount string) event.Use {
	return event.Use{ID: id, Server: "bank", Tool: "pay", Args: proxy.ArgsDigest([]byte(`{"amount":` + amount + `}`))}
}

// turn records a piece of a conversation, and returns its Seq.
func (x *table) turn(p event.Peer, turn event.Turn) uint64 {
	x.Helper()
	turn.Peer, turn.Trust = p, event.Trusted
	if turn.Source == "" {
		turn.Source = proxy.HookSource + "test"
	}
	who := proxy.Origin{Link: "hook:" + turn.Conversation, Server: "client", Transport: proxy.TransportHook, Peer: p}
	if err := x.gate.Record(who, 0, &turn).Wait(); err != nil {
		x.Fatal(err)
	}
	x.disk.mu.Lock()
	defer x.disk.mu.Unlock()
	return x.disk.events[len(x.disk.events)-1].Seq
}

func (x *table) announce(p event.Peer, conversation string, uses ...event.Use) uint64 {
	x.Helper()
	return x.turn(p, event.Turn{Role: event.RoleAssistant, Conversation: conversation, Uses: uses})
}

// pay calls over MCP and returns how the call was bound, and in which session it is.
func (x *table) pay(p event.Peer, amount string) (bound, session string) {
	x.Helper()
	who := proxy.Origin{Link: "http:bank:1", Server: "bank", Transport: proxy.TransportHTTP, Peer: p}
	c := event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: json.RawMessage("1"), Args: json.RawMessage(`{"amount":` + amount + `}`), Peer: p}
	tk := x.gate.Call(who, c, proxy.Retry{})
	if err := tk.Wait(); err != nil {
		x.Fatal(err)
	}
	x.disk.mu.Lock()
	defer x.disk.mu.Unlock()
	e := x.disk.events[tk.Seq-1]
	b := e.Body.(*event.Call).Bound
	if b == nil {
		return "nothing", e.Session
	}
	bound = fmt.Sprintf("%s %s", b.By, b.Confidence)
	if b.Turn != 0 {
		bound += fmt.Sprintf(" #%d", b.Turn)
	}
	if len(b.Others) > 0 {
		bound += fmt.Sprint(" or ", b.Others)
	}
	if b.Missing {
		bound += " missing"
	}
	return bound, e.Session
}

func (x *table) pays(p event.Peer, amount, want string) (session string) {
	x.Helper()
	got, session := x.pay(p, amount)
	if got != want {
		x.Errorf("bound %q, want %q", got, want)
	}
	return session
}

func (x *table) signals() (n int) {
	for _, e := range log(x, x.disk) {
		if s, ok := e.Body.(*event.Signal); ok && s.Name == "unannounced" {
			n++
		}
	}
	return n
}

// The id of the tool call is believed first: it binds the one call it is of, and puts it into the conversation's session.
func TestACallIsBoundByTheIdThatWasAnnounced(t *testing.T) {
	for _, restart := range []bool{false, true} {
		x := newTable(t)
		hook := asserting("claude-code", "CLAUDE_CODE_SESSION_ID", "c1")
		said := x.turn(hook, event.Turn{Role: event.RoleUser, Conversation: "c1", Text: "pay 5"})
		told := x.announce(hook, "c1", pay("toolu_1", "5"))
		x.announce(hook, "c1", pay("toolu_2", "5"))
		if restart {
			x.restart()
		}
		session := x.pays(asserting("claude-code", "claudecode/toolUseId", "toolu_1"), "5", fmt.Sprintf("call exact #%d", told))
		if want := log(t, x.disk)[said-1].Session; session != want {
			t.Errorf("the call is in session %s, its conversation in %s", session, want)
		}
		if restart {
			x.restart()
		}
		// An id is good for one call, and for the call that was announced.
		x.pays(asserting("claude-code", "claudecode/toolUseId", "toolu_1"), "5", fmt.Sprintf("call ambiguous #%d missing", told))
		if n := x.signals(); n != 1 {
			t.Errorf("%d signals", n)
		}
		x.gate.Close()
		verify(t, x.disk)
	}
}

func TestAnIdOfAnotherToolOrPrincipalBindsNothing(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	hook := asserting("claude-code")
	x.announce(hook, "c1", event.Use{ID: "toolu_1", Server: "bank", Tool: "balance", Args: proxy.ArgsDigest([]byte(`{"amount":5}`))})
	x.announce(hook, "c1", event.Use{ID: "toolu_2", Server: "mail", Tool: "pay", Args: proxy.ArgsDigest([]byte(`{"amount":5}`))})
	for _, id := range []string{"toolu_1", "toolu_2", "toolu_3"} {
		x.pays(asserting("claude-code", "claudecode/toolUseId", id), "5", "none none missing")
	}
	x.announce(hook, "c1", pay("toolu_4", "5"))
	mallory := asserting("claude-code", "claudecode/toolUseId", "toolu_4")
	mallory.Principal = "token:0badcafe"
	x.pays(mallory, "5", "nothing")
}

// Without ids, server, tool and arguments tell, however these are written; the one that was announced first comes first.
func TestACallWithoutIdsIsBoundByItsArguments(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	hook := asserting("gemini-cli")
	first := x.announce(hook, "c1", pay("", "5"))
	second := x.announce(hook, "c1", pay("", "5"))
	x.pays(hook, " 5.0", fmt.Sprintf("arguments likely #%d", first))
	x.pays(hook, "6", "none none missing")
	x.pays(hook, "5", fmt.Sprintf("arguments likely #%d", second))
	x.pays(hook, "5", "none none missing")
	x.announce(hook, "c1", pay("", "7"))
	x.pays(asserting("another agent"), "7", "nothing")
	x.add(31 * time.Second)
	x.pays(hook, "7", "none none missing")
}

// Where two conversations have announced the same call, neither of them vouches for it, and it stays in its own session.
func TestAnAmbiguousCallBelongsToNoConversation(t *testing.T) {
	for _, restart := range []bool{false, true} {
		x := newTable(t)
		a := x.announce(asserting("codex", "sessionId", "c1"), "c1", pay("", "5"))
		b := x.announce(asserting("codex", "sessionId", "c2"), "c2", pay("", "5"))
		if restart {
			x.restart()
		}
		own := x.pays(asserting("codex"), "5", fmt.Sprintf("arguments ambiguous #%d or [%d]", a, b))
		if restart {
			x.restart()
		}
		if again := x.pays(asserting("codex"), "5", fmt.Sprintf("arguments ambiguous #%d or [%d]", b, a)); again != own {
			t.Errorf("sessions %s and %s", own, again)
		}
		for _, e := range log(t, x.disk) {
			if _, turn := e.Body.(*event.Turn); turn && e.Session == own {
				t.Errorf("the calls are in the session of #%d", e.Seq)
			}
		}
		// What the caller says of its conversation settles it.
		x.announce(asserting("codex", "sessionId", "c1"), "c1", pay("", "9"))
		c := x.announce(asserting("codex", "sessionId", "c2"), "c2", pay("", "9"))
		x.pays(asserting("codex", "sessionId", "c2"), "9", fmt.Sprintf("session likely #%d", c))
		x.gate.Close()
		verify(t, x.disk)
	}
}

// Sub-agents share a connection and a conversation, but not what they have read.
func TestSubagentsAreToldApart(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	one, two := asserting("claude-code", proxy.SubagentID, "a1"), asserting("claude-code", proxy.SubagentID, "a2")
	a := x.announce(one, "c1", pay("toolu_1", "5"))
	b := x.announce(two, "c1", pay("toolu_2", "5"))
	x.pays(asserting("claude-code", "claudecode/toolUseId", "toolu_2"), "5", fmt.Sprintf("call exact #%d", b))
	if call := log(t, x.disk)[len(log(t, x.disk))-2].Body.(*event.Call); call.Bound.Subagent != "a2" {
		t.Errorf("%+v", call.Bound)
	}
	c := x.announce(two, "c1", pay("", "5"))
	x.pays(asserting("claude-code"), "5", fmt.Sprintf("arguments ambiguous #%d or [%d]", a, c))
}

func TestACallIsBoundByItemTurnAndSession(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	source := func(turn event.Turn, ids ...string) uint64 {
		turn.Role, turn.Source = event.RoleAssistant, "api"
		return x.turn(asserting("agent", ids...), turn)
	}
	u := pay("", "5")
	u.Item = "fc_1"
	item := source(event.Turn{Uses: []event.Use{u}})
	x.pays(asserting("agent", "itemId", "fc_1"), "99", fmt.Sprintf("item exact #%d", item))
	turn := source(event.Turn{ID: "t1", Uses: []event.Use{pay("", "6")}})
	x.pays(asserting("agent", "turnId", "t1"), "6", fmt.Sprintf("turn likely #%d", turn))
	said := x.turn(asserting("agent"), event.Turn{Role: event.RoleUser, Source: "api", Conversation: "c9", Text: "pay"})
	x.pays(asserting("agent", "sessionId", "c9"), "8", fmt.Sprintf("session likely #%d", said))
}

// Who cannot be believed cannot make anything exact.
func TestAnUntrustedAnnouncementIsNeverExact(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	turn := &event.Turn{Role: event.RoleAssistant, Source: proxy.HookSource + "test", Trust: event.Untrusted, Uses: []event.Use{pay("toolu_1", "5")}, Peer: asserting("claude-code")}
	if err := x.gate.Record(proxy.Origin{Link: "hook:1", Server: "client", Transport: proxy.TransportHook, Peer: turn.Peer}, 0, turn).Wait(); err != nil {
		t.Fatal(err)
	}
	if got, _ := x.pay(asserting("claude-code", "claudecode/toolUseId", "toolu_1"), "5"); !strings.HasPrefix(got, "call likely") {
		t.Error(got)
	}
}

// A flood of announcements pushes the oldest ones out; memory stays bounded, and what is pushed out is unbound.
func TestFloodsOfTurnsAreBounded(t *testing.T) {
	x := newTable(t)
	hook := asserting("claude-code")
	x.announce(hook, "c0", pay("first", "5"))
	var flood []event.Use
	for i := range 5000 {
		flood = append(flood, event.Use{Server: "s", Tool: "t", Args: fmt.Sprint(i)})
	}
	for i := range 1100 {
		x.turn(asserting(fmt.Sprint("agent", i)), event.Turn{Role: event.RoleUser, Conversation: fmt.Sprint("c", i), Text: "hello"})
	}
	x.announce(hook, "c1", flood...)
	x.pays(asserting("claude-code", "claudecode/toolUseId", "first"), "5", "none none missing")
	x.restart()
	if uses, talks, hooked := x.gate.Bindings(); uses > 4096 || talks > 1000 || hooked > 1000 {
		t.Errorf("%d announced calls, %d conversations, %d agents", uses, talks, hooked)
	}
	x.gate.Close()
}

// What an agent whose hooks were heard does without them is a signal; hooks that are silent for a day are gone.
func TestACallThatHooksDidNotAnnounceIsASignal(t *testing.T) {
	x := newTable(t)
	defer x.gate.Close()
	x.pays(asserting("claude-code"), "5", "nothing")
	x.turn(asserting("claude-code"), event.Turn{Role: event.RoleUser, Conversation: "c1", Text: "hello"})
	x.pays(asserting("claude-code"), "5", "none none missing")
	x.pays(asserting("another"), "5", "nothing")
	x.add(25 * time.Hour)
	x.pays(asserting("claude-code"), "5", "nothing")
	if n := x.signals(); n != 1 {
		t.Errorf("%d signals", n)
	}
	if all := kinds(log(t, x.disk)); !slices.Contains(strings.Fields(all), "signal") {
		t.Error(all)
	}
}

// Attempt: an agent floods calls past its hooks, so that the history is full of signals; or in the shadow of one signal, so
// that a rule does not see the next call.
func TestAFloodOfUnannouncedCallsIsASignalASecondAndNoneIsHiddenFromRules(t *testing.T) {
	x := newTable(t)
	x.gate.Close()
	waits := policy(t, `rules: [{name: stray, sequence: [{on: "signal unannounced"}, {on: "bank/pay"}], by: [session, server], within: 1s, do: deny}]`)
	x.gate = gate(t, x.disk, waits, x.clock)
	x.turn(asserting("bot"), event.Turn{Role: event.RoleUser, Conversation: "c1", Text: "hello"})
	const calls = 50
	for range calls {
		x.pays(asserting("bot"), "5", "none none missing")
		x.add(100 * time.Millisecond)
	}
	missing, denied := 0, 0
	var last string
	for _, e := range log(t, x.disk) {
		if _, ok := e.Body.(*event.Call); ok {
			missing++
		}
		if v, ok := e.Body.(*event.Verdict); ok && v.Action == event.Deny {
			denied++
		}
		if s, ok := e.Body.(*event.Signal); ok {
			last = s.Text
		}
	}
	if missing != calls || denied != calls || x.signals() != 5 || !strings.Contains(last, "(and 9 more before it)") {
		t.Errorf("%d calls, %d denied, %d signals, the last one: %s", missing, denied, x.signals(), last)
	}
	x.gate.Close()
	verify(t, x.disk)
}

// What is announced survives in a snapshot as it does in the log.
func TestAnnouncementsAreInSnapshots(t *testing.T) {
	db, c := storetest.Open(t, store.Config{}), newClock()
	x := &table{T: t, clock: c, disk: &manual{}, gate: derived(t, db, policy(t, "rules: []"), c, 1, "b", io.Discard)}
	p := asserting("codex", "sessionId", "c1")
	turn := func(conversation string, u event.Use) {
		t.Helper()
		turn := &event.Turn{Role: event.RoleAssistant, Source: proxy.HookSource + "test", Conversation: conversation, ID: "t", Uses: []event.Use{u}, Peer: p}
		if err := x.gate.Record(proxy.Origin{Link: "hook:1", Server: "client", Transport: proxy.TransportHook, Peer: p}, 0, turn).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	turn("c1", pay("call_1", "5"))
	turn("c2", pay("", "5"))
	x.gate.Close()
	if seq, _, err := db.Snapshot(); seq == 0 || err != nil {
		t.Fatal("no snapshot", err)
	}
	x.gate = derived(t, db, policy(t, "rules: []"), c, 1, "b", io.Discard)
	defer x.gate.Close()
	if uses, talks, hooked := x.gate.Bindings(); uses != 2 || talks != 2 || hooked != 1 {
		t.Errorf("%d announced calls, %d conversations, %d agents", uses, talks, hooked)
	}
	if live, folded, whole := x.gate.Memory(); !whole || live != folded {
		t.Errorf("live\n%s\nfolded\n%s", live, folded)
	}
}

// BenchmarkBind is a call that 4,096 announcements do not fit, and one of which nothing is announced.
func BenchmarkBind(b *testing.B) {
	for _, n := range []int{0, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bind := proxy.Binding(n)
			b.ReportAllocs()
			for b.Loop() {
				bind()
			}
		})
	}
}
