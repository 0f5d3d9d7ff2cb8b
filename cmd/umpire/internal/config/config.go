// Package config reads umpire.yaml and knows where Umpire keeps its files.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// DefaultListen is where serve listens if nothing else is said.
const DefaultListen = "127.0.0.1:7777"

// Config is what umpire.yaml says, with the defaults filled in.
type Config struct {
	Path     string // of the file; empty if there is none
	Listen   string
	Servers  []Server
	Policies []string            // policy files, absolute
	Model    map[string]*url.URL // where each model API is, by its name in /model/NAME
	Intent   Intent
	Holds    Holds
	Notify   Notify
	History  History
}

// Holds is what holds: says.
type Holds struct {
	// AskInClient names the clients, as they name themselves, whose users are asked there about calls on hold; "*" is every client. By
	// default nobody is: a call is on hold because its agent is not trusted with it, and a client is the agent's own program, where a
	// hook, a setting or the model itself may answer in the place of a person.
	AskInClient []string
}

// Intent is what intent: says.
type Intent struct {
	Servers  []string // whose calls a model is asked to explain; "*" is all
	Argument string   // by which it does
}

// Of returns the argument by which calls of a server are explained; empty if they are not.
func (i Intent) Of(server string) string {
	if slices.Contains(i.Servers, server) || slices.Contains(i.Servers, "*") {
		return i.Argument
	}
	return ""
}

// Notify is what notify: says: how people and programs are told that a call is on hold.
type Notify struct {
	Desktop, Bell bool
	Webhook       *notify.Endpoint // nil if there is none
}

// Server is one entry of servers:.
type Server struct {
	Name string
	URL  *url.URL // of a server over HTTP or WebSocket …
	// Transport is what the server at URL speaks, as package proxy names it.
	Transport string
	Headers   http.Header
	Command   []string // … or the command of one over stdio
	Env       []string // NAME=value, added to the environment of Command
	Bare      bool     // mounted at /mcp, /sse and /ws instead of /NAME/mcp …
}

// Names returns the names of the servers; nil if there is no configuration that could list them.
func (c Config) Names() (names []string) {
	for _, s := range c.Servers {
		names = append(names, s.Name)
	}
	return names
}

// History is what history: says.
type History struct {
	Async    bool
	Keep     time.Duration
	MaxSize  int64 // bytes
	MaxValue int   // bytes
	Redact   []string
	// Conversation is what is kept of what is said: all of it, or what conversation.Keep says.
	Conversation conversation.Keep
}

// The model APIs that umpire serve passes on, and where they are if the configuration does not say.
var models = map[string]*url.URL{
	"anthropic": {Scheme: "https", Host: "api.anthropic.com"},
	"openai":    {Scheme: "https", Host: "api.openai.com"},
	"gemini":    {Scheme: "https", Host: "generativelanguage.googleapis.com"},
}

// Default returns the configuration where there is no file.
func Default() Config {
	return Config{Listen: DefaultListen, Model: maps.Clone(models), Intent: Intent{Argument: wire.Intent}, Notify: Notify{Desktop: true, Bell: true}, History: History{
		Keep: 90 * 24 * time.Hour, MaxSize: 4 << 30, MaxValue: 256 << 10, Redact: wire.DefaultRedact,
		Conversation: conversation.KeepText,
	}}
}

// StateDir returns the directory of the history, the socket and the token: flag if it is given, else
// $XDG_STATE_HOME/umpire.
func StateDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "umpire"), nil
	}
	if dir := os.Getenv("LOCALAPPDATA"); runtime.GOOS == "windows" && dir != "" {
		return filepath.Join(dir, "umpire"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where to keep the history is not known: %w", err)
	}
	return filepath.Join(home, ".local", "state", "umpire"), nil
}

// The files in the state directory.
const (
	HistoryFile = "history.db"
	SocketFile  = "umpire.sock"
	TokenFile   = "token"
	LogFile     = "umpire.log"
)

// Find returns the configuration file: flag, $UMPIRE_CONFIG, ./umpire.yaml or $XDG_CONFIG_HOME/umpire/umpire.yaml,
// whichever is first; empty if there is none. What is named has to exist. Where a client starts Umpire, ./umpire.yaml
// does not count: the working directory is then a workspace, and a repository must not bring its own policy.
func Find(flag string, byClient bool) (string, error) {
	for _, named := range []string{flag, os.Getenv("UMPIRE_CONFIG")} {
		if named == "" {
			continue
		}
		if _, err := os.Stat(named); err != nil { //nolint:gosec // the user names the file
			return "", fmt.Errorf("the configuration cannot be read: %w", err)
		}
		return filepath.Abs(named)
	}
	var candidates []string
	if !byClient {
		candidates = append(candidates, "umpire.yaml")
	}
	if dir := configHome(); dir != "" {
		candidates = append(candidates, filepath.Join(dir, "umpire", "umpire.yaml"))
	}
	for _, c := range candidates {
		if _, err := os.Stat(c); err == nil {
			return filepath.Abs(c)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the configuration cannot be read: %w", err)
		}
	}
	return "", nil
}

