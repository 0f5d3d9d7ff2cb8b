package expr

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// Call is a call as conditions see it. It reads the arguments lazily: a field that no condition mentions is never
// decoded. A Call is good for one event and one goroutine.
type Call struct {
	*event.Call
	Session string
	Tool    Tool
	args    *object
	hidden  map[string]string // path of a value that is not stored in full -> why
	looked  error             // a condition looked at such a value: the first that did
}

// Tool is what a policy says about a tool.
type Tool struct {
	Name    string
	Effects []string // what the tool can do: "read", "write", "egress", "money" …
	Results string   // "trusted" or "untrusted"
}

// NewCall prepares the call in e, whose body must be a Call.
func NewCall(e event.Event, tool Tool) *Call {
	body := e.Body.(*event.Call)
	c := &Call{Call: body, Session: e.Session, Tool: tool}
	c.args = &object{call: c, json: gjson.ParseBytes(body.Args), path: "args"}
	c.hidden = hiddenPaths(body.Findings)
	return c
}

// hiddenPaths returns the kinds of findings by their path; nil if there are none.
func hiddenPaths(findings []event.Finding) map[string]string {
	if len(findings) == 0 {
		return nil
	}
	paths := make(map[string]string, len(findings))
	for _, f := range findings {
		paths[f.Path] = f.Kind
	}
	return paths
}

// Truncated returns the path of an argument that is not stored in full, if there is one.
func (c *Call) Truncated() (path string, ok bool) {
	for _, f := range c.Findings {
		if f.Kind == event.Truncated {
			return f.Path, true
		}
	}
	return "", false
}

// ResolveName implements cel's Activation.
func (c *Call) ResolveName(name string) (any, bool) {
	switch name {
	case "args":
		if why, ok := c.hidden["args"]; ok {
			return hidden{call: c, path: "args", why: why}, true
		}
		return c.args, true
	case "tool":
		return &toolVal{tool: &c.Tool}, true
	case "server":
		return types.String(c.Server), true
	case "agent":
		return types.String(c.Agent), true
	case "principal":
		return types.String(c.Principal), true
	case "session":
		return types.String(c.Session), true
	case "client":
		return &clientVal{peer: &c.Peer}, true
	}
	return nil, false
}

// Parent implements cel's Activation.
func (c *Call) Parent() cel.Activation { return nil }

// ErrAmbiguousKey says that an object has two keys, or a key and a question for another, that differ in case alone.
// Some servers take them for the same, so no rule may rely on either.
var ErrAmbiguousKey = errors.New("differ in case alone, and servers disagree whether they are the same")

// members is a JSON object taken apart, in the order of the document.
type members []member

type member struct {
	key   string
	value gjson.Result
}

func membersOf(obj gjson.Result) members {
	m := make(members, 0, 8)
	obj.ForEach(func(k, v gjson.Result) bool {
		m = append(m, member{k.Str, v})
		return true
	})
	return m
}

// find returns the value under key. It is an error if another key differs from key in case alone.
func (m members) find(key string) (value gjson.Result, found bool, err error) {
	for _, x := range m {
		switch {
		case x.key == key:
			value, found = x.value, true
		case len(x.key) <= 3*len(key) && len(key) <= 3*len(x.key) && strings.EqualFold(x.key, key):
			return gjson.Result{}, false, fmt.Errorf("%q and %q %w", key, x.key, ErrAmbiguousKey)
		}
	}
	return value, found, nil
}
