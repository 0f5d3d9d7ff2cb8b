package shape_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/shape"
)

var (
	linux   = event.Env{OS: "linux", Home: "/home/alice"}
	mac     = event.Env{OS: "darwin", Home: "/Users/alice"}
	windows = event.Env{OS: "windows", Home: `C:\Users\alice`}
)

func TestPathWithin(t *testing.T) {
	for _, tc := range []struct {
		env       event.Env
		path, dir string
		want      string // "in", "out" or a part of the error
	}{
		{linux, "/srv/data/a", "/srv/data", "in"},
		{linux, "/srv/data", "/srv/data/", "in"},
		{linux, "/srv/data2", "/srv/data", "out"},
		{linux, "/srv/data/..", "/srv/data", "out"},
		{linux, "/../../srv/data/a", "/srv/data", "in"},
		{linux, "//srv///data//a", "/srv/data", "in"},
		{linux, "/srv/data/.../a", "/srv/data", "in"},
		{linux, "/srv/data/%2E%2e%2fetc", "/srv/data", "several ways"},
		{linux, "/srv/data/%25252e%25252e/etc", "/srv/data", "several ways"},
		{linux, "/srv/data/%ff", "/srv/data", "not UTF-8"},
		{linux, "/srv/data/%00", "/srv/data", "control character"},
		{linux, "/srv/data/a\nb", "/srv/data", "control character"},
		{linux, "/SRV/data/a", "/srv/data", "out"},
		{linux, "", "/srv/data", "empty"},
		{linux, "a/b", "/srv/data", "relative"},
		{linux, "a/../b/c", "b", "in"},
		{linux, "../b", "b", "out"},
		{linux, "/b", "b", "relative"},
		{linux, "~", "/home/alice", "in"},
		{linux, "~/../bob/x", "/home/alice", "out"},
		{linux, "~root/x", "/home/alice", "another user"},
		{event.Env{OS: "linux"}, "~/x", "/home/alice", "not known"},
		{linux, "C:/srv", "/srv", "out"},
		{linux, "FILE:///srv/data/a", "/srv/data", "in"},
		{linux, "file:/srv/data/a", "/srv/data", "in"},
		{linux, "file://localhost/srv/data/a", "/srv/data", "in"},
		{mac, "/SRV/Data/A", "/srv/data", "in"},
		{mac, "/srv/caf\u00e9/x", "/srv/cafe\u0301", "in"},
		{mac, "~/Library", "/users/ALICE", "in"},
		{windows, `C:\data\a`, "c:/DATA", "in"},
		{windows, `C:\data\..\windows`, `C:\data`, "out"},
		{windows, `C:/data/a. .`, `C:\data\A`, "in"},
		{windows, `C:\data\a.txt::$DATA`, `C:\data\a.txt`, "in"},
		{windows, `C:data`, `C:\data`, "current directory of a drive"},
		{windows, `\\?\C:\data\a`, `C:\data`, "in"},
		{windows, `\\.\pipe\x`, `C:\data`, "device"},
		{windows, `\\host\share\a`, `\\HOST\share`, "in"},
		{windows, `C:\progra~1\a`, `C:\Program Files`, "short"},
		{windows, `file:///C:/data/a`, `C:\data`, "in"},
		{windows, `D:\data\a`, `C:\data`, "out"},
		{windows, `~\x`, `C:\users\alice`, "in"},
	} {
		p, err := shape.ParsePath(tc.path, "", tc.env)
		var in bool
		if err == nil {
			in, err = p.Within(tc.dir)
		}
		got := map[bool]string{true: "in", false: "out"}[in]
		if err != nil {
			got = err.Error()
		}
		if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%s: %q within %q: %s, want %s", tc.env.OS, tc.path, tc.dir, got, tc.want)
		}
	}
}

func TestPathNameAndText(t *testing.T) {
	for _, tc := range []struct{ path, dir, name, text string }{
		{"/a/./b/../.env", "", ".env", "/a/.env"},
		{"/", "", "/", "/"},
		{"x/.env", "/srv", ".env", "/srv/x/.env"},
		{"../../../etc/passwd", "/srv/a", "passwd", "/etc/passwd"},
	} {
		p, err := shape.ParsePath(tc.path, tc.dir, linux)
		if err != nil {
			t.Error(err)
			continue
		}
		name, err1 := p.Name()
		text, err2 := p.Text()
		if name != tc.name || text != tc.text || err1 != nil || err2 != nil {
			t.Errorf("%q: %q %q (%v, %v)", tc.path, name, text, err1, err2)
		}
	}
	p, err := shape.ParsePath("/a/%2eenv", "", linux)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := p.Name(); !errors.Is(err, shape.ErrAmbiguous) {
		t.Errorf("an ambiguous name is %q (%v)", name, err)
	}
}

