package rules

import (
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// keyless returns a warning for every step of rule i by which the rule fails open: a call without an argument that by:
// names has no key, is remembered nowhere, and so escapes the rule. The call being judged never does, since the rule fires
// on it; nor does a call that another rule denies for want of the argument, or one that the condition does not mean.
func (p *Policy) keyless(i int) (out document.Errors) {
	r := p.rules[i]
	for slot := range r.steps.pattern.Slots() {
		st := r.steps.slot(slot)
		if st == nil {
			continue
		}
		// What require: waits for and what unless: forbids is missed then, and the rule fires. What until: ends goes on.
		opens := slot < len(r.steps.steps) && !r.steps.require || slot == r.steps.pattern.UntilSlot() && r.steps.require
		for _, k := range r.steps.by {
			switch {
			case st.kind == stepSignal && k.name != "session" && k.name != "server",
				st.kind == stepTurn && k.name != "session" && k.name != "agent" && k.name != "principal":
				out = append(out, st.at.Error("", "rule %s waits for something that never happens: a %s has no %s, which the rule goes by", r.name, st.kind, k))
			case st.kind == stepSignal, st.kind == stepTurn:
			case !opens, k.name != "", st.where != nil && st.where.Guards(st.name, k.arg):
			default:
				if i := slices.IndexFunc(st.on, func(g glob) bool { return !p.demands(k.arg, g) }); i >= 0 {
					out = append(out, st.at.Error(fmt.Sprintf("let a rule with shape require it, and say of which type it is, or begin the step's where with has(%s) &&", k),
						"rule %s overlooks every %s without %s: it has no key, so it is no step", r.name, st.on[i], k))
				}
			}
		}
	}
	return out
}

// demands reports whether every call that g matches and that lacks an argument is stopped, or held for a person. A shape
// that a server declares may demand it.
func (p *Policy) demands(arg expr.ArgPath, g glob) bool {
	return !p.observe && slices.ContainsFunc(p.rules, func(r *rule) bool {
		if r.do != event.Deny && r.do != event.Hold || r.observe || r.where != nil || !covers(r.on, []glob{g}) {
			return false
		}
		goesBy := func(by []byKey) bool { return slices.ContainsFunc(by, byKey{arg: arg}.equal) }
		switch {
		case r.doubts != nil:
			return false
		case r.declared:
			return true
		case r.schema != nil:
			keys, ok := arg.Keys()
			return ok && requires(gjson.ParseBytes(r.shapeText()), keys)
		case r.rate != nil:
			return goesBy(r.rate.by) || r.rate.sum.String() == arg.String()
		case r.steps != nil:
			return goesBy(r.steps.by) && r.steps.last == nil
		}
		return true // it stops all of them
	})
}

// shapeText returns the schema of r as JSON.
func (r *rule) shapeText() []byte {
	for _, f := range r.at.Fields() {
		if f.Name == "shape" {
			return f.Value.JSON()
		}
	}
	return nil
}

// requires reports whether a schema wants a text, number or boolean under the given keys: null is as good as missing. It
// may say no when the answer is yes.
func requires(schema gjson.Result, keys []string) bool {
	key := keys[0]
	if !slices.ContainsFunc(schema.Get("required").Array(), func(name gjson.Result) bool { return name.Str == key }) {
		return false
	}
	value := schema.Get("properties").Map()[key]
	if len(keys) > 1 {
		return value.Get("type").Str == "object" && requires(value, keys[1:])
	}
	types, words := value.Get("type").Array(), value.Get("enum").Array() // a type that stands alone is a list, too
	return len(types)+len(words) > 0 && !slices.ContainsFunc(types, func(kind gjson.Result) bool {
		return !slices.Contains([]string{"string", "number", "integer", "boolean"}, kind.Str)
	}) && !slices.ContainsFunc(words, func(word gjson.Result) bool { return word.Type == gjson.Null || word.Type == gjson.JSON })
}
