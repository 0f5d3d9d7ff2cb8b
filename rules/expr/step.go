package expr

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// Step is an event that conditions ask about by name: a call and what has become of it, a signal or a turn.
type Step struct {
	*Call                // of a signal or a turn, a call without arguments
	Result *event.Result // nil while there is none
	Signal *event.Signal // nil if it is none
	Turn   *event.Turn   // likewise

	content *Call   // the result's content, in the place of arguments
	val     stepVal // scratch: the step as a condition sees it
}

var errNotThere = errors.New("a step is not there yet")

// NewSignal prepares the signal in e, whose body must be a Signal.
func NewSignal(e event.Event) *Step {
	s := e.Body.(*event.Signal)
	e.Body = &event.Call{Link: s.Link, Server: s.Server, Args: []byte("{}")}
	return &Step{Call: NewCall(e, Tool{}), Signal: s}
}

// maxTurn is how many bytes of a turn's text are remembered.
const maxTurn = 64 << 10

// NewTurn prepares the turn in e, whose body must be a Turn.
func NewTurn(e event.Event) *Step {
	t := e.Body.(*event.Turn)
	short := &event.Turn{Role: t.Role, Source: t.Source, Server: t.Server, Trust: t.Trust, Text: t.Text, Size: t.Size, Peer: t.Peer, Findings: t.Findings}
	if len(t.Text) > maxTurn {
		short.Text = ""
	}
	e.Body = &event.Call{Server: t.Server, Args: []byte("{}"), Peer: t.Peer}
	return &Step{Call: NewCall(e, Tool{}), Turn: short}
}

// words returns the text of a turn. It is an error to ask for it if it is not there in full.
func words(t *event.Turn) (any, error) {
	if len(t.Findings) > 0 || t.Text == "" && t.Size > 0 {
		return nil, errors.New("the text of the turn is not known in full")
	}
	return t.Text, nil
}

// Answer notes what has become of the call. Without keep, the content is forgotten.
func (s *Step) Answer(r *event.Result, keep bool) {
	s.content = nil
	if !keep && r.Content != nil {
		short := *r
		short.Content, short.Findings = nil, nil
		r = &short
	}
	s.Result = r
}

// Bound is a Step under the name by which a condition asks for it.
type Bound struct {
	Name string
	*Step
}

// EvalWith evaluates the condition on c, with the steps that it may ask about. A step that is nil or missing is not there
// yet: the condition can be decided only if it does not depend on it.
func (p *Program) EvalWith(c *Call, steps []Bound) (match bool, err error) {
	if len(p.steps) == 0 {
		return p.Eval(c)
	}
	f := &frame{Call: c, steps: steps}
	for _, b := range steps {
		if b.Step == nil {
			continue
		}
		b.looked = nil
		if b.content != nil {
			b.content.looked = nil
		}
	}
	match, err = p.eval(c, f)
	for _, b := range steps {
		switch {
		case b.Step == nil, !slices.Contains(p.steps, b.Name):
		case b.looked != nil:
			return false, fmt.Errorf("%s: %w", b.Name, b.looked)
		case b.content != nil && b.content.looked != nil:
			return false, fmt.Errorf("%s: %w", b.Name, b.content.looked)
		}
	}
	return match, err
}

// Steps returns the names of the steps that the condition asks about.
func (p *Program) Steps() []string { return p.steps }

// AsksResult reports whether the condition asks for the content of the named step's result.
func (p *Program) AsksResult(step string) bool { return slices.Contains(p.results, step) }

// frame is a call with named steps.
type frame struct {
	*Call
	steps []Bound
}

// ResolveName implements cel's Activation.
func (f *frame) ResolveName(name string) (any, bool) {
	for _, b := range f.steps {
		if b.Name == name {
			if b.Step == nil {
				return types.WrapErr(errNotThere), true
			}
			b.val = stepVal{step: b.Step, name: name}
			return &b.val, true
		}
	}
	return f.Call.ResolveName(name)
}

// Reserved are the names that no step may have.
var Reserved = []string{"args", "tool", "server", "agent", "principal", "session", "client", "call", "path", "url", "host", "flows", "origin", "asked", "urged", "has", "in", "true", "false", "null"}

// With returns an environment in which conditions may also ask about the named steps.
func (e *Env) With(steps []string) (*Env, error) {
	var vars []cel.EnvOption
	for _, name := range steps {
		vars = append(vars, cel.Variable(name, stepType))
	}
	extended, err := e.cel.Extend(vars...)
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	return &Env{cel: extended, steps: slices.Clone(steps)}, nil
}

