package main

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// Reading from the end finds what reading all of it finds, whatever is asked for.
func TestTheNewestAreThoseThatReadingAllWouldFind(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	next := uint64(1)
	for i := range 400 {
		events := storetest.Call(next, []string{"s1", "s2", "s3"}[i%7%3], []string{"refund", "look", "rare"}[min(i%13, 2)], event.Action(i%4))
		if i%100 > 0 && i%13 > 1 {
			events[0].Body.(*event.Call).Tool = "look"
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
		next += uint64(len(events))
	}
	rapid.Check(t, func(t *rapid.T) {
		f := filter{
			session: rapid.SampledFrom([]string{"", "s1", "s3", "s9"}).Draw(t, "session"), tool: rapid.SampledFrom([]string{"", "rare", "none"}).Draw(t, "tool"),
			verdict: rapid.SampledFrom([]string{"", "deny", "allow"}).Draw(t, "verdict"),
		}
		if rapid.Bool().Draw(t, "since") {
			f.from = storetest.Begin.Add(time.Duration(rapid.IntRange(-5, 1300).Draw(t, "from")) * time.Second)
		}
		if f.verdict != "" {
			if err := f.prepare(time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		last := rapid.SampledFrom([]int{0, 1, 2, 7, 100, 5000}).Draw(t, "last")
		var want [][]event.Event
		all := grouper{filter: &f}
		for e, err := range history.Events(db, 1) {
			if err != nil {
				t.Fatal(err)
			}
			if group := all.add(e); group != nil {
				want = append(want, group)
			}
		}
		if last > 0 && len(want) > last {
			want = want[len(want)-last:]
		}
		got, after, err := newest(db, &grouper{filter: &f}, last)
		if err != nil || after != next || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%d groups, next %d, %v; want %d, %d", len(got), after, err, len(want), next)
		}
	})
}
