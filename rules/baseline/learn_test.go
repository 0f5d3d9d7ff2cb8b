package baseline_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestWhatIsLearnedIsWhatHappened(t *testing.T) {
	h := newHistory(1)
	h.days(10)
	a := learned(t, h, baseline.Learning{}).Agent("support")
	if got, want := a.Evidence(), (baseline.Evidence{Sessions: 100, Calls: a.Calls, Days: 10}); got != want || a.Calls < 300 {
		t.Errorf("evidence %+v", got)
	}
	refund := a.Tools["billing/issue_refund"]
	if refund == nil {
		t.Fatalf("tools are %v", a.Tools)
	}
	if got := refund.Args["reason"].Values.Seen; len(got) != 3 || got["late"] == 0 {
		t.Errorf("reasons are %v", got)
	}
	if n := refund.Args["amount"].Number; n.Counts[0][0] < 5000 || n.Max() > 94_000 {
		t.Errorf("amounts are %v, in thousandths", n.Counts)
	}
	if got := a.Tools["billing/get_order"].Args["order_id"]; !got.Values.Open || got.Distinct.Max() != 3 || got.Forms.Seen["a_9"] != 100 {
		t.Errorf("order ids are %+v", got)
	}
	if got := a.Next[""].Seen; !reflect.DeepEqual(got, map[string]int64{"billing/find_customer": 100}) {
		t.Errorf("sessions begin with %v", got)
	}
	if a.Hours[3] != 0 || a.Hours[9] == 0 {
		t.Errorf("hours are %v", a.Hours)
	}
}

func TestLearningTwiceGivesTheSameFile(t *testing.T) {
	h := newHistory(2)
	h.days(5)
	var files [2][]byte
	for i := range files {
		b, err := baseline.Learn(h.all, baseline.Learning{})
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = b.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files of the same history differ")
	}
}

func TestWhatWasDeniedHeldOrFlaggedNeverTeachesAndWhatAPersonApprovesDoes(t *testing.T) {
	at := monday.Add(9 * time.Hour)
	for name, x := range map[string]struct {
		verdicts []event.Verdict
		teaches  bool
	}{
		"allowed":                             {[]event.Verdict{{Action: event.Allow}}, true},
		"denied":                              {[]event.Verdict{{Action: event.Deny}}, false},
		"noted":                               {[]event.Verdict{{Action: event.Log, Rule: "look"}}, false},
		"allowed, but observed":               {[]event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Deny, Observed: true}}}}, false},
		"observed, and nobody could tell":     {[]event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Hold, Observed: true, Why: baseline.Untold + "no baseline is in force"}}}}, true},
		"noted, since nobody could tell":      {[]event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Log, Why: baseline.Untold + "no baseline is in force"}}}}, false},
		"observed, with a value that says so": {[]event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Hold, Observed: true, Why: "args.x is " + baseline.Untold}}}}, false},
		"held":                                {[]event.Verdict{{Action: event.Hold}}, false},
		"held, and then denied":               {[]event.Verdict{{Action: event.Hold}, {Action: event.Deny, After: 3}}, false},
		"held, and then approved":             {[]event.Verdict{{Action: event.Hold}, {Action: event.Allow, After: 3, Also: []event.Match{{Action: event.Hold}}}}, true},
		"held, and never decided":             {[]event.Verdict{{Action: event.Hold}, {Action: event.Deny, After: 4, Why: "nobody decided in time"}}, false},
		"let pass by an exception":            {[]event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Hold, Rule: "r", Excepted: true, Exception: 1}}}}, false},
		"approved, and noted":                 {[]event.Verdict{{Action: event.Hold}, {Action: event.Log, After: 3}}, false},
	} {
		h := newHistory(3)
		h.days(1)
		seq := h.add(at.AddDate(0, 0, 1), "x", 0, call{tool: "drop_tables"}.body())
		for _, v := range x.verdicts {
			h.add(at.AddDate(0, 0, 1), "x", seq, &v)
		}
		b := learned(t, h, baseline.Learning{})
		if got := b.Agent("support").Tools["billing/drop_tables"] != nil; got != x.teaches {
			t.Errorf("%s: it teaches: %t", name, got)
		}
	}
	h := newHistory(3)
	h.days(1)
	seen := call{tool: "drop_tables"}.body()
	seen.Seen = true
	h.add(at.AddDate(0, 0, 1), "x", 0, seen)
	if learned(t, h, baseline.Learning{}).Agent("support").Tools["billing/drop_tables"] != nil {
		t.Error("a call that nobody judged teaches")
	}
}

