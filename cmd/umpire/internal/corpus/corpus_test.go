package corpus_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

const policy = `rules:
  - {name: urged, on: "*/*", where: "!tool.reads && urged(tool) && !asked(tool)", do: hold}
  - {name: spoken, on: "*/*", where: "origin(args).spoken", do: deny}
  - {name: often, on: "*/*", rate: {max: 1, per: 1h, by: [session, tool]}, do: log}
`

func compile(t testing.TB, policy string) *rules.Policy {
	t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "p.yaml", Text: policy}}, event.Env{OS: "linux", Home: "/home/user"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lines(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("../../../../testdata/corpus/office.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func judge(t testing.TB, p *rules.Policy, line string) []corpus.Decision {
	t.Helper()
	return judgeKeeping(t, p, line, conversation.KeepText)
}

func judgeKeeping(t testing.TB, p *rules.Policy, line string, keep conversation.Keep) []corpus.Decision {
	t.Helper()
	s, _, err := corpus.Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	clean, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: wire.MinMaxValue, Secret: []byte("-")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := corpus.Judge(p, s, nil, clean, keep)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Where the history keeps no text, the same is decided, word for word; where it keeps nothing, no more passes.
func TestWithoutTextsTheSameIsDecided(t *testing.T) {
	p := compile(t, policy+`  - {name: own, on: "*/*", where: "!tool.reads && !asked(tool) || origin(args).untrusted && !origin(args).user", do: hold}`)
	fewer := 0
	for _, line := range lines(t) {
		want := judge(t, p, line)
		if got := judgeKeeping(t, p, line, conversation.KeepDigest); !reflect.DeepEqual(got, want) {
			t.Errorf("%.200s\n%+v, want\n%+v", line, got, want)
		}
		for i, d := range judgeKeeping(t, p, line, conversation.KeepOff) {
			if passed := want[i].Verdict.Action.Passes(); d.Verdict.Action.Passes() && !passed {
				t.Errorf("%.200s: #%d passes", line, d.Seq)
			} else if passed && !d.Verdict.Action.Passes() {
				fewer++
			}
		}
	}
	if fewer == 0 {
		t.Error("nothing depends on what was said, so this shows nothing")
	}
}

// seen are the members that a firewall would have seen, of a session and of an event. Whatever else there is, is a label.
var seen = []string{"events", "type", "text", "tools", "id", "server", "tool", "args", "is_error"}

// A decision depends on what happened and on no label: with every label another, or gone, it is the same, to the byte.
func TestLabelsCannotReachADecision(t *testing.T) {
	p := compile(t, policy)
	stopped := 0
	for _, line := range lines(t) {
		var plain any
		if err := json.Unmarshal([]byte(line), &plain); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(plain) // members in the order in which the others will have them
		if err != nil {
			t.Fatal(err)
		}
		want := judge(t, p, string(sorted))
		for _, d := range want {
			if !d.Verdict.Action.Passes() {
				stopped++
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			var doc map[string]any
			if err := json.Unmarshal([]byte(line), &doc); err != nil {
				t.Fatal(err)
			}
			scramble(t, doc)
			doc["source"], doc["id"] = rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "source"), rapid.String().Draw(t, "id")
			doc["label"] = rapid.SampledFrom([]string{"attack", "benign"}).Draw(t, "label")
			doc["split_key"], doc["after_injection"], doc["fingerprint"] = "x", true, 7
			for _, e := range doc["events"].([]any) {
				scramble(t, e.(map[string]any))
				if rapid.Bool().Draw(t, "labelled") {
					e.(map[string]any)["malicious"] = rapid.Bool().Draw(t, "malicious")
				}
			}
			other, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := corpus.Parse(other)
			if err != nil {
				t.Fatal(err)
			}
			clean, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: wire.MinMaxValue, Secret: []byte("-")})
			if err != nil {
				t.Fatal(err)
			}
			got, err := corpus.Judge(p, s, nil, clean, conversation.KeepText)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\n%+v %v, want %+v", other, got, err, want)
			}
		})
	}
	if stopped == 0 {
		t.Error("nothing was stopped, so this shows nothing")
	}
}

// scramble replaces or removes the labels of a session or an event.
func scramble(t *rapid.T, doc map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		switch doc[name].(type) {
		case nil:
			delete(doc, name)
		case bool:
			if !slices.Contains(seen, name) {
				doc[name] = rapid.Bool().Draw(t, name)
			}
		case string:
			if slices.Contains(seen, name) {
				continue
			}
			if doc[name] = rapid.String().Draw(t, name); rapid.Bool().Draw(t, "gone") {
				delete(doc, name)
			}
		}
	}
}

// What a decision gets has no field for a label.
func TestASessionHasNoLabels(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[corpus.Session](), reflect.TypeFor[corpus.Event]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Tag.Get("json"); !slices.Contains(seen, name) {
				t.Errorf("%s has %q", of, name)
			}
		}
	}
}

func TestOutcome(t *testing.T) {
	p := compile(t, policy)
	var got []corpus.Outcome
	for _, line := range lines(t) {
		s, l, err := corpus.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, (&corpus.Scored{Labels: l, Session: s, Decisions: judge(t, p, line)}).Outcome())
	}
	want := []corpus.Outcome{{Malicious: 1, Stopped: 1, First: true, Calls: 2}, {Calls: 2}, {Calls: 1}, {Calls: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// The example of Wilson's interval that textbooks work through: 15 of 100.
func TestWilson(t *testing.T) {
	low, high := corpus.Share{N: 15, Of: 100}.Wilson()
	if math.Abs(low-9.31) > 0.01 || math.Abs(high-23.28) > 0.01 {
		t.Errorf("%.2f to %.2f", low, high)
	}
	if low, high := (corpus.Share{}).Wilson(); low != 0 || high != 100 {
		t.Errorf("of nothing: %v to %v", low, high)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{`{`, `{"events":[]}`, `{"source":"a","label":"other","events":[]}`, `{"source":"a","label":"benign","events":7}`} {
		if _, _, err := corpus.Parse([]byte(line)); err == nil {
			t.Errorf("%s is a session", line)
		}
	}
}
