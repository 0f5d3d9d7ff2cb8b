package lineage

import (
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
	after := 0 // so many sentences more belong to what talks to the assistant
	for from := 0; from < len(text); {
		to := sentence(text, from)
		part := text[from:to]
		if len(out) >= maxSpans {
			add(from, len(text), talks)
			break
		}
		why := judge(part)
		switch {
		case why == talks:
			after = following
		case after > 0 && hasLetter(part):
			after--
			why = talks
		}
		if why != "" {
			add(from, to, why)
		}
		from = to
	}
	return out
}

// following is how many sentences behind one that talks to the assistant belong to it.
const following = 6

// sentence returns where the sentence ends that begins at from.
func sentence(text string, from int) int {
	const longestSentence = 1000
	for i := from; i < len(text); i++ {
		switch c := text[i]; c {
		case '\n', '\r', '<', '>', '{', '}', '[', ']', '|':
			return i + 1
		case ',': // a request that is hung on
			if i+2 < len(text) && text[i+1] == ' ' && 'A' <= text[i+2] && text[i+2] <= 'Z' {
				return i + 2
			}
		case '.', '!', '?', ';':
			if i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\'' || text[i+1] == '"' || text[i+1] == '\\' {
				return i + 1
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
			if i+1 < len(text) && text[i+1] == ' ' && i-from < 40 {
				return i + 2
			}
		}
		if i-from > longestSentence && utf8.RuneStart(text[i]) {
			return i + 1
		}
	}
	return len(text)
}

func hasLetter(s string) bool { return strings.IndexFunc(s, unicode.IsLetter) >= 0 }

// judge says what a sentence does; empty if nothing of note.
func judge(sentence string) string {
	for _, r := range sentence {
		if r >= 0x200b && invisible(r) {
			return hidden
		}
	}
	words := plainWords(sentence)
	if len(words) == 0 {
		return ""
	}
	for i, w := range words {
		for _, phrase := range addressed[w] {
			if len(words)-i >= len(phrase) && slices.Equal(phrase, words[i:i+len(phrase)]) {
				return talks
			}
		}
	}
	if imperative(words) && particular(sentence, words) {
		return asks
	}
	return ""
}

// invisible reports whether people do not see r, or see what is around it in another order. Joiners are not among them:
// emoji and some scripts need them.
func invisible(r rune) bool {
	switch {
	case r == 0x200b, r == 0x2060, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// plainWords returns the words of a sentence in lower case, with lookalikes undone. Most sentences need few of them.
func plainWords(sentence string) []string {
	var f folded
	f.fold(sentence)
	out := make([]string, 0, min(len(f.words), 200))
	for i := range f.words {
		if i == 200 {
			break
		}
		out = append(out, string(f.word(i)))
	}
	return out
}

// addressed are phrases by which a text talks to a model about its role, its task or its orders, by their first word.
var addressed = phrases(`you are an ai|ai model|ai assistant|ai agent|language model|to you ai|dear assistant|hey assistant|
		note to assistant|assistant you|assistant please|instructions for the assistant|system prompt|system override|
		ignore all|ignore previous|ignore the previous|ignore any previous|ignore your|ignore the above|ignore prior|
		disregard all|disregard previous|disregard the previous|disregard your|disregard any|
		forget all|forget your|forget previous|forget everything|previous instructions|prior instructions|above instructions|
		your instructions|your task|your new task|your original task|original task|
		before you can|before you continue|before continuing|before you proceed|before proceeding|
		you should now|you will now|you are now|you are required|pretend to be|do not tell|don t tell|do not inform|
		without asking|without telling|as the administrator|as an administrator|on behalf of the user|
		developer mode|debug mode|maintenance mode|admin mode|you are operating|you are part of|the agent must|the agent should|
		the user has authorized|the user wants|user asked you|end of user|end of instructions`)

// phrases returns phrases by their first word.
func phrases(list string) map[string][][]string {
	out := map[string][][]string{}
	for phrase := range strings.SplitSeq(list, "|") {
		words := strings.Fields(phrase)
		out[words[0]] = append(out[words[0]], words)
	}
	return out
}

// opening are words that may stand before the verb of a request.
var opening = map[string]bool{
	"please": true, "kindly": true, "now": true, "then": true, "also": true, "first": true, "next": true, "and": true, "just": true, "immediately": true,
	"so": true, "quickly": true, "finally": true, "afterwards": true, "hi": true, "hello": true, "hey": true, "todo": true, "important": true, "urgent": true,
	"action": true, "required": true, "note": true, "task": true, "step": true, "could": true, "can": true, "would": true, "will": true, "you": true, "i": true,
	"need": true, "want": true, "to": true, "d": true, "like": true, "must": true, "should": true, "have": true, "let": true, "us": true, "s": true, "do": true,
	"not": true, "forget": true, "remember": true, "be": true, "sure": true, "make": true, "it": true, "if": true, "possible": true, "as": true, "soon": true, "asap": true,
	"1": true, "2": true, "3": true, "4": true, "5": true, "a": true, "the": true, "following": true, "go": true, "ahead": true,
}

// imperative reports whether a sentence asks for something: it begins with the bare form of a verb of acting, perhaps
// after words of courtesy, urgency or order, or has "please" in it.
func imperative(words []string) bool {
	for i, w := range words {
		if w == "please" || w == "kindly" {
			return len(words)-i > 2
		}
	}
	for i, w := range words {
		switch {
		case bare[w] && (i == 0 || !opening[w] || words[i-1] != "a" && words[i-1] != "the" && words[i-1] != "not"):
			return len(words)-i > 2
		case !opening[w] || i > 8:
			return false
		}
	}
	return false
}

// particular reports whether a request is about something in particular, and no description of what could be done: it has a
// number or an address, or the words of somebody who speaks for themselves.
func particular(sentence string, words []string) bool {
	for i, w := range words {
		if personal[w] || w == "user" && i > 0 && words[i-1] == "the" {
			return true
		}
	}
	return strings.ContainsAny(sentence, "0123456789@")
}

var personal = set("please kindly my me mine i us todo")
