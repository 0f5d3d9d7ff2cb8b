package expr

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/lineage"
)

// Trail is what a session remembers of what was said in it.
type Trail interface {
	// Trace says where values can have come from, taken together.
	Trace(values []string) lineage.Origin
	// Asks says whether the user's words ask for what a tool does, or, for lineage.Spoken, whether a passage of a result does
	// that talks to the assistant.
	Asks(class lineage.Class, server string, tool *Tool) lineage.Answer
	// Locate returns where a value stands in the text of a source; to is 0 if it stands there in another form.
	Locate(source lineage.Source, value string) (from, to int)
	// Touched reports whether the session has used a tool with an effect, or for "untrusted" read an untrusted result.
	Touched(word string) bool
}

// Traced is what a condition has found out about a value by origin().
type Traced struct {
	Path string // "args.recipient"; empty if the condition spells no path
	lineage.Origin
}

// Answers returns what asked() and urged() answered the condition that was evaluated last.
func (c *Call) Answers() []lineage.Answer { return c.answers }

// Leaf returns the path of a text or number among the arguments that is at or below a path: "args.recipient" for what is
// below "args". It returns the path itself if there is none.
func (c *Call) Leaf(path, value string) string {
	below := func(at string) bool {
		return path == "" || at == path || strings.HasPrefix(at, path) && strings.ContainsAny(at[len(path):len(path)+1], ".[")
	}
	var find func(at string, v gjson.Result) string
	find = func(at string, v gjson.Result) (found string) {
		switch {
		case v.IsObject(), v.IsArray():
			i := 0
			v.ForEach(func(key, x gjson.Result) bool {
				name := at + "." + key.Str
				if v.IsArray() {
					name = fmt.Sprintf("%s[%d]", at, i)
				}
				i++
				found = find(name, x)
				return found == ""
			})
		case v.String() == value && below(at):
			return at
		}
		return found
	}
	return cmp.Or(find("args", c.root().json), path)
}

// Locate asks the trail of the session where a value stands.
func (c *Call) Locate(source lineage.Source, value string) (from, to int) {
	return c.trail.Locate(source, value)
}

// Follow sets the trail of the session that the call belongs to, and the names of the fields that its tool declares; none if
// they are not known.
func (c *Call) Follow(t Trail, fields map[string]bool) { c.trail, c.fields = t, fields }

// Traced returns what the condition that was evaluated last asked origin() about.
func (c *Call) Traced() []Traced { return c.traced }

// AsksTrail reports whether the condition asks where values came from, or what was said: of no other call than the one that
// is judged can it be decided.
func (p *Program) AsksTrail() bool { return p.trails }

// trailName is a name that no condition can spell. The functions that ask about the session are calls on it.
const trailName = "@trail"

var (
	trailType  = types.NewObjectType("umpire.Trail")
	originType = types.NewObjectType("umpire.Origin")
)

type trailVal struct {
	base[trailVal]
	call *Call
}

// Type implements ref.Val.
func (*trailVal) Type() ref.Type { return trailType }

// Value implements ref.Val.
func (v *trailVal) Value() any { return v }

type originVal struct {
	base[originVal]
	origin  lineage.Origin
	private bool
}

// Type implements ref.Val.
func (*originVal) Type() ref.Type { return originType }

// Value implements ref.Val.
func (v *originVal) Value() any { return v }

var originFields = map[string]*types.FieldType{
	"user":      field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Said, nil }),
	"system":    field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Set, nil }),
	"trusted":   field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Class&lineage.Trusted != 0, nil }),
	"untrusted": field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Outside(), nil }),
	"named":     field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Named(), nil }),
	"spoken":    field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Class&lineage.Spoken != 0, nil }),
	"private":   field(types.BoolType, func(v *originVal) (any, error) { return v.private, nil }),
	"model":     field(types.BoolType, func(v *originVal) (any, error) { return v.origin.Model, nil }),
	"sources": field(types.NewListType(types.StringType), func(v *originVal) (any, error) {
		out := []string{}
		for _, s := range v.origin.Sources {
			if name := s.Server + "/" + s.Tool; !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out, nil
	}),
}

