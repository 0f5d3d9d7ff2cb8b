// Package policies_test plays testdata/sessions: what each example policy stops, what it lets pass, what somebody tries
// who wants to get by it, and the honest work that looks a little like it.
package policies_test

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/rules/transcript"
)

var update = flag.Bool("update", false, "record testdata/sessions/*.jsonl again")

const sessions = "../../testdata/sessions"

// env is the machine of the scripts, whatever machine the tests run on.
var env = event.Env{OS: "linux", Home: "/home/alice"}

// names returns the names of the example policies.
func names(t *testing.T) (out []string) {
	t.Helper()
	files, err := fs.Glob(policies.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no policies", err)
	}
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f, ".yaml"))
	}
	return out
}

// compile compiles example policies into one.
func compile(t *testing.T, names ...string) *rules.Policy {
	t.Helper()
	var sources []event.Source
	for _, name := range names {
		text, err := policies.Files.ReadFile(name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, event.Source{Name: name + ".yaml", Text: string(text)})
	}
	p, err := rules.Compile(sources, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoliciesGoTogetherWithoutWarnings(t *testing.T) {
	all := names(t)
	for _, set := range append([][]string{all}, slices.Collect(slices.Chunk(all, 1))...) {
		for _, w := range compile(t, set...).Warnings(nil, 90*24*time.Hour) {
			t.Error(w.Detail())
		}
	}
}

// script returns the cases of NAME.txtar.
func script(t *testing.T, name string) []*transcript.Case {
	t.Helper()
	file := filepath.Join(sessions, name+".txtar")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, err := transcript.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	return a.Cases
}

// Every section of every script goes as it says: "stopped" and those that begin with "deny" end in a denial, or a hold where a rule cannot tell, in "passes"
// and those that begin with "pass" there is none.
func TestPoliciesStopWhatTheyShouldAndNothingElse(t *testing.T) {
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			p := compile(t, name)
			count := map[string]int{}
			for _, s := range script(t, name) {
				kind, _, _ := strings.Cut(s.Name, ":")
				count[kind]++
				t.Run(s.Name, func(t *testing.T) {
					c := play(t, p, s)
					denied := slices.IndexFunc(c.calls, func(s sent) bool { return !s.verdict.Action.Passes() })
					last := c.calls[len(c.calls)-1].verdict
					switch kind {
					case "stopped", "deny":
						if last.Action.Passes() { // where a rule cannot tell, it holds
							t.Errorf("it ends with %s", last.Action)
						}
					case "passes", "pass":
						if denied >= 0 {
							t.Errorf("denied: %s %s", c.calls[denied].call.Tool, c.calls[denied].call.Args)
						}
					default:
						t.Errorf("%q is neither stopped, passes, deny: … nor pass: …", s.Name)
					}
				})
			}
			if count["stopped"] != 1 || count["passes"] != 1 || count["deny"] < 3 || count["pass"] < 1 {
				t.Errorf("the script has %v", count)
			}
		})
	}
}

// The recorded sessions are what the gate records when the scripts are played, they name the policy as it is, every
// verdict in them comes out the same when it is judged again, and both of a policy use the same tools.
func TestRecordedSessionsAreReplayed(t *testing.T) {
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			p := compile(t, name)
			tools := map[string][]string{}
			for _, s := range script(t, name) {
				if s.Name != "stopped" && s.Name != "passes" {
					continue
				}
				c := play(t, p, s)
				tools[s.Name] = slices.Sorted(maps.Keys(c.used))
				recorded := read(t, name+"."+s.Name+".jsonl", c.told)
				r, err := replay.Verify((&log{recorded}).Events, 0)
				if err != nil || r.Verdicts != len(c.calls) || r.Same != r.Verdicts {
					t.Errorf("%s: %+v %v", s.Name, r, err)
				}
				last := c.calls[len(c.calls)-1].verdict
				denied := slices.ContainsFunc(c.calls, func(s sent) bool { return !s.verdict.Action.Passes() })
				if stopped := s.Name == "stopped"; stopped == last.Action.Passes() || stopped != denied {
					t.Errorf("%s ends with %s %s: %s", s.Name, last.Action, last.Rule, last.Why)
				}
			}
			if !slices.Equal(tools["stopped"], tools["passes"]) {
				t.Errorf("stopped uses %q, passes %q", tools["stopped"], tools["passes"])
			}
		})
	}
}

// read returns the events of a recorded session, which have to be those that were played just now.
func read(t *testing.T, file string, played []event.Event) (events []event.Event) {
	t.Helper()
	var now bytes.Buffer
	for _, e := range played {
		line, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		now.Write(append(line, '\n'))
	}
	path := filepath.Join(sessions, file)
	if *update {
		if err := os.WriteFile(path, now.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, "; -update records it")
	}
	if !bytes.Equal(text, now.Bytes()) {
		t.Errorf("%s is not what is recorded now; if that is right, -update records it again", file)
	}
	for line := range bytes.Lines(text) {
		var e event.Event
		if err := e.UnmarshalJSON(line); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if e.Seq != uint64(len(events)+1) {
			t.Fatalf("%s: event %d follows %d", file, e.Seq, len(events))
		}
		events = append(events, e)
	}
	return events
}
