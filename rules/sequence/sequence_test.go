package sequence_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/sequence"
)

type entry = sequence.Entry[int]

// rule is a random pattern with random conditions: which steps each slot's condition asks about, and what it says.
type rule struct {
	pattern sequence.Pattern
	refs    map[int][]int // slot -> steps that its condition asks about, besides its own event
	seed    int
	odds    int
	goal    int    // how many steps model looks for, if not for all of them and the call being judged; 0 for that
	newest  uint64 // the event that has to be the newest one then; 0 for any
}

func drawRule(t *rapid.T) rule {
	n := rapid.IntRange(1, 3).Draw(t, "steps")
	r := rule{refs: map[int][]int{}, seed: rapid.Int().Draw(t, "seed"), odds: rapid.IntRange(1, 6).Draw(t, "odds")}
	r.pattern.Within = time.Duration(rapid.IntRange(1, 40).Draw(t, "within"))
	r.pattern.Until = rapid.Bool().Draw(t, "until")
	r.pattern.Steps = make([]sequence.Step, n)
	var single []int // steps that conditions of other steps may ask about
	ask := func(slot int) {
		for _, i := range single {
			if rapid.IntRange(0, 3).Draw(t, "ask") == 0 {
				r.refs[slot] = append(r.refs[slot], i)
				r.pattern.Steps[i].Asked = true
			}
		}
	}
	for i := range n {
		r.pattern.Steps[i].Runs = max(1, rapid.IntRange(-2, 3).Draw(t, "runs"))
		r.pattern.Steps[i].Unless = rapid.Bool().Draw(t, "unless")
		ask(i)
		if r.pattern.Steps[i].Runs == 1 {
			single = append(single, i)
		}
		ask(r.pattern.UnlessSlot(i))
	}
	ask(r.pattern.UntilSlot())
	ask(sequence.Last)
	// The call being judged may ask about a repeated step, if about none behind it.
	for i, step := range r.pattern.Steps {
		if step.Runs > 1 && rapid.Bool().Draw(t, "ask about the repeated step") {
			r.refs[sequence.Last] = slices.DeleteFunc(r.refs[sequence.Last], func(j int) bool { return j > i })
			r.refs[sequence.Last] = append(r.refs[sequence.Last], i)
			r.pattern.Steps[i].Asked = true
			break
		}
	}
	if rapid.Bool().Draw(t, "sift") {
		for _, i := range r.refs[sequence.Last] {
			r.pattern.Steps[i].Sift = true
		}
	}
	return r
}

// says is the condition of a slot on an event, given those chosen.
func (r rule) says(slot int, own *entry, chosen func(step int) *entry) bool {
	h := fnv.New32()
	fmt.Fprint(h, r.seed, slot)
	if own != nil {
		fmt.Fprint(h, " own ", own.Seq)
	}
	for _, i := range r.refs[slot] {
		e := chosen(i)
		if e == nil { // what ends a match asks about a step that is not there yet
			return false
		}
		fmt.Fprint(h, " ", i, "=", e.Seq)
	}
	return h.Sum32()%uint32(r.odds+1) > 0
}

// asks is the condition on the call being judged: it says something about each step that it asks about, and something about
// all of them together, which is not known before all of them are chosen.
func (r rule) asks(chosen func(step int) *entry) bool {
	all := true
	for _, i := range r.refs[sequence.Last] {
		e := chosen(i)
		if all = all && e != nil; e != nil && !r.says(-2-i, e, chosen) {
			return false
		}
	}
	return !all || r.says(sequence.Last, nil, chosen)
}

func (r rule) holds(slot int, chosen []*entry, extra *entry) bool {
	if slot == sequence.Last {
		return r.asks(func(i int) *entry { return chosen[i] })
	}
	own := extra
	if slot >= 0 && slot < len(r.pattern.Steps) {
		own = chosen[slot]
	}
	return r.says(slot, own, func(i int) *entry { return chosen[i] })
}

