package sequence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dump formats everything that w holds, for comparing windows in tests.
func (w *Window[T]) Dump(value func(T) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d places, %d bytes, full %d\n", len(w.order), w.bytes, w.full)
	for _, key := range slices.Sorted(maps.Keys(w.keys)) {
		s := w.keys[key]
		fmt.Fprintf(&b, "key %q: %d, full %d\n", key, s.n, s.full)
		for slot, list := range s.of {
			for _, e := range list {
				fmt.Fprintf(&b, "%d: #%d %d %s\n", slot, e.Seq, e.At, value(e.Value))
			}
		}
	}
	return b.String()
}
