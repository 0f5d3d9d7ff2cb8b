// Package rules decides. A Policy is compiled from YAML; a State is the fold of history under a Policy; Decide answers
// for one call what the policy makes of it, given that history.
//
// Everything in this package and below it is pure: no clock, no file, no network, no randomness and no globals that
// change. Time is Event.At. The same events give the same verdicts, live, on replay and on every architecture.
package rules

import (
	"crypto/sha256"
	_ "embed" // the starter policy
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// Policy is a compiled policy. It does not change and can be shared.
type Policy struct {
	digest  string
	sources []event.Source
	env     event.Env
	rules   []*rule
	index   *index // of rules
	tools   []toolSpec
	allow   []glob
	allowed bool // an allow list was given
	observe bool // mode: observe for the whole policy
	trails  bool // a rule asks where values came from, or what was said
	habits  bool // a rule asks how strange calls are
}

type toolSpec struct {
	glob
	effects []string
	results string
	at      document.Node
}

//go:embed policy.schema.json
var schemaText string

// JSONSchema returns the JSON Schema of policy files, for editors.
func JSONSchema() string { return schemaText }

var fields = []string{"mode", "tools", "allow", "rules"}

// Fields returns the top-level fields of a policy file. A configuration may hold them too.
func Fields() []string { return append([]string(nil), fields...) }

// Compile compiles one policy from one or more files; rule names must be unique across them. The error is a
// document.Errors with every problem of every file.
func Compile(sources []event.Source, env event.Env) (*Policy, error) {
	p := &Policy{sources: sources, env: env, index: newIndex(), digest: Digest(sources, env)}
	conditions, err := expr.New(env)
	if err != nil {
		return nil, err
	}
	var problems document.Errors
	for _, src := range sources {
		doc, err := document.Parse(src.Name, src.Text)
		if err == nil {
			c := compiler{policy: p, conditions: conditions}
			c.file(doc.Root())
			err = doc.Err()
		}
		if found, ok := err.(document.Errors); ok { //nolint:errorlint // both return it unwrapped
			problems = append(problems, found...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	for i, r := range p.rules {
		p.index.add(i, r.on)
		p.trails = p.trails || r.asksTrail()
		p.habits = p.habits || r.asksBaseline()
	}
	return p, nil
}

// Digest names a policy: hex SHA-256 over the texts of its sources, whatever their names, and its environment.
func Digest(sources []event.Source, env event.Env) string {
	nameless := make([]event.Source, len(sources))
	for i, s := range sources {
		nameless[i].Text = s.Text
	}
	text, err := json.Marshal(event.Loaded{Sources: nameless, Env: env})
	if err != nil {
		panic("rules: " + err.Error()) // strings always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Digest returns the name of p.
func (p *Policy) Digest() string { return p.digest }

// Loaded returns the event that says that p came into force.
func (p *Policy) Loaded() *event.Loaded {
	return &event.Loaded{Digest: p.digest, Sources: p.sources, Env: p.env}
}

// Horizon is the longest time for which something that happened can still matter to a verdict.
func (p *Policy) Horizon() time.Duration {
	var longest time.Duration
	holds := false
	for _, r := range p.rules {
		longest = max(longest, r.lookback())
		holds = holds || r.do == event.Hold
	}
	if longest > 0 || holds {
		longest += HoldFor // what was held counts from its approval, and its call has to be there still
	}
	return longest
}

// lookback is the longest time for which something that happened can still matter to r.
func (r *rule) lookback() time.Duration {
	back := r.windows()
	if r.asksTrail() {
		back = max(back, 3*trailEpoch)
	}
	if r.asksBaseline() {
		back = max(back, baseline.Horizon)
	}
	return back
}

// asksTrail reports whether r asks where values came from, or what was said.
func (r *rule) asksTrail() bool {
	return r.where != nil && r.where.AsksTrail() || r.steps != nil && r.steps.last != nil && r.steps.last.AsksTrail()
}

// windows is the longest time for which something stays in the windows of r.
func (r *rule) windows() time.Duration {
	switch {
	case r.rate != nil:
		return r.rate.per
	case r.steps != nil && r.steps.results():
		return r.steps.pattern.Within + answerFor // the result is a step, and its call has to be there still
	case r.steps != nil:
		return r.steps.pattern.Within
	}
	return 0
}

// Hides reports whether a tool is to be left out of tools/list, because p denies it whatever its arguments and
// whatever happened before.
func (p *Policy) Hides(server, tool string) bool {
	if p.observe {
		return false
	}
	if p.allowed && !p.allows(server, tool) {
		return true
	}
	for _, i := range p.index.find(nil, server, tool) {
		if r := p.rules[i]; r.outright() && r.do == event.Deny && !r.observe {
			return true
		}
	}
	return false
}

func (p *Policy) allows(server, tool string) bool {
	for _, g := range p.allow {
		if g.match(server, tool) {
			return true
		}
	}
	return false
}

// tool returns what p says about a tool; the first entry that matches counts. Tools that no entry names count as able
// to write and to reach out.
func (p *Policy) tool(server, name string) expr.Tool {
	for _, t := range p.tools {
		if t.match(server, name) {
			return expr.Tool{Name: name, Effects: t.effects, Results: t.results, Named: true}
		}
	}
	return expr.Tool{Name: name, Effects: unnamedEffects, Results: "untrusted"}
}

// effects returns what p says that a tool can do.
func (p *Policy) effects(server, name string) []string { return p.tool(server, name).Effects }

var unnamedEffects = []string{"write", "egress"}

// compiler compiles the files of a policy.
type compiler struct {
	policy     *Policy
	conditions *expr.Env
}

func (c *compiler) file(root document.Node) {
	for _, f := range root.Fields(fields...) {
		switch f.Name {
		case "mode":
			if f.Value.OneOf("enforce", "observe") == "observe" {
				c.policy.observe = true
			}
		case "tools":
			for _, n := range f.Value.List(false) {
				c.tool(n)
			}
		case "allow":
			c.policy.allowed = true
			for _, n := range f.Value.List(true) {
				c.policy.allow = append(c.policy.allow, c.glob(n))
			}
		case "rules":
			for _, n := range f.Value.List(false) {
				c.rule(n)
			}
		}
	}
}

func (c *compiler) glob(n document.Node) glob {
	text := n.Text()
	g, err := parseGlob(text)
	if err != nil && text != "" {
		n.Fail("", "%q: %v", text, err)
	}
	return g
}

func (c *compiler) tool(n document.Node) {
	t := toolSpec{results: "untrusted", at: n}
	for _, f := range n.Fields("match", "effects", "results") {
		switch f.Name {
		case "match":
			t.glob = c.glob(f.Value)
		case "effects":
			for _, e := range f.Value.List(true) {
				word := e.Text()
				if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_") != "" {
					e.Fail("read, write, money and egress are common ones", "%q: an effect is a lower-case word", word)
				}
				t.effects = append(t.effects, word)
			}
		case "results":
			t.results = f.Value.OneOf("trusted", "untrusted")
		}
	}
	if t.server == "" {
		n.Fail("", "want match: server/tool")
	}
	c.policy.tools = append(c.policy.tools, t)
}

// ordinal formats n: 1st, 2nd, 3rd, 4th and so on.
func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
