package baseline_test

import (
	"iter"
	"testing"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// BenchmarkScore is what one call costs: its score, and remembering that it passed.
func BenchmarkScore(b *testing.B) {
	base, h := trained(b)
	h.days(30)
	w := watch(b, base)
	var calls, verdicts []event.Event
	for _, e := range h.events {
		switch e.Body.(type) {
		case *event.Call:
			calls = append(calls, e)
		case *event.Verdict:
			verdicts = append(verdicts, e)
		default:
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(calls)
		w.Score(calls[n])
		w.Pass(calls[n], verdicts[n])
	}
}

// BenchmarkLearn learns from 100,000 events that are in memory: a third of them are calls.
func BenchmarkLearn(b *testing.B) {
	h := newHistory(1)
	h.days(800)
	all := h.events[:min(len(h.events), 100_000)]
	b.Logf("%d events", len(all))
	for b.Loop() {
		_, err := baseline.Learn(func(uint64) iter.Seq2[event.Event, error] {
			return func(yield func(event.Event, error) bool) {
				for _, e := range all {
					if !yield(e, nil) {
						return
					}
				}
			}
		}, baseline.Learning{})
		if err != nil {
			b.Fatal(err)
		}
	}
}
