package proxy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

const (
	heldRefunds = `rules: [{name: ask, on: billing/issue_refund, do: hold}]`
	heldThree   = `rules: [{name: ask, on: billing/issue_refund, do: hold}, {name: refund-burst, on: billing/issue_refund, rate: {max: 3, per: 1h}, do: deny}]`
)

var (
	approve = review.Decision{Who: "local:ann", Approve: true}
	refuse  = review.Decision{Who: "local:bob", Note: "not without a ticket"}
)

// park makes a call that is held.
func park(t testing.TB, g *proxy.Gate, args string) *proxy.Ticket {
	t.Helper()
	tk := judge(t, g, support, args)
	if tk.Verdict.Action != event.Hold || tk.Hold == nil {
		t.Fatalf("not held: %+v", tk.Verdict)
	}
	return tk
}

// settled waits for what becomes of a held call.
func settled(t testing.TB, tk *proxy.Ticket) event.Verdict {
	t.Helper()
	receive(t, tk.Hold.Done(), fmt.Sprintf("the end of hold #%d", tk.Seq))
	v, err := tk.Settled()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What is held does not count, and is judged when it is approved: 64 approvals at once let no more through than the
// limit says.
func TestParallelApprovalsCannotRacePastALimit(t *testing.T) {
	for range 5 {
		db := storetest.Open(t, store.Config{})
		g := gate(t, db, policy(t, heldThree), nil)
		var tickets [64]*proxy.Ticket
		var wg sync.WaitGroup
		for i := range tickets {
			wg.Go(func() { tickets[i] = park(t, g, fmt.Sprintf(`{"amount":%d}`, i)) })
		}
		wg.Wait()
		if n := len(g.Desk().List()); n != 64 {
			t.Fatalf("%d calls are listed", n)
		}
		var passed, refused atomic.Int64
		for _, tk := range tickets {
			wg.Go(func() {
				v, err := g.Desk().Decide(tk.Seq, approve)
				if got := settled(t, tk); err != nil || got.Action != v.Action || got.Why != v.Why {
					t.Errorf("the reviewer is told %+v %v, the client %+v", v, err, got)
				}
				switch {
				case v.Action == event.Allow:
					passed.Add(1)
				case v.Rule == "refund-burst" && strings.Contains(v.Why, "although local:ann approved it"):
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if passed.Load() != 3 || refused.Load() != 61 || len(g.Desk().List()) != 0 {
			t.Fatalf("%d passed, %d were denied", passed.Load(), refused.Load())
		}
		g.Close()
		verify(t, db)
	}
}

// Of many reviewers the first one decides; every other hears who was first.
func TestTheFirstReviewerDecides(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	for range 20 {
		tk := park(t, g, "{}")
		var first atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				d := approve
				if i%2 == 0 {
					d = refuse
				}
				v, err := g.Desk().Decide(tk.Seq, d)
				switch {
				case err == nil && v.Action.Passes() == d.Approve:
					first.Add(1)
				case !errors.Is(err, review.ErrGone) || !strings.Contains(err.Error(), " it") || !strings.Contains(err.Error(), "local:"):
					t.Errorf("%+v %v", v, err)
				}
			})
		}
		wg.Wait()
		if first.Load() != 1 {
			t.Errorf("%d reviewers decided", first.Load())
		}
	}
	n := 0
	for _, e := range log(t, disk) {
		if r, ok := e.Body.(*event.Review); ok {
			n++
			if r.Tool != "issue_refund" || len(r.Args) != 64 || r.Policy != g.Policy().Digest() || r.Expires.Sub(e.At) > rules.HoldFor {
				t.Errorf("%+v says not what was decided about", r)
			}
		}
	}
	if n != 20 {
		t.Errorf("%d reviews of 20 calls", n)
	}
	verify(t, disk)
}

func TestAnApprovalOfACallThatIsGoneIsRefused(t *testing.T) {
	g := gate(t, &manual{}, policy(t, heldRefunds), nil)
	defer g.Close()
	tk := park(t, g, "{}")
	tk.Hold.Leave("the client gave up")
	if v := settled(t, tk); v.Action != event.Deny || !strings.HasPrefix(v.Why, "the client gave up; it was on hold: ") {
		t.Errorf("%+v", v)
	}
	if _, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, review.ErrGone) || !strings.Contains(err.Error(), "any more: the client gave up") {
		t.Error(err)
	}
	for _, never := range []uint64{0, 1, 999} {
		if _, err := g.Desk().Decide(never, approve); !errors.Is(err, review.ErrGone) {
			t.Error(never, err)
		}
	}
	tk = park(t, g, "{}")
	for _, note := range []string{strings.Repeat("x", review.MaxNote+1), "\xff"} {
		if _, err := g.Desk().Decide(tk.Seq, review.Decision{Approve: true, Note: note}); err == nil || errors.Is(err, review.ErrGone) {
			t.Errorf("a note %.5q is taken: %v", note, err)
		}
	}
}

// Nobody decides: the call is denied, and that is an event.
func TestAHoldEndsByItself(t *testing.T) {
	disk := &manual{}
	g, err := proxy.NewGate(proxy.GateConfig{Recorder: disk, Policy: policy(t, heldRefunds), HoldFor: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	tk := park(t, g, "{}")
	if v := settled(t, tk); v.Action != event.Deny || v.Rule != "ask" || !strings.HasPrefix(v.Why, "nobody decided within 20ms; ") {
		t.Errorf("%+v", v)
	}
	if got := kinds(log(t, disk)); got != "loaded opened call verdict expired verdict" {
		t.Error(got)
	}
	verify(t, disk)
	if _, err := proxy.NewGate(proxy.GateConfig{Recorder: disk, Policy: policy(t, heldRefunds), HoldFor: rules.HoldFor + 1}); err == nil {
		t.Error("a call can be held for longer than the history is kept for it")
	}
}

// The clock of the log counts: a decision that comes too late is void, whatever timers think.
func TestADecisionThatComesTooLateIsVoid(t *testing.T) {
	disk, c := &manual{}, newClock()
	g := gate(t, disk, policy(t, heldRefunds), c)
	defer g.Close()
	early, late := park(t, g, "{}"), park(t, g, "{}")
	c.add(rules.HoldFor - 1)
	if v, err := g.Desk().Decide(early.Seq, approve); err != nil || v.Action != event.Allow {
		t.Errorf("%+v %v", v, err)
	}
	c.add(1)
	v, err := g.Desk().Decide(late.Seq, approve)
	if err != nil || v.Action != event.Deny || !strings.Contains(v.Why, "the decision came after 5m0s") {
		t.Errorf("%+v %v", v, err)
	}
	if got := settled(t, late); got.Action != event.Deny {
		t.Errorf("%+v", got)
	}
	verify(t, disk)
}

// An approval is for the policy that asked for it. Another policy ends the hold, and the reviewer and the client are told.
func TestAnotherPolicyEndsWhatIsHeld(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	tk := park(t, g, "{}")
	if err := g.Load(policy(t, heldThree)); err != nil {
		t.Fatal(err)
	}
	if v := settled(t, tk); v.Action != event.Deny || !strings.Contains(v.Why, "policy changed") || v.Policy != g.Policy().Digest() {
		t.Errorf("%+v", v)
	}
	if _, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, review.ErrGone) || !strings.Contains(err.Error(), "policy changed") {
		t.Error(err)
	}
	// The gate itself takes no approval of another policy's hold, whoever is faster.
	for range 50 {
		tk := park(t, g, "{}")
		next := policy(t, heldRefunds)
		if g.Policy().Digest() == next.Digest() {
			next = policy(t, heldThree)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.Load(next); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { g.Desk().Decide(tk.Seq, refuse) })
		settled(t, tk)
		wg.Wait()
	}
	var inForce string
	holds := map[uint64]string{}
	for _, e := range log(t, disk) {
		switch b := e.Body.(type) {
		case *event.Loaded:
			inForce = b.Digest
		case *event.Verdict:
			holds[e.Cause] = b.Policy
		case *event.Review:
			if holds[e.Cause] != inForce || b.Policy != inForce {
				t.Errorf("#%d was held by policy %.5s and decided under %.5s", e.Cause, holds[e.Cause], inForce)
			}
		case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	verify(t, disk)
}

// What was on hold when Umpire was killed is denied by the next run, under whatever policy that has.
func TestWhatWasHeldIsDeniedAfterARestart(t *testing.T) {
	for _, next := range []string{heldRefunds, heldThree, "rules: []"} {
		db := &manual{}
		g := gate(t, db, policy(t, heldRefunds), nil)
		tk := park(t, g, "{}")
		killed := &manual{events: log(t, db)} // what a copy of the disk says at this moment
		g.Close()
		if v := settled(t, tk); !strings.Contains(v.Why, "umpire is stopping") {
			t.Errorf("%+v", v)
		}
		verify(t, db)

		g = gate(t, killed, policy(t, next), nil)
		if held := g.Desk().List(); len(held) != 0 {
			t.Errorf("%+v", held)
		}
		if _, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, review.ErrGone) {
			t.Error(err)
		}
		events := log(t, killed)
		last, ok := events[len(events)-1].Body.(*event.Verdict)
		if !ok || last.Action != event.Deny || !strings.Contains(last.Why, "umpire stopped while the call was on hold") {
			t.Errorf("%s: %+v", kinds(events), last)
		}
		g.Close()
		verify(t, killed)
	}
}

// A decision that cannot be recorded decides nothing: the reviewer is told, the call stays on hold, and once there is
// room again the decision can be made again.
func TestADecisionThatIsNotRecordedDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &manual{}
		g := gate(t, disk, policy(t, heldRefunds), nil)
		defer g.Close()
		tk := park(t, g, "{}")
		disk.set(false, errors.New("no space left on device"))
		if v, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, proxy.ErrNotRecorded) || v.Action.Passes() {
			t.Errorf("%+v %v", v, err)
		}
		select {
		case <-tk.Hold.Done():
			t.Fatalf("decided: %+v", tk.Hold.Verdict())
		default:
		}
		disk.set(false, nil)
		time.Sleep(time.Second) // it tries again once a second
		_, err := g.Desk().Decide(tk.Seq, approve)
		if v := settled(t, tk); err != nil || v.Action != event.Allow {
			t.Errorf("%+v %v", v, err)
		}
		verify(t, disk)
	})
}

