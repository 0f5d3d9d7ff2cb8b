package daemon

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// passage is the path of a server that the configuration does not name: the client says where it is, as umpire wrap has
// written it into the client's configuration.
var passage = regexp.MustCompile(`^/([A-Za-z0-9][A-Za-z0-9_.-]*)/to/(.+)$`)

// maxPassages bounds the servers that clients name.
const maxPassages = 256

// through serves /NAME/to/URL, over whatever the server there speaks: WebSocket where the client asks for one, else
// Streamable HTTP, or HTTP+SSE if that is what the server answers with. Nothing is sent there that the client has not sent: no header of the configuration, and no
// token. It is for the programs of this machine alone, which can reach the URL themselves; a page in a browser, which
// perhaps cannot, is refused even without an Origin. Where OAuth clients look for the metadata of such a server, they
// find them.
func (d *Daemon) through(next http.Handler) http.Handler {
	if !config.IsLoopback(d.opts.Config.Listen) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, metadata := strings.CutPrefix(r.URL.EscapedPath(), proxy.MetadataPath)
		m := passage.FindStringSubmatch(path)
		if m == nil {
			next.ServeHTTP(w, r)
			return
		}
		if _, ok := d.guard.Principal(w, r); !ok {
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
			http.Error(w, "a page in a browser cannot use this path", http.StatusForbidden)
			return
		}
		front, status, problem := d.passage(m[1], m[2], r)
		switch socket, _ := front.(*proxy.Relay); {
		case problem != "":
			http.Error(w, problem, status)
		case socket != nil:
			socket.WebSocket(w, r)
		case metadata:
			front.(*proxy.HTTP).Metadata(path).ServeHTTP(w, r)
		default:
			front.(*proxy.HTTP).ServeHTTP(w, r)
		}
	})
}

// passage returns the front end of a server that a client has named: a *proxy.Relay for a WebSocket, else a *proxy.HTTP.
// The query is the request's own.
func (d *Daemon) passage(name, upstream string, r *http.Request) (front any, status int, problem string) {
	u, err := config.ParseURL(upstream)
	if err != nil {
		return nil, http.StatusNotFound, "after /to/: " + err.Error() + "; perhaps the client has not filled in a variable"
	}
	key := name + " " + upstream
	socket := transport.IsWebSocket(r)
	switch web := u.Scheme == "ws" || u.Scheme == "wss"; {
	case web && !socket:
		return nil, http.StatusUpgradeRequired, "here is a WebSocket, and this request asks for none"
	case socket:
		u.Scheme = map[string]string{"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[u.Scheme]
		u.RawQuery = r.URL.RawQuery
		key = name + " " + u.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if front := d.passages[key]; front != nil {
		return front, 0, ""
	}
	switch {
	case d.ctx.Err() != nil:
		return nil, http.StatusServiceUnavailable, "umpire is stopping"
	case len(d.passages) >= maxPassages:
		return nil, http.StatusServiceUnavailable, "too many servers: name them in umpire.yaml, or start umpire again"
	}
	if front, err = d.open(name, u, socket); err != nil {
		return nil, http.StatusNotFound, err.Error()
	}
	d.passages[key] = front
	d.opts.Log.Info("server", "mount", "/"+name+"/to/… -> "+shown(u))
	return front, 0, ""
}

// open makes the front end of a passage. d.mu is held.
func (d *Daemon) open(name string, u *url.URL, socket bool) (any, error) {
	intent := d.opts.Config.Intent.Of(name)
	if !socket {
		front, err := proxy.NewHTTP(proxy.HTTPConfig{
			Server: name, URL: u, Judge: d.gate, Cleaner: d.cleaner, Hearer: d.ear, Intent: intent, Elicitor: d.asks, Guard: d.guard, Log: d.opts.Log,
		})
		if err == nil {
			d.fronts = append(d.fronts, front)
		}
		return front, err
	}
	front, err := proxy.NewRelay(proxy.RelayConfig{
		Server: name, Judge: d.gate, Cleaner: d.cleaner, Hearer: d.ear, Intent: intent, Elicitor: d.asks, Guard: d.guard, Log: d.opts.Log,
		Dial: func(ctx context.Context, header http.Header) (proxy.Conn, error) {
			return proxy.Dial(ctx, proxy.TransportWS, transport.Remote{URL: u, Header: header})
		},
	})
	if err == nil {
		d.relays = append(d.relays, front)
	}
	return front, err
}
