package lineage

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"io"
	"mime/quotedprintable"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The bounds of decoding: how often what was decoded is decoded again, and how many forms a text has at most.
const (
	maxDepth = 3
	maxForms = 16
)

// Decoded returns text and what it says in other words: with percent-encoding, entities and quoted-printable undone, and
// the texts that stand in base64 or hex within it, some levels deep. The first is text itself. All is false if there are
// more forms than these.
func Decoded(text string) (forms []string, all bool) {
	forms = []string{text}
	level := forms
	for range maxDepth {
		var next []string
		for _, t := range level {
			next = append(next, once(t)...)
		}
		if len(next) == 0 {
			break
		}
		if forms = append(forms, next...); len(forms) >= maxForms {
			return forms[:maxForms], len(forms) == maxForms
		}
		level = next
	}
	return forms, true
}

// once returns what text says after one step of decoding, if there is something to decode.
func once(text string) []string {
	var out []string
	add := func(s string) {
		if s != text && s != "" && utf8.ValidString(s) && legible(s) {
			out = append(out, s)
		}
	}
	if strings.Contains(text, "%") {
		if s, err := url.PathUnescape(text); err == nil {
			add(s)
		} else {
			add(percent(text))
		}
	}
	if strings.Contains(text, "&") {
		add(html.UnescapeString(text))
	}
	if strings.Contains(text, "=") && quoted(text) {
		if s, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(text))); err == nil {
			add(string(s))
		}
	}
	if strings.Contains(text, "\xf3\xa0") {
		add(untag(text))
	}
	var said []string
	for _, b := range blobs(text) {
		if s, ok := unblob(b); ok {
			said = append(said, s)
			continue
		}
		for part := range strings.FieldsFuncSeq(b, func(r rune) bool { return r == '/' || r == '-' || r == '_' || r == '+' }) {
			if s, ok := unblob(part); ok && len(part) >= shortestBlob && len(part) < len(b) { // of a path
				said = append(said, s)
			}
		}
	}
	add(strings.Join(said, "\n"))
	return out
}

// untag spells out tag characters, which nobody sees and which stand for those of ASCII.
func untag(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xe0020 && r < 0xe007f {
			return r - 0xe0000
		}
		return r
	}, text)
}

// percent undoes percent-encoding where it is well-formed, in a text that has other percent signs, too.
func percent(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if raw, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				b.WriteByte(raw[0])
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// quoted reports whether text has something of quoted-printable: an equals sign before two hex digits in capitals.
func quoted(text string) bool {
	for i := 0; i+2 < len(text); i++ {
		if text[i] == '=' && strings.IndexByte("0123456789ABCDEF", text[i+1]) >= 0 && strings.IndexByte("0123456789ABCDEF", text[i+2]) >= 0 {
			return true
		}
	}
	return false
}

// shortestBlob is the length from which on base64 or hex says something.
const shortestBlob = 12

// blobs returns runs of characters that can be base64 or hex, if they are long enough to say something. An equals sign can be
// the end of one.
func blobs(text string) []string {
	var out []string
	from := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) {
			switch c := text[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/', c == '-', c == '_':
				continue
			}
		}
		if i-from >= shortestBlob {
			out = append(out, text[from:i])
		}
		from = i + 1
	}
	return out
}

// standard turns the URL's alphabet of base64 into the other.
var standard = strings.NewReplacer("-", "+", "_", "/")

// unblob decodes base64 of either alphabet, with or without padding, or hex, if what comes out is text.
func unblob(b string) (string, bool) {
	if len(b)%2 == 0 {
		if raw, err := hex.DecodeString(b); err == nil && legible(string(raw)) {
			return string(raw), true
		}
	}
	plain := standard.Replace(strings.TrimRight(b, "="))
	if raw, err := base64.RawStdEncoding.DecodeString(plain); err == nil && legible(string(raw)) {
		return string(raw), true
	}
	return "", false
}

// legible reports whether s is text: valid UTF-8 without control characters but white space.
func legible(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return false
		}
	}
	return true
}
