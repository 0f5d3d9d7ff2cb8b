package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tailscale/hujson"
	"pgregory.net/rapid"
)

var installed = Umpire{Program: "/opt/my tools/it's/umpire", Flags: []string{"--state", "/var/lib/u"}}

// each tests the hooks of each client.
func each(t *testing.T, test func(t *testing.T, f HookFile)) {
	t.Helper()
	for _, f := range HookFiles() {
		t.Run(f.Client, func(t *testing.T) { test(t, f) })
	}
}

// byHand is an entry as somebody may have written it.
func (f HookFile) byHand(command string) string {
	entry := `{"type": "command", "command": ` + quote(command) + `}`
	if f.flat {
		return entry
	}
	return `{"matcher": "*", "hooks": [` + entry + `]}`
}

// blocking returns the event of a client that can prevent a call.
func (f HookFile) blocking() string {
	for _, e := range f.events {
		if e.blocks {
			return e.name
		}
	}
	return ""
}

// Whatever is in the file, what is added is taken away again to the byte, and added once.
func TestHooksComeAndGoWithoutATrace(t *testing.T) {
	each(t, func(t *testing.T, f HookFile) {
		last := f.events[len(f.events)-1].name
		for _, before := range []string{
			"", " \n", "{}", "{ }", "{\n}\n", " \n{} ", `{"a":1}`, "{\n  \"a\": 1\n}\n", "{\r\n\t\"a\": 1,\r\n\t\"b\": [1,2]\r\n}\r\n", "\xef\xbb\xbf{\"a\":1}",
			`{"version":1}`, `{"version": 1, "hooks": {}}`, "{\n  \"version\": 1,\n  \"hooks\": {}\n}\n", `{"hooks":{},"version":2}`,
			`{"hooks":{}}`, `{"hooks": { }, "a": 1}`, "{\n  \"hooks\": {\n    \"" + last + "\": []\n  }\n}\n",
			"{\n  // mine\n  \"hooks\": {\n    \"" + f.blocking() + "\": [\n      " + f.byHand("lint") + " // keep\n    ]\n  },\n  \"a\": 1,\n}\n",
			`{"a": {"hooks": 1}, "hooks": {"` + last + `": [{"hooks": []}], "Other": [{}, 7]}}`,
			`{"hooks": {"` + f.blocking() + `": [` + f.byHand("umpire hook "+f.Client) + `]}}`,
			`{"hooks": {"` + f.blocking() + `": [` + f.byHand("/x/umpire --verbose hook "+f.Client+"; rm") + `]}}`,
		} {
			out, err := f.AddHooks([]byte(before), installed)
			if err != nil {
				t.Errorf("%q: %v", before, err)
				continue
			}
			list, err := f.Hooks(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range list {
				if h.State == Bare || h.Program == "" {
					t.Errorf("%q has no hook for %s in\n%s", before, h.Event, out)
				}
			}
			if again, err := f.AddHooks(out, installed); err != nil || !bytes.Equal(again, out) {
				t.Errorf("twice is not once: %v\n%s", err, again)
			}
			back, gone, err := f.RemoveHooks(out)
			if err != nil || gone || string(back) != before {
				t.Errorf("%q became %q, gone: %v, %v", before, back, gone, err)
			}
		}
	})
}

// A file that was made for the hooks is what the client wants, and goes with them, unless it has become somebody else's as well.
func TestAFileThatWasMadeForHooksGoesWithThem(t *testing.T) {
	each(t, func(t *testing.T, f HookFile) {
		out, err := f.AddHooks(nil, installed)
		if err != nil {
			t.Fatal(err)
		}
		var made struct {
			Version int
			Hooks   map[string][]map[string]any
		}
		if err := json.Unmarshal(out, &made); err != nil || len(made.Hooks) != len(f.events) || (made.Version == 1) != f.versioned {
			t.Fatalf("%v\n%s", err, out)
		}
		for name, list := range made.Hooks {
			if _, nested := list[0]["hooks"]; nested == f.flat {
				t.Errorf("%s: %v", name, list)
			}
		}
		if _, gone, err := f.RemoveHooks(out); err != nil || !gone {
			t.Errorf("it stays: %v", err)
		}
		shared := bytes.Replace(out, []byte("{\n"), []byte("{\n  \"model\": \"opus\",\n"), 1)
		if back, gone, err := f.RemoveHooks(shared); err != nil || gone || string(back) != "{\n  \"model\": \"opus\"\n}\n" {
			t.Errorf("%q, gone: %v, %v", back, gone, err)
		}
	})
}

// Hooks that post to the daemon are hooks, too.
func TestHooksThatPostAreFound(t *testing.T) {
	f := HookFiles()[0]
	list, err := f.Hooks([]byte(`{"hooks": {"PreToolUse": [{"hooks": [{"type": "http", "url": "http://127.0.0.1:7777/hooks/claude-code"}]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range list {
		if want := map[bool]State{true: ByHand, false: Bare}[h.Event == "PreToolUse"]; h.State != want {
			t.Errorf("%+v", h)
		}
	}
}

// What others add around the hooks, and what a client makes of the file by writing it anew, stays.
func TestRemovingHooksLeavesWhatCameLater(t *testing.T) {
	f := HookFiles()[0]
	out, err := f.AddHooks([]byte(`{"a": 1}`), installed)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	pre := v["hooks"].(map[string]any)["PreToolUse"].([]any)
	group := pre[0].(map[string]any)
	group["hooks"] = append(group["hooks"].([]any), map[string]any{"type": "command", "command": "lint"})
	v["hooks"].(map[string]any)["Stop"] = append(v["hooks"].(map[string]any)["Stop"].([]any), map[string]any{"hooks": []any{}})
	v["hooks"].(map[string]any)["Mine"] = []any{}
	anew, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	back, gone, err := f.RemoveHooks(anew)
	if err != nil || gone {
		t.Fatal(gone, err)
	}
	var got, want any
	const left = `{"a": 1, "hooks": {"Mine": [], "PreToolUse": [{"hooks": [{"type": "command", "command": "lint"}]}], "Stop": [{"hooks": []}]}}`
	if err := json.Unmarshal(back, &got); err != nil {
		t.Fatalf("%v\n%s", err, back)
	}
	if err := json.Unmarshal([]byte(left), &want); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("left\n%s\nwant\n%s", back, left)
	}
}

func TestFilesThatCannotHoldHooksAreLeftAlone(t *testing.T) {
	f := HookFiles()[0]
	for before, why := range map[string]string{
		`[]`:                          "want an object at the top",
		`{"hooks": []}`:               "1:2: want an object of hooks",
		`{"hooks": {"Stop": {}}}`:     "want a list of hooks for Stop",
		`{"hooks": {}, "hooks": {}}`:  `"hooks" stands there twice`,
		`{"hooks": {"a":[], "a":[]}}`: `"a" stands there twice`,
		`{"a": `:                      "",
	} {
		if out, err := f.AddHooks([]byte(before), installed); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v\n%s", before, err, out)
		}
	}
}

// drawn draws a file as no formatter writes one, with hooks in it or not.
func (f HookFile) drawn(rt *rapid.T) []byte {
	w := &writer{T: rt, syntax: JSON, eol: "\n"}
	w.space()
	w.put("{")
	n := rapid.IntRange(0, 3).Draw(rt, "members")
	at := rapid.IntRange(0, 4).Draw(rt, "where the hooks are")
	last := f.events[len(f.events)-1].name
	for i := range n {
		w.space()
		switch {
		case i == at:
			w.put(`"hooks"`)
			w.space()
			w.put(":")
			w.space()
			w.put(w.pick(`{}`, `{ "`+last+`" : [ ] }`, "{\n\t\""+f.blocking()+"\": [ "+f.byHand("x")+", {} ], \"X\": []}", `{"`+last+`":[{"matcher":"}"}]}`))
		case i == at-1 && w.coin():
			w.put(`"version"`, w.pick(":", " : "), w.pick("1", "2", `"1"`))
		default:
			w.put(quote(fmt.Sprint("m", i)))
			w.space()
			w.put(":")
			w.space()
			w.put(w.pick("1", `"}"`, "[]", `{"hooks":{}}`, "null"))
		}
		w.space()
		if i+1 < n {
			w.put(",")
		}
	}
	w.put("}")
	w.space()
	return []byte(w.b.String())
}

// Files as no formatter writes them: what is added is found, the file stays what its client reads, and comes back.
func TestHooksInAnyFile(t *testing.T) {
	each(t, func(t *testing.T, f HookFile) {
		rapid.Check(t, func(rt *rapid.T) {
			before := f.drawn(rt)
			out, err := f.AddHooks(before, installed)
			if errors.Is(err, ErrIrreversible) {
				rt.Skip("it cannot be undone, and is not done")
			}
			if err != nil {
				rt.Fatalf("%v\n%s", err, before)
			}
			if _, err := hujson.Parse(out); err != nil {
				rt.Fatalf("%v\n%s", err, out)
			}
			back, gone, err := f.RemoveHooks(out)
			if err != nil || gone || !bytes.Equal(back, before) {
				rt.Fatalf("%q became %q, %v", before, back, err)
			}
		})
	})
}

// Whatever is in a file: it is refused, or what is added is there once, and goes without a trace.
func FuzzHooks(f *testing.F) {
	files := HookFiles()
	for i, file := range files {
		for seed := range 10 {
			f.Add(i, rapid.Custom(file.drawn).Example(seed))
		}
	}
	f.Fuzz(func(t *testing.T, i int, file []byte) {
		if i < 0 || i >= len(files) {
			return
		}
		bare, gone, err := files[i].RemoveHooks(file)
		if err != nil || gone {
			return
		}
		bare = append([]byte{}, bare...) // there is a file
		out, err := files[i].AddHooks(bare, installed)
		if err != nil {
			return
		}
		again, err := files[i].AddHooks(out, installed)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("twice: %v\n%q\n%q", err, out, again)
		}
		if back, gone, err := files[i].RemoveHooks(out); err != nil || gone || !bytes.Equal(back, bare) {
			t.Errorf("%v, %v\n%q\n%q", gone, err, bare, back)
		}
	})
}