// Who probes is denied now and then: what else passed in such a session on that day is no habit, unless there is too little else.
func TestASessionInWhichACallDidNotPassTeachesNothingWhereThereIsEnoughElse(t *testing.T) {
	for name, x := range map[string]struct {
		days    int // of honest sessions
		verdict []event.Verdict
		denied  int64
		teaches bool
	}{
		"denied":                 {12, []event.Verdict{{Action: event.Deny}}, 1, false},
		"held and denied":        {12, []event.Verdict{{Action: event.Hold}, {Action: event.Deny, After: 3}}, 1, false},
		"held and approved":      {12, []event.Verdict{{Action: event.Hold}, {Action: event.Allow, After: 3}}, 0, true},
		"noted":                  {12, []event.Verdict{{Action: event.Log}}, 0, true},
		"would have been denied": {12, []event.Verdict{{Action: event.Allow, Also: []event.Match{{Action: event.Deny, Observed: true}}}}, 0, true},
		"denied, of few":         {2, []event.Verdict{{Action: event.Deny}}, 1, true},
	} {
		h := newHistory(11)
		h.days(x.days)
		at := monday.AddDate(0, 0, x.days).Add(10 * time.Hour)
		h.session("x", at, call{tool: "list_accounts"})
		seq := h.add(at.Add(time.Minute), "x", 0, call{tool: "drop_tables"}.body())
		for _, v := range x.verdict {
			h.add(at.Add(time.Minute), "x", seq, &v)
		}
		h.session("x", at.Add(2*time.Minute), call{tool: "list_admins"})
		h.session("x", at.AddDate(0, 0, 1), call{tool: "next_day"})
		a := learned(t, h, baseline.Learning{}).Agent("support")
		for _, tool := range []string{"billing/list_accounts", "billing/list_admins"} {
			if got := a.Tools[tool] != nil; got != x.teaches {
				t.Errorf("%s: %s of that session teaches: %t", name, tool, got)
			}
		}
		if a.Tools["billing/next_day"] == nil || a.Denied != x.denied || a.DeniedTaught != (x.teaches && x.denied > 0) {
			t.Errorf("%s: %d sessions were denied, taught: %t", name, a.Denied, a.DeniedTaught)
		}
		if x.denied > 0 && !x.teaches && a.Score.Calls != a.Calls {
			t.Errorf("%s: scores are of %d calls, %d taught", name, a.Score.Calls, a.Calls)
		}
	}
}

// Names of agents are claims: as many as somebody makes up do not fill the memory, nor push out those that do most.
func TestMoreAgentsThanAreKeptCostNoMemory(t *testing.T) {
	h := newHistory(12)
	for day := range 3 {
		for i := range 10 {
			h.session(fmt.Sprintf("s%d-%d", day, i), monday.AddDate(0, 0, day).Add(time.Duration(9+i)*time.Hour), h.customer()...)
		}
		for i := range 1500 {
			h.session("x", monday.AddDate(0, 0, day).Add(20*time.Hour), call{tool: "get_order", agent: fmt.Sprintf("eve%d-%d", day, i)})
		}
	}
	b := learned(t, h, baseline.Learning{})
	if len(b.Agents) != 256 || b.Agent("support") == nil || b.Agent("support").Sessions != 30 {
		t.Errorf("%d agents, support is %v", len(b.Agents), b.Agent("support") != nil)
	}
}

func TestOnlyWhatHappenedSinceTeaches(t *testing.T) {
	h := newHistory(4)
	h.days(6)
	b := learned(t, h, baseline.Learning{Since: event.At(monday.AddDate(0, 0, 4))})
	if got := b.Agent("support").Evidence(); got.Days != 2 || got.Sessions != 20 {
		t.Errorf("evidence %+v", got)
	}
}

func TestTooLittleSaysWhatIsMissing(t *testing.T) {
	h := newHistory(5)
	h.days(2)
	b := learned(t, h, baseline.Learning{})
	if got, want := b.Agent("support").Missing(), "20 of 30 sessions, "; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "2 of 3 days") {
		t.Errorf("missing: %q", got)
	}
	w := watch(t, b)
	e := event.Event{V: 1, Seq: 1, At: event.At(monday.AddDate(0, 0, 9)), Session: "n", Body: call{tool: "get_order"}.body()}
	if s := w.Score(e); s.Of != nil || !strings.Contains(s.Why, "20 of 30 sessions") {
		t.Errorf("the score is %+v", s)
	}
	empty := newHistory(1)
	if b, err := baseline.Learn(empty.all, baseline.Learning{}); err != nil || len(b.Agents) != 0 {
		t.Errorf("of nothing: %v, %v", b, err)
	}
}

