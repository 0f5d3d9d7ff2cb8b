package wire_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// parse reads one message of the server.
func parse(t testing.TB, text string) *wire.Message {
	t.Helper()
	frame, err := wire.Parse([]byte(text), wire.FromServer)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &frame.Messages[0]
}

func TestRepliesCarryTheRawID(t *testing.T) {
	for _, id := range []string{`1`, `1.0`, `1e3`, `-0`, `123456789012345678901234567890`, `""`, `"a\u0062"`, `"<&>"`, "\"\u2028\"", `"\u2028"`, `"\/"`} {
		for _, reply := range [][]byte{
			wire.ErrorReply(id, 7, "x"), (&wire.Error{ID: id, Code: 7, Msg: "x"}).Reply(), wire.Denied(id, true, "x", 1, event.Verdict{}),
		} {
			if !strings.HasPrefix(string(reply), `{"jsonrpc":"2.0","id":`+id+`,`) || parse(t, string(reply)).ID != id {
				t.Errorf("%s: %s", id, reply)
			}
		}
	}
}

func TestAReplyToAMessageWithoutAReadableID(t *testing.T) {
	if got, want := string(wire.ErrorReply("", -32700, "no <JSON>\n")), `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no <JSON>\n"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Whatever a peer made a text of, a reply is one line and one message with one reading.
func TestRepliesAreOneLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		v := event.Verdict{Rule: text, Why: text, Hint: text}
		for _, reply := range [][]byte{wire.ErrorReply("1", 1, text), wire.Denied("1", false, text, 1, v)} {
			if strings.ContainsAny(string(reply), "\r\n") {
				t.Errorf("%q", reply)
			}
			if _, err := wire.Parse(reply, wire.FromServer); err != nil {
				t.Errorf("%q: %v", reply, err)
			}
		}
	})
}

// Attempts to get a tool that is hidden past the filter. What cannot be filtered is an error, never the whole list.
func TestNoSpellingOfAListGetsAHiddenToolThrough(t *testing.T) {
	hide := func(tool string) bool { return tool == "bad" }
	for name, list := range map[string]string{
		"escaped name":              `{"tools":[{"name":"b\u0061d"},{"name":"a"}]}`,
		"escaped key":               `{"tools":[{"n\u0061me":"bad"},{"name":"a"}]}`,
		"escaped list":              `{"tool\u0073":[{"name":"bad"},{"name":"a"}]}`,
		"name is last":              `{"tools":[{"inputSchema":{"name":"a"},"x":[{"name":"a"}],"name":"bad"}]}`,
		"an object, not a list":     `{"tools":{"0":{"name":"bad"},"1":{"name":"a"}}}`,
		"twice in the list":         `{"tools":[{"name":"bad"},{"name":"a"},{"name":"bad"}]}`,
		"with spaces":               "{ \"tools\" :\t[ { \"name\" :\t\"bad\" } , { \"name\" : \"a\" } ] }",
		"another list of that name": `{"_meta":{"tools":[{"name":"a"}]},"tools":[{"name":"bad"}]}`,
		"many":                      `{"tools":[` + strings.Repeat(`{"name":"bad"},`, 2000) + `{"name":"a"}]}`,
	} {
		out, err := wire.EditTools(parse(t, `{"jsonrpc":"2.0","id":1,"result":`+list+`}`), without(hide))
		if err != nil {
			continue
		}
		var got struct {
			Result struct {
				Tools json.RawMessage
			}
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Errorf("%s: %s: %v", name, out, err)
		}
		var tools []struct{ Name string }
		json.Unmarshal(got.Result.Tools, &tools) //nolint:errcheck // an object holds no tools that a client could read
		for _, tool := range tools {
			if tool.Name == "bad" {
				t.Errorf("%s: %.200s", name, out)
			}
		}
	}
}

// Ids have equal keys just if they are equal as JSON values, however they are written.
func TestKeysAreEqualAsTheIDsAre(t *testing.T) {
	number := rapid.Custom(func(t *rapid.T) string {
		text := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + rapid.StringMatching(`0|[1-9][0-9]{0,3}0{0,3}`).Draw(t, "whole")
		text += rapid.SampledFrom([]string{"", "", ".0", ".50", ".05", ".125", ".000"}).Draw(t, "fraction")
		if exp := rapid.IntRange(-6, 6).Draw(t, "exponent"); rapid.Bool().Draw(t, "scientific") {
			text += rapid.SampledFrom([]string{"e", "E"}).Draw(t, "e") + rapid.SampledFrom([]string{fmt.Sprint(exp), fmt.Sprintf("%+d", exp), fmt.Sprintf("%+03d", exp)}).Draw(t, "form")
		}
		return text
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, okX := new(big.Rat).SetString(a)
		y, okY := new(big.Rat).SetString(b)
		if !okX || !okY {
			t.Fatal(a, b)
		}
		if same := wire.Key(a) == wire.Key(b); same != (x.Cmp(y) == 0) {
			t.Errorf("%s and %s: %v", a, b, same)
		}
	})
	text := rapid.Custom(func(t *rapid.T) string {
		return `"` + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{`a`, `\u0061`, `\"`, `\u0022`, `\\`, `\u005c`, `/`, `\/`, `é`, `\u00e9`}), 0, 3).Draw(t, "parts"), "") + `"`
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		var x, y string
		if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
			t.Fatal(a, b)
		}
		if same := wire.Key(a) == wire.Key(b); same != (x == y) {
			t.Errorf("%s and %s: %v", a, b, same)
		}
	})
}

func TestKeysThatLookAlike(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{`"\""`, `"\\"`, false},
		{`"\"a"`, `"a"`, false},
		{`"a\""`, `"a"`, false},
		{"1e300", "10e299", true},
		{"0e300", "0", true},
		{"1e-300", "0.1e-299", true},
		{"1" + strings.Repeat("0", 200), "1e200", true},
		{"1" + strings.Repeat("0", 200), "1e201", false},
		{"123456789012345678901234567890", "123456789012345678901234567891", false},
	} {
		if got := wire.Key(tc.a) == wire.Key(tc.b); got != tc.same {
			t.Errorf("%.20s and %.20s: %v", tc.a, tc.b, got)
		}
	}
}
