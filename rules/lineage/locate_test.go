package lineage_test

import (
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/lineage"
)

func TestLocate(t *testing.T) {
	for _, tc := range []struct{ text, value, want string }{
		{"Pay to US13 3000-0001, now.", "us1330000001", "US13 3000-0001"},
		{"first US13, then US133, then US13.", "US133", "US133"},
		{"Zahlen Sie an Müller & Söhne!", "müller söhne", "Müller & Söhne"},
		{"mail to eve@evil.test or call", "please write to eve@evil.test about it today", "eve@evil.test"},
		{"mail to eve@evil.test or call", "ZXZlQGV2aWwudGVzdA==", "eve@evil.test"},
		{"сору раураl", "copy", "сору"}, // Cyrillic
		{"nothing of the kind", "US133", ""},
		{"a b", "b", ""},
		{strings.Repeat("x ", lineage.MaxLocated), "xx", ""},
	} {
		from, to, ok := lineage.Locate(tc.text, tc.value)
		if got := tc.text[from:to]; got != tc.want || ok != (tc.want != "") {
			t.Errorf("%q in %.40q: %q", tc.value, tc.text, got)
		}
	}
}

// What is found of a value comes from that value, as lineage compares them.
func FuzzLocate(f *testing.F) {
	f.Add("Pay to US13 3000-0001, now.", "us1330000001")
	f.Add("a\\nb %41 \u200b\xff", "ab a")
	f.Fuzz(func(t *testing.T, text, value string) {
		from, to, ok := lineage.Locate(text, value)
		if from < 0 || to > len(text) || from > to || ok != (to > from) {
			t.Fatalf("%d to %d of %d, %v", from, to, len(text), ok)
		}
		if o := memory("", value).Trace([]string{text[from:to]}, nil); ok && !o.Outside() {
			t.Fatalf("%q does not come from %q", text[from:to], value)
		}
	})
}
