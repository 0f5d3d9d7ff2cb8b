package proxy_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// remember approves a call and all like it.
func remember(where ...string) review.Decision {
	return review.Decision{Who: "local:ann", Approve: true, Remember: &review.Remember{Where: where}}
}

// excepted makes a call that has to pass by an exception.
func excepted(t testing.TB, g *proxy.Gate, who proxy.Origin, args string) {
	t.Helper()
	v := judge(t, g, who, args).Verdict
	if v.Action != event.Allow || !strings.HasPrefix(v.Why, "excepted from ask by local:ann until ") || len(v.Also) != 1 || !v.Also[0].Excepted {
		t.Errorf("%s: %+v", args, v)
	}
}

// An approval that is remembered is good for the same call again, for as long as it says, and for nothing else.
func TestWhatIsRememberedPassesUntilItIsOver(t *testing.T) {
	db, c := storetest.Open(t, store.Config{}), newClock()
	g := gate(t, db, policy(t, heldRefunds), c)
	tk := park(t, g, `{"order_id":"o1","amount":30}`)
	v, err := g.Desk().Decide(tk.Seq, remember())
	if err != nil || v.Action != event.Allow || !strings.Contains(v.Why, "local:ann approved it; excepted from ask by local:ann until ") {
		t.Fatalf("%+v %v", v, err)
	}
	excepted(t, g, support, `{"order_id":"o1","amount":30}`)
	excepted(t, g, support, ` { "amount": 3e1, "order_id": "\u006f1" } `)
	for _, other := range []string{
		`{"order_id":"o1","amount":31}`, `{"order_id":"o1","amount":"30"}`, `{"order_id":"o1"}`, `{"order_id":"o1","amount":30,"x":null}`,
		`{"order_id":"O1","amount":30}`, `{"order_id":"o1","amount":30,"Amount":30}`, `{"order_id":"o1","amount":30.000000000000000000001}`,
	} {
		tk := park(t, g, other)
		tk.Hold.Leave("the client gave up")
	}
	list, err := g.Exceptions()
	if err != nil || len(list) != 1 || list[0].Call != tk.Seq || list[0].Seq != v.Also[0].Exception || list[0].Idle != nil {
		t.Errorf("%+v %v", list, err)
	}
	c.add(review.DefaultFor)
	if v := judge(t, g, support, `{"order_id":"o1","amount":30}`).Verdict; v.Action != event.Hold {
		t.Errorf("%+v", v)
	}
	if list, err := g.Exceptions(); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	g.Close()
	verify(t, db)
}

// Two reviewers at once, of whom one remembers and one denies: who is first decides, and nothing is remembered of the other.
func TestOneRemembersWhileAnotherDenies(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	for i := range 50 {
		tk := park(t, g, fmt.Sprintf(`{"order_id":"o%d"}`, i))
		var wg sync.WaitGroup
		var errs [2]error
		for k, d := range []review.Decision{remember(), refuse} {
			wg.Go(func() { _, errs[k] = g.Desk().Decide(tk.Seq, d) })
		}
		wg.Wait()
		v := settled(t, tk)
		late := errs[0]
		if errs[0] == nil {
			late = errs[1]
		}
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(late, review.ErrGone) || v.Action.Passes() != (errs[0] == nil) {
			t.Fatalf("%v, and %+v", errs, v)
		}
		list, err := g.Exceptions()
		if err != nil {
			t.Fatal(err)
		}
		remembered := len(list) > 0 && list[len(list)-1].Call == tk.Seq
		if remembered != (errs[0] == nil) {
			t.Errorf("remembered: %v, although %v", remembered, errs)
		}
	}
	verify(t, disk)
}

// What is remembered outlives a restart and a change of the policy, for as long as its rule says the same.
func TestAnExceptionIsFromTheRuleAsItWasWritten(t *testing.T) {
	disk, c := &manual{}, newClock()
	g := gate(t, disk, policy(t, heldRefunds), c)
	tk := park(t, g, `{"order_id":"o1"}`)
	if _, err := g.Desk().Decide(tk.Seq, remember()); err != nil {
		t.Fatal(err)
	}
	g.Close()
	g = gate(t, disk, policy(t, heldRefunds), c)
	defer g.Close()
	excepted(t, g, support, `{"order_id":"o1"}`)
	for _, change := range []struct {
		policy string
		action event.Action
	}{
		{heldThree, event.Allow},
		{`rules: [{do: hold, on: "billing/issue_refund", name: ask}] # said in another way`, event.Allow},
		{`rules: [{name: ask, on: billing/issue_refund, do: hold, mode: observe}]`, event.Allow},
		{`rules: [{name: ask, on: billing/*, do: hold}]`, event.Hold},
		{`rules: [{name: ask2, on: billing/issue_refund, do: hold}]`, event.Hold},
		{`rules: [{name: ask, on: billing/issue_refund, do: deny}]`, event.Deny},
		{heldRefunds, event.Allow},
	} {
		if err := g.Load(policy(t, change.policy)); err != nil {
			t.Fatal(err)
		}
		if v := judge(t, g, support, `{"order_id":"o1"}`).Verdict; v.Action != change.action {
			t.Errorf("%s: %+v", change.policy, v)
		}
	}
	verify(t, disk)
}

