package rules

import (
	"errors"
	"strings"

	"github.com/tidwall/match"
)

// glob matches server/tool. "*" stands for any characters, "?" for one. The first slash separates: a tool's name may
// contain more of them.
type glob struct {
	server, tool string
}

var errGlob = errors.New(`want server/tool, such as "billing/issue_refund", "billing/*" or "*/delete_*"`)

func parseGlob(s string) (glob, error) {
	server, tool, ok := strings.Cut(s, "/")
	if !ok || server == "" || tool == "" || strings.ContainsAny(s, "\\ \t\n") {
		return glob{}, errGlob
	}
	return glob{server: server, tool: tool}, nil
}

func (g glob) match(server, tool string) bool {
	return match.Match(server, g.server) && match.Match(tool, g.tool)
}

// exact reports whether g matches one tool only.
func (g glob) exact() bool { return g.oneServer() && !match.IsPattern(g.tool) }

// oneServer reports whether g matches tools of one server only.
func (g glob) oneServer() bool { return !match.IsPattern(g.server) }

// covers reports whether everything that other matches, g matches too. It may say no when the answer is yes.
func (g glob) covers(other glob) bool {
	part := func(a, b string) bool { return a == "*" || a == b || !match.IsPattern(b) && match.Match(b, a) }
	return part(g.server, other.server) && part(g.tool, other.tool)
}

// meets reports whether some server/tool can match both. It may say yes when the answer is no.
func (g glob) meets(other glob) bool {
	part := func(a, b string) bool {
		switch {
		case !match.IsPattern(a):
			return match.Match(a, b)
		case !match.IsPattern(b):
			return match.Match(b, a)
		}
		fixed := func(s string) string { return s[:strings.IndexAny(s, "*?")] }
		x, y := fixed(a), fixed(b)
		return strings.HasPrefix(x, y) || strings.HasPrefix(y, x)
	}
	return part(g.server, other.server) && part(g.tool, other.tool)
}

func (g glob) String() string { return g.server + "/" + g.tool }
