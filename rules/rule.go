package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
	"github.com/umpire-dev/umpire/rules/shape"
)

// The bounds of windows. A call in flight counts as answered after defaultInFlight, if the rule does not say otherwise:
// a server that never answers must not block a key for ever.
const (
	minPer          = time.Second
	maxPer          = 90 * 24 * time.Hour
	defaultInFlight = 10 * time.Minute
)

// rule is one entry of rules:.
type rule struct {
	name     string
	on       []glob
	where    *expr.Program
	rate     *rateSpec
	schema   *shape.Schema // shape: with a schema
	declared bool          // shape: declared
	steps    *stepsSpec    // sequence: or require:
	doubts   []string      // catalog:
	strange  *strangeSpec  // baseline:
	do       event.Action
	observe  bool
	except   []exemption // of do: hold
	at       document.Node
	whereAt  document.Node

	definition string // names what the rule says but for its exceptions; empty unless there can be some
}

// rateSpec is what rate: says. One of the four measures is set.
type rateSpec struct {
	max      int          // of count and distinct; of calls in flight
	sum      expr.ArgPath // measure: the sum of this argument …
	limit    *apd.Decimal // … is at most this
	distinct expr.ArgPath // measure: different values of this argument
	inFlight bool         // measure: calls not yet answered
	per      time.Duration
	by       []byKey
	counts   counting
}

// counting says which calls count.
type counting uint8

const (
	countAllowed   counting = iota // calls that passed, whatever became of them
	countSucceeded                 // calls that passed and did not fail
	countAttempted                 // all calls, denied ones too
)

// byKey is one part of by:.
type byKey struct {
	name string // "session", "agent", "principal", "server", "tool" or empty
	arg  expr.ArgPath
}

func (k byKey) String() string {
	if k.name != "" {
		return k.name
	}
	return k.arg.String()
}

// outright reports whether r has no condition: it applies to every call of the tool.
func (r *rule) outright() bool {
	return r.where == nil && r.rate == nil && r.schema == nil && !r.declared && r.steps == nil && r.doubts == nil && r.strange == nil
}

// over formats what r is about: "billing/issue_refund" or "billing/*".
func (r *rule) over() string {
	names := make([]string, len(r.on))
	for i, g := range r.on {
		names[i] = g.String()
	}
	return strings.Join(names, " or ")
}