// What cannot be remembered is refused: nothing is recorded, and the call waits on.
func TestWhatCannotBeRememberedIsRefused(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	call := func(args string, findings ...event.Finding) uint64 {
		c := refund(args)
		c.Findings = findings
		tk := g.Call(support, c, proxy.Retry{})
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
		return tk.Seq
	}
	plain := call(`{"to":"DE1","list":[1],"nothing":null,"long":"` + strings.Repeat("x", 5000) + `","a":1,"A":2}`)
	secret := call(`{"to":"[redacted 0011223344556677]"}`, event.Finding{Kind: event.Redacted, Path: "args.to", Size: 4})
	before := len(log(t, disk))
	forTime := func(d string) review.Decision {
		return review.Decision{Who: "local:ann", Approve: true, Remember: &review.Remember{For: d}}
	}
	for _, tc := range []struct {
		call uint64
		by   review.Decision
		want string
	}{
		{plain, review.Decision{Who: "local:ann", Remember: &review.Remember{}}, "a denial cannot"},
		{plain, forTime("31d"), "for 1m to 30d, and not for 31d"},
		{plain, forTime("0s"), "and not for 0s"},
		{plain, forTime("-1h"), "and not for"},
		{plain, forTime("soon"), `"soon" is no time`},
		{plain, remember("iban"), "args.iban is missing"},
		{plain, remember("nothing"), "args.nothing is missing"},
		{plain, remember("list"), "args.list is not a string, number or boolean"},
		{plain, remember("to.x"), "args.to.x cannot be read"},
		{plain, remember("long"), "5002 bytes, and 4096 is the most"},
		{plain, remember("a"), "differ in case alone"},
		{plain, remember(strings.Fields(strings.Repeat("to ", 17))...), "17 arguments are more than 16"},
		{secret, remember(), "args.to is redacted in the history"},
		{secret, remember("to"), "args.to is redacted in the history"},
	} {
		if p, err := g.Desk().Propose(tc.call, tc.by); err == nil || !strings.Contains(err.Error(), tc.want) || p.Diff != "" {
			t.Errorf("proposed %+v: %v, want %q", tc.by.Remember, err, tc.want)
		}
		if _, err := g.Desk().Decide(tc.call, tc.by); err == nil || errors.Is(err, review.ErrGone) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.by.Remember, err, tc.want)
		}
	}
	if n := len(log(t, disk)); n != before || len(g.Desk().List()) != 2 {
		t.Errorf("%d events more, %d calls on hold", n-before, len(g.Desk().List()))
	}
	if _, err := g.Desk().Propose(999, remember()); !errors.Is(err, review.ErrGone) {
		t.Error(err)
	}
}

// There are so many exceptions and no more, and one that is revoked makes room.
func TestExceptionsAreBounded(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, heldRefunds), nil)
	defer g.Close()
	for i := range rules.MaxExceptions {
		tk := park(t, g, fmt.Sprintf(`{"n":%d}`, i))
		if _, err := g.Desk().Decide(tk.Seq, remember()); err != nil {
			t.Fatal(err)
		}
	}
	tk := park(t, g, `{"n":"one more"}`)
	if _, err := g.Desk().Decide(tk.Seq, remember()); err == nil || !strings.Contains(err.Error(), "1000 exceptions are in force") {
		t.Error(err)
	}
	list, err := g.Exceptions()
	if err != nil || len(list) != rules.MaxExceptions {
		t.Fatal(len(list), err)
	}
	if err := g.Revoke(list[0].Seq, "local:bob", "no more"); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []uint64{list[0].Seq, 1, 1 << 40} {
		if err := g.Revoke(gone, "local:bob", ""); !errors.Is(err, proxy.ErrNoException) {
			t.Error(err)
		}
	}
	if v := judge(t, g, support, `{"n":0}`).Verdict; v.Action != event.Hold {
		t.Errorf("%+v", v)
	}
	if _, err := g.Desk().Decide(tk.Seq, remember()); err != nil {
		t.Error(err)
	}
	verify(t, disk)
}

// A decision to remember that is too late, or that is not recorded, remembers nothing.
func TestWhatIsTooLateOrNotRecordedIsNotRemembered(t *testing.T) {
	disk, c := &manual{}, newClock()
	g := gate(t, disk, policy(t, heldRefunds), c)
	defer g.Close()
	tk := park(t, g, "{}")
	c.add(rules.HoldFor)
	v, err := g.Desk().Decide(tk.Seq, remember())
	if err != nil || v.Action != event.Deny || !strings.Contains(v.Why, "the decision came after 5m0s") {
		t.Errorf("%+v %v", v, err)
	}
	tk = park(t, g, "{}")
	disk.set(false, errors.New("no space left on device"))
	if _, err := g.Desk().Decide(tk.Seq, remember()); !errors.Is(err, proxy.ErrNotRecorded) {
		t.Error(err)
	}
	disk.set(false, nil)
	g.Close()
	g = gate(t, disk, policy(t, heldRefunds), c)
	defer g.Close()
	if list, err := g.Exceptions(); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	c.add(time.Hour)
	if v := judge(t, g, support, "{}").Verdict; v.Action != event.Hold {
		t.Errorf("%+v", v)
	}
}
