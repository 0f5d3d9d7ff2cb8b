package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/pelletier/go-toml/v2"
	"github.com/tailscale/hujson"
	"pgregory.net/rapid"
)

// writer writes a configuration as no formatter would: each choice that the syntax leaves is drawn.
type writer struct {
	*rapid.T
	syntax Syntax
	b      strings.Builder
	eol    string
	indent string // of the keys, where each has a line
}

func (w *writer) pick(of ...string) string { return rapid.SampledFrom(of).Draw(w.T, "pick") }
func (w *writer) coin() bool               { return rapid.Bool().Draw(w.T, "coin") }
func (w *writer) put(parts ...string)      { w.b.WriteString(strings.Join(parts, "")) }

// word draws a text that is awkward to write.
func (w *writer) word() string {
	return w.pick("npx", "-y", "--", "a b", "é", "日本", "🦀", `C:\x\y.exe`, `"quoted"`, "it's", "run", "--name", "#", "//", "/*x*/", "a,b", "[x]", "{y}", "x: y",
		"tab\there", "", "true", "8080", "${A}", "--no-args", "]", "}", "-", "\u2028", "\u202e")
}

// space draws white space, with comments where the syntax of values has them.
func (w *writer) space() {
	if w.syntax == JSON {
		w.put(w.pick("", " ", "\t", "  ", w.eol, " /* ] } \" */ ", " // , ] é"+w.eol))
	} else {
		w.put(w.pick("", " ", "  "))
	}
}

// plainWord is what YAML takes for a text anywhere without quotes.
var plainWord = regexp.MustCompile(`^[a-zé][a-zé日本 ]*$`)

// str writes a text in one of the ways in which it can be written.
func (w *writer) str(s string) {
	switch {
	case w.syntax == YAML && plainWord.MatchString(s) && s != "true" && w.coin():
		w.put(s)
	case w.coin():
		w.put(quote(s))
	case w.syntax == TOML && !strings.ContainsAny(s, "'\t"):
		w.put("'", s, "'")
	case w.syntax == YAML && !strings.ContainsAny(s, "\t\u2028\u202e"):
		w.put("'", strings.ReplaceAll(s, "'", "''"), "'")
	default: // escapes that nobody needs
		var b strings.Builder
		for _, r := range s {
			if r < 0x80 && r != '\t' {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteString(strings.Trim(quote(string(r)), `"`))
			}
		}
		w.put(`"`, b.String(), `"`)
	}
}

// list writes a list, in YAML perhaps an item a line. Indent is that of its key, if it stands on a line of its own.
func (w *writer) list(words []string) {
	if w.indent != "" && w.syntax == YAML && len(words) > 0 && w.coin() {
		dash := w.pick("", "  ") + "-" + w.pick(" ", "   ")
		for _, s := range words {
			w.put(w.pick("", " # x"), w.eol, w.pick("", "  # ] -"+w.eol), w.indent, dash)
			w.str(s)
		}
		return
	}
	w.put("[")
	for i, s := range words {
		if i > 0 {
			w.put(",")
		}
		w.space()
		w.str(s)
		w.space()
	}
	if len(words) == 0 {
		w.space()
	} else if w.syntax != YAML && w.coin() {
		w.put(",")
		w.space()
	}
	w.put("]")
}

// key is a key of an object and how its value is written.
type key struct {
	name  string
	value func()
}

