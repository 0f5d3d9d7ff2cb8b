package lineage

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/umpire-dev/umpire/rules/lookalike"
)

// folded is a text as it is compared: its letters and digits alone, in lower case, after NFKC, with characters that look
// like ASCII taken for it and marks and invisible characters left out.
type folded struct {
	letters   []byte
	words     []int32 // where each begins: what was between two of them is anything but a letter or digit
	places    []int32 // where each begins in the text; nil if nobody asks
	compounds []span  // of several words with no space in between: addresses, paths, dates, names_with_underscores
}

// span is a part of folded letters.
type span struct{ from, to int32 }

// fold folds text in the place of what f held.
func (f *folded) fold(text string) {
	f.letters, f.words, f.places, f.compounds = f.letters[:0], f.words[:0], f.places[:0], f.compounds[:0]
	i := 0                                     // where it is in the text
	inWord, tight, many := false, false, false // tight: nothing but joints since the word before; many: a second word of a compound
	first := int32(0)                          // of the compound
	add := func() {
		if !inWord {
			at := int32(len(f.letters)) //nolint:gosec // texts are much shorter
			if many = many || tight; !tight {
				first = at
			}
			f.words = append(f.words, at)
			if f.places != nil {
				f.places = append(f.places, int32(i)) //nolint:gosec // see above
			}
			inWord, tight = true, true
		}
	}
	loosen := func() {
		if many {
			f.compounds = append(f.compounds, span{first, int32(len(f.letters))}) //nolint:gosec // see above
		}
		inWord, tight, many = false, false, false
	}
	for i < len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			add()
			f.letters = append(f.letters, c)
			i++
		case 'A' <= c && c <= 'Z':
			add()
			f.letters = append(f.letters, c|0x20)
			i++
		case c == '\\' && i+1 < len(text) && (text[i+1] == 'n' || text[i+1] == 'r' || text[i+1] == 't'):
			loosen() // an escape within an escape: servers print structures as text
			i += 2
		case c == ',' && inWord && thousands(text[i+1:]):
			i++
		case c < utf8.RuneSelf:
			if inWord = false; !joint(c) {
				loosen()
			}
			i++
		default:
			j := i
			for j < len(text) && text[j] >= utf8.RuneSelf {
				j++
			}
			for _, r := range norm.NFKC.String(strings.ReplaceAll(text[i:j], blessing, " ")) {
				if ascii, ok := lookalike.Of(r); ok && r >= utf8.RuneSelf {
					r = ascii
				}
				switch {
				case unicode.IsLetter(r) || unicode.IsDigit(r):
					add()
					f.letters = utf8.AppendRune(f.letters, unicode.ToLower(r))
				case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Variation_Selector):
				default:
					loosen()
				}
			}
			i = j
		}
	}
	loosen()
}

// blessing is one character that NFKC spells out in eighteen. It is left out.
const blessing = "\ufdfa"

// joint reports whether c holds the words of an address, a path, a date or an identifier together.
func joint(c byte) bool {
	switch c {
	case '_', '-', '.', '@', '/', ':', '+', '#', '%', '~', '=', '&', '?':
		return true
	}
	return false
}

// thousands reports whether rest goes on as a number whose thousands are set off: three digits and no fourth.
func thousands(rest string) bool {
	if len(rest) < 3 {
		return false
	}
	for _, c := range []byte(rest[:3]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(rest) == 3 || rest[3] < '0' || rest[3] > '9'
}

// word returns the ith word.
func (f *folded) word(i int) []byte { return f.letters[f.words[i]:f.end(i)] }

// end returns where the ith word ends.
func (f *folded) end(i int) int32 {
	if i+1 < len(f.words) {
		return f.words[i+1]
	}
	return int32(len(f.letters)) //nolint:gosec // see fold
}

// numeral reports whether the ith word has a digit.
func (f *folded) numeral(i int) bool { return bytes.ContainsAny(f.word(i), "0123456789") }

// numbers yields the words from i to j where several in a row have digits: a number that is written in groups.
func (f *folded) numbers(yield func(i, j int)) {
	from := 0
	for i := range f.words {
		if f.numeral(i) {
			continue
		}
		if i-from > 1 {
			yield(from, i)
		}
		from = i + 1
	}
	if n := len(f.words); n-from > 1 {
		yield(from, n)
	}
}

// The size of fingerprints. Two texts that share gram+window-1 letters share a fingerprint, whatever stands around them;
// about two of window+1 positions have one.
const (
	gram   = 10
	window = 7
	common = gram + window - 1
)

// prints calls yield with the fingerprints of letters, by winnowing: of every window of so many grams the one with the
// smallest hash, the last of several. It takes time in proportion to the length, whatever the text.
func prints(letters []byte, yield func(uint32)) {
	if len(letters) < common {
		return
	}
	const base = 0x9E3779B97F4A7C15
	power := uint64(1)
	for range gram - 1 {
		power *= base
	}
	var rolling uint64
	var ring [window]uint32
	best, bestAt, last := uint32(0), -1, -1
	for i, c := range letters {
		if i >= gram {
			rolling -= uint64(letters[i-gram]) * power
		}
		rolling = rolling*base + uint64(c)
		n := i - gram + 1 // number of this gram
		if n < 0 {
			continue
		}
		h := mix(rolling ^ base)
		ring[n%window] = h
		switch {
		case bestAt >= 0 && bestAt > n-window:
			if h <= best {
				best, bestAt = h, n
			}
		default: // the smallest has left the window
			bestAt = -1
			for k := max(0, n-window+1); k <= n; k++ {
				if bestAt < 0 || ring[k%window] <= best {
					best, bestAt = ring[k%window], k
				}
			}
		}
		if n >= window-1 && bestAt != last {
			last = bestAt
			yield(best)
		}
	}
}

// hash returns the hash of a word, or of some that are written as one.
func hash(letters ...[]byte) uint32 {
	h := uint64(14695981039346656037)
	for _, part := range letters {
		for _, c := range part {
			h = (h ^ uint64(c)) * 1099511628211
		}
	}
	return mix(h)
}

func mix(h uint64) uint32 {
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	h ^= h >> 29
	return max(uint32(h>>16), 1) //nolint:gosec // a part of it; 0 is an empty place in a table
}