func TestAnAgentOfWhichTooLittleIsKnownIsComparedWithAgentsLikeIt(t *testing.T) {
	h := newHistory(6)
	for day := range 12 {
		for i, agent := range []string{"anna", "ben", "carl", "newcomer", "hermit"} {
			if agent == "newcomer" && day < 10 {
				continue
			}
			at := monday.AddDate(0, 0, day).Add(9 * time.Hour)
			for k := range 4 {
				calls := h.customer()
				for c := range calls {
					if calls[c].agent = agent; agent == "hermit" {
						calls[c].server = "attic"
					}
				}
				h.session(fmt.Sprintf("%s-%d-%d", agent, day, k), at.Add(time.Duration(i*4+k)*10*time.Minute), calls...)
			}
		}
	}
	b := learned(t, h, baseline.Learning{Enough: baseline.Evidence{Sessions: 30, Calls: 100, Days: 3}})
	if len(b.Groups) != 1 || fmt.Sprint(b.Groups[0].Members) != "[anna ben carl newcomer]" {
		t.Fatalf("groups are %v", b.Groups)
	}
	for _, x := range []struct{ agent, server, of, why string }{
		{"anna", "billing", "anna", ""},
		{"hermit", "attic", "hermit", ""},
		{"newcomer", "billing", b.Groups[0].Name, "too little is known"},
		{"stranger", "billing", b.Groups[0].Name, "does not know agent"},
		{"stranger", "elsewhere", "", "nor is there a group"},
	} {
		e := event.Event{Seq: 1, At: event.At(monday.AddDate(0, 0, 20)), Session: "n", Body: call{tool: "get_order", agent: x.agent, server: x.server}.body()}
		s := watch(t, b).Score(e)
		of := ""
		if s.Of != nil {
			of = s.Of.Name
		}
		if of != x.of || !strings.Contains(s.Why, x.why) {
			t.Errorf("%s on %s is compared with %q (%s)", x.agent, x.server, of, s.Why)
		}
	}
}

func TestAFileIsReadOnlyAsItWasWritten(t *testing.T) {
	h := newHistory(7)
	h.days(3)
	b, err := baseline.Learn(h.all, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	if again, err := reread(t, b).Encode(); err != nil || string(again) != file {
		t.Errorf("what was read is written in another way: %v", err)
	}
	for name, x := range map[string]struct {
		text string
		want error
	}{
		"as it was written":      {file, nil},
		"a number changed":       {strings.Replace(file, `"calls":`, `"calls":1`, 1), baseline.ErrEdited},
		"a space more":           {strings.Replace(file, `"agents":`, `"agents": `, 1), baseline.ErrEdited},
		"cut off":                {file[:len(file)/2], baseline.ErrFile},
		"empty":                  {"", baseline.ErrFile},
		"something else in JSON": {`{"policy": "x"}`, baseline.ErrFile},
		"of another version":     {strings.Replace(file, `"umpire_baseline":2`, `"umpire_baseline":1`, 1), baseline.ErrVersion},
	} {
		if _, err := baseline.Parse([]byte(x.text)); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func TestAWatchWithoutABaselineThatCanBeReadSaysSo(t *testing.T) {
	e := event.Event{Seq: 1, At: event.At(monday), Session: "n", Body: call{tool: "get_order"}.body()}
	w := baseline.NewWatch(func(string, string) []string { return nil })
	if s := w.Score(e); s.Of != nil || s.Why != "no baseline is in force" {
		t.Errorf("%+v", s)
	}
	w.Promote([]byte("{}"), nil)
	if s := w.Score(e); s.Of != nil || !strings.Contains(s.Why, "cannot be read") {
		t.Errorf("%+v", s)
	}
}

// An agent that does as much as it can, with as many different names as it can.
func TestWhatIsKnownOfAnAgentIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	h := newHistory(8)
	for day := range 4 {
		for s := range 40 {
			var calls []call
			for i := range 60 {
				args := map[string]any{}
				for k := range 12 {
					args[fmt.Sprintf("k%d", h.rng.IntN(2000))] = fmt.Sprintf("%d-%s", k, h.order())
				}
				calls = append(calls, call{tool: fmt.Sprintf("tool%d", h.rng.IntN(3000)), args: args, after: time.Duration(1+i) * 17 * time.Millisecond})
			}
			h.session(fmt.Sprintf("s%d-%d", day, s), monday.AddDate(0, 0, day).Add(time.Duration(s)*20*time.Minute), calls...)
		}
	}
	b := learned(t, h, baseline.Learning{})
	if !b.Agent("support").Full {
		t.Error("nothing says that there was more than there is room for")
	}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	memory := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := memory()
	w := baseline.NewWatch(func(string, string) []string { return nil })
	w.Promote(text, nil)
	scores(w, h, 0)
	after := memory()
	runtime.KeepAlive(w)
	runtime.KeepAlive(text)
	runtime.KeepAlive(h)
	runtime.KeepAlive(b)
	if used := after - before; used > 1<<20 {
		t.Errorf("the agent takes %d bytes", used)
	} else {
		t.Logf("the agent takes %d bytes, its file %d", used, len(text))
	}
}