// configHome is $XDG_CONFIG_HOME, ~/.config or what Windows has instead; empty if it is not known.
func configHome() string {
	if xdg := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(xdg) {
		return xdg
	}
	if runtime.GOOS == "windows" {
		return os.Getenv("APPDATA")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".config")
}

// Fields are what a configuration file can have beside the fields of a policy.
func Fields() []string {
	return []string{"listen", "servers", "model", "intent", "holds", "notify", "policy", "history"}
}

// Load reads a configuration file. Problems of its contents are a document.Errors.
func Load(path string) (Config, error) {
	cfg := Default()
	cfg.Path = path
	doc, err := open(path)
	if err != nil {
		return cfg, err
	}
	for _, f := range doc.Root().Fields(append(Fields(), rules.Fields()...)...) {
		switch f.Name {
		case "listen":
			cfg.Listen = f.Value.Text()
			if err := CheckListen(cfg.Listen); err != nil {
				f.Value.Fail("", "%v", err)
			}
		case "servers":
			for _, s := range f.Value.Fields() {
				cfg.Servers = append(cfg.Servers, server(s))
			}
		case "model":
			model(cfg.Model, f.Value)
		case "intent":
			intent(&cfg.Intent, f.Value)
		case "holds":
			holds(&cfg.Holds, f.Value)
		case "notify":
			notified(&cfg.Notify, f.Value, path)
		case "policy":
			for _, n := range f.Value.List(true) {
				cfg.Policies = append(cfg.Policies, relative(path, n.Text()))
			}
		case "history":
			history(&cfg.History, f.Value)
		}
	}
	return cfg, doc.Err()
}

func open(path string) (*document.Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	return document.Parse(display(path), string(text))
}

// CheckListen reports whether addr is HOST:PORT.
func CheckListen(addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("%q is no address such as %s", addr, DefaultListen)
	}
	return nil
}

// IsLoopback reports whether only this machine can connect to addr.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// CheckName reports whether name can be the name of a server: it stands in URLs and in policies.
func CheckName(name string) error {
	if !serverName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a server: use letters, digits, dashes, dots and underscores", name)
	}
	return nil
}

func server(f document.Field) Server {
	s := Server{Name: f.Name, Headers: http.Header{}}
	var stated document.Node
	if err := CheckName(f.Name); err != nil {
		f.FailKey("", "%v", err)
	}
	for _, g := range f.Value.Fields("url", "transport", "headers", "command", "env") {
		switch g.Name {
		case "url":
			if text := expand(g.Value); text != "" {
				u, err := ParseURL(text)
				if err != nil {
					g.Value.Fail("", "%v", err)
				}
				s.URL = u
			}
		case "transport":
			s.Transport = g.Value.OneOf(proxy.TransportHTTP, proxy.TransportSSE, proxy.TransportWS)
			stated = g.Value
		case "headers":
			for _, h := range g.Value.Fields() {
				s.Headers.Set(h.Name, expand(h.Value))
			}
		case "command":
			for _, word := range g.Value.List(false) {
				s.Command = append(s.Command, expand(word))
			}
		case "env":
			for _, e := range g.Value.Fields() {
				s.Env = append(s.Env, e.Name+"="+expand(e.Value))
			}
		}
	}
	if (s.URL == nil) == (len(s.Command) == 0) {
		f.FailKey("", "server %s: want either url or command", f.Name)
	}
	if s.URL != nil {
		kind, err := TransportOf(s.URL, s.Transport)
		if err != nil {
			stated.Fail("", "%v", err)
		}
		s.Transport = kind
	} else if s.Transport != "" {
		stated.Fail("", "transport is for a server with a url: one with a command speaks stdio")
	}
	return s
}

func model(apis map[string]*url.URL, n document.Node) {
	for _, f := range n.Fields(slices.Sorted(maps.Keys(models))...) {
		u, err := ParseURL(expand(f.Value))
		if err == nil && u.Scheme != "http" && u.Scheme != "https" {
			err = fmt.Errorf("%q is no http or https URL", u)
		}
		if err == nil && (u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
			err = fmt.Errorf("the URL at %s has more than a host and a path: keys are for the client to send", u.Host)
		}
		if err != nil {
			f.Value.Fail("", "%v", err)
			continue
		}
		apis[f.Name] = u
	}
}

var argumentName = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// intent reads which servers' calls are to be explained. An argument of another name could be a tool's own, and would have to
// be taken out of calls for as long as any client remembers it.
func intent(to *Intent, n document.Node) {
	for _, f := range n.Fields("servers", "argument") {
		switch f.Name {
		case "servers":
			for _, s := range f.Value.List(true) {
				name := s.Text()
				if err := CheckName(name); err != nil && name != "*" {
					s.Fail(`"*" is every server`, "%v", err)
				}
				to.Servers = append(to.Servers, name)
			}
		case "argument":
			if to.Argument = f.Value.Text(); !wire.IsIntent(to.Argument) || !argumentName.MatchString(to.Argument) {
				f.Value.Fail("", "%q cannot be the argument: want %s, or %[2]s_ and more lower-case letters, digits and underscores", to.Argument, wire.Intent)
			}
		}
	}
}

