package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/canonical"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// The bounds of exceptions that people make.
const (
	MaxExceptions = 1000 // at a time; what is beyond has no effect
	MaxExcepted   = 30 * 24 * time.Hour
	maxWith       = 16      // arguments that one asks for
	maxWithValue  = 4 << 10 // bytes of one of them
)

// exemption lets calls pass that a rule would hold. It says of which calls: what is nil or empty can be anything.
type exemption struct {
	seq    uint64 // of the Exception; 0 if it stands in the policy
	who    string // made it
	until  event.Time
	on     []glob
	caller caller
	args   string // digest of all arguments
	with   []argument
	at     document.Node // of one in the policy
}

type caller struct{ principal, agent, workspace *string }

type argument struct {
	path  expr.ArgPath
	value expr.Scalar
}

// concerns reports whether x is about the call at that time. What is not known of the call for sure is not what x asks for.
func (x *exemption) concerns(v *view, at event.Time) bool {
	c := &v.call
	is := func(want *string, have string) bool { return want == nil || *want == have }
	if at >= x.until || !is(x.caller.principal, c.Principal) || !is(x.caller.agent, c.Agent) || !is(x.caller.workspace, c.Workspace) {
		return false
	}
	if len(x.on) > 0 && !slices.ContainsFunc(x.on, func(g glob) bool { return g.match(c.Server, c.Call.Tool) }) {
		return false
	}
	for _, a := range x.with {
		if value, err := whole(c, a.path); err != nil || value != a.value {
			return false
		}
	}
	return x.args == "" || len(c.Findings) == 0 && v.digest() == x.args
}

// whole returns an argument as it was sent. It is an error if it is not there, no text, number or boolean, or not stored as it
// was sent.
func whole(c *expr.Call, path expr.ArgPath) (expr.Scalar, error) {
	value, found, err := path.Lookup(c)
	switch {
	case err != nil:
		return expr.Scalar{}, err
	case !found:
		return expr.Scalar{}, fmt.Errorf("%s is missing", path)
	}
	if hidden, why := path.Hidden(c); hidden {
		return expr.Scalar{}, fmt.Errorf("%s is %s in the history: whether another call has the same cannot be told", path, why)
	}
	return value, nil
}

// digest returns that of the arguments of the call.
func (v *view) digest() string {
	if v.args == "" {
		v.args = canonical.Digest(v.call.Args)
	}
	return v.args
}

// exception is an Exception that is not over.
type exception struct {
	exemption
	event event.Event
	rules []int // of the policy, that it is from
}

// exceptions are those that people have made and that are not over, in the order of their Seqs.
type exceptions struct {
	policy *Policy
	live   []*exception
}

// apply takes the next event.
func (x *exceptions) apply(e event.Event) {
	x.evict(e.At)
	switch b := e.Body.(type) {
	case *event.Exception:
		if one := x.read(e, b); one != nil && len(x.live) < MaxExceptions {
			x.live = append(x.live, one)
		}
	case *event.Revoked:
		x.live = slices.DeleteFunc(x.live, func(one *exception) bool { return one.seq == e.Cause })
	default: // nothing else makes or ends one
	}
}

// evict forgets those that are over.
func (x *exceptions) evict(at event.Time) {
	if len(x.live) > 0 {
		x.live = slices.DeleteFunc(x.live, func(one *exception) bool { return at >= one.until })
	}
}

// read returns the exception that an event makes; nil if it is about nothing in particular, as no person makes one.
func (x *exceptions) read(e event.Event, b *event.Exception) *exception {
	one := &exception{event: e, exemption: exemption{
		seq: e.Seq, who: b.Who, until: min(b.Expires, e.At.Add(MaxExcepted)), args: b.Args,
		caller: caller{&b.Principal, &b.Agent, &b.Workspace},
	}}
	for _, a := range b.With {
		path, err := expr.ParseArgPath(a.Path)
		value, ok := expr.ParseScalar(a.Value)
		if err != nil || !ok {
			return nil
		}
		one.with = append(one.with, argument{path, value})
	}
	if one.args == "" && len(one.with) == 0 {
		return nil
	}
	for i, r := range x.policy.rules {
		if r.exceptable() && slices.Contains(b.Rules, event.Ruling{Name: r.name, Definition: r.definition}) {
			one.rules = append(one.rules, i)
		}
	}
	return one
}

// exceptable reports whether there can be exceptions from r: it holds calls for what they are. A rule about what a tool says of
// itself is settled by accepting the tool.
func (r *rule) exceptable() bool { return r.do == event.Hold && r.doubts == nil }

// excepted returns what lets the call in s.view pass although rule i would hold it; nil if nothing does.
func (s *State) excepted(i int, at event.Time) *exemption {
	r := s.policy.rules[i]
	if !r.exceptable() {
		return nil
	}
	for k := range r.except {
		if x := &r.except[k]; x.concerns(&s.view, at) {
			return x
		}
	}
	c := s.view.call.Call
	for _, x := range s.exceptions.live {
		b := x.event.Body.(*event.Exception)
		if b.Server == c.Server && b.Tool == c.Tool && slices.Contains(x.rules, i) && x.concerns(&s.view, at) {
			return &x.exemption
		}
	}
	return nil
}

// exempted is what lets a call pass, with the rules that would hold it.
type exempted []struct {
	rules []string
	by    *exemption
}

