package rate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/rate"
)

// model is a window that anyone can see is right.
type model struct {
	per     time.Duration
	entries []modelEntry
}

type modelEntry struct {
	rate.Entry
	key string
}

func (m *model) inside(t event.Time, key string) []rate.Entry {
	var out []rate.Entry
	for _, e := range m.entries {
		if e.key == key && e.At > t.Add(-m.per) && e.At <= t {
			out = append(out, e.Entry)
		}
	}
	return out
}

func (m *model) remove(seq uint64) {
	m.entries = slices.DeleteFunc(m.entries, func(e modelEntry) bool { return e.Seq == seq })
}

// compare looks at a window and its model at the same time.
func compare(t *testing.T, w *rate.Window, m *model, at event.Time, key, value string) {
	t.Helper()
	in := m.inside(at, key)
	if got := w.Count(at, key); got != len(in) {
		t.Fatalf("count of %s at %d: %d, want %d", key, at, got, len(in))
	}
	var sum, want apd.Decimal
	values := map[string]bool{}
	var newest []uint64
	for _, e := range in {
		rate.Add(&want, &want, e.Amount)
		if e.Value != "" {
			values[e.Value] = true
		}
		newest = append(newest, e.Seq)
	}
	slices.Reverse(newest)
	if w.Sum(at, key, &sum); sum.Cmp(&want) != 0 {
		t.Fatalf("sum of %s at %d: %s, want %s", key, at, &sum, &want)
	}
	if n, seen := w.Distinct(at, key, value); n != len(values) || seen != values[value] {
		t.Fatalf("distinct of %s at %d: %d, %v; want %d, %v", key, at, n, seen, len(values), values[value])
	}
	var got []uint64
	for e := range w.Newest(at, key) {
		got = append(got, e.Seq)
	}
	if !slices.Equal(got, newest) {
		t.Fatalf("newest of %s at %d: %v, want %v", key, at, got, newest)
	}
}

// The window is the model, whatever is added, removed and looked at, and whatever the times: they tie and they jump.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{40, 0, 0, 40, 0, 0, 40, 0, 0, 200, 40, 1, 1, 255, 40})
	r := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		seed := make([]byte, 450)
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		const per = 20 * time.Nanosecond
		w, m := rate.New(per), &model{per: per}
		var at event.Time
		var seq uint64
		used := map[uint64]bool{}
		ops = ops[:min(len(ops), 900)] // the model is slow
		for len(ops) >= 3 {
			op, a, b := ops[0], ops[1], ops[2]
			ops = ops[3:]
			key, value := string('a'+a%4), string('x'+b%3)
			switch {
			case op < 128:
				at += event.Time(op % 4)
				seq += 1 + uint64(op%2)
				e := rate.Entry{Seq: seq, At: at, Amount: apd.New(int64(b), -int32(a%3))}
				if a%5 != 0 {
					e.Value = value
				}
				used[seq] = true
				w.Add(key, e)
				m.entries = append(m.entries, modelEntry{e, key})
			case op < 200:
				w.Remove(seq - min(seq, uint64(a)%30))
				m.remove(seq - min(seq, uint64(a)%30))
			case op < 230:
				at += event.Time(b)
				w.Evict(at)
			default: // a call that was held comes after those that passed meanwhile
				late := seq - min(seq, uint64(a)%30)
				if late == 0 || used[late] {
					continue
				}
				e := rate.Entry{Seq: late, At: at, Amount: apd.New(int64(b), 0), Value: value}
				used[late] = true
				w.Add(key, e)
				m.entries = append(m.entries, modelEntry{e, key})
			}
			if has := slices.ContainsFunc(m.entries, func(e modelEntry) bool { return e.Seq == seq && e.At > at.Add(-per) }); has != w.Has(at, seq) {
				t.Fatalf("#%d is not there", seq)
			}
			compare(t, w, m, at, key, value)
			compare(t, w, m, at.Add(time.Duration(b%25)), key, value) // Decide looks ahead of what was applied
		}
	})
}

