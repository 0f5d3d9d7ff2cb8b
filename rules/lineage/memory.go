// Package lineage says where a value came from: from the user's words, from trusted configuration, from an earlier result,
// or from nowhere.
//
// A value is compared by its letters and digits, in lower case and after NFKC, so that white space, punctuation, case,
// invisible characters and lookalikes make no difference; and in every form that decoding gives (percent-encoding, entities,
// quoted-printable, base64, hex, some levels deep), on both sides. A word, a pair of neighbours and an address are found by
// their hash, a longer text by fingerprints: one that shares 16 letters in a row with a result is found, wherever they stand.
//
// What errs, errs towards "it came from outside". That the user said something is never taken from a hash.
package lineage

import (
	"bytes"
	"slices"
	"strings"
)

// Class says where a text came from. A value that stands in texts of several classes has the bits of all of them.
type Class uint8

// The classes.
const (
	User      Class = 1 << iota // the user said it
	System                      // trusted configuration
	Trusted                     // a result whose tool the policy trusts
	Named                       // a result that the user pointed at: an argument that led to it was the user's own
	Untrusted                   // any other result, and every text of which nothing better is known
	Spoken                      // a part of a result that talks to the assistant, or is hidden from people
)

// Outside are the classes of texts that somebody else can have written.
const Outside = Named | Untrusted | Spoken

// Source is where a text came from.
type Source struct {
	Seq    uint64 // of the call whose result it is, or of the turn
	Server string // of a result
	Tool   string
	Class  Class
}

// MaxSources is how many texts a Memory can hold.
const MaxSources = 1<<15 - 1

// Memory holds the texts of one conversation, as far as it takes to find a value again. Of results it holds fingerprints:
// that a value which is not there is taken to come from them has a chance of at most one in 4,000 for a word and a full
// Memory (n of 2³² hashes), and the product of such chances for a longer text. What the user or the configuration said is
// compared letter by letter.
type Memory struct {
	sources []Source
	table   table
	said    []saying
	full    bool
	spoken  []passage       // that talk to the assistant
	words   int             // in spoken
	crowded bool            // there were more
	names   map[string]bool // that the user has named
	hands   bool            // the user has left it to somebody else what is to be done
	fold    folded          // scratch
}

// passage is a sentence or two, as hashes of their words.
type passage struct {
	source int
	words  []uint32
}

// saying is a text that is compared letter by letter.
type saying struct {
	class  Class
	fold   folded
	source int
}

// Lose notes that something was said that is not in m: a value that is found nowhere may have come from it.
func (m *Memory) Lose() { m.full = true }

// Add adds a text and what can be decoded from it. The parts of a result that talk to the assistant are found here. It
// reports whether all of it was added: that of what can be decoded, there was not much more than there is text.
func (m *Memory) Add(s Source, text string) bool {
	if len(m.sources) >= MaxSources {
		m.full = true
		return false
	}
	m.sources = append(m.sources, s)
	source := len(m.sources) - 1
	forms, all := Decoded(text)
	room := 3*len(text) + 4096
	for _, t := range forms {
		if room -= len(t); room < 0 {
			all = false
			break
		}
		m.fold.fold(t)
		m.index(&m.fold, s.Class, source)
		m.date(s.Class, source)
		switch {
		case s.Class&(User|System) != 0:
			m.said = append(m.said, saying{class: s.Class, fold: m.fold, source: source})
			m.fold = folded{}
			if s.Class == User {
				for from := 0; from < len(t); {
					to := sentence(t, from)
					for _, h := range m.mentions(t[from:to]) {
						m.table.add(h, User, source)
					}
					from = to
				}
				m.heed(t)
			}
		case s.Class&Outside != 0:
			for _, part := range Spans(t) {
				if part.Why == asks && m.delegated(t, part) {
					continue
				}
				m.fold.fold(t[part.From:part.To])
				m.index(&m.fold, s.Class|Spoken, source)
				m.date(s.Class|Spoken, source)
				m.hear(source, t[part.From:part.To])
			}
		}
	}
	m.full = m.full || !all
	return all
}

// maxSpoken bounds the words that are remembered of passages that talk to the assistant. Beyond, they urge to everything.
const maxSpoken = 16 << 10

// hear remembers the words of a passage, two sentences at a time: what is to be done, and with what.
func (m *Memory) hear(source int, text string) {
	var before []uint32
	for from := 0; from < len(text); {
		to := sentence(text, from)
		words := m.mentions(text[from:to])
		if m.words += len(words); m.words > maxSpoken {
			m.crowded = true
			return
		}
		m.spoken = append(m.spoken, passage{source, slices.Concat(before, words)})
		before, from = words, to
	}
}

