package transcript_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// A call that passed by an exception becomes a test that has the exception, whose own call is long gone; and so does the call
// at which it was made, and one after it was revoked.
func TestAnExceptedCallBecomesATestThatPasses(t *testing.T) {
	const policy = "rules:\n  - {name: ask, on: bank/pay, do: hold}\n"
	p, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: policy}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	var h history
	s, at := rules.NewState(p), event.At(transcript.Begin)
	add := func(session string, cause uint64, body event.Body) uint64 {
		h.append(s, event.Event{At: at, Session: session, Cause: cause, Body: body})
		return uint64(len(h))
	}
	call := func(session string) uint64 {
		at = at.Add(time.Hour)
		return add(session, 0, &event.Call{
			Server: "bank", Tool: "pay", ID: json.RawMessage("1"), Args: json.RawMessage(`{"to":"A = \"b\"","amount":5}`), Peer: transcript.Anybody(),
		}) - 1
	}
	add("", 0, p.Loaded())
	first := call("s1")
	x, err := s.Propose(first, []string{"to"})
	if err != nil {
		t.Fatal(err)
	}
	x.Who, x.Note, x.Expires = "local:ann", "a {\"note\"}\nof two lines", at.Add(24*time.Hour)
	at = at.Add(time.Second)
	exception := add("", first, x)
	end := event.Event{Seq: exception + 1, At: at, Session: "s1", Cause: first, Body: &event.Review{Who: "local:ann", Approve: true}}
	v := s.Decide(end)
	add("s1", first, end.Body)
	v.After = end.Seq
	add("s1", first, &v)
	passed := call("s2")
	add("", exception, &event.Revoked{Who: "local:bob"})
	held := call("s3")
	for seq, want := range map[uint64]string{first: "local:ann approved it; excepted from ask by local:ann", passed: "allow: excepted from ask by local:ann until", held: "hold ask: "} {
		text, err := transcript.Record(h.events, seq)
		if err != nil || !strings.Contains(said(text), want) {
			t.Fatalf("#%d: %v\n%s", seq, err, text)
		}
		passes(t, seq, text)
	}
}
