package lineage

import (
	"slices"
	"strings"
	"unicode"
)

// handsOver are words with which a user leaves it to somebody else what is to be done.
var handsOver = func() map[uint32]bool {
	out := map[uint32]bool{}
	for w := range strings.FieldsSeq("request requests requested needs wants task todo issue issues instructions steps actions specified described fulfill fulfil achieve") {
		out[hash([]byte(w))] = true
	}
	return out
}()

// delegated reports whether a request in a text is one that the user has left to whom it comes from: the user's words hand
// something over, and the record in which the request stands has a name that the user named. Whoever can write that name
// into a record can use that; what talks to the assistant is never delegated.
func (m *Memory) delegated(p *passage) bool {
	return m.hands && len(m.names) > 0 && slices.ContainsFunc(p.record, func(w uint32) bool { return m.names[w] })
}

// heed notes the names in what the user says, and whether something is handed over.
func (m *Memory) heed(f *form) {
	if m.names == nil && len(f.names) > 0 {
		m.names = map[uint32]bool{}
	}
	for _, name := range f.names {
		m.names[name] = true
	}
	m.hands = m.hands || f.hands
}

// names returns the words of a text that can name somebody.
func names(text string) (out []uint32) {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		low := strings.ToLower(w)
		if first := []rune(w)[0]; len(w) > 2 && unicode.IsUpper(first) && !opening[low] && !reading[low] && actions[low] == nil && !little[low] && !common100[low] {
			out = append(out, hash([]byte(low)))
		}
	}
	for word := range strings.FieldsSeq(text) {
		if name, _, ok := strings.Cut(word, "@"); ok { // of an address
			for _, w := range plainWords(name) {
				if len(w) > 2 {
					out = append(out, hash([]byte(w)))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// common100 are words with which sentences begin that name nobody.
var common100 = set("it is are was were if when what where which who why how there this that these those my your his her their our we they he she but " +
	"because since after before while some any all each every one two not no yes ok thanks thank have has had did does do in on at for from with about")

// record returns the part of a text that belongs to one thing with a span: an item of a list, or what stands in braces.
func record(text string, s Span) (from, to int) {
	const far = 2000
	from, to = max(0, s.From-far), min(len(text), s.To+far)
	for _, mark := range []string{"\n- ", "}, {", "},{", "\n\n\n\n", "\n---"} {
		if i := strings.LastIndex(text[from:s.From], mark); i >= 0 {
			from += i + 1
		}
		if i := strings.Index(text[s.To:to], mark); i >= 0 {
			to = s.To + i
		}
	}
	return from, to
}