// model looks for a match in all ways that there are: sets is, for each step, the events chosen.
func (r rule) model(slots [][]entry, sets [][]entry) bool {
	i := len(sets)
	one := func(j int) *entry { // of a repeated step, the last one
		if j >= len(sets) {
			return nil
		}
		return &sets[j][len(sets[j])-1]
	}
	last := uint64(0)
	if i > 0 {
		last = sets[i-1][len(sets[i-1])-1].Seq
	}
	blocked := func(slot int, after, before uint64) bool {
		return slices.ContainsFunc(slots[slot], func(e entry) bool {
			return e.Seq > after && e.Seq < before && r.says(slot, &e, one)
		})
	}
	if i == len(r.pattern.Steps) || r.goal > 0 && i == r.goal {
		if r.pattern.Steps[i-1].Unless && blocked(r.pattern.UnlessSlot(i-1), last, 1<<60) || r.pattern.Until && blocked(r.pattern.UntilSlot(), sets[0][0].Seq, 1<<60) {
			return false
		}
		if r.goal > 0 {
			return r.newest == 0 || r.newest == last
		}
		for _, j := range r.refs[sequence.Last] { // a repeated step: for each of its events
			for _, e := range sets[j] {
				if !r.asks(func(k int) *entry {
					if k == j {
						return &e
					}
					return &sets[k][len(sets[k])-1]
				}) {
					return false
				}
			}
		}
		return r.asks(one)
	}
	var fit []entry
	for _, e := range slots[i] {
		if e.Seq > last && r.says(i, &e, one) {
			fit = append(fit, e)
		}
	}
	var choose func(from int, set []entry) bool
	choose = func(from int, set []entry) bool {
		if len(set) == r.pattern.Steps[i].Runs {
			if i > 0 && r.pattern.Steps[i-1].Unless && blocked(r.pattern.UnlessSlot(i-1), last, set[0].Seq) {
				return false
			}
			return r.model(slots, append(slices.Clone(sets), set))
		}
		for n := from; n < len(fit); n++ {
			if choose(n+1, append(slices.Clone(set), fit[n])) {
				return true
			}
		}
		return false
	}
	return choose(0, nil)
}

// Find finds a match just when there is one, over random patterns and histories with times that tie and times that jump.
func TestFindAgreesWithTryingEverything(t *testing.T) {
	found, missed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		if agrees(t) {
			found++
		} else {
			missed++
		}
	})
	if found < 1 || missed < 10 {
		t.Errorf("%d matches, %d without: the test is too easy", found, missed)
	}
}

func FuzzFind(f *testing.F) { f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { agrees(t) })) }

// agrees checks one history and reports whether there is a match in it.
func agrees(t *rapid.T) bool {
	r := drawRule(t)
	dropped := map[int]bool{}
	w := sequence.New(&r.pattern, func(n int) {
		if dropped[n] {
			t.Fatalf("%d is dropped twice", n)
		}
		dropped[n] = true
	})
	var all []entry
	var slotOf []int
	var keyOf []string
	cut := map[string]uint64{}
	at := event.Time(0)
	for n := range rapid.IntRange(0, 24).Draw(t, "events") {
		at += event.Time(rapid.SampledFrom([]int{0, 0, 0, 1, 1, 1, 2, 7, 40}).Draw(t, "pause"))
		key := rapid.SampledFrom([]string{"a", "a", "a", "b"}).Draw(t, "key")
		if rapid.IntRange(0, 15).Draw(t, "reset") == 0 {
			w.Reset(key, uint64(n))
			cut[key] = uint64(n)
		}
		e := entry{Seq: uint64(n + 1), At: at, Value: n}
		slot := rapid.IntRange(0, len(r.pattern.Steps)-1).Draw(t, "step")
		if rapid.IntRange(0, 2).Draw(t, "other") == 0 {
			slot = rapid.IntRange(0, r.pattern.Slots()-1).Draw(t, "slot")
		}
		if !w.Add(key, slot, e) {
			t.Fatal("no room")
		}
		all, slotOf, keyOf = append(all, e), append(slotOf, slot), append(keyOf, key)
	}
	at += event.Time(rapid.IntRange(0, 3).Draw(t, "then"))
	slots := make([][]entry, r.pattern.Slots())
	for n, e := range all {
		if at.Sub(e.At) < r.pattern.Within && keyOf[n] == "a" && e.Seq >= cut["a"] {
			slots[slotOf[n]] = append(slots[slotOf[n]], e)
		}
	}
	match, unknown := w.Find(at, "a", r.holds)
	want := r.model(slots, nil)
	if unknown || (match != nil) != want {
		t.Fatalf("found %v (unknown %v), trying everything says %v\n%+v\n%+v", match, unknown, want, r, slots)
	}
	if !slices.IsSortedFunc(match, func(a, b entry) int { return int(a.Seq) - int(b.Seq) }) {
		t.Fatalf("not in order: %v", match)
	}
	r.reaches(t, w, at, slots)
	w.Evict(at + 1000)
	if len(dropped) != len(all) {
		t.Fatalf("%d of %d are forgotten", len(dropped), len(all))
	}
	return want
}

