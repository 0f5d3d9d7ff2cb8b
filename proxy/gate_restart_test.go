package proxy_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// A history of which retention has removed all that is old goes on where it was, in Seq and in time.
func TestAHistoryThatWasPrunedGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	c := newClock()
	for i := range 3 {
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		g := gate(t, db, policy(t, threeRefunds), c)
		for range 2 {
			if tk := judge(t, g, support, "{}"); !tk.Verdict.Action.Passes() {
				t.Errorf("run %d: %+v", i, tk.Verdict)
			}
			c.add(time.Second)
		}
		g.Close()
		c.add(100 * 24 * time.Hour)
		now := event.At(c.now())
		if n, err := db.Prune(store.Retention{Before: now, Floor: now}); err != nil || n == 0 {
			t.Errorf("%d events removed, %v", n, err)
		}
		pruned, err := db.Pruned()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := replay.Verify(db.Events, pruned.At); err != nil || len(r.Differences) > 0 {
			t.Errorf("replay: %+v %v", r, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Check(t, path)
}

// What a restart finds: the counters, the sessions, and what was open when it ended.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	c := newClock()
	open := func() (*store.DB, *proxy.Gate) {
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return db, gate(t, db, policy(t, threeRefunds), c)
	}
	db, g := open()
	first := judge(t, g, support, `{"amount":1}`)
	judge(t, g, support, `{"amount":2}`)
	if err := g.Record(support, first.Seq, &event.Result{Server: "billing", Tool: "issue_refund", Outcome: event.OutcomeOK}).Wait(); err != nil {
		t.Fatal(err)
	}
	g.Close()
	db.Close()

	db, g = open()
	events := log(t, db)
	if got := kinds(events); got != "loaded opened call verdict call verdict result result closed" {
		t.Errorf("%s", got)
	}
	lost := events[7]
	if r := lost.Body.(*event.Result); r.Outcome != event.OutcomeLost || lost.Cause != 5 || lost.Session != "s2" {
		t.Errorf("%+v %+v", lost, r)
	}
	c.add(time.Second)
	third, fourth := judge(t, g, support, `{}`), judge(t, g, support, `{}`)
	if !strings.Contains(third.Verdict.Why, "3 of 3") || fourth.Verdict.Action.Passes() {
		t.Errorf("%s; %s", third.Verdict.Why, fourth.Verdict.Why)
	}
	if events = log(t, db); events[len(events)-1].Session != "s2" {
		t.Errorf("the session is now %s", events[len(events)-1].Session)
	}
	g.Close()
	verify(t, db)
	db.Close()
	storetest.Check(t, path)
}

// Invariant 1: At never decreases, even if the clock is set back.
func TestTimeNeverRunsBack(t *testing.T) {
	c := newClock()
	disk := &manual{}
	g := gate(t, disk, policy(t, threeRefunds), c)
	for range 3 {
		judge(t, g, support, "{}")
	}
	c.add(-time.Hour)
	if tk := judge(t, g, support, "{}"); tk.Verdict.Action.Passes() {
		t.Error("setting the clock back empties a window")
	}
	c.add(time.Hour + 11*time.Second)
	if tk := judge(t, g, support, "{}"); !tk.Verdict.Action.Passes() {
		t.Error("the window does not slide any more")
	}
	g.Close()
	before := event.Time(0)
	for _, e := range log(t, disk) {
		if e.At < before {
			t.Errorf("event %d happened before the one before it", e.Seq)
		}
		before = e.At
	}
}

// A new policy has the windows that it would have had from the beginning, and a reload loses no call.
func TestLoadFoldsHistoryAgain(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	g := gate(t, db, policy(t, "rules: []"), nil)
	for range 3 {
		judge(t, g, support, "{}")
	}
	if err := g.Load(policy(t, threeRefunds)); err != nil {
		t.Fatal(err)
	}
	if tk := judge(t, g, support, "{}"); tk.Verdict.Action.Passes() {
		t.Error("the new rule does not know what happened before it was loaded")
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				judge(t, g, support, "{}")
			}
		})
		wg.Go(func() {
			for j := range 5 {
				if err := g.Load(policy(t, fmt.Sprintf("# %d %d\n%s", i, j, threeRefunds))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g.Close()
	verify(t, db)
}
