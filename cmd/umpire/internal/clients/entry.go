package clients

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Format is where a client's file has its servers.
type Format struct {
	Syntax Syntax
	Roots  [][]string // the objects whose members are servers, each by the keys that lead to it; * is any key
	// SSE says that the client means HTTP+SSE by url, and Streamable HTTP by httpUrl.
	SSE bool
}

// The transports of servers.
const (
	Stdio = "stdio"
	HTTP  = "http"
	SSE   = "sse"
	WS    = "ws"
)

// State is how an entry stands to Umpire.
type State string

// The states of an entry.
const (
	Bare    State = "bare"    // its calls do not pass through Umpire, and could
	Wrapped State = "wrapped" // they do, and the entry holds what it was before
	ByHand  State = "by hand" // they do, but what it was before is not known from it
	Unfit   State = "unfit"   // it cannot be wrapped
)

// Server is the entry of a server in a client's file.
type Server struct {
	Name      string            // as the client calls it
	Scope     string            // what it is for, if that is less than the whole file: a project's folder
	Line      int               // where its entry is
	Transport string            // one of the transports; empty if it is not known
	Untold    bool              // nothing says whether it is HTTP or SSE: clients that know both try them in this order
	Command   []string          // of a server over stdio, as it stands there
	Dir       string            // where Command is started; empty for where the client is
	Env       map[string]string // what is added to its environment
	URL       string            // of any other server
	Headers   map[string]string // that the client sends to it
	Disabled  bool              // the client does not use it
	State     State
	Why       string // what stands against wrapping an Unfit server
}

// Inner returns the command behind umpire run; nil if there is none.
func (s Server) Inner() []string {
	if s.State != Wrapped || s.Transport != Stdio {
		return nil
	}
	return s.Command[slices.Index(s.Command, "--")+1:]
}

// Upstream returns the URL behind Umpire's; empty if there is none.
func (s Server) Upstream() string {
	if s.State != Wrapped || s.Transport == Stdio {
		return ""
	}
	return s.URL[len(mount.FindString(s.URL)):]
}

// As returns the name by which policies and the history know the server; empty if it is not wrapped.
func (s Server) As() string {
	switch {
	case s.State != Wrapped:
		return ""
	case s.Transport != Stdio:
		return mount.FindStringSubmatch(s.URL)[1]
	}
	i := slices.Index(s.Command, "--name")
	return s.Command[i+1]
}

// entry is a Server and its place.
type entry struct {
	Server
	in      *node   // the object that holds command and args, or the URL
	command *member // a text, or a list that is the whole command
	args    *member // nil if there are none
	url     *member
}

// mount begins the URL of a wrapped server: what follows is the server's own, as it was.
var mount = regexp.MustCompile(`^(?:http|ws)://(?:127\.\d+\.\d+\.\d+|localhost|\[::1\])(?::\d+)?/([A-Za-z0-9][A-Za-z0-9_.-]*)/to/`)

// entries finds the servers of a file. Listen is Umpire's own address.
func entries(f Format, file []byte, listen string) (list []*entry, err error) {
	root, err := parse(f.Syntax, file)
	if err != nil {
		return nil, err
	}
	for _, path := range f.Roots {
		if list, err = find(list, f, file, root, path, ""); err != nil {
			return nil, err
		}
	}
	for _, e := range list {
		e.classify(file, listen)
	}
	return list, nil
}

