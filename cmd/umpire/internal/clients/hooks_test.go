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

// Whatever is in the file, what is added is taken away again to the byte, and added once.
func TestHooksComeAndGoWithoutATrace(t *testing.T) {
	f := HookFiles()[0]
	for _, before := range []string{
		"", "{}", "{ }", "{\n}\n", " \n{} ", `{"a":1}`, "{\n  \"a\": 1\n}\n", "{\r\n\t\"a\": 1,\r\n\t\"b\": [1,2]\r\n}\r\n", "\xef\xbb\xbf{\"a\":1}",
		`{"hooks":{}}`, `{"hooks": { }, "a": 1}`, "{\n  \"hooks\": {\n    \"Stop\": []\n  }\n}\n",
		"{\n  // mine\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\"matcher\": \"Bash\", \"hooks\": [{\"type\": \"command\", \"command\": \"lint\"}]} // keep\n    ]\n  },\n  \"a\": 1,\n}\n",
		`{"a": {"hooks": 1}, "hooks": {"Stop": [{"hooks": []}], "Other": [{}, 7]}}`,
		`{"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "umpire hook claude-code"}]}]}}`,
		`{"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "/x/umpire --verbose hook claude-code; rm"}]}]}}`,
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
			if h.State == Bare {
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
}

// A file that was made for the hooks goes with them, unless it has become somebody else's as well.
func TestAFileThatWasMadeForHooksGoesWithThem(t *testing.T) {
	f := HookFiles()[0]
	out, err := f.AddHooks(nil, installed)
	if err != nil || !json.Valid(out) {
		t.Fatal(err, string(out))
	}
	if _, gone, err := f.RemoveHooks(out); err != nil || !gone {
		t.Errorf("it stays: %v", err)
	}
	shared := bytes.Replace(out, []byte("{\n"), []byte("{\n  \"model\": \"opus\",\n"), 1)
	if back, gone, err := f.RemoveHooks(shared); err != nil || gone || string(back) != "{\n  \"model\": \"opus\"\n}\n" {
		t.Errorf("%q, gone: %v, %v", back, gone, err)
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

// Files as no formatter writes them: what is added is found, the file stays what its client reads, and comes back.
func TestHooksInAnyFile(t *testing.T) {
	f := HookFiles()[0]
	rapid.Check(t, func(rt *rapid.T) {
		w := &writer{T: rt, syntax: JSON, eol: "\n"}
		w.space()
		w.put("{")
		n := rapid.IntRange(0, 3).Draw(rt, "members")
		at := rapid.IntRange(0, 4).Draw(rt, "where the hooks are")
		for i := range n {
			w.space()
			if i == at {
				w.put(`"hooks"`)
				w.space()
				w.put(":")
				w.space()
				w.put(w.pick(`{}`, `{ "Stop" : [ ] }`, "{\n\t\"PreToolUse\": [ {\"hooks\":[{\"command\":\"x\"}]}, {} ], \"X\": []}", `{"SessionEnd":[{"matcher":"}"}]}`))
			} else {
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
		before := []byte(w.b.String())
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
}
