package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
	"github.com/umpire-dev/umpire/rules/shape"
)

// Call is a call as conditions see it. It reads the arguments lazily, and once: a call whose arguments nobody mentions is
// never parsed, and a field that no condition mentions is never decoded. A Call is good for one goroutine.
type Call struct {
	*event.Call
	Session  string
	Tool     Tool
	args     object
	document map[string]any    // the arguments, decoded once something asks for all of them
	hidden   map[string]string // path of a value that is not stored in full -> why
	looked   error             // a condition looked at such a value: the first that did
	trail    Trail             // nil if nobody asks for it
	baseline Baseline          // nil if nobody asks for it
	fields   map[string]bool   // names that the tool declares; none if they are not known
	traced   []Traced          // by the condition that was evaluated last
	answers  []lineage.Answer  // to it
}

// Tool is what a policy says about a tool.
type Tool struct {
	Name    string
	Effects []string // what the tool can do: "read", "write", "egress", "money" …
	Results string   // "trusted" or "untrusted"
	Named   bool     // the policy says it of this tool; else it is what counts for tools that nobody names
}

// reads reports whether the tool is said to do nothing but read: by the effects that the policy names, or else by its name.
func (t *Tool) reads() bool {
	if !t.Named || len(t.Effects) == 0 {
		return lineage.Reads(t.Name)
	}
	return !slices.ContainsFunc(t.Effects, func(e string) bool { return e != "read" && e != "private" })
}

// holdsToken reports whether an argument has the form of a well-known secret. It is an error if the arguments are not stored.
func holdsToken(c *event.Call) (bool, error) {
	for _, f := range c.Findings {
		if f.Kind == event.Truncated && f.Path == "args" {
			return false, errors.New("the arguments are too long to be stored")
		}
	}
	return slices.ContainsFunc(c.Findings, func(f event.Finding) bool { return f.Form }), nil
}

// NewCall prepares the call in e, whose body must be a Call.
func NewCall(e event.Event, tool Tool) *Call {
	c := &Call{}
	c.Reset(e, tool)
	return c
}

// maxReused bounds the memory that Reset keeps.
const maxReused = 256

// Reset prepares the call in e in the place of the one before, whose values must not be in use any more.
func (c *Call) Reset(e event.Event, tool Tool) {
	body, list := e.Body.(*event.Call), c.args.list[:0]
	if cap(list) > maxReused {
		list = nil
	}
	*c = Call{Call: body, Session: e.Session, Tool: tool, hidden: hiddenPaths(body.Findings)}
	c.args = object{call: c, path: "args", list: list}
}

// root returns the arguments. Their text is copied when they are first asked for.
func (c *Call) root() *object {
	if c.args.json.Raw == "" {
		c.args.json = gjson.ParseBytes(c.Args)
	}
	return &c.args
}

// Document returns the arguments as a schema wants them; ok is false if they are no object. It must not be changed.
func (c *Call) Document() (args map[string]any, ok bool) {
	root := c.root()
	if c.document == nil && root.json.IsObject() {
		c.document = make(map[string]any, len(root.members()))
		for _, m := range root.members() {
			c.document[m.key] = shape.Decode(m.value)
		}
	}
	return c.document, c.document != nil
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
		return c.root(), true
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
	case trailName:
		return &trailVal{call: c}, true
	case baselineName:
		return &baselineVal{call: c}, true
	case "client":
		return &clientVal{peer: &c.Peer}, true
	case "call":
		return &callVal{call: c.Call}, true
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

// membersOf takes obj apart, in the place of what stood in m.
func membersOf(obj gjson.Result, m members) members {
	m = m[:0]
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
