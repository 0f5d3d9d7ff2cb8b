package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// A server of HTTP+SSE (2024-11-05) cannot be told from one of Streamable HTTP by its URL, and clients find out by asking:
// they begin with a GET, at once or after a POST that was refused. So does Umpire: where the answer to such a GET begins
// with the event that names an endpoint, the exchange turns into a session of HTTP+SSE. Everything before is the server's
// own, a 401 and its metadata among it.

// sessionParam names, in the query of a URL, the session of HTTP+SSE that a message is posted to. The rest of the URL is
// the one at which the client has found the server.
const sessionParam = "umpire-session"

// turn serves a session of HTTP+SSE on the stream that has begun, to its end. Endpoint is the event that the server has
// named its own endpoint with; the client is told of another, which leads here.
func (x *exchange) turn(endpoint transport.Event, events *transport.Events, from *url.URL) error {
	r := x.http.legacy
	dial := func() (Conn, error) {
		remote := transport.Remote{URL: x.http.URL, Header: r.toServer(x.r.Header)}
		return conn(transport.ContinueLegacy(remote, from, endpoint, events, x.hangUp))
	}
	stream := func() *stream { return &stream{w: x.w, gone: make(chan struct{})} }
	session, err := r.converse(x.asked, x.principal, dial, stream, func(id string) string {
		query := sessionParam + "=" + id
		if x.r.URL.RawQuery != "" {
			query = x.r.URL.RawQuery + "&" + query
		}
		return x.r.URL.EscapedPath() + "?" + query
	})
	if err == nil {
		<-session.over // it reads the answer that is closed then
	}
	return err
}

// sessionOf returns the session of HTTP+SSE that a URL names, and the URL at which it began.
func sessionOf(u *url.URL) (id string, began *url.URL, ok bool) {
	query, id, ok := strings.Cut(u.RawQuery, sessionParam+"=")
	if !ok || query != "" && !strings.HasSuffix(query, "&") {
		return "", u, false
	}
	out := *u
	out.RawQuery = strings.TrimSuffix(query, "&")
	return id, &out, true
}

// message takes in what a client posts to a session of HTTP+SSE. If the server wants a new token, the client is sent for it
// as it would be at the beginning.
func (x *exchange) message(id string) {
	r := x.http.legacy
	if asked := r.message(x.w, x.r, x.principal, id); asked != nil {
		x.challenge(&http.Response{Header: asked.Header})
		r.refused(x.w, "", asked)
	}
}