func (c *compiler) rule(n document.Node) {
	r := &rule{at: n}
	has := map[string]document.Node{}
	for _, f := range n.Fields("name", "on", "where", "rate", "shape", "sequence", "require", "catalog", "baseline", "by", "within", "until", "do", "mode", "except") {
		has[f.Name] = f.Value
		switch f.Name {
		case "name":
			r.name = f.Value.Scalar()
			for _, other := range c.policy.rules {
				if other.name == r.name {
					first := other.at.Error("", "")
					f.Value.Fail(fmt.Sprintf("the first stands at %s:%d", first.File, first.Line), "a second rule named %q", r.name)
				}
			}
		case "on":
			for _, g := range f.Value.List(true) {
				r.on = append(r.on, c.glob(g))
			}
		case "where":
			r.where, r.whereAt = c.condition(f.Value), f.Value
		case "rate":
			r.rate = c.rate(f.Value)
		case "shape":
			c.shape(r, f.Value)
		case "sequence", "require":
			c.steps(r, f.Value, f.Name == "require")
		case "catalog":
			for _, kind := range f.Value.List(true) {
				r.doubts = append(r.doubts, kind.OneOf(doubtKinds...))
			}
			if len(r.doubts) == 0 {
				f.Value.Fail("", "want one or more of %s", strings.Join(doubtKinds, ", "))
			}
		case "baseline":
			r.strange = c.strange(f.Value)
		case "do":
			switch f.Value.OneOf("log", "hold", "deny") {
			case "log":
				r.do = event.Log
			case "hold":
				r.do = event.Hold
			}
		case "mode":
			r.observe = f.Value.OneOf("enforce", "observe") == "observe"
		case "except":
			for _, x := range f.Value.List(false) {
				r.except = append(r.except, c.exemption(x))
			}
		}
	}
	if r.name == "" {
		n.Fail("verdicts name the rule that decided", "a rule without name")
	} else if strings.Trim(r.name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || r.name == allowRule || r.name == catalogRule {
		n.Fail("use letters, digits, dashes, dots and underscores; allow and catalog are taken", "%q cannot be the name of a rule", r.name)
	}
	c.ruleFields(r, n, has)
	c.policy.rules = append(c.policy.rules, r)
}

// ruleFields checks that the fields of a rule go together.
func (c *compiler) ruleFields(r *rule, n document.Node, has map[string]document.Node) {
	given := func(name string) bool { _, ok := has[name]; return ok }
	var kinds []string
	for _, kind := range []string{"rate", "shape", "sequence", "require", "catalog", "baseline"} {
		if given(kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) > 1 {
		n.Fail("write two rules", "%s and %s in one rule", kinds[0], kinds[1])
		return
	}
	for _, name := range []string{"by", "within", "until"} {
		if node := has[name]; given(name) && !given("sequence") && !given("require") {
			node.Fail("rate has by and per of its own", "%s is for rules with sequence or require", name)
		}
	}
	for _, name := range []string{"on", "where"} {
		if node := has[name]; given(name) && given("sequence") {
			node.Fail("write it into the last step, which is the call being judged", "%s next to sequence", name)
			return
		}
	}
	if len(r.on) == 0 && !given("sequence") {
		n.Fail(`on: "*/*" is every tool of every server`, "a rule without on")
	}
	if r.steps != nil {
		c.finishSteps(r.steps, n, has)
	}
	if node := has["except"]; given("except") && !r.exceptable() {
		node.Fail("write what the rule is not about into its where", "exceptions are from rules with do: hold, and not from those with catalog")
	}
	if r.exceptable() {
		r.definition = definition(n)
	}
}

func (c *compiler) condition(n document.Node) *expr.Program {
	return c.compileCondition(c.conditions, n, "conditions may use args, tool, server, agent, principal, session, client, baseline, path(), url(), host(), origin(), asked() and urged()")
}

// compileCondition compiles a condition; hint says which names it may use.
func (c *compiler) compileCondition(env *expr.Env, n document.Node, hint string) *expr.Program {
	source := n.Text()
	if strings.TrimSpace(source) == "" {
		n.Fail("", "an empty condition")
		return nil
	}
	prog, err := env.Compile(source)
	if issue, ok := err.(*expr.Issue); ok { //nolint:errorlint // returned unwrapped
		if !strings.Contains(issue.Msg, "undeclared") {
			hint = ""
		}
		n.FailAt(issue.Line, issue.Column, hint, "%s", issue.Msg)
	} else if err != nil {
		n.Fail("", "%v", err)
	}
	return prog
}

func (c *compiler) rate(n document.Node) *rateSpec {
	s := &rateSpec{}
	has := map[string]document.Node{}
	for _, f := range n.Fields("max", "per", "by", "sum", "distinct", "in_flight", "count") {
		has[f.Name] = f.Value
		switch f.Name {
		case "per":
			s.per = f.Value.Duration(minPer, maxPer)
		case "by":
			for _, k := range f.Value.List(true) {
				s.by = append(s.by, c.byKey(k))
			}
		case "sum":
			s.sum = c.argPath(f.Value)
		case "distinct":
			s.distinct = c.argPath(f.Value)
		case "in_flight":
			s.inFlight = true
			s.max = f.Value.Int(1, rate.MaxEntries-1)
		case "count":
			switch f.Value.OneOf("allowed", "succeeded", "attempted") {
			case "succeeded":
				s.counts = countSucceeded
			case "attempted":
				s.counts = countAttempted
			}
		}
	}
	measures := 0
	for _, m := range []string{"sum", "distinct", "in_flight"} {
		if _, ok := has[m]; ok {
			measures++
		}
	}
	limit, hasMax := has["max"]
	switch {
	case measures > 1:
		n.Fail("write one rule for each", "more than one of sum, distinct and in_flight")
	case s.inFlight && hasMax:
		n.Fail("in_flight: 3 is the limit itself", "in_flight and max")
	case s.inFlight && s.counts != countAllowed:
		n.Fail("", "in_flight counts calls that are not answered yet; count does not go with it")
	case !s.inFlight && !hasMax:
		n.Fail("max: 3 allows three", "want max")
	case s.sum.String() != "":
		s.limit = c.amount(limit)
	case hasMax:
		s.max = limit.Int(0, rate.MaxEntries-1)
	}
	if _, ok := has["per"]; !ok {
		if s.inFlight {
			s.per = defaultInFlight
		} else {
			n.Fail("per: 10s, 5m, 24h or 30d", "want per")
		}
	}
	return s
}

func (c *compiler) amount(n document.Node) *apd.Decimal {
	text := n.Number()
	if text == "" {
		return nil
	}
	d, err := rate.Amount(text)
	if err != nil {
		n.Fail("", "%v", err)
	}
	return d
}

func (c *compiler) argPath(n document.Node) expr.ArgPath {
	text := n.Text()
	if text == "" {
		return expr.ArgPath{}
	}
	p, err := expr.ParseArgPath(text)
	if err != nil {
		n.Fail("", "%v", err)
	}
	return p
}

var byNames = []string{"session", "agent", "principal", "server", "tool"}

func (c *compiler) byKey(n document.Node) byKey {
	text := n.Text()
	if strings.HasPrefix(text, "args.") || strings.HasPrefix(text, "args[") {
		return byKey{arg: c.argPath(n)}
	}
	for _, name := range byNames {
		if name == text {
			return byKey{name: name}
		}
	}
	if text != "" {
		n.Fail("by may be "+strings.Join(byNames, ", ")+" or an argument such as args.order_id", "%q is nothing to count by", text)
	}
	return byKey{}
}

func (c *compiler) shape(r *rule, n document.Node) {
	if n.IsText() {
		if n.OneOf("declared") == "declared" {
			r.declared = true
		}
		return
	}
	text := n.JSON()
	if text == nil {
		return
	}
	schema, err := shape.Compile(text)
	if err != nil {
		n.Fail("", "%v", err)
		return
	}
	r.schema = schema
}

// compileDeclared compiles the schema that a server declared; the second value says why it cannot be used.
func compileDeclared(schema []byte) (*shape.Schema, string) {
	if len(schema) == 0 {
		return nil, "the server declared no schema for it"
	}
	s, err := shape.CompileDeclared(schema)
	if err != nil {
		return nil, fmt.Sprintf("the schema that the server declared cannot be used: %v", err)
	}
	return s, ""
}
