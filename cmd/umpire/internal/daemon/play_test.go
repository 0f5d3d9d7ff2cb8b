package daemon_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// looksBack are two policies that look back an hour and five days.
var looksBack = []string{`rules:
  - {name: burst, on: "shop/*", rate: {max: 5, per: 1h}, do: deny}
  - {name: total, on: shop/pay, rate: {sum: args.n, max: 3, per: 30m, by: session}, do: log}
  - {name: leak, sequence: [{on: files/read}, {on: result shop/get}, {on: shop/pay}], by: session, within: 40m, do: hold}
  - {name: odd, on: shop/pay, where: "args.n > 2 && args.to == 'x'", do: deny}
  - {name: told, sequence: [{on: turn user}, {on: shop/pay}], by: session, within: 40m, do: log}
  - {name: known, on: "*/*", shape: declared, do: log}
`, `rules:
  - {name: burst, on: "shop/*", rate: {max: 400, per: 5d}, do: deny}
`}

// life is a history of three sessions, as it would be recorded.
type life struct {
	t     testing.TB
	log   []event.Event
	state *rules.State
	at    event.Time
}

func (l *life) event(session string, cause uint64, body event.Body) event.Event {
	return event.Event{V: event.Version, Seq: uint64(len(l.log) + 1), At: l.at, Session: session, Cause: cause, Body: body}
}

func (l *life) put(e event.Event) {
	if l.state != nil {
		l.state.Apply(e)
	}
	l.log = append(l.log, e)
}

func (l *life) load(text string) {
	l.t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: text}}, config.Env())
	if err != nil {
		l.t.Fatal(err)
	}
	if l.state, err = replay.Fold(p, historyOf(l.log), 1<<60); err != nil {
		l.t.Fatal(err)
	}
	l.put(l.event("", 0, p.Loaded()))
}

// live lets calls happen, some minutes after each other.
func (l *life) live(calls int) {
	for i := range calls {
		l.at = l.at.Add(10 * time.Minute / time.Duration(1+i%3))
		session := fmt.Sprint("s", i*7%3)
		server, tool, _ := strings.Cut([]string{"shop/get", "shop/pay", "files/read", "shop/pay", "shop/get"}[i*3%5], "/")
		args := fmt.Sprintf(`{"n":%d,"loaded":{"a":1}}`, 1+i%5)
		e := l.event(session, 0, &event.Call{Server: server, Tool: tool, ID: json.RawMessage("1"), Args: json.RawMessage(args)})
		v := l.state.Decide(e)
		l.put(e)
		l.put(l.event(session, e.Seq, &v))
		if v.Action.Passes() {
			l.put(l.event(session, e.Seq, &event.Result{Server: server, Tool: tool, Outcome: event.OutcomeOK, Content: json.RawMessage("{}")}))
		}
		if i%11 == 0 {
			l.put(l.event(session, 0, &event.Turn{Role: event.RoleUser, Source: "api", Trust: event.Trusted, Text: "go on", Size: 5}))
		}
	}
}

// begun is a life under the first policy, with so many calls under each of the two.
func begun(t testing.TB, calls int) *life {
	t.Helper()
	l := &life{t: t, at: event.At(time.Now().Add(-20 * 24 * time.Hour))}
	l.load(looksBack[0])
	l.put(l.event("", 0, &event.Catalog{Server: "shop", Tools: []event.Tool{{Name: "pay", InputSchema: json.RawMessage(`{"required":["to"]}`), Pin: "1"}}}))
	l.live(calls)
	l.load(looksBack[1])
	l.live(calls)
	return l
}

// store records what is new, and reads what a daemon has recorded since.
func (l *life) store(opts daemon.Options) {
	l.t.Helper()
	db, err := store.Open(store.Config{Path: filepath.Join(opts.StateDir, config.HistoryFile), Async: true})
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	if last := db.Last(); last < uint64(len(l.log)) {
		db.Append(l.log[last:], func(err error) {
			if err != nil {
				l.t.Error(err)
			}
		})
	}
	for e, err := range db.Events(uint64(len(l.log)) + 1) {
		if err != nil {
			l.t.Fatal(err)
		}
		l.put(e)
	}
}

