package lineage

import (
	"slices"
	"strings"
)

// judge says what a sentence does; empty if nothing of note.
func judge(sentence string, words []string) string {
	for _, r := range sentence {
		if r >= 0x200b && invisible(r) {
			return hidden
		}
	}
	switch {
	case len(words) == 0:
		return ""
	case addresses(sentence, words):
		return talks
	case (imperative(words) || obliges(words)) && particular(sentence, words):
		return asks
	case imperative(words) && grave[words[0]]:
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

// roleMarks open or close what models know as a turn, a system prompt or an answer of a tool, behind "<", "[" or "|".
var roleMarks = strings.Fields(`system /system system-reminder system_prompt instructions /instructions assistant /assistant inst /inst human /human
	im_start im_end start_header_id eot_id endoftext tool_result /tool_result tool_response /tool_response function_results /function_results
	function_calls tool_call /tool_call |im_start |im_end |system |user |assistant |end sys /sys`)

// speakers are those whose turn a text pretends to begin, at the beginning of a line and before a colon.
var speakers = set("human assistant ai chatgpt gpt claude gemini llm")

// changesRole reports whether the sentence at from pretends that another turn of the conversation begins: by a mark of the
// template of a model, or by the name of who speaks.
func changesRole(text string, from int, words []string) bool {
	if len(words) == 1 && speakers[words[0]] && (from == 0 || text[from-1] == '\n') {
		rest := text[from:min(len(text), from+20)]
		if i := strings.IndexByte(rest, ':'); i > 0 && i < 12 {
			return true
		}
	}
	if from == 0 || !strings.ContainsRune("<[|", rune(text[from-1])) {
		return false
	}
	rest := text[from:min(len(text), from+24)]
	for _, mark := range roleMarks {
		if len(rest) >= len(mark) && strings.EqualFold(rest[:len(mark)], mark) && (len(rest) == len(mark) || !isWordByte(rest[len(mark)])) {
			return true
		}
	}
	return false
}

func isWordByte(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// addressed are phrases by which a text talks to a model about its role, its task or its orders, by their first word.
var addressed = phrases(`you are an ai|to you ai|dear assistant|hey assistant|dear ai|hello ai|dear agent|
	note to assistant|assistant you|assistant please|instructions for the assistant|system prompt|system override|
	ignore all|ignore previous|ignore the previous|ignore any previous|ignore your|ignore the above|ignore prior|ignore the user|
	disregard all|disregard previous|disregard the previous|disregard your|disregard any|disregard the|
	forget all|forget your|forget previous|forget everything|previous instructions|prior instructions|above instructions|
	your new task|your original task|original task|
	before you can|before you continue|before continuing|before you proceed|before proceeding|before you answer|before answering|
	you should now|you will now|you are now a|you are now an|you are now in|you are now the|you are required|pretend to be|act as if|do not tell|don t tell|do not inform|do not mention|don t mention|
	without asking|without telling|without confirmation|without confirming|no confirmation|
	as the administrator|as an administrator|on behalf of the user|pre approved|
	developer mode|debug mode|maintenance mode|admin mode|you are operating|you are part of|
	the user has authorized|the user has approved|the user has asked|the user has requested|the user wants|the user expects|the user also|user asked you|
	end of user|end of instructions|end of system|end of prompt|new instructions|new instruction|new directive|updated instructions|
	if you are reading this|whoever processes|who processes this|processing this record|processing this document|reading this document`)

func phrases(list string) map[string][][]string {
	out := map[string][][]string{}
	for phrase := range strings.SplitSeq(list, "|") {
		words := strings.Fields(phrase)
		out[words[0]] = append(out[words[0]], words)
	}
	return out
}

// Words for what an assistant is: those that name nothing else, and those that do so only next to others.
var (
	machines = set("ai llm llms chatbot chatbots chatgpt gpt claude gemini copilot")
	roles    = set("assistant assistants agent agents bot bots model models automation workflow workflows client clients")
	kinds    = set("ai language automated automatic automatically virtual digital autonomous llm assistant")
	binding  = set("must should shall please required expected instructed obliged supposed asked told mandated")
	greeting = set("dear hi hello hey attention to for instructions note message")
)

// addresses reports whether a sentence talks to an assistant: it has a phrase that does, greets one, or says what one has to do.
func addresses(sentence string, words []string) bool {
	for i, w := range words {
		for _, phrase := range addressed[w] {
			if len(words)-i >= len(phrase) && slices.Equal(phrase, words[i:i+len(phrase)]) {
				return true
			}
		}
		machine := machines[w] && (w != "ai" || alone(sentence, "AI")) || roles[w] && i > 0 && kinds[words[i-1]]
		if !machine && !roles[w] {
			continue
		}
		near := words[i+1 : min(len(words), i+7)]
		if !machine {
			near = near[:min(len(near), 2)]
		}
		for k, w := range near {
			if binding[w] || k > 0 && obliging(near[k-1], w) {
				return true
			}
		}
		if machine && (slices.Contains(words[max(0, i-4):i], "you") || len(words) < 9 && slices.ContainsFunc(words[:min(i, 3)], func(w string) bool { return greeting[w] })) {
			return true
		}
	}
	return false
}

// alone reports whether a word stands in a sentence by itself, and in no address or compound.
func alone(sentence, word string) bool {
	part := func(c byte) bool { return isWordByte(c) || c == '/' || c == '@' }
	for from := 0; ; {
		i := strings.Index(sentence[from:], word)
		if i < 0 {
			return false
		}
		i += from
		from = i + len(word)
		if (i == 0 || !part(sentence[i-1]) && sentence[i-1] != '.') && (from == len(sentence) || !part(sentence[from])) {
			return true
		}
	}
}

// obliging reports whether two words say that something has to be done.
func obliging(a, b string) bool {
	return b == "to" && (a == "has" || a == "have" || a == "needs" || a == "need" || a == "ought")
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

// courtesies ask for something wherever they stand in a sentence.
var courtesies = set("please kindly bitte veuillez svp proszę пожалуйста vänligen alstublieft")

// imperative reports whether a sentence asks for something: it begins with the bare form of a verb of acting, perhaps
// after words of courtesy, urgency or order, or has "please" in it.
func imperative(words []string) bool {
	for i, w := range words {
		if courtesies[w] {
			return len(words)-i > 2
		}
	}
	for i, w := range words {
		switch {
		case w == "you" && i+1 < len(words) && able[words[i+1]]: // it says what is possible
			return false
		case paying[w] && i+1 < len(words) && isNumber(words[i+1]):
			return len(words)-i > 2
		case bare[w] && (i == 0 || !opening[w] || words[i-1] != "a" && words[i-1] != "the" && words[i-1] != "not"):
			return len(words)-i > 2 && (!double(w) || i > 0 && verbal[words[i-1]] || governed[words[i+1]] || currencies[words[i+2]])
		case !opening[w] || i > 8:
			return false
		}
	}
	return false
}

// able are words behind "you" that tell and do not ask.
var able = set("can could may might will would have do")

// governed are words that follow a verb and seldom a noun.
var governed = set("a an the my me us our your his her their this that these those it them one two three all some any another every more to for from with")

// Words for money, and verbs that go with an amount of it.
var (
	currencies = set("usd eur gbp chf jpy dollar euro pound yen franc btc eth bitcoin ether cent")
	paying     = set("transfer pay send wire deposit withdraw remit")
)

func isNumber(w string) bool { return '0' <= w[0] && w[0] <= '9' }

// grave are verbs that ask for something in particular whatever they are about.
var grave = set("delete erase wipe destroy drop revoke forward transfer wire withdraw")

// obliges reports whether a sentence says that something has to be done: "payments must be sent to …".
func obliges(words []string) bool {
	for i := 1; i+1 < len(words); i++ {
		if words[i] == "be" && participles[words[i+1]] && (binding[words[i-1]] || i > 1 && words[i-1] == "to" && (obliging(words[i-2], "to") || binding[words[i-2]] || words[i-2] == "is" || words[i-2] == "are")) {
			return true
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
	return strings.ContainsAny(sentence, "0123456789@") || strings.Contains(sentence, "www.") || strings.Contains(sentence, "://")
}

var personal = set("please kindly my me mine i us todo")
