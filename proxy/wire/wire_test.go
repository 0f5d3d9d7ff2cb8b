package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// seeds returns the frames of the transcripts.
func seeds(t testing.TB) (out [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/wire/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(text).Files {
			data := bytes.TrimSuffix(f.Data, []byte("\n"))
			if strings.HasSuffix(f.Name, ".quoted") {
				s, err := strconv.Unquote(string(data))
				if err != nil {
					t.Fatal(err)
				}
				data = []byte(s)
			}
			if !strings.HasSuffix(f.Name, ".want") {
				out = append(out, data)
			}
		}
	}
	return out
}

// typed is how servers in Go read a message: encoding/json, which takes the last of duplicate keys and folds their case.
type typed struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  *struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
		URI       string          `json:"uri"`
		State     string          `json:"requestState"`
		Meta      struct {
			Protocol string          `json:"io.modelcontextprotocol/protocolVersion"`
			Token    json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Invariant 6: every message has one reading. What Parse accepts is valid JSON, and encoding/json reads from it just
// what Parse reads with gjson.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, client bool) {
		side := wire.FromServer
		if client {
			side = wire.FromClient
		}
		frame, err := wire.Parse(data, side)
		if err != nil {
			var refused *wire.Error
			if !errors.As(err, &refused) || !json.Valid(refused.Reply()) {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is no JSON", data)
		}
		for i := range frame.Messages {
			agree(t, &frame.Messages[i])
		}
	})
}

func agree(t *testing.T, m *wire.Message) {
	t.Helper()
	var std typed
	if err := json.Unmarshal(m.Raw, &std); err != nil {
		var wrongType *json.UnmarshalTypeError
		if !errors.As(err, &wrongType) || m.IsCall() && !strings.Contains(wrongType.Field, "_meta") && wrongType.Field != "params.uri" && wrongType.Field != "params.requestState" {
			t.Fatalf("%q: encoding/json cannot read it: %v", m.Raw, err)
		}
		return
	}
	if std.JSONRPC != "2.0" || std.Method != m.Method || m.ID != "" && string(std.ID) != m.ID {
		t.Fatalf("%q: encoding/json reads %+v, we %+v", m.Raw, std, m)
	}
	if (len(std.Result) > 0 && m.Error.Exists()) || m.Kind == wire.Response && (std.Method != "" || m.Result.Raw != string(std.Result)) {
		t.Fatalf("%q: encoding/json reads the result %s, we %s", m.Raw, std.Result, m.Result.Raw)
	}
	if std.Params == nil || m.Kind == wire.Response {
		return
	}
	if std.Params.Meta.Protocol != m.Protocol() || string(std.Params.Meta.Token) != m.Meta("progressToken").Raw {
		t.Fatalf("%q: encoding/json reads the _meta %+v, we %q", m.Raw, std.Params.Meta, m.Protocol())
	}
	if !m.IsCall() {
		return
	}
	c := m.Call()
	if std.Params.Name != c.Name || std.Params.State != c.RequestState {
		t.Fatalf("%q: encoding/json reads %+v, we %+v", m.Raw, std.Params, c)
	}
	if len(std.Params.Arguments) > 0 && string(std.Params.Arguments) != "null" && !reflect.DeepEqual(decode(t, std.Params.Arguments), decode(t, c.Args)) {
		t.Fatalf("%q: encoding/json reads the arguments %s, we %s", m.Raw, std.Params.Arguments, c.Args)
	}
}

func decode(t *testing.T, raw []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return v
}

func TestParseRefusesWhatIsTooLong(t *testing.T) {
	long := append(append([]byte(`{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"`), bytes.Repeat([]byte("x"), wire.MaxSize)...), `"}}`...)
	if _, err := wire.Parse(long, wire.FromClient); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
	batch := []byte("[" + strings.Repeat(`{"jsonrpc":"2.0","method":"x"},`, wire.MaxBatch) + `{"jsonrpc":"2.0","method":"x"}]`)
	if _, err := wire.Parse(batch, wire.FromClient); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Error(err)
	}
}

func TestKey(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"1", "1.0", true},
		{"10", "1e1", true},
		{"0.5", "5e-1", true},
		{`"a"`, `"\u0061"`, true},
		{"0", "-0", true},
		{"1", `"1"`, false},
		{"1", "2", false},
		{"-1", "1", false},
		{`""`, "0", false},
		{"9007199254740993", "9007199254740992", false},
		{`"\""`, `""`, false},
		{"1e40", "1e41", false},
	} {
		if got := wire.Key(tc.a) == wire.Key(tc.b); got != tc.same {
			t.Errorf("%s and %s: %v (%q, %q)", tc.a, tc.b, got, wire.Key(tc.a), wire.Key(tc.b))
		}
	}
}

