package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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
	paths    []secretPath
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
		out.paths = append(out.paths, newSecretPath(path))
	}
	return out, nil
}

// Clean returns the JSON value raw as it may be stored, on one line, and what it took out. Root is the name of the value
// in paths: "args" or "result". If nothing is taken out of a line, it returns raw itself.
func (c *Cleaner) Clean(root string, raw []byte) ([]byte, []event.Finding) {
	if bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') >= 0 { // no string holds them as they are
		var line bytes.Buffer
		if json.Compact(&line, raw) == nil {
			raw = line.Bytes()
		}
	}
	text := view(raw)
	w := cleaning{Cleaner: c, limit: c.maxValue, tokens: suspicious(text), path: append(make([]string, 0, 8), root)}
	whole := 4 * c.maxValue
	out := text
	if len(c.paths) > 0 || len(c.patterns) > 0 || len(raw) > c.maxValue || w.tokens {
		out = w.value(gjson.Parse(text))
	}
	for len(out) > whole && w.limit > MinMaxValue/16 {
		w = cleaning{Cleaner: c, limit: w.limit / 4, tokens: w.tokens, path: w.path[:1]}
		out = w.value(gjson.Parse(text))
	}
	if len(out) > whole || len(w.findings) > maxFindings {
		return []byte("{}"), []event.Finding{{Kind: event.Truncated, Path: root, Size: len(raw)}}
	}
	return unview(out), w.findings
}

// Text returns a text as it may be stored, at most MinMaxValue bytes long.
func (c *Cleaner) Text(s string) string {
	w := cleaning{Cleaner: c, limit: MinMaxValue, tokens: true}
	return w.text(s)
}

// Words returns a text as it may be stored, cut at MaxValue, and what it took out. Root is the name of the text in findings.
func (c *Cleaner) Words(root, s string) (string, []event.Finding) {
	w := cleaning{Cleaner: c, limit: c.maxValue, tokens: suspicious(s), path: []string{root}}
	return w.text(s), w.findings
}

// Digest returns what is equal for equal parts, and tells whoever does not have the history's secret nothing about them.
func (c *Cleaner) Digest(parts ...string) string {
	mac := hmac.New(sha256.New, c.secret)
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		mac.Write(size[:])
		mac.Write(unview(p))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// suspicious reports whether s may hold a well-known token. Escapes can spell anything.
func suspicious(s string) bool {
	if holds(s, `\u00`) {
		return true
	}
	for _, t := range tokenPatterns {
		for _, l := range t.literals {
			if holds(s, l) {
				return true
			}
		}
	}
	return false
}

// holds is strings.Contains, but looks for the first byte that is no lower-case letter: texts are full of those.
func holds(s, literal string) bool {
	rare := max(0, strings.IndexFunc(literal, func(r rune) bool { return r < 'a' || r > 'z' }))
	for i := rare; i < len(s); i++ {
		next := strings.IndexByte(s[i:], literal[rare])
		if next < 0 {
			return false
		}
		if i += next; strings.HasPrefix(s[i-rare:], literal) {
			return true
		}
	}
	return false
}

// cleaning is one pass over one value.
type cleaning struct {
	*Cleaner
	limit    int
	tokens   bool     // there may be well-known tokens
	path     []string // where the value stands that is looked at
	findings []event.Finding
}

func (w *cleaning) found(kind string, size int) {
	w.findings = append(w.findings, event.Finding{Kind: kind, Path: strings.Join(w.path, "."), Size: size})
}

// value returns v as it may be stored.
func (w *cleaning) value(v gjson.Result) string {
	switch {
	case v.Type != gjson.Null && w.secretPath():
		w.found(event.Redacted, len(v.Raw))
		return quote(w.digest(v.String()))
	case v.Type == gjson.String:
		if clean := w.text(v.Str); clean != v.Str {
			return quote(clean)
		}
	case v.IsObject() || v.IsArray():
		return w.members(v)
	}
	return v.Raw
}

// members returns an object or array with its members as they may be stored. It copies only where one is not.
func (w *cleaning) members(v gjson.Result) string {
	object := v.IsObject()
	var out []byte
	done, n := 0, 0 // how much of v is in out; how many members were seen
	v.ForEach(func(key, member gjson.Result) bool {
		name := key.Str
		if !object {
			name = strconv.Itoa(n)
		}
		n++
		w.path = append(w.path, name)
		clean := w.value(member)
		w.path = w.path[:len(w.path)-1]
		if from := member.Index - v.Index; clean != member.Raw {
			out = append(append(out, v.Raw[done:from]...), clean...)
			done = from + len(member.Raw)
		}
		return true
	})
	if done == 0 {
		return v.Raw
	}
	return string(append(out, v.Raw[done:]...))
}

// text replaces secrets in s and cuts it.
func (w *cleaning) text(s string) string {
	size := len(s)
	clean := s
	for _, t := range tokenPatterns {
		for _, l := range t.literals {
			if w.tokens && strings.Contains(clean, l) {
				clean = t.pattern.ReplaceAllStringFunc(clean, w.digest)
				break
			}
		}
	}
	form := clean != s
	for _, p := range w.patterns {
		clean = p.ReplaceAllStringFunc(clean, func(m string) string {
			if m == "" {
				return m
			}
			return w.digest(m)
		})
	}
	if clean != s {
		w.found(event.Redacted, size)
		w.findings[len(w.findings)-1].Form = form
	}
	if len(clean) > w.limit {
		w.found(event.Truncated, size)
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

// secretPath is a path of Redact. Most are a name at any depth, and such a path is compared with the end of a value's only.
type secretPath struct {
	steps   []string
	anyRoot bool // a "**" stood before the steps, which have no other
}

func newSecretPath(steps []string) secretPath {
	if steps[0] == "**" && !slices.Contains(steps[1:], "**") {
		return secretPath{steps: steps[1:], anyRoot: true}
	}
	return secretPath{steps: steps}
}

func (w *cleaning) secretPath() bool {
	for _, p := range w.paths {
		path := w.path
		if p.anyRoot {
			path = path[max(0, len(path)-len(p.steps)):]
		}
		if matchPath(p.steps, path) {
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

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic("wire: " + err.Error()) // strings always marshal
	}
	return string(text)
}
