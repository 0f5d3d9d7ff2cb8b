package expr

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/shape"
)

// The object types of conditions and their fields.
var (
	toolType   = types.NewObjectType("umpire.Tool")
	clientType = types.NewObjectType("umpire.Client")
	callType   = types.NewObjectType("umpire.Call")
	boundType  = types.NewObjectType("umpire.Bound")
	pathType   = types.NewObjectType("umpire.Path")
	urlType    = types.NewObjectType("umpire.URL")
	hostType   = types.NewObjectType("umpire.Host")
)

type (
	toolVal struct {
		base[toolVal]
		tool *Tool
	}
	clientVal struct {
		base[clientVal]
		peer *event.Peer
	}
	callVal struct {
		base[callVal]
		call *event.Call
	}
	boundVal struct {
		base[boundVal]
		bound event.Bound
	}
	pathVal struct {
		base[pathVal]
		path shape.Path
	}
	urlVal struct {
		base[urlVal]
		url shape.URL
	}
	hostVal struct {
		base[hostVal]
		host shape.Host
	}
)

// Type implements ref.Val.
func (*toolVal) Type() ref.Type { return toolType }

// Value implements ref.Val.
func (v *toolVal) Value() any { return v }

// Type implements ref.Val.
func (*clientVal) Type() ref.Type { return clientType }

// Value implements ref.Val.
func (v *clientVal) Value() any { return v }

// Type implements ref.Val.
func (*callVal) Type() ref.Type { return callType }

// Value implements ref.Val.
func (v *callVal) Value() any { return v }

// Type implements ref.Val.
func (*boundVal) Type() ref.Type { return boundType }

// Value implements ref.Val.
func (v *boundVal) Value() any { return v }

// boundOf returns to what a call was bound, also where nothing was there to bind it to.
func boundOf(c *event.Call) *boundVal {
	if c.Bound == nil {
		return &boundVal{bound: event.Bound{By: event.ByNothing, Confidence: event.Unsure}}
	}
	return &boundVal{bound: *c.Bound}
}

// Type implements ref.Val.
func (*pathVal) Type() ref.Type { return pathType }

// Value implements ref.Val.
func (v *pathVal) Value() any { return v }

// Type implements ref.Val.
func (*urlVal) Type() ref.Type { return urlType }

// Value implements ref.Val.
func (v *urlVal) Value() any { return v }

// Type implements ref.Val.
func (*hostVal) Type() ref.Type { return hostType }

// Value implements ref.Val.
func (v *hostVal) Value() any { return v }

// base is what the object types share: they have fields and methods, and no conversions or equality.
type base[T any] struct{}

// ConvertToNative implements ref.Val.
func (base[T]) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%T has no native form %v", *new(T), t)
}

// ConvertToType implements ref.Val.
func (base[T]) ConvertToType(ref.Type) ref.Val { return types.NoSuchOverloadErr() }

// Equal implements ref.Val.
func (base[T]) Equal(ref.Val) ref.Val {
	return types.NewErr("compare a field, such as .name, .text or .host")
}

// field describes one field of an object type.
func field[T ref.Val](t *types.Type, get func(T) (any, error)) *types.FieldType {
	return &types.FieldType{
		Type:  t,
		IsSet: func(any) bool { return true },
		GetFrom: func(target any) (any, error) {
			v, ok := target.(T)
			if !ok {
				return nil, fmt.Errorf("unexpected %T", target)
			}
			return get(v)
		},
	}
}

