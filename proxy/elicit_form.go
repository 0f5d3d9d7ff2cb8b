package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// form is what the user fills in. Nothing is filled in beforehand, and to approve is not what comes first: a client that submits
// a form as it is, or with the first of all choices, lets nothing pass.
var form = json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{`+
	`"decision":{"type":"string","title":"Decision","description":"approve lets this one call go on as it stands here; deny tells the agent no","enum":["deny","approve"]},`+
	`"note":{"type":"string","title":"Note","description":"Why, if you like: it is recorded, and the agent reads it if you deny","maxLength":%d}},`+
	`"required":["decision"]}`, review.MaxNote/2))

// How much of the agent's own text is shown.
const (
	maxShownArguments = 20
	maxShownValue     = 400  // characters
	maxShown          = 3000 // of all arguments
)

// dialog writes to a person what is on hold. All that others have a say in stands on lines that are indented, between quotation
// marks where the agent has written it, and it cannot begin a line: to Markdown such lines are a block of code, in which nothing
// is markup.
func dialog(h *review.Held) wire.Elicitation {
	var b strings.Builder
	arguments, whole := shown(h.Args)
	fmt.Fprintf(&b, "Umpire holds a call of your agent's until somebody approves or denies it. It is denied if nobody does within %s.\n\n",
		patience(h.Expires.Sub(h.Since)))
	line := func(format string, args ...any) {
		b.WriteString("    ")
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
	}
	line("tool       %s on server %s", quoted(h.Tool, 100), quoted(h.Server, 100))
	line("agent      %s, call #%d in session %s", quoted(h.Agent, 60), h.Call, h.Session)
	line("held by    rule %s: %s", quoted(h.Rule, 100), clipped(wire.Visible(h.Why), maxShownValue))
	line("arguments, as the agent wrote them:")
	for _, a := range arguments {
		line("  %s", a)
	}
	b.WriteByte('\n')
	if !whole {
		fmt.Fprintf(&b, "These arguments are cut here. See all of them before you approve: umpire show %d\n\n", h.Call)
	}
	b.WriteString("What stands between quotation marks is not Umpire's, and nothing in it has been checked.")
	return wire.Elicitation{Message: b.String(), Schema: form}
}

// shown writes arguments, one a line; whole says that nothing of them is left out.
func shown(args json.RawMessage) (lines []string, whole bool) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, args); err != nil {
		return []string{quoted(string(args), maxShownValue)}, false
	}
	room, left := maxShown, 0
	whole = true
	gjson.ParseBytes(compact.Bytes()).ForEach(func(key, value gjson.Result) bool {
		name, text := wire.Visible(key.Raw), wire.Visible(value.Raw)
		if len(lines) >= maxShownArguments || room <= 0 {
			left++
			return true
		}
		most := min(maxShownValue, room)
		cut := clipped(name, most) + ": " + clipped(text, most)
		whole = whole && len(cut) == len(name)+len(": ")+len(text)
		room -= utf8.RuneCountInString(cut)
		lines = append(lines, cut)
		return true
	})
	switch {
	case left > 0:
		lines, whole = append(lines, fmt.Sprintf("(and %d more)", left)), false
	case len(lines) == 0:
		lines = append(lines, "(none)")
	}
	return lines, whole
}

// clipped shortens a text to a number of characters, and says how much of it is missing.
func clipped(text string, most int) string {
	n := utf8.RuneCountInString(text)
	if n <= most {
		return text
	}
	return fmt.Sprintf("%s … (%d characters more)", string([]rune(text)[:most]), n-most)
}

// quoted writes a text of somebody else's between quotation marks.
func quoted(text string, most int) string {
	return clipped(wire.Visible(strconv.Quote(text)), most)
}

// plain writes a name as it is if it can be read in one way, and between quotation marks if not.
func plain(name string) string {
	if name != "" && len(name) <= 60 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == "" {
		return name
	}
	return quoted(name, 60)
}
