package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

func cleaner(t testing.TB, redact ...string) *wire.Cleaner {
	t.Helper()
	c, err := wire.NewCleaner(wire.CleanerConfig{Redact: redact, MaxValue: 2048, Secret: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCleanByPath(t *testing.T) {
	for _, tc := range []struct {
		pattern, in string
		found       []string
	}{
		{"args.**.password", `{"password":"hunter2","user":{"Password":"hunter2","x":[{"PASSWORD":"hunter2"}]},"passwords":"a"}`, []string{"args.password", "args.user.Password", "args.user.x.0.PASSWORD"}},
		{"args.pin", `{"pin":1234,"x":{"pin":1}}`, []string{"args.pin"}},
		{"args.*.pin", `{"pin":1234,"x":{"pin":1}}`, []string{"args.x.pin"}},
		{"args.card", `{"card":{"number":"4111","cvc":1}}`, []string{"args.card"}},
		{"**.token", `{"token":null,"a":{"token":""}}`, []string{"args.a.token"}},
		{"args.list.1", `{"list":["a","b","c"]}`, []string{"args.list.1"}},
		{"/[0-9]{4}-[0-9]{4}/", `{"text":"card 1111-2222 and 3333-4444","n":11112222}`, []string{"args.text"}},
		{"result.**", `{"a":1}`, nil},
	} {
		out, findings := cleaner(t, tc.pattern).Clean("args", []byte(tc.in))
		var paths []string
		for _, f := range findings {
			paths = append(paths, f.Path)
			if f.Kind != event.Redacted {
				t.Errorf("%s: %+v", tc.pattern, f)
			}
		}
		if fmt.Sprint(paths) != fmt.Sprint(tc.found) || !json.Valid(out) {
			t.Errorf("%s on %s: %v, want %v; %s", tc.pattern, tc.in, paths, tc.found, out)
		}
		for _, secret := range []string{"hunter2", "1234", "4111", "1111-2222"} {
			if len(tc.found) > 0 && strings.Contains(tc.in, `"`+secret+`"`) && strings.Contains(string(out), secret) {
				t.Errorf("%s: %s is still in %s", tc.pattern, secret, out)
			}
		}
	}
}

func TestCleanKeepsWhatIsClean(t *testing.T) {
	in := `{ "a" : 1.50, "b":"\u00e4 <>&", "c":[ ] }`
	out, findings := cleaner(t, wire.DefaultRedact...).Clean("args", []byte(in))
	if string(out) != in || findings != nil {
		t.Errorf("%s %v", out, findings)
	}
}

func TestEqualSecretsHaveEqualDigestsUnderOneKey(t *testing.T) {
	c := cleaner(t, "args.**.pw")
	out, _ := c.Clean("args", []byte(`{"a":{"pw":"x"},"b":{"pw":"x"},"c":{"pw":"y"}}`))
	var v map[string]map[string]string
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	if v["a"]["pw"] != v["b"]["pw"] || v["a"]["pw"] == v["c"]["pw"] || !strings.HasPrefix(v["a"]["pw"], "[redacted ") {
		t.Errorf("%v", v)
	}
	other, err := wire.NewCleaner(wire.CleanerConfig{Redact: []string{"args.**.pw"}, MaxValue: 2048, Secret: []byte("other")})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := other.Clean("args", []byte(`{"a":{"pw":"x"}}`))
	if strings.Contains(string(again), v["a"]["pw"]) {
		t.Error("the digest does not depend on the key: anyone could guess a short secret")
	}
}

func TestCleanFindsWellKnownTokens(t *testing.T) {
	for _, secret := range []string{
		"AKIAIOSFODNN7EXAMPLE", "ghp_" + strings.Repeat("a1", 18), "github_pat_" + strings.Repeat("a", 22), "sk-" + strings.Repeat("a", 24),
		"xoxb-123456789012-abc", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\ncut off",
	} {
		in, err := json.Marshal(map[string]any{"deep": []any{"before " + secret + " after"}})
		if err != nil {
			t.Fatal(err)
		}
		out, findings := cleaner(t).Clean("result", in)
		if strings.Contains(string(out), secret[4:20]) || len(findings) != 1 || findings[0].Path != "result.deep.0" {
			t.Errorf("%s: %s %v", secret, out, findings)
		}
		if text := cleaner(t).Text("error: " + secret); strings.Contains(text, secret[4:20]) {
			t.Errorf("%s is in the text %s", secret, text)
		}
	}
	// Attempt: escapes spell the token, so that a search in the bytes misses it.
	out, findings := cleaner(t).Clean("args", []byte(`{"x":"\u0041KIAIOSFODNN7EXAMPLE"}`))
	if len(findings) != 1 {
		t.Errorf("%s %v", out, findings)
	}
}

func TestCleanCutsWhatIsTooLong(t *testing.T) {
	c := cleaner(t)
	out, findings := c.Clean("args", []byte(`{"short":"x","long":"`+strings.Repeat("ä", 2000)+`"}`))
	var v map[string]string
	if err := json.Unmarshal(out, &v); err != nil || len(v["long"]) != 2048 || v["short"] != "x" || strings.ContainsRune(v["long"], '\uFFFD') {
		t.Errorf("%d bytes, %v", len(v["long"]), err)
	}
	if len(findings) != 1 || findings[0] != (event.Finding{Kind: event.Truncated, Path: "args.long", Size: 4000}) {
		t.Errorf("%v", findings)
	}
	// Many texts that each fit are cut until they fit together; what never fits is not kept.
	many := `["` + strings.Repeat(strings.Repeat("x", 2000)+`","`, 10) + `"]`
	if out, findings = c.Clean("args", []byte(many)); len(out) > 4*2048 || len(findings) != 10 {
		t.Errorf("%d bytes, %d findings", len(out), len(findings))
	}
	for _, huge := range []string{
		`["` + strings.Repeat(`x","`, 20_000) + `"]`,
		`{"` + strings.Repeat("k", 20_000) + `":1}`,
		`["` + strings.Repeat(strings.Repeat("x", 2000)+`","`, 200) + `"]`,
	} {
		out, findings = c.Clean("args", []byte(huge))
		if string(out) != "{}" || len(findings) != 1 || findings[0].Path != "args" || findings[0].Kind != event.Truncated || findings[0].Size != len(huge) {
			t.Errorf("%.40s: %d bytes, %v", huge, len(out), findings)
		}
	}
}

func TestCleanerConfig(t *testing.T) {
	for want, c := range map[string]wire.CleanerConfig{
		"less than 1024":  {MaxValue: 10, Secret: []byte("k")},
		"wants a key":     {MaxValue: 2048},
		"missing closing": {MaxValue: 2048, Secret: []byte("k"), Redact: []string{"/(/"}},
		"want a path":     {MaxValue: 2048, Secret: []byte("k"), Redact: []string{"args..x"}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Whatever is cleaned stays JSON, gets no longer than allowed, and is clean.
func FuzzClean(f *testing.F) {
	for _, s := range []string{`{"password":"x","a":["AKIAIOSFODNN7EXAMPLE"]}`, `{"a":{"b":{"password":{"c":1}}}}`, `["\u0041KIAIOSFODNN7EXAMPLE"]`, `"x"`, `{"":"é"}`, "{\n}"} {
		f.Add(s)
	}
	c := cleaner(f, "args.**.password", "/s.cret/")
	f.Fuzz(func(t *testing.T, in string) {
		frame, err := wire.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":`+in+`}}`), wire.FromClient)
		if err != nil {
			return
		}
		args := frame.Messages[0].Call().Args
		out, findings := c.Clean("args", args)
		if !json.Valid(out) || len(out) > 4*2048 {
			t.Fatalf("%q becomes %q", args, out)
		}
		if bytes.ContainsAny(out, "\r\n") {
			t.Fatalf("%q becomes %q, which is more than one line", args, out)
		}
		if bytes.ContainsAny(args, "\r\n") {
			var line bytes.Buffer
			json.Compact(&line, args)
			args = line.Bytes()
		}
		if findings == nil && string(out) != string(args) {
			t.Fatalf("%q becomes %q without a finding", args, out)
		}
		if _, again := c.Clean("args", out); len(again) > len(findings) {
			t.Fatalf("%q becomes %q, in which there is still %v", args, out, again)
		}
	})
}

func BenchmarkClean(b *testing.B) {
	args := []byte(`{"order_id":"ord_1","amount":12.5,"to":{"name":"a","iban":"DE02120300000000202051"},"note":"` + strings.Repeat("thanks ", 140) + `"}`)
	c := cleaner(b, wire.DefaultRedact...)
	b.ReportAllocs()
	for b.Loop() {
		if _, f := c.Clean("args", args); f != nil {
			b.Fatal(f)
		}
	}
}
