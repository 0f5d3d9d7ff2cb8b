package daemon

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
)

// passage is the path of a server that the configuration does not name: the client says where it is, as umpire wrap has
// written it into the client's configuration.
var passage = regexp.MustCompile(`^/([A-Za-z0-9][A-Za-z0-9_.-]*)/to/(.+)$`)

// maxPassages bounds the servers that clients name.
const maxPassages = 256

// through serves /NAME/to/URL. Nothing is sent there that the client has not sent: no header of the configuration, and no
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
		front, status, problem := d.passage(m[1], m[2])
		if problem != "" {
			http.Error(w, problem, status)
			return
		}
		if metadata {
			front.Metadata(path).ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	})
}

// passage returns the front end of a server that a client has named. The query is the request's own.
func (d *Daemon) passage(name, upstream string) (front *proxy.HTTP, status int, problem string) {
	u, err := config.ParseURL(upstream)
	if err != nil {
		return nil, http.StatusNotFound, "after /to/: " + err.Error() + "; perhaps the client has not filled in a variable"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := name + " " + upstream
	if front := d.passages[key]; front != nil {
		return front, 0, ""
	}
	switch {
	case d.ctx.Err() != nil:
		return nil, http.StatusServiceUnavailable, "umpire is stopping"
	case len(d.passages) >= maxPassages:
		return nil, http.StatusServiceUnavailable, "too many servers: name them in umpire.yaml, or start umpire again"
	}
	front, err = proxy.NewHTTP(proxy.HTTPConfig{
		Server: name, URL: u, Judge: d.gate, Cleaner: d.cleaner, Guard: d.guard, Log: d.opts.Log,
	})
	if err != nil {
		return nil, http.StatusNotFound, err.Error()
	}
	d.passages[key] = front
	d.fronts = append(d.fronts, front)
	d.opts.Log.Info("server", "mount", "/"+name+"/to/… -> "+shown(u))
	return front, 0, ""
}
