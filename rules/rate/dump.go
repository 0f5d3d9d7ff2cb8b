package rate

import (
	"fmt"
	"strings"
)

// Dump formats everything that w holds, for comparing windows in tests.
func (w *Window) Dump() string {
	var b strings.Builder
	for _, s := range w.log[w.head:] {
		fmt.Fprintf(&b, "%d %d %q %v %q gone=%v\n", s.Seq, s.At, s.key, s.Amount, s.Value, s.gone)
	}
	return b.String()
}
