package event_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// every has one event of each kind, with every field set.
var every = []event.Event{
	{Body: &event.Opened{Link: "l", Server: "billing", Transport: "http", Protocol: "2025-11-25", Peer: peer}},
	{Body: &event.Loaded{Digest: "d", Sources: []event.Source{{Name: "n", Text: "t"}}, Env: event.Env{OS: "linux", Home: "/home/alice"}}},
	{Body: &event.Catalog{Server: "billing", Tools: []event.Tool{{
		Name: "t", Title: "T", Description: "d", InputSchema: json.RawMessage(`{"type":"object"}`), OutputSchema: json.RawMessage(`{}`), Annotations: json.RawMessage(`{}`),
		More: json.RawMessage(`{"x":1}`), Long: 1, Pin: "d", Skeleton: "s", Doubts: []event.Doubt{{Kind: event.Hidden, Path: "title", Text: "U+202E"}},
	}}, Complete: true}},
	{Body: &event.Accepted{Who: "local:alice", Server: "billing", Tools: []event.Pin{{Name: "t", Pin: "d"}}}},
	{Body: &event.Promoted{Who: "local:alice", Digest: "d", Name: "baseline.json", Baseline: json.RawMessage(`{"umpire_baseline":1}`)}},
	{Body: &event.Exception{
		Who: "local:alice", Note: "n", Rules: []event.Ruling{{Name: "r", Definition: "d"}}, Principal: "local:bob", Agent: "bot", Workspace: "/w",
		Server: "billing", Tool: "issue_refund", Args: "d", With: []event.Argument{{Path: "args.amount", Value: json.RawMessage(`1.10`)}},
		Expires: event.At(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)),
	}},
	{Body: &event.Revoked{Who: "local:alice", Note: "n"}},
	{Body: &event.Call{
		Link: "l", Server: "billing", Tool: "issue_refund", ID: json.RawMessage(`"<a>"`), Args: json.RawMessage(`{"amount":1.10}`), Size: 15,
		Peer: peer, Retry: 3, Seen: true, Findings: []event.Finding{{Kind: event.Redacted, Path: "args.password", Size: 7}},
	}},
	{Body: &event.Verdict{
		Action: event.Log, Rule: "r", Why: "w", Evidence: []uint64{1, 2}, Hint: "h", RetryMS: 7, Policy: "p", After: 4,
		Also: []event.Match{{Action: event.Deny, Rule: "o", Why: "w", Evidence: []uint64{1}, Observed: true, Excepted: true, Exception: 3}},
	}},
	{Body: &event.Review{
		Who: "local:alice", Approve: true, Note: "n", Server: "billing", Tool: "issue_refund", Args: "d", Policy: "p",
		Expires: event.At(time.Date(2026, 11, 23, 8, 5, 0, 0, time.UTC)),
	}},
	{Body: &event.Expired{Server: "billing", Tool: "issue_refund", Reason: "r"}},
	{Body: &event.Result{
		Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeError, Code: -32602, Text: "t", Content: json.RawMessage(`{}`), Size: 2,
		Root: 3, Task: "d", Seen: true, Findings: []event.Finding{{Kind: event.Truncated, Path: "result", Size: 7}},
	}},
	{Body: &event.Signal{Source: "wire", Name: "refused", Link: "l", Server: "billing", Text: "t"}},
	{Body: &event.Turn{
		Role: event.RoleUser, Source: "hook:claude-code", Trust: event.Trusted, Text: "pay <it>", Size: 8, Digest: "d", Conversation: "c", ID: "t",
		Calls: []string{"toolu_1"}, Repeats: 7, Peer: peer, Findings: []event.Finding{{Kind: event.Redacted, Path: "text", Size: 7}},
	}},
	{Body: &event.Closed{Link: "l", Server: "billing", Reason: "r"}},
}

var peer = event.Peer{
	Principal: "local:alice", Agent: "bot", Client: event.Client{Name: "bot", Version: "1"}, Workspace: "/w", Process: "bot[1]",
	Asserted: map[string]string{"threadId": "x"},
}

