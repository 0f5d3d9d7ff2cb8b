package conversation

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// dialect reads how one model API writes conversations down. It is used for one request and its answer. What it does not know
// it leaves out: APIs grow.
type dialect interface {
	// asked returns what a request says.
	asked(request gjson.Result) []Piece
	// answered returns what a whole answer says.
	answered(answer gjson.Result) []Piece
	// event returns what is complete with an event of a streamed answer.
	event(data gjson.Result) []Piece
	// rest returns what is left at the end of the stream. If that is not whole, calls that were not complete are not in it:
	// nobody makes them.
	rest(whole bool) []Piece
}

// dialectOf returns the dialect of what is posted to a path; nil if that is no conversation.
func dialectOf(path string) dialect {
	switch {
	case strings.HasSuffix(path, "/v1/messages"):
		return &anthropic{blocks: map[int64]*block{}}
	case strings.HasSuffix(path, "/chat/completions"):
		return &chat{choices: map[int64]*choice{}}
	case strings.HasSuffix(path, "/responses"):
		return &responses{told: map[int64]bool{}, texts: map[int64]*strings.Builder{}}
	case strings.HasSuffix(path, ":generateContent"), strings.HasSuffix(path, ":streamGenerateContent"):
		return &gemini{}
	}
	return nil
}

// speech is what a model says. A piece ends with each call, so that it is the same whether it is heard as it is said or when
// it is told again.
type speech struct {
	join string // between two texts
	text strings.Builder
	out  []Piece
}

func (s *speech) say(text string) {
	if text == "" {
		return
	}
	if s.text.Len() > 0 {
		s.text.WriteString(s.join)
	}
	s.text.WriteString(text)
}

func (s *speech) call(id string, use *Use) {
	p := Piece{Role: event.RoleAssistant, Trust: event.Trusted, Text: s.text.String(), Use: use}
	if s.text.Reset(); id != "" {
		p.Calls = []string{id}
	}
	if p.Text != "" || id != "" || use != nil {
		s.out = append(s.out, p)
	}
}

// end ends a piece without a call.
func (s *speech) end() { s.call("", nil) }

// take returns the pieces that are complete.
func (s *speech) take() []Piece {
	out := s.out
	s.out = nil
	return out
}

// clientTags begin texts that clients put among the user's words: files of the project, the output of commands, reminders.
// They are not the user's, and somebody else can have written what is in them.
var clientTags = []string{
	"<system-reminder>", "<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<INSTRUCTIONS>", "<skill>",
	"<turn_aborted>", "<task-notification>", "<local-command-stdout>", "<bash-stdout>", "<user_shell_command>", "<session_context>",
}

// addedByClient reports whether a client has put a text among the user's words.
func addedByClient(text string) bool {
	text = strings.TrimSpace(text)
	return slices.ContainsFunc(clientTags, func(tag string) bool { return strings.HasPrefix(text, tag) })
}

// referenced is the line behind which Gemini CLI quotes what the user has only named, as @FILE or @SERVER:URI, in what it sends
// to the model as in what it tells its hooks.
const referenced = "--- Content from referenced files ---"

// clientMarks begin lines behind which a client puts what is not the user's.
var clientMarks = []string{referenced, "<system-reminder>"}

// OfUser divides what a client gives as the user's words into these, and what the client has put there, which somebody else
// can have written. A user who writes a mark himself has said what stands before it.
func OfUser(text string) (own, quoted string) {
	if addedByClient(text) {
		return "", text
	}
	at := len(text)
	for _, mark := range clientMarks {
		if strings.HasPrefix(text, mark) {
			at = 0
		} else if i := strings.Index(text, "\n"+mark); i >= 0 {
			at = min(at, i)
		}
	}
	return text[:at], text[at:]
}

// input returns what a client sends as the words of a role.
func input(role, text string) (out []Piece) {
	if text == "" {
		return nil
	}
	p := Piece{Role: event.RoleTool, Trust: event.Trusted, Text: text}
	switch role {
	case "user":
		own, quoted := OfUser(text)
		if own != "" {
			out = append(out, Piece{Role: event.RoleUser, Trust: event.Trusted, Text: own})
		}
		if quoted != "" {
			out = append(out, byOthers(quoted))
		}
		return out
	case "system", "developer":
		p.Role = event.RoleSystem
	case "assistant", "model":
		p.Role = event.RoleAssistant
	}
	return []Piece{p}
}

// byOthers is what a client has put among the user's words.
func byOthers(text string) Piece {
	return Piece{Role: event.RoleSystem, Trust: event.Untrusted, Text: text}
}

// given returns what a tool has given.
func given(call, text string) Piece {
	p := Piece{Role: event.RoleTool, Trust: event.Trusted, Text: text}
	if call != "" {
		p.Calls = []string{call}
	}
	return p
}

// texts returns the texts of a content, which is a string, a block, or a list of them.
func texts(content gjson.Result) (out []string) {
	switch {
	case content.Type == gjson.String:
		out = []string{content.Str}
	case content.IsArray():
		content.ForEach(func(_, b gjson.Result) bool {
			out = append(out, texts(b)...)
			return true
		})
	case content.IsObject():
		for _, name := range []string{"text", "refusal", "data"} {
			if v := content.Get(name); v.Type == gjson.String && (name != "data" || content.Get("type").Str == "text") {
				return []string{v.Str}
			}
		}
		for _, name := range []string{"content", "source"} {
			if out = append(out, texts(content.Get(name))...); len(out) > 0 {
				return out
			}
		}
	}
	return out
}

func joined(content gjson.Result) string { return strings.Join(texts(content), "\n") }

// past marks pieces that a request tells again.
func past(pieces []Piece) []Piece {
	for i := range pieces {
		pieces[i].Past = true
	}
	return pieces
}
