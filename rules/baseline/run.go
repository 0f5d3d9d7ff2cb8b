package baseline

// run is values of an argument that go up, or down, in small steps.
type run struct {
	Week   int64  // in which it is; it ends with that
	Prefix uint64 // names it
	Last   int64
	Step   int64 // 1, -1, or 0 before there are two
	Length int64
}

// maxStep is how far apart two values are that come one after the other.
const maxStep = 16

// next returns the run with one more value.
func (r *run) next(week int64, prefix uint64, n int64) run {
	out := run{Week: week, Prefix: prefix, Last: n, Length: 1}
	if r.Week != week || r.Length == 0 || r.Prefix != prefix {
		return out
	}
	step, by := int64(1), n-r.Last
	if by < 0 {
		step, by = -1, -by
	}
	switch {
	case by == 0:
		return *r
	case by > maxStep:
		return out
	case r.Step != 0 && r.Step != step:
		out.Length = 2
	default:
		out.Length = r.Length + 1
	}
	out.Step = step
	return out
}

// maxRuns is how many runs of an argument are followed at a time, so that no value between two of them ends a sweep.
const maxRuns = 4

// runOf returns the run of an argument to which a value belongs, as it is with that, and its place: the longest that it continues,
// else one that begins, in the place of the shortest.
func (t *toolTrack) runOf(key uint64, week int64, prefix uint64, n int64) (at uint64, out run) {
	at, shortest := key, int64(-1)
	for k := range uint64(maxRuns) {
		r := t.Serial[key+k]
		length := int64(0)
		if r != nil && r.Week == week {
			length = r.Length
			if next := r.next(week, prefix, n); next.Length > 1 || r.Prefix == prefix && r.Last == n {
				if next.Length > out.Length {
					at, out = key+k, next
				}
				continue
			}
		}
		if out.Length == 0 && (shortest < 0 || length < shortest) {
			at, shortest = key+k, length
		}
	}
	if out.Length == 0 {
		out = (&run{}).next(week, prefix, n)
	}
	return at, out
}