// A hold that cannot be recorded is a denial, and nothing is left of it.
func TestAHoldThatIsNotRecordedIsADenial(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	disk.set(true, nil)
	tk := g.Call(support, refund("{}"), proxy.Retry{})
	disk.set(false, errors.New("no space left on device"))
	if v, err := tk.Settled(); !errors.Is(err, proxy.ErrNotRecorded) || v.Action != event.Deny || tk.Hold != nil {
		t.Errorf("%+v %v", v, err)
	}
	if held := g.Desk().List(); len(held) != 0 {
		t.Errorf("%+v", held)
	}
	if _, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, review.ErrGone) {
		t.Error(err)
	}
}

// A client that leaves is not made to wait for a disk that is full.
func TestAClientCanLeaveWhileNothingCanBeRecorded(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	tk := park(t, g, "{}")
	disk.set(false, errors.New("no space left on device"))
	tk.Hold.Leave("the client gave up")
	if v := settled(t, tk); v.Action != event.Deny {
		t.Errorf("%+v", v)
	}
	if _, err := g.Desk().Decide(tk.Seq, approve); !errors.Is(err, review.ErrGone) {
		t.Error(err)
	}
}

func TestTheDeskHasRoomForSoManyCalls(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	for range review.MaxHeld {
		park(t, g, "{}")
	}
	tk := judge(t, g, support, "{}")
	if tk.Verdict.Action != event.Deny || tk.Hold != nil || !strings.Contains(tk.Verdict.Why, "1000 calls are on hold") {
		t.Errorf("%+v", tk.Verdict)
	}
	g.Desk().Close("umpire is stopping")
	if tk := judge(t, g, support, "{}"); tk.Verdict.Action != event.Deny || !strings.Contains(tk.Verdict.Why, "umpire is stopping") {
		t.Errorf("%+v", tk.Verdict)
	}
	verify(t, disk)
}