func TestDenied(t *testing.T) {
	v := event.Verdict{Action: event.Deny, Rule: "r", Why: "w", Evidence: []uint64{1}, RetryMS: 7}
	for modern, want := range map[bool]string{
		false: `{"jsonrpc":"2.0","id":"\u00e4","result":{"_meta":{"umpire/verdict":{"action":"deny","rule":"r","why":"w","evidence":[1],"retryAfterMs":7,"call":9}},"content":[{"type":"text","text":"no <b>"}],"isError":true}}`,
		true:  `{"jsonrpc":"2.0","id":"\u00e4","result":{"_meta":{"umpire/verdict":{"action":"deny","rule":"r","why":"w","evidence":[1],"retryAfterMs":7,"call":9}},"resultType":"complete","content":[{"type":"text","text":"no <b>"}],"isError":true}}`,
	} {
		if got := string(wire.Denied(`"\u00e4"`, modern, "no <b>", 9, v)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// without leaves tools out by their name.
func without(hide func(tool string) bool) func(gjson.Result) (string, bool) {
	return func(def gjson.Result) (string, bool) { return def.Raw, !hide(def.Get("name").Str) }
}

func TestEditTools(t *testing.T) {
	hide := func(tool string) bool { return strings.HasPrefix(tool, "bad") }
	for name, tc := range map[string]struct{ in, want string }{
		"nothing to hide": {
			`{"jsonrpc":"2.0", "id":1,"result":{"tools":[ {"name":"a"} , {"name":"b","x":1.50}],"nextCursor":"n"}}`, "",
		},
		"some": {
			`{"jsonrpc":"2.0", "id":1.0,"result":{"_meta":{"copy":[{"name":"bad"}]},"tools":[ {"name":"bad1"} , {"name":"b","x":1.50},{"name":"b\u0061d2"}], "nextCursor":"n"}}`,
			`{"jsonrpc":"2.0", "id":1.0,"result":{"_meta":{"copy":[{"name":"bad"}]},"tools":[{"name":"b","x":1.50}], "nextCursor":"n"}}`,
		},
		"all, of a list for everybody": {
			`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"bad"}],"ttlMs":1,"cacheScope":"public"}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"tools":[],"ttlMs":1,"cacheScope":"private"}}`,
		},
		"no list": {`{"jsonrpc":"2.0","id":1,"result":{}}`, ""},
	} {
		frame, err := wire.Parse([]byte(tc.in), wire.FromServer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.EditTools(&frame.Messages[0], without(hide))
		if tc.want == "" {
			tc.want = tc.in
		}
		if err != nil || string(got) != tc.want {
			t.Errorf("%s\ngot  %s (%v)\nwant %s", name, got, err, tc.want)
		}
	}
}

// Attempt: the key tools with an escape in it, so that the list cannot be edited in place.
func TestEditToolsNeverLetsAListThatItCannotEdit(t *testing.T) {
	in := `{"jsonrpc":"2.0","id":1,"result":{"t\u006fols":[{"name":"bad"},{"name":"a"}]}}`
	frame, err := wire.Parse([]byte(in), wire.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.EditTools(&frame.Messages[0], without(func(tool string) bool { return tool == "bad" }))
	if err == nil && strings.Contains(string(got), "bad") {
		t.Errorf("%s", got)
	}
}

func ExampleParse() {
	_, err := wire.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}`), wire.FromClient)
	fmt.Println(err)
	// Output: wire: duplicate key "name" at params: ambiguous message
}

// Two stacks of keys and the list of messages, however long the message is. An object with
// many keys takes a set of them more.
func TestParseKeepsToItsBudget(t *testing.T) {
	data := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"customer":"c_7","lines":[{"sku":"a","n":1},{"sku":"b","n":2}],"note":"` +
		strings.Repeat("thanks ", 140) + `"},"_meta":{"progressToken":3}}}`)
	if n := testing.AllocsPerRun(1000, func() {
		frame, err := wire.Parse(data, wire.FromClient)
		if err != nil || !frame.Messages[0].IsCall() {
			t.Fatal(err)
		}
	}); n > 3 {
		t.Errorf("Parse makes %v allocations, at most 3 are allowed", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{256, 1024, 65536} {
		text := strings.Repeat("x", size)
		fields := "{"
		for i := 0; len(fields) < size; i++ {
			fields += fmt.Sprintf(`"field%d":"value %d",`, i, i)
		}
		fields = strings.TrimSuffix(fields, ",") + "}"
		for _, kind := range []string{"text", "fields"} {
			args := fields
			if kind == "text" {
				args = `{"a":"` + text + `"}`
			}
			data := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":` + args + `,"_meta":{"progressToken":3}}}`)
			b.Run(fmt.Sprintf("args=%s/bytes=%d", kind, size), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := wire.Parse(data, wire.FromClient); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
