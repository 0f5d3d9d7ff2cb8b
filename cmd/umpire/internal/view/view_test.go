package view_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

// hostile is what an agent, a server or a model may call itself: it ends the line, colours what follows, turns it
// around, and hides in it.
const hostile = "a\nb\rc\x1b[31md\u202ee\u200bf\u009b2Jg\x07h\x00i\u2028j\ufeffk"

func TestTextIsOneLineAndHidesNothing(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                 "plain",
		"ünïcode 漢字 é":                          "ünïcode 漢字 é",
		"a\tb":                                  "a b",
		"two\nlines":                            `two\nlines`,
		"\x1b[31mred":                           `\u001b[31mred`,
		"abc\u202exe":                           `abc\u202exe`,
		"\u009b2J":                              `\u009b2J`,
		"bad \xff":                              "bad \ufffd",
		"Việt נִקּוּד":                          "Việt נִקּוּד",
		"a" + strings.Repeat("\u0300", 6) + "b": "a\u0300\u0300\u0300\u0300" + `\u0300\u0300` + "b",
	} {
		if got := view.Text(in, 0); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := view.Text("漢字漢字", 3); got != "漢字漢…" {
		t.Errorf("%q", got)
	}
}

// everything is one event of each kind, with hostile text wherever text can come from elsewhere.
func everything(t *testing.T) []event.Event {
	t.Helper()
	text, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	raw := json.RawMessage(strings.NewReplacer(`\u2028`, "\u2028").Replace(string(text))) // JSON can hold most of it unescaped
	peer := event.Peer{Principal: "local:alice", Agent: hostile, Client: event.Client{Name: hostile, Version: hostile}}
	bodies := []event.Body{
		&event.Loaded{Digest: "d", Sources: []event.Source{{Name: hostile}}},
		&event.Opened{Link: "l", Server: "billing", Transport: "http", Protocol: hostile, Peer: peer},
		&event.Catalog{Server: "billing", Tools: []event.Tool{{Name: hostile}}},
		&event.Call{
			Server: "billing", Tool: hostile, Args: json.RawMessage(`{"a":` + string(raw) + `}`), Peer: peer, Findings: []event.Finding{{Kind: event.Redacted, Path: hostile}},
			Bound: &event.Bound{By: event.ByCall, Confidence: event.Confidence(hostile), Turn: 9, Others: []uint64{1}, Subagent: hostile, Missing: true},
		},
		&event.Verdict{
			Action: event.Deny, Rule: hostile, Why: hostile, Hint: hostile, Policy: "p", RetryMS: 1,
			Also: []event.Match{{Action: event.Deny, Rule: hostile, Why: hostile, Observed: true}},
		},
		&event.Result{Server: "billing", Tool: hostile, Outcome: event.OutcomeFailed, Text: hostile, Content: raw},
		&event.Result{Server: "billing", Tool: hostile, Outcome: event.OutcomeFailed, Content: json.RawMessage(`[` + strings.Repeat(string(raw)+",", 20) + `0]`)},
		&event.Signal{Source: "wire", Name: hostile, Text: hostile},
		&event.Closed{Link: "l", Server: "billing", Reason: hostile},
		&event.Review{Server: "billing", Tool: hostile, Who: hostile, Note: hostile},
		&event.Verdict{Action: event.Deny, Rule: hostile, Why: hostile, After: 10},
		&event.Expired{Server: "billing", Tool: hostile, Reason: hostile},
		&event.Verdict{Action: event.Deny, Rule: hostile, Why: hostile, After: 12},
		&event.Turn{Role: event.Role(hostile), Source: hostile, Trust: event.Trusted, Text: hostile, Peer: peer},
		&event.Turn{Role: event.RoleAssistant, Source: hostile, Uses: []event.Use{{Server: hostile, Tool: hostile}}, Peer: peer},
	}
	events := make([]event.Event, len(bodies))
	for i, b := range bodies {
		events[i] = event.Event{V: event.Version, Seq: uint64(i + 1), At: event.At(time.Now()), Session: "s1", Body: b}
	}
	for _, i := range []int{4, 5, 6, 9, 10, 11, 12} {
		events[i].Cause = 4
	}
	return events
}

func TestNothingThatIsShownCanPlayTricksOnTheReader(t *testing.T) {
	events := everything(t)
	var out bytes.Buffer
	p := view.New(&out)
	timeline := view.Timeline{Printer: p, Now: time.Now(), Session: true}
	for _, e := range events {
		timeline.Event(e)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 13 { // a call, or the end of its hold, and its verdict are one line, and so is each further rule
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
	for i := range events[5:7] {
		p.Call(view.Call{Call: events[3], Verdict: events[4], Result: &events[5+i], Evidence: events[3:4], Prompt: &events[13], Words: &events[13], Next: &events[14]}, time.Now())
	}
	for _, i := range []int{9, 11} {
		p.Call(view.Call{Call: events[3], Verdict: events[4], End: &events[i], Settled: &events[i+1]}, time.Now())
	}
	if p.Err() != nil {
		t.Error(p.Err())
	}
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U is shown as it is:\n%q", r, out.String())
		}
	}
	if n := strings.Count(out.String(), `a\nb\u000dc`); n < 15 {
		t.Errorf("only %d texts are shown whole:\n%s", n, out.String())
	}
}

func TestATimeOfAnotherDayHasItsDate(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 5e6, time.Local)
	if got := view.Time(event.At(noon), noon.Add(time.Hour)); got != "12:00:00.005" {
		t.Error(got)
	}
	for _, now := range []time.Time{noon.AddDate(0, 0, 1), noon.AddDate(1, 0, 0)} {
		if got := view.Time(event.At(noon), now); got != "2026-11-23 12:00:00" {
			t.Error(got)
		}
	}
}

func TestColumnsAreAsWideAsTheirWidestCell(t *testing.T) {
	var out bytes.Buffer
	p := view.New(&out)
	p.Table([][]string{{"A", "LONG", "C"}, {"漢字", "x", "last"}, {"a", "y", ""}})
	want := "A     LONG  C\n漢字  x     last\na     y\n"
	if out.String() != want || p.Err() != nil {
		t.Errorf("%v\n%q, want\n%q", p.Err(), out.String(), want)
	}
}
