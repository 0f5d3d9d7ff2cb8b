package baseline_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// history is what happened, as a log has it.
type history struct {
	events []event.Event
	rng    *rand.Rand
}

func newHistory(seed uint64) *history {
	return &history{rng: rand.New(rand.NewPCG(seed, seed))}
}

func (h *history) all(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range h.events[from-1:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (h *history) add(at time.Time, session string, cause uint64, body event.Body) uint64 {
	seq := uint64(len(h.events) + 1)
	h.events = append(h.events, event.Event{V: 1, Seq: seq, At: event.At(at), Session: session, Cause: cause, Body: body})
	return seq
}

// call is a call of the billing server.
type call struct {
	tool   string
	args   map[string]any
	after  time.Duration // the call before; 0 is a few seconds
	fails  bool
	agent  string // "support" if it is empty
	server string // "billing" if it is empty
}

func (c call) body() *event.Call {
	args, err := json.Marshal(c.args)
	if err != nil {
		panic(err)
	}
	if c.agent == "" {
		c.agent = "support"
	}
	if c.server == "" {
		c.server = "billing"
	}
	return &event.Call{Server: c.server, Tool: c.tool, Args: args, Size: len(args), Peer: event.Peer{Agent: c.agent}}
}

// session lets calls happen that nobody objects to, and returns when the last one did.
func (h *history) session(id string, at time.Time, calls ...call) time.Time {
	for _, c := range calls {
		if c.after == 0 {
			c.after = time.Duration(2000+h.rng.IntN(8000)) * time.Millisecond
		}
		at = at.Add(c.after)
		b := c.body()
		seq := h.add(at, id, 0, b)
		h.add(at, id, seq, &event.Verdict{Action: event.Allow})
		r := &event.Result{Server: b.Server, Tool: b.Tool, Outcome: event.OutcomeOK, Size: 200 + h.rng.IntN(400)}
		if c.fails {
			r.Outcome = event.OutcomeFailed
		}
		h.add(at.Add(300*time.Millisecond), id, seq, r)
	}
	return at
}

// order is an order number, as customers have them.
func (h *history) order() string { return fmt.Sprintf("ord_%d", 100_000+h.rng.IntN(900_000)) }

// customer is what support does for one customer: look at an order or two, and now and then refund one.
func (h *history) customer() (calls []call) {
	calls = append(calls, call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", h.rng.IntN(5000))}})
	order := ""
	for range 1 + h.rng.IntN(3) {
		order = h.order()
		calls = append(calls, call{tool: "get_order", args: map[string]any{"order_id": order}, fails: h.rng.IntN(20) == 0})
	}
	if h.rng.IntN(2) == 0 {
		reason := []string{"damaged", "late", "wrong item"}[h.rng.IntN(3)]
		calls = append(calls, call{tool: "issue_refund", args: map[string]any{"order_id": order, "amount": 5 + h.rng.IntN(90), "reason": reason}})
	}
	return calls
}

var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// days lets so many days of customers happen, ten a day.
func (h *history) days(n int) {
	for day := range n {
		for i := range 10 {
			at := monday.AddDate(0, 0, day).Add(time.Duration(9*60+i*45+h.rng.IntN(20)) * time.Minute)
			h.session(fmt.Sprintf("s%d-%d", day, i), at, h.customer()...)
		}
	}
}

// learned is a baseline as it comes out of a file.
func learned(t testing.TB, h *history, how baseline.Learning) *baseline.Baseline {
	t.Helper()
	b, err := baseline.Learn(h.all, how)
	if err != nil {
		t.Fatal(err)
	}
	return reread(t, b)
}

func reread(t testing.TB, b *baseline.Baseline) *baseline.Baseline {
	t.Helper()
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := baseline.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// watch returns a Watch under a baseline.
func watch(t testing.TB, b *baseline.Baseline) *baseline.Watch {
	t.Helper()
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w := baseline.NewWatch(func(string, string) []string { return nil })
	w.Promote(text, nil)
	return w
}

// scores lets what happened happen under w, and returns the scores of all calls. Calls that are stranger than the level are
// approved by a person, if there is a level.
func scores(w *baseline.Watch, h *history, level baseline.Bits) (out []scored) {
	var judged event.Event
	for _, e := range h.events {
		switch b := e.Body.(type) {
		case *event.Call:
			s := w.Score(e)
			judged = e
			out = append(out, scored{Score: s, call: e, why: w.Explain(e, &s)})
		case *event.Verdict:
			if level > 0 && out[len(out)-1].Bits >= level {
				b = &event.Verdict{Action: event.Allow, After: 1}
			}
			e.Body = b
			w.Pass(judged, e)
		case *event.Result:
			w.Result(e, b)
		default: // not part of these histories
		}
	}
	return out
}

type scored struct {
	baseline.Score
	call event.Event
	why  []baseline.Deviation
}

// strange is stranger than 999 of 1000.
var strange = baseline.BitsOf(baseline.Billion / 1000)
