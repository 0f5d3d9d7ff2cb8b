package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// authority is an authorization server that gives everybody a token, and notes for which resource.
type authority struct {
	*httptest.Server
	mu       sync.Mutex
	resource []string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	mux := http.NewServeMux()
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	note := func(r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.resource = append(a.resource, r.FormValue("resource"))
	}
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		give(w, http.StatusOK, strings.ReplaceAll(`{"issuer":"URL","authorization_endpoint":"URL/authorize","token_endpoint":"URL/token","registration_endpoint":"URL/register",`+
			`"response_types_supported":["code"],"grant_types_supported":["authorization_code"],"code_challenge_methods_supported":["S256"],"token_endpoint_auth_methods_supported":["none"]}`, "URL", a.URL))
	})
	mux.HandleFunc("/register", func(w http.ResponseWriter, _ *http.Request) {
		give(w, http.StatusCreated, `{"client_id":"c","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`)
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?code=c0de&state="+url.QueryEscape(r.FormValue("state")), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if note(r); r.FormValue("code") != "c0de" {
			give(w, http.StatusBadRequest, `{"error":"invalid_grant"}`)
			return
		}
		give(w, http.StatusOK, `{"access_token":"t0ken","token_type":"Bearer","expires_in":3600}`)
	})
	return a
}

// browse follows an address to the authorization server like a browser, and returns what that sends it back with.
func browse(address string) (code, state string, err error) {
	resp, err := http.DefaultTransport.RoundTrip(httptest.NewRequest(http.MethodGet, address, nil))
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return "", "", err
	}
	return back.Query().Get("code"), back.Query().Get("state"), nil
}

const callback = "http://127.0.0.1/callback"

// oauthClients connect to an address, get a token on the way, and call a tool.
var oauthClients = map[string]func(ctx context.Context, address string) error{
	"official": func(ctx context.Context, address string) error {
		h, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
			RedirectURL: callback,
			DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
				Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "bot", RedirectURIs: []string{callback}},
			},
			AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
				code, state, err := browse(args.URL)
				return &auth.AuthorizationResult{Code: code, State: state}, err
			},
		})
		if err != nil {
			return err
		}
		c, err := sdk.NewClient(&sdk.Implementation{Name: "bot"}, nil).Connect(ctx, &sdk.StreamableClientTransport{Endpoint: address, OAuthHandler: h}, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.CallTool(ctx, &sdk.CallToolParams{Name: "refund", Arguments: map[string]any{}})
		return err
	},
	"mark3": func(ctx context.Context, address string) error {
		c, err := client.NewOAuthStreamableHttpClient(address, client.OAuthConfig{RedirectURI: callback, PKCEEnabled: true, TokenStore: client.NewMemoryTokenStore()})
		if err != nil {
			return err
		}
		defer c.Close()
		hello := mcp.InitializeRequest{Params: mcp.InitializeParams{ProtocolVersion: "2025-11-25", ClientInfo: mcp.Implementation{Name: "bot"}}}
		_, err = c.Initialize(ctx, hello)
		if !client.IsOAuthAuthorizationRequiredError(err) {
			return fmt.Errorf("it wants no token: %w", err)
		}
		h := client.GetOAuthHandler(err)
		verifier, err := transport.GenerateCodeVerifier()
		if err != nil {
			return err
		}
		if err := h.RegisterClient(ctx, "bot"); err != nil {
			return err
		}
		address, err = h.GetAuthorizationURL(ctx, "st4te", transport.GenerateCodeChallenge(verifier))
		if err != nil {
			return err
		}
		code, state, err := browse(address)
		if err == nil {
			err = h.ProcessAuthorizationResponse(ctx, code, state, verifier)
		}
		if err == nil {
			_, err = c.Initialize(ctx, hello)
		}
		if err == nil {
			_, err = c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "refund"}})
		}
		return err
	},
}

// protected is a server that wants a token of an authority, and says so as the case has it.
func protected(t *testing.T, a *authority, challenge string, places map[string]string) *upstream {
	inner := sdk.NewServer(&sdk.Implementation{Name: "billing"}, nil)
	sdk.AddTool(inner, &sdk.Tool{Name: "refund"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{}, nil, nil
	})
	handler := auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		if token != "t0ken" {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{Expiration: time.Now().Add(time.Hour)}, nil
	}, nil)(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return inner }, &sdk.StreamableHTTPOptions{Stateless: true}))
	u := &upstream{}
	replace := func(s string) string { return strings.NewReplacer("SELF", u.server.URL, "AUTH", a.URL).Replace(s) }
	u.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := places[r.URL.Path]; ok {
			give(w, http.StatusOK, replace(text))
			return
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/.well-known/"):
			http.NotFound(w, r)
			return
		case r.URL.Path != "/mcp": // the server is an authority itself
			a.Config.Handler.ServeHTTP(w, r)
			return
		}
		if r.Header.Get("Authorization") == "" {
			w.Header()["Www-Authenticate"] = []string{"Basic realm=\"x\"", replace(challenge)}
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(u.server.Close)
	return u
}