// trailFunctions declares origin(value), asked(tool), urged(tool) and session.touched(word). They are macros, which add the
// session to the call of a function.
func trailFunctions() []cel.EnvOption {
	on := func(function string, args ...func(cel.MacroExprFactory, ast.Expr) ast.Expr) cel.MacroFactory {
		return func(f cel.MacroExprFactory, target ast.Expr, given []ast.Expr) (ast.Expr, *cel.Error) {
			if target != nil && (target.Kind() != ast.IdentKind || target.AsIdent() != "session") {
				return nil, nil // some other method
			}
			for _, more := range args {
				given = append(given, more(f, given[0]))
			}
			return f.NewMemberCall(function, f.NewIdent(trailName), given...), nil
		}
	}
	path := func(f cel.MacroExprFactory, of ast.Expr) ast.Expr { return f.NewLiteral(types.String(spelled(of))) }
	member := func(name string, result *cel.Type, args []*cel.Type, ask func(*Call, ...ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("umpire_trail_"+name, append([]*cel.Type{trailType}, args...), result,
			cel.FunctionBinding(func(given ...ref.Val) ref.Val {
				c := given[0].(*trailVal).call
				if c.trail == nil {
					return types.NewErr("%s() knows of the call that is judged and of no other", name)
				}
				return ask(c, given[1:]...)
			})))
	}
	asks := func(class lineage.Class) func(*Call, ...ref.Val) ref.Val {
		return func(c *Call, given ...ref.Val) ref.Val {
			a := c.trail.Asks(class, c.Server, given[0].(*toolVal).tool)
			c.answers = append(c.answers, a)
			return types.Bool(a.Yes)
		}
	}
	return []cel.EnvOption{
		cel.Variable(trailName, trailType),
		cel.Macros(
			cel.GlobalMacro("origin", 1, on("origin", path)),
			cel.GlobalMacro("asked", 1, on("asked")),
			cel.GlobalMacro("urged", 1, on("urged")),
			cel.ReceiverMacro("touched", 1, on("touched")),
		),
		member("origin", originType, []*cel.Type{cel.DynType, cel.StringType}, func(c *Call, given ...ref.Val) ref.Val {
			t := Traced{Path: string(given[1].(types.String))}
			values, whole, err := leaves(given[0], nil)
			if err != nil {
				return err
			}
			if t.Origin = c.trail.Trace(values); !whole {
				t.Lost, t.Said, t.Set = true, false, false
			}
			c.traced = append(c.traced, t)
			// What cannot be found may be what was private in the session.
			private := t.Class&lineage.Private != 0 || t.Lost && c.trail.Touched("private")
			return &originVal{origin: t.Origin, private: private}
		}),
		member("asked", cel.BoolType, []*cel.Type{toolType}, asks(lineage.User)),
		member("urged", cel.BoolType, []*cel.Type{toolType}, asks(lineage.Spoken)),
		member("touched", cel.BoolType, []*cel.Type{cel.StringType}, func(c *Call, given ...ref.Val) ref.Val {
			return types.Bool(c.trail.Touched(string(given[0].(types.String))))
		}),
	}
}

// spelled returns the path of an argument as it is written: "args.items[0].sku". It is empty for anything else.
func spelled(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		if of := spelled(e.AsSelect().Operand()); of != "" {
			return of + "." + e.AsSelect().FieldName()
		}
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == "_[_]" && c.Args()[1].Kind() == ast.LiteralKind {
			if of := spelled(c.Args()[0]); of != "" {
				return fmt.Sprintf("%s[%v]", of, c.Args()[1].AsLiteral().Value())
			}
		}
	}
	return ""
}

// asksTrail reports whether a condition asks about the session.
func asksTrail(checked *cel.Ast) bool {
	found := false
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && e.AsIdent() == trailName
	}))
	return found
}

// leaves appends the texts and numbers in v, and keys that say something; whole is false if one of them is not stored in full.
func leaves(v ref.Val, to []string) (out []string, whole bool, err ref.Val) {
	whole = true
	add := func(v ref.Val) {
		if err == nil {
			var all bool
			to, all, err = leaves(v, to)
			whole = whole && all
		}
	}
	switch v := v.(type) {
	case hidden:
		return to, false, nil
	case types.String:
		to = append(to, string(v))
	case types.Int:
		to = append(to, strconv.FormatInt(int64(v), 10))
	case types.Double:
		to = append(to, strconv.FormatFloat(float64(v), 'f', -1, 64))
	case *object:
		for _, m := range v.members() {
			path := v.call.sub(v.path, m.key)
			if v.call.says(m.key) {
				to = append(to, m.key)
			}
			if m.value.IsArray() { // element by element: a list with a hidden one is an error as a whole
				for i, e := range m.value.Array() {
					add(v.call.value(e, v.call.sub(path, strconv.Itoa(i))))
				}
				continue
			}
			add(v.call.value(m.value, path))
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True; {
			add(it.Next())
		}
	default:
		if types.IsError(v) {
			return to, whole, v
		}
	}
	return to, whole, err
}
