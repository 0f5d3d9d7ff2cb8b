package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The bounds of the door.
const (
	LinkFor  = 10 * time.Minute // a link that nobody has opened by then opens nothing
	StayFor  = 12 * time.Hour   // then a browser needs another link
	maxLinks = 16               // that nobody has opened; the oldest is void then
	maxStays = 32               // browsers that are in; whoever came first is out then
)

// door lets browsers in. What it hands out lives as long as the process and is kept as digests.
//
// A link holds a ticket, good for one entry. Who enters gets a cookie, which no script can read, and a key, which pages of
// the console's own origin keep; every request needs both. A cookie alone would not do: browsers send it to every port of
// this machine, so that any other server here to which the browser talks could take it. The key goes nowhere else.
type door struct {
	cookie string // its name: cookies of several daemons share one host
	now    func() time.Time

	mu    sync.Mutex
	links []grant
	stays []grant
}

// grant is a ticket, or a cookie with its key.
type grant struct {
	secret, key [sha256.Size]byte
	until       time.Time
	used        func() // called when a ticket has been; nil if nobody cares
}

func newDoor(cookie string, now func() time.Time) *door { return &door{cookie: cookie, now: now} }

// secret returns 256 random bits.
func secret() string {
	raw := make([]byte, 32)
	rand.Read(raw) //nolint:errcheck // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ticket makes a link's secret. Used is called when it has been; it may be nil.
func (d *door) ticket(used func()) string {
	t := secret()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.links = admit(d.links, grant{secret: sha256.Sum256([]byte(t)), until: d.now().Add(LinkFor), used: used}, maxLinks, d.now())
	return t
}

// admit adds a grant and drops those that are over, and the oldest ones where there are too many.
func admit(all []grant, g grant, most int, now time.Time) []grant {
	var kept []grant
	for _, other := range all {
		if now.Before(other.until) {
			kept = append(kept, other)
		}
	}
	kept = append(kept, g)
	return kept[max(0, len(kept)-most):]
}

// use takes a ticket and returns what lets a browser in from then on; ok is false if the ticket is good for nothing.
func (d *door) use(ticket string) (cookie, key string, ok bool) {
	sum := sha256.Sum256([]byte(ticket))
	used := func() {}
	defer func() { used() }()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for i, g := range d.links {
		if subtle.ConstantTimeCompare(g.secret[:], sum[:]) == 1 && now.Before(g.until) {
			d.links = append(d.links[:i:i], d.links[i+1:]...)
			if g.used != nil {
				used = g.used
			}
			cookie, key = secret(), secret()
			d.stays = admit(d.stays, grant{secret: sha256.Sum256([]byte(cookie)), key: sha256.Sum256([]byte(key)), until: now.Add(StayFor)}, maxStays, now)
			return cookie, key, true
		}
	}
	return "", "", false
}

// knows reports whether a cookie and a key let a browser in. With out, they no longer do.
func (d *door) knows(cookie, key string, out bool) bool {
	c, k := sha256.Sum256([]byte(cookie)), sha256.Sum256([]byte(key))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, g := range d.stays {
		if subtle.ConstantTimeCompare(g.secret[:], c[:])&subtle.ConstantTimeCompare(g.key[:], k[:]) == 1 && d.now().Before(g.until) {
			if out {
				d.stays = append(d.stays[:i:i], d.stays[i+1:]...)
			}
			return true
		}
	}
	return false
}

// The names under which a page sends its key: in a header, or where that cannot be, as a subprotocol of a WebSocket.
const (
	keyHeader   = "Umpire-Key"
	keyProtocol = "key."
)

// presented returns the cookie and the key of a request.
func (d *door) presented(r *http.Request) (cookie, key string) {
	if c, err := r.Cookie(d.cookie); err == nil {
		cookie = c.Value
	}
	key = r.Header.Get(keyHeader)
	for p := range strings.SplitSeq(r.Header.Get("Sec-WebSocket-Protocol"), ",") {
		if k, ok := strings.CutPrefix(strings.TrimSpace(p), keyProtocol); ok && key == "" {
			key = k
		}
	}
	return cookie, key
}

// inside lets through who is in.
func (c *Console) inside(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if cookie, key := c.door.presented(r); !c.door.knows(cookie, key, false) {
			http.Error(w, "this browser is not let in: open a link of umpire console", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// enter takes a ticket and lets the browser in.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/json" { // a page elsewhere cannot send this unasked
		http.Error(w, "want Content-Type: application/json", http.StatusUnsupportedMediaType)
		return
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&in); err != nil {
		http.Error(w, "want the token of a link", http.StatusBadRequest)
		return
	}
	cookie, key, ok := c.door.use(in.Token)
	if !ok {
		http.Error(w, "this link was used or is too old: umpire console makes another", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure: it never leaves this machine, where there is no TLS
		Name: c.door.cookie, Value: cookie, Path: "/", MaxAge: int(StayFor / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"key": key}) //nolint:errcheck,errchkjson // the browser is gone, and needs another link
}

// leave lets the browser in no more.
func (c *Console) leave(w http.ResponseWriter, r *http.Request) {
	cookie, key := c.door.presented(r)
	c.door.knows(cookie, key, true)
	w.WriteHeader(http.StatusNoContent)
}
