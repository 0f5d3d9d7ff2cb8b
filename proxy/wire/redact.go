package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// DefaultRedact is what is redacted where the configuration does not say.
var DefaultRedact = []string{
	"**.password", "**.passwd", "**.secret", "**.api_key", "**.apikey", "**.access_token", "**.refresh_token",
	"**.client_secret", "**.private_key", "**.authorization",
}

// tokenPatterns find well-known secrets in any text. A text without the literal is not searched: RE2 is slow over
// long texts, and literals are not.
var tokenPatterns = []struct {
	literals []string
	pattern  *regexp.Regexp
}{
	{[]string{"PRIVATE KEY-----"}, regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)},
	{[]string{"AKIA", "ASIA"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`)},
	{[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,}`)},
	{[]string{"github_pat_"}, regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{22,}`)},
	{[]string{"sk-"}, regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{20,}`)},
	{[]string{"xox"}, regexp.MustCompile(`\bxox[abprs]-[A-Za-z0-9-]{10,}`)},
	{[]string{"eyJ"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)},
}

// CleanerConfig says what must not be stored.
type CleanerConfig struct {
	// Redact lists what is secret: paths such as "args.**.password" ("*" is one member, "**" any number of them, names
	// match in any case) or regular expressions between slashes, which are searched in every text. Well-known tokens
	// are always found.
	Redact []string
	// MaxValue is how many bytes of one text are kept. Of all arguments or of a whole result, four times as much is.
	MaxValue int
	// Secret keys the digests that stand for secrets, so that equal secrets have equal digests and nobody can guess
	// them from the history alone.
	Secret []byte
}

// Validate reports what is wrong with c.
func (c CleanerConfig) Validate() error {
	_, err := NewCleaner(c)
	return err
}

// Cleaner replaces what must not be stored. It can be shared.
type Cleaner struct {
	paths    [][]string
	patterns []*regexp.Regexp
	maxValue int
	secret   []byte
}

// MinMaxValue is the least number of bytes of one text that can be kept.
const MinMaxValue = 1 << 10

// maxFindings is how many findings a value can have before it is not kept at all.
const maxFindings = 100

// NewCleaner returns a Cleaner for c.
func NewCleaner(c CleanerConfig) (*Cleaner, error) {
	if c.MaxValue < MinMaxValue {
		return nil, fmt.Errorf("max_value %d is less than %d bytes", c.MaxValue, MinMaxValue)
	}
	if len(c.Secret) == 0 {
		return nil, errors.New("redaction wants a key")
	}
	out := &Cleaner{maxValue: c.MaxValue, secret: c.Secret}
	for _, r := range c.Redact {
		if len(r) > 1 && r[0] == '/' && r[len(r)-1] == '/' {
			p, err := regexp.Compile(r[1 : len(r)-1])
			if err != nil {
				return nil, fmt.Errorf("redact %q: %w", r, err)
			}
			out.patterns = append(out.patterns, p)
			continue
		}
		path := strings.Split(r, ".")
		for _, step := range path {
			if step == "" {
				return nil, fmt.Errorf("redact %q: want a path such as args.**.password, or a regular expression between slashes", r)
			}
		}
		out.paths = append(out.paths, path)
	}
	return out, nil
}

// Clean returns the JSON value raw as it may be stored, and what it took out. Root is the name of the value in paths:
// "args" or "result". If nothing is taken out, it returns raw itself.
func (c *Cleaner) Clean(root string, raw []byte) ([]byte, []event.Finding) {
	w := cleaning{Cleaner: c, limit: c.maxValue}
	whole := 4 * c.maxValue
	out := raw
	if len(c.paths) > 0 || len(c.patterns) > 0 || len(raw) > c.maxValue || suspicious(raw) {
		out = w.value([]string{root}, gjson.ParseBytes(raw), raw)
	}
	for len(out) > whole && w.limit > MinMaxValue/16 {
		w = cleaning{Cleaner: c, limit: w.limit / 4}
		out = w.value([]string{root}, gjson.ParseBytes(raw), raw)
	}
	if len(out) > whole || len(w.findings) > maxFindings {
		return []byte("{}"), []event.Finding{{Kind: event.Truncated, Path: root, Size: len(raw)}}
	}
	return out, w.findings
}