var fields = map[string]map[string]*types.FieldType{
	toolType.TypeName(): {
		"name":    field(types.StringType, func(v *toolVal) (any, error) { return v.tool.Name, nil }),
		"effects": field(types.NewListType(types.StringType), func(v *toolVal) (any, error) { return v.tool.Effects, nil }),
		"reads":   field(types.BoolType, func(v *toolVal) (any, error) { return v.tool.reads(), nil }),
		"results": field(types.StringType, func(v *toolVal) (any, error) { return v.tool.Results, nil }),
	},
	clientType.TypeName(): {
		"name":      field(types.StringType, func(v *clientVal) (any, error) { return v.peer.Client.Name, nil }),
		"version":   field(types.StringType, func(v *clientVal) (any, error) { return v.peer.Client.Version, nil }),
		"workspace": field(types.StringType, func(v *clientVal) (any, error) { return v.peer.Workspace, nil }),
		"process":   field(types.StringType, func(v *clientVal) (any, error) { return v.peer.Process, nil }),
	},
	callType.TypeName(): {
		"bound":  field(boundType, func(v *callVal) (any, error) { return boundOf(v.call), nil }),
		"secret": field(types.BoolType, func(v *callVal) (any, error) { return holdsToken(v.call) }),
		"intent": field(types.StringType, func(v *callVal) (any, error) { return v.call.Intent, nil }),
	},
	boundType.TypeName(): {
		"by":           field(types.StringType, func(v *boundVal) (any, error) { return string(v.bound.By), nil }),
		"confidence":   field(types.StringType, func(v *boundVal) (any, error) { return string(v.bound.Confidence), nil }),
		"conversation": field(types.StringType, func(v *boundVal) (any, error) { return v.bound.Conversation, nil }),
		"subagent":     field(types.StringType, func(v *boundVal) (any, error) { return v.bound.Subagent, nil }),
		"missing":      field(types.BoolType, func(v *boundVal) (any, error) { return v.bound.Missing, nil }),
	},
	pathType.TypeName(): {
		"name": field(types.StringType, func(v *pathVal) (any, error) { return v.path.Name() }),
		"text": field(types.StringType, func(v *pathVal) (any, error) { return v.path.Text() }),
	},
	urlType.TypeName(): {
		"scheme": field(types.StringType, func(v *urlVal) (any, error) { return v.url.Scheme, nil }),
		"user":   field(types.StringType, func(v *urlVal) (any, error) { return v.url.User, nil }),
		"host":   field(types.StringType, func(v *urlVal) (any, error) { return v.url.Host, nil }),
		"port":   field(types.IntType, func(v *urlVal) (any, error) { return v.url.Port, nil }),
		"path":   field(types.StringType, func(v *urlVal) (any, error) { return v.url.Path, nil }),
		"query":  field(types.StringType, func(v *urlVal) (any, error) { return v.url.Query, nil }),
	},
	stepType.TypeName():     stepFields,
	originType.TypeName():   originFields,
	baselineType.TypeName(): baselineFields(),
	hostType.TypeName(): {
		"text":       field(types.StringType, func(v *hostVal) (any, error) { return v.host.String(), nil }),
		"private":    field(types.BoolType, func(v *hostVal) (any, error) { return v.host.Private(), nil }),
		"loopback":   field(types.BoolType, func(v *hostVal) (any, error) { return v.host.Loopback(), nil }),
		"link_local": field(types.BoolType, func(v *hostVal) (any, error) { return v.host.LinkLocal(), nil }),
		"is_address": field(types.BoolType, func(v *hostVal) (any, error) { return v.host.IsAddr(), nil }),
	},
}

// provider adds the object types to those of CEL.
type provider struct{ types.Provider }

// FindStructType implements types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := fields[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if f, ok := fields[name]; ok {
		names := make([]string, 0, len(f))
		for n := range f {
			names = append(names, n)
		}
		return names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	if f, ok := fields[name]; ok {
		t, ok := f[fieldName]
		return t, ok
	}
	return p.Provider.FindStructFieldType(name, fieldName)
}

// functions declares path, url and host. Their arguments are dyn, as arguments of calls are; what is no string is an
// error when it is evaluated.
func functions(env event.Env) []cel.EnvOption {
	within := func(of *types.Type, ask func(ref.Val, string) (bool, error)) cel.FunctionOpt {
		return cel.MemberOverload(of.TypeName()+"_within", []*types.Type{of, types.StringType}, types.BoolType,
			cel.BinaryBinding(func(v, dir ref.Val) ref.Val {
				in, err := ask(v, string(dir.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Bool(in)
			}))
	}
	makePath := func(args ...ref.Val) ref.Val {
		text := make([]string, 2)
		for i, a := range args {
			s, ok := a.(types.String)
			if !ok {
				return wants("path", a)
			}
			text[i] = string(s)
		}
		p, err := shape.ParsePath(text[0], text[1], env)
		if err != nil {
			return types.WrapErr(err)
		}
		return &pathVal{path: p}
	}
	return []cel.EnvOption{
		cel.Function("path",
			cel.Overload("path_dyn", []*types.Type{types.DynType}, pathType,
				cel.UnaryBinding(func(p ref.Val) ref.Val { return makePath(p) })),
			cel.Overload("path_dyn_dyn", []*types.Type{types.DynType, types.DynType}, pathType,
				cel.BinaryBinding(func(p, dir ref.Val) ref.Val { return makePath(p, dir) }))),
		cel.Function("url", cel.Overload("url_dyn", []*types.Type{types.DynType}, urlType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				s, ok := v.(types.String)
				if !ok {
					return wants("url", v)
				}
				u, err := shape.ParseURL(string(s))
				if err != nil {
					return types.WrapErr(err)
				}
				return &urlVal{url: u}
			}))),
		cel.Function("host", cel.Overload("host_dyn", []*types.Type{types.DynType}, hostType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				s, ok := v.(types.String)
				if !ok {
					return wants("host", v)
				}
				h, err := shape.ParseHost(string(s))
				if err != nil {
					return types.WrapErr(err)
				}
				return &hostVal{host: h}
			}))),
		cel.Function("within",
			within(pathType, func(v ref.Val, dir string) (bool, error) { return v.(*pathVal).path.Within(dir) }),
			within(hostType, func(v ref.Val, scope string) (bool, error) { return v.(*hostVal).host.Within(scope) })),
	}
}

// wants says that a function was given something other than a string.
func wants(function string, got ref.Val) ref.Val {
	if h, ok := got.(hidden); ok {
		return h.err()
	}
	return types.NewErr("%s() wants a string, not a %s", function, got.Type().TypeName())
}
