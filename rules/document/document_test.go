package document_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/document"
)

func TestOnlyKeepsLinesAndColumns(t *testing.T) {
	text := "# head\nlisten: x\nrules:\n  - {name: a}\n\n# secrets\nservers:\n  b: {token: hunter2}\nallow: [c/*]\n"
	doc, err := document.Parse("f", text)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := doc.Only("rules", "allow")
	want := "\n\nrules:\n  - {name: a}\n\n# secrets\n\n\nallow: [c/*]\n"
	if !ok || got != want {
		t.Errorf("%q", got)
	}
	if strings.Contains(got, "hunter2") {
		t.Error("a secret of the configuration is part of the policy")
	}
	if _, ok := doc.Only("nothing"); ok {
		t.Error("there is nothing to keep")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "90d": 90 * 24 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0,
	} {
		if d, err := document.ParseDuration(text); err != nil || d != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	for _, bad := range []string{"", "10", "d", "-1d", "1.5d", "1w", "99999999d", "10 s"} {
		if d, err := document.ParseDuration(bad); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", 90 * time.Second: "90s", 5 * time.Minute: "5m", 24 * time.Hour: "24h", 48 * time.Hour: "2d",
		30 * 24 * time.Hour: "30d", 1500 * time.Millisecond: "1.5s",
	} {
		if got := document.FormatDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"256KiB": 256 << 10, "2GiB": 2 << 30, "1 MiB": 1 << 20, "7B": 7} {
		if n, err := document.ParseSize(text); err != nil || n != want {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for _, bad := range []string{"", "10", "-1KiB", "1KB", "1.5MiB", "99999999999GiB"} {
		if n, err := document.ParseSize(bad); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
	if got := document.FormatSize(256 << 10); got != "256KiB" {
		t.Error(got)
	}
}

func TestJSON(t *testing.T) {
	doc, err := document.Parse("f", "a: {x: 1.50, y: [true, null, 'q\"'], \"k\\u0007\": |\n    two\n    lines\n  }\n")
	if err == nil {
		for _, f := range doc.Root().Fields() {
			t.Logf("%s", f.Value.JSON())
		}
	}
	doc, err = document.Parse("f", "a: {x: 1.50, y: [true, null, 'q\"'], z: ~}\nb: 0x10\n")
	if err != nil {
		t.Fatal(err)
	}
	fields := doc.Root().Fields()
	if got := string(fields[0].Value.JSON()); got != `{"x":1.50,"y":[true,null,"q\""],"z":null}` {
		t.Error(got)
	}
	if got := fields[1].Value.JSON(); got != nil || doc.Err() == nil {
		t.Errorf("0x10 is the JSON %s", got)
	}
}

func ExampleError_Detail() {
	doc, err := document.Parse("policy.yaml", "rules:\n  - mode: obsreve\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range doc.Root().Fields() {
		for _, n := range f.Value.List(false) {
			for _, g := range n.Fields("mode") {
				g.Value.OneOf("enforce", "observe")
			}
		}
	}
	var list document.Errors
	errors.As(doc.Err(), &list)
	for _, e := range list {
		fmt.Println(e.Detail())
	}
	// Output:
	// policy.yaml:2:11: rules[0].mode: "obsreve" is not one of enforce, observe
	//      2 |   - mode: obsreve
	//        |           ^
	//   hint: did you mean observe?
}