// server draws an entry: its keys in some order.
func (w *writer) server() (keys []key) {
	if rapid.IntRange(0, 3).Draw(w.T, "kind") == 0 {
		kind := w.pick("", "http", "sse", "ws")
		url := w.pick("https://example.com/mcp", "http://[::1]:80/é?q=%2F#x", "${URL}/x")
		if kind == "ws" || kind == "" && w.coin() {
			url = w.pick(url, "wss://example.com/mcp", "ws://[::1]:80/é?q=%2F#x")
		}
		keys = []key{{"url", func() { w.str(url) }}, {"headers", func() { w.object([]key{{"A", func() { w.str(w.word()) }}}) }}}
		if kind != "" {
			keys = append(keys, key{w.pick("type", "transport"), func() { w.str(kind) }})
		}
	} else {
		command := "c" + w.word()
		keys = []key{{"command", func() { w.str(command) }}}
		if w.coin() {
			words := make([]string, rapid.IntRange(0, 3).Draw(w.T, "words"))
			for i := range words {
				words[i] = w.word()
			}
			keys = append(keys, key{"args", func() { w.list(words) }})
		}
		keys = append(keys, key{"env", func() { w.object(nil) }})
	}
	return rapid.Permutation(keys).Draw(w.T, "order")
}

// object writes an object in braces.
func (w *writer) object(keys []key) {
	w.put("{")
	for i, k := range keys {
		if i > 0 {
			w.put(",", w.pick("", " "))
		}
		w.space()
		w.name(k.name)
		w.put(w.pick("", " "), map[Syntax]string{JSON: ":", TOML: "=", YAML: ": "}[w.syntax])
		w.space()
		k.value()
		w.space()
	}
	if w.syntax == JSON && len(keys) > 0 && w.coin() {
		w.put(",")
		w.space()
	}
	w.put("}")
}

func (w *writer) name(s string) {
	if w.syntax == JSON || strings.ContainsAny(s, " é日") {
		w.put(quote(s))
	} else {
		w.put(s)
	}
}

// config draws a whole file with some servers in it.
func config(t *rapid.T, s Syntax) []byte {
	w := &writer{T: t, syntax: s}
	w.eol = w.pick("\n", "\r\n")
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b-c", "with space", "é", "日本", "run"}), 1, 4, rapid.ID).Draw(t, "names")
	if w.coin() {
		w.put(string(bom))
	}
	var servers []key
	for _, n := range names {
		keys := w.server()
		servers = append(servers, key{n, func() { w.object(keys) }})
	}
	switch {
	case s == JSON:
		w.space()
		w.object([]key{{"x", func() { w.str(w.word()) }}, {"servers", func() { w.object(servers) }}})
		w.space()
	case s == TOML && w.coin(), s == YAML && w.coin():
		assign := map[Syntax]string{TOML: " = ", YAML: ": "}[s]
		w.put("x", assign, "1 # é", w.eol)
		w.put("servers", assign)
		w.object(servers)
		w.put(w.eol)
	default:
		w.blocks(names)
	}
	return []byte(w.b.String())
}

// blocks writes servers as tables, or as indented lines.
func (w *writer) blocks(names []string) {
	if w.syntax == YAML {
		w.put("servers:", w.eol)
	}
	assign, indent := " = ", w.pick("", "  ", "\t")
	if w.syntax == YAML {
		assign, indent = ": ", w.pick("    ", "   ")
	}
	for _, n := range names {
		if w.syntax == TOML {
			w.put("[servers.")
			w.name(n)
			w.put("]", w.pick("", " # é ["), w.eol)
		} else {
			w.put("  ")
			w.name(n)
			w.put(":", w.pick("", " # x"), w.eol)
		}
		for _, k := range w.server() {
			w.put(w.pick("", "# comment é"+w.eol, w.eol))
			w.put(indent)
			w.name(k.name)
			w.put(assign)
			w.indent = indent
			k.value()
			w.indent = ""
			w.put(w.pick("", " # , ]"), w.eol)
		}
	}
}

