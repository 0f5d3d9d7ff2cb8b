package lineage

import (
	"slices"
	"strings"
)

// Text is a text that was read: what it takes to find a value in it again, and what in it stands out. Reading takes time in
// proportion to the length and depends on nothing but the text, so that it can be done by whoever brings the text. A Text does
// not change and can be shared.
type Text struct {
	size  int  // bytes of it
	said  bool // as the words of the user or of the configuration
	all   bool // there was not much more to decode than there is text
	forms []form
}

// form is a text, or what can be decoded from it.
type form struct {
	keys     []uint32  // hashes of what is in it, each once
	spelled  *spelling // of what was said
	mentions []uint32  // of what was said: what each sentence is about
	names    []uint32  // words that can name somebody
	hands    bool      // it leaves to somebody else what is to be done
	passages []passage // of what was not said
}

// passage is a Span of a form.
type passage struct {
	Span
	keys      []uint32   // as those of a form
	sentences [][]uint32 // what each is about
	record    []uint32   // the words of the record in which it stands, if it asks for something
}

// maxRecords bounds what is read of records in one text, in bytes. A request beyond it is left to nobody.
const maxRecords = 256 << 10

// Read reads a text of a class, and what can be decoded from it. Of classes, it makes a difference whether the user or the
// configuration said it, or somebody else: the parts that talk to the assistant are looked for there alone.
func Read(text string, class Class) *Text {
	t := &Text{size: len(text), said: class&(User|System) != 0}
	var forms []string
	forms, t.all = Decoded(text)
	r := reader{records: maxRecords}
	room := 3*len(text) + 4096
	for _, s := range forms {
		if room -= len(s); room < 0 {
			t.all = false
			break
		}
		t.forms = append(t.forms, r.form(s, t.said))
	}
	return t
}

// Size returns how many bytes the text had.
func (t *Text) Size() int { return t.size }

// Said reports whether t was read as the words of the user or of the configuration.
func (t *Text) Said() bool { return t.said }

// Passages returns the parts of the text itself, not of what can be decoded from it, that stand out.
func (t *Text) Passages() (out []Span) {
	if len(t.forms) > 0 {
		for _, p := range t.forms[0].passages {
			out = append(out, p.Span)
		}
	}
	return out
}

// Within reports whether all that is in t, and not only in what can be decoded from it, is in o as well.
func (t *Text) Within(o *Text) bool {
	if len(t.forms) == 0 || o == nil || len(o.forms) == 0 {
		return false
	}
	all := make(map[uint32]bool, len(o.forms[0].keys))
	for _, k := range o.forms[0].keys {
		all[k] = true
	}
	return len(t.forms[0].keys) > 0 && !slices.ContainsFunc(t.forms[0].keys, func(k uint32) bool { return !all[k] })
}

// reader is scratch space.
type reader struct {
	fold    folded
	keys    []uint32
	seen    []uint32
	records int // bytes of records that may be read yet
	last    struct {
		from, to int
		words    []uint32
	}
}

func (r *reader) form(s string, said bool) form {
	r.fold.fold(s)
	f := form{keys: r.index()}
	if said {
		f.spelled = spell(&r.fold)
		r.keys = r.keys[:0]
		for from := 0; from < len(s); {
			to := sentence(s, from)
			r.keys = r.mentions(r.keys, s[from:to])
			from = to
		}
		f.mentions = r.distinct()
		f.names = names(s)
		f.hands = slices.ContainsFunc(f.keys, func(k uint32) bool { return handsOver[k] })
		return f
	}
	r.last.to = -1
	for _, part := range Spans(s) {
		text := s[part.From:part.To]
		r.fold.fold(text)
		p := passage{Span: part, keys: r.index(), sentences: r.sentences(text)}
		if part.Why == asks {
			p.record = r.record(s, part)
		}
		f.passages = append(f.passages, p)
	}
	return f
}

// index returns the hashes of what was folded last, each once: of words, pairs of neighbours, compounds, numbers in groups, dates and
// fingerprints.
func (r *reader) index() []uint32 {
	f := &r.fold
	r.keys = r.keys[:0]
	for i := range f.words {
		w := f.word(i)
		if len(w) > 1 {
			r.keys = append(r.keys, hash(w))
		}
		if i > 0 && len(w) <= common {
			if before := f.word(i - 1); len(before) <= common {
				r.keys = append(r.keys, hash(before, w))
			}
		}
	}
	for _, c := range f.compounds {
		if c.to-c.from <= longest {
			r.keys = append(r.keys, hash(f.letters[c.from:c.to]))
		}
	}
	f.numbers(func(i, j int) {
		if letters := f.letters[f.words[i]:f.end(j-1)]; len(letters) <= longest {
			r.keys = append(r.keys, hash(letters))
		}
	})
	for date := range strings.FieldsSeq(dates(f)) {
		r.keys = append(r.keys, hash([]byte(date)))
	}
	prints(f.letters, func(h uint32) { r.keys = append(r.keys, h) })
	return r.distinct()
}

// distinct returns a copy of keys with each of them once, but for such as crowd together.
func (r *reader) distinct() []uint32 {
	if len(r.keys) <= 32 {
		slices.Sort(r.keys)
		return slices.Clone(slices.Compact(r.keys))
	}
	size := 64
	for size < 2*len(r.keys) {
		size *= 2
	}
	if cap(r.seen) < size {
		r.seen = make([]uint32, size)
	}
	seen := r.seen[:size]
	clear(seen)
	n := 0
	for _, k := range r.keys {
		i, ok := place(seen, k)
		if ok && seen[i] == k {
			continue
		}
		if ok {
			seen[i] = k
		}
		r.keys[n] = k
		n++
	}
	return slices.Clone(r.keys[:n])
}

// sentences returns what each sentence of a text is about, up to the one with which they are more than a Memory remembers.
func (r *reader) sentences(text string) (out [][]uint32) {
	for from, room := 0, maxSpoken; from < len(text) && room >= 0; {
		to := sentence(text, from)
		if words := r.mentions(nil, text[from:to]); len(words) > 0 {
			out = append(out, words)
			room -= len(words)
		}
		from = to
	}
	return out
}

// mentions appends the hashes of the words of a sentence, and those of doing of the words that can be verbs where they stand.
func (r *reader) mentions(out []uint32, sentence string) []uint32 {
	f := &r.fold
	for rest := sentence; rest != ""; {
		var part string
		part, rest = clause(rest)
		f.fold(part)
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

// clause cuts a sentence in two behind a comma or a colon.
func clause(sentence string) (part, rest string) {
	for i := range len(sentence) {
		switch c := sentence[i]; {
		case c == ',':
			return sentence[:i], sentence[i+1:]
		case c == ':' && strings.HasPrefix(sentence[i+1:], " "):
			return sentence[:i], sentence[i+2:]
		}
	}
	return sentence, ""
}

// doing sets the hash of a verb apart from that of the noun of the same letters.
var doing = []byte("!")

// record returns the words of the record in which a part of s stands. Requests next to each other share one.
func (r *reader) record(s string, part Span) []uint32 {
	from, to := record(s, part)
	if r.last.to >= 0 && r.last.from == from && r.last.to == to {
		return r.last.words
	}
	if r.records -= to - from; r.records < 0 {
		return nil
	}
	var words []uint32
	for _, w := range plainWords(s[from:to]) {
		words = append(words, hash([]byte(w)))
	}
	slices.Sort(words)
	r.last.from, r.last.to, r.last.words = from, to, slices.Compact(words)
	return r.last.words
}

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

// longest is the length of a compound that is looked up as one.
const longest = 64