// holds reads how calls on hold are decided.
func holds(to *Holds, n document.Node) {
	for _, f := range n.Fields("ask_in_client") {
		for _, c := range f.Value.List(true) {
			name := c.Text()
			if strings.TrimSpace(name) != name || name == "" || name != "*" && strings.Contains(name, "*") {
				c.Fail(`umpire sessions has the names of clients; "*" is every client`, "%q cannot be the name of a client", name)
			}
			to.AskInClient = append(to.AskInClient, name)
		}
	}
}

// TransportOf returns what the server at u speaks: what is stated, if that can be, else what the URL says. A server of
// HTTP+SSE cannot be told from one of Streamable HTTP by its URL, and has to be stated.
func TransportOf(u *url.URL, stated string) (string, error) {
	web := u.Scheme == "ws" || u.Scheme == "wss"
	switch {
	case stated == "" && web:
		return proxy.TransportWS, nil
	case stated == "":
		return proxy.TransportHTTP, nil
	case web != (stated == proxy.TransportWS):
		return "", fmt.Errorf("a %s URL does not go with transport: %s", u.Scheme, stated)
	}
	return stated, nil
}

// Header reads a header such as "Name: value", with ${NAME} in it replaced from the environment.
func Header(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	if !ok || !httpguts.ValidHeaderFieldName(name) {
		return "", "", fmt.Errorf("%q is no header such as 'Authorization: Bearer ${TOKEN}'", name)
	}
	value = variable.ReplaceAllStringFunc(strings.TrimSpace(value), func(m string) string {
		v, ok := os.LookupEnv(m[2 : len(m)-1])
		if !ok {
			err = fmt.Errorf("header %s: the environment has no variable %s", name, m[2:len(m)-1])
		}
		return v
	})
	if err == nil && !httpguts.ValidHeaderFieldValue(value) {
		err = fmt.Errorf("header %s: its value has characters that no header can have", name)
	}
	return name, value, err
}

// ParseURL reads the URL of a server.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
		return nil, fmt.Errorf("%q is no http, https, ws or wss URL", text)
	}
	return u, nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand reads text with ${NAME} replaced from the environment.
func expand(n document.Node) string {
	return variable.ReplaceAllStringFunc(n.Scalar(), func(m string) string {
		name := m[2 : len(m)-1]
		value, ok := os.LookupEnv(name)
		if !ok {
			n.Fail("set it where umpire serve is started", "the environment has no variable %s", name)
		}
		return value
	})
}

func history(h *History, n document.Node) {
	for _, f := range n.Fields("sync", "keep", "max_size", "max_value", "redact", "conversation") {
		switch f.Name {
		case "sync":
			h.Async = f.Value.OneOf("commit", "async") == "async"
		case "keep":
			h.Keep = f.Value.Duration(time.Hour, 100*365*24*time.Hour)
		case "max_size":
			h.MaxSize = f.Value.Size(16<<20, 1<<50)
		case "max_value":
			h.MaxValue = int(f.Value.Size(wire.MinMaxValue, wire.MaxSize))
		case "conversation":
			h.Conversation = conversation.Keep(f.Value.OneOf(
				string(conversation.KeepText), string(conversation.KeepDigest), string(conversation.KeepOff)))
		case "redact":
			h.Redact = []string{}
			for _, r := range f.Value.List(true) {
				h.Redact = append(h.Redact, r.Text())
			}
			check := wire.CleanerConfig{Redact: h.Redact, MaxValue: wire.MinMaxValue, Secret: []byte("-")}
			if err := check.Validate(); err != nil {
				f.Value.Fail("", "%v", err)
			}
		}
	}
}

// Sources reads the policy: its files and what stands in the configuration itself, or the starter policy.
func (c Config) Sources() ([]event.Source, error) {
	var sources []event.Source
	for _, path := range c.Policies {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("the policy cannot be read: %w", err)
		}
		sources = append(sources, event.Source{Name: display(path), Text: string(text)})
	}
	if c.Path != "" {
		doc, err := open(c.Path)
		if err != nil {
			return nil, err
		}
		if text, ok := doc.Only(rules.Fields()...); ok {
			sources = append(sources, event.Source{Name: display(c.Path), Text: text})
		}
	}
	if len(sources) == 0 {
		sources = append(sources, policies.Starter())
	}
	return sources, nil
}

// Files returns the files from which the policy comes.
func (c Config) Files() []string {
	files := append([]string(nil), c.Policies...)
	if c.Path != "" {
		files = append(files, c.Path)
	}
	return files
}

// Env describes this machine to a policy.
func Env() event.Env {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return event.Env{OS: runtime.GOOS, Home: home}
}

func relative(config, path string) string {
	switch {
	case path == "":
		return ""
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(config), path)
}

// display shortens a path below the working directory for messages.
func display(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}