func find(list []*entry, f Format, file []byte, n *node, path []string, scope string) ([]*entry, error) {
	if n.kind != object {
		return list, nil
	}
	if m := n.twice(); m != nil {
		return nil, failAt(file, m.start, "%q stands here twice, and clients differ in which one they take", m.name)
	}
	var err error
	if len(path) == 0 {
		for _, m := range n.members {
			if m.value.kind != object {
				continue
			}
			if again := m.value.twice(); again != nil {
				return nil, failAt(file, again.start, "%q stands here twice, and clients differ in which one they take", again.name)
			}
			e := &entry{Server: Server{Name: m.name, Scope: scope, Line: 1 + bytes.Count(file[:m.start], []byte("\n"))}, in: m.value}
			e.read(f)
			list = append(list, e)
		}
		return list, nil
	}
	for _, m := range n.members {
		switch path[0] {
		case "*":
			list, err = find(list, f, file, m.value, path[1:], m.name)
		case m.name:
			list, err = find(list, f, file, m.value, path[1:], scope)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// read takes what the entry says. Clients differ in the keys, but no key means two things.
func (e *entry) read(f Format) {
	n := e.in
	e.Env = n.texts("env", "environment", "envs")
	e.Headers = n.texts("headers", "http_headers")
	e.Dir = n.string("cwd")
	for _, flag := range []struct{ name, off string }{{"disabled", "true"}, {"enabled", "false"}, {"isActive", "false"}} {
		if m := n.get(flag.name); m != nil && m.value.text == flag.off {
			e.Disabled = true
		}
	}
	e.url = n.get("httpUrl", "serverUrl", "url", "uri")
	e.command = n.get("command", "cmd")
	if e.command != nil && e.command.value.kind == object { // Zed had it so
		e.in = e.command.value
		e.Env = e.in.texts("env")
		e.command = e.in.get("path", "command")
	}
	e.args = e.in.get("args")
	if e.command != nil {
		e.Transport = Stdio
		if v := e.command.value; v.kind == list {
			for _, item := range v.items {
				e.Command = append(e.Command, item.text)
			}
			return
		}
		e.Command = []string{e.command.value.text}
		if e.args != nil {
			for _, item := range e.args.value.items {
				e.Command = append(e.Command, item.text)
			}
		}
		return
	}
	if e.url == nil {
		return
	}
	e.URL = e.url.value.text
	e.Transport = HTTP
	switch {
	case isSocket(e.URL):
		e.Transport = WS
	case f.SSE && e.url.name == "url":
		e.Transport = SSE
	}
	e.Untold = e.Transport == HTTP && e.url.name != "httpUrl"
	switch n.string("type", "transport") {
	case "sse":
		e.Transport = SSE
	case "ws", "websocket":
		e.Transport = WS
	case "http", "streamable-http", "streamable_http", "streamableHttp":
		e.Transport = HTTP
	default:
		return
	}
	e.Untold = false
}

// classify says how the entry stands to Umpire.
func (e *entry) classify(file []byte, listen string) {
	e.State, e.Why = Unfit, ""
	switch {
	case e.command != nil && e.url != nil:
		e.Why = "it has both a command and a URL, and clients differ in which one they take"
	case e.command != nil:
		e.classifyCommand()
	case e.url == nil:
		e.Why = "it has neither a command nor a URL: it is part of the client, or of an extension"
	case e.url.value.kind != text || bytes.HasPrefix(file[e.url.value.start:], []byte(`"""`)) || bytes.HasPrefix(file[e.url.value.start:], []byte("'''")):
		e.Why = "its URL is no text on one line"
	case mount.MatchString(e.URL):
		e.State = Wrapped
	case IsAt(e.URL, listen):
		e.State = ByHand
	case strings.Contains(e.URL, "/.."):
		e.Why = "its URL leads upwards (..)"
	case isSocket(e.URL) && e.Transport != WS:
		e.Why = "its type is " + e.Transport + ", and its URL that of a WebSocket"
	case !isSocket(e.URL) && !isWeb(e.URL) && !strings.HasPrefix(e.URL, "$") && !strings.HasPrefix(e.URL, "{"):
		e.Why = "its URL is none of http, https, ws and wss"
	default:
		e.State = Bare
	}
}

func isWeb(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

func isSocket(url string) bool {
	return strings.HasPrefix(url, "ws://") || strings.HasPrefix(url, "wss://")
}

func (e *entry) classifyCommand() {
	v := e.command.value
	switch {
	case v.kind == list && (len(v.items) == 0 || v.items[0].kind != text), v.kind != list && v.kind != text:
		e.Why = "its command is no text on one line"
	case v.kind == text && e.args != nil && !e.args.value.isWords():
		e.Why = "its args are no list of texts"
	case e.Command[0] == "":
		e.Why = "its command is empty"
	case !IsUmpire(e.Command[0]):
		e.State = Bare
		if v.plain && strings.ContainsAny(v.text, ",[]{}") && (e.args == nil || e.args.value.flow) {
			e.State, e.Why = Unfit, "its command would need quotes between brackets"
		}
	case behind(e.Command) > 0:
		e.State = Wrapped
	case slices.Contains(e.Command, "run"):
		e.State = ByHand
	default:
		e.Why = "it is Umpire itself"
	}
}

// isWords reports whether n is a list that can be arguments, and that others can be put in front of.
func (n *node) isWords() bool {
	return n.kind == list && (len(n.items) == 0 || n.items[0].kind == text) &&
		!slices.ContainsFunc(n.items, func(i *node) bool { return i.kind == list || i.kind == object })
}

// behind returns where in umpire's command line the server's own begins, if it has the form that Wrap gives it; else 0.
func behind(command []string) int {
	if len(command) < 2 || command[1] != "run" {
		return 0
	}
	i := slices.Index(command, "--")
	name := slices.Index(command, "--name")
	if i < 0 || i+1 >= len(command) || name < 0 || name+1 >= i {
		return 0
	}
	return i + 1
}

// IsUmpire reports whether a program is Umpire, on whichever system: by its name.
func IsUmpire(program string) bool {
	name := program[strings.LastIndexAny(program, `/\`)+1:]
	return name == "umpire" || strings.EqualFold(name, "umpire.exe")
}

// IsAt reports whether a URL leads to Umpire itself.
func IsAt(text, listen string) bool {
	if m := mount.FindString(text); m != "" { // what follows may be no URL yet
		text = m
	}
	u, err := url.Parse(text)
	local := func(host string) string { return strings.Replace(host, "localhost", "127.0.0.1", 1) }
	return err == nil && listen != "" && local(u.Host) == local(listen)
}

// names gives servers names that can stand in a policy: letters, digits, dashes, dots and underscores. It holds for whom
// each is.
type names map[string]string

var (
	illegal = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
	first   = regexp.MustCompile(`^[^A-Za-z0-9]+`)
)

// name returns the name for a server, the client's own if that will do.
func (taken names) name(of string) string {
	name := first.ReplaceAllString(strings.TrimRight(illegal.ReplaceAllString(of, "-"), "-"), "")
	if name == "" {
		name = "server"
	}
	free := name
	for i := 2; taken[free] != "" && taken[free] != of; i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	taken[free] = of
	return free
}
