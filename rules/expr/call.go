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
	args    gjson.Result
	hidden  map[string]string // path of a value that is not stored in full -> why
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
	c := &Call{Call: body, Session: e.Session, Tool: tool, args: gjson.ParseBytes(body.Args)}
	for _, f := range body.Findings {
		if c.hidden == nil {
			c.hidden = map[string]string{}
		}
		c.hidden[f.Path] = f.Kind
	}
	return c
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
		return c.value(c.args, "args"), true
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

// member returns the value under key in the object obj. It is an error if a key of obj differs from key in case alone.
func member(obj gjson.Result, key string) (value gjson.Result, found bool, err error) {
	obj.ForEach(func(k, v gjson.Result) bool {
		switch {
		case k.Str == key:
			value, found = v, true
		case len(k.Str) >= len(key)/3 && strings.EqualFold(k.Str, key):
			err = fmt.Errorf("%q and %q %w", key, k.Str, ErrAmbiguousKey)
			return false
		}
		return true
	})
	return value, found, err
}
