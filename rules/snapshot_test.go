package rules_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/sequence"
	"github.com/umpire-dev/umpire/rules/snapshot"
)

// everyKind is a policy whose State holds something of every kind after everyEvent.
const everyKind = `
rules:
  - {name: sum, on: a/x, rate: {sum: args.n, max: 100, per: 1h, by: session}, do: deny}
  - {name: values, on: a/x, rate: {distinct: args.k, max: 9, per: 1h}, do: deny}
  - {name: declared, on: a/x, shape: declared, do: log}
  - {name: person, on: a/y, do: hold}
  - name: steps
    sequence: [{name: s, on: "result a/x", where: "has(args.k)"}, {name: n, on: "signal *"}, {on: b/z, where: "flows(s.result, args.k)"}]
    within: 1h
    do: deny
`

// everyEvent leaves calls counted, waiting, held, remembered and judged.
func everyEvent() []event.Event {
	var out []event.Event
	add := func(cause uint64, body event.Body) uint64 {
		seq := uint64(len(out) + 1)
		out = append(out, event.Event{V: event.Version, Seq: seq, At: event.At(begin).Add(time.Duration(seq) * time.Second), Session: "s1", Cause: cause, Body: body})
		return seq
	}
	call := func(tool string, action event.Action) uint64 {
		seq := add(0, &event.Call{Server: "a", Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(`{"n":1.50,"k":"p"}`), Peer: event.Peer{Agent: "m"}})
		add(seq, &event.Verdict{Action: action, Rule: "person"})
		return seq
	}
	add(0, &event.Catalog{Server: "a", Tools: []event.Tool{{Name: "x", InputSchema: json.RawMessage(`{"type":"object"}`), Pin: "1"}}, Complete: true})
	add(0, &event.Catalog{Server: "b", Tools: []event.Tool{{Name: "x", Pin: "1"}, {Name: "х", Skeleton: "x", Pin: "1", Doubts: []event.Doubt{{Kind: event.Twin, Text: "a/x"}}}}})
	add(0, &event.Catalog{Server: "b", Tools: []event.Tool{{Name: "x", Pin: "2", Doubts: []event.Doubt{{Kind: event.Changed}}}}})
	add(0, &event.Accepted{Server: "b", Tools: []event.Pin{{Name: "x", Pin: "2"}}})
	add(0, &event.Catalog{Server: "b", Tools: []event.Tool{{Name: "x", Pin: "3", Doubts: []event.Doubt{{Kind: event.Changed, Text: "title"}}}}})
	for range 3 {
		seq := call("x", event.Allow)
		add(seq, &event.Result{Server: "a", Tool: "x", Outcome: event.OutcomeOK, Content: json.RawMessage(`{"k":"pqr123"}`)})
	}
	call("x", event.Allow)
	call("x", event.Hold)
	add(call("y", event.Hold), &event.Exception{
		Who: "local:ann", Principal: "local:alice", Agent: "m", Server: "a", Tool: "y", Rules: []event.Ruling{{Name: "person", Definition: "d"}},
		With: []event.Argument{{Path: "args.k", Value: json.RawMessage(`"p"`)}}, Expires: event.At(begin).Add(24 * time.Hour),
	})
	add(0, &event.Signal{Source: "wire", Name: "n"})
	add(0, &event.Call{Server: "a", Tool: "x", ID: json.RawMessage("2"), Args: json.RawMessage(`{"n":2}`)})
	return out
}

func everyState(t testing.TB) (*rules.State, event.Time) {
	t.Helper()
	p, err := compile(everyKind)
	if err != nil {
		t.Fatal(err)
	}
	s := rules.NewState(p)
	var at event.Time
	for _, e := range everyEvent() {
		s.Apply(e)
		at = e.At
	}
	return s, at
}

