package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dump formats all that s knows, for comparing states.
func (s *State) Dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s\n", s.policy.digest)
	for i, w := range s.windows {
		if w != nil {
			fmt.Fprintf(&b, "rule %s\n%s", s.policy.rules[i].name, w.Dump())
		}
	}
	for _, tool := range slices.Sorted(maps.Keys(s.declared)) {
		fmt.Fprintf(&b, "declared %s %v %s\n", tool, s.declared[tool].schema != nil, s.declared[tool].why)
	}
	fmt.Fprintf(&b, "waiting %d\n", len(s.waiting))
	for i, w := range s.order.windows {
		if w != nil {
			fmt.Fprintf(&b, "rule %s\n%s", s.policy.rules[i].name, w.Dump(func(m *memo) string {
				return fmt.Sprintf("%s refs=%d keep=%v args=%s result=%+v", m.name(), m.refs, m.keep, m.step.Args, m.step.Result)
			}))
		}
	}
	fmt.Fprintf(&b, "candidates on hold %v\n", slices.Sorted(maps.Keys(s.order.held)))
	for _, seq := range slices.Sorted(maps.Keys(s.order.memos)) {
		fmt.Fprintf(&b, "memo %d refs=%d\n", seq, s.order.memos[seq].refs)
	}
	for _, call := range slices.Sorted(maps.Keys(s.held)) {
		fmt.Fprintf(&b, "held %d at %s by %s\n", call, s.held[call].call.At, s.held[call].verdict.Rule)
	}
	return b.String()
}
