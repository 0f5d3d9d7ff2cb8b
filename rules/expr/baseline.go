package expr

import (
	"errors"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// Baseline is what the baseline in force makes of a call.
type Baseline interface {
	// Score is the share of honest calls that are less strange, in billionths, by one signal, or by all of them for "". It is an
	// error if there is nothing to compare the call with.
	Score(signal string) (share int64, err error)
	// Distinct returns how many different values of an argument ("order_id", "items[].sku") the tool was called with in the
	// session on this day, with the call.
	Distinct(path string) int64
	// Calls returns how many calls the agent has made in a span ("session", "10s", "10m", "24h"), with the call.
	Calls(span string) (int64, error)
}

// Compare sets what the baseline in force makes of the call.
func (c *Call) Compare(b Baseline) { c.baseline = b }

// AsksBaseline reports whether the condition asks how strange the call is.
func (p *Program) AsksBaseline() bool { return p.compares }

const baselineName = "baseline"

var baselineType = types.NewObjectType("umpire.Baseline")

type baselineVal struct {
	base[baselineVal]
	call *Call
}

// Type implements ref.Val.
func (*baselineVal) Type() ref.Type { return baselineType }

// Value implements ref.Val.
func (v *baselineVal) Value() any { return v }

// errNotJudged says that a condition asks about a call that is not the one being judged.
var errNotJudged = errors.New("baseline knows of the call that is judged and of no other")

func (v *baselineVal) score(signal string) (any, error) {
	if v.call.baseline == nil {
		return nil, errNotJudged
	}
	share, err := v.call.baseline.Score(signal)
	return float64(share) / baseline.Billion, err
}

// baselineFields are baseline.score, and one field for each signal: the shares of honest calls that are less strange.
func baselineFields() map[string]*types.FieldType {
	out := map[string]*types.FieldType{
		"score": field(types.DoubleType, func(v *baselineVal) (any, error) { return v.score("") }),
	}
	for _, name := range baseline.Signals() {
		out[name] = field(types.DoubleType, func(v *baselineVal) (any, error) { return v.score(name) })
	}
	return out
}

// baselineFunctions declares baseline.distinct(path) and baseline.calls(span).
func baselineFunctions() []cel.EnvOption {
	ask := func(name string, of func(Baseline, string) (int64, error)) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("umpire_baseline_"+name, []*cel.Type{baselineType, cel.StringType}, cel.IntType,
			cel.BinaryBinding(func(v, arg ref.Val) ref.Val {
				b := v.(*baselineVal).call.baseline
				if b == nil {
					return types.WrapErr(errNotJudged)
				}
				n, err := of(b, string(arg.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Int(n)
			})))
	}
	return []cel.EnvOption{
		cel.Variable(baselineName, baselineType),
		ask("distinct", func(b Baseline, path string) (int64, error) { return b.Distinct(path), nil }),
		ask("calls", func(b Baseline, span string) (int64, error) { return b.Calls(span) }),
	}
}

// asksBaseline reports whether a condition asks how strange a call is.
func asksBaseline(checked *cel.Ast) bool {
	return slices.ContainsFunc(ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), ast.KindMatcher(ast.IdentKind)),
		func(e ast.NavigableExpr) bool { return e.AsIdent() == baselineName })
}
