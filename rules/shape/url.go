package shape

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// URL is an absolute URL that all parsers read the same way, taken apart.
type URL struct {
	Scheme string // lower case
	User   string // the part before "@", if any
	Host   string // canonical, see Host; empty for schemes without one
	Port   int    // the scheme's own port if the URL names none; 0 if there is none
	Path   string // starts with "/", dot segments resolved, %2E read as "."
	Query  string // without "?", as it stands
}

var defaultPorts = map[string]int{"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}

// ParseURL reads an absolute URL. What RFC 3986 and the WHATWG standard read differently is an error: backslashes,
// white space and control characters, a missing "//" or host, "@" in the user part, percent signs in the host.
func ParseURL(s string) (URL, error) {
	bad := func(why string) (URL, error) { return URL{}, fmt.Errorf("url %.80q: %s", s, why) }
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == '\\' {
			return bad("has white space, a control character or a backslash, which parsers read differently")
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad("cannot be parsed")
	}
	out := URL{Scheme: strings.ToLower(u.Scheme), Query: u.RawQuery}
	if out.Scheme == "" {
		return bad("has no scheme")
	}
	_, special := defaultPorts[out.Scheme]
	if u.Opaque != "" || u.Host == "" {
		if special {
			return bad("has no host after //")
		}
		out.Path = u.Path
		if u.Opaque != "" {
			out.Path = u.Opaque
		}
		return out, nil
	}
	if u.User != nil {
		if out.User = u.User.String(); strings.Count(authority(s), "@") > 1 {
			return bad("has more than one @ before the host")
		}
	}
	host, err := ParseHost(u.Host)
	if err != nil {
		return URL{}, fmt.Errorf("url %.80q: %w", s, err)
	}
	out.Host = host.String()
	out.Port = defaultPorts[out.Scheme]
	if p := u.Port(); p != "" {
		if out.Port, err = strconv.Atoi(p); err != nil || out.Port > 65535 {
			return bad("has no valid port")
		}
	}
	out.Path = resolveDots(u.EscapedPath())
	return out, nil
}

// authority returns what stands between "//" and the next "/", "?" or "#".
func authority(s string) string {
	_, rest, _ := strings.Cut(s, "//")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// resolveDots removes "." and ".." segments as the WHATWG standard does, encoded ones included.
func resolveDots(path string) string {
	var out []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, seg := range segments {
		plain := strings.ReplaceAll(strings.ReplaceAll(seg, "%2e", "."), "%2E", ".")
		last := i == len(segments)-1
		switch plain {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, seg)
		}
	}
	return "/" + strings.Join(out, "/")
}