func TestWindowIsOpenAtItsBeginning(t *testing.T) {
	w := rate.New(10 * time.Second)
	begin := event.At(time.Unix(1000, 0))
	w.Add("k", rate.Entry{Seq: 1, At: begin})
	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {10*time.Second - 1, 1}, {10 * time.Second, 0}, {10*time.Second + 1, 0}} {
		if got := w.Count(begin.Add(tc.after), "k"); got != tc.want {
			t.Errorf("after %v: %d, want %d", tc.after, got, tc.want)
		}
	}
}

func TestWindowForgetsKeys(t *testing.T) {
	w := rate.New(time.Second)
	for i := range 10_000 {
		w.Add(fmt.Sprint(i), rate.Entry{Seq: uint64(i + 1), At: event.Time(i) * event.Time(time.Second)})
	}
	if got := w.Len(); got != 1 {
		t.Errorf("%d entries held, want 1", got)
	}
}

func TestAmount(t *testing.T) {
	for _, tc := range []struct{ token, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"12.50", "12.50"},
		{"1e2", "1E+2"},
		{"0.1", "0.1"},
		{"9007199254740993", "9007199254740993"},
		{"100000000000000000.5", "100000000000000000.5"},
		{"123456789012345678", "123456789012345678"},
		{"9999999999999999999", "9999999999999999999"},
		{"0.0000000000000001", "1E-16"},
		{"-1", ""},
		{"", ""},
		{"abc", ""},
		{"NaN", ""},
		{"Infinity", ""},
		{"1e41", ""},
		{"1e-41", ""},
		{"0x10", ""},
		{"01", ""},
		{"1.", ""},
		{".5", ""},
		{"1e", ""},
		{"+1", ""},
		{" 1", ""},
		{"12345678901234567890123456789012345678901", ""},
		{"1" + string(make([]byte, 100)), ""},
	} {
		d, err := rate.Amount(tc.token)
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%q is the amount %s", tc.token, d)
		case tc.want != "" && (err != nil || d.String() != tc.want):
			t.Errorf("%q: %v, %v; want %s", tc.token, d, err, tc.want)
		}
	}
}

// Invariant 7: sums are exact decimals.
func TestSumsAreExact(t *testing.T) {
	w := rate.New(time.Hour)
	tenth, err := rate.Amount("0.1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w.Add("", rate.Entry{Seq: uint64(i + 1), At: 1, Amount: tenth})
	}
	var sum apd.Decimal
	if w.Sum(1, "", &sum); sum.Cmp(apd.New(1, 0)) != 0 {
		t.Errorf("ten times 0.1 is %s", &sum)
	}
}

func TestFull(t *testing.T) {
	w := rate.New(time.Hour)
	for i := range rate.MaxEntries {
		w.Add("", rate.Entry{Seq: uint64(i + 1), At: event.Time(i)})
	}
	if !w.Full(event.Time(rate.MaxEntries)) {
		t.Error("not full")
	}
	if w.Full(event.Time(time.Hour) + 1) {
		t.Error("full although entries have left the window")
	}
}

func ExampleWindow() {
	w := rate.New(10 * time.Second)
	at := event.At(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	for seq := range uint64(3) {
		w.Add("s1", rate.Entry{Seq: seq + 1, At: at.Add(time.Duration(seq) * time.Second)})
	}
	fmt.Println(w.Count(at.Add(5*time.Second), "s1"), w.Count(at.Add(10*time.Second), "s1"), w.Count(at.Add(12*time.Second), "s1"))
	// Output: 3 2 0
}

func BenchmarkAdd(b *testing.B) {
	w := rate.New(time.Second)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("session ", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		w.Add(keys[i%1000], rate.Entry{Seq: uint64(i), At: event.Time(i * 100_000)})
		_ = w.Count(event.Time(i*100_000), keys[i%1000])
	}
}
