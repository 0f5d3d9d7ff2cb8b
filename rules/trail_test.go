package rules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Invariant 8: what is remembered of all sessions together is bounded. A flood in many sessions costs the oldest of them what
// they remember, and there a value that is found nowhere counts as coming from outside; what is too old is forgotten.
func TestAFloodOfResultsMakesSessionsStricterAndNoMore(t *testing.T) {
	p, err := compile(`rules: [{name: outside, on: "*/*", where: "has(args.to) && origin(args.to).untrusted", do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	s := rules.NewState(p)
	at, seq := event.At(begin), uint64(0)
	apply := func(session string, cause uint64, body event.Body) uint64 {
		seq++
		s.Apply(event.Event{V: event.Version, Seq: seq, At: at, Session: session, Cause: cause, Body: body})
		return seq
	}
	text, err := json.Marshal(strings.Repeat("so it goes ", 60_000))
	if err != nil {
		t.Fatal(err)
	}
	flood := json.RawMessage(`{"content":[{"type":"text","text":` + string(text) + `}]}`)
	asks := func(session string) event.Action {
		return s.Decide(event.Event{V: event.Version, Seq: seq + 1, At: at, Session: session, Body: &event.Call{
			Server: "a", Tool: "b", Args: json.RawMessage(`{"to":"eve-4711@evil.test"}`),
		}}).Action
	}
	apply("quiet", 0, &event.Turn{Role: event.RoleUser, Trust: event.Trusted, Text: "hello"})
	if got := asks("quiet"); got != event.Allow {
		t.Fatalf("a value that the model made up: %v", got)
	}
	const sessions = 40
	for i := range sessions {
		id := fmt.Sprint("s", i)
		call := apply(id, 0, &event.Call{Server: "a", Tool: "b", Args: json.RawMessage("{}")})
		apply(id, call, &event.Verdict{Action: event.Allow})
		apply(id, call, &event.Result{Server: "a", Tool: "b", Outcome: event.OutcomeOK, Content: flood})
	}
	if got := asks("quiet"); got != event.Hold {
		t.Errorf("of a session that has lost what it remembered: %v", got)
	}
	if got := asks(fmt.Sprint("s", sessions-1)); got != event.Allow {
		t.Errorf("of the session that was used last: %v", got)
	}
	data, err := s.Snapshot(at)
	if err != nil || len(data) > 20<<20 {
		t.Errorf("a snapshot has %d bytes, %v", len(data), err)
	}
	at = at.Add(25 * time.Hour)
	if got := asks("quiet"); got != event.Allow {
		t.Errorf("a day later: %v", got)
	}
}

// What a session has no room for is not read for nothing: who brings it is told so, until there is room again.
func TestWhatIsNotRememberedIsNotRead(t *testing.T) {
	p, err := compile(`rules: [{name: outside, on: "*/*", where: "has(args.to) && origin(args.to).untrusted", do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	s, at := rules.NewState(p), event.At(begin)
	result := &event.Result{Server: "a", Tool: "b", Outcome: event.OutcomeOK, Content: json.RawMessage(`{"content":[{"type":"text","text":"` + strings.Repeat("so it goes ", 9_000) + `"}]}`)}
	for i := range 9 {
		if s.Forgets("s1", len(result.Content), at) {
			t.Errorf("result %d finds no room", i)
		}
		s.Apply(event.Event{V: event.Version, Seq: uint64(i + 1), At: at, Session: "s1", Body: result, Read: p.Read(result)})
	}
	s.Apply(event.Event{V: event.Version, Seq: 10, At: at, Session: "s1", Body: result})
	if !s.Forgets("s1", len(result.Content), at) || s.Forgets("s1", 100, at) || s.Forgets("s2", len(result.Content), at) {
		t.Error("a session that is full has room, or another one has none")
	}
	if s.Forgets("s1", len(result.Content), at.Add(13*time.Hour)) {
		t.Error("there is no room the next day")
	}
	if none, err := compile(`rules: [{name: r, on: "*/*", rate: {max: 1, per: 1m}}]`); err != nil || none.Read(result) != nil || !rules.NewState(none).Forgets("s1", 1, at) {
		t.Error("a policy that does not ask where values came from has texts read", err)
	}
}
