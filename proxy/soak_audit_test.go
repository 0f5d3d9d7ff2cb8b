package proxy_test

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// limits are the numbers of a policy of the soak.
type limits struct {
	burst, total, spread, flight, guesses int
	big                                   int // from this amount on a person decides
}

// some and fewer are loaded in turn.
var (
	some  = limits{burst: 6, total: 400, spread: 5, flight: 2, guesses: 8, big: 80}
	fewer = limits{burst: 4, total: 250, spread: 3, flight: 1, guesses: 5, big: 60}
)

// The windows of the policies of the soak.
const (
	perBurst = time.Second
	perTotal = 3 * time.Second
	perOnce  = 2 * time.Second
	perRoad  = 5 * time.Second // calls in flight
	horizon  = perRoad + time.Second
)

func (l limits) policy(t testing.TB) *rules.Policy {
	return policy(t, fmt.Sprintf(`rules:
  - {name: burst, on: shop/pay, rate: {max: %d, per: 1s, by: session}, do: deny}
  - {name: total, on: shop/pay, rate: {sum: args.amount, max: %d, per: 3s, by: args.order}, do: deny}
  - {name: spread, on: "*/look", rate: {distinct: args.order, max: %d, per: 1s, by: agent}, do: deny}
  - {name: flight, on: shop/pay, rate: {in_flight: %d, per: 5s, by: args.order}, do: deny}
  - {name: guesses, on: "*/guess", rate: {max: %d, per: 1s, by: agent, count: attempted}, do: deny}
  - {name: once, on: shop/ship, rate: {max: 1, per: 2s, by: args.order, count: succeeded}, do: deny}
  - {name: looked, on: shop/ship, require: [{name: look, on: shop/look, where: "look.ok && look.args.order == args.order"}], within: 2s, do: deny}
  - {name: leak, sequence: [{on: files/read, where: args.secret}, {on: shop/send}], by: session, within: 1s, do: deny}
  - {name: big, on: shop/pay, where: 'args.amount >= %d', do: hold}
`, l.burst, l.total, l.spread, l.flight, l.guesses, l.big))
}

// audit counts again, from what umpire export gives, with nothing but lists: whether any limit was exceeded by a call
// that was let through, and whether the log says of each call what became of it, once.
type audit struct {
	books    *books
	policies map[string]limits // by digest
	inForce  string
	last     event.Event
	judged   map[uint64]*audited // calls without a first verdict
	held     map[uint64]*audited
	open     map[uint64]*audited // calls that were let through and have no result
	passed   map[string][]*audited
	attempts map[string][]event.Time // by agent
	verdicts map[string]int          // by the rule that denies or holds
	outcomes map[event.Outcome]int
	calls    int
}

type audited struct {
	*event.Call
	session, order, agent string
	amount                int
	at                    event.Time // when it was let through
	outcome               event.Outcome
}

func newAudit(b *books, policies map[string]limits) *audit {
	return &audit{
		books: b, policies: policies, judged: map[uint64]*audited{}, held: map[uint64]*audited{}, open: map[uint64]*audited{},
		passed: map[string][]*audited{}, attempts: map[string][]event.Time{}, verdicts: map[string]int{}, outcomes: map[event.Outcome]int{},
	}
}

// read goes on where it was, to the end of what is recorded.
func (a *audit) read(events func(from uint64) iter.Seq2[event.Event, error]) {
	for e, err := range events(a.last.Seq + 1) {
		if err != nil {
			a.books.fault("the log cannot be read: %v", err)
			return
		}
		a.add(e)
		a.last = e
	}
}

func (a *audit) add(e event.Event) {
	fault := func(format string, args ...any) { a.books.fault("#%d: "+format, append([]any{e.Seq}, args...)...) }
	if e.Seq != a.last.Seq+1 || e.At < a.last.At {
		fault("it follows #%d, and happens %s later", a.last.Seq, e.At.Sub(a.last.At))
	}
	switch b := e.Body.(type) {
	case *event.Loaded:
		a.inForce = b.Digest
	case *event.Call:
		a.calls++
		c := &audited{
			Call: b, session: e.Session, agent: b.Agent, order: gjson.GetBytes(b.Args, "order").Str, amount: int(gjson.GetBytes(b.Args, "amount").Int()),
		}
		a.judged[e.Seq] = c
		if b.Tool == "guess" {
			a.attempts[b.Agent] = append(trimmed(a.attempts[b.Agent], func(at event.Time) bool { return at > e.At.Add(-perBurst) }), e.At)
		}
	case *event.Verdict:
		a.verdict(e, b, fault)
	case *event.Review:
		if c := a.held[e.Cause]; c == nil || c.Tool != b.Tool || c.Server != b.Server || b.Policy != a.inForce {
			fault("a review of #%d, which is not on hold like that", e.Cause)
		}
	case *event.Expired:
		if a.held[e.Cause] == nil {
			fault("the hold of #%d ends, and it is not on hold", e.Cause)
		}
	case *event.Result:
		c := a.open[e.Cause]
		if c == nil {
			fault("a result of #%d, which is not open", e.Cause)
			return
		}
		c.outcome = b.Outcome
		a.outcomes[b.Outcome]++
		delete(a.open, e.Cause)
	case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Signal, *event.Turn, *event.Closed:
	}
}