// asked returns which of the steps a condition asks about, and those of whose results it asks for the content.
func asked(checked *cel.Ast, steps []string) (names, results []string) {
	if len(steps) == 0 {
		return nil, nil
	}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if n := e.AsIdent(); slices.Contains(steps, n) && !slices.Contains(names, n) {
				names = append(names, n)
			}
		case ast.SelectKind:
			if s := e.AsSelect(); s.FieldName() == "result" && s.Operand().Kind() == ast.IdentKind {
				results = append(results, s.Operand().AsIdent())
			}
		}
	}))
	return names, results
}

type stepVal struct {
	base[stepVal]
	step *Step
	name string
}

// Type implements ref.Val.
func (*stepVal) Type() ref.Type { return stepType }

// Value implements ref.Val.
func (v *stepVal) Value() any { return v }

var stepType = types.NewObjectType("umpire.Step")

var stepFields = map[string]*types.FieldType{
	"args": field(cel.MapType(cel.StringType, cel.DynType), func(v *stepVal) (any, error) {
		args, _ := v.step.ResolveName("args")
		return args, nil
	}),
	"tool":     field(toolType, func(v *stepVal) (any, error) { return &toolVal{tool: &v.step.Tool}, nil }),
	"server":   field(types.StringType, func(v *stepVal) (any, error) { return v.step.Server, nil }),
	"agent":    field(types.StringType, func(v *stepVal) (any, error) { return v.step.Agent, nil }),
	"session":  field(types.StringType, func(v *stepVal) (any, error) { return v.step.Session, nil }),
	"ok":       field(types.BoolType, func(v *stepVal) (any, error) { return v.outcome() == event.OutcomeOK, nil }),
	"failed":   field(types.BoolType, func(v *stepVal) (any, error) { return v.outcome().Failed(), nil }),
	"answered": field(types.BoolType, func(v *stepVal) (any, error) { return v.outcome().Answered(), nil }),
	"result":   field(types.DynType, func(v *stepVal) (any, error) { return v.result() }),
	"signal": field(types.StringType, func(v *stepVal) (any, error) {
		if v.step.Signal == nil {
			return "", nil
		}
		return v.step.Signal.Name, nil
	}),
	"text": field(types.StringType, func(v *stepVal) (any, error) {
		switch {
		case v.step.Signal != nil:
			return v.step.Signal.Text, nil
		case v.step.Turn != nil:
			return words(v.step.Turn)
		case v.step.Result != nil:
			return v.step.Result.Text, nil
		}
		return "", nil
	}),
}

func (v *stepVal) outcome() event.Outcome {
	if v.step.Result == nil {
		return ""
	}
	return v.step.Result.Outcome
}

// result returns the content of the result; it is an error to ask for it while there is none.
func (v *stepVal) result() (any, error) {
	s := v.step
	if s.Result == nil || len(s.Result.Content) == 0 {
		return nil, fmt.Errorf("%s has no result", v.name)
	}
	if s.content == nil {
		s.content = &Call{Call: &event.Call{Findings: s.Result.Findings}, hidden: hiddenPaths(s.Result.Findings)}
		s.content.args = object{call: s.content, json: gjson.ParseBytes(s.Result.Content), path: "result"}
	}
	if why, ok := s.content.hidden["result"]; ok {
		return hidden{call: s.content, path: "result", why: why}, nil
	}
	return s.content.root(), nil
}

// flowsFunction declares flows(from, to): whether the same value stands in both, as lineage.Flows has it. Both may be objects
// and lists, whose texts and numbers are their values, and keys that say something.
func flowsFunction() cel.EnvOption {
	return cel.Function("flows", cel.Overload("flows_dyn_dyn", []*types.Type{types.DynType, types.DynType}, types.BoolType,
		cel.BinaryBinding(func(from, to ref.Val) ref.Val {
			source, err := texts(from)
			if err != nil {
				return err
			}
			values, err := texts(to)
			if err != nil {
				return err
			}
			if len(values) > maxValues {
				return types.NewErr("flows() compares at most %d values, not %d", maxValues, len(values))
			}
			same, wrong := lineage.Flows(source, values)
			if wrong != nil {
				return types.WrapErr(fmt.Errorf("flows(): %w", wrong))
			}
			return types.Bool(same)
		})))
}

// maxValues bounds the work of flows.
const maxValues = 100

// texts returns the texts and numbers in v, and keys that say something. What is hidden is an error.
func texts(v ref.Val) (out []string, err ref.Val) {
	switch v := v.(type) {
	case hidden:
		return nil, v.err()
	case types.String:
		return []string{string(v)}, nil
	case types.Int:
		return []string{strconv.FormatInt(int64(v), 10)}, nil
	case types.Double:
		return []string{strconv.FormatFloat(float64(v), 'f', -1, 64)}, nil
	case *object:
		for _, m := range v.members() {
			if v.call.says(m.key) {
				out = append(out, m.key)
			}
			more, err := texts(v.call.value(m.value, v.call.sub(v.path, m.key)))
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True; {
			more, err := texts(it.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	}
	if types.IsError(v) {
		return nil, v
	}
	return nil, nil
}
