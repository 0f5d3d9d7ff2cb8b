package clients

import (
	"regexp"
	"strings"
)

// variable is a place that clients fill in: ${NAME}, ${NAME:-default}, ${env:NAME}, {env:NAME}, ${input:ID},
// ${workspaceFolder}, ${userHome}.
var variable = regexp.MustCompile(`\$?\{((?:env|input):)?([A-Za-z_][A-Za-z0-9_.-]*)(:-[^}]*)?\}`)

// Expander fills in what clients fill in.
type Expander struct {
	Lookup     func(string) (string, bool) // of the environment
	Home, Work string
	// Missing are the variables that are not set, and the inputs that a client asks a person for.
	Missing []string
}

// Expand fills in one text.
func (x *Expander) Expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		part := variable.FindStringSubmatch(m)
		if !strings.HasPrefix(m, "$") && part[1] != "env:" { // braces that mean nothing
			return m
		}
		value, ok := "", false
		switch {
		case part[1] == "input:":
		case part[1] == "" && (part[2] == "workspaceFolder" || part[2] == "CLAUDE_PROJECT_DIR"):
			value, ok = x.Work, true
		case part[1] == "" && part[2] == "userHome":
			value, ok = x.Home, true
		default:
			value, ok = x.Lookup(part[2])
		}
		switch {
		case ok:
		case part[3] != "":
			value = strings.TrimPrefix(part[3], ":-")
		default:
			x.Missing = append(x.Missing, part[2])
			return ""
		}
		return value
	})
}
