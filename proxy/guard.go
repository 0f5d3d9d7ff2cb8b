package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// Guard lets through what comes from where it may come from. Without Token, that is this machine: the Host header has to
// name it (else a web page could reach Umpire by rebinding its own name to 127.0.0.1), and an Origin, if there is one,
// has to be a page of this machine. With Token, every request has to carry it.
type Guard struct {
	Token string // bearer token; empty if only this machine can connect
	User  string // the local user, who is the principal where there is no token
}

// Principal checks r and returns who it is from. If r may not pass, it answers w itself and ok is false.
func (g Guard) Principal(w http.ResponseWriter, r *http.Request) (principal string, ok bool) {
	refuse := func(status int, why string) (string, bool) {
		reply(w, status, wire.ErrorReply("", wire.CodeForbidden, why))
		return "", false
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isLocal(u.Host) && (g.Token == "" || !strings.EqualFold(u.Host, r.Host)) {
			return refuse(http.StatusForbidden, "the Origin of this request is not this machine")
		}
	}
	if g.Token == "" {
		if !isLocal(r.Host) {
			return refuse(http.StatusForbidden, "the Host of this request is not this machine")
		}
		return "local:" + g.User, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(token), []byte(g.Token)) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="umpire"`)
		return refuse(http.StatusUnauthorized, "this Umpire wants its bearer token")
	}
	r.Header.Del("Authorization") // it is ours, not the server's
	sum := sha256.Sum256([]byte(token))
	return "token:" + hex.EncodeToString(sum[:4]), true
}

// isLocal reports whether a Host header names this machine.
func isLocal(hostport string) bool {
	host := hostport
	if h, port, err := net.SplitHostPort(hostport); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// reply answers with a JSON-RPC message.
func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck,gosec // JSON; the client is gone, and nothing is left to do for it
}
