package proxy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// Invariant 4: nothing is released before its record is committed; memory may run ahead of the disk.
func TestNothingIsReleasedBeforeItIsCommitted(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), nil)
	defer g.Close()
	disk.set(true, nil)
	var tickets []*proxy.Ticket
	for range 5 {
		tickets = append(tickets, g.Call(support, refund("{}"), proxy.Retry{}))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, tk := range tickets {
			if err := tk.Wait(); err != nil || tk.Verdict.Action.Passes() != (i < 3) {
				t.Errorf("call %d: %v %v", i, tk.Verdict, err)
			}
		}
	}()
	select {
	case <-done:
		t.Error("released without a commit")
	case <-time.After(50 * time.Millisecond):
	}
	disk.set(false, nil)
	<-done
}

// Invariant 4: if an append fails, all that is queued is denied, and memory is dropped and folded again: the slots of
// calls that never passed are free.
func TestAFailedAppendDeniesAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &manual{}
		c := newClock()
		g := gate(t, disk, policy(t, threeRefunds), c)
		defer g.Close()
		judge(t, g, support, "{}")
		full := errors.New("no space left on device")
		disk.set(true, nil)
		queued := []*proxy.Ticket{g.Call(support, refund("{}"), proxy.Retry{}), g.Call(support, refund("{}"), proxy.Retry{})}
		disk.set(false, full)
		for _, tk := range queued {
			if err := tk.Wait(); !errors.Is(err, proxy.ErrNotRecorded) || !errors.Is(err, full) || tk.Verdict.Action.Passes() {
				t.Errorf("%v %v", tk.Verdict, err)
			}
		}
		tk := g.Call(support, refund("{}"), proxy.Retry{})
		if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() || !strings.Contains(tk.Verdict.Why, "no space left") {
			t.Errorf("with a full disk: %v %v", tk.Verdict, err)
		}
		disk.set(false, nil)
		time.Sleep(time.Second) // it tries again once a second
		first := g.Call(support, refund("{}"), proxy.Retry{})
		if first.Wait() != nil || !strings.Contains(first.Verdict.Why, "2 of 3") {
			t.Errorf("after there was room again: %+v", first.Verdict)
		}
		verify(t, disk)
	})
}

func TestARecorderThatPanicsDenies(t *testing.T) {
	disk := &manual{}
	g := gate(t, panicky{disk}, policy(t, threeRefunds), nil)
	defer g.Close()
	tk := g.Call(support, refund(`{"boom":1}`), proxy.Retry{})
	if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() {
		t.Errorf("%v %v", tk.Verdict, err)
	}
	if tk := judge(t, g, support, "{}"); !strings.Contains(tk.Verdict.Why, "1 of 3") {
		t.Errorf("the call that panicked counts: %v", tk.Verdict)
	}
}

type panicky struct{ *manual }

func (p panicky) Append(events []event.Event, done func(error)) {
	for _, e := range events {
		if c, ok := e.Body.(*event.Call); ok && strings.Contains(string(c.Args), "boom") {
			panic("boom")
		}
	}
	p.manual.Append(events, done)
}

// Invariant 2: a policy whose loading cannot be recorded judges nothing; the one before stays in force.
func TestAPolicyThatCannotBeRecordedIsNotInForce(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), nil)
	defer g.Close()
	before := g.Policy().Digest()
	full := errors.New("no space left on device")
	disk.set(false, full)
	if err := g.Load(policy(t, "rules: []")); !errors.Is(err, full) || g.Policy().Digest() != before {
		t.Errorf("%v, and %.8s is in force, not %.8s", err, g.Policy().Digest(), before)
	}
	disk.set(false, nil)
	for i := range 4 {
		if tk := judge(t, g, support, "{}"); tk.Verdict.Policy != before || tk.Verdict.Action.Passes() != (i < 3) {
			t.Errorf("call %d: %+v", i, tk.Verdict)
		}
	}
	verify(t, disk)
}

func TestAfterCloseEverythingFails(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), nil)
	g.Close()
	g.Close() // is of no consequence
	tk := g.Call(support, refund("{}"), proxy.Retry{})
	if err := tk.Wait(); err == nil || tk.Verdict.Action.Passes() {
		t.Errorf("%v %v", tk.Verdict, err)
	}
	if _, ok := g.Reopen(support.Link); ok {
		t.Error("a link is known")
	}
}
