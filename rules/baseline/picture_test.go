package baseline_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// lived lets a history happen under w, and returns what agents have done lately and the picture of each call.
func lived(w *baseline.Watch, h *history) (l *baseline.Lately, out []baseline.Picture) {
	l = baseline.NewLately()
	var judged event.Event
	var near []event.Event
	for _, e := range h.events {
		if c, ok := e.Body.(*event.Call); ok {
			out = append(out, w.Picture(e, slices.DeleteFunc(slices.Clone(near), func(x event.Event) bool { return x.Body.(*event.Call).Tool != c.Tool })))
			near = append(near, e)
		}
		l.Add(w, e)
		switch b := e.Body.(type) {
		case *event.Call:
			judged = e
		case *event.Verdict:
			if b.Action.Passes() {
				w.Pass(judged, e)
			}
		case *event.Result:
			w.Result(e, b)
		default: // not part of these histories
		}
	}
	return l, out
}

// The picture of a strange call has what is usual, and the call's own marked: beyond the others where it never was.
func TestAPictureHasTheCallsOwnMarked(t *testing.T) {
	b, _ := trained(t)
	refund := func(amount any, reason string) call {
		return call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": amount, "reason": reason}}
	}
	many := func(n int, of func(i int) call) (out []call) {
		for i := range n {
			out = append(out, of(i))
		}
		return out
	}
	for _, x := range []struct {
		name   string
		signal string
		calls  func(h *history) []call
		kind   string
		title  string
		marks  string // the label of the bar that is the call's own
		n      int64  // how often that was
		usual  string // the label of another bar
	}{
		{"a tool of another server", "news", func(*history) []call {
			return []call{{tool: "send_mail", server: "mail", args: map[string]any{"to": "x@example.org"}}}
		}, baseline.Listed, "sessions that used each server", "mail", 0, "billing"},
		{"another tool", "news", func(*history) []call { return []call{{tool: "drop_tables"}} }, baseline.Listed, "sessions that used each tool", "billing/drop_tables", 0, "billing/find_customer"},
		{"the first step of a session", "order", func(*history) []call { return []call{refund(20, "late")} }, baseline.Listed, "sessions that began with each tool", "billing/issue_refund", 0, "billing/find_customer"},
		{"an amount beyond all", "argument", func(h *history) []call { return append(h.customer()[:2], refund(9500, "late")) }, baseline.Spread, "sessions by amount of billing/issue_refund", "9,500", 0, ""},
		{"another type", "shape", func(h *history) []call { return append(h.customer()[:2], refund("all", "late")) }, baseline.Listed, "sessions with each type of amount", "string", 0, "number"},
		{"another value", "shape", func(h *history) []call { return append(h.customer()[:2], refund(20, "admin")) }, baseline.Listed, "sessions with each value of reason", "admin", 0, "late"},
		{"a flood", "rate", func(h *history) []call {
			return many(40, func(int) call {
				return call{tool: "get_order", args: map[string]any{"order_id": h.order()}, after: 5 * time.Second}
			})
		}, baseline.Spread, "sessions by calls ", "40", 0, "3"},
		{"different orders", "distinct", func(h *history) []call {
			return many(40, func(int) call { return call{tool: "get_order", args: map[string]any{"order_id": h.order()}} })
		}, baseline.Spread, "sessions by distinct order_id in this session", "40", 0, "3"},
		{"a sweep", "sweep", func(*history) []call {
			return many(12, func(i int) call {
				return call{tool: "get_order", args: map[string]any{"order_id": fmt.Sprintf("ord_%d", 200_001+i)}, after: 45 * time.Second}
			})
		}, baseline.Series, "the last values of order_id", "ord_200012", 12, "ord_200011"},
		{"as even as a machine", "pace", func(h *history) []call {
			return many(12, func(int) call {
				return call{tool: "find_customer", args: map[string]any{"email": fmt.Sprintf("c%d@example.com", h.rng.IntN(5000))}, after: 30 * time.Second}
			})
		}, baseline.Series, "time between the last calls of billing/find_customer", "30s", 30_000, "30s"},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHistory(12)
			h.session("x", later, x.calls(h)...)
			_, all := lived(watch(t, b), h)
			p := all[len(all)-1]
			i := slices.IndexFunc(p.Reasons, func(r baseline.ReasonFigure) bool { return r.Signal == x.signal })
			if i < 0 || p.Reasons[i].Figure == nil {
				t.Fatalf("%+v", p)
			}
			f := p.Reasons[i].Figure
			if f.Kind != x.kind || !strings.HasPrefix(f.Title, strings.TrimSuffix(x.title, " of billing/issue_refund")) {
				t.Errorf("%s: %s", f.Kind, f.Title)
			}
			marked, usual := 0, x.usual == ""
			for _, bar := range f.Bars {
				if bar.Mark {
					if marked++; bar.Label != x.marks || bar.N != x.n {
						t.Errorf("marked is %+v", bar)
					}
				} else if bar.Label == x.usual && bar.N > 0 {
					usual = true
				}
			}
			if marked != 1 || !usual {
				t.Errorf("%d are marked of %+v", marked, f.Bars)
			}
			if !slices.IsSortedFunc(p.Signals, func(a, b baseline.SignalShare) int { return int(b.Share - a.Share) }) || p.Honest == 0 || p.Of != "support" || !strings.HasPrefix(p.Than, "0.9") {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestThePictureIsThatOfTheScore(t *testing.T) {
	b, h := trained(t)
	h.days(3)
	h.session("x", later, call{tool: "drop_tables"})
	_, pictures := lived(watch(t, b), h)
	for i, s := range scores(watch(t, b), h, 0) {
		if p := pictures[i]; p.Share != s.Share() || p.Strange != (s.Bits >= strange) || p.Call != s.call.Seq {
			t.Fatalf("call %d: %+v, and the score is %v", i, p, s.Score)
		}
	}
}

func TestWhatIsNewThisWeekIsWhatTheBaselineDidNotKnow(t *testing.T) {
	b, h := trained(t)
	h.session("a", later, h.customer()...)
	at := h.session("x", later.Add(time.Hour), append(h.customer()[:2],
		call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": 9500, "reason": "admin", "note": "x"}},
		call{tool: "send", server: "mail", args: map[string]any{"to": "x@example.org"}})...)
	h.session("y", at.Add(time.Hour), append(h.customer()[:2], call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123457", "amount": 20, "reason": "admin"}})...)
	stop := h.add(at.Add(2*time.Hour), "z", 0, call{tool: "send", server: "mail", args: map[string]any{"to": "y@example.org"}}.body())
	h.add(at.Add(2*time.Hour), "z", stop, &event.Verdict{Action: event.Deny, Rule: "strange"})
	h.add(at.Add(2*time.Hour), "z", 0, &event.Signal{Source: "baseline", Name: "drift", Text: `agent "support" has changed: 16 of 16`})
	seen := call{tool: "rm", server: "shell"}.body()
	seen.Seen = true
	h.add(at.Add(2*time.Hour), "z", 0, seen)
	l, _ := lived(watch(t, b), h)
	now := event.At(at.Add(3 * time.Hour))
	got, ok := l.Habits(b, "support", now)
	if !ok || !got.Known || got.Missing != "" || len(got.Drifts) != 1 {
		t.Fatalf("%+v", got.Summary)
	}
	find := func(kind, text string) *baseline.Novelty {
		for i, x := range got.News {
			if x.Kind == kind && strings.Contains(x.Text, text) {
				return &got.News[i]
			}
		}
		t.Errorf("no %s says %s: %+v", kind, text, got.News)
		return &baseline.Novelty{}
	}
	if x := find(baseline.NewServer, `"mail"`); x.Times != 2 || x.Stopped != 1 || x.Session != "x" {
		t.Errorf("%+v", x)
	}
	find(baseline.NewTool, "mail/send")
	find(baseline.NewArgument, `"note"`)
	find(baseline.NewExtreme, "amount 9,500")
	if x := find(baseline.NewValue, `"admin"`); x.Times != 2 || x.Stopped != 0 || x.Path != "reason" || x.Tool != "billing/issue_refund" {
		t.Errorf("%+v", x)
	}
	for _, x := range got.News {
		if strings.Contains(x.Text, "shell") {
			t.Error("a call that nobody judged is new")
		}
	}
	odd := int64(0)
	for _, x := range got.Strange {
		odd += x.Times
	}
	if got.Week.Stopped != 1 || got.Week.Strange < 2 || odd != got.Week.Strange {
		t.Errorf("%+v %+v", got.Week, got.Strange)
	}
	if got.Strange[0].Action != event.Deny || got.Strange[0].Seq != stop {
		t.Errorf("the newest strange call is %+v", got.Strange[0])
	}
	i := slices.IndexFunc(got.Graph.Edges, func(e baseline.Edge) bool { return e.New && got.Graph.Nodes[e.To].Tool == "mail/send" })
	if i < 0 || !got.Graph.Nodes[got.Graph.Edges[i].To].New {
		t.Errorf("the new edge is missing: %+v", got.Graph)
	}
	if today := got.Days[baseline.LatelyDays-1]; today.Calls == 0 || today.Stopped != 1 || today.Most[3] != today.Calls-today.Stopped+1 {
		t.Errorf("today: %+v", today)
	}

	// After a week it is no news any more, and after four nothing of it is left.
	if got, _ := l.Habits(b, "support", now.Add(8*24*time.Hour)); len(got.News) != 0 || got.Week.Calls != 0 || got.Recent[baseline.LatelyDays-9] == 0 {
		t.Errorf("after a week: %+v", got.Summary)
	}
	if got, _ := l.Habits(b, "support", now.Add(40*24*time.Hour)); slices.Max(got.Recent) != 0 {
		t.Errorf("after four weeks: %+v", got.Summary)
	}
	if _, ok := l.Habits(b, "nobody", now); ok {
		t.Error("somebody knows nobody")
	}
}

// Many things that are new in one way hide nothing that is new in another; and there is an end to what is remembered of them.
func TestAFloodOfNewsHidesNoOther(t *testing.T) {
	b, h := trained(t)
	at := later
	for i := range 300 {
		at = h.session(fmt.Sprint("f", i/50), at, call{tool: "issue_refund", args: map[string]any{"order_id": "ord_123456", "amount": 20, "reason": fmt.Sprint("flood ", i)}})
	}
	at = h.session("x", at, call{tool: "send", server: "mail", args: map[string]any{"to": "x@example.org"}})
	l, _ := lived(watch(t, b), h)
	got, _ := l.Habits(b, "support", event.At(at))
	kinds := map[string]int{}
	for _, x := range got.News {
		kinds[x.Kind]++
	}
	if kinds[baseline.NewServer] != 1 || kinds[baseline.NewTool] != 1 || kinds[baseline.NewValue] != 40 || got.Unnamed < 260 {
		t.Errorf("%v, and %d more times", kinds, got.Unnamed)
	}
	if got.News[0].Kind != baseline.NewServer {
		t.Errorf("the first is %+v", got.News[0])
	}
	if again, _ := l.Habits(b, "support", event.At(at.AddDate(0, 0, 8))); again.Unnamed != 0 {
		t.Errorf("after a week: %d", again.Unnamed)
	}
}

func TestWithoutABaselineCallsAreCountedAndNothingIsNew(t *testing.T) {
	h := newHistory(1)
	h.days(3)
	l, pictures := lived(baseline.NewWatch(func(string, string) []string { return nil }), h)
	got, ok := l.Habits(nil, "support", event.At(monday.AddDate(0, 0, 3)))
	if !ok || got.Known || got.Week.Calls == 0 || len(got.News) != 0 || len(got.Graph.Nodes) != 1 {
		t.Errorf("%+v", got)
	}
	if p := pictures[0]; p.Of != "" || p.Why != "no baseline is in force" {
		t.Errorf("%+v", p)
	}
}

// However many agents there are and tools that they use, pages stay as long as somebody can read.
func TestManyAgentsAndToolsAreToldInNumbers(t *testing.T) {
	h := newHistory(1)
	for day := range 4 {
		at := monday.AddDate(0, 0, day)
		for i := range 300 {
			at = h.session(fmt.Sprint("s", day, i/20), at, call{tool: fmt.Sprint("tool", i), args: map[string]any{"x": i}})
			h.session(fmt.Sprint("a", day, i), at, call{tool: "one", agent: fmt.Sprint("agent", i)})
		}
	}
	b := learned(t, h, baseline.Learning{})
	l, _ := lived(watch(t, b), h)
	now := event.At(monday.AddDate(0, 0, 4))
	got, _ := l.Habits(b, "support", now)
	if g := got.Graph; len(g.Nodes) > 21 || len(g.Edges) > 60 || g.MoreNodes != len(got.Tools)-14 || g.MoreEdges == 0 || len(got.Tools) < 100 {
		t.Errorf("%d nodes and %d more, %d edges and %d more, %d tools", len(g.Nodes), g.MoreNodes, len(g.Edges), g.MoreEdges, len(got.Tools))
	}
	all := l.Summaries(b, now)
	if text, err := json.Marshal(all); err != nil || len(all) < 256 || len(all) > 512 || len(text) > 400_000 || !l.Crowded() {
		t.Errorf("%d agents in %d bytes: %v", len(all), len(text), err)
	}
}

func TestSharesAreCutOffAndNotRounded(t *testing.T) {
	for share, want := range map[int64]string{
		999_999_999: "0.999999999", 999_312_345: "0.99931", 990_000_000: "0.99", 999_999_199: "0.99999919", 123_456_789: "0.12", 0: "0", 994_999_999: "0.9949",
	} {
		if got := baseline.ShareText(share); got != want {
			t.Errorf("%d is %s, want %s", share, got, want)
		}
	}
}

// Whatever agents do and however they and their tools are called, what is shown of them is bounded.
func TestWhatIsShownIsBounded(t *testing.T) {
	b, _ := trained(t)
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	hostile := []string{"", "a", "\x00\n", "\u202eevil", "<img src=x onerror=1>", strings.Repeat("long ", 2000), "ord_1", "x > y", string([]byte{0xff, 0xfe})}
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		h := newHistory(rng.Uint64())
		pick := func() string {
			if rng.IntN(3) == 0 {
				return hostile[rng.IntN(len(hostile))]
			}
			return fmt.Sprint("n", rng.IntN(400))
		}
		at := later
		for i := range 60 {
			at = at.Add(time.Duration(rng.Int64N(int64(30 * time.Hour))))
			c := call{tool: pick(), server: pick() + "s", agent: []string{"support", pick()}[rng.IntN(2)], args: map[string]any{}}
			if rng.IntN(2) == 0 {
				c = call{tool: "issue_refund"}
				c.args = map[string]any{"amount": rng.Int64(), "reason": pick()}
			}
			for range rng.IntN(6) {
				c.args[pick()] = []any{pick(), rng.NormFloat64() * 1e12, nil, map[string]any{pick(): pick()}, []any{}}[rng.IntN(5)]
			}
			h.session(fmt.Sprint("s", i%7), at, c)
		}
		w := baseline.NewWatch(func(string, string) []string { return []string{"write"} })
		w.Promote(text, b)
		l, pictures := lived(w, h)
		for _, p := range pictures {
			if size := sizeOf(t, p); size > 40_000 {
				t.Fatalf("a picture has %d bytes", size)
			}
		}
		now := event.At(at)
		for _, s := range l.Summaries(b, now) {
			got, _ := l.Habits(b, s.Agent, now)
			if size := sizeOf(t, got); size > 400_000 || len(got.Graph.Nodes) > 21 || len(got.Graph.Edges) > 60 || len(got.Days) != baseline.LatelyDays {
				t.Fatalf("%d bytes, %d nodes, %d edges", size, len(got.Graph.Nodes), len(got.Graph.Edges))
			}
			for _, e := range got.Graph.Edges {
				if e.From >= len(got.Graph.Nodes) || e.To >= len(got.Graph.Nodes) {
					t.Fatalf("an edge leads nowhere: %+v", e)
				}
			}
		}
	})
}

func sizeOf(t *rapid.T, v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return len(text)
}

// BenchmarkLately is what it costs to follow a call: its score, what is new about it, and remembering that it passed.
func BenchmarkLately(b *testing.B) {
	base, h := trained(b)
	h.days(30)
	w, l := watch(b, base), baseline.NewLately()
	b.ReportAllocs()
	var judged event.Event
	for i := 0; b.Loop(); i++ {
		e := h.events[i%len(h.events)]
		l.Add(w, e)
		switch x := e.Body.(type) {
		case *event.Call:
			judged = e
		case *event.Verdict:
			w.Pass(judged, e)
		case *event.Result:
			w.Result(e, x)
		default:
		}
	}
}