// Whatever a path looks like: if it is within a directory, every plain way to decode and clean it is.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/srv/data/a", "/srv/data/%2e%2e/x", `/srv/data\..\..`, "~/x", "file:///srv/data/x", "a/../../srv", "/srv/data/%252e./x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := shape.ParsePath(s, "", linux)
		if err != nil {
			return
		}
		if in, err := p.Within("/srv/data"); err != nil || !in {
			return
		}
		for range 3 { // what servers do that decode once, twice or thrice, and take backslashes for slashes
			for _, form := range []string{s, strings.ReplaceAll(s, `\`, "/")} {
				form = strings.TrimPrefix(form, "file://localhost")
				form = strings.TrimPrefix(strings.TrimPrefix(form, "file://"), "file:")
				if strings.HasPrefix(strings.ToLower(form), "file:") {
					return
				}
				if c := naiveClean(form); c != "/srv/data" && !strings.HasPrefix(c, "/srv/data/") {
					t.Fatalf("%q is within /srv/data, but can be read as %q", s, c)
				}
			}
			s = naiveDecode(s)
		}
	})
}

func naiveClean(p string) string {
	var out []string
	for _, seg := range strings.Split(p, "/") {
		switch seg {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, seg)
		}
	}
	return "/" + strings.Join(out, "/")
}

func naiveDecode(s string) string {
	for i := 0; i+2 < len(s); i++ {
		var b byte
		if n, err := fmt.Sscanf(s[i:i+3], "%%%02x", &b); n == 1 && err == nil && !strings.ContainsAny(s[i+1:i+3], "+- _") {
			s = s[:i] + string([]byte{b}) + s[i+3:]
		}
	}
	return s
}

func TestHost(t *testing.T) {
	for _, tc := range []struct {
		in, want string // canonical form, or a part of the error after "!"
		private  bool
	}{
		{"Example.COM.", "example.com", false},
		{"example.com:8080", "example.com", false},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", false},
		{"Bücher.example", "xn--bcher-kva.example", false},
		{"ｅｘａｍｐｌｅ。com", "example.com", false},
		{"8.8.8.8", "8.8.8.8", false},
		{"134744072", "8.8.8.8", false},
		{"127.0.0.1", "127.0.0.1", true},
		{"127.1", "127.0.0.1", true},
		{"0x7f000001", "127.0.0.1", true},
		{"0X7F.0.0.0x1", "127.0.0.1", true},
		{"017700000001", "127.0.0.1", true},
		{"0", "0.0.0.0", true},
		{"10.1.2.3", "10.1.2.3", true},
		{"172.31.255.255", "172.31.255.255", true},
		{"172.32.0.1", "172.32.0.1", false},
		{"192.168.1", "192.168.0.1", true},
		{"100.64.0.1", "100.64.0.1", true},
		{"169.254.169.254", "169.254.169.254", true},
		{"224.0.0.1", "224.0.0.1", true},
		{"255.255.255.255", "255.255.255.255", true},
		{"[::1]", "::1", true},
		{"[::1]:80", "::1", true},
		{"::", "::", true},
		{"::ffff:127.0.0.1", "127.0.0.1", true},
		{"::ffff:7f00:1", "127.0.0.1", true},
		{"::ffff:8.8.8.8", "8.8.8.8", false},
		{"::127.0.0.1", "127.0.0.1", true},
		{"64:ff9b::10.0.0.1", "10.0.0.1", true},
		{"2002:7f00:1::", "127.0.0.1", true},
		{"fe80::1%eth0", "fe80::1", true},
		{"fc00::1", "fc00::1", true},
		{"2001:db8::1", "2001:db8::1", true},
		{"2606:4700::1111", "2606:4700::1111", false},
		{"localhost", "localhost", true},
		{"a.localhost", "a.localhost", true},
		{"printer.local", "printer.local", true},
		{"db", "db", true},
		{"metadata.google.internal", "metadata.google.internal", true},
		{"127.0.0.1.nip.io", "127.0.0.1.nip.io", false}, // a name; what it resolves to is not known here
		{"", "!empty", false},
		{"a b", "!character", false},
		{"a\tb", "!character", false},
		{"evil.com/x", "!character", false},
		{"user@evil.com", "!character", false},
		{"%65xample.com", "!character", false},
		{"256.0.0.1", "!ends in a number", false},
		{"1.2.3.4.5", "!ends in a number", false},
		{"08.8.8.8", "!ends in a number", false},
		{"1..2", "!no IPv4", false},
		{"a..b", "!domain name", false},
		{"[127.0.0.1]", "!brackets", false},
		{"[::1]x", "!bracket", false},
		{"example.com:http", "!colon", false},
		{"::1::", "!IPv6", false},
		{strings.Repeat("a", 64) + ".com", "!domain name", false},
	} {
		h, err := shape.ParseHost(tc.in)
		if msg, bad := strings.CutPrefix(tc.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), msg) {
				t.Errorf("%q: %v, %v; want an error with %q", tc.in, h, err, msg)
			}
			continue
		}
		if err != nil || h.String() != tc.want || h.Private() != tc.private {
			t.Errorf("%q: %s, private %v, %v; want %s, %v", tc.in, h, h.Private(), err, tc.want, tc.private)
		}
	}
}

func TestHostWithin(t *testing.T) {
	for _, tc := range []struct {
		host, scope string
		want        bool
	}{
		{"api.example.com", "example.com", true},
		{"example.com", "EXAMPLE.com.", true},
		{"badexample.com", "example.com", false},
		{"example.com.evil.org", "example.com", false},
		{"10.1.2.3", "10.0.0.0/8", true},
		{"0xa.1.2.3", "10.0.0.0/8", true},
		{"example.com", "10.0.0.0/8", false},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "example.com", false},
		{"::1", "::/64", true},
	} {
		h, err := shape.ParseHost(tc.host)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.Within(tc.scope); got != tc.want || err != nil {
			t.Errorf("%s within %s: %v, %v", tc.host, tc.scope, got, err)
		}
	}
	h, err := shape.ParseHost("a.b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Within("10.0.0.0/99"); err == nil {
		t.Error("10.0.0.0/99 is a prefix")
	}
}

func TestURL(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"https://Example.com/a/../b?q=1", "https://example.com:443/b?q=1"},
		{"HTTP://example.com:8080", "http://example.com:8080/?"},
		{"http://example.com/a/%2e%2E/b", "http://example.com:80/b?"},
		{"http://example.com/a/..", "http://example.com:80/?"},
		{"http://user:pw@example.com/", "http://example.com:80/?"},
		{"http://[::ffff:7f00:1]:99/", "http://127.0.0.1:99/?"},
		{"http:///evil.com", "!no host"},
		{"http:evil.com", "!no host"},
		{"https:/evil.com", "!no host"},
		{"//evil.com", "!no scheme"},
		{"evil.com", "!no scheme"},
		{`http://good.com\@evil.com`, "!backslash"},
		{"http://good.com\t.evil.com", "!white space"},
		{" http://good.com", "!white space"},
		{"http://a@b@evil.com", "!more than one @"},
		{"http://evil%2ecom/", "!cannot be parsed"},
		{"http://example.com:99999/", "!port"},
		{"http://exa mple.com/", "!white space"},
	} {
		u, err := shape.ParseURL(tc.in)
		if msg, bad := strings.CutPrefix(tc.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), msg) {
				t.Errorf("%q: %+v, %v; want an error with %q", tc.in, u, err, msg)
			}
			continue
		}
		got := fmt.Sprintf("%s://%s:%d%s?%s", u.Scheme, u.Host, u.Port, u.Path, u.Query)
		if err != nil || got != tc.want {
			t.Errorf("%q: %s, %v; want %s", tc.in, got, err, tc.want)
		}
	}
}

