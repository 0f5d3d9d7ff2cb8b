package interchange_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/rules/event"
)

var (
	noon  = event.At(time.Date(2026, 3, 1, 11, 0, 0, 5e6, time.UTC))
	paris = time.FixedZone("", 3600)
)

// recorded is a history of a call that passes, one that is denied, one that is held and approved, one that is still on hold, and
// one that nobody could judge.
func recorded(tool, why string) interchange.History {
	var out []event.Event
	add := func(cause uint64, b event.Body) uint64 {
		n := uint64(len(out) + 1)
		out = append(out, event.Event{V: event.Version, Seq: n, At: noon.Add(time.Duration(n) * time.Second), Session: "s1", Cause: cause, Body: b})
		return n
	}
	call := func(seen bool, action event.Action, rule string) uint64 {
		n := add(0, &event.Call{
			Server: "billing", Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(`{"note":"=1+1"}`), Seen: seen,
			Peer: event.Peer{Principal: "local:ann", Agent: "support"},
		})
		if !seen {
			add(n, &event.Verdict{Action: action, Rule: rule, Why: why, Policy: "p", Evidence: []uint64{1, 2}})
		}
		return n
	}
	result := func(of uint64, o event.Outcome) {
		add(of, &event.Result{Server: "billing", Tool: tool, Outcome: o, Code: 7})
	}
	one := call(false, event.Allow, "")
	call(false, event.Deny, "burst")
	held := call(false, event.Hold, "big")
	result(one, event.OutcomeStarted)
	result(one, event.OutcomeOK)
	review := add(held, &event.Review{Who: "local:ann", Approve: true, Server: "billing", Tool: tool})
	add(held, &event.Verdict{Action: event.Allow, Why: "local:ann approved it", Policy: "p", After: review})
	result(held, event.OutcomeFailed)
	call(false, event.Hold, "big")
	call(true, event.Allow, "")
	return past(out)
}

// past is a history of these events.
func past(events []event.Event) interchange.History {
	return func(from uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for _, e := range events[from-1:] {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func every(event.Event) bool { return true }

func TestCSVHasOneCallALine(t *testing.T) {
	var out bytes.Buffer
	if err := interchange.CSV(&out, recorded("pay", "it is so"), every, paris); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(rows))
	for _, r := range rows[1:] {
		got = append(got, strings.Join(append(slices.Clone(r[:2]), r[8:]...), "|"))
	}
	want := []string{
		"1|2026-03-01T12:00:01.005+01:00|allow|allow||it is so|ok|2026-03-01T12:00:08.005+01:00",
		"3|2026-03-01T12:00:03.005+01:00|deny|deny|burst|it is so||",
		"5|2026-03-01T12:00:05.005+01:00|hold|allow|big|local:ann approved it|failed|2026-03-01T12:00:11.005+01:00",
		"12|2026-03-01T12:00:12.005+01:00|hold|hold|big|it is so||",
		"14|2026-03-01T12:00:14.005+01:00|seen|seen||||",
	}
	if !slices.Equal(rows[0], interchange.Columns) || !slices.Equal(got, want) {
		t.Errorf("%q\n%s\nwant\n%s", rows[0], strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a tool, an agent or an argument says cannot become a formula, a line or a cell of its own.
func TestCSVHasNoFormulas(t *testing.T) {
	for _, text := range []string{
		"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1+1", "\t=1+1", "\r=1+1", "\n=1+1", "\u200b=1+1", "=1+1", "\u00a0=1",
		`a","=1+1`, "a\r\n=1+1", "a\n=1+1", "\x1b[2J",
	} {
		var out bytes.Buffer
		if err := interchange.CSV(&out, recorded(text, text), every, paris); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != 6 || bytes.Contains(out.Bytes(), []byte("\x1b")) {
			t.Errorf("%q: %d lines\n%q", text, n, out.Bytes())
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			for _, cell := range row {
				if c := strings.TrimSpace(cell); c != "" && strings.ContainsRune("=+-@=", []rune(c)[0]) {
					t.Errorf("%q: a cell is %q", text, cell)
				}
			}
		}
	}
}