// mounted puts Umpire before a server, as the daemon does.
func mounted(t *testing.T, u *upstream, change ...func(*proxy.HTTPConfig)) (f *front, address string) {
	f = standBefore(t, &manual{}, noRules, u, change...)
	mux := http.NewServeMux()
	mux.Handle("/billing/mcp", f.http)
	mux.Handle(proxy.MetadataPath+"/billing/mcp", f.http.Metadata("/billing/mcp"))
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
	})
	return f, s.URL + "/billing/mcp"
}

const about = `{"resource":"SELF/mcp","authorization_servers":["AUTH"],"x-vendor":[1.0]}`

// Real clients get a token for a server behind Umpire: however the server says what protects it.
func TestAClientGetsATokenThroughUmpire(t *testing.T) {
	for name, tc := range map[string]struct {
		challenge string
		places    map[string]string
	}{
		"where the challenge leads":      {`Bearer error="invalid_token", resource_metadata="SELF/elsewhere"`, map[string]string{"/elsewhere": about}},
		"where clients look":             {`Bearer realm="a, resource"`, map[string]string{"/.well-known/oauth-protected-resource/mcp": about}},
		"at the root":                    {`Bearer`, map[string]string{"/.well-known/oauth-protected-resource": strings.Replace(about, "SELF/mcp", "SELF", 1)}},
		"signed":                         {`Bearer resource_metadata=SELF/m, scope="a b"`, map[string]string{"/.well-known/oauth-protected-resource/mcp": strings.Replace(about, `"x-vendor"`, `"signed_metadata":"e30.e30.","x"`, 1)}},
		"nowhere, as in 2025-03-26":      {`Bearer error="invalid_token"`, nil},
		"with a challenge that is wrong": {`Bearer resource_metadata="SELF/none"`, map[string]string{"/.well-known/oauth-protected-resource/mcp": about}},
	} {
		for who, connect := range oauthClients {
			if _, elsewhere := tc.places["/elsewhere"]; (elsewhere || tc.places == nil) && who == "mark3" {
				continue // it asks for a token before it has heard a challenge
			}
			t.Run(name+", "+who, func(t *testing.T) {
				a := newAuthority(t)
				f, address := mounted(t, protected(t, a, tc.challenge, tc.places))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := connect(ctx, address); err != nil {
					t.Fatal(err)
				}
				f.ended(event.OutcomeOK)
				a.mu.Lock()
				defer a.mu.Unlock()
				if len(a.resource) != 2 || a.resource[0] != address || a.resource[1] != address {
					t.Errorf("tokens for %q, want %s", a.resource, address)
				}
				for _, e := range f.log() {
					if text, err := json.Marshal(e); err != nil || strings.Contains(string(text), "t0ken") {
						t.Errorf("%s %v", text, err)
					}
				}
			})
		}
	}
}

// Nothing but the way to the metadata changes in a challenge, and nothing but the resource in the metadata.
func TestMetadataAreTheServersOwn(t *testing.T) {
	a := newAuthority(t)
	u := protected(t, a, `bearer Realm="x, resource_metadata_x=1" ,  RESOURCE_metadata = "SELF/m" , scope="a"`, map[string]string{"/m": about})
	_, address := mounted(t, u)
	get := func(address string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := &front{t: t}
		resp := f.open(req)
		var text strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(buf)
			if text.Write(buf[:n]); err != nil {
				return resp, text.String()
			}
		}
	}
	metadata := strings.Replace(address, "/billing", proxy.MetadataPath+"/billing", 1) + "?a=$1&b"
	resp, _ := get(address + "?a=$1&b")
	want := []string{`Basic realm="x"`, `bearer Realm="x, resource_metadata_x=1" ,  RESOURCE_metadata = "` + metadata + `" , scope="a"`}
	if got := resp.Header["Www-Authenticate"]; resp.StatusCode != http.StatusUnauthorized || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d %q, want %q", resp.StatusCode, got, want)
	}
	resp, text := get(metadata)
	if resp.StatusCode != http.StatusOK || gjson.Get(text, "resource").Str != address+"?a=$1&b" || gjson.Get(text, "x-vendor").Raw != "[1.0]" ||
		gjson.Get(text, "authorization_servers").Raw != `["`+a.URL+`"]` || gjson.Get(text, "@keys.#").Int() != 3 {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	localhost := strings.Replace(metadata, "127.0.0.1", "localhost", 1)
	if _, text := get(localhost); !strings.HasPrefix(gjson.Get(text, "resource").Str, "http://localhost:") {
		t.Errorf("%s", text) // the address is the one that was dialled
	}
}

