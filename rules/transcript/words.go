package transcript

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// words is what is left of a line.
type words struct{ rest string }

// next takes a word, or a text in quotes.
func (w *words) next() (string, error) {
	w.rest = strings.TrimLeft(w.rest, " ")
	if strings.HasPrefix(w.rest, `"`) {
		quoted, err := strconv.QuotedPrefix(w.rest)
		if err != nil {
			return "", fmt.Errorf("the quotes of %.30s do not end", w.rest)
		}
		w.rest = strings.TrimPrefix(w.rest[len(quoted):], " ")
		return strconv.Unquote(quoted)
	}
	word, rest, _ := strings.Cut(w.rest, " ")
	w.rest = rest
	return word, nil
}

// text takes all of it; a text that stands in quotes as a whole is what they hold.
func (w *words) text() string {
	all := w.rest
	w.rest = ""
	if s, err := strconv.Unquote(all); err == nil && strings.HasPrefix(all, `"`) {
		return s
	}
	return all
}

// value takes a JSON value; empty if there is none.
func (w *words) value(what string) (json.RawMessage, error) {
	w.rest = strings.TrimLeft(w.rest, " ")
	if w.rest == "" || strings.HasPrefix(w.rest, "-> ") {
		return nil, nil
	}
	var raw json.RawMessage
	d := json.NewDecoder(strings.NewReader(w.rest))
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("%s: no JSON: %.60s", what, w.rest)
	}
	w.rest = strings.TrimLeft(w.rest[d.InputOffset():], " ")
	return raw, nil
}

// attributes takes key=value as long as there are such words.
func (w *words) attributes(set func(key, value string) error) error {
	for {
		word, _, _ := strings.Cut(w.rest, " ")
		key, _, ok := strings.Cut(word, "=")
		if !ok || key == "" || strings.ContainsFunc(key, func(r rune) bool { return r < 'a' || r > 'z' }) {
			return nil
		}
		w.rest = w.rest[len(key)+1:]
		value := ""
		if !strings.HasPrefix(w.rest, " ") {
			var err error
			if value, err = w.next(); err != nil {
				return err
			}
		} else {
			w.rest = w.rest[1:]
		}
		if err := set(key, value); err != nil {
			return err
		}
	}
}
