package interchange_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/event"
)

// Whatever a history can hold comes back to the byte: every kind, every text, numbers as they were written, and gaps where
// retention has removed events.
func TestWhatIsExportedIsImportedToTheByte(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		text := printed(rt)
		name := filepath.Join(dir, "x.jsonl")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			rt.Fatal(err)
		}
		got, db, err := imports(t, name)
		if err == nil {
			err = db.Check()
		}
		db.Close() //nolint:errcheck // it is closed again when the test ends
		if err != nil || got != text {
			rt.Fatalf("%v\nexported\n%s\nimported\n%s", err, text, got)
		}
	})
}

// printed draws a history, as umpire export prints it.
func printed(t *rapid.T) string {
	var out strings.Builder
	e := event.Event{V: event.Version, At: event.Time(rapid.Int64Range(0, 1<<60).Draw(t, "begin"))}
	add := func(cause uint64, b event.Body) uint64 {
		e.Seq++
		e.At += event.Time(rapid.Int64Range(0, 1<<40).Draw(t, "later"))
		e.Cause, e.Body = cause, b
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
		return e.Seq
	}
	raw := rapid.SampledFrom([]json.RawMessage{
		json.RawMessage(`{}`), json.RawMessage(`{"n":[1.10,1e400,-0,12345678901234567890],"\u00e9":"é<&>\u2028","a":null}`),
	})
	verdict := func(on, after uint64) {
		v := rapid.Make[event.Verdict]().Draw(t, "verdict")
		v.Action, v.After = event.Action(rapid.IntRange(0, 3).Draw(t, "action")), after
		for i := range v.Also {
			v.Also[i].Action = event.Deny
		}
		add(on, &v)
	}
	add(0, loadedBody(t))
	var calls []uint64
	for range rapid.IntRange(0, 12).Draw(t, "events") {
		e.Session = rapid.SampledFrom([]string{"", "s1", "s2"}).Draw(t, "session")
		kind := rapid.IntRange(0, 12).Draw(t, "kind")
		if kind < 5 && len(calls) == 0 {
			kind = 5
		}
		of := uint64(0)
		if len(calls) > 0 {
			of = rapid.SampledFrom(calls).Draw(t, "of")
		}
		switch kind {
		case 0:
			b := rapid.Make[event.Review]().Draw(t, "review")
			verdict(of, add(of, &b))
		case 1:
			b := rapid.Make[event.Expired]().Draw(t, "expired")
			verdict(of, add(of, &b))
		case 2, 3, 4:
			b := rapid.Make[event.Result]().Draw(t, "result")
			b.Content = raw.Draw(t, "content")
			add(of, &b)
		case 5, 6:
			b := rapid.Make[event.Call]().Draw(t, "call")
			b.ID, b.Args = json.RawMessage(`"é\u0000"`), raw.Draw(t, "args")
			seq := add(0, &b)
			if calls = append(calls, seq); !b.Seen {
				verdict(seq, 0)
			}
		case 7:
			b := rapid.Make[event.Turn]().Draw(t, "turn")
			add(0, &b)
		case 8:
			b := rapid.Make[event.Signal]().Draw(t, "signal")
			add(of, &b)
		case 9:
			b := rapid.Make[event.Accepted]().Draw(t, "accepted")
			add(0, &b)
		case 11:
			b := event.Exception{
				Who: rapid.String().Draw(t, "who"), Agent: rapid.String().Draw(t, "agent"), Rules: rapid.Make[[]event.Ruling]().Draw(t, "rules"),
				With: []event.Argument{{Path: "args.x", Value: raw.Draw(t, "value")}}, Expires: e.At,
			}
			add(of, &b)
		case 12:
			b := rapid.Make[event.Revoked]().Draw(t, "revoked")
			add(of, &b)
		case 10:
			b := event.Catalog{Server: rapid.String().Draw(t, "server"), Complete: rapid.Bool().Draw(t, "complete")}
			for range rapid.IntRange(0, 2).Draw(t, "tools") {
				b.Tools = append(b.Tools, event.Tool{Name: rapid.String().Draw(t, "tool"), InputSchema: raw.Draw(t, "schema")})
			}
			add(0, &b)
		}
		e.Seq += rapid.SampledFrom([]uint64{0, 0, 0, 1, 1000}).Draw(t, "removed")
	}
	return out.String()
}

func loadedBody(t *rapid.T) *event.Loaded {
	b := rapid.Make[event.Loaded]().Draw(t, "loaded")
	return &b
}
