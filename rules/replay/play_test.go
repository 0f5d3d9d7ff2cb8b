package replay_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// recorder makes a log as it would be live.
type recorder struct {
	t     testing.TB
	state *rules.State
	log   []event.Event
}

func (r *recorder) add(session string, cause uint64, body event.Body) event.Event {
	n := len(r.log)
	e := event.Event{V: event.Version, Seq: uint64(n + 1), At: begin.Add(time.Duration(n) * time.Second), Session: session, Cause: cause, Body: body}
	if r.state != nil {
		r.state.Apply(e)
	}
	r.log = append(r.log, e)
	return e
}

func (r *recorder) load(text string) {
	r.t.Helper()
	p := candidate(r.t, text, linux)
	s, err := replay.Fold(p, history(r.log), 1<<62)
	if err != nil {
		r.t.Fatal(err)
	}
	r.state = s
	r.add("", 0, p.Loaded())
}

func (r *recorder) call(session, tool string) event.Event {
	c := &event.Call{Server: "a", Tool: tool, Args: json.RawMessage("{}")}
	v := r.state.Decide(event.Event{Seq: uint64(len(r.log) + 1), At: begin.Add(time.Duration(len(r.log)) * time.Second), Session: session, Body: c})
	e := r.add(session, 0, c)
	r.add(session, e.Seq, &v)
	return e
}

// played tells a session from its first event to its last: of each event the windows and steps of its rules, and after ";"
// those of events before.
func played(t testing.TB, log []event.Event, session string) (out []string) {
	t.Helper()
	first, last := uint64(0), uint64(0)
	for _, e := range log {
		if e.Session == session {
			if last = e.Seq; first == 0 {
				first = e.Seq
			}
		}
	}
	s, err := replay.Before(history(log), first)
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range replay.Play(s, history(log), session, first, last) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(m.Event.Body.Kind(), told(m.Standings), " ;", told(m.Earlier)))
	}
	return out
}

func told(all []rules.Standing) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, " %s", s.Cover.Rule)
		switch {
		case s.Window != nil:
			fmt.Fprintf(&b, " %s>%s/%s", s.Window.Now, s.Window.With, s.Window.Limit)
		case s.Order != nil:
			fmt.Fprintf(&b, " %d/%d", s.Order.Matched, len(s.Order.Steps)-1)
		}
		if s.Fires {
			b.WriteString("!")
		}
		if s.Near {
			b.WriteString("~")
		}
	}
	return b.String()
}

// What other sessions did before it and meanwhile is in the windows that a session sees, under the policy of the moment.
func TestPlayShowsWindowsAsTheyWereAmongAllSessions(t *testing.T) {
	r := &recorder{t: t}
	r.load(`rules:
  - {name: all, on: "a/*", rate: {max: 4, per: 1h}, do: deny}
  - {name: leak, sequence: [{on: a/read}, {on: a/send}], by: session, within: 1h, do: hold}`)
	r.call("s1", "read")
	first := r.call("s2", "read")
	r.call("s1", "read")
	r.add("s2", first.Seq, &event.Result{Server: "a", Tool: "read", Outcome: event.OutcomeOK, Content: json.RawMessage("{}")})
	r.add("s2", 0, &event.Turn{Role: event.RoleUser, Trust: event.Trusted, Text: "go on", Size: 5})
	r.load("rules: [{name: all, on: \"a/*\", rate: {max: 2, per: 1h}, do: log}]")
	r.call("s2", "send")
	got := strings.Join(played(t, r.log, "s2"), "\n")
	want := `call all 1>2/4 leak 0/1 ;
verdict all 2>2/4 leak 1/1~ ;
result all 3>3/4 leak 1/1~ ;
turn ; all 3>3/4 leak 1/1
call all 3>4/2! ;
verdict all 4>4/2! ;`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestPlayCanBeginAnywhereAndStopsWhenItIsTold(t *testing.T) {
	log := record(t, 6)
	s, err := replay.Before(history(log), 6)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m, err := range replay.Play(s, history(log), "s1", 6, 9) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.Event.Seq, told(m.Standings)))
		if m.Event.Seq == 8 {
			break
		}
	}
	if want := []string{"6 r 2>3/2!", "7 r 2>3/2!", "8 r 2>3/2!"}; fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) || len(got) != 3 {
		t.Errorf("%q", got)
	}
}

func TestPlayRefusesWhatIsNoLog(t *testing.T) {
	log := record(t, 2)
	if _, err := replay.Before(history(log[1:]), 4); err == nil || !strings.Contains(err.Error(), "no policy was loaded before event 4") {
		t.Error(err)
	}
	log[0].Body = &event.Loaded{Digest: "0123456789ab"}
	if _, err := replay.Before(history(log), 4); err == nil || !strings.Contains(err.Error(), "its digest is") {
		t.Error(err)
	}
}
