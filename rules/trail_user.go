package rules

import (
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// What stands as the user's words, and is not.

// minQuote is how many bytes a text has that is recognised within others.
const minQuote = 16

// quotes reports whether what comes as the user's words holds a prompt or a resource of a server, whole: clients put these
// among them when the user names them. What he says in the same breath does not count then, either: which of it is his could be
// made to look otherwise.
func (s *trail) quotes(text string) bool {
	said := strings.TrimSpace(text)
	for _, h := range s.texts {
		if h.source.Class&lineage.Outside == 0 || h.source.Server == "" {
			continue
		}
		quoted := h.text
		switch h.source.Tool {
		case event.GetPrompt:
		case event.ReadResource:
			_, quoted, _ = strings.Cut(quoted, "\n") // behind its address
		default:
			continue
		}
		quoted = strings.TrimSpace(quoted)
		if quoted != "" && (said == quoted || len(quoted) >= minQuote && strings.Contains(said, quoted)) {
			return true
		}
	}
	return false
}

// typed divides what the user has put into a form, a line for each field, into what is his own and what somebody else has said
// in the session before: a server can have him type that.
func (s *trail) typed(text string) (own, others string) {
	lines := strings.Split(text, "\n")
	if len(lines) > lineage.MaxValues || len(text) > lineage.MaxValue {
		return "", text
	}
	var mine, theirs []string
	for _, line := range lines {
		if o := s.recall().Trace([]string{line}, nil); o.Outside() || !o.Model && o.Class == 0 { // a single letter is nobody's
			theirs = append(theirs, line)
		} else {
			mine = append(mine, line)
		}
	}
	return strings.Join(mine, "\n"), strings.Join(theirs, "\n")
}
