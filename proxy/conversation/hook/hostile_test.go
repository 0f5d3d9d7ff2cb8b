package hook_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy/conversation/hook"
)

// What cannot be understood is said, and where. A call that could be prevented is; a client that wants to end may.
func TestHooksThatCannotBeUnderstood(t *testing.T) {
	x := newDesk(t)
	for _, tc := range []struct {
		name, raw, why string
		block          bool
	}{
		{"nothing", ``, "ends too early", true},
		{"no JSON", `please`, "no JSON value", true},
		{"a list", `[]`, "no object", true},
		{"half of it", `{"hook_event_name":"PreToolUse","tool_na`, "at byte", true},
		{"two readings", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{},"tool_use_id":"u","tool_name":"Bash"}`, "duplicate key", true},
		{"no event", `{"session_id":"c"}`, "hook_event_name: missing", true},
		{"an unknown event", `{"session_id":"c","hook_event_name":"PreToolUze"}`, `has no event "PreToolUze"`, true},
		{"no conversation", `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{},"tool_use_id":"u"}`, "session_id: missing", true},
		{"an empty conversation", `{"session_id":"","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{},"tool_use_id":"u"}`, "session_id: is empty", true},
		{"no tool", `{"session_id":"c","hook_event_name":"PreToolUse","tool_input":{},"tool_use_id":"u"}`, "tool_name: missing", true},
		{"a tool that is a number", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":7,"tool_input":{},"tool_use_id":"u"}`, "tool_name: want a string", true},
		{"a long tool", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"` + strings.Repeat("x", 300) + `","tool_input":{},"tool_use_id":"u"}`, "300 bytes", true},
		{"no arguments", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"u"}`, "tool_input: want an object", true},
		{"arguments in a text", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":"{}","tool_use_id":"u"}`, "tool_input: want an object", true},
		{"no id", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{}}`, "tool_use_id: missing", true},
		{"nested too deep", `{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + `,"tool_use_id":"u"}`, "nested deeper", true},
		{"a prompt without words", `{"session_id":"c","hook_event_name":"UserPromptSubmit","prompt":{}}`, "prompt: want a string", false},
		{"a prompt of 40 MiB", `{"session_id":"c","hook_event_name":"UserPromptSubmit","prompt":"` + strings.Repeat("x", 40<<20) + `"}`, "longer than", false},
		{"an end without conversation", `{"hook_event_name":"Stop"}`, "session_id: missing", false},
	} {
		a := x.hooks.Hear(context.Background(), hook.Find("claude-code"), []byte(tc.raw), x.caller)
		if !strings.Contains(a.Stderr, tc.why) {
			t.Errorf("%s: %+v does not say %q", tc.name, a, tc.why)
		}
		if tc.block && a.Exit != 2 || !tc.block && (a.Exit != 1 || a.Stdout != "") {
			t.Errorf("%s: %+v", tc.name, a)
		}
		if tc.block {
			x.denied(a)
		}
	}
	x.wants()
}

// A transcript is where the client keeps its transcripts, whatever the hook says, and its end is what counts.
func TestHostileTranscripts(t *testing.T) {
	x := newDesk(t)
	elsewhere := filepath.Join(t.TempDir(), "secret.jsonl")
	if err := os.WriteFile(elsewhere, []byte(says("s", "a secret")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tells := func(conversation, path string) {
		t.Helper()
		raw := fmt.Sprintf(`{"session_id":%q,"transcript_path":%q,"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"u-%[1]s"}`, conversation, path)
		x.passes(x.hooks.Hear(context.Background(), hook.Find("claude-code"), []byte(raw), x.caller))
	}
	at := func(name string) string { return filepath.Join(x.dir, name) }
	tells("outside", elsewhere)
	tells("above", x.dir+"/../"+filepath.Base(filepath.Dir(elsewhere))+"/secret.jsonl")
	tells("relative", "secret.jsonl")
	tells("directory", x.dir)
	tells("absent", at("absent.jsonl"))
	if runtime.GOOS != "windows" {
		if err := os.Symlink(elsewhere, at("link.jsonl")); err != nil {
			t.Fatal(err)
		}
		tells("link", at("link.jsonl"))
		tells("pipe", "/dev/stdin")
	}
	unheard := 0
	for _, line := range x.history() {
		if strings.Contains(line, "secret\"") {
			t.Error("read: ", line)
		}
		if strings.HasPrefix(line, "unheard:") {
			unheard++
		}
	}
	if want := map[bool]int{true: 4, false: 6}[runtime.GOOS == "windows"]; unheard != want {
		t.Errorf("%d transcripts are said to be unheard, want %d:\n%s", unheard, want, strings.Join(x.history(), "\n"))
	}
}

func TestATranscriptMayHoldAnything(t *testing.T) {
	x := newDesk(t)
	x.writes(strings.Repeat("x", 3<<20)) // more than is read, on one line
	x.writes(
		"\x00\xff binary \x1b[2J", `{"type":"assistant"`, `{"type":"assistant","message":7}`, `[1,2,3]`, `"assistant"`, "",
		`{"type":"assistant","uuid":7,"message":{"content":{"type":"text","text":"no list"}}}`,
		`{"type":"assistant","message":{"content":[7,{"type":"text","text":7},{"type":"text"},null]}}`,
		`{"type":"user","message":{"content":[{"type":"tool_result"},{"type":"tool_result","content":{"a":1}}]}}`,
		`{"type":"user","message":{"role":"assistant","content":"not the model's"}}`,
		`{"type":"assistant","type":"user","message":{"content":"two readings"}}`,
		`{"type":"assistant","message":{"content":"`+strings.Repeat(`[`, 2000)+`"}`,
		strings.Repeat(`{"assistant":`, 5000),
	)
	x.writes(says(strings.Repeat("i", 300), "an id that is too long"), says("z", "the last words"))
	x.passes(x.tells("SessionStart", ""))
	x.wants(`trusted assistant "an id that is too long"`, `trusted assistant "the last words"`)
}

// However many words come at once, a hook records a bounded number of turns, the last ones, and says what it left out.
func TestAFloodInATranscriptIsCut(t *testing.T) {
	x := newDesk(t)
	x.writes(says("first", "hello"))
	x.passes(x.tells("SessionStart", ""))
	var flood []string
	for i := range 20_000 {
		flood = append(flood, says(fmt.Sprint("f", i), fmt.Sprint("word ", i)))
	}
	x.writes(flood...)
	x.passes(x.tells("SessionStart", ""))
	got := x.history()
	if n := len(got); n > 300 || got[n-1] != `trusted assistant "word 19999"` || !strings.Contains(strings.Join(got, "\n"), "unheard: ") {
		t.Errorf("%d lines, the last is %s", n, got[n-1])
	}
}

func TestManyConversationsAreBounded(t *testing.T) {
	x := newDesk(t)
	for i := range 1100 {
		raw := fmt.Sprintf(`{"session_id":"c%d","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"u"}`, i)
		x.passes(x.hooks.Hear(context.Background(), hook.Find("claude-code"), []byte(raw), x.caller))
	}
	lost := 0
	for _, line := range x.history() {
		if strings.HasPrefix(line, "lost ") {
			lost++
		}
	}
	if lost != 100 {
		t.Errorf("%d calls of conversations that found no room are said to be lost", lost)
	}
}

// FuzzParse: whatever a hook sends is read or refused, and what is read names a conversation and an event.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"session_id":"c","hook_event_name":"PreToolUse","tool_name":"mcp__a__b","tool_input":{},"tool_use_id":"u","mcp_server":{"name":"a"}}`))
	f.Add([]byte(`{"session_id":"c","hook_event_name":"UserPromptSubmit","prompt":"p"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := hook.Find("claude-code")
		in, err := c.Parse(raw)
		if err == nil && (in.Conversation == "" || in.Event == "") {
			t.Errorf("%+v", in)
		}
		if err != nil {
			if a := c.Refuse(raw, err); a.Exit == 0 {
				t.Errorf("%+v", a)
			}
		}
	})
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
