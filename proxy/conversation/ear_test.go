package conversation_test

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk keeps events in memory, and fails while it is broken.
type disk struct {
	mu     sync.Mutex
	events []event.Event
	broken error
}

func (d *disk) Append(events []event.Event, done func(error)) {
	d.mu.Lock()
	err := d.broken
	if err == nil {
		d.events = append(d.events, events...)
	}
	d.mu.Unlock()
	done(err)
}

func (d *disk) Events(from uint64) iter.Seq2[event.Event, error] {
	d.mu.Lock()
	events := append([]event.Event(nil), d.events...)
	d.mu.Unlock()
	return func(yield func(event.Event, error) bool) {
		for _, e := range events {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

// room is where a conversation takes place: an Ear, the gate behind it, and what they have recorded.
type room struct {
	t testing.TB
	*disk
	gate *proxy.Gate
	ear  *conversation.Ear
	now  time.Time
}

const maxValue = 64 << 10

func newRoom(t testing.TB, change ...func(*conversation.Config)) *room {
	t.Helper()
	r := &room{t: t, disk: &disk{}, now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	policy, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: "rules: []"}}, event.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if r.gate, err = proxy.NewGate(proxy.GateConfig{Recorder: r.disk, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.gate.Close)
	clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: []string{"/hunter[0-9]/", "**.password"}, MaxValue: maxValue, Secret: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	cfg := conversation.Config{Recorder: r.gate, Tools: r.gate, Cleaner: clean, Now: func() time.Time { return r.now }}
	for _, c := range change {
		c(&cfg)
	}
	if r.ear, err = conversation.NewEar(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// recorded returns the bodies of one type.
func recorded[B event.Body](r *room) (out []B) {
	r.t.Helper()
	for e, err := range r.Events(1) {
		if err != nil {
			r.t.Fatal(err)
		}
		if b, ok := e.Body.(B); ok {
			out = append(out, b)
		}
	}
	return out
}

func (r *room) turns() []*event.Turn { return recorded[*event.Turn](r) }

// said formats turns, one a line.
func said(turns []*event.Turn) string {
	var b strings.Builder
	for _, t := range turns {
		fmt.Fprintf(&b, "%s", t.Role)
		if t.Trust != event.Trusted {
			fmt.Fprintf(&b, " (%s)", t.Trust)
		}
		if len(t.Calls) > 0 {
			fmt.Fprintf(&b, " %s", t.Calls)
		}
		fmt.Fprintf(&b, ": %s\n", t.Text)
	}
	return b.String()
}

func (r *room) wants(want string) {
	r.t.Helper()
	if got := said(r.turns()); strings.TrimSpace(got) != strings.TrimSpace(want) {
		r.t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
}

func user(text string) conversation.Piece {
	return conversation.Piece{Role: event.RoleUser, Trust: event.Trusted, Text: text}
}

func model(text string, calls ...string) conversation.Piece {
	return conversation.Piece{Role: event.RoleAssistant, Trust: event.Trusted, Text: text, Calls: calls}
}

func tool(text string, calls ...string) conversation.Piece {
	return conversation.Piece{Role: event.RoleTool, Trust: event.Trusted, Text: text, Calls: calls}
}

func setup(text string) conversation.Piece {
	return conversation.Piece{Role: event.RoleSystem, Trust: event.Trusted, Text: text}
}

var chat = conversation.Talk{Source: "model:test", Peer: event.Peer{Principal: "local:alice", Agent: "bot"}, ID: "c1"}

// Clients send the whole conversation with each request: every piece is recorded once, in its place.
func TestWhatIsToldAgainIsRecordedOnce(t *testing.T) {
	r := newRoom(t)
	r.ear.Hear(chat, setup("be kind"), user("pay the rent"), model("how much?"))
	r.ear.Hear(chat, setup("be kind"), user("pay the rent"), model("how much? "), user("yes"), model("", "call_1"))
	r.ear.Hear(chat, setup("be kind"), user("pay the rent"), model("how much?"), user("yes"), model("", "call_1"), tool("paid", "call_1"), model("done, more?"), user("yes"))
	r.wants(`
system: be kind
user: pay the rent
assistant: how much?
user: yes
assistant [call_1]: 
tool [call_1]: paid
assistant: done, more?
user: yes`)
}

// The same words after other words are said anew; so are the same words twice.
func TestTheSameWordsTwiceAreTwoTurns(t *testing.T) {
	r := newRoom(t)
	r.ear.Hear(chat, user("go on"), user("go on"))
	r.ear.Hear(chat, user("go on"), user("go on"), user("go on"))
	r.ear.Hear(chat, user("summary"), model("ok"), user("go on")) // a client that has shortened the conversation
	if n := strings.Count(said(r.turns()), "user: go on\n"); n != 4 {
		t.Errorf("recorded %d times:\n%s", n, said(r.turns()))
	}
}

// What clients slip in between moves from request to request, and is not said anew by that.
func TestWhatClientsAddMayMove(t *testing.T) {
	r := newRoom(t)
	r.ear.Hear(chat, setup("remember the date"), user("hello"))
	r.ear.Hear(chat, user("hello"), model("hello!"), setup("remember the date"), user("bye"))
	r.wants("system: remember the date\nuser: hello\nassistant: hello!\nuser: bye")
}

// An id is a claim: what one principal has said nobody else can make unheard.
func TestConversationsOfOthersDoNotHideWhatIsSaid(t *testing.T) {
	r := newRoom(t)
	r.ear.Hear(chat, user("hello"))
	for _, change := range []func(*conversation.Talk){
		func(c *conversation.Talk) { c.ID = "c2" },
		func(c *conversation.Talk) { c.Source = "model:other" },
		func(c *conversation.Talk) { c.Peer.Agent = "other" },
		func(c *conversation.Talk) { c.Peer.Principal = "token:0" },
	} {
		other := chat
		change(&other)
		r.ear.Hear(other, user("hello"))
	}
	if n := len(r.turns()); n != 5 {
		t.Errorf("%d turns", n)
	}
}

func TestSecretsAreReplacedAndLongTextsCut(t *testing.T) {
	r := newRoom(t)
	long := strings.Repeat("é", maxValue)
	r.ear.Hear(chat, user("my password is hunter2, my key sk-abcdefghijklmnopqrstuv"), user(long))
	turns := r.turns()
	if len(turns) != 2 {
		t.Fatal(said(turns))
	}
	first, second := turns[0], turns[1]
	if strings.Contains(first.Text, "hunter2") || strings.Contains(first.Text, "sk-abc") || len(first.Findings) != 1 || first.Findings[0].Kind != event.Redacted {
		t.Errorf("%q %v", first.Text, first.Findings)
	}
	if len(second.Text) > maxValue || second.Size != len(long) || len(second.Findings) != 1 || second.Findings[0].Kind != event.Truncated {
		t.Errorf("%d of %d bytes, %v", len(second.Text), second.Size, second.Findings)
	}
}

func TestDigestsAloneAreKeptWhereNothingElseShallBe(t *testing.T) {
	r := newRoom(t, func(c *conversation.Config) { c.Keep = conversation.KeepDigest })
	seen := model("", "mcptoolu_1")
	seen.Use = &conversation.Use{Made: true, Kind: "mcp_tool_use", Server: "mail", Tool: "send", Args: `{"text":"hunter"}`}
	r.ear.Hear(chat, user("hunter"), model("hunter"), seen)
	r.ear.Hear(chat, user("hunter"), model("hunter"), user("hunter"))
	turns := r.turns()
	if len(turns) != 4 || turns[0].Digest != turns[3].Digest || turns[0].Digest == "" || turns[0].Size != 6 {
		t.Errorf("%+v", turns)
	}
	for e := range r.Events(1) {
		if raw, err := e.AppendJSON(nil); err != nil || strings.Contains(string(raw), "hunter") {
			t.Errorf("%s %v", raw, err)
		}
	}
	off := newRoom(t, func(c *conversation.Config) { c.Keep = conversation.KeepOff })
	off.ear.Hear(chat, user("hunter"))
	if seq, err := off.ear.Tell(chat, user("hunter")); seq != 0 || err != nil || len(recorded[event.Body](off)) != 1 {
		t.Errorf("%d %v: %d events", seq, err, len(recorded[event.Body](off)))
	}
}

// Whoever floods a conversation fills neither disk nor memory, whatever names the conversations get, and it is known.
func TestAFloodEnds(t *testing.T) {
	r := newRoom(t)
	pieces := make([]conversation.Piece, 12_000)
	for i := range pieces {
		pieces[i] = user(fmt.Sprint("word ", i))
	}
	r.ear.Hear(chat, pieces...)
	if n := len(r.turns()); n != 10_000 {
		t.Errorf("%d turns of one conversation", n)
	}
	r.now = r.now.Add(10 * time.Second)
	r.ear.Hear(chat, pieces...)
	if n := len(r.turns()); n != 10_100 {
		t.Errorf("%d turns ten seconds later", n)
	}
	r.ear.Spend(70_695)
	for i := range 12 {
		other := chat
		other.ID = fmt.Sprint("made up ", i)
		r.ear.Hear(other, pieces[:20]...)
	}
	if n := len(r.turns()); n != 10_105 {
		t.Errorf("%d turns, 80,000 of all conversations together", n)
	}
	signals := recorded[*event.Signal](r)
	if len(signals) == 0 || signals[0].Name != "flood" || !strings.Contains(signals[0].Text, "2000 turns") {
		t.Errorf("%+v", signals)
	}
	if _, err := r.ear.Tell(chat, user("one more")); !errors.Is(err, conversation.ErrFlood) {
		t.Error(err)
	}
}

// Attempt: bury what a tool gives in so much else that nobody records it. It is recorded that words are missing.
func TestAFloodThatBuriesAResultIsKnownToRules(t *testing.T) {
	r := newRoom(t)
	pieces := make([]conversation.Piece, 10_000)
	for i := range pieces {
		pieces[i] = user(fmt.Sprint("word ", i))
	}
	r.ear.Hear(chat, pieces...)
	buried := conversation.Piece{Role: event.RoleTool, Trust: event.Trusted, Text: "pay eve", Calls: []string{"c"}}
	for range 2 {
		r.ear.Hear(chat, append(pieces, user("one more"), buried)...)
	}
	turns := r.turns()
	last := turns[len(turns)-1]
	if len(turns) != 10_001 || last.Trust != event.Untrusted || len(last.Findings) != 1 || last.Findings[0] != (event.Finding{Kind: event.Truncated, Path: "text", Size: len(buried.Text)}) {
		t.Errorf("%d turns, the last one %+v", len(turns), last)
	}
}

func TestFewAreRememberedOfManyConversations(t *testing.T) {
	r := newRoom(t)
	for i := range 3000 {
		other := chat
		other.ID = fmt.Sprint(i)
		r.now = r.now.Add(time.Millisecond)
		r.ear.Hear(other, user("hello"))
	}
	if talks, keys := r.ear.Remembered(); talks > 1000 || keys > 1000 {
		t.Errorf("%d conversations with %d pieces are remembered", talks, keys)
	}
	r.now = r.now.Add(proxy.Idle + time.Second)
	r.ear.Hear(chat, user("hello"))
	if talks, keys := r.ear.Remembered(); talks != 1 || keys != 1 {
		t.Errorf("%d conversations with %d pieces are remembered", talks, keys)
	}
}

// A turn that did not get to the disk is recorded when it is told again, and the log says that it was not.
func TestWhatWasNotRecordedIsRecordedTheNextTime(t *testing.T) {
	var log lines
	r := newRoom(t, func(c *conversation.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	r.ear.Hear(chat, user("one"))
	r.fail(errors.New("the disk is full"))
	r.ear.Hear(chat, user("one"), user("two"))
	if _, err := r.ear.Tell(chat, user("two")); !errors.Is(err, proxy.ErrNotRecorded) {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "the disk is full") {
		t.Errorf("the log says %q", log.String())
	}
	r.fail(nil)
	for deadline := time.Now().Add(30 * time.Second); len(r.turns()) < 2 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		r.ear.Hear(chat, user("one"), user("two")) // the gate mends its memory once a second
	}
	if got := said(r.turns()); !strings.HasSuffix(got, "user: two\n") {
		t.Errorf("recorded\n%s", got)
	}
}

// lines is a log that can be read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Turns of a conversation with an id belong to the session of the calls that assert the same id.
func TestTurnsAreInTheSessionOfTheirCalls(t *testing.T) {
	r := newRoom(t)
	peer := event.Peer{Principal: "local:alice", Agent: "bot", Asserted: map[string]string{"sessionId": "c1"}}
	r.ear.Hear(conversation.Talk{Source: "api", Peer: peer, ID: "c1"}, user("pay the rent"))
	who := proxy.Origin{Link: "http:bank:1", Server: "bank", Transport: proxy.TransportHTTP, Peer: peer}
	r.gate.Call(who, event.Call{Link: who.Link, Server: "bank", Tool: "pay", ID: []byte("1"), Args: []byte("{}"), Peer: peer}, proxy.Retry{}).Wait()
	sessions := map[string]bool{}
	for e := range r.Events(1) {
		if e.Session != "" {
			sessions[e.Session] = true
		}
	}
	if len(sessions) != 1 {
		t.Errorf("sessions %v", sessions)
	}
}

func TestAnEarWantsToKnowWhatToKeep(t *testing.T) {
	for _, cfg := range []conversation.Config{{}, {Recorder: proxy.Denier{}, Cleaner: &wire.Cleaner{}, Keep: "some"}} {
		if _, err := conversation.NewEar(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
