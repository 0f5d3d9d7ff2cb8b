package replay_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

var begin = event.At(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))

// record makes the log of n calls, a minute apart, under a limit of two in ten minutes.
func record(t testing.TB, n int) []event.Event {
	t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "p", Text: "rules: [{name: r, on: a/b, rate: {max: 2, per: 10m}, do: deny}]"}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	s := rules.NewState(p)
	var log []event.Event
	add := func(e event.Event) {
		e.V, e.Seq = event.Version, uint64(len(log)+1)
		s.Apply(e)
		log = append(log, e)
	}
	add(event.Event{At: begin, Body: p.Loaded()})
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Minute)
		c := event.Event{V: 1, Seq: uint64(len(log) + 1), At: at, Session: "s1", Body: &event.Call{Server: "a", Tool: "b", ID: json.RawMessage("1"), Args: json.RawMessage("{}")}}
		v := s.Decide(c)
		add(c)
		add(event.Event{At: at, Session: "s1", Cause: c.Seq, Body: &v})
	}
	return log
}

func history(log []event.Event) replay.History {
	return func(from uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for _, e := range log {
				if e.Seq >= from && !yield(e, nil) {
					return
				}
			}
		}
	}
}

func TestVerifyFindsWhatWasChanged(t *testing.T) {
	log := record(t, 5)
	r, err := replay.Verify(history(log), 0)
	if err != nil || r.Verdicts != 5 || r.Same != 5 || r.Policies != 1 || r.Events != len(log) {
		t.Fatalf("%+v %v", r, err)
	}
	for name, change := range map[string]func(*event.Verdict){
		"action":   func(v *event.Verdict) { v.Action = event.Allow },
		"why":      func(v *event.Verdict) { v.Why += "!" },
		"evidence": func(v *event.Verdict) { v.Evidence = nil },
	} {
		log := record(t, 5)
		v := *log[6].Body.(*event.Verdict) // the third call, which is denied
		change(&v)
		log[6].Body = &v
		r, err := replay.Verify(history(log), 0)
		if err != nil || len(r.Differences) == 0 || r.Differences[0].Call.Seq != 6 {
			t.Errorf("a changed %s is not found: %+v %v", name, r, err)
		}
	}
}

func TestVerifyLeavesOutWhatRetentionMadeUnknowable(t *testing.T) {
	log := record(t, 30)
	kept := append([]event.Event{log[0]}, log[9:]...) // the first four calls are gone; what was denied for them is not
	pruned := log[8].At
	r, err := replay.Verify(history(kept), pruned)
	if err != nil || r.Unverified != 15 || r.Verdicts != 11 || r.Same != 11 {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := replay.Verify(history(kept), 0); err != nil || len(r.Differences) == 0 {
		t.Errorf("the gap does not matter: %+v %v", r, err)
	}
}

func TestVerifyRefusesWhatIsNoLog(t *testing.T) {
	log := record(t, 2)
	for want, broken := range map[string][]event.Event{
		"before any policy":  log[1:],
		"does not follow":    {log[0], log[2]},
		"the policy of":      {{V: 1, Seq: 1, Body: &event.Loaded{Sources: []event.Source{{Text: "rules: 3"}}}}},
		"its digest is":      {{V: 1, Seq: 1, Body: &event.Loaded{Digest: "0123456789ab"}}},
		"cannot be read now": nil,
	} {
		h := history(broken)
		if broken == nil {
			h = func(uint64) iter.Seq2[event.Event, error] {
				return func(yield func(event.Event, error) bool) { yield(event.Event{}, fmt.Errorf("cannot be read now")) }
			}
		}
		if _, err := replay.Verify(h, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func ExampleVerify() {
	log := record(&testing.T{}, 5)
	r, err := replay.Verify(history(log), 0)
	fmt.Println(r.Verdicts, r.Same, err)
	// Output: 5 5 <nil>
}
