package rules_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

var update = flag.Bool("update", false, "write what happened into the transcripts")

var begin = transcript.Begin

// TestTranscripts plays testdata/rules/*.txtar: a policy, and a transcript of what happens and what is decided, to the last
// word. Package transcript has the notation. A file named warnings, if there is one, holds what check warns of.
func TestTranscripts(t *testing.T) {
	archives(t, "rules", func(t *testing.T, a *transcript.Archive) []byte {
		p, err := rules.Compile(a.Sources(), a.Env)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range a.Cases {
			if _, err := c.Play(transcript.NewPlayer(&twins{State: rules.NewState(p), folded: rules.NewState(p), t: t}, nil)); err != nil {
				t.Fatal(err)
			}
		}
		return with(a.Format(true), "warnings", warnings(p))
	})
}

// archives compares the archives of a folder of testdata with what is made of them.
func archives(t *testing.T, folder string, play func(t *testing.T, a *transcript.Archive) []byte) {
	t.Helper()
	files, err := filepath.Glob("../testdata/" + folder + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a, err := transcript.Parse(file, text)
			if err != nil {
				t.Fatal(err)
			}
			now := play(t, a)
			if string(now) == string(text) {
				return
			}
			if !*update {
				t.Fatalf("it is otherwise (-update writes it):\n%s", now)
			}
			if err := os.WriteFile(file, now, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// with returns an archive with another text in a file, if it has that file.
func with(archive []byte, name, text string) []byte {
	a := txtar.Parse(archive)
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(text)
		}
	}
	return txtar.Format(a)
}

// warnings formats what check warns of, with hints.
func warnings(p *rules.Policy) string {
	var out strings.Builder
	for _, w := range p.Warnings(nil, 0) {
		fmt.Fprintf(&out, "%s:%d: %s\n", w.File, w.Line, w.Msg)
		if w.Hint != "" {
			fmt.Fprintf(&out, "  hint: %s\n", w.Hint)
		}
	}
	return out.String()
}

// twins are a state that decides and one that only folds, as recovery does: they have to agree.
type twins struct {
	*rules.State
	folded *rules.State
	t      *testing.T
}

// Decide implements transcript.Engine.
func (w *twins) Decide(e event.Event) event.Verdict {
	v := w.State.Decide(e)
	if again := w.folded.Decide(e); !same(v, again) {
		w.t.Errorf("#%d\nlive %+v\nfolded %+v", e.Seq, v, again)
	}
	return v
}

// Apply implements transcript.Engine.
func (w *twins) Apply(e event.Event) {
	w.State.Apply(e)
	w.folded.Apply(e)
}

func same(a, b event.Verdict) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
