package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// MetadataPath is where OAuth clients look for what protects a resource (RFC 9728), before the path of the resource.
const MetadataPath = "/.well-known/oauth-protected-resource"

// A server that wants a token says so with a 401, and says where its metadata is. A client refuses metadata that are not
// about the address that it dialled, and that is Umpire's: so Umpire gives the server's metadata under its own address,
// with its own address for the resource's, and the challenge leads there. All else is between the client, the
// authorization server and the server: Umpire passes the token on and keeps none.

// resourceMetadata is the parameter of a challenge that says where the metadata are.
var resourceMetadata = regexp.MustCompile(`(?i)\b(resource_metadata\s*=\s*)("[^"\\]*"|[^\s,"]+)`)

// bearer begins a challenge that asks for a token.
var bearer = regexp.MustCompile(`(?i)^\s*bearer\b`)

// challenge lets the challenges of a response lead to the metadata that Umpire gives, and notes where they led. They stay
// as they are where a client's token would not reach the server: where Umpire wants one of its own, or gives the server one.
func (x *exchange) challenge(resp *http.Response) {
	values := resp.Header["Www-Authenticate"]
	if len(values) == 0 || x.http.Guard.Token != "" || x.http.Headers["Authorization"] != nil {
		return
	}
	own := address(x.r, MetadataPath+x.r.URL.EscapedPath())
	rewritten := make([]string, len(values))
	for i, v := range values {
		if bearer.MatchString(v) {
			x.http.asks.Store(true)
		}
		if m := resourceMetadata.FindStringSubmatch(v); m != nil {
			if u, err := url.Parse(strings.Trim(m[2], `"`)); err == nil {
				x.http.metadata.Store(u)
			}
		}
		rewritten[i] = resourceMetadata.ReplaceAllString(v, `${1}"`+strings.ReplaceAll(own, "$", "$$")+`"`)
	}
	resp.Header["Www-Authenticate"] = rewritten
}

// address is how the client of r spells a path of Umpire, with the query of r: some take it for a part of the resource.
func address(r *http.Request, path string) string {
	out := "http://" + r.Host + path
	if r.URL.RawQuery != "" {
		out += "?" + r.URL.RawQuery
	}
	return out
}

// Metadata serves what protects the server that is mounted at a path.
func (h *HTTP) Metadata(mount string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := h.Guard.Principal(w, r); !ok {
			return
		}
		refuse := func(status int, why string) { reply(w, status, wire.ErrorReply("", wire.CodeUnavailable, why)) }
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			refuse(http.StatusMethodNotAllowed, "metadata are read with GET")
			return
		}
		doc, err := h.protection(r.Context())
		if err != nil {
			h.Log.Warn("no metadata for OAuth", "server", h.Server, "why", err)
			refuse(http.StatusBadGateway, fmt.Sprintf("what protects server %s cannot be told: %v", h.Server, err))
			return
		}
		if doc == nil {
			refuse(http.StatusNotFound, fmt.Sprintf("server %s says nothing of OAuth", h.Server))
			return
		}
		doc["resource"], _ = json.Marshal(address(r, mount)) //nolint:errcheck // a text
		text, err := json.Marshal(doc)
		if err != nil {
			refuse(http.StatusBadGateway, err.Error())
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", "*") // it is public, and pages on this machine may be clients
		reply(w, http.StatusOK, text)
	})
}

// protection returns the metadata of the server, from where its last challenge led or from where clients look; nil if it
// has none. A server of the revision 2025-03-26 has no metadata; its origin is the authorization server then, and if that
// has none either, it has the endpoints that are taken for granted: if the server has asked for a token.
func (h *HTTP) protection(ctx context.Context) (map[string]json.RawMessage, error) {
	root := *h.URL
	root.RawQuery, root.RawPath, root.Path = "", "", MetadataPath
	suffixed := root
	suffixed.Path += strings.TrimRight(h.URL.Path, "/")
	places := []*url.URL{&suffixed, &root}
	if told := h.metadata.Load(); told != nil && (told.Scheme == "https" || told.Scheme == h.URL.Scheme && told.Host == h.URL.Host) {
		places = append([]*url.URL{told}, places...)
	}
	var wrong error
	for _, place := range places {
		doc, err := fetch(ctx, place)
		if err != nil {
			return nil, err
		}
		if doc == nil {
			continue
		}
		if err := protects(doc, h.URL); err != nil {
			wrong = fmt.Errorf("the metadata at %s are not to be used: %w", place.Redacted(), err)
			continue
		}
		delete(doc, "signed_metadata") // it says the server's own address, and would count for more
		return doc, nil
	}
	if wrong != nil {
		return nil, wrong
	}
	issuer := *h.URL
	issuer.RawQuery, issuer.RawPath, issuer.User, issuer.Path = "", "", nil, "/.well-known/oauth-authorization-server"
	if doc, err := fetch(ctx, &issuer); err != nil || doc == nil && !h.asks.Load() {
		return nil, err
	}
	issuer.Path = ""
	list, err := json.Marshal([]string{issuer.String()})
	return map[string]json.RawMessage{"authorization_servers": list}, err
}

// protects checks what the client can no longer check: that metadata are about the server (RFC 9728, 3.3), as its whole
// address or the beginning of it.
func protects(doc map[string]json.RawMessage, server *url.URL) error {
	var text string
	if err := json.Unmarshal(doc["resource"], &text); err != nil || text == "" {
		return errors.New("they name no resource")
	}
	r, err := url.Parse(text)
	if err != nil || r.Scheme != server.Scheme || !strings.EqualFold(r.Host, server.Host) ||
		!strings.HasPrefix(strings.TrimRight(server.Path, "/")+"/", strings.TrimRight(r.Path, "/")+"/") {
		return fmt.Errorf("they are about %q", text)
	}
	return nil
}

// The bounds of metadata.
const (
	maxMetadata     = 1 << 20
	metadataTimeout = 10 * time.Second
)

// fetch returns the JSON object at u; nil if there is none.
func fetch(ctx context.Context, u *url.URL) (doc map[string]json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return nil, rootCause(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	mediaType, _ := media(resp.Header)
	switch {
	case resp.StatusCode >= 500:
		return nil, fmt.Errorf("%s answers with status %d", u.Redacted(), resp.StatusCode)
	case resp.StatusCode != http.StatusOK, mediaType == "text/event-stream": // some servers take any path for theirs
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &doc) != nil {
		return nil, nil // a page for people
	}
	return doc, nil
}
