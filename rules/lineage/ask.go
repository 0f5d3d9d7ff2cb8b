package lineage

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Action is what a tool does, as far as it is said.
type Action struct {
	Server, Name string
	About        string   // the description of the tool
	Effects      []string // that the policy names
}

// Answer is whether something is asked for, and why.
type Answer struct {
	Yes  bool
	Why  string
	From []Source // whose texts say so, of results and turns
}

// Words returns the words of a tool's name in lower case and in their bare forms: "GmailSendEmails" is gmail, send, email.
func Words(name string) []string {
	var out []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, stem(strings.ToLower(string(word))))
			word = word[:0]
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]) && unicode.IsUpper(runes[i-1])):
			flush()
		}
		word = append(word, r)
	}
	flush()
	return out
}

// Reads reports whether the name of a tool says that it does nothing but read: it has a verb of reading before any verb of
// acting. It is what the server says of itself.
func Reads(name string) bool {
	for _, w := range Words(name) {
		if reading[w] {
			return true
		}
		if actions[w] != nil {
			return false
		}
	}
	return false
}

// wanted is a word for what a tool does, with the words that ask for it.
type wanted struct {
	word  string
	verb  bool
	words []string
}

// wants takes what a tool does apart: the words of its name, but for those of the name of its server, and where the name has
// no verb, the first verb of its description or what its effects are.
func (a *Action) wants() (out []wanted) {
	own := map[string]bool{}
	for _, w := range Words(a.Server) {
		own[w] = true
	}
	first, acts := true, false
	for _, w := range Words(a.Name) {
		switch {
		case own[w] && things[w] == nil && actions[w] == nil, little[w], reading[w], len(w) < 2:
			continue
		case actions[w] != nil && (first || things[w] == nil): // "order_item", but "change_order"
			out = append(out, wanted{word: w, verb: true, words: actions[w]})
			acts = true
		case things[w] != nil:
			out = append(out, wanted{word: w, words: things[w]})
		default:
			out = append(out, wanted{word: w, words: []string{w}})
		}
		first = false
	}
	if acts {
		return out
	}
	about, _, _ := strings.Cut(a.About, ".")
	for i, w := range Words(about[:min(len(about), maxAbout)]) {
		if actions[w] != nil && (i == 0 || !double(w)) {
			out = slices.DeleteFunc(out, func(x wanted) bool { return things[x.word] == nil }) // a name of its own
			return append(out, wanted{word: w, verb: true, words: actions[w]})
		}
	}
	for _, e := range a.Effects {
		if words := effects[e]; words != nil {
			out = append(out, wanted{word: e, verb: true, words: words})
		}
	}
	return out
}

// maxAbout is how much of a description is looked at.
const maxAbout = 200

// effects are the words that ask for what the effects of a tool are.
var effects = map[string][]string{
	"write":  strings.Fields("write create update change edit add save set put make move copy rename"),
	"delete": actions["delete"],
	"egress": strings.Fields("send share post publish upload forward email submit"),
	"money":  strings.Fields("pay transfer send refund buy purchase order withdraw deposit"),
	"exec":   actions["run"],
}

// Asked reports whether what the user said asks for what a tool does: it has a word for each kind of action, and one for a
// thing in the name of the tool, if there are any.
func (m *Memory) Asked(a Action) Answer {
	var found, missing []string
	about, thing := 0, false
	list := a.wants()
	for _, x := range list {
		if x.verb {
			if by, ok := m.does(User, x.words); ok {
				found = append(found, by)
			} else {
				missing = append(missing, x.word)
			}
			continue
		}
		about++
		if by, ok := m.any(User, x.words); ok {
			thing = true
			found = append(found, by)
		}
	}
	switch {
	case len(missing) > 0:
		return Answer{Why: "the user said nothing like " + strings.Join(missing, ", ")}
	case about > 0 && !thing:
		return Answer{Why: "the user said no word for what " + a.Name + " is about"}
	case len(list) == 0:
		return Answer{Why: "nothing says what " + a.Name + " does"}
	}
	return Answer{Yes: true, Why: "the user said " + strings.Join(found, ", ")}
}

// The bits of what a passage has of an action: a verb for it, the whole name of the tool, or one of the things in the name.
const (
	verbBit = uint16(1) << iota
	nameBit
	thingBit // of the first thing; the others follow, and those for which there is no bit share the last one
)

const lastThing = 13

// Urged reports whether a passage that talks to the assistant, or asks for something, asks for what a tool does: in one
// sentence or two it has a word for its action and one for a thing in the name of the tool, or that name itself.
func (m *Memory) Urged(a Action) Answer {
	var f folded
	f.fold(a.Name)
	bits := map[uint32]uint16{hash(f.letters): nameBit}
	list := a.wants()
	if i := slices.IndexFunc(list, func(x wanted) bool { return x.verb }); i >= 0 && i < len(list)-1 {
		list = list[i:] // what is before the verb says whose tool it is: "git_add_key"
	}
	var want, things uint16
	for i, x := range list {
		bit := verbBit
		if !x.verb {
			bit = thingBit << min(i, lastThing)
			things |= bit
		}
		want |= bit
		for _, w := range x.words {
			for _, form := range forms(w) {
				if x.verb {
					bits[hash(doing, []byte(form))] |= bit
				} else {
					bits[hash([]byte(form))] |= bit
				}
			}
		}
	}
	var some [64]uint64 // whether there can be bits: most words have none
	for h := range bits {
		some[h>>6&63] |= 1 << (h & 63)
	}
	for _, p := range m.spoken {
		got := uint16(0)
		for _, h := range p.words {
			if some[h>>6&63]>>(h&63)&1 != 0 {
				got |= bits[h]
			}
		}
		if want == 0 || got&nameBit != 0 || got&want == want || got&verbBit == want&verbBit && got&things != 0 {
			return m.urgedBy(a, p.source)
		}
	}
	if m.crowded {
		return Answer{Yes: true, Why: "there was more that talks to the assistant than is remembered"}
	}
	return Answer{Why: "nothing that was read asks for it"}
}

func (m *Memory) urgedBy(a Action, source int) Answer {
	s := m.sources[source]
	from := s.Server + "/" + s.Tool
	if s.Server == "" {
		from = "a turn of the " + s.Tool
	}
	return Answer{Yes: true, Why: fmt.Sprintf("a passage of %s #%d asks for what %s does", from, s.Seq, a.Name), From: []Source{s}}
}

// any returns the first of words that texts of a class have, in one of its forms.
func (m *Memory) any(class Class, words []string) (string, bool) {
	for _, w := range words {
		for _, form := range forms(w) {
			if m.Has(class, form) {
				return form, true
			}
		}
	}
	return "", false
}

// does is any for words of acting; "tell me" is no request to tell somebody else.
func (m *Memory) does(class Class, words []string) (string, bool) {
	for _, w := range words {
		if w == "tell" && m.Has(class, "tellme") || w == "give" && m.Has(class, "giveme") {
			continue
		}
		for _, form := range forms(w) {
			if c, _ := m.table.find(hash(doing, []byte(form))); c&class != 0 {
				return form, true
			}
		}
	}
	return "", false
}