// read reads a file with a parser that knows nothing of places.
func read(t *rapid.T, s Syntax, file []byte) (all map[string]any) {
	var err error
	file = bytes.TrimPrefix(file, bom)
	switch s {
	case JSON:
		if file, err = hujson.Standardize(bytes.Clone(file)); err == nil {
			err = json.Unmarshal(file, &all)
		}
	case TOML:
		err = toml.Unmarshal(file, &all)
	case YAML:
		err = yaml.Unmarshal(file, &all)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	return all
}

// argv returns the command line of an entry.
func argv(e map[string]any) (words []any) {
	words = append(words, e["command"])
	args, _ := e["args"].([]any)
	return append(words, args...)
}

// However a file is written, every server in it is wrapped, nothing else in it means anything else than before, and it
// comes back to the byte.
func TestUnwrapAfterWrapGivesBackTheFile(t *testing.T) {
	for s, name := range map[Syntax]string{JSON: "JSON", TOML: "TOML", YAML: "YAML"} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				f := Format{Syntax: s, Roots: [][]string{{"servers"}}}
				file := config(t, s)
				before := read(t, s, file)
				wrapped, servers, err := Wrap(f, file, here)
				if err != nil {
					t.Fatalf("%v\n%s", err, file)
				}
				after := read(t, s, wrapped)
				was, is := before["servers"].(map[string]any), after["servers"].(map[string]any)
				for _, server := range servers {
					if server.State != Wrapped {
						t.Fatalf("%+v\n%s", server, file)
					}
					b, a := was[server.Name].(map[string]any), is[server.Name].(map[string]any)
					if server.Transport != Stdio {
						url := b["url"].(string)
						own := "http"
						if strings.HasPrefix(url, "ws") || server.Transport == WS && !strings.HasPrefix(url, "http") {
							own = "ws" // so that the client still takes it for one
						}
						if a["url"] != own+"://127.0.0.1:7777/"+server.As()+"/to/"+url {
							t.Fatalf("%v\n%s", a, file)
						}
						a["url"] = url
						continue
					}
					words := argv(a)
					n := len(words) - len(argv(b))
					if words[0] != here.Program || words[1] != "run" || words[n-1] != "--" || !reflect.DeepEqual(words[n:], argv(b)) {
						t.Fatalf("%q was %q\n%s", words, argv(b), file)
					}
					a["command"] = b["command"]
					delete(a, "args")
					if args, ok := b["args"]; ok {
						a["args"] = args
					}
				}
				if !reflect.DeepEqual(before, after) {
					t.Fatalf("%v\n%v", before, after)
				}
				again, _, err := Wrap(f, wrapped, here)
				if err != nil || !bytes.Equal(again, wrapped) {
					t.Fatalf("twice: %v\n%s", err, again)
				}
				back, _, err := Unwrap(f, wrapped, here.Listen)
				if err != nil || !bytes.Equal(back, file) {
					t.Fatalf("%v\n%q\n%q", err, file, back)
				}
			})
		})
	}
}

// Whatever is in a file: it is refused, or what Wrap makes of it becomes the file again. What is wrapped is wrapped
// once, and Unwrap leaves nothing wrapped.
func FuzzWrapUnwrap(f *testing.F) {
	for s := range 3 {
		for i := range 20 {
			f.Add(s, rapid.Custom(func(t *rapid.T) []byte { return config(t, Syntax(s)) }).Example(i))
		}
	}
	f.Fuzz(func(t *testing.T, s int, file []byte) {
		if s < int(JSON) || s > int(YAML) {
			return
		}
		format := Format{Syntax: Syntax(s), Roots: [][]string{{"servers"}, {"projects", "*", "servers"}}}
		bare, was, err := Unwrap(format, file, here.Listen)
		if err != nil || slices.ContainsFunc(was, func(s Server) bool { return s.State == Wrapped }) { // one in the other
			return
		}
		wrapped, servers, err := Wrap(format, bare, here)
		if err != nil {
			return
		}
		for _, s := range servers {
			if s.State == Bare {
				t.Errorf("%+v", s)
			}
		}
		again, _, err := Wrap(format, wrapped, here)
		if err != nil || !bytes.Equal(again, wrapped) {
			t.Errorf("twice: %v\n%q\n%q", err, wrapped, again)
		}
		back, _, err := Unwrap(format, wrapped, here.Listen)
		if err != nil || !bytes.Equal(back, bare) {
			t.Errorf("%v\n%q\n%q", err, bare, back)
		}
	})
}