// Text returns a text as it may be stored, at most MinMaxValue bytes long.
func (c *Cleaner) Text(s string) string {
	w := cleaning{Cleaner: c, limit: MinMaxValue}
	return w.text(nil, s)
}

// suspicious reports whether raw may hold a well-known token. Escapes can spell anything.
func suspicious(raw []byte) bool {
	s := string(raw)
	if strings.Contains(s, `\u00`) {
		return true
	}
	for _, t := range tokenPatterns {
		for _, l := range t.literals {
			if strings.Contains(s, l) {
				return true
			}
		}
	}
	return false
}

// cleaning is one pass over one value.
type cleaning struct {
	*Cleaner
	limit    int
	findings []event.Finding
}

func (w *cleaning) found(kind string, path []string, size int) {
	w.findings = append(w.findings, event.Finding{Kind: kind, Path: strings.Join(path, "."), Size: size})
}

// value returns v, which stands at path, as it may be stored; raw is v's own text.
func (w *cleaning) value(path []string, v gjson.Result, raw []byte) []byte {
	if w.secretPath(path) && v.Type != gjson.Null {
		w.found(event.Redacted, path, len(raw))
		return quote(w.digest(v.String()))
	}
	switch {
	case v.Type == gjson.String:
		if clean := w.text(path, v.Str); clean != v.Str {
			return quote(clean)
		}
		return raw
	case v.IsObject() || v.IsArray():
		return w.members(path, v, raw)
	}
	return raw
}

func (w *cleaning) members(path []string, v gjson.Result, raw []byte) []byte {
	object := v.IsObject()
	var out []byte
	changed := false
	n := 0
	v.ForEach(func(key, member gjson.Result) bool {
		name := key.Str
		if n > 0 {
			out = append(out, ',')
		}
		if object {
			out = append(append(out, key.Raw...), ':')
		} else {
			name = fmt.Sprint(n)
		}
		n++
		inner := []byte(member.Raw)
		clean := w.value(append(path[:len(path):len(path)], name), member, inner)
		changed = changed || string(clean) != member.Raw
		out = append(out, clean...)
		return true
	})
	if !changed {
		return raw
	}
	if object {
		return append(append([]byte{'{'}, out...), '}')
	}
	return append(append([]byte{'['}, out...), ']')
}

// text replaces secrets in s and cuts it.
func (w *cleaning) text(path []string, s string) string {
	size := len(s)
	clean := s
	for _, t := range tokenPatterns {
		for _, l := range t.literals {
			if strings.Contains(clean, l) {
				clean = t.pattern.ReplaceAllStringFunc(clean, w.digest)
				break
			}
		}
	}
	for _, p := range w.patterns {
		clean = p.ReplaceAllStringFunc(clean, func(m string) string {
			if m == "" {
				return m
			}
			return w.digest(m)
		})
	}
	if clean != s {
		w.found(event.Redacted, path, size)
	}
	if len(clean) > w.limit {
		w.found(event.Truncated, path, size)
		cut := w.limit
		for cut > 0 && !utf8.RuneStart(clean[cut]) {
			cut--
		}
		clean = clean[:cut]
	}
	return clean
}

// digest returns what stands for a secret.
func (w *cleaning) digest(secret string) string {
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(secret))
	return "[redacted " + hex.EncodeToString(mac.Sum(nil)[:8]) + "]"
}

func (w *cleaning) secretPath(path []string) bool {
	for _, p := range w.paths {
		if matchPath(p, path) {
			return true
		}
	}
	return false
}

func matchPath(pattern, path []string) bool {
	if len(pattern) == 0 {
		return len(path) == 0
	}
	if pattern[0] == "**" {
		for i := 0; i <= len(path); i++ {
			if matchPath(pattern[1:], path[i:]) {
				return true
			}
		}
		return false
	}
	return len(path) > 0 && (pattern[0] == "*" || strings.EqualFold(pattern[0], path[0])) && matchPath(pattern[1:], path[1:])
}

func quote(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic("wire: " + err.Error()) // strings always marshal
	}
	return text
}
