// Package expr evaluates the conditions of rules: CEL over a call.
//
// A condition that cannot be decided (a missing argument, a value of another type, a path that can be read in two
// ways) is an error, and callers take an error for "yes": the rule fails towards its action.
package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/umpire-dev/umpire/rules/event"
)

// costLimit bounds the work of a condition that loops over arguments, in CEL's units: about 50 ms.
const costLimit = 1_000_000

// Env compiles conditions. It can be shared; compiled Programs can, too.
type Env struct {
	cel   *cel.Env
	steps []string // that conditions may ask about
}

// New returns an environment in which "~" and the spelling of paths are those of env.
func New(env event.Env) (*Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	options := append([]cel.EnvOption{
		cel.CustomTypeProvider(provider{registry}),
		cel.Variable("args", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("tool", toolType),
		cel.Variable("server", cel.StringType),
		cel.Variable("agent", cel.StringType),
		cel.Variable("principal", cel.StringType),
		cel.Variable("session", cel.StringType),
		cel.Variable("client", clientType),
		cel.Variable("call", callType),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableErrorOnBadPresenceTest(true),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(3)),
		ext.Strings(),
		flowsFunction(),
	}, append(append(functions(env), trailFunctions()...), baselineFunctions()...)...)
	e, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	return &Env{cel: e}, nil
}

// Program is a compiled condition.
type Program struct {
	source   string
	prog     cel.Program
	never    bool
	bare     []string
	asksFor  []string // what it asks has() about: "args.a.b", "step.args.a"
	steps    []string // that it asks about
	trails   bool     // it asks where values came from, or what was said
	compares bool     // it asks how strange the call is
	results  []string // those of whose results it asks for the content
	env      *Env     // that compiled it
	about    bool     // see Part
}

// Issue is what is wrong with a condition, and where.
type Issue struct {
	Line, Column int // both from 1, within the condition
	Msg          string
}

// Error implements error.
func (i *Issue) Error() string { return i.Msg }

// Compile compiles a condition, which must be a bool. The error is an *Issue.
func (e *Env) Compile(source string) (*Program, error) {
	checked, issues := e.cel.Compile(source)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, &Issue{Line: max(first.Location.Line(), 1), Column: first.Location.Column() + 1, Msg: tidy(first.Message)}
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, &Issue{Line: 1, Column: 1, Msg: fmt.Sprintf("the condition is a %s, not a bool", t)}
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops(checked) {
		options = append(options, cel.CostLimit(costLimit))
	}
	prog, err := e.cel.Program(checked, options...)
	if err != nil {
		return nil, &Issue{Line: 1, Column: 1, Msg: tidy(err.Error())}
	}
	p := &Program{source: source, prog: prog, bare: bareArguments(checked), asksFor: presence(checked), env: e, about: isAbout(checked)}
	p.steps, p.results = asked(checked, e.steps)
	p.trails, p.compares = asksTrail(checked), asksBaseline(checked)
	p.never, err = e.isFalse(source)
	return p, err
}

// String returns the condition as written.
func (p *Program) String() string { return p.source }

// Never reports whether the condition is false whatever the call.
func (p *Program) Never() bool { return p.never }

// Unguarded returns the top-level arguments that the condition reads and never asks has() about: a call without one of
// them cannot be decided.
func (p *Program) Unguarded() []string { return p.bare }

// Guards reports whether the condition asks has() about an argument, of its own call or of the named step: then it says
// itself what becomes of a call without.
func (p *Program) Guards(step string, arg ArgPath) bool {
	keys, ok := arg.Keys()
	path := "args." + strings.Join(keys, ".")
	return ok && (slices.Contains(p.asksFor, path) || slices.Contains(p.asksFor, step+"."+path))
}

// Eval evaluates the condition on c.
func (p *Program) Eval(c *Call) (match bool, err error) { return p.eval(c, c) }

func (p *Program) eval(c *Call, names cel.Activation) (match bool, err error) {
	c.looked, c.traced, c.answers = nil, c.traced[:0], c.answers[:0]
	out, _, err := p.prog.Eval(names)
	if c.looked != nil {
		return false, c.looked
	}
	if err != nil {
		why := tidy(err.Error())
		if strings.HasPrefix(why, "no such overload") {
			why = "a value is not of the type that the condition needs"
			for _, f := range c.Findings {
				why += fmt.Sprintf("; %s is %s in the history", f.Path, f.Kind)
			}
		}
		return false, errors.New(why)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the condition is a %s, not a bool", out.Type().TypeName())
	}
	return bool(b), nil
}

// loops reports whether a condition has a comprehension (all, exists, map …), whose work grows with the arguments.
func loops(checked *cel.Ast) bool {
	found := false
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.ComprehensionKind
	}))
	return found
}

// isFalse reports whether constant folding reduces the condition to false.
func (e *Env) isFalse(source string) (bool, error) {
	fresh, issues := e.cel.Compile(source) // the optimizer rewrites its input
	if issues.Err() != nil {
		return false, fmt.Errorf("expr: %w", issues.Err())
	}
	folding, err := cel.NewConstantFoldingOptimizer()
	if err != nil {
		return false, fmt.Errorf("expr: %w", err)
	}
	optimizer, err := cel.NewStaticOptimizer(folding)
	if err != nil {
		return false, fmt.Errorf("expr: %w", err)
	}
	folded, issues := optimizer.Optimize(e.cel, fresh)
	if issues.Err() != nil {
		return false, nil // what cannot be folded is not constant
	}
	expr := folded.NativeRep().Expr()
	return expr.Kind() == ast.LiteralKind && expr.AsLiteral() == types.False, nil
}

// bareArguments returns the x of every args.x that is read without has(args.x) anywhere in the condition.
func bareArguments(checked *cel.Ast) []string {
	var read []string
	guarded := map[string]bool{}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind {
			return
		}
		s := e.AsSelect()
		if s.Operand().Kind() != ast.IdentKind || s.Operand().AsIdent() != "args" {
			return
		}
		if s.IsTestOnly() {
			guarded[s.FieldName()] = true
		} else {
			read = append(read, s.FieldName())
		}
	}))
	out := read[:0]
	for _, name := range read {
		if !guarded[name] {
			guarded[name] = true
			out = append(out, name)
		}
	}
	return out
}

// presence returns the paths about which a condition asks has().
func presence(checked *cel.Ast) (paths []string) {
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind || !e.AsSelect().IsTestOnly() {
			return
		}
		path := ""
		for ; e.Kind() == ast.SelectKind; e = e.AsSelect().Operand() {
			path = "." + e.AsSelect().FieldName() + path
		}
		if e.Kind() == ast.IdentKind {
			paths = append(paths, e.AsIdent()+path)
		}
	}))
	return paths
}

// tidy strips from a message what CEL adds for the authors of parsers.
func tidy(msg string) string {
	msg = strings.TrimPrefix(msg, "evaluation error: ")
	msg = strings.ReplaceAll(msg, " (in container '')", "")
	msg, _, _ = strings.Cut(msg, "\n")
	msg = strings.TrimPrefix(msg, "Syntax error: ")
	if strings.Contains(msg, "'<EOF>'") {
		return "the condition ends too early"
	}
	if before, _, ok := strings.Cut(msg, " expecting {"); ok { // the list of all tokens helps nobody
		return before
	}
	return msg
}
