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

import "slices"

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
	Private                     // beside these: a result of a tool that gives what is private
)

// Outside are the classes of texts that somebody else can have written.
const Outside = Named | Untrusted | Spoken

// Source is where a text came from.
type Source struct {
	Seq       uint64 // of the call whose result it is, of the turn, or of the list of tools
	Server    string // of a result
	Tool      string
	Class     Class
	Described bool // it is the description of the tool
}

// MaxSources is how many texts a Memory can hold.
const MaxSources = 1<<15 - 1

// Memory holds the texts of one conversation, as far as it takes to find a value again. Of results it holds fingerprints:
// that a word which is not there is taken to come from them has a chance of n in 2³² with n hashes, one in 5,000 for 2 MiB
// of prose and at most one in 2,000 for what else fits into a session, and a longer text has the product of such chances. What the user or the configuration said is
// compared letter by letter, or where no text is kept, by sums (see Text.Digest).
type Memory struct {
	sources []Source
	table   table
	said    []saying
	begin   map[uint32][]int32 // hash of a word -> of said, those that have it
	full    bool
	spoken  []heard         // of passages that talk to the assistant
	words   int             // in spoken
	crowded bool            // there were more
	names   map[uint32]bool // words that can name somebody, of the user
	hands   bool            // the user has left it to somebody else what is to be done
}

// heard is a sentence or two of a passage, as hashes of their words.
type heard struct {
	source int
	words  []uint32
}

// saying is a text that is compared letter by letter.
type saying struct {
	class Class
	*spelling
}

// Lose notes that something was said that is not in m: a value that is found nowhere may have come from it.
func (m *Memory) Lose() { m.full = true }

// Add adds a text that was read as one of the class of its source. It reports whether all of it was added: that of what can
// be decoded, there was not much more than there is text.
func (m *Memory) Add(s Source, t *Text) bool {
	if len(m.sources) >= MaxSources {
		m.full = true
		return false
	}
	m.sources = append(m.sources, s)
	source := len(m.sources) - 1
	for i := range t.forms {
		f := &t.forms[i]
		m.table.addAll(f.keys, s.Class, source)
		if f.spelled != nil {
			m.say(saying{s.Class, f.spelled})
		}
		if s.Class == User {
			m.table.addAll(f.mentions, User, source)
			m.heed(f)
		}
		if s.Class&Outside == 0 {
			continue
		}
		for k := range f.passages {
			if p := &f.passages[k]; p.Why != asks || !m.delegated(p) {
				m.table.addAll(p.keys, s.Class|Spoken, source)
				m.hear(source, p.sentences)
			}
		}
	}
	m.full = m.full || !t.all
	return t.all
}

// Overhear adds a text of which every part counts as one that talks to the assistant.
func (m *Memory) Overhear(s Source, text string) {
	s.Class |= Spoken
	m.Add(s, Read(text, s.Class))
	var r reader
	forms, _ := Decoded(text)
	for _, form := range forms {
		m.hear(len(m.sources)-1, r.sentences(form))
	}
}

// Crowd notes that more talks to the assistant than is in m: it may urge to anything.
func (m *Memory) Crowd() { m.crowded = true }

// maxSpoken bounds the words that are remembered of passages that talk to the assistant. Beyond, they urge to everything.
const maxSpoken = 16 << 10

// hear remembers the words of a passage, two sentences at a time: what is to be done, and with what.
func (m *Memory) hear(source int, sentences [][]uint32) {
	var before []uint32
	for _, words := range sentences {
		if len(words) == 0 { // digests of before have such
			continue
		}
		if m.words += len(words); m.words > maxSpoken {
			m.crowded = true
			return
		}
		m.spoken = append(m.spoken, heard{source, slices.Concat(before, words)})
		before = words
	}
}