func object(text string) map[string]any { return shape.Decode(gjson.Parse(text)).(map[string]any) }

func TestSchemaCountsProblems(t *testing.T) {
	s, err := shape.Compile([]byte(`{"properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "args.a is of type number, not string; args.b is of type number, not string; args.c is of type number, not string; and 1 more"
	for range 20 { // the library reports in any order
		if got := s.Check(object(`{"d":1,"c":1,"b":1,"a":1}`)); got != want {
			t.Fatal(got)
		}
	}
}

// A schema that is given by a server must not make Umpire read a file or call home, or keep it busy.
func TestSchemasReachNothingOutside(t *testing.T) {
	for _, ref := range []string{"file:///etc/passwd", "http://127.0.0.1:1/x", "https://example.com/s.json", "other.json", "/etc/passwd"} {
		if _, err := shape.CompileDeclared([]byte(`{"properties":{"a":{"$ref":"` + ref + `"}}}`)); err == nil || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	s, err := shape.CompileDeclared([]byte(`{"$ref":"#"}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Check(object(`{}`)) == "" {
		t.Error("a schema that is nothing but itself accepts arguments")
	}
}

func ExampleParsePath() {
	p, err := shape.ParsePath("/srv/data/%2e%2e/etc/passwd", "", event.Env{OS: "linux"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = p.Within("/srv/data")
	fmt.Println(err)
	// Output: path "/srv/data/%2e%2e/etc/passwd": can be read in several ways: "/srv/data/%2e%2e/etc/passwd" or "/srv/etc/passwd"
}

func ExampleParseHost() {
	h, err := shape.ParseHost("2130706433")
	fmt.Println(h, h.Private(), err)
	// Output: 127.0.0.1 true <nil>
}

func ExampleCompileDeclared() {
	s, err := shape.CompileDeclared([]byte(`{"type": "object", "properties": {"path": {"type": "string"}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Check(map[string]any{"path": "a.txt", "mode": "0777"}))
	// Output: args.mode is not declared
}

func BenchmarkSchema(b *testing.B) {
	s, err := shape.Compile([]byte(`{"properties": {"amount": {"type": "number", "maximum": 200}, "order_id": {"pattern": "^ord_[0-9]+$"}}, "additionalProperties": false}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Check(object(`{"amount": 12.5, "order_id": "ord_1001"}`))
	}
}
