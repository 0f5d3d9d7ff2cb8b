package lineage

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
)

// spelling is what it takes to compare letters with a text that was said, from the beginning of one of its words to the end
// of another: the letters, or where no text is kept, sums of them.
type spelling struct {
	bounds  []int32  // where words begin, and where the last one ends
	words   []uint32 // their hashes
	order   []int32  // the words by their hashes
	letters []byte
	base    uint64   // of the sums, less than prime
	sums    []uint64 // of the letters before each bound; nil where there are letters
}

func spell(f *folded) *spelling {
	s := &spelling{letters: slices.Clone(f.letters), bounds: make([]int32, 0, len(f.words)+1), words: make([]uint32, 0, len(f.words))}
	for i := range f.words {
		s.bounds = append(s.bounds, f.words[i])
		s.words = append(s.words, hash(f.word(i)))
	}
	s.bounds = append(s.bounds, int32(len(f.letters))) //nolint:gosec // see fold
	s.sort()
	return s
}

func (s *spelling) sort() {
	s.order = make([]int32, len(s.words))
	for i := range s.order {
		s.order[i] = int32(i) //nolint:gosec // see fold
	}
	slices.SortFunc(s.order, func(a, b int32) int { return cmp.Or(cmp.Compare(s.words[a], s.words[b]), cmp.Compare(a, b)) })
}

// asked is letters that are looked for.
type asked struct {
	letters []byte
	first   uint32 // hash of the first word
	steps   int    // that may be taken yet
	base    uint64 // of sum
	sum     uint64
	power   uint64
}

// The bounds of a search. Whoever has taken so many steps is told that the user did not say it.
const (
	maxPlaces = 16      // where the first word stands, for one value
	maxSteps  = 1 << 15 // from word to word, for all values together
)

// begins reports whether s has the letters from the beginning of a word that is their first one, too, to the end of another.
func (s *spelling) begins(q *asked) bool {
	at, found := slices.BinarySearchFunc(s.order, q.first, func(i int32, h uint32) int { return cmp.Compare(s.words[i], h) })
	if found {
		for n := at; n < len(s.order) && n < at+maxPlaces && s.words[s.order[n]] == q.first; n++ {
			i := int(s.order[n])
			if j, ok := s.bound(i, len(q.letters)); ok && s.same(i, j, q) {
				return true
			}
		}
	}
	return false
}

// has reports whether s has the letters from the beginning of any word to the end of another.
func (s *spelling) has(q *asked) bool {
	if len(s.words) > q.steps {
		return false
	}
	q.steps -= len(s.words)
	j := 0
	for i := range s.words {
		to := int(s.bounds[i]) + len(q.letters)
		for j < len(s.bounds)-1 && int(s.bounds[j]) < to {
			j++
		}
		if int(s.bounds[j]) == to && s.same(i, j, q) {
			return true
		}
	}
	return false
}

// bound returns the bound that stands so many letters behind the ith, if there is one. It is near.
func (s *spelling) bound(i, length int) (j int, ok bool) {
	to := int(s.bounds[i]) + length
	step := 1
	for i+step < len(s.bounds) && int(s.bounds[i+step]) < to {
		step *= 2
	}
	from, end := i+step/2, min(i+step+1, len(s.bounds))
	n, ok := slices.BinarySearch(s.bounds[from:end], int32(to)) //nolint:gosec // see fold
	return from + n, ok
}

// same compares letters with those of s from one bound to another, which has the same length.
func (s *spelling) same(i, j int, q *asked) bool {
	if s.sums == nil {
		return bytes.Equal(s.letters[s.bounds[i]:s.bounds[j]], q.letters)
	}
	if q.base != s.base {
		q.base, q.sum, q.power = s.base, sum(s.base, 0, q.letters), 1
		for range q.letters {
			q.power = times(q.power, s.base)
		}
	}
	return s.sums[j] == plus(times(s.sums[i], q.power), q.sum)
}

// summed returns s with sums in the place of letters.
func (s *spelling) summed(base uint64) *spelling {
	out := &spelling{bounds: s.bounds, words: s.words, order: s.order, base: base % prime, sums: make([]uint64, len(s.bounds))}
	for i := 1; i < len(s.bounds); i++ {
		out.sums[i] = sum(out.base, out.sums[i-1], s.letters[s.bounds[i-1]:s.bounds[i]])
	}
	return out
}

// prime is that of the sums.
const prime = 1<<61 - 1

// sum goes on with the sum of letters.
func sum(base, before uint64, letters []byte) uint64 {
	for _, c := range letters {
		before = plus(times(before, base), uint64(c))
	}
	return before
}

func plus(a, b uint64) uint64 {
	if a += b; a >= prime {
		a -= prime
	}
	return a
}

func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return plus(lo&prime, hi<<3|lo>>61)
}