// Whatever happens at the same time, each hold ends once: one review or expiry, then one verdict, which is what the
// client gets; a reviewer who is told that the decision counted finds it on record.
func TestEachHoldEndsOnce(t *testing.T) {
	disk := &manual{}
	policies := []*rules.Policy{policy(t, heldRefunds), policy(t, heldRefunds+"\n")}
	g := gate(t, disk, policies[0], nil)
	outcome, reviewed := map[uint64]event.Verdict{}, map[uint64]review.Decision{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			tk := judge(t, g, support, fmt.Sprintf(`{"amount":%d}`, i))
			if tk.Hold == nil {
				t.Errorf("%+v", tk.Verdict)
				return
			}
			var deciders sync.WaitGroup
			for k := range 3 {
				deciders.Go(func() {
					if (i+k)%4 == 0 {
						tk.Hold.Leave("the client gave up")
						return
					}
					d := review.Decision{Who: fmt.Sprint("local:", k), Approve: (i+k)%2 == 0}
					v, err := g.Desk().Decide(tk.Seq, d)
					if err == nil && !strings.Contains(v.Why, "policy changed") {
						mu.Lock()
						defer mu.Unlock()
						if before, twice := reviewed[tk.Seq]; twice {
							t.Errorf("#%d: %+v and %+v decided", tk.Seq, before, d)
						}
						reviewed[tk.Seq] = d
					} else if err != nil && !errors.Is(err, review.ErrGone) {
						t.Error(err)
					}
				})
			}
			v := settled(t, tk)
			deciders.Wait()
			mu.Lock()
			defer mu.Unlock()
			outcome[tk.Seq] = v
		})
	}
	for i := range 10 {
		if err := g.Load(policies[1-i%2]); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	g.Close()
	ends, verdicts := map[uint64]event.Body{}, map[uint64]*event.Verdict{}
	for _, e := range log(t, disk) {
		switch b := e.Body.(type) {
		case *event.Review, *event.Expired:
			if ends[e.Cause] != nil {
				t.Errorf("the hold of #%d ends twice", e.Cause)
			}
			ends[e.Cause] = b
		case *event.Verdict:
			if b.After != 0 {
				verdicts[e.Cause] = b
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	if len(ends) != 300 || len(verdicts) != 300 || len(outcome) != 300 {
		t.Fatalf("%d holds ended with %d verdicts for %d clients", len(ends), len(verdicts), len(outcome))
	}
	for call, v := range outcome {
		if got := verdicts[call]; got.Action != v.Action || got.Why != v.Why {
			t.Errorf("#%d: recorded %+v, released %+v", call, got, v)
		}
		r, ok := ends[call].(*event.Review)
		if d, told := reviewed[call]; ok != told || ok && (r.Who != d.Who || r.Approve != d.Approve) || v.Action.Passes() != (ok && r.Approve) {
			t.Errorf("#%d: %+v told, %+v recorded, %+v released", call, d, ends[call], v)
		}
	}
	verify(t, disk)
}

// An approval is good for the one call that was looked at: not for the same call again, nor for one that differs in exactly one of
// session, server, tool and arguments, nor is it once more when it is sent again.
func TestAnApprovalDoesNotCarryToAnotherCall(t *testing.T) {
	disk, c := &manual{}, newClock()
	g := gate(t, disk, policy(t, `rules: [{name: ask, on: "*/*", do: hold}]`), c)
	defer g.Close()
	who := support
	call := func(change func(who *proxy.Origin, call *event.Call)) *proxy.Ticket {
		who, call := who, refund(`{"amount":30}`)
		change(&who, &call)
		tk := g.Call(who, call, proxy.Retry{})
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
		return tk
	}
	first := call(func(*proxy.Origin, *event.Call) {})
	waiting := call(func(*proxy.Origin, *event.Call) {}) // the same, at the same time
	if v, err := g.Desk().Decide(first.Seq, approve); err != nil || v.Action != event.Allow {
		t.Fatal(v, err)
	}
	for name, change := range map[string]func(who *proxy.Origin, call *event.Call){
		"the same again": func(*proxy.Origin, *event.Call) {},
		"in another session": func(who *proxy.Origin, call *event.Call) {
			who.Peer.Asserted = map[string]string{"sessionId": "other"}
			call.Peer, who.Link = who.Peer, "l2"
		},
		"to another server":    func(_ *proxy.Origin, call *event.Call) { call.Server = "billing2" },
		"to another tool":      func(_ *proxy.Origin, call *event.Call) { call.Tool = "issue_refund2" },
		"with other arguments": func(_ *proxy.Origin, call *event.Call) { call.Args = []byte(`{"amount":31}`) },
		"after the hold":       func(*proxy.Origin, *event.Call) { c.add(rules.HoldFor) },
	} {
		if tk := call(change); tk.Verdict.Action != event.Hold || tk.Hold == nil {
			t.Errorf("%s: %+v", name, tk.Verdict)
		}
	}
	if tk := g.Call(who, refund(`{"amount":30}`), proxy.Retry{Continues: true, State: "s", Args: []byte(`{"amount":30}`)}); tk.Wait() != nil || tk.Verdict.Action != event.Hold {
		t.Errorf("a retry: %+v", tk.Verdict)
	}
	for range 2 {
		if _, err := g.Desk().Decide(first.Seq, approve); !errors.Is(err, review.ErrGone) {
			t.Error(err)
		}
	}
	if !slices.ContainsFunc(g.Desk().List(), func(h review.Held) bool { return h.Call == waiting.Seq }) {
		t.Error("the approval has released another call")
	}
	if err := g.Load(policy(t, heldRefunds)); err != nil {
		t.Fatal(err)
	}
	if tk := call(func(*proxy.Origin, *event.Call) {}); tk.Verdict.Action != event.Hold {
		t.Errorf("under another policy: %+v", tk.Verdict)
	}
	verify(t, disk)
}
