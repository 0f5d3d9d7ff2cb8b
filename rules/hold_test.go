package rules_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// An approval that was of another call, in whatever it says, approves nothing.
func TestAnApprovalIsOfOneCall(t *testing.T) {
	p, err := compile(`rules: [{name: ask, on: "*/*", do: hold}]`)
	if err != nil {
		t.Fatal(err)
	}
	at := event.At(begin)
	args := json.RawMessage(`{"amount":30}`)
	sum := sha256.Sum256(args)
	good := event.Review{
		Who: "local:ann", Approve: true, Server: "a", Tool: "x", Args: hex.EncodeToString(sum[:]), Policy: p.Digest(), Expires: at.Add(rules.HoldFor),
	}
	for _, tc := range []struct {
		why    string
		change func(e *event.Event, b *event.Review)
	}{
		{"", func(*event.Event, *event.Review) {}},
		{"of another session", func(e *event.Event, _ *event.Review) { e.Session = "s2" }},
		{"to another server", func(_ *event.Event, b *event.Review) { b.Server = "b" }},
		{"to another tool", func(_ *event.Event, b *event.Review) { b.Tool = "y" }},
		{"with other arguments", func(_ *event.Event, b *event.Review) { b.Args = strings.Repeat("0", 64) }},
		{"under another policy", func(_ *event.Event, b *event.Review) { b.Policy = strings.Repeat("0", 64) }},
		{"whose hold is over", func(e *event.Event, _ *event.Review) { e.At = at.Add(rules.HoldFor) }},
		{"is not on hold", func(e *event.Event, _ *event.Review) { e.Cause = 9 }},
	} {
		s := rules.NewState(p)
		call := event.Event{V: 1, Seq: 1, At: at, Session: "s1", Body: &event.Call{Server: "a", Tool: "x", Args: args}}
		v := s.Decide(call)
		s.Apply(call)
		s.Apply(event.Event{V: 1, Seq: 2, At: at, Session: "s1", Cause: 1, Body: &v})
		b := good
		e := event.Event{V: 1, Seq: 3, At: at.Add(time.Second), Session: "s1", Cause: 1, Body: &b}
		tc.change(&e, &b)
		v = s.Decide(e)
		if v.Action.Passes() != (tc.why == "") || !strings.Contains(v.Why, tc.why) {
			t.Errorf("%s: %+v", tc.why, v)
		}
		s.Apply(e)
		s.Apply(event.Event{V: 1, Seq: 4, At: e.At, Session: "s1", Cause: e.Cause, Body: &v})
		// And it is good once.
		again := event.Event{V: 1, Seq: 5, At: at.Add(2 * time.Second), Session: "s1", Cause: 1, Body: &good}
		if v := s.Decide(again); v.Action.Passes() != (e.Cause != 1) {
			t.Errorf("%s: once more: %+v", tc.why, v)
		}
	}
}
