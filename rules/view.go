package rules

import (
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
)

// view is the call that is being judged, with what is known of it whatever happened before: which rules are about it, and
// what it would add to their windows. Decide and Apply look at the same call one after the other; what the one has found
// out, the other need not. It is scratch space: a State knows the same without its view.
type view struct {
	policy *Policy
	seq    uint64
	call   expr.Call // its Call is nil while there is none
	rules  []int     // that are about the tool, in order
	rates  []rated   // of the same index as rules
	key    []byte    // scratch
	args   string    // digest of its arguments, once somebody has asked for it
}

// rated is the call under one rate rule.
type rated struct {
	known   bool // the rest has been found out
	applies bool // its condition holds, or cannot be decided
	occurrence
	amount apd.Decimal // where that of the occurrence is
	err    error       // why there is no occurrence
}

// look makes v the view of the call in e.
func (v *view) look(e event.Event) {
	body := e.Body.(*event.Call)
	if v.call.Call == body && v.seq == e.Seq && v.call.Session == e.Session {
		return
	}
	v.seq, v.args = e.Seq, ""
	v.rules = v.policy.index.find(v.rules[:0], body.Server, body.Tool)
	if cap(v.rates) < len(v.rules) {
		v.rates = make([]rated, len(v.rules))
	}
	v.rates = v.rates[:len(v.rules)]
	clear(v.rates)
	v.call.Reset(e, v.policy.tool(body.Server, body.Tool))
}

// rate returns the call under the rule at index n of v.rules, which counts in w. What is kept of it has to be a copy.
func (v *view) rate(n int, w *rate.Window) *rated {
	x := &v.rates[n]
	if x.known {
		return x
	}
	r := v.policy.rules[v.rules[n]]
	if x.applies, _ = r.applies(&v.call); x.applies {
		v.key, x.err = appendKey(v.key[:0], r.rate.by, &v.call)
		if x.err == nil {
			x.key = w.Key(v.key)
			x.err = r.rate.measure(&v.call, x)
		}
	}
	x.known = true
	return x
}

// kept returns a copy of the occurrence that shares nothing with the call.
func (x *rated) kept() occurrence {
	o := x.occurrence
	if o.entry.Amount != nil {
		o.entry.Amount = new(apd.Decimal).Set(o.entry.Amount)
	}
	o.entry.Value = strings.Clone(o.entry.Value)
	return o
}
