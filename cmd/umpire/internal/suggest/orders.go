package suggest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// orders are the tools that always had succeeded before another was called in the same session.
type orders struct {
	begun  bool
	before map[key]*order
}

// order is a tool that always came before, and arguments that both calls always had in common.
type order struct {
	same    map[string]string // argument of the later call -> that of the earlier one
	longest time.Duration     // from the last call that fits
	plain   time.Duration     // from the last call of that tool
}

// call takes the next honest call of a tool.
func (o *orders) call(k key, args map[string]string, s *session, at event.Time) {
	if !o.begun {
		o.begun, o.before = true, map[key]*order{}
		for other, list := range s.done {
			if other != k && other.named() {
				o.before[other] = &order{same: pairs(args, list)}
			}
		}
	}
	for other, r := range o.before {
		list := s.done[other]
		if len(list) == 0 || at.Sub(list[len(list)-1].at) >= daily {
			delete(o.before, other)
			continue
		}
		r.plain = max(r.plain, at.Sub(list[len(list)-1].at))
		for mine, theirs := range r.same {
			ago, ok := since(args, mine, list, theirs, at)
			if !ok || ago >= daily {
				delete(r.same, mine)
			}
		}
		r.longest = max(r.longest, r.fits(args, list, at))
	}
}

// fits returns how long ago the last call was that has all in common.
func (r *order) fits(args map[string]string, list []success, at event.Time) (longest time.Duration) {
	for mine, theirs := range r.same {
		ago, _ := since(args, mine, list, theirs, at)
		longest = max(longest, ago)
	}
	return longest
}

// since returns how long ago the last call was that has the same argument.
func since(args map[string]string, mine string, list []success, theirs string, at event.Time) (time.Duration, bool) {
	for _, s := range slices.Backward(list) {
		if v, ok := args[mine]; ok && s.args[theirs] == v && v != "" {
			return at.Sub(s.at), true
		}
	}
	return 0, false
}

// pairs returns the arguments that the last call has in common with one of a list: of several with the same value, the one of
// the same name.
func pairs(args map[string]string, list []success) map[string]string {
	out := map[string]string{}
	for _, s := range list {
		for _, mine := range slices.Sorted(maps.Keys(args)) {
			for _, theirs := range slices.Sorted(maps.Keys(s.args)) {
				if args[mine] != "" && args[mine] == s.args[theirs] && (out[mine] == "" || theirs == mine) && spellable(mine) && spellable(theirs) {
					out[mine] = theirs
				}
			}
		}
	}
	return out
}

// required returns which tool has to come before, and by which argument it is recognised; "" if by none. Loose is whether one
// without any will do.
func (o *orders) required(loose bool) (k key, r *order, mine string) {
	var best []key
	for other, r := range o.before {
		if len(r.same) > 0 || loose {
			best = append(best, other)
		}
	}
	if len(best) == 0 {
		return key{}, nil, ""
	}
	k = slices.MinFunc(best, func(a, b key) int {
		x, y := o.before[a], o.before[b]
		return cmp.Or(-cmp.Compare(min(len(x.same), 1), min(len(y.same), 1)), cmp.Compare(x.plain, y.plain), cmp.Compare(a.String(), b.String()))
	})
	r = o.before[k]
	for _, m := range slices.Sorted(maps.Keys(r.same)) {
		if mine == "" || m == r.same[m] {
			mine = m
		}
	}
	return k, r, mine
}