func (a *audit) verdict(e event.Event, v *event.Verdict, fault func(string, ...any)) {
	from := a.judged
	before := e.Seq - 1
	if v.After != 0 {
		from, before = a.held, v.After
	}
	c := from[e.Cause]
	switch {
	case c == nil:
		fault("a verdict on #%d, which waits for none", e.Cause)
		return
	case before != e.Seq-1 || v.After == 0 && e.Cause != before:
		fault("a verdict on #%d that does not follow it", e.Cause)
	case v.Policy != a.inForce:
		fault("a verdict by policy %.8s while %.8s is in force", v.Policy, a.inForce)
	}
	delete(from, e.Cause)
	if v.Action != event.Allow {
		a.verdicts[v.Rule]++
	}
	switch {
	case v.Action == event.Hold:
		a.held[e.Cause] = c
	case v.Action.Passes():
		if r, ok := a.last.Body.(*event.Review); v.After != 0 && (!ok || !r.Approve) {
			fault("#%d is let through, and nobody approved it", e.Cause)
		}
		c.at = e.At
		a.open[e.Cause] = c
		a.pass(e, c, fault)
	}
}

// pass checks that a call which was let through had to be.
func (a *audit) pass(e event.Event, c *audited, fault func(string, ...any)) {
	key := c.Server + "/" + c.Tool
	list := append(trimmed(a.passed[key], func(c *audited) bool { return c.at > e.At.Add(-horizon) }), c)
	a.passed[key] = list
	l := a.policies[a.inForce]
	within := func(list []*audited, per time.Duration, want func(*audited) bool) (out []*audited) {
		for _, x := range list {
			if x.at > e.At.Add(-per) && want(x) {
				out = append(out, x)
			}
		}
		return out
	}
	atMost := func(rule string, got, limit int) {
		if got > limit {
			fault("%s #%d makes %d, at most %d may be (rule %s)", key, e.Cause, got, limit, rule)
		}
	}
	sameOrder := func(x *audited) bool { return x.order == c.order }
	switch key {
	case "shop/pay":
		atMost("burst", len(within(list, perBurst, func(x *audited) bool { return x.session == c.session })), l.burst)
		sum := 0
		for _, x := range within(list, perTotal, sameOrder) {
			sum += x.amount
		}
		atMost("total", sum, l.total)
		atMost("flight", len(within(list, perRoad, func(x *audited) bool { return sameOrder(x) && !x.outcome.Answered() })), l.flight)
	case "shop/ship":
		atMost("once", len(within(list, perOnce, func(x *audited) bool { return sameOrder(x) && !x.outcome.Failed() })), 1)
		if len(within(a.passed["shop/look"], perOnce, func(x *audited) bool { return sameOrder(x) && x.outcome == event.OutcomeOK })) == 0 {
			fault("%s is shipped, and was not looked up", c.order)
		}
	case "shop/send":
		if n := len(within(a.passed["files/read"], perBurst, func(x *audited) bool {
			return x.session == c.session && gjson.GetBytes(x.Args, "secret").Bool()
		})); n > 0 {
			fault("sent after %d secrets were read", n)
		}
	}
	switch c.Tool {
	case "look":
		orders := map[string]bool{}
		for _, server := range []string{"shop", "files"} {
			for _, x := range within(a.passed[server+"/look"], perBurst, func(x *audited) bool { return x.agent == c.agent && x != c }) {
				orders[x.order] = true
			}
		}
		if !orders[c.order] { // what was used already may be used again, whatever another policy let through
			atMost("spread", len(orders)+1, l.spread)
		}
	case "guess":
		atMost("guesses", len(trimmed(a.attempts[c.agent], func(at event.Time) bool { return at > e.At.Add(-perBurst) })), l.guesses)
	}
}

// forget drops what retention has removed: no result can come any more of calls up to seq.
func (a *audit) forget(seq uint64) {
	maps.DeleteFunc(a.open, func(call uint64, _ *audited) bool { return call <= seq })
}

// finish checks that nothing is left open once Umpire has stopped.
func (a *audit) finish() {
	if len(a.judged)+len(a.held)+len(a.open) > 0 {
		a.books.fault("calls without verdict: %v; on hold: %v; without result: %v",
			slices.Collect(maps.Keys(a.judged)), slices.Collect(maps.Keys(a.held)), slices.Collect(maps.Keys(a.open)))
	}
}

// trimmed returns the end of a list, from the first element on that is wanted.
func trimmed[E any](list []E, want func(E) bool) []E {
	i := slices.IndexFunc(list, want)
	if i < 0 {
		return nil
	}
	return slices.Clone(list[i:])
}

// sealed is a tools/call whose last argument is a digest of all before it: whoever gets other bytes than were sent sees it.
func sealed(id, name, args, meta string) []byte {
	head := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q%s,"arguments":{%s`, id, name, meta, args)
	return fmt.Appendf(nil, `%s,"seal":"%08x"}}}`, head, checksum([]byte(head)))
}

// unbroken reports whether a body is as sealed made it.
func unbroken(body []byte) bool {
	i := bytes.LastIndex(body, []byte(`,"seal":"`))
	return i >= 0 && string(body[i:]) == fmt.Sprintf(`,"seal":"%08x"}}}`, checksum(body[:i]))
}
