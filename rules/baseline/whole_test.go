package baseline_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// fileOf makes a file of what somebody says that a baseline is, with a digest that is right.
func fileOf(body []byte) []byte {
	return fmt.Appendf(nil, `{"umpire_baseline":%d,"digest":"%x","baseline":%s}`, baseline.Version, sha256.Sum256(body), body)
}

// bodyOf is what a file says.
func bodyOf(t testing.TB, b *baseline.Baseline) []byte {
	t.Helper()
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Baseline json.RawMessage }
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f.Baseline
}

// Whoever edits a file can write the right digest beside it: what it says has to be possible, too.
func TestNumbersThatCannotBeAreRefused(t *testing.T) {
	h := newHistory(41)
	h.days(12)
	for i := range 30 { // another agent, for a group
		h.session(fmt.Sprintf("b%d", i), monday.AddDate(0, 0, 12+i).Add(9*time.Hour), call{tool: "get_order", agent: "ben", args: map[string]any{"order_id": "ord_1", "n": -4.5}})
	}
	b, err := baseline.Learn(h.all, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	body := bodyOf(t, b)
	if _, err := baseline.Parse(fileOf(body)); err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	first := func(x object, path ...string) object {
		for _, p := range path {
			if list, ok := x[p].([]any); ok {
				x = list[0].(object)
			} else {
				x = x[p].(object)
			}
		}
		return x
	}
	tool := func(x object) object { return first(x, "agents")["tools"].(object)["billing/get_order"].(object) }
	agent := func(x object) object { return x["agents"].([]any)[1].(object) } // support
	for name, change := range map[string]func(x object){
		"an agent twice":              func(x object) { x["agents"] = append(x["agents"].([]any), x["agents"].([]any)[0]) },
		"no agent":                    func(x object) { x["agents"] = []any{nil} },
		"nothing is enough":           func(x object) { x["enough"] = object{"sessions": 0, "calls": 0, "days": 0} },
		"it ends before it begins":    func(x object) { x["until"] = 1 },
		"less than no sessions":       func(x object) { agent(x)["sessions"] = -1 },
		"more than anybody counts":    func(x object) { agent(x)["calls"] = math.MaxInt64 },
		"an hour of less than none":   func(x object) { agent(x)["hours"].([]any)[3] = -5 },
		"a count that overflows":      func(x object) { agent(x)["servers"].(object)["seen"].(object)["billing"] = math.MaxInt64 },
		"a name counted never":        func(x object) { agent(x)["servers"].(object)["seen"].(object)["evil"] = 0 },
		"open, with names":            func(x object) { agent(x)["servers"].(object)["open"] = true },
		"known, and waiting":          func(x object) { agent(x)["servers"].(object)["wait"] = object{"billing": 1} },
		"a tool known and waiting":    func(x object) { agent(x)["waiting"] = object{"billing/get_order": 1} },
		"no tool":                     func(x object) { agent(x)["tools"].(object)["billing/get_order"] = nil },
		"no argument":                 func(x object) { tool(x)["args"].(object)["order_id"] = nil },
		"no successors":               func(x object) { agent(x)["next"].(object)[""] = nil },
		"numbers that go down":        func(x object) { agent(x)["gap"] = object{"counts": []any{[]any{9, 1}, []any{5, 1}}} },
		"less than no time":           func(x object) { agent(x)["gap"] = object{"counts": []any{[]any{-9, 1}}} },
		"counted less than never":     func(x object) { agent(x)["gap"] = object{"counts": []any{[]any{9, -1}}} },
		"a limit of all":              func(x object) { first(agent(x), "gap")["floor"] = math.MinInt64 },
		"a number beyond all":         func(x object) { first(tool(x), "size")["counts"] = []any{[]any{math.MaxInt64, 1}} },
		"a score beyond all":          func(x object) { first(agent(x), "score", "all")["counts"] = []any{[]any{1 << 40, 1}} },
		"a strange call that is none": func(x object) { first(agent(x), "score", "top")["bits"] = -1 },
		"a day that is none":          func(x object) { agent(x)["days"].(object)["someday"] = 1 },
		"less than no newcomers":      func(x object) { x["more_newcomers"] = -1 },
		"a word that nobody knows":    func(x object) { x["trust_me"] = true },
		"a number that is none":       func(x object) { agent(x)["sessions"] = json.RawMessage("1e999") },
		"half a session":              func(x object) { agent(x)["sessions"] = 1.5 },
		"counts without an end": func(x object) {
			many := object{}
			for i := range 20_000 {
				many[fmt.Sprint(i)] = 1
			}
			agent(x)["servers"].(object)["seen"] = many
		},
	} {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		x := object{}
		if err := dec.Decode(&x); err != nil {
			t.Fatal(err)
		}
		change(x)
		text, err := json.Marshal(x)
		if err != nil {
			if name != "a number that is none" {
				t.Fatal(name, err)
			}
			continue
		}
		b, err := baseline.Parse(fileOf(text))
		if !errors.Is(err, baseline.ErrFile) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

// A live baseline of a later version, as after a downgrade, stops what rules ask about and says why.
func TestABaselineInForceOfALaterVersionIsNone(t *testing.T) {
	h := newHistory(42)
	h.days(3)
	b, err := baseline.Learn(h.all, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Replace(fileOf(bodyOf(t, b)), []byte(`"umpire_baseline":2`), []byte(`"umpire_baseline":7`), 1)
	w := baseline.NewWatch(func(string, string) []string { return nil })
	w.Promote(later, nil)
	e := event.Event{Seq: 1, At: event.At(monday), Session: "n", Body: call{tool: "get_order"}.body()}
	if s := w.Score(e); s.Of != nil || !strings.Contains(s.Why, "cannot be read: baseline: it was written by another version of umpire: version 7, this one reads 2") {
		t.Errorf("%+v", s.Why)
	}
	img, err := w.Image() // and stays what it is over a restart
	if err != nil {
		t.Fatal(err)
	}
	again := baseline.NewWatch(func(string, string) []string { return nil })
	if err := again.Restore(img); err != nil || again.Score(e).Why != w.Score(e).Why {
		t.Errorf("after a restart: %v, %q", err, again.Score(e).Why)
	}
}

// Whatever Parse takes can be used: nothing that is asked of it panics, and no score is beyond what there is. What it reads is
// what it would write.
func FuzzParse(f *testing.F) {
	h := newHistory(43)
	for day := range 2 {
		h.session(fmt.Sprint(day), monday.AddDate(0, 0, day).Add(9*time.Hour), call{tool: "find", args: map[string]any{"a": "b"}}, call{tool: "pay", args: map[string]any{"n": 1}})
	}
	live, err := baseline.Learn(h.all, baseline.Learning{Enough: baseline.Evidence{Sessions: 1, Calls: 2, Days: 1}})
	if err != nil {
		f.Fatal(err)
	}
	body := bodyOf(f, live)
	f.Add(body)
	f.Add([]byte(`{"enough":{"sessions":1,"calls":1,"days":1},"agents":[{"name":"support","sessions":1,"calls":1,"days":{"2026-01-05":1}}]}`))
	f.Add([]byte(`{"enough":{"sessions":1,"calls":1,"days":1},"agents":[null]}`))
	f.Add([]byte(`{"agents":[{"hours":[1,2,3],"next":{"":null}}]}`))
	f.Add([]byte(`[]`))
	one := newHistory(44)
	one.session("x", monday.AddDate(0, 0, 5).Add(10*time.Hour), call{tool: "find", args: map[string]any{"a": "c"}}, call{tool: "pay", args: map[string]any{"n": 900, "m": "x"}}, call{tool: "drop", server: "db"})
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, file := range [][]byte{body, fileOf(body)} {
			b, err := baseline.Parse(file)
			if err != nil {
				continue
			}
			text, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := baseline.Parse(text)
			if err != nil {
				t.Fatalf("what was read cannot be read again: %v", err)
			}
			if text2, err := again.Encode(); err != nil || !bytes.Equal(text, text2) {
				t.Fatalf("what was read is written in two ways: %v", err)
			}
			for _, c := range append(b.Diff(live), live.Diff(b)...) {
				_ = c.Text
			}
			for _, a := range b.Agents {
				if a.Score != nil {
					if level := a.Score.Budget(1, 7*24*time.Hour); level < 0 {
						t.Errorf("a budget of %d", level)
					}
				}
			}
			w := baseline.NewWatch(func(string, string) []string { return []string{"money"} })
			w.Promote(text, nil)
			for _, s := range scores(w, one, 0) {
				if s.Bits < 0 || s.Share() < 0 || s.Share() > baseline.Billion {
					t.Errorf("a score of %d", s.Bits)
				}
			}
			if _, err := baseline.Learn(h.all, baseline.Learning{Live: b}); err != nil {
				t.Errorf("learning under it: %v", err)
			}
		}
	})
}
