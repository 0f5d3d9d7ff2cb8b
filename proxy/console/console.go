// Package console is the web console: pages for a person in front of the machine on which Umpire runs. It holds what pages
// are made of, lets nobody in but who holds a link from umpire console, and tells pages that there is something new. What
// they show and decide is the API's, the same that the commands use.
//
// Everything that tools, models and users said is text to the pages: they build nodes and never markup, and their
// Content-Security-Policy lets no script run but those of this package.
package console

import (
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed assets
var embedded embed.FS

// Feed is the history, as far as pages have to know that there is more of it. *store.DB is one.
type Feed interface {
	// Watch yields the events from Seq from on, and waits for more until done is closed.
	Watch(done <-chan struct{}, from uint64) iter.Seq2[json.RawMessage, error]
	// Last returns the Seq of the newest event.
	Last() uint64
}

// Config says what a Console works with.
type Config struct {
	Addr  string       // HOST:PORT that browsers reach it at: a loopback address, and nothing else is there
	API   http.Handler // paths below /v1/
	Feed  Feed
	Waits func() int       // how many calls wait for a person
	Done  <-chan struct{}  // closed when the daemon ends
	Now   func() time.Time // nil is time.Now
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Addr)
	switch ip := net.ParseIP(host); {
	case err != nil || ip == nil || !ip.IsLoopback() || port == "" || port == "0":
		return errors.New("console: want a loopback address and a port")
	case c.API == nil || c.Feed == nil || c.Waits == nil || c.Done == nil:
		return errors.New("console: want an API, a feed, who waits, and an end")
	}
	return nil
}

// Console serves the pages and the API.
type Console struct {
	cfg   Config
	hosts []string // what a Host header may say
	door  *door
	mux   *http.ServeMux
	live  chan struct{} // a token for each open socket
}

// New returns a Console.
func New(cfg Config) (*Console, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	_, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &Console{
		cfg: cfg, hosts: []string{cfg.Addr, "localhost:" + port}, mux: http.NewServeMux(),
		door: newDoor("umpire-"+port, cfg.Now), live: make(chan struct{}, maxSockets),
	}
	c.mux.HandleFunc("/", c.asset)
	c.mux.HandleFunc("POST /enter", c.enter)
	c.mux.HandleFunc("POST /leave", c.inside(c.leave))
	c.mux.HandleFunc("GET /live", c.inside(c.news))
	c.mux.HandleFunc("/v1/", c.inside(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		cfg.API.ServeHTTP(w, r)
	}))
	return c, nil
}

// Link returns a URL that lets one browser in, once and within LinkFor. The secret is in the fragment: browsers send it to
// no server and name it in no Referer. Used is called once a browser was let in by it; it may be nil.
func (c *Console) Link(used func()) string {
	return "http://" + c.cfg.Addr + "/#token=" + c.door.ticket(used)
}

// policy is the Content-Security-Policy: the console's own files and nothing else, and no way to make markup of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws://HOST; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP implements http.Handler. A Host that is not the console's own is turned away first: a page of another origin
// could have rebound its name to this machine.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(c.hosts, strings.ToLower(r.Host)) {
		http.Error(w, "the Host of this request is not the console's", http.StatusForbidden)
		return
	}
	h := w.Header()
	for name, value := range map[string]string{
		"Content-Security-Policy":      strings.Replace(policy, "HOST", r.Host, 1),
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	} {
		h.Set(name, value)
	}
	if why := foreign(r); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// foreign says why a request is not from one of the console's own pages, as far as the browser tells. To look at a page
// without anything secret, a person may come from anywhere; a socket, and whatever changes something, has to say where it
// comes from.
func foreign(r *http.Request) string {
	origins := r.Header.Values("Origin")
	own := len(origins) == 1 && origins[0] == "http://"+r.Host
	socket := r.Header.Get("Upgrade") != ""
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case len(origins) > 0 && !own:
		return "the Origin of this request is not the console's"
	case !own && (r.Method != http.MethodGet || socket):
		return "this request does not say that a page of the console makes it"
	case site == "" || site == "same-origin":
		return ""
	case r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/v1/"):
		return ""
	default:
		return "a page of somewhere else makes this request"
	}
}

// types are the Content-Types of assets: those of the system cannot be relied upon.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// asset serves what pages are made of. There is nothing secret in it.
func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = "index.html"
	}
	text, err := fs.ReadFile(embedded, "assets/"+name)
	kind := types[path.Ext(name)]
	if err != nil || kind == "" {
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(text) //nolint:errcheck,gosec // a file of this package; the browser is gone, and nothing is left to do for it
}
