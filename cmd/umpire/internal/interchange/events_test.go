package interchange_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/store"
)

// imports imports files, and returns what is there afterwards, as umpire export prints it.
func imports(t *testing.T, files ...string) (string, *store.DB, error) {
	t.Helper()
	db, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "history.db"), Imported: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	im := interchange.Import{DB: db}
	_, err = im.Files(context.Background(), files)
	var out strings.Builder
	for raw, err := range db.Raw(1) {
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
		out.WriteByte('\n')
	}
	return out.String(), db, err
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAnExportComesInAsItIs(t *testing.T) {
	names, err := filepath.Glob("../../../../testdata/sessions/*.jsonl")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, db, err := imports(t, name)
		if err == nil {
			err = db.Check()
		}
		if err != nil || got != string(text) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		// cut in the middle, it is two files
		lines := strings.SplitAfter(string(text), "\n")
		first, rest := file(t, strings.Join(lines[:3], "")), file(t, strings.Join(lines[3:], ""))
		if got, _, err := imports(t, first, rest); err != nil || got != string(text) {
			t.Errorf("%s in two: %v", name, err)
		}
	}
}

const (
	loaded  = `{"v":1,"seq":1,"at":"2026-01-01T00:00:01Z","loaded":{"digest":"d","sources":[],"env":{"os":"linux"}}}`
	called  = `{"v":1,"seq":4,"at":"2026-01-01T00:00:04Z","session":"s1","call":{"link":"l","server":"s","tool":"t","id":1,"args":{},"size":2,"principal":"p","agent":"a","client":{}}}`
	allowed = `{"v":1,"seq":5,"at":"2026-01-01T00:00:04Z","session":"s1","cause":4,"verdict":{"action":"allow","policy":"d"}}`
)

// Where retention has removed events, the numbers stay, and what depends on the rest is known to be incomplete.
func TestAnExportFromWhichRetentionHasRemovedEvents(t *testing.T) {
	text := strings.Join([]string{loaded, called, allowed, ""}, "\n")
	got, db, err := imports(t, file(t, text))
	if err == nil {
		err = db.Check()
	}
	pruned, wrong := db.Pruned()
	if err != nil || wrong != nil || got != text || pruned.Seq != 3 || pruned.At.String() != "2026-01-01T00:00:04Z" {
		t.Errorf("%v %v\n%s%+v", err, wrong, got, pruned)
	}
}

// What would not be the history that was exported is refused, with its place.
func TestAnExportThatIsNoHistoryIsRefused(t *testing.T) {
	for want, lines := range map[string][]string{
		"x.jsonl:2: event 1 stands behind event 1":                    {loaded, loaded},
		"x.jsonl:3: event 5: a verdict follows":                       {loaded, called, strings.Replace(allowed, `"cause":4`, `"cause":1`, 1)},
		"x.jsonl:2: event 5: a verdict follows":                       {loaded, allowed},
		"x.jsonl:3: event 6: a verdict follows":                       {loaded, called, strings.Replace(called, `"seq":4`, `"seq":6`, 1)},
		"x.jsonl: the verdict on event 4 is missing":                  {loaded, called},
		"x.jsonl:1: event 4 was judged by a policy that is not in":    {called, allowed},
		"x.jsonl:2: event 4 happened before event 1":                  {loaded, strings.Replace(called, "2026", "2025", 1)},
		"x.jsonl:2: event 4 is caused by a later one":                 {loaded, strings.Replace(called, `"session":`, `"cause":4,"session":`, 1)},
		"x.jsonl:2: event 4 is not as umpire export prints it":        {loaded, strings.Replace(called, `"size":2`, `"size":2,"soul":1`, 1)},
		"x.jsonl:2: event: version 2 of event 4":                      {loaded, strings.Replace(called, `"v":1`, `"v":2`, 1)},
		"x.jsonl:2: event: invalid character":                         {loaded, "7]"},
		"x.jsonl:2: event: want exactly one body of a known kind":     {loaded, `{"v":1,"seq":2,"at":"2026-01-01T00:00:04Z"}`},
		"x.jsonl: want sessions: what umpire export prints":           {`{"some":"thing"}`},
		"Codex; this has nothing in it":                               {""},
		"x.jsonl:1: want source, and label benign or attack":          {`{"source":"","label":"benign","events":[]}`},
		"x.jsonl: no line says when something happened":               {`{"type":"user","sessionId":"a"}`},
		"x.jsonl: line 1: the year 1492 is none that can be recorded": {`{"type":"user","sessionId":"a","timestamp":"1492-10-12T00:00:00Z"}`},
	} {
		_, _, err := imports(t, file(t, strings.Join(append(lines, ""), "\n")))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
