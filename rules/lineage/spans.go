package lineage

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/umpire-dev/umpire/rules/event"
)

// Span is a part of a text: bytes From to To.
type Span struct {
	From, To int
	Why      string // event.Asks, event.Talks or event.Unseen
}

// Strong reports whether a part does more than to ask for something, as one person asks another.
func (s *Span) Strong() bool { return s.Why != asks }

// The kinds of spans.
const (
	asks   = event.Asks
	talks  = event.Talks
	hidden = event.Unseen
)

// maxSpans bounds what is looked for in one text. Behind it, everything counts as one span.
const maxSpans = 2000

// Spans returns the sentences of a text that ask for an action, that talk to the assistant or to its role, together with
// those that follow them in the same passage, and those that hide characters. It is a matter of words and takes time in
// proportion to the length; a text that asks politely in a way that is not foreseen is not found, and the sentence of one
// person to another who asks for something is.
func Spans(text string) []Span {
	var out []Span
	add := func(from, to int, why string) {
		if n := len(out); n > 0 && out[n-1].To == from && out[n-1].Why == why {
			out[n-1].To = to
			return
		}
		out = append(out, Span{From: from, To: to, Why: why})
	}
	after := 0              // so many sentences more belong to what talks to the assistant
	before, unseen := 0, "" // where the sentence before begins; what ends the part that is not shown
	for from := 0; from < len(text); {
		to := sentence(text, from)
		part := text[from:to]
		if len(out) >= maxSpans {
			add(from, len(text), talks)
			break
		}
		words := plainWords(part)
		if len(words) > 0 && from > 0 && text[from-1] == '<' {
			words = words[1:] // the name of a tag
		}
		why := judge(part, words)
		for clauses := 0; why == "" && clauses < maxClauses; clauses++ { // "…, as follows: send …"
			i := strings.Index(part, ": ")
			if i < 0 {
				break
			}
			part = part[i+2:]
			why = judge(part, plainWords(part))
		}
		concealed := unseen != ""
		if unseen = conceals(text, from, to, unseen); (concealed || unseen == "-->" || isComment(text, from)) && hasLetter(text[from:to]) {
			why = cmp.Or(why, hidden)
		}
		switch {
		case changesRole(text, from, words), why == talks:
			why, after = talks, following
		case after > 0 && hasLetter(part):
			why = talks
			if after--; len(words) > 2 {
				after--
			}
		case why == asks && from > before && (len(out) == 0 || out[len(out)-1].To <= before) && slices.ContainsFunc(words, func(w string) bool { return backward[w] }):
			add(before, from, asks)
		}
		if why != "" {
			add(from, to, why)
		}
		before, from = from, to
	}
	return out
}

// backward are words for what the sentence before is about.
var backward = set("it them this that these those there")

// conceals returns what ends the part of a page that people are not shown, if text[from:to] is in one or begins one.
func conceals(text string, from, to int, end string) string {
	const longestTag = 300
	switch {
	case end != "" && !strings.Contains(text[from:to], end):
		return end
	case isComment(text, from):
		if !strings.Contains(text[from:to], "-->") {
			return "-->"
		}
	case from > 0 && text[from-1] == '<' && text[from] != '/':
		tag := text[from:min(len(text), from+longestTag)]
		if i := strings.IndexAny(tag, "<>"); i >= 0 {
			tag = tag[:i]
		}
		flat := strings.ToLower(strings.ReplaceAll(tag, " ", ""))
		for _, style := range [...]string{"display:none", "visibility:hidden", "font-size:0", "opacity:0"} {
			if strings.Contains(flat, style) {
				return "</"
			}
		}
	}
	return ""
}

func isComment(text string, from int) bool {
	return from > 0 && text[from-1] == '<' && strings.HasPrefix(text[from:], "!--")
}

// maxClauses is how many parts of a sentence are looked at that stand behind a colon.
const maxClauses = 4

// following is how many sentences behind one that talks to the assistant belong to it; those of a word or two count half.
const following = 12

// sentence returns where the sentence ends that begins at from.
func sentence(text string, from int) int {
	const longestSentence = 1000
	for i := from; i < len(text); i++ {
		switch c := text[i]; c {
		case '\n':
			if !wrapped(text[i+1:]) {
				return i + 1
			}
		case '\r', '<', '>', '{', '}', '[', ']', '|':
			return i + 1
		case ',': // a request that is hung on
			if i+2 < len(text) && text[i+1] == ' ' && 'A' <= text[i+2] && text[i+2] <= 'Z' {
				return i + 2
			}
		case ';':
			return i + 1
		case '.', '!', '?':
			if i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\'' || text[i+1] == '"' || text[i+1] == '\\' || text[i+1] == '\n' {
				return i + 1
			}
		case '-': // a dash
			if i > from+1 && i+1 < len(text) && text[i-1] == ' ' && text[i+1] == ' ' {
				return i + 2
			}
		case '"', '\'': // the end of a value within a structure
			if i+1 < len(text) && (text[i+1] == ',' || text[i+1] == ':' || text[i+1] == '}') {
				return i + 1
			}
			if i > 1 && text[i-1] == ' ' && (text[i-2] == ':' || text[i-2] == ',') {
				return i + 1
			}
		case '\\':
			if i+1 < len(text) && (text[i+1] == 'n' || text[i+1] == 'r' || text[i+1] == 't') {
				return i + 2
			}
		case ':':
			if i+1 < len(text) && text[i+1] == ' ' && i-from < 40 { // what it is that follows
				return i + 2
			}
		}
		if i-from > longestSentence && utf8.RuneStart(text[i]) {
			return i + 1
		}
	}
	return len(text)
}

// wrapped reports whether a line goes on with the sentence of the line before: it begins with a small letter, and is no entry
// of a list of names and values.
func wrapped(line string) bool {
	line = strings.TrimLeft(line, " \t")
	for i := 0; i < len(line) && i < 40; i++ {
		switch c := line[i]; {
		case 'a' <= c && c <= 'z':
		case i == 0, c == ':', c == '=', c == '_':
			return false
		case c == ' ' || c == '\'' || c == ',' || c == '-' || c == '\n':
			return true
		default:
			return c == '.'
		}
	}
	return len(line) > 0
}

func hasLetter(s string) bool { return strings.IndexFunc(s, unicode.IsLetter) >= 0 }

// plainWords returns the words of a sentence in lower case, with lookalikes undone. Most sentences need few of them.
func plainWords(sentence string) []string {
	var f folded
	f.fold(sentence)
	const most = 200
	letters := string(f.letters)
	out := make([]string, min(len(f.words), most))
	for i := range out {
		out[i] = letters[f.words[i]:f.end(i)]
	}
	return out
}
