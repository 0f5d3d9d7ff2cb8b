package rules

import "github.com/umpire-dev/umpire/rules/event"

// About is what a policy says about a tool, whatever it is called with.
type About struct {
	Effects []string
	Named   bool    // an entry of tools: says so; else it is what counts for tools that nobody names
	Rules   []Cover // that judge what it is called for, in order
	Denied  bool    // none of its calls can pass
}

// Cover is a rule that is about a tool.
type Cover struct {
	Rule     string       `json:"rule"`
	Do       event.Action `json:"do"`
	Observed bool         `json:"observed,omitempty"` // it does nothing but say what it would have done
}

// Stops reports whether the rule can keep a call from its server.
func (c Cover) Stops() bool { return !c.Observed && !c.Do.Passes() }

// About returns what p says about a tool.
func (p *Policy) About(server, tool string) About {
	a := About{Effects: p.tool(server, tool).Effects, Denied: p.Hides(server, tool)}
	for _, t := range p.tools {
		a.Named = a.Named || t.match(server, tool)
	}
	for _, i := range p.index.find(nil, server, tool) {
		r := p.rules[i]
		if r.doubts != nil { // it is about what the tool says, not about what it does
			continue
		}
		a.Rules = append(a.Rules, Cover{Rule: r.name, Do: r.do, Observed: r.observe || p.observe})
	}
	return a
}

// Rule is a rule of a policy, for whoever shows the policy.
type Rule struct {
	Cover
	Kind string   `json:"kind"` // what it asks: "rate", "sequence", "require", "shape", "catalog", "baseline", "where", or "" for every call
	On   []string `json:"on"`
	File string   `json:"file"`
	Line int      `json:"line"` // where it begins
}

// Rules returns the rules of p, in order.
func (p *Policy) Rules() []Rule {
	out := make([]Rule, len(p.rules))
	for i := range p.rules {
		out[i] = p.describe(i)
	}
	return out
}

func (p *Policy) describe(i int) Rule {
	r := p.rules[i]
	at := r.at.Error("", "")
	out := Rule{Cover: Cover{Rule: r.name, Do: r.do, Observed: r.observe || p.observe}, Kind: r.kind(), File: at.File, Line: at.Line}
	for _, g := range r.on {
		out.On = append(out.On, g.String())
	}
	return out
}

func (r *rule) kind() string {
	switch {
	case r.rate != nil:
		return "rate"
	case r.steps != nil && r.steps.require:
		return "require"
	case r.steps != nil:
		return "sequence"
	case r.schema != nil || r.declared:
		return "shape"
	case r.doubts != nil:
		return "catalog"
	case r.strange != nil:
		return "baseline"
	case r.where != nil:
		return "where"
	}
	return ""
}