func historyOf(log []event.Event) replay.History {
	return func(from uint64) iter.Seq2[event.Event, error] {
		return func(yield func(event.Event, error) bool) {
			for _, e := range log[from-1:] {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// played is what the whole history says about a session.
func played(t testing.TB, log []event.Event, session string, from uint64) (out []string) {
	t.Helper()
	first := max(uint64(slices.IndexFunc(log, func(e event.Event) bool { return e.Session == session }))+1, from-min(from, 2000))
	s, err := replay.Before(historyOf(log), first)
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range replay.Play(s, historyOf(log), session, first, uint64(len(log))) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Event.Seq < from {
			continue
		}
		text, err := json.Marshal(map[string]any{"seq": m.Event.Seq, "standings": m.Standings, "earlier": m.Earlier})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.NewReplacer(`,"earlier":null`, "", `"earlier":null,`, "", `,"standings":null`, "").Replace(string(text)))
	}
	return out
}

// Folding only what the rules look back on, from a snapshot where there is one, part by part, gives what folding everything
// does.
func TestAReplayShowsWhatTheWholeHistoryGives(t *testing.T) {
	opts := options(t, looksBack[1])
	l := begun(t, 600)
	opts.Now = func() time.Time { return l.at.Time() }
	for _, from := range []string{"the beginning", "a snapshot"} {
		firsts := []uint64{0, 40, uint64(len(l.log) - 900)}
		if from == "a snapshot" {
			l.load(looksBack[1])
			for len(l.log) < 30_000 { // which a daemon that ends saves
				l.live(1000)
			}
			l.store(opts)
			start(t, opts).Close()
			l.store(opts)
			firsts = []uint64{uint64(len(l.log) + 2_050)} // not long after it, with what is looked at besides: the rules look back beyond it
			l.live(1000)
		}
		l.store(opts)
		log := l.log
		d := start(t, opts)
		ask := asker(t, opts)
		for _, session := range []string{"s0", "s2"} {
			for _, first := range firsts {
				begin := first
				for begin == 0 || log[begin-1].Session != session {
					begin++
				}
				want := played(t, log, session, begin)
				var got []string
				for next := begin; next != 0; {
					status, body, _ := ask(fmt.Sprintf("/v1/play?session=%s&from=%d&limit=171", session, next))
					if status != http.StatusOK {
						t.Fatalf("%d %s", status, body)
					}
					for _, m := range gjson.Get(body, "moments").Array() {
						got = append(got, m.Raw)
					}
					next = gjson.Get(body, "next").Uint()
				}
				if len(got) != len(want) || len(got) < 100 {
					t.Fatalf("%s from %d: %d moments, want %d", session, begin, len(got), len(want))
				}
				for i := range want {
					if canonical(t, got[i]) != canonical(t, want[i]) {
						t.Fatalf("from %s, %s from %d:\n%s\nwant\n%s", from, session, begin, got[i], want[i])
					}
				}
			}
		}
		if status, body, _ := ask("/v1/play?session=s9&from=1"); status != http.StatusNotFound {
			t.Errorf("%d %s", status, body)
		}
		if status, body, _ := ask("/v1/play?session=s1&limit=1000"); status != http.StatusBadRequest {
			t.Errorf("%d %s", status, body)
		}
		d.Close()
	}
}

// canonical leaves out where a rule stands: a policy is known by its text, whatever its files are called.
func canonical(t testing.TB, text string) string {
	t.Helper()
	text = regexp.MustCompile(`"file":"[^"]*","line":\d+`).ReplaceAllString(text, `"at":""`)
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Each rule counts once for a call to which it was near, whatever policy was in force.
func TestNearMissesAreCountedFromTheRules(t *testing.T) {
	opts := options(t, looksBack[1])
	l := begun(t, 600)
	opts.Now = func() time.Time { return l.at.Time() }
	l.store(opts)
	log := l.log
	want := map[string]int{}
	for _, session := range []string{"s0", "s1", "s2"} {
		first := uint64(slices.IndexFunc(log, func(e event.Event) bool { return e.Session == session })) + 1
		counted := map[string]bool{}
		for _, text := range played(t, log, session, first) {
			m := gjson.Parse(text)
			e := log[m.Get("seq").Uint()-1]
			call := e.Seq
			if e.Cause != 0 {
				call = e.Cause
			}
			for _, s := range m.Get("standings").Array() {
				if key := fmt.Sprint(call, s.Get("rule").Str); s.Get("near").Bool() && !counted[key] && (s.Get("order").Exists() || call == e.Seq) {
					counted[key] = true
					want[s.Get("rule").Str]++
				}
			}
		}
	}
	for _, rule := range []string{"burst", "total", "leak", "told"} {
		if want[rule] == 0 {
			t.Fatalf("nothing was ever near to %s: the test is too easy: %v", rule, want)
		}
	}
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	deadline := time.Now().Add(time.Minute)
	for {
		_, body, _ := ask("/v1/chart?minutes=480&steps=90&near=1")
		if gjson.Get(body, "near_seq").Uint() < uint64(len(log)) {
			if time.Now().After(deadline) {
				t.Fatalf("it does not come to an end: %.500s", body)
			}
			continue
		}
		for rule, n := range want {
			sum := 0
			for _, step := range gjson.Get(body, "near."+rule).Array() {
				sum += int(step.Int())
			}
			if sum != n || int(gjson.Get(body, "rules."+rule+".near").Int()) != n {
				t.Errorf("%s: %d, want %d: %.500s", rule, sum, n, gjson.Get(body, "rules").Raw)
			}
		}
		return
	}
}
