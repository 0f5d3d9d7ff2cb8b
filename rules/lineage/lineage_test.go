package lineage_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/lineage"
)

// memory holds what the user said and one result.
func memory(user, result string) *lineage.Memory {
	m := &lineage.Memory{}
	m.Add(lineage.Source{Seq: 1, Class: lineage.User}, lineage.Read(user, lineage.User))
	m.Add(lineage.Source{Seq: 2, Server: "files", Tool: "read_file", Class: lineage.Untrusted}, lineage.Read(result, lineage.Untrusted))
	return m
}

// hides are the ways in which a value of a result can come back in an argument, or be written in the result.
var hides = map[string]func(string) string{
	"as it is":      func(s string) string { return s },
	"capitals":      strings.ToUpper,
	"spaced":        func(s string) string { return strings.Join(chunks(s, 4), " ") },
	"punctuated":    func(s string) string { return strings.Join(chunks(s, 3), "-") },
	"base64":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 url":    func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"hex":           func(s string) string { return hex.EncodeToString([]byte(s)) },
	"percent":       percent,
	"query":         func(s string) string { return "https://collect.test/?q=" + url.QueryEscape(s) },
	"entities":      entities,
	"in a sentence": func(s string) string { return "Kind regards. The number is " + s + ", as agreed." },
	"zero width":    func(s string) string { return strings.Join(chunks(s, 2), "\u200b") },
	"full width":    fullWidth,
	"lookalikes":    strings.NewReplacer("a", "а", "e", "е", "o", "о", "A", "А", "E", "Е").Replace,
	"base64 in json": func(s string) string {
		return `{"blob":"` + base64.StdEncoding.EncodeToString([]byte("value: "+s)) + `"}`
	},
	"base64 in a query": func(s string) string {
		return "https://collect.test/a?b=1&q=" + base64.StdEncoding.EncodeToString([]byte(s)) + "&c=2"
	},
	"base64 in a path": func(s string) string {
		return "https://collect.test/a/" + base64.RawURLEncoding.EncodeToString([]byte(s)) + "/b"
	},
	"punctuated in a sentence": func(s string) string { return "It is " + strings.Join(chunks(s, 4), "-") + ", as agreed." },
	"twice":                    func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
	"html":                     html.EscapeString,
}

// Attempt: write a number in groups in one place, and in other groups or in one piece in the middle of a text in the other.
func TestANumberInGroupsIsFoundWithinATextHoweverItIsWritten(t *testing.T) {
	group := func(s string, n int, mark string) string { return strings.Join(chunks(s, n), mark) }
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`[A-Z]{2}[0-9]{16,22}|[0-9]{16}|[0-9]{9,12}`).Draw(t, "number")
		n, m := rapid.IntRange(3, 5).Draw(t, "there"), rapid.IntRange(3, 5).Draw(t, "here")
		ways := func(n int) []string {
			return []string{number, group(number, n, " "), group(number, n, "-"), group(number, n, " / ")}
		}
		there := "Our account: " + rapid.SampledFrom(ways(n)).Draw(t, "written") + ". Thank you."
		here := "Hello Bob, it is " + rapid.SampledFrom(ways(m)).Draw(t, "as") + ", as they say."
		if o := memory("what is new?", there).Trace([]string{here}, nil); !o.Outside() {
			t.Errorf("%q out of %q is %+v", here, there, o)
		}
		if found, err := lineage.Flows([]string{there}, []string{here}); !found || err != nil {
			t.Errorf("%q does not flow into %q: %v", there, here, err)
		}
	})
}

func chunks(s string, n int) (out []string) {
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func entities(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, "&#%d;", r)
	}
	return b.String()
}

func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0x20 && r < 0x7f {
			return r + 0xfee0
		}
		return r
	}, s)
}

// However a value of a result is dressed up, in the result or in the argument, it is known to come from there.
func TestAValueIsFoundInWhateverDress(t *testing.T) {
	for name, hide := range hides {
		rapid.Check(t, func(t *rapid.T) {
			value := rapid.StringMatching(`[A-Z]{2}[0-9]{16,22}|[a-z]{3,8}[.][a-z]{3,8}[0-9]{2}@[a-z]{4,9}[.]com`).Draw(t, "value")
			before, after := filler(t, "before"), filler(t, "after")
			there := memory("what is new?", before+" "+value+" "+after)
			if o := there.Trace([]string{hide(value)}, nil); !o.Outside() || o.Said || len(o.Sources) == 0 || o.Sources[0].Seq != 2 {
				t.Errorf("%s in the argument: %q is %+v", name, hide(value), o)
			}
			dressed := memory("what is new?", before+" "+hide(value)+" "+after)
			if o := dressed.Trace([]string{value}, nil); !o.Outside() || o.Said {
				t.Errorf("%s in the result: %q in %q is %+v", name, value, hide(value), o)
			}
		})
	}
}

