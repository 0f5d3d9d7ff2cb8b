package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// What is put in the place of a call's input, and taken out of it, leaves every other byte as it is.
func TestTheInputOfACallIsReplaced(t *testing.T) {
	for _, space := range []string{"", " ", "\n\t"} {
		for _, members := range [][]string{
			{`"name":"t"`}, {`"name":"t"`, `"arguments":{"requestState":"a", "inputResponses":[1]}`}, {`"_meta":{"requestState":1}`, `"name":"t"`, `"x":"}"`},
		} {
			for _, in := range []wire.Input{{}, {State: `"s\u0031"`}, {Responses: `{"a" : {}}`}, {State: `""`, Responses: "{}"}} {
				own := append([]string{}, members...)
				if in.State != "" {
					own = append(own[:1:1], append([]string{`"request\u0053tate" : ` + in.State}, own[1:]...)...)
				}
				if in.Responses != "" {
					own = append([]string{`"inputResponses":` + in.Responses}, own...)
				}
				frame := func(members []string) string {
					return `{"jsonrpc":"2.0","params":{` + space + strings.Join(members, space+","+space) + `},"id":1,"method":"tools/call"}`
				}
				m := message(t, frame(own))
				if got := m.Input(); got != in {
					t.Errorf("%s has %+v", m.Raw, got)
				}
				plain, err := wire.WithInput(m, wire.Input{})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := strip(string(plain.Raw)), strip(frame(members)); got != want || plain.Call().Continues {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				back, err := wire.WithInput(plain, in)
				if err != nil || back.Input() != in || string(back.Call().Args) != string(m.Call().Args) || back.Name() != "t" {
					t.Errorf("%s: %v", back.Raw, err)
				}
				if same, err := wire.WithInput(message(t, frame(members)), wire.Input{}); err != nil || string(same.Raw) != frame(members) {
					t.Errorf("%s: %v", same.Raw, err)
				}
			}
		}
	}
}

// strip leaves out spaces.
func strip(s string) string { return strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s) }

func TestFormsAreOfferedByWhoSaysSo(t *testing.T) {
	for capabilities, want := range map[string]bool{
		`{"elicitation":{}}`: true, `{"elicitation":{"form":{}}}`: true, `{"elicitation":{"form":{},"url":{}}}`: true, `{"elicitation":{"x":{}}}`: true,
		`{"elicitation":{"url":{}}}`: false, `{"elicitation":null}`: false, `{"elicitation":[]}`: false, `{"elicitation":{"form":false,"url":{}}}`: false,
		`{}`: false, `[]`: false, `"elicitation"`: false, ``: false,
	} {
		if got := wire.OffersForms(gjson.Parse(capabilities)); got != want {
			t.Errorf("%s: %v", capabilities, got)
		}
	}
}

// JSON that is made visible is the same JSON, on one line.
func TestVisibleTextIsTheSameText(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a\u202e\u200b\u2028\U000e0041\U0001f600\u200d\ufe0f\u00e9\n\t\u0000\u2800")))).Draw(r, "text")
		if got := wire.Visible(text); strings.ContainsAny(got, "\n\r\t\u0000\u202e\u2028\u2800\U000e0041") {
			r.Errorf("%q", got)
		}
		encoded, err := json.Marshal(text)
		if err != nil {
			r.Fatal(err)
		}
		if s := gjson.Parse(wire.Visible(string(encoded))).Str; s != strings.ToValidUTF8(text, "\ufffd") {
			r.Errorf("%q is %q", text, s)
		}
	})
}

func message(t testing.TB, text string) *wire.Message {
	t.Helper()
	frame, err := wire.Parse([]byte(text), wire.FromClient)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &frame.Messages[0]
}
