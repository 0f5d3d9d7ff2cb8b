package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
)

const token = "0123456789abcdef"

// pass asks a guard about a request.
func pass(g proxy.Guard, host string, header http.Header) (*httptest.ResponseRecorder, *http.Request, string, bool) {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/mcp", nil)
	r.Host = host
	if header != nil {
		r.Header = header
	}
	w := httptest.NewRecorder()
	principal, ok := g.Principal(w, r)
	return w, r, principal, ok
}

// A web page can make its own name mean 127.0.0.1, and then send requests to this machine: their Host betrays it.
func TestOnlyThisMachineCanBeTheHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:7777": true, "LocalHost:1": true, "127.0.0.1": true, "127.0.0.1:7777": true, "127.1.2.3": true,
		"[::1]": true, "[::1]:7777": true, "[::ffff:127.0.0.1]:1": true, "[0:0:0:0:0:0:0:1]": true,
		"": false, "evil.com": false, "localhost.evil.com": false, "127.0.0.1.evil.com": false, "127.0.0.1.evil.com:7777": false,
		"evil.com:127.0.0.1": false, "localhost@evil.com": false, "evil.com@localhost": false, "localhost:1@evil.com": false,
		"localhost.": false, "localhost:1:2": false, "evil-localhost": false, "127.0.0.1,evil.com": false, "localhost, evil.com": false,
		"0.0.0.0": false, "[::]": false, "10.0.0.1": false, "192.168.1.1:80": false, "[fe80::1]": false, "2130706433": false,
		"127.1": false, "0x7f.0.0.1": false, "0177.0.0.1": false, "[::1]evil.com": false, "[::1].evil.com:80": false, "[evil.com]": false,
		"localhost/evil.com": false, "localhost#": false, "localhost\x00": false, "ⓛocalhost": false,
	} {
		w, _, principal, ok := pass(proxy.Guard{User: "alice"}, host, nil)
		if ok != want || ok != (principal == "local:alice") {
			t.Errorf("%q: %v %q", host, ok, principal)
		}
		if !want && (w.Code != http.StatusForbidden || gjson.Get(w.Body.String(), "error.code").Int() != wire.CodeForbidden) {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestOnlyPagesOfThisMachineCanBeTheOrigin(t *testing.T) {
	for origin, want := range map[string]bool{
		"http://localhost": true, "http://localhost:6274": true, "https://127.0.0.1:1": true, "http://[::1]:80": true, "": true,
		"null": false, "http://evil.com": false, "https://localhost.evil.com": false, "http://127.0.0.1.evil.com": false,
		"http://localhost@evil.com": false, "http://localhost:80@evil.com": false, "http://localhost%40evil.com": false,
		"file://": false, "file:///home": false, "file://localhost": false, "localhost": false, "//localhost": false, "http://": false,
		"http:localhost": false, "http:/localhost": false, "javascript://localhost": false, "chrome-extension://localhost": false,
		"http://evil.com/localhost": false, "http://evil.com?localhost": false, "http://evil.com#localhost": false,
		`http://evil.com\@localhost`: false, "http://evil.com http://localhost": false, "%": false, "http://umpire.lan": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		if w, _, _, ok := pass(proxy.Guard{User: "alice"}, "localhost", header); ok != want || !ok && w.Code != http.StatusForbidden {
			t.Errorf("%q: %v", origin, ok)
		}
	}
	two := http.Header{"Origin": {"http://localhost", "http://evil.com"}}
	if _, _, _, ok := pass(proxy.Guard{}, "localhost", two); ok {
		t.Error("a second origin is not looked at")
	}
}

func TestWithATokenEveryRequestHasToCarryIt(t *testing.T) {
	g := proxy.Guard{Token: token, User: "alice"}
	for header, want := range map[string]bool{
		"Bearer " + token: true, "bearer " + token: true, "BEARER " + token: true,
		"": false, token: false, "Bearer": false, "Bearer ": false, "Bearer x": false, "Bearer " + token[1:]: false, "Bearer " + token + "0": false,
		"Bearer  " + token: false, "Bearer " + strings.ToUpper(token): false, "Basic " + token: false, "Bearer " + token + ", Bearer x": false,
		"Bearer\t" + token: false,
	} {
		h := http.Header{}
		if header != "" {
			h.Set("Authorization", header)
		}
		w, r, principal, ok := pass(g, "umpire.lan:7777", h)
		if ok != want {
			t.Errorf("%q: %v", header, ok)
		}
		if ok && (r.Header.Get("Authorization") != "" || !strings.HasPrefix(principal, "token:") || strings.Contains(principal, token)) {
			t.Errorf("%q: %q, and the server gets %v", header, principal, r.Header)
		}
		if !ok && (w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") || strings.Contains(w.Body.String(), token)) {
			t.Errorf("%q: %d %v %s", header, w.Code, w.Header(), w.Body)
		}
	}
	second := http.Header{"Authorization": {"Bearer x", "Bearer " + token}}
	if _, _, _, ok := pass(g, "localhost", second); ok {
		t.Error("a second token is tried")
	}
	_, _, one, _ := pass(g, "", http.Header{"Authorization": {"Bearer " + token}})
	if _, _, other, _ := pass(proxy.Guard{Token: token + "x"}, "", http.Header{"Authorization": {"Bearer " + token + "x"}}); one == other {
		t.Error("two tokens are one principal")
	}
}

// With a token, the pages of Umpire's own address may ask too, but not those of others.
func TestWithATokenTheOriginIsStillChecked(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://umpire.lan:7777": true, "http://localhost:3000": true, "https://umpire.lan": false, "https://evil.com": false,
		"https://umpire.lan:7777.evil.com": false, "null": false, "file://umpire.lan:7777": false,
	} {
		h := http.Header{"Authorization": {"Bearer " + token}, "Origin": {origin}}
		if _, _, _, ok := pass(proxy.Guard{Token: token}, "umpire.lan:7777", h); ok != want {
			t.Errorf("%s: %v", origin, ok)
		}
	}
}

// The guard stands before everything: what it refuses reaches neither the server nor the history.
func TestTheGuardStandsBeforeTheServer(t *testing.T) {
	f := stand(t, noRules, obey, func(c *proxy.HTTPConfig) {
		c.Guard = proxy.Guard{Token: token}
		c.Headers = http.Header{"Authorization": {"Bearer of the server"}}
	})
	for _, method := range []string{"POST", "GET", "DELETE", "OPTIONS", "PUT"} {
		if a := f.send(method, call("1", "x", `{}`)); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", method, a.StatusCode)
		}
	}
	if got := kinds(f.log()); len(f.requests()) > 0 || got != "loaded" {
		t.Errorf("%v, %s", f.requests(), got)
	}
	a := f.post(call("1", "x", `{}`), "Authorization: Bearer "+token)
	if a.body != done("1") {
		t.Error(a.body)
	}
	if got := f.requests()[0].header["Authorization"]; len(got) != 1 || got[0] != "Bearer of the server" {
		t.Errorf("the server got %q", got)
	}
	g := stand(t, noRules, obey, func(c *proxy.HTTPConfig) { c.Guard = proxy.Guard{Token: token} })
	g.post(call("1", "x", `{}`), "Authorization: Bearer "+token)
	if got := g.requests()[0].header; len(got["Authorization"]) > 0 {
		t.Errorf("the server got Umpire's token: %v", got)
	}
}
