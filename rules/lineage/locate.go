package lineage

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"
)

// MaxLocated is how long a text can be in which a value is located.
const MaxLocated = 256 << 10

// Locate returns where a value stands in a text as Memory finds it: bytes from to to, whatever its case, spaces and
// punctuation are there. Of a longer value it is the longest word, number or address that stands there. It is not ok if
// nothing does: the text can have the value in another form.
func Locate(text, value string) (from, to int, ok bool) {
	if len(text) > MaxLocated || len(value) > MaxValue {
		return 0, 0, false
	}
	var in, of folded
	in.places = make([]int32, 0, len(text)/5)
	in.fold(text)
	forms, _ := Decoded(value)
	for _, form := range forms {
		of.fold(form)
		if len(of.letters) < 2 {
			continue
		}
		if from, to, ok = in.locate(text, of.letters); ok {
			return from, to, true
		}
		var pieces []span
		for i := range of.words {
			pieces = append(pieces, span{of.words[i], of.end(i)})
		}
		pieces = append(pieces, of.compounds...)
		slices.SortStableFunc(pieces, func(a, b span) int { return int((b.to - b.from) - (a.to - a.from)) })
		for _, p := range pieces[:min(len(pieces), maxPieces)] {
			if p.to-p.from < 5 {
				break
			}
			if from, to, ok = in.locate(text, of.letters[p.from:p.to]); ok {
				return from, to, true
			}
		}
	}
	return 0, 0, false
}

// maxPieces is how many parts of a value are looked for.
const maxPieces = 16

// locate returns where letters stand in the text that f is of, from the beginning of a word to the end of one.
func (f *folded) locate(text string, letters []byte) (from, to int, ok bool) {
	for at, tried := 0, 0; tried < 64; tried++ {
		i := bytes.Index(f.letters[at:], letters)
		if i < 0 {
			return 0, 0, false
		}
		i += at
		at = i + 1
		end := i + len(letters)
		first, starts := slices.BinarySearch(f.words, int32(i)) //nolint:gosec // see fold
		next, ends := slices.BinarySearch(f.words, int32(end))  //nolint:gosec // see fold
		if !starts || !ends && end != len(f.letters) {
			continue
		}
		from, to = int(f.places[first]), len(text)
		if next < len(f.words) {
			to = int(f.places[next])
		}
		for to > from { // what stands between the words
			r, n := utf8.DecodeLastRuneInString(text[from:to])
			if unicode.IsLetter(r) || unicode.IsDigit(r) || n == 0 {
				break
			}
			to -= n
		}
		return from, to, to > from
	}
	return 0, 0, false
}