func written(t testing.TB, s *rules.State, at event.Time) []byte {
	t.Helper()
	data, err := s.Snapshot(at)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestASnapshotIsRestoredToTheSameBytes(t *testing.T) {
	s, at := everyState(t)
	data := written(t, s, at)
	for _, empty := range []string{"{}, null", "[]]]"} { // something of every kind is there
		if strings.Contains(snapshot.Text(data), empty) {
			t.Errorf("%q in %s", empty, snapshot.Text(data))
		}
	}
	restored, err := rules.RestoreState(s.Policy(), data)
	if err != nil {
		t.Fatal(err)
	}
	if again := written(t, restored, at); !bytes.Equal(again, data) {
		t.Errorf("%s\n%s", snapshot.Text(data), snapshot.Text(again))
	}
	if later := written(t, s, at.Add(100*time.Hour)); len(later) >= len(data) {
		t.Errorf("%d bytes, and %d when everything has left its window", len(data), len(later))
	}
}

func TestASnapshotOfAnotherPolicyIsRefused(t *testing.T) {
	s, at := everyState(t)
	other, err := compile(everyKind + "\n# the same rules\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.RestoreState(other, written(t, s, at)); !errors.Is(err, rules.ErrSnapshot) {
		t.Error(err)
	}
}

// Invariant 8: that a window had no room for an event is remembered as long as it matters, through a snapshot, too.
func TestASnapshotKeepsThatASequenceCannotTell(t *testing.T) {
	p, err := compile("rules: [{name: s, sequence: [{on: a/x}, {on: b/y}], by: args.k, within: 1h, do: deny}]")
	if err != nil {
		t.Fatal(err)
	}
	s, seq, at := rules.NewState(p), uint64(0), event.At(begin)
	call := func(tool, key string) event.Event {
		seq += 2
		server, name, _ := strings.Cut(tool, "/")
		return event.Event{Seq: seq, At: at, Session: "s", Body: &event.Call{Server: server, Tool: name, Args: json.RawMessage(fmt.Sprintf(`{"k":%q}`, key))}}
	}
	pass := func(key string) {
		e := call("a/x", key)
		s.Apply(e)
		s.Apply(event.Event{Seq: seq + 1, At: at, Cause: seq, Body: &event.Verdict{Action: event.Allow}})
	}
	for range sequence.MaxEntries {
		pass("k")
	}
	at = at.Add(time.Minute)
	pass("k") // has no room
	asked := func(key string, after time.Duration) (verdicts [2]event.Action) {
		restored, err := rules.RestoreState(p, written(t, s, at))
		if err != nil {
			t.Fatal(err)
		}
		e := call("b/y", key)
		e.At = e.At.Add(after)
		return [2]event.Action{s.Decide(e).Action, restored.Decide(e).Action}
	}
	for after, want := range map[time.Duration]event.Action{0: event.Hold, time.Hour - time.Minute: event.Hold, time.Hour - 1: event.Hold, time.Hour: event.Allow} {
		if got := asked("k", after); got != [2]event.Action{want, want} {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	for i := seq / 2; i < sequence.MaxTotal; i++ {
		pass(fmt.Sprint(i / 1000))
	}
	pass("new") // nobody has room
	if got := asked("other", 0); got != [2]event.Action{event.Hold, event.Hold} {
		t.Error(got)
	}
}

// What a reset has forgotten takes no room: a sequence that is ended again and again never becomes unable to tell.
func TestWhatUntilHasEndedTakesNoRoom(t *testing.T) {
	p, err := compile("rules: [{name: s, sequence: [{on: a/x}, {on: b/y}], within: 1h, until: {on: c/end}, do: deny}]")
	if err != nil {
		t.Fatal(err)
	}
	s, seq := rules.NewState(p), uint64(0)
	call := func(server, tool string) event.Verdict {
		seq += 2
		e := event.Event{Seq: seq, At: event.At(begin), Session: "s", Body: &event.Call{Server: server, Tool: tool, Args: json.RawMessage("{}")}}
		v := s.Decide(e)
		s.Apply(e)
		s.Apply(event.Event{Seq: seq + 1, At: e.At, Cause: seq, Body: &v})
		return v
	}
	for range sequence.MaxTotal/1000 + 1 {
		for range 1000 {
			call("a", "x")
		}
		call("c", "end")
	}
	if v := call("b", "y"); v.Action != event.Allow {
		t.Errorf("%+v", v)
	}
}

// resealed puts the right checksum before a body.
func resealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(sum[:], body...)
}

// Damaged bytes are an error; whoever forges the checksum, too, gets no panic.
func FuzzRestoreState(f *testing.F) {
	s, at := everyState(f)
	data := written(f, s, at)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(data[sha256.Size:])
	for i := sha256.Size; i < len(data); i += 7 {
		bad := bytes.Clone(data[sha256.Size:])
		bad[i-sha256.Size] ^= 1 << (i % 8)
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := rules.RestoreState(s.Policy(), text); (err == nil) != bytes.Equal(text, data) {
			t.Fatalf("%v of %x", err, text)
		}
		forged, err := rules.RestoreState(s.Policy(), resealed(text))
		if err != nil {
			return
		}
		for _, e := range everyEvent() {
			e.Seq, e.At = e.Seq+100, at.Add(time.Minute)
			if _, ok := e.Body.(*event.Call); ok {
				forged.Decide(e)
			}
			forged.Apply(e)
		}
		written(t, forged, at.Add(time.Minute))
	})
}

// BenchmarkSnapshot writes down and restores a State that counts 100,000 calls and remembers 10,000 steps.
func BenchmarkSnapshot(b *testing.B) {
	p, err := compile(manyRules(20) + `  - {name: looked, sequence: [{name: p, on: shop/pay, where: "p.ok"}, {on: mail/send}], by: session, within: 1m}` + "\n")
	if err != nil {
		b.Fatal(err)
	}
	s := rules.NewState(p)
	var at event.Time
	for e := range history(s, 100_000) {
		s.Apply(e)
		at = e.At
	}
	data := written(b, s, at)
	b.Run("write", func(b *testing.B) {
		b.ReportMetric(float64(len(data)), "bytes")
		for b.Loop() {
			written(b, s, at)
		}
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, err := rules.RestoreState(p, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
