package clients

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what is expected from what comes out")

var here = Umpire{Program: "/opt/umpire/bin/umpire", Listen: "127.0.0.1:7777"}

// Each client has a transcript: its file before and after, and how each server stands then. Wrapping twice is wrapping
// once, and unwrapping gives back the file.
func TestTranscripts(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			path := filepath.Join("testdata", c.Name+".txtar")
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, ends := range []string{"\n", "\r\n"} {
				check(t, c, archive, ends)
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func check(t *testing.T, c Client, archive *txtar.Archive, ends string) {
	t.Helper()
	file := func(i int) []byte { return bytes.ReplaceAll(archive.Files[i].Data, []byte("\n"), []byte(ends)) }
	before := file(0)
	after, servers, err := Wrap(c.Format, before, here)
	if err != nil {
		t.Fatal(err)
	}
	var states strings.Builder
	for _, s := range servers {
		fmt.Fprintln(&states, describe(s))
	}
	if *update && ends == "\n" {
		archive.Files[1].Data, archive.Files[2].Data = after, []byte(states.String())
	}
	if !bytes.Equal(after, file(1)) {
		t.Errorf("wrapped:\n%s\nwant:\n%s", after, file(1))
	}
	if want := string(archive.Files[2].Data); states.String() != want {
		t.Errorf("states:\n%s\nwant:\n%s", states.String(), want)
	}
	again, _, err := Wrap(c.Format, after, here)
	if err != nil || !bytes.Equal(again, after) {
		t.Errorf("wrapped twice: %v\n%s", err, again)
	}
	if bytes.Contains(before, []byte("umpire")) {
		return // unwrapping takes away what was there before, too
	}
	back, _, err := Unwrap(c.Format, after, here.Listen)
	if err != nil || !bytes.Equal(back, before) {
		t.Errorf("unwrapped: %v\n%s", err, back)
	}
}

func describe(s Server) string {
	what := s.Upstream()
	if s.Inner() != nil {
		what = strings.Join(s.Inner(), " ")
	}
	parts := []string{fmt.Sprintf("%d: %s", s.Line, s.Name)}
	for _, p := range []string{s.Scope, s.Transport, string(s.State), s.As(), what, s.Why} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if s.Disabled {
		parts = append(parts, "disabled")
	}
	return strings.Join(parts, " | ")
}

// What a file says that cannot be read: where, and nothing is changed.
func TestWhatDoesNotParseSaysWhere(t *testing.T) {
	for _, test := range []struct {
		syntax     Syntax
		file, want string
	}{
		{JSON, "{\n  \"mcpServers\": {\n    \"a\": {\"command\": }\n", "3:"},
		{JSON, "[]", "1:1: want an object at the top"},
		{JSON, `{"mcpServers": {"a": {}, "a": {}}}`, `1:26: "a" stands here twice`},
		{JSON, `{"mcpServers": {"a": {"command": "x", "command": "y"}}}`, `1:39: "command" stands here twice`},
		{JSON, `{"mcpServers": {"a": {"command": "x", "comm\u0061nd": "y"}}}`, `1:39: "command" stands here twice`},
		{JSON, "{\"a\": \"\xff\"}", "1:8: this is no UTF-8"},
		{TOML, "a = 1\na = 2\n", "2:"},
		{TOML, "[mcp_servers.x]\ncommand = \"a\nb = 2\n", "2:"},
		{YAML, "extensions:\n  a: [\n", "2:"},
		{YAML, "a: 1\n---\nb: 2\n", "3:2: a second document"},
		{YAML, "- a\n", "1:1: want an object"},
	} {
		f := Format{Syntax: test.syntax, Roots: [][]string{{"mcpServers"}, {"mcp_servers"}, {"extensions"}}}
		for name, change := range map[string]func() error{
			"wrap":   func() error { _, _, err := Wrap(f, []byte(test.file), here); return err },
			"unwrap": func() error { _, _, err := Unwrap(f, []byte(test.file), ""); return err },
		} {
			if err := change(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("%s %q: %v, want %s", name, test.file, err, test.want)
			}
		}
	}
}

// A client may have written its file anew since it was wrapped. What comes back then means the same.
func TestUnwrapUnderstandsWhatAClientHasRewritten(t *testing.T) {
	const wrapped = `{
    "mcpServers": {
        "first": {
            "args": [
                "run",
                "--no-args",
                "--name",
                "first",
                "--",
                "uvx"
            ],
            "command": "/gone/umpire"
        },
        "last": {
            "command": "/gone/umpire",
            "env": {},
            "args": ["run", "--no-args", "--name", "last", "--", "uvx"]
        },
        "empty": {
            "command": "C:\\umpire\\UMPIRE.EXE",
            "args": [
                "run",
                "--name",
                "empty",
                "--",
                "uvx"
            ]
        },
        "more": {"command": "umpire", "args": ["run", "--no-args", "--name", "more", "--", "uvx", "added"]}
    }
}`
	const want = `{
    "mcpServers": {
        "first": {
            "command": "uvx"
        },
        "last": {
            "command": "uvx",
            "env": {}
        },
        "empty": {
            "command": "uvx",
            "args": [
                
            ]
        },
        "more": {"command": "uvx", "args": ["added"]}
    }
}`
	got, servers, err := Unwrap(All()[1].Format, []byte(wrapped), "")
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if slices.ContainsFunc(servers, func(s Server) bool { return s.State != Bare }) {
		t.Error(servers)
	}
}

// Names that policies cannot hold are replaced, each by one of its own, and the same again by the same.
func TestNamesThatPoliciesCannotHold(t *testing.T) {
	taken := names{"a-b": "a-b"}
	for _, test := range [][2]string{{"a b", "a-b-2"}, {"a/b", "a-b-3"}, {"a b", "a-b-2"}, {"файлы", "server"}, {"-x-", "x"}, {"a-b", "a-b"}, {"@s/y.z_1", "s-y.z_1"}} {
		if got := taken.name(test[0]); got != test[1] {
			t.Errorf("%q becomes %q, want %q", test[0], got, test[1])
		}
	}
}

func TestClientsAreKnownByTheirNames(t *testing.T) {
	for _, c := range All() {
		if got, ok := Named(strings.ToUpper(c.Name)); !ok || got.Title != c.Title {
			t.Errorf("%s is %s", c.Name, got.Title)
		}
	}
	if c, ok := Named("claude"); ok {
		t.Error(c)
	}
}

// A parser that does not know where things are changes nothing.
func TestChangesThatAreNotInTheFileAreRefused(t *testing.T) {
	for name, edits := range map[string]splices{
		"behind its end": {{start: 2, end: 9}}, "backwards": {{start: 3, end: 2}}, "one in another": {{start: 0, end: 3}, {start: 2, end: 4}},
	} {
		if out, err := edits.apply([]byte("file")); !errors.Is(err, ErrIrreversible) {
			t.Errorf("%s: %q %v", name, out, err)
		}
	}
}

// YAML takes a carriage return for the end of a line, and editors do not: places would be somebody else's.
func TestYAMLWithACarriageReturnInALineIsRefused(t *testing.T) {
	_, _, err := Wrap(Format{Syntax: YAML, Roots: [][]string{{"servers"}}}, []byte("servers:\r\n  a: \"x\ry\"\r\n"), here)
	var at *SyntaxError
	if !errors.As(err, &at) || at.Line != 2 || at.Col != 8 || !strings.Contains(at.Msg, "carriage return") {
		t.Errorf("%v", err)
	}
}
