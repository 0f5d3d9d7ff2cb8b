package expr

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"
)

// adapter turns Go values into CEL values; the values of this package are CEL values already.
var adapter types.Adapter = types.DefaultTypeAdapter

// value converts r, which stands at path, to CEL. Numbers without fraction and exponent that fit are int, others double.
func (c *Call) value(r gjson.Result, path string) ref.Val {
	if why, ok := c.hidden[path]; ok {
		return hidden{call: c, path: path, why: why}
	}
	switch r.Type {
	case gjson.Null:
		return types.NullValue
	case gjson.False:
		return types.False
	case gjson.True:
		return types.True
	case gjson.String:
		return types.String(r.Str)
	case gjson.Number:
		if !strings.ContainsAny(r.Raw, ".eE") {
			if n, err := strconv.ParseInt(r.Raw, 10, 64); err == nil {
				return types.Int(n)
			}
		}
		f, err := strconv.ParseFloat(r.Raw, 64)
		if err != nil {
			return types.NewErr("%s: %s is no number that can be compared", path, r.Raw)
		}
		return types.Double(f)
	}
	if r.IsArray() {
		return c.list(r, path)
	}
	return &object{call: c, json: r, path: path}
}

// list converts every element. If one of them is hidden, so is the list: "in" and "==" would take it for a value that is
// just another.
func (c *Call) list(r gjson.Result, path string) ref.Val {
	if err := c.below(path); err != nil {
		return err
	}
	var elems []ref.Val
	for _, v := range r.Array() {
		elems = append(elems, c.value(v, c.sub(path, strconv.Itoa(len(elems)))))
	}
	return types.NewRefValList(adapter, elems)
}

// below returns an error if something below path is hidden, else nil.
func (c *Call) below(path string) ref.Val {
	for _, f := range c.Findings {
		if strings.HasPrefix(f.Path, path+".") {
			return hidden{call: c, path: f.Path, why: f.Kind}.err()
		}
	}
	return nil
}

// sub returns the path of a member. Paths are only needed to look up findings.
func (c *Call) sub(path, member string) string {
	if c.hidden == nil {
		return ""
	}
	return path + "." + member
}

// object is a JSON object that decodes members when they are asked for.
type object struct {
	call   *Call
	json   gjson.Result
	path   string
	list   members // once something asks for one: then it is listed
	listed bool
	all    traits.Mapper // once something needs all of them converted
}

func (o *object) members() members {
	if !o.listed {
		o.list, o.listed = membersOf(o.json, o.list), true
	}
	return o.list
}

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, found, err := o.members().find(string(name))
	if err != nil {
		return types.WrapErr(err), false
	}
	if !found {
		return nil, false
	}
	return o.call.value(v, o.call.sub(o.path, string(name))), true
}

// Get implements traits.Indexer.
func (o *object) Get(key ref.Val) ref.Val {
	v, found := o.Find(key)
	if !found && v == nil {
		return types.NewErr("no such key: %v", key)
	}
	return v
}

// Contains implements traits.Container.
func (o *object) Contains(key ref.Val) ref.Val {
	v, found := o.Find(key)
	if types.IsError(v) && !found {
		return v
	}
	return types.Bool(found)
}

// convert converts every member.
func (o *object) convert() traits.Mapper {
	if o.all == nil {
		m := map[ref.Val]ref.Val{}
		for _, x := range o.members() {
			m[types.String(x.key)] = o.call.value(x.value, o.call.sub(o.path, x.key))
		}
		o.all = types.NewRefValMap(adapter, m)
	}
	return o.all
}

// Iterator implements traits.Iterable. Keys come in the order of the document, so that every run sees the same.
func (o *object) Iterator() traits.Iterator {
	var keys []ref.Val
	for _, x := range o.members() {
		keys = append(keys, types.String(x.key))
	}
	return types.NewRefValList(adapter, keys).Iterator()
}

// Size implements traits.Sizer.
func (o *object) Size() ref.Val { return types.Int(len(o.members())) }

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(t reflect.Type) (any, error) { return o.convert().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val { return o.convert().ConvertToType(t) }

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val {
	if err := o.call.below(o.path); err != nil {
		return err
	}
	if x, ok := other.(*object); ok {
		if err := x.call.below(x.path); err != nil {
			return err
		}
		other = x.convert()
	}
	return o.convert().Equal(other)
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (o *object) Value() any { return o.convert().Value() }

// hidden is a value that is stored only in part or as a digest. It is there, but no condition can look at it: whatever
// asks gets an error, and so the rule fails towards its action. The call notes it, since CEL's lists and maps swallow
// errors of their elements.
type hidden struct {
	call      *Call
	path, why string
}

func (h hidden) err() ref.Val {
	err := fmt.Errorf("%s is %s in the history, so no condition can look at it", h.path, h.why)
	if h.call.looked == nil {
		h.call.looked = err
	}
	return types.WrapErr(err)
}

// ConvertToNative implements ref.Val.
func (h hidden) ConvertToNative(reflect.Type) (any, error) { return nil, h.err().(*types.Err) }

// ConvertToType implements ref.Val.
func (h hidden) ConvertToType(ref.Type) ref.Val { return h.err() }

// Equal implements ref.Val.
func (h hidden) Equal(ref.Val) ref.Val { return h.err() }

// Type implements ref.Val.
func (h hidden) Type() ref.Type { return types.NewOpaqueType("umpire.Hidden") }

// Value implements ref.Val.
func (h hidden) Value() any { return h }
