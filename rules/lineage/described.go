package lineage

import (
	"slices"
	"strings"
)

// Described says what is wrong with a text by which a server describes a tool: Talks if it gives orders that are no
// description, Unseen if it hides something, nothing if it is as others are. That a description speaks to the assistant, of
// the user or of what has to be done first is usual; that it wants to be preferred to other orders or kept from the user is not.
func Described(text string) (why string) {
	forms, _ := Decoded(text)
	for _, form := range forms {
		words := plainWords(form)
		for i, w := range words {
			for _, phrase := range ordering[w] {
				if len(words)-i >= len(phrase) && slices.Equal(phrase, words[i:i+len(phrase)]) {
					return talks
				}
			}
		}
	}
	if strings.IndexFunc(text, func(r rune) bool { return r >= 0x200b && invisible(r) }) >= 0 {
		return hidden
	}
	return ""
}

// ordering are phrases that no description needs, by their first word.
var ordering = phrases(`ignore previous|ignore prior|ignore the previous|ignore any previous|ignore all previous|ignore all prior|ignore all other|
	ignore your|ignore the above|ignore other instructions|disregard previous|disregard prior|disregard the previous|disregard all previous|disregard your|
	disregard any previous|forget previous|forget all previous|forget your|forget everything|previous instructions|prior instructions|
	instead of your instructions|system override|override your|
	do not tell the user|don t tell the user|never tell the user|do not inform the user|don t inform the user|do not notify the user|do not alert the user|
	do not show the user|do not mention|don t mention|never mention|without telling the user|without informing the user|without notifying the user|
	without mentioning|without the user knowing|without the user s knowledge|hide this from|keep this secret|keep this from|
	do not reveal this|secretly|pretend to be|note to assistant|instructions for the assistant|message to the assistant|dear assistant|
	this tool supersedes|this overrides|takes precedence over all|has priority over all|must always be called first|you are required to call|
	or the user will|user has already authorized|user has authorized|already approved by the user`)