// spoke reports whether texts of a class have the letters, from the beginning of one word to the end of another.
// First is the hash of the first word of them.
func (m *Memory) spoke(class Class, letters []byte, first uint32, steps *int) bool {
	q := asked{letters: letters, first: first, steps: *steps}
	defer func() { *steps = q.steps }()
	return slices.ContainsFunc(m.begin[first], func(i int32) bool { return m.said[i].class&class != 0 && m.said[i].begins(&q) }) ||
		slices.ContainsFunc(m.said, func(s saying) bool { return s.class&class != 0 && s.has(&q) }) // it is written apart there
}

// say adds what was said.
func (m *Memory) say(s saying) {
	if m.begin == nil {
		m.begin = map[uint32][]int32{}
	}
	n := int32(len(m.said)) //nolint:gosec // some for each of maxSources
	for k, i := range s.order {
		if w := s.words[i]; k == 0 || w != s.words[s.order[k-1]] {
			m.begin[w] = append(m.begin[w], n)
		}
	}
	m.said = append(m.said, s)
}

// table is a set of hashes with the classes of the texts in which they occur, and one of these texts: of the worst class,
// the first.
type table struct {
	keys    []uint32 // 0 for an empty place
	classes []Class
	sources []int16
	used    int
	far     map[uint32]entry // those for which there is no room where they are looked for
}

// entry is a hash of a table that stands beside it.
type entry struct {
	class  Class
	source int16
}

func (t *table) addAll(keys []uint32, class Class, source int) {
	for _, key := range keys {
		t.add(key, class, source)
	}
}

func (t *table) add(key uint32, class Class, source int) {
	if 4*t.used >= 3*len(t.keys) {
		t.grow()
	}
	i, ok := place(t.keys, key)
	if !ok {
		e := t.far[key]
		if class&^Private > e.class&^Private {
			e.source = int16(source) //nolint:gosec // at most maxSources
		}
		e.class |= class
		t.setFar(key, e)
		return
	}
	if t.keys[i] == 0 {
		t.keys[i] = key
		t.used++
	}
	if class&^Private > t.classes[i]&^Private {
		t.sources[i] = int16(source) //nolint:gosec // at most maxSources
	}
	t.classes[i] |= class
}

// find returns the classes of a hash and the number of a text in which it occurs.
func (t *table) find(key uint32) (Class, int) {
	if len(t.keys) == 0 {
		return 0, 0
	}
	if i, ok := place(t.keys, key); ok {
		return t.classes[i], int(t.sources[i])
	}
	e := t.far[key]
	return e.class, int(e.source)
}

// reach is how many places of a table a hash is looked for in. Hashes are no secret: whoever chooses words whose hashes crowd
// together gains nothing by it.
const reach = 64

// place returns where a hash is in a table, or where there is room for it; not ok if there is none within reach.
func place(keys []uint32, key uint32) (at int, ok bool) {
	mask := len(keys) - 1
	at = int(key*0x9E3779B1>>7) & mask
	for range min(reach, len(keys)) {
		if keys[at] == 0 || keys[at] == key {
			return at, true
		}
		at = (at + 1) & mask
	}
	return 0, false
}

func (t *table) setFar(key uint32, e entry) {
	if t.far == nil {
		t.far = map[uint32]entry{}
	}
	t.far[key] = e
}

func (t *table) grow() {
	old := *t
	n := max(256, 2*len(old.keys))
	*t = table{keys: make([]uint32, n), classes: make([]Class, n), sources: make([]int16, n)}
	put := func(key uint32, e entry) {
		at, ok := place(t.keys, key)
		if !ok {
			t.setFar(key, e)
			return
		}
		t.keys[at], t.classes[at], t.sources[at] = key, e.class, e.source
		t.used++
	}
	for i, key := range old.keys {
		if key != 0 {
			put(key, entry{old.classes[i], old.sources[i]})
		}
	}
	for key, e := range old.far { // where each of them comes to stand makes no difference
		put(key, e)
	}
}
