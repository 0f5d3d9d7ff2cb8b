package shape

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/umpire-dev/umpire/rules/event"
)

// Path is a file path in every way in which a server might read it. "." and ".." are resolved, "~" is the home
// directory, file URLs are taken apart. Percent-encoding and backslashes give further readings, since some servers
// decode them and others do not. A question that has different answers for different readings is an error, so that a
// rule fails towards its action; a Path is never silently given the reading that an attacker hoped for.
//
// Resolution is lexical: symbolic links are invisible to it.
type Path struct {
	raw      string
	env      event.Env
	readings []reading
}

// reading is one way to read a path: cleaned segments below a root. A relative reading has no root.
type reading struct {
	root string // "/", "c:/", "//host/share/"; empty for a relative path
	segs []string
}

// ErrAmbiguous says that a path means different files to different programs.
var ErrAmbiguous = errors.New("can be read in several ways")

// ErrRelative says that a question about a relative path needs to know what it is relative to.
var ErrRelative = errors.New("is relative to a directory that is not known; name it: path(p, dir)")

// ParsePath reads s as a path on a machine like env. If dir is not empty, relative paths are relative to it.
func ParsePath(s, dir string, env event.Env) (Path, error) {
	p := Path{raw: s, env: env}
	if s == "" {
		return p, errors.New("path is empty")
	}
	var base *reading
	if dir != "" {
		d, err := ParsePath(dir, "", env)
		if err != nil {
			return p, err
		}
		if len(d.readings) != 1 || d.readings[0].root == "" {
			return p, fmt.Errorf("path %.60q: is no plain absolute directory", dir)
		}
		base = &d.readings[0]
	}
	for _, text := range decodings(s) {
		if err := checkText(text); err != nil {
			return p, fmt.Errorf("path %.60q: %w", s, err)
		}
		forms := []string{text}
		if strings.Contains(text, `\`) {
			forms = append(forms, strings.ReplaceAll(text, `\`, "/"))
			if env.OS == "windows" {
				forms = forms[1:]
			}
		}
		for _, form := range forms {
			r, err := p.read(form)
			if err != nil {
				return p, fmt.Errorf("path %.60q: %w", s, err)
			}
			if r.root == "" && base != nil {
				r = reading{root: base.root, segs: clean(append(slices.Clone(base.segs), r.segs...), true)}
			}
			if !slices.ContainsFunc(p.readings, r.equal) {
				p.readings = append(p.readings, r)
			}
		}
	}
	return p, nil
}

// Within reports whether the path is dir or below it. dir must be absolute, or as relative as the path.
func (p Path) Within(dir string) (bool, error) {
	d, err := ParsePath(dir, "", p.env)
	if err != nil {
		return false, err
	}
	if len(d.readings) != 1 {
		return false, fmt.Errorf("path %.60q: %w", dir, ErrAmbiguous)
	}
	return agree(p, func(r reading) (bool, error) { return r.within(d.readings[0]) })
}

// Name returns the last segment; "/" for a root.
func (p Path) Name() (string, error) {
	return agree(p, func(r reading) (string, error) {
		if len(r.segs) == 0 {
			return "/", nil
		}
		return r.segs[len(r.segs)-1], nil
	})
}

// Text returns the canonical path with "/" between segments.
func (p Path) Text() (string, error) {
	return agree(p, func(r reading) (string, error) { return r.root + strings.Join(r.segs, "/"), nil })
}

// agree asks every reading of p and returns the answer that they share.
func agree[T comparable](p Path, ask func(reading) (T, error)) (answer T, err error) {
	for i, r := range p.readings {
		a, err := ask(r)
		if err != nil {
			return answer, fmt.Errorf("path %.60q: %w", p.raw, err)
		}
		if i > 0 && a != answer {
			return answer, fmt.Errorf("path %.60q: %w: %.60q or %.60q", p.raw, ErrAmbiguous, p.readings[0], r)
		}
		answer = a
	}
	return answer, nil
}

// String formats a reading for errors.
func (r reading) String() string { return r.root + strings.Join(r.segs, "/") }

func (r reading) equal(o reading) bool { return r.root == o.root && slices.Equal(r.segs, o.segs) }

func (r reading) within(dir reading) (bool, error) {
	switch {
	case r.root == "" && dir.root != "", r.root != "" && dir.root == "":
		return false, ErrRelative
	case r.root == "" && len(r.segs) > 0 && r.segs[0] == "..":
		return false, nil
	}
	return r.root == dir.root && len(r.segs) >= len(dir.segs) && slices.Equal(r.segs[:len(dir.segs)], dir.segs), nil
}

// decodings returns s and what is left after decoding percent signs once, twice, … until nothing changes.
func decodings(s string) []string {
	out := []string{s}
	for len(out) < 8 {
		next := unescape(out[len(out)-1])
		if next == out[len(out)-1] {
			break
		}
		out = append(out, next)
	}
	return out
}

// unescape decodes every percent sign that two hexadecimal digits follow and keeps the others, as lenient decoders do:
// one malformed escape must not hide the rest.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8 after decoding")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return errors.New("has a control character")
		}
	}
	return nil
}

// read takes a decoded path with "/" as separator apart.
func (p Path) read(s string) (reading, error) {
	if rest, ok := cutPrefixFold(s, "file:"); ok {
		s = rest
		if rest, ok := strings.CutPrefix(s, "//"); ok {
			host, path, _ := strings.Cut(rest, "/")
			if host != "" && !strings.EqualFold(host, "localhost") {
				return reading{}, errors.New("is a file URL of another machine")
			}
			s = "/" + path
			if len(path) > 1 && path[1] == ':' { // file:///C:/x
				s = path
			}
		}
	}
	if s == "~" || strings.HasPrefix(s, "~/") {
		if p.env.Home == "" {
			return reading{}, errors.New(`starts with "~", and the home directory is not known`)
		}
		s = strings.ReplaceAll(p.env.Home, `\`, "/") + s[1:]
	} else if strings.HasPrefix(s, "~") && !strings.HasPrefix(s, "~$") {
		return reading{}, errors.New("starts with the home directory of another user")
	}
	root, rest, err := p.splitRoot(s)
	if err != nil {
		return reading{}, err
	}
	segs := clean(strings.Split(rest, "/"), root != "")
	for i, seg := range segs {
		if segs[i], err = p.canonical(seg); err != nil {
			return reading{}, err
		}
	}
	return reading{root: root, segs: segs}, nil
}

// splitRoot cuts the root off: "/", a drive such as "c:/", or "//host/share/".
func (p Path) splitRoot(s string) (root, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "//?/"); ok { // \\?\C:\x
		s = rest
	}
	if len(s) >= 2 && s[1] == ':' && isLetter(s[0]) {
		if len(s) == 2 || s[2] != '/' {
			if p.env.OS == "windows" {
				return "", "", errors.New("is relative to the current directory of a drive")
			}
			return "", s, nil
		}
		return strings.ToLower(s[:2]) + "/", s[3:], nil
	}
	if p.env.OS == "windows" && strings.HasPrefix(s, "//") {
		parts := strings.SplitN(strings.TrimLeft(s, "/"), "/", 3)
		if len(parts) < 2 || parts[0] == "." || parts[0] == "?" {
			return "", "", errors.New("is a device or an incomplete share")
		}
		return strings.ToLower("//" + parts[0] + "/" + parts[1] + "/"), strings.Join(parts[2:], "/"), nil
	}
	if rest, ok := strings.CutPrefix(s, "/"); ok {
		return "/", rest, nil
	}
	return "", s, nil
}

// canonical returns a segment so that equal files have equal segments on p's platform.
func (p Path) canonical(seg string) (string, error) {
	switch p.env.OS {
	case "windows":
		if seg == ".." {
			return seg, nil
		}
		name, _, _ := strings.Cut(seg, ":") // name:stream
		name = strings.TrimRight(name, ". ")
		if i := strings.LastIndexByte(name, '~'); i >= 0 && i+1 < len(name) && name[i+1] >= '0' && name[i+1] <= '9' {
			return "", errors.New("has a short (8.3) name")
		}
		if name == "" {
			return "", errors.New("has a name of dots and spaces only")
		}
		return fold(name), nil
	case "darwin":
		return fold(norm.NFC.String(seg)), nil
	}
	return seg, nil
}

// clean resolves "", "." and "..". A rooted path cannot go above its root; a relative one may start with "..".
func clean(segs []string, rooted bool) []string {
	out := make([]string, 0, len(segs))
	for _, seg := range segs {
		switch {
		case seg == "" || seg == ".":
		case seg != "..":
			out = append(out, seg)
		case len(out) > 0 && out[len(out)-1] != "..":
			out = out[:len(out)-1]
		case !rooted:
			out = append(out, seg)
		}
	}
	return out
}

// fold maps strings that differ in case alone to the same string.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}
