package review_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// follower keeps what is on hold by what a feed tells, until there is no more.
type follower struct {
	on    map[uint64]bool
	ended map[uint64]string
	lost  int
}

func follow(ctx context.Context, t *testing.T, now []review.Held, feed *review.Feed) *follower {
	f := &follower{on: map[uint64]bool{}, ended: map[uint64]string{}}
	for _, h := range now {
		f.on[h.Call] = true
	}
	for more := true; more; {
		var list []review.Change
		var lost int
		list, lost, more = feed.Next(ctx)
		f.lost += lost
		for _, c := range list {
			switch {
			case c.Ended == nil:
				if f.on[c.Call] {
					t.Errorf("#%d begins to wait twice", c.Call)
				}
				f.on[c.Call] = true
			case f.lost == 0 && !f.on[c.Call]:
				t.Errorf("the hold of #%d ends, and never began", c.Call)
			default:
				delete(f.on, c.Call)
				f.ended[c.Call] = c.Ended.How
			}
		}
	}
	return f
}

// Whoever follows from any moment on knows the same as the Desk: nothing is missing between the list and the changes.
func TestFollowersKnowWhatIsOnHoldWheneverTheyBegin(t *testing.T) {
	desk := review.NewDesk(gate{})
	var everybody sync.WaitGroup
	const calls, followers = 200, 8
	known := make([]*follower, followers)
	for i := range followers {
		everybody.Go(func() {
			now, feed := desk.Follow()
			known[i] = follow(t.Context(), t, now, feed)
		})
	}
	var people sync.WaitGroup
	for i := range uint64(calls) {
		people.Go(func() {
			slot, refused := desk.Park(review.Held{Call: i + 1}, time.Hour)
			if slot == nil {
				t.Error(refused)
				return
			}
			slot.Recorded()
			switch i % 3 {
			case 0:
				if _, err := desk.Decide(i+1, review.Decision{Who: "ann", Approve: true}); err != nil {
					t.Error(err)
				}
			case 1:
				slot.Leave("the client has gone")
			}
		})
	}
	people.Wait()
	now, feed := desk.Follow()
	if len(now) != calls/3 {
		t.Errorf("%d calls are on hold", len(now))
	}
	desk.Close("umpire is stopping")
	everybody.Wait()
	last := follow(t.Context(), t, now, feed)
	for i, f := range append(known, last) {
		if len(f.on) != 0 || f.lost != 0 {
			t.Errorf("follower %d: on hold are %v, lost %d", i, slices.Collect(maps.Keys(f.on)), f.lost)
		}
	}
	for call, how := range last.ended {
		if how != "umpire is stopping" {
			t.Errorf("#%d: %s", call, how)
		}
	}
	if _, _, more := feed.Next(t.Context()); more {
		t.Error("a Desk that has closed tells more")
	}
	if now, feed := desk.Follow(); len(now) != 0 {
		t.Error(now)
	} else if list, _, more := feed.Next(t.Context()); len(list) != 0 || more {
		t.Error(list, more)
	}
}

// A follower who does not read costs the Desk nothing but bounded memory, and is told that he has missed something.
func TestAFollowerWhoDoesNotReadLosesTheOldestAndIsToldSo(t *testing.T) {
	desk := review.NewDesk(gate{})
	_, few := desk.Follow()
	const calls = 2 * review.MaxHeld
	for i := range uint64(calls) {
		slot, refused := desk.Park(review.Held{Call: i + 1}, time.Hour)
		if slot == nil {
			t.Fatal(refused)
		}
		slot.Recorded()
		slot.Leave("gone")
	}
	list, lost, more := few.Next(t.Context())
	if len(list)+lost != 2*calls || lost != 2*calls-2*review.MaxHeld || !more {
		t.Errorf("%d changes, %d lost, %v", len(list), lost, more)
	}
	if last := list[len(list)-1]; last.Call != calls || last.Ended == nil {
		t.Errorf("the last change is %+v", last)
	}

	_, large := desk.Follow()
	for i := range uint64(100) {
		slot, _ := desk.Park(review.Held{Call: calls + i + 1, Args: bytes.Repeat([]byte(" "), 1<<20)}, time.Hour)
		slot.Leave("gone")
	}
	if list, lost, _ := large.Next(t.Context()); len(list) != 16 || lost != 184 {
		t.Errorf("%d large changes, %d lost", len(list), lost)
	}
	large.Stop()
	if _, _, more := large.Next(t.Context()); more {
		t.Error("a feed that was stopped tells more")
	}
}

func TestAFollowerWhoGivesUpIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := review.NewDesk(gate{})
		_, feed := desk.Follow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if list, _, more := feed.Next(ctx); list != nil || more {
			t.Error(list, more)
		}
		slot, _ := desk.Park(review.Held{Call: 1}, time.Second)
		<-slot.Done()
		list, _, _ := feed.Next(t.Context())
		if len(list) != 2 || list[1].Ended.How != "nobody decided within 1s" {
			t.Errorf("%+v", list)
		}
	})
}

// Nobody is told of a hold that is not on record, and of one that ends before its turn comes, both.
func TestFollowersHearOfAHoldOnceItIsRecorded(t *testing.T) {
	desk := review.NewDesk(gate{})
	_, feed := desk.Follow()
	lost, _ := desk.Park(review.Held{Call: 1}, time.Hour)
	lost.Drop()
	lost.Recorded()
	late, _ := desk.Park(review.Held{Call: 2}, time.Hour)
	quick, _ := desk.Park(review.Held{Call: 3}, time.Hour)
	if now, second := desk.Follow(); len(now) != 0 {
		t.Errorf("%v are on record", now)
	} else {
		second.Stop()
	}
	quick.Leave("gone")
	quick.Recorded()
	late.Recorded()
	late.Recorded()
	if now, _ := desk.Follow(); len(now) != 1 || now[0].Call != 2 {
		t.Errorf("%v are on record", now)
	}
	list, _, _ := feed.Next(t.Context())
	got := ""
	for _, c := range list {
		got += fmt.Sprint(c.Call, c.Ended == nil, " ")
	}
	if want := "3 true 3 false 2 true "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// lame cannot record.
type lame struct{ gate }

func (lame) Expire(uint64, string) (event.Verdict, error) {
	return event.Verdict{}, errors.New("the disk is full")
}

// A hold ends for its followers as it does for its client: once, and denied where that cannot be recorded.
func TestFollowersHearOfAnEndThatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := review.NewDesk(lame{})
		_, feed := desk.Follow()
		slot, _ := desk.Park(review.Held{Call: 1, Rule: "big"}, time.Second)
		<-slot.Done()
		desk.Close("umpire is stopping")
		f := []string{}
		for more := true; more; {
			var list []review.Change
			list, _, more = feed.Next(t.Context())
			for _, c := range list {
				text := "held"
				if c.Ended != nil {
					text = fmt.Sprint(c.Ended.How, ": ", c.Ended.Verdict.Action)
				}
				f = append(f, text)
			}
		}
		if want := []string{"held", "nobody decided within 1s: deny"}; !slices.Equal(f, want) {
			t.Errorf("%q, want %q", f, want)
		}
	})
}
