package inventory

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// Claims returns what a tool can do by its annotations and by its name. MCP calls annotations hints, since a server may
// lie; what is not said is not filled in.
func Claims(t *event.Tool) (out []Effect) {
	said := gjson.ParseBytes(t.Annotations)
	if said.Get("readOnlyHint").Type == gjson.True {
		out = append(out, Effect{"read", Annotation})
	}
	if said.Get("readOnlyHint").Type == gjson.False || said.Get("destructiveHint").Type == gjson.True {
		out = append(out, Effect{"write", Annotation})
	}
	if said.Get("openWorldHint").Type == gjson.True {
		out = append(out, Effect{"egress", Annotation})
	}
	words := Words(t.Name)
	for _, effect := range []string{"read", "write", "egress", "money"} {
		if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(verbs[effect], w) }) {
			out = append(out, Effect{effect, Name})
		}
	}
	return out
}

// verbs are words of names that say what a tool does.
var verbs = map[string][]string{
	"read":   {"get", "list", "read", "search", "find", "query", "show", "describe", "view", "count", "lookup", "select"},
	"write":  {"write", "create", "update", "delete", "remove", "add", "set", "edit", "move", "put", "insert", "drop", "purge", "rename", "patch", "append", "execute", "exec", "run"},
	"egress": {"send", "post", "publish", "upload", "notify", "share", "push", "fetch", "download", "email", "http", "browse", "navigate", "forward"},
	"money":  {"pay", "payment", "refund", "transfer", "charge", "buy", "purchase", "payout", "invoice"},
}

// Words splits a name such as read_file, read-file or readFile.
func Words(name string) []string {
	var b strings.Builder
	var before rune
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte(' ')
		}
		if before = r; unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteByte(' ')
		}
	}
	return strings.Fields(b.String())
}

// Spelled returns the name that s spells, with escapes such as \u0430 for what is not ASCII.
func Spelled(s string) string {
	if name, err := strconv.Unquote(`"` + s + `"`); err == nil {
		return name
	}
	return s
}
