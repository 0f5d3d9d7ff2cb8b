package hook

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// Where a client says how it reaches the server of a tool, it is known whether that goes through Umpire: else nobody judges
// the call but its hook, whatever the server is called.

// behind returns which tool is meant by a tool of a server that the client reaches at a URL, or by a command; nil if that is not
// Umpire. Of a server without name, it is the one that has a tool of this name, if it is the only one. Where the client
// says neither, the names are all that there is.
func behind(at string, command []string, workspace, server, tool string) func(server, tool string) bool {
	name := ""
	switch {
	case at != "":
		var ok bool
		if name, ok = mounted(at); !ok {
			return nil
		}
	case len(command) > 0:
		if !umpires(command[0], workspace) {
			return nil
		}
		for i, w := range command {
			if w == "--name" && i+1 < len(command) {
				name = command[i+1]
			}
			if w == "--" || name != "" {
				break
			}
		}
	}
	if name != "" {
		server = name
	}
	return func(s, t string) bool { return (server == "" || s == server) && t == tool }
}

// umpires reports whether a program can be Umpire: it is called so, and not one that a project brings along.
func umpires(program, workspace string) bool {
	program, workspace = strings.ReplaceAll(program, `\`, "/"), strings.ReplaceAll(workspace, `\`, "/")
	absolute := strings.HasPrefix(program, "/") || len(program) > 2 && program[1:3] == ":/"
	if strings.TrimSuffix(path.Base(program), ".exe") != "umpire" || !absolute && strings.Contains(program, "/") {
		return false
	}
	return workspace == "" || !strings.HasPrefix(path.Clean(program), path.Clean(workspace)+"/")
}

// mounted reports whether Umpire can have a server at a URL of this machine, and returns the name that it has there: http://127.0.0.1:7777/NAME/to/…,
// or /mcp for the only one.
func mounted(text string) (name string, ok bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", false
	}
	part := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", 3)
	if len(part) == 1 {
		part = []string{"", part[0]}
	} else if part[0] == "" {
		return "", false
	}
	switch part[1] {
	case "to", "mcp", "sse", "ws":
		return part[0], true
	}
	return "", false
}