// reaches checks what a window says how far the rule is matched without the call being judged, against trying everything.
func (r rule) reaches(t *rapid.T, w *sequence.Window[int], at event.Time, slots [][]entry) {
	got := w.Reach(at, "a", r.holds, nil)
	for r.goal = len(r.pattern.Steps); r.goal > 0 && !r.model(slots, nil); {
		r.goal--
	}
	if len(got.Steps) != r.goal || got.Unknown {
		t.Fatalf("%d steps are matched, trying everything says %d\n%+v\n%+v\n%+v", len(got.Steps), r.goal, got, r, slots)
	}
	last := uint64(0)
	for i, step := range got.Steps {
		if len(step) < r.pattern.Steps[i].Runs {
			t.Fatalf("step %d takes %d events: %v", i, r.pattern.Steps[i].Runs, step)
		}
		for _, e := range step {
			if e.Seq <= last || !slices.Contains(slots[i], e) {
				t.Fatalf("step %d: %v in %v", i, step, slots)
			}
			last = e.Seq
		}
	}
	if r.goal > 0 { // that of the newest first event is shown, so that nobody thinks it over too early
		later := slices.Clone(slots)
		later[0] = slices.DeleteFunc(slices.Clone(slots[0]), func(e entry) bool { return e.Seq <= got.Steps[0][0].Seq })
		if r.model(later, nil) {
			t.Fatalf("the first event of %v is not the newest that does\n%+v\n%+v", got, r, slots)
		}
	}
	r.goal = len(r.pattern.Steps)
	for _, e := range slots[r.goal-1] {
		r.newest = e.Seq
		got := w.Reach(at, "a", r.holds, func(x *entry) bool { return x.Seq == e.Seq })
		if want := r.model(slots, nil); (len(got.Steps) > 0) != want {
			t.Fatalf("it ends with %v: %+v, trying everything says %v\n%+v\n%+v", e, got, want, r, slots)
		}
	}
}

func yes(int, []*entry, *entry) bool { return true }

// Invariant 8: at each bound a Window says that it cannot tell, until what it could not remember is too old.
func TestFullWindowsCannotTell(t *testing.T) {
	const within = 100
	two := func(keep bool) *sequence.Pattern {
		return &sequence.Pattern{Steps: []sequence.Step{{Runs: 1}, {Runs: 1}}, Within: within, Keep: keep}
	}
	fill := func(w *sequence.Window[int], n, size int, key func(int) string) (refused int) {
		for i := range n {
			if !w.Add(key(i), 0, entry{Seq: uint64(i + 1), At: 10, Size: size}) {
				refused++
			}
		}
		return refused
	}
	one := func(int) string { return "k" }
	for name, tc := range map[string]struct {
		n, size int
		key     func(int) string
		other   bool // other keys cannot be told about, either
	}{
		"entries of a key": {sequence.MaxEntries + 1, 0, one, false},
		"entries in all":   {sequence.MaxTotal + 1, 0, func(i int) string { return fmt.Sprint(i) }, true},
		"bytes":            {3, sequence.MaxBytes / 2, one, true},
	} {
		w := sequence.New(two(false), func(int) {})
		if refused := fill(w, tc.n, tc.size, tc.key); refused != 1 {
			t.Errorf("%s: %d were refused", name, refused)
		}
		for at, full := range map[event.Time]bool{10: true, 109: true, 110: false} {
			if _, unknown := w.Find(at, "k", yes); unknown != full {
				t.Errorf("%s: at %d unknown is %v", name, at, unknown)
			}
			if _, unknown := w.Find(at, "other", yes); unknown != (full && tc.other) {
				t.Errorf("%s: at %d another key is unknown: %v", name, at, unknown)
			}
		}
		w.Evict(110)
		if refused := fill(w, 1, 0, one); refused != 0 {
			t.Errorf("%s: nothing can be remembered any more", name)
		}
	}
	// Where an event is what is wanted, the oldest is forgotten instead: what is not found denies.
	w := sequence.New(two(true), func(int) {})
	if refused := fill(w, sequence.MaxEntries+5, 0, one); refused != 0 || w.Len(10, "k", 0) != sequence.MaxEntries {
		t.Errorf("%d refused, %d remembered", refused, w.Len(10, "k", 0))
	}
}

// A search that takes too long is given up, and says so.
func TestTooManyWaysCannotBeTold(t *testing.T) {
	p := &sequence.Pattern{Steps: []sequence.Step{{Runs: 1, Asked: true}, {Runs: 1, Asked: true}}, Within: 100}
	w := sequence.New(p, func(int) {})
	for i := range 400 {
		w.Add("k", i/200, entry{Seq: uint64(i + 1), At: 10})
	}
	never := func(slot int, _ []*entry, _ *entry) bool { return slot != sequence.Last }
	if match, unknown := w.Find(11, "k", never); match != nil || !unknown {
		t.Errorf("%v %v", match, unknown)
	}
}

func ExampleWindow() {
	// Two reads, then the call being judged.
	p := &sequence.Pattern{Steps: []sequence.Step{{Runs: 2}}, Within: 10 * time.Second}
	w := sequence.New(p, func(string) {})
	at := func(s int) event.Time { return event.Time(s) * event.Time(time.Second) }
	w.Add("session 1", 0, sequence.Entry[string]{Seq: 1, At: at(0), Value: "read a"})
	w.Add("session 1", 0, sequence.Entry[string]{Seq: 2, At: at(4), Value: "read b"})
	any := func(int, []*sequence.Entry[string], *sequence.Entry[string]) bool { return true }
	for _, s := range []int{5, 10} {
		match, _ := w.Find(at(s), "session 1", any)
		fmt.Println(s, match != nil)
	}
	// Output:
	// 5 true
	// 10 false
}
