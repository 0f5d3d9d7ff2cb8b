package rate

import "iter"

// Entries yields the entries that w holds with their keys, in the order in which they were added. Added to an empty
// Window in this order, they make one that answers every question in the same way from the last Evict on.
func (w *Window) Entries() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for _, s := range w.log[w.head:] {
			if !s.gone && !yield(s.key, s.Entry) {
				return
			}
		}
	}
}