// Attempts of a server: metadata about somebody else, of whom the client would get a token that the server then has; and
// what is no metadata.
func TestMetadataAboutSomebodyElseAreRefused(t *testing.T) {
	const well = "/.well-known/oauth-protected-resource"
	for name, tc := range map[string]struct {
		places map[string]string
		status int
		says   string
	}{
		"another server":         {map[string]string{well: `{"resource":"https://bank.example/mcp","authorization_servers":["AUTH"]}`}, 502, "bank.example"},
		"another path":           {map[string]string{well: `{"resource":"SELF/mc"}`}, 502, "SELF/mc"},
		"no resource":            {map[string]string{well: `{"authorization_servers":["AUTH"]}`}, 502, "no resource"},
		"a list":                 {map[string]string{well: `[]`}, 404, "nothing of OAuth"},
		"a page":                 {map[string]string{well: `<html>`}, 404, "nothing of OAuth"},
		"nothing":                {nil, 404, "nothing of OAuth"},
		"wrong here, right next": {map[string]string{well + "/mcp": `{"resource":"https://bank.example"}`, well: about}, 200, ""},
		"2025-03-26":             {map[string]string{"/.well-known/oauth-authorization-server": `{"issuer":"SELF"}`}, 200, `"authorization_servers":["SELF"]`},
	} {
		t.Run(name, func(t *testing.T) {
			u := protected(t, newAuthority(t), "Bearer", tc.places)
			f, address := mounted(t, u)
			f.url = strings.Replace(address, "/billing", proxy.MetadataPath+"/billing", 1)
			a := f.send(http.MethodGet, "")
			if says := strings.ReplaceAll(tc.says, "SELF", u.server.URL); a.StatusCode != tc.status || !strings.Contains(a.body, says) {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if a := f.post("{}"); a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("POST: %d", a.StatusCode)
			}
		})
	}
}

// A server without any metadata is its own authorization server as soon as it asks for a token, and not for another
// reason: a client would else begin a login that leads nowhere.
func TestAServerWithoutMetadataIsItsOwnAuthorityIfItAsksForAToken(t *testing.T) {
	for challenge, want := range map[string]int{`bearer`: 200, `Bearer realm="x"`: 200, `Bearerish x`: 404, `Digest realm="Bearer"`: 404, ``: 404} {
		u := protected(t, newAuthority(t), challenge, nil)
		f, address := mounted(t, u)
		f.url = address
		if a := f.post(call("1", "refund", "{}")); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %d", challenge, a.StatusCode)
		}
		f.url = strings.Replace(address, "/billing", proxy.MetadataPath+"/billing", 1)
		if a := f.send(http.MethodGet, ""); a.StatusCode != want || want == 200 && gjson.Get(a.body, "authorization_servers").Raw != `["`+u.server.URL+`"]` {
			t.Errorf("%q: %d %s", challenge, a.StatusCode, a.body)
		}
	}
}

// Where Umpire wants its own token, a client has no place for another: challenges are not made to lead to Umpire, and its
// metadata are for those who have the token.
func TestWithATokenOfItsOwnUmpireLeadsNobodyToAnother(t *testing.T) {
	f, address := mounted(t, protected(t, newAuthority(t), `Bearer resource_metadata="SELF/m"`, nil), func(c *proxy.HTTPConfig) { c.Guard.Token = "0123456789abcdef" })
	f.url = address
	if a := f.post(call("1", "refund", "{}"), "Authorization: Bearer 0123456789abcdef"); a.StatusCode != http.StatusUnauthorized ||
		!strings.Contains(fmt.Sprint(a.Header["Www-Authenticate"]), f.server.URL+"/m") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	f.url = strings.Replace(address, "/billing", proxy.MetadataPath+"/billing", 1)
	if a := f.send(http.MethodGet, ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// Where Umpire sends the server a token that is configured, a client's own would not arrive.
func TestWhereATokenIsConfiguredNobodyIsLedToAnother(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="https://billing.example/m"`)
		w.WriteHeader(http.StatusUnauthorized)
		if got := r.Header.Get("Authorization"); got != "Bearer configured" {
			t.Errorf("the server gets %q", got)
		}
	})
	f, address := mounted(t, u, func(c *proxy.HTTPConfig) { c.Headers = http.Header{"Authorization": {"Bearer configured"}} })
	f.url = address
	if a := f.post(call("1", "refund", "{}"), "Authorization: Bearer mine"); !strings.Contains(a.Header.Get("WWW-Authenticate"), "https://billing.example/m") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}
