package transcript_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// history is recorded events.
type history []event.Event

func (h history) events(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range h {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

// append adds an event, and the verdict of a state on it if it is one to judge.
func (h *history) append(s *rules.State, e event.Event) {
	e.V, e.Seq = event.Version, uint64(len(*h)+1)
	call, v := e.Seq, event.Verdict{}
	_, judged := e.Body.(*event.Call)
	if judged {
		v = s.Decide(e)
	}
	s.Apply(e)
	*h = append(*h, e)
	if judged {
		said := event.Event{V: event.Version, Seq: e.Seq + 1, At: e.At, Session: e.Session, Cause: call, Body: &v}
		s.Apply(said)
		*h = append(*h, said)
	}
}

func read(t *testing.T, file string) (h history) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var e event.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(file, err)
		}
		h = append(h, e)
	}
	return h
}

// passes plays an exported archive under the policy in it.
func passes(t *testing.T, call uint64, text []byte) {
	t.Helper()
	a, err := transcript.Parse("incident", text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := rules.Compile(a.Sources(), a.Env)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range a.Cases {
		r, err := c.Play(transcript.NewPlayer(rules.NewState(p), nil))
		if err != nil || len(r.Failures) > 0 {
			t.Errorf("call %d: %v %+v\n%s", call, err, r.Failures, text)
		}
	}
}

// said returns the whole verdict that an archive has of its call: what stands below the last line of it that is judged.
func said(text []byte) string {
	var last []string
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "  "):
			last = append(last, line)
		case line != "\n":
			last = nil
		}
	}
	return strings.Join(last, "")
}

// Every call of every recorded session of the example policies becomes a test that passes under the policy that was in force
// and has the recorded verdict; and so do those in which nothing is stopped.
func TestEveryRecordedCallBecomesATestThatPasses(t *testing.T) {
	files, err := filepath.Glob("../../testdata/sessions/*.jsonl")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			h := read(t, file)
			calls := 0
			for _, e := range h {
				v, ok := e.Body.(*event.Verdict)
				if !ok || v.After != 0 {
					continue
				}
				calls++
				text, err := transcript.Record(h.events, e.Cause)
				if err != nil {
					t.Fatal(err)
				}
				passes(t, e.Cause, text)
				if want := fmt.Sprintf("  %s %s", v.Action, v.Rule); !strings.HasPrefix(said(text), strings.TrimRight(want, " ")) {
					t.Errorf("call %d: want %q:\n%s", e.Cause, want, text)
				}
			}
			if calls == 0 {
				t.Error("it has no calls")
			}
		})
	}
}

// So does every call of a labelled session of a corpus, with what was said in it.
func TestEveryCallOfACorpusBecomesATestThatPasses(t *testing.T) {
	text, err := os.ReadFile("../../testdata/corpus/office.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for line := range bytes.Lines(text) {
		var s struct {
			Events []struct {
				Type, Text, ID, Server, Tool string
				Args                         json.RawMessage
				Error                        bool `json:"is_error"`
			}
		}
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		p, err := rules.Compile([]event.Source{policies.Starter()}, event.Env{OS: "linux", Home: "/home/alice"})
		if err != nil {
			t.Fatal(err)
		}
		state, h, at := rules.NewState(p), history{}, event.At(transcript.Begin)
		h.append(state, event.Event{At: at, Body: p.Loaded()})
		calls := map[string]event.Event{}
		for i, x := range s.Events {
			e := event.Event{At: at.Add(time.Duration(i) * time.Second), Session: "s7"}
			switch x.Type {
			case "call":
				e.Body = &event.Call{Server: x.Server, Tool: x.Tool, ID: json.RawMessage("1"), Args: x.Args, Peer: event.Peer{Agent: "import", Principal: "local:x"}}
				calls[x.ID] = event.Event{Seq: uint64(len(h) + 1), Body: e.Body}
			case "result":
				content, err := json.Marshal(map[string]any{"content": []any{map[string]string{"type": "text", "text": x.Text}}})
				if err != nil {
					t.Fatal(err)
				}
				c := calls[x.ID].Body.(*event.Call)
				e.Cause, e.Body = calls[x.ID].Seq, &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeOK, Content: content}
			default:
				e.Body = &event.Turn{Role: event.Role(x.Type), Source: "import", Trust: event.Trusted, Text: x.Text, Size: len(x.Text)}
			}
			h.append(state, e)
		}
		for _, c := range calls {
			text, err := transcript.Record(h.events, c.Seq)
			if err != nil {
				t.Fatal(err)
			}
			passes(t, c.Seq, text)
			if v := h[c.Seq].Body.(*event.Verdict); !v.Action.Passes() {
				stopped++
				if !strings.HasPrefix(said(text), "  hold "+v.Rule) {
					t.Errorf("want %s %s:\n%s", v.Action, v.Rule, text)
				}
			}
		}
	}
	if stopped == 0 {
		t.Error("nothing is stopped in the corpus")
	}
}