// mentions returns the hashes of the words of a sentence, and those of doing of the words that can be verbs where they stand.
func (m *Memory) mentions(sentence string) (out []uint32) {
	f := &m.fold
	for clause := range strings.SplitSeq(sentence, ",") {
		f.fold(clause)
		for i := range f.words {
			w := f.word(i)
			out = append(out, hash(w))
			if i == 0 || !double(string(w)) || verbal[string(f.word(i-1))] || light[string(f.word(i-1))] || i > 1 && light[string(f.word(i-2))] {
				out = append(out, hash(doing, w))
			}
		}
		for _, c := range f.compounds {
			out = append(out, hash(f.letters[c.from:c.to]))
		}
	}
	for _, word := range meant(sentence) {
		out = append(out, hash([]byte(word)))
	}
	return out
}

// doing sets the hash of a verb apart from that of the noun of the same letters.
var doing = []byte("!")

// meant are the words for what a text shows by a sign: an address, a sum of money, a link.
func meant(text string) (words []string) {
	if strings.Contains(text, "@") {
		words = append(words, "email")
	}
	if strings.ContainsAny(text, "$€£¥") {
		words = append(words, "money")
	}
	if strings.Contains(text, "://") || strings.Contains(text, "www.") {
		words = append(words, "link")
	}
	return words
}

// date enters the dates of the text that was folded last.
func (m *Memory) date(class Class, source int) {
	for date := range strings.FieldsSeq(dates(&m.fold)) {
		m.table.add(hash([]byte(date)), class, source)
	}
}

// index enters words, pairs of neighbours, compounds and fingerprints.
func (m *Memory) index(f *folded, class Class, source int) {
	for i := range f.words {
		w := f.word(i)
		if len(w) > 1 {
			m.table.add(hash(w), class, source)
		}
		if i > 0 && len(w) <= common {
			if before := f.word(i - 1); len(before) <= common {
				m.table.add(hash(before, w), class, source)
			}
		}
	}
	for _, c := range f.compounds {
		if c.to-c.from <= longest {
			m.table.add(hash(f.letters[c.from:c.to]), class, source)
		}
	}
	prints(f.letters, func(h uint32) { m.table.add(h, class, source) })
}

// longest is the length of a compound that is looked up as one.
const longest = 64

// spoke reports whether texts of a class have the letters, from the beginning of one word to the end of another. After so
// many places that do not fit it says no.
func (m *Memory) spoke(class Class, letters []byte) bool {
	const places = 64
	tried := 0
	for i := range m.said {
		s := &m.said[i]
		if s.class&class == 0 {
			continue
		}
		for from := 0; tried < places; tried++ {
			at := bytes.Index(s.fold.letters[from:], letters)
			if at < 0 {
				break
			}
			at += from
			if s.fold.bounds(at) && s.fold.bounds(at+len(letters)) {
				return true
			}
			from = at + 1
		}
	}
	return false
}

// bounds reports whether a word begins or the text ends at a place.
func (f *folded) bounds(at int) bool {
	if at == len(f.letters) {
		return true
	}
	_, found := slices.BinarySearch(f.words, int32(at)) //nolint:gosec // texts are much shorter
	return found
}

// table is a set of hashes with the classes of the texts in which they occur, and one of these texts: of the worst class,
// the first.
type table struct {
	keys    []uint32 // 0 for an empty place
	classes []Class
	sources []int16
	used    int
}

func (t *table) add(key uint32, class Class, source int) {
	if 4*t.used >= 3*len(t.keys) {
		t.grow()
	}
	i := t.place(key)
	if t.keys[i] == 0 {
		t.keys[i] = key
		t.used++
	}
	if class > t.classes[i] {
		t.sources[i] = int16(source) //nolint:gosec // at most maxSources
	}
	t.classes[i] |= class
}

// find returns the classes of a hash and the number of a text in which it occurs.
func (t *table) find(key uint32) (Class, int) {
	if len(t.keys) == 0 {
		return 0, 0
	}
	i := t.place(key)
	return t.classes[i], int(t.sources[i])
}

func (t *table) place(key uint32) int {
	mask := len(t.keys) - 1
	i := int(key*0x9E3779B1>>7) & mask
	for t.keys[i] != 0 && t.keys[i] != key {
		i = (i + 1) & mask
	}
	return i
}

func (t *table) grow() {
	old := *t
	n := max(256, 2*len(old.keys))
	*t = table{keys: make([]uint32, n), classes: make([]Class, n), sources: make([]int16, n), used: old.used}
	for i, key := range old.keys {
		if key != 0 {
			at := t.place(key)
			t.keys[at], t.classes[at], t.sources[at] = key, old.classes[i], old.sources[i]
		}
	}
}