func TestEncodeDecode(t *testing.T) {
	for i, e := range every {
		e.V, e.Seq, e.At, e.Session, e.Cause = event.Version, uint64(i+2), event.At(time.Date(2026, 11, 23, 8, 0, 0, 123456789, time.UTC)), "s1", uint64(i+1)
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"`+e.Body.Kind()+`":{`) {
			t.Errorf("body of %s does not stand under its kind: %s", e.Body.Kind(), text)
		}
		var got event.Event
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("decoded\n%+v, want\n%+v", got, e)
		}
	}
}

func TestEncodeKeepsTheClientsCharacters(t *testing.T) {
	e := event.Event{V: 1, Seq: 1, Body: &event.Call{ID: json.RawMessage(`1`), Args: json.RawMessage(`{"html":"<b>&</b>"}`)}}
	text, err := e.MarshalJSON()
	if err != nil || !strings.Contains(string(text), `<b>&</b>`) {
		t.Errorf("%s %v", text, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`{"v":1,"seq":1,"at":"2026-11-23T08:00:00Z"}`, "exactly one body"},
		{`{"v":1,"seq":1,"at":"2026-11-23T08:00:00Z","closed":{},"signal":{}}`, "exactly one body"},
		{`{"v":2,"seq":1,"at":"2026-11-23T08:00:00Z","closed":{}}`, "version 2"},
		{`{"seq":1,"at":"2026-11-23T08:00:00Z","closed":{}}`, "version 0"},
		{`{"v":1,"seq":1,"at":"yesterday","closed":{}}`, "RFC 3339"},
		{`{"v":1,"seq":1,"at":"9999-11-23T08:00:00Z","closed":{}}`, "out of range"},
		{`{"v":1,"seq":1,"at":"2026-11-23T08:00:00Z","verdict":{"action":"permit"}}`, `unknown action "permit"`},
		{`{"v":1,`, "unexpected end"},
	} {
		var e event.Event
		if err := json.Unmarshal([]byte(tc.text), &e); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
	}
}

// Invariant: the zero Action denies.
func TestZeroActionDenies(t *testing.T) {
	var v event.Verdict
	if v.Action.Passes() || v.Action != event.Deny {
		t.Errorf("the zero verdict is %s", v.Action)
	}
	if event.Action(99).Passes() {
		t.Error("an action that does not exist passes")
	}
}

// What is decoded and encoded again is the same event.
func FuzzDecode(f *testing.F) {
	for i, e := range every {
		e.V, e.Seq = event.Version, uint64(i+1)
		text, err := e.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e event.Event
		if e.UnmarshalJSON(text) != nil {
			return
		}
		again, err := e.MarshalJSON()
		if err != nil {
			t.Fatalf("%q decodes but does not encode: %v", text, err)
		}
		var e2 event.Event
		if err := e2.UnmarshalJSON(again); err != nil {
			t.Fatalf("%q encodes to %q, which does not decode: %v", text, again, err)
		}
		third, err := e2.MarshalJSON()
		if err != nil || string(third) != string(again) {
			t.Fatalf("%q, then %q (%v)", again, third, err)
		}
	})
}

func ExampleEvent() {
	e := event.Event{V: event.Version, Seq: 41, At: 1_795_000_000_000_000_000, Session: "s12", Cause: 40, Body: &event.Verdict{
		Action: event.Deny, Rule: "refund-burst", Why: "4th call of billing/issue_refund in 10s by session s12 (limit 3), after #31 #34 #37", Policy: "eaee5fcb",
	}}
	text, _ := e.MarshalJSON()
	fmt.Println(string(text))
	// Output: {"v":1,"seq":41,"at":"2026-11-18T11:06:40Z","session":"s12","cause":40,"verdict":{"action":"deny","rule":"refund-burst","why":"4th call of billing/issue_refund in 10s by session s12 (limit 3), after #31 #34 #37","policy":"eaee5fcb"}}
}
