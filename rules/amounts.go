package rules

import (
	"slices"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
)

// Amount is an argument of a call that rules sum: money, rows.
type Amount struct {
	Path  string // "args.amount"
	Value *apd.Decimal
}

// Amounts returns the arguments of the call in e that rules of p about its tool sum, whatever their conditions. What is
// missing or cannot be summed is left out.
func (p *Policy) Amounts(e event.Event) (out []Amount) {
	body := e.Body.(*event.Call)
	var call *expr.Call
	for _, i := range p.index.find(nil, body.Server, body.Tool) {
		spec := p.rules[i].rate
		if spec == nil || spec.limit == nil {
			continue
		}
		a := Amount{Path: spec.sum.String(), Value: new(apd.Decimal)}
		if slices.ContainsFunc(out, func(other Amount) bool { return other.Path == a.Path }) {
			continue
		}
		if call == nil {
			call = expr.NewCall(e, p.tool(body.Server, body.Tool))
		}
		if spec.amount(call, a.Value) == nil {
			out = append(out, a)
		}
	}
	return out
}

// AddAmount adds x to the sum, exactly.
func AddAmount(sum, x *apd.Decimal) { rate.Add(sum, sum, x) }

// FormatAmount formats an amount without exponent and needless zeros.
func FormatAmount(d *apd.Decimal) string { return plain(d) }
