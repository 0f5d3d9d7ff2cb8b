package lineage

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxCompared bounds the letters that one question of Flows compares.
const maxCompared = 32 << 20

// errTooMuch says that texts are too long to be compared with so many values.
var errTooMuch = errors.New("too much to compare")

// Flows reports whether the same value stands in texts and among values, however it is spelled and in whatever form that
// decoding gives. A value has to stand somewhere in a text if it has six letters and digits or more, has to be a word of it or
// all of it if it has three to five, and says nothing if it has fewer. What looks like an identifier in a text (eight or more, with
// a digit or an @) counts also where it stands within a longer value, and so does a passage that was copied.
func Flows(texts, values []string) (bool, error) {
	var to flow
	for _, v := range values {
		if err := to.add(v); err != nil {
			return false, err
		}
	}
	for _, text := range texts {
		forms, all := Decoded(text)
		room := 3*len(text) + 4096
		for _, s := range forms {
			if room -= len(s); room < 0 || !all {
				return false, errTooMuch
			}
			if found, err := to.comesFrom(s); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// flow is values that are looked for.
type flow struct {
	values   []folded
	runes    []int
	names    map[uint32]bool // hashes of identifiers in them
	prints   map[uint32]bool // fingerprints
	fold     folded          // scratch
	compared int
}

func (w *flow) add(value string) error {
	forms, all := Decoded(value)
	if !all {
		return errTooMuch
	}
	for _, s := range forms {
		var f folded
		f.fold(s)
		n := utf8.RuneCount(f.letters)
		if n < 3 {
			continue
		}
		w.values, w.runes = append(w.values, f), append(w.runes, n)
		if w.names == nil {
			w.names, w.prints = map[uint32]bool{}, map[uint32]bool{}
		}
		identifiers(&f, s, func(id []byte) { w.names[hash(id)] = true })
		prints(f.letters, func(h uint32) { w.prints[h] = true })
	}
	return nil
}

// comesFrom reports whether one of the values stands in a text.
func (w *flow) comesFrom(text string) (found bool, err error) {
	f := &w.fold
	f.fold(text)
	for i := range w.values {
		want := w.values[i].letters
		if w.compared += len(f.letters); w.compared > maxCompared {
			return false, errTooMuch
		}
		switch short := w.runes[i] < 6; {
		case bytes.Equal(f.letters, want), !short && bytes.Contains(f.letters, want):
			return true, nil
		case short && f.has(want):
			return true, nil
		}
	}
	identifiers(f, text, func(id []byte) { found = found || w.names[hash(id)] })
	run := 0
	prints(f.letters, func(h uint32) {
		if run++; !w.prints[h] {
			run = 0
		}
		found = found || run == copied
	})
	if found {
		return true, nil
	}
	for _, id := range leaves(text, 0, nil) {
		for i := range w.values {
			if w.compared += len(w.values[i].letters); w.compared > maxCompared {
				return false, errTooMuch
			}
			if bytes.Contains(w.values[i].letters, id) {
				return true, nil
			}
		}
	}
	return false, nil
}

// has reports whether f has a word.
func (f *folded) has(word []byte) bool {
	for i := range f.words {
		if bytes.Equal(f.word(i), word) {
			return true
		}
	}
	return false
}

// shortest is the number of letters and digits from which on an identifier is one.
const shortest = 8

// identifiers yields the words and compounds of a text that look like identifiers, which f is the fold of.
func identifiers(f *folded, text string, yield func([]byte)) {
	numeral := func(id []byte) {
		if len(id) >= shortest && bytes.ContainsAny(id, "0123456789") {
			yield(id)
		}
	}
	for i := range f.words {
		numeral(f.word(i))
	}
	for _, c := range f.compounds {
		numeral(f.letters[c.from:c.to])
	}
	f.numbers(func(i, j int) { numeral(f.letters[f.words[i]:f.end(j-1)]) })
	if !strings.Contains(text, "@") {
		return
	}
	var address folded
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`<>()[]{}"',;:|`, r) }) {
		if !strings.Contains(part, "@") {
			continue
		}
		if address.fold(strings.TrimRight(part, ".!?")); len(address.letters) >= shortest {
			yield(address.letters)
		}
	}
}

// leaves appends the letters and digits of a text that is one identifier, or of those in the JSON that it is, some levels deep.
func leaves(text string, level int, to [][]byte) [][]byte {
	if parsed := gjson.Parse(text); level < 8 && (parsed.IsObject() || parsed.IsArray()) && gjson.Valid(text) {
		parsed.ForEach(func(_, v gjson.Result) bool {
			to = leaves(v.String(), level+1, to)
			return true
		})
		return to
	}
	if !strings.ContainsAny(text, "0123456789@") {
		return to
	}
	var f folded
	if f.fold(text); utf8.RuneCount(f.letters) >= shortest {
		to = append(to, f.letters)
	}
	return to
}