// recorded lets lines happen under a policy and returns what is recorded of it.
func recorded(t *testing.T, policy string, lines ...string) history {
	t.Helper()
	p, err := rules.Compile([]event.Source{{Name: "dir/policy.yaml", Text: policy}}, event.Env{OS: "linux", Home: "/h"})
	if err != nil {
		t.Fatal(err)
	}
	h := history{}
	tape := &tape{State: rules.NewState(p), h: &h}
	h = append(h, event.Event{V: 1, Seq: 1, At: event.At(transcript.Begin), Body: p.Loaded()})
	player := transcript.NewPlayer(tape, nil)
	for _, line := range lines {
		happens, err := transcript.Expand(line)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range happens {
			if _, err := player.Play(l); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

// tape records what an engine is told, behind the policy.
type tape struct {
	*rules.State
	h *history
}

// Apply implements transcript.Engine. Numbers are those of the player, and 1 more for the policy.
func (w *tape) Apply(e event.Event) {
	w.State.Apply(e)
	e.Seq++
	if e.Cause != 0 {
		e.Cause++
	}
	if v, ok := e.Body.(*event.Verdict); ok {
		moved := *v
		moved.Evidence = nil
		for _, seq := range v.Evidence {
			moved.Evidence = append(moved.Evidence, seq+1)
		}
		if v.After != 0 {
			moved.After++
		}
		e.Body = &moved
	}
	*w.h = append(*w.h, e)
}

const burst = `rules:
  - {name: burst, on: bank/pay, rate: {max: 2, per: 1h}, do: deny}
  - {name: big, on: bank/pay, where: args.amount > 100, do: hold}
`

func TestAnIncidentIsAsSmallAsTheVerdictAllows(t *testing.T) {
	h := recorded(t, burst,
		`0s call bank/list {"page": 1} -> ok {"content": []}`,
		`1s call session=s2 agent="Claude Code" bank/pay {"amount": 1}`,
		`2s call bank/look {}`,
		`3s turn user Please pay again.`,
		`4s call bank/pay {"amount": 2}`,
		`5s call bank/pay {"amount": 3}`,
		`6s call session=s3 bank/look {}`)
	var denied, other uint64
	for _, e := range h {
		if v, ok := e.Body.(*event.Verdict); ok && v.Action == event.Deny {
			denied = e.Cause
		}
		if c, ok := e.Body.(*event.Call); ok && e.Session == "s3" && c.Tool == "look" {
			other = e.Seq
		}
	}
	text, err := transcript.Record(h.events, denied)
	if err != nil {
		t.Fatal(err)
	}
	want := `Call #12 of session s1 to bank/pay at 2026-11-23T08:00:05Z.
-- policy.yaml --
` + burst + `-- env.json --
{"os":"linux","home":"/h"}
-- call 12 --
clock 2026-11-23T08:00:01Z
0s call session=s2 agent="Claude Code" bank/pay {"amount":1}
3s call bank/pay {"amount":2}
4s call bank/pay {"amount":3}
  deny burst: 3rd call of bank/pay in 1h (limit 2), after #1 #3
    allowed: at most 2 in 1h
    retry: 59m56s
`
	if string(text) != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	if text, err = transcript.Record(h.events, other); err != nil || strings.Contains(string(text), "pay") && strings.Contains(string(text), "call bank/pay") {
		t.Errorf("%v\n%s", err, text)
	}
}

// What a person decided is part of the test.
func TestAnIncidentTellsHowItsHoldEnded(t *testing.T) {
	for _, end := range []string{
		`9s review #1 approve local:ann known=yes, and "quoted"`,
		`9s review #1 deny "local:ann b" "two\nlines"`,
		`300s expired #1 nobody decided within 5m`,
	} {
		h := recorded(t, burst, `0s call bank/pay {"amount": 500}`, `1s call bank/pay {"amount": 1}`, end)
		text, err := transcript.Record(h.events, 2)
		if err != nil {
			t.Fatal(err)
		}
		if passes(t, 2, text); !strings.Contains(string(text), "\n  hold big: ") || strings.HasPrefix(said(text), "  hold") {
			t.Errorf("%s", text)
		}
	}
}

// Verdicts that depend on what is gone, or on another policy, are no test: it is said, and nothing is made up.
func TestWhatCannotBeToldAsATestIsSaid(t *testing.T) {
	h := recorded(t, burst, `0s call bank/pay {"amount": 1}`, `1s call bank/pay {"amount": 2}`, `2s call bank/pay {"amount": 3}`)
	pruned := append(history{h[0]}, h[3:]...)
	if _, err := transcript.Record(pruned.events, 6); err == nil || !strings.Contains(err.Error(), "call #6 cannot be told as a test: ") {
		t.Error(err)
	}
	for _, seq := range []uint64{1, 3, 99} {
		if _, err := transcript.Record(h.events, seq); !errors.Is(err, transcript.ErrNoCall) {
			t.Error(seq, err)
		}
	}
	h = recorded(t, burst+"# the end of a file\n#\n", `0s call bank/pay {"amount": 1}`)
	h[0].Body.(*event.Loaded).Sources[0].Text += "\n-- another file --\n"
	if _, err := transcript.Record(h.events, 2); err == nil {
		t.Error("a policy that cannot stand in an archive is put there")
	}
}

// Whatever is said, called and answered is read again as it was written.
func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	p, err := rules.Compile([]event.Source{{Name: "p", Text: `rules: [{name: x, on: "*/*", where: "origin(args).untrusted", do: log}]`}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-z]+=| |"|\\|\n|-- |#|ok|repeat=2 |%d|->|é)*`))
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[^/]*`)
		args, err := json.Marshal(map[string]string{"a": text.Draw(t, "argument")})
		if err != nil {
			t.Fatal(err)
		}
		peer := event.Peer{Agent: text.Draw(t, "agent"), Principal: text.Draw(t, "principal"), Client: event.Client{Name: text.Draw(t, "client"), Version: text.Draw(t, "version")}}
		var was history
		add := func(cause uint64, b event.Body) {
			was = append(was, event.Event{V: event.Version, Seq: uint64(len(was) + 1), At: event.At(transcript.Begin), Session: "s1", Cause: cause, Body: b})
		}
		said := text.Draw(t, "said")
		add(0, &event.Turn{Role: event.RoleUser, Source: "api", Trust: event.Trusted, Text: said, Size: len(said)})
		add(0, &event.Call{
			Server: word.Draw(t, "server"), Tool: text.Draw(t, "tool"), ID: json.RawMessage("1"), Args: args, Size: len(args), Peer: peer, Seen: true,
			Intent: text.Draw(t, "intent"), Findings: []event.Finding{{Kind: event.Redacted, Path: "args." + text.Draw(t, "path"), Form: rapid.Bool().Draw(t, "form")}},
		})
		c := was[1].Body.(*event.Call)
		add(2, &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeOK, Text: text.Draw(t, "text"), Content: args, Size: len(args), Seen: true})
		add(0, &event.Signal{Source: "wire", Name: text.Draw(t, "name"), Server: "files", Text: text.Draw(t, "signal")})
		if was[3].Body.(*event.Signal).Name == "" {
			t.Skip("a signal has a name")
		}
		var now history
		w := transcript.NewWriter(&listener{State: rules.NewState(p), h: &now}, event.At(transcript.Begin))
		for _, e := range was {
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(was, now) {
			t.Fatalf("written\n%s\nread\n%s\n%s", jsonOf(was), jsonOf(now), w.Text())
		}
		a, err := transcript.Parse("x", []byte("-- a --\n"+w.Text()+"0s call a/b\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Cases[0].Play(transcript.NewPlayer(rules.NewState(p), nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// listener notes what an engine is told.
type listener struct {
	*rules.State
	h *history
}

// Apply implements transcript.Engine.
func (l *listener) Apply(e event.Event) {
	l.State.Apply(e)
	*l.h = append(*l.h, e)
}

func jsonOf(h history) string {
	text, err := json.Marshal([]event.Event(h))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