func filler(t *rapid.T, label string) string {
	words := rapid.SliceOfN(rapid.SampledFrom(strings.Fields("the quick brown fox jumps over a lazy dog while nobody looks at 7 o'clock (again) or so")), 0, 30)
	return strings.Join(words.Draw(t, label), " ")
}

// What the user said is the user's, however it is written, and a part or a neighbour of it is not.
func TestTheUsersWordsAreNoMoreThanTheUserSaid(t *testing.T) {
	m := memory("Send 1,250.50 to DE89 3704 0044 0532 0130 00 (alice.miller@gmail.com), please.", "nothing")
	for value, want := range map[string]bool{
		"DE89370400440532013000": true, "de89 3704 0044 0532 0130 00": true, "alice.miller@gmail.com": true, "Alice.Miller@GMail.com": true,
		"1250.5": false, "1250.50": true, "alice": true, "please": true,
		"DE8937040044053201300": false, "DE893704004405320130001": false, "xalice.miller@gmail.com": false, "alice.miller@gmail.co": false,
		"miller@gmail.com.evil.test": false, "lice.miller@gmail.com": false, "alice.miller@gmail.com, eve@evil.test": false, "320130 00": false,
	} {
		if o := m.Trace([]string{value}, nil); o.Said != want {
			t.Errorf("%q: said by the user %v, want %v", value, o.Said, want)
		}
	}
}

// What is found nowhere is the model's own, and it is held against the unknown if something was lost.
func TestWhatIsNowhereIsTheModelsUnlessSomethingWasLost(t *testing.T) {
	m := memory("book a table", "The restaurant is closed on Mondays.")
	if o := m.Trace([]string{"eve-4711@evil.test"}, nil); !o.Model || o.Outside() || o.Said {
		t.Errorf("%+v", o)
	}
	m.Lose()
	if o := m.Trace([]string{"eve-4711@evil.test"}, nil); !o.Lost || !o.Outside() {
		t.Errorf("%+v", o)
	}
	if o := m.Trace([]string{"table"}, nil); o.Outside() || !o.Said {
		t.Errorf("what the user said: %+v", o)
	}
}

func TestWhatIsTooLongOrTooManyComesFromOutside(t *testing.T) {
	m := memory("hello", "hello")
	for name, values := range map[string][]string{
		"long": {strings.Repeat("hello ", lineage.MaxValue)},
		"many": slicesRepeat("hello", lineage.MaxValues+1),
	} {
		if o := m.Trace(values, nil); !o.Lost || !o.Outside() || o.Said {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func slicesRepeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// A text that quotes a document comes from it; one that shares a turn of phrase does not.
func TestAQuoteIsAPartialMatch(t *testing.T) {
	doc := "The Phoenix project will be delivered late because the supplier of the turbine blades has gone out of business in spring."
	m := memory("write to Bob", doc)
	quote := "Hi Bob, they say that the supplier of the turbine blades has gone out of business. What now?"
	if o := m.Trace([]string{quote}, nil); !o.Outside() || o.Said {
		t.Errorf("a quote: %+v", o)
	}
	own := "Hi Bob, the meeting will be held late because of the weather, I am sorry to say. See you on Tuesday then!"
	if o := m.Trace([]string{own}, nil); o.Outside() {
		t.Errorf("no quote: %+v", o)
	}
}

// Whatever is remembered and asked: nothing fails, the same question has the same answer, and what the user said is the user's.
func FuzzTrace(f *testing.F) {
	f.Add("pay DE89 3704", "Ignore that. US133000000121212121212", "US13 3000 0001")
	f.Add("%41&#66;=43", "aGVsbG8gd29ybGQhIQ==", strings.Repeat("ab", 40))
	f.Add("\xff\u200b\U000e0041", "a\\nb\\tc", "1,000,000.00")
	f.Fuzz(func(t *testing.T, user, result, value string) {
		m, again := memory(user, result), memory(user, result)
		a, b := m.Trace([]string{value}, nil), again.Trace([]string{value}, nil)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%+v, then %+v", a, b)
		}
		for _, part := range lineage.Spans(result) {
			if part.From < 0 || part.To > len(result) || part.From >= part.To {
				t.Fatalf("span %+v of %d bytes", part, len(result))
			}
		}
		whole := m.Trace([]string{user}, nil)
		if utf8.ValidString(user) && len(user) < 1000 && len(lineage.Words(user)) > 1 && !whole.Said && whole.Class&lineage.User != 0 {
			t.Fatalf("the user did not say %q: %+v", user, whole)
		}
	})
}
