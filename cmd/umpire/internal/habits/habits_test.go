package habits_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/habits"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// log is a history in memory.
type log struct {
	t      *testing.T
	events []event.Event
	at     time.Time
}

func (l *log) Raw(from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for _, e := range l.events {
			if e.Seq < from {
				continue
			}
			if text, err := e.MarshalJSON(); !yield(text, err) {
				return
			}
		}
	}
}

func (l *log) Last() uint64 { return uint64(len(l.events)) }

func (l *log) History(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range l.events[from-1:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *log) add(session string, cause uint64, body event.Body) event.Event {
	e := event.Event{V: event.Version, Seq: l.Last() + 1, At: event.At(l.at), Session: session, Cause: cause, Body: body}
	l.events = append(l.events, e)
	return e
}

func (l *log) call(session, tool string) event.Event {
	l.at = l.at.Add(5 * time.Second)
	args := json.RawMessage(`{"x":{"promoted":{"a":1},"loaded":{}}}`) // looks like an event that it is not
	e := l.add(session, 0, &event.Call{Server: "shop", Tool: tool, ID: json.RawMessage("1"), Args: args, Size: len(args), Peer: event.Peer{Agent: "bot"}})
	l.add(session, e.Seq, &event.Verdict{Action: event.Allow})
	l.add(session, e.Seq, &event.Result{Server: "shop", Tool: tool, Outcome: event.OutcomeOK, Size: 10})
	return e
}

func (l *log) days(n int) {
	for range n {
		l.at = l.at.Truncate(24 * time.Hour).Add(33 * time.Hour)
		for i := range 6 {
			session := fmt.Sprint("s", l.Last())
			for range 3 + i%2 {
				l.call(session, "look")
			}
			l.call(session, "buy")
			l.at = l.at.Add(20 * time.Minute)
		}
	}
}

// promoted is a history with a baseline in force since a while.
func promoted(t *testing.T) *log {
	t.Helper()
	l := &log{t: t, at: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	p, err := rules.Compile([]event.Source{{Name: "p", Text: "rules: []"}}, event.Env{})
	if err != nil {
		t.Fatal(err)
	}
	l.add("", 0, p.Loaded())
	l.days(20)
	b, err := baseline.Learn(l.History, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = baseline.Parse(text); err != nil {
		t.Fatal(err)
	}
	l.add("", 0, &event.Promoted{Who: "local:ann", Name: "b.json", Digest: b.Digest(), Baseline: text[:len(text)-1]})
	l.days(12) // longer than scores look back
	return l
}

func TestAPictureReadsNoFurtherBackThanScoresLook(t *testing.T) {
	l := promoted(t)
	call := l.call("x", "steal")
	f, err := habits.Before(t.Context(), l, call)
	if err != nil || !f.Compares || f.Promoted.Body == nil || f.From <= f.Promoted.Seq {
		t.Fatalf("%+v %v", f, err)
	}
	if first := l.events[f.From-1]; call.At.Sub(first.At) > baseline.Horizon {
		t.Errorf("it begins %s before", call.At.Sub(first.At))
	}
	whole, err := habits.Picture(t.Context(), l, f, call)
	if err != nil || whole.Of != "bot" || !whole.Strange || whole.Short {
		t.Fatalf("%+v %v", whole, err)
	}
	all := f
	all.From = 1 // what is older makes no difference
	if p, err := habits.Picture(t.Context(), l, all, call); err != nil || fmt.Sprint(p.Signals, p.Than) != fmt.Sprint(whole.Signals, whole.Than) {
		t.Errorf("%+v %v, and of the last days %+v", p.Signals, err, whole.Signals)
	}

	// Too much is left out, and that is said; the baseline is not.
	f.Limit = 50
	if p, err := habits.Picture(t.Context(), l, f, call); err != nil || !p.Short || p.Of != "bot" || !p.Strange {
		t.Errorf("%+v %v", p, err)
	}
	f.From, f.Promoted = 1, event.Event{}
	if p, err := habits.Picture(t.Context(), l, f, call); err != nil || p.Digest != whole.Digest {
		t.Errorf("a baseline that came into force in what is left out: %+v %v", p, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := habits.Picture(ctx, l, f, call); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for it any more: %v", err)
	}
	if _, err := habits.Picture(t.Context(), l, f, l.events[0]); err == nil {
		t.Error("a picture of what is no call")
	}
}

func TestWhatWasPrunedIsNotMissed(t *testing.T) {
	l := promoted(t)
	call := l.call("x", "steal")
	whole := l.events
	f, err := habits.Before(t.Context(), l, call)
	if err != nil {
		t.Fatal(err)
	}
	l.events = nil
	for _, e := range whole { // as retention leaves it
		switch e.Body.(type) {
		case *event.Loaded, *event.Promoted:
			l.events = append(l.events, e)
		default:
			if e.Seq >= f.From {
				l.events = append(l.events, e)
			}
		}
	}
	again, err := habits.Before(t.Context(), l, call)
	if err != nil || again.From > f.From || again.From <= f.Promoted.Seq || again.Promoted.Seq != f.Promoted.Seq {
		t.Errorf("from %d under %d, before from %d under %d: %v", again.From, again.Promoted.Seq, f.From, f.Promoted.Seq, err)
	}
	l.events = nil
	if _, err := habits.Before(t.Context(), l, call); !errors.Is(err, habits.ErrEmpty) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestAFileIsComparedWithWhateverWasInForce(t *testing.T) {
	l := promoted(t)
	f, err := habits.Find(t.Context(), l, 0, l.Last()+1)
	if err != nil {
		t.Fatal(err)
	}
	var file json.RawMessage
	for _, e := range l.events {
		if p, ok := e.Body.(*event.Promoted); ok {
			file = p.Baseline
		}
	}
	b, err := baseline.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	l.call("x", "steal")
	l.add("", 0, &event.Promoted{Who: "local:ann", Name: "broken", Baseline: json.RawMessage(`{}`)})
	inForce, err := habits.New(f)
	if err != nil {
		t.Fatal(err)
	}
	compared, err := habits.Compare(f, "b.json", file, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l.events {
		inForce.Add(e)
		compared.Add(e)
	}
	now := event.At(l.at)
	if live, broken := inForce.Live(); live != nil || broken == "" || inForce.All(now).Baseline.Broken != broken {
		t.Errorf("what is in force cannot be read: %q", broken)
	}
	one, ok := compared.One("bot", now)
	if !ok || !one.Agent.Known || len(one.Agent.News) == 0 || one.Baseline.Name != "b.json" || one.Baseline.Seq != 0 {
		t.Errorf("%+v", one)
	}
}