func (list exempted) add(rule string, by *exemption) exempted {
	for i := range list {
		if x := &list[i]; x.by.seq == by.seq && x.by.until == by.until {
			x.rules = append(x.rules, rule)
			return list
		}
	}
	return append(list, struct {
		rules []string
		by    *exemption
	}{[]string{rule}, by})
}

// String says from which rules the call is excepted, by whom, and until when.
func (list exempted) String() string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "excepted from %s by %s until %s", strings.Join(x.rules, " and "), x.by.who, x.by.until.Time().Format(time.RFC3339))
		if x.by.seq != 0 {
			fmt.Fprintf(&b, ", exception #%d", x.by.seq)
		}
	}
	return b.String()
}

// Exception is an exception that a person has made and that is not over.
type Exception struct {
	Seq  uint64     `json:"exception"` // of its event
	At   event.Time `json:"at"`
	Call uint64     `json:"call"` // at which the person looked
	event.Exception
	Idle []string `json:"idle,omitempty"` // the names of its rules that are not there any more, or that say something else now
}

// Exceptions returns those that are not over at the given time, the oldest first.
func (s *State) Exceptions(at event.Time) []Exception {
	out := []Exception{}
	for _, x := range s.exceptions.live {
		if at >= x.until {
			continue
		}
		one := Exception{Seq: x.seq, At: x.event.At, Call: x.event.Cause, Exception: *x.event.Body.(*event.Exception)}
		one.Expires = x.until
		for _, r := range one.Rules {
			if !slices.ContainsFunc(x.rules, func(i int) bool { return s.policy.rules[i].name == r.Name }) {
				one.Idle = append(one.Idle, r.Name)
			}
		}
		out = append(out, one)
	}
	return out
}

// Propose returns the exception from the rules that hold a call which lets calls like it pass: by the same principal and agent
// in the same workspace, to the same tool, with the same arguments; or, if where names some of them, such as "to", "args.to" or
// "args.items[0].sku", with the same values of these. It says not who makes it and when it ends. It is an error if calls like it
// cannot be told from others, or would be held all the same.
func (s *State) Propose(call uint64, where []string) (*event.Exception, error) {
	h, ok := s.held[call]
	if !ok {
		return nil, fmt.Errorf("call #%d is not on hold", call)
	}
	c := h.call.Body.(*event.Call)
	if c.Principal == "" || c.Agent == "" {
		return nil, fmt.Errorf("call #%d cannot be remembered: its client has not said who it is", call)
	}
	x := &event.Exception{Principal: c.Principal, Agent: c.Agent, Workspace: c.Workspace, Server: c.Server, Tool: c.Tool}
	if err := s.rulings(x, h.verdict); err != nil {
		return nil, fmt.Errorf("call #%d cannot be remembered: %w", call, err)
	}
	s.view.look(h.call)
	defer func() { s.view.call.Call = nil }() // it knows nothing of what was said
	if err := s.bind(x, where); err != nil {
		return nil, fmt.Errorf("call #%d cannot be remembered: %w", call, err)
	}
	return x, nil
}

// rulings adds the rules that hold a call.
func (s *State) rulings(x *event.Exception, v *event.Verdict) error {
	holds := []string{v.Rule}
	for _, m := range v.Also {
		if m.Action == event.Hold && !m.Observed && !m.Excepted {
			holds = append(holds, m.Rule)
		}
	}
	for _, name := range holds {
		i := slices.IndexFunc(s.policy.rules, func(r *rule) bool { return r.name == name })
		switch {
		case i < 0 || s.policy.rules[i].doubts != nil:
			return fmt.Errorf("%s holds it for what its tool says about itself\nhint: umpire tools diff %s, then umpire tools accept", name, visible(x.Server+"/"+x.Tool))
		case !s.policy.rules[i].exceptable():
			return fmt.Errorf("rule %s does not hold calls, but cannot tell whether to %s this one", name, s.policy.rules[i].do)
		}
		x.Rules = append(x.Rules, event.Ruling{Name: name, Definition: s.policy.rules[i].definition})
	}
	return nil
}

// bind says with which arguments a call is like the one in s.view.
func (s *State) bind(x *event.Exception, where []string) error {
	c := &s.view.call
	if len(where) == 0 {
		if len(c.Findings) > 0 {
			f := c.Findings[0]
			return fmt.Errorf("%s is %s in the history, so whether another call has the same arguments cannot be told\nhint: name those that matter, such as --where order_id,amount", f.Path, f.Kind)
		}
		x.Args = s.view.digest()
		return nil
	}
	if len(where) > maxWith {
		return fmt.Errorf("%d arguments are more than %d", len(where), maxWith)
	}
	for _, name := range where {
		path, err := argumentNamed(name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(x.With, func(a event.Argument) bool { return a.Path == path.String() }) {
			continue
		}
		value, err := whole(c, path)
		if err != nil {
			return err
		}
		raw, err := value.JSON()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(raw) > maxWithValue {
			return fmt.Errorf("%s has %d bytes, and %d is the most", path, len(raw), maxWithValue)
		}
		x.With = append(x.With, event.Argument{Path: path.String(), Value: raw})
	}
	slices.SortFunc(x.With, func(a, b event.Argument) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// argumentNamed reads the path of an argument; a name alone is one of those at the top.
func argumentNamed(name string) (expr.ArgPath, error) {
	if strings.HasPrefix(name, "args.") || strings.HasPrefix(name, "args[") {
		return expr.ParseArgPath(name)
	}
	if path, err := expr.ParseArgPath("args." + name); err == nil {
		return path, nil
	}
	return expr.ParseArgPath("args[" + strconv.Quote(name) + "]")
}
