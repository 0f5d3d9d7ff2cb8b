package proxy_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

const modelPolicy = `rules:
  - {name: ask, on: "*/*", where: args.ask, do: hold}
  - {name: burst, on: "*/*", rate: {max: 3, per: 10s}, do: deny}
`

// holdModel says what has to become of calls under modelPolicy, with nothing but lists. It reads the log and knows the
// verdict before it comes.
type holdModel struct {
	t        *rapid.T
	policy   string
	last     event.Event
	held     map[uint64]event.Time // since when
	by       map[uint64]string     // the policy that holds a call
	passed   []event.Time
	next     event.Action             // what the next verdict has to be, …
	rule     string                   // … and by which rule
	ends     map[uint64]event.Body    // how holds ended
	verdicts map[uint64]event.Verdict // the last on each call
	restarts bool                     // what is still on hold ends before anything else happens
}

func (m *holdModel) read(events []event.Event) {
	for _, e := range events {
		if e.Seq > m.last.Seq {
			m.fold(e)
			m.last = e
		}
	}
}

// room reports whether one more call may pass.
func (m *holdModel) room(at event.Time) bool {
	n := 0
	for _, p := range m.passed {
		if p > at.Add(-10*time.Second) {
			n++
		}
	}
	return n < 3
}

func (m *holdModel) fold(e event.Event) {
	if e.At < m.last.At {
		m.t.Fatalf("#%d happens before #%d", e.Seq, m.last.Seq)
	}
	_, onHold := m.held[e.Cause]
	switch b := e.Body.(type) {
	case *event.Loaded:
		m.policy = b.Digest
	case *event.Call:
		switch ask := gjson.GetBytes(b.Args, "ask").Bool(); {
		case m.restarts && len(m.held) > 0:
			m.t.Fatalf("#%d is judged while %v are on hold since before the restart", e.Seq, m.held)
		case !m.room(e.At):
			m.next, m.rule = event.Deny, "burst"
		case ask:
			m.next, m.rule = event.Hold, "ask"
		default:
			m.next, m.rule = event.Allow, ""
		}
	case *event.Review:
		if !onHold || b.Policy != m.policy || m.by[e.Cause] != m.policy || e.At >= m.held[e.Cause].Add(rules.HoldFor) {
			m.t.Fatalf("#%d: %+v decides about #%d, held since %s under %.5s, now %.5s", e.Seq, b, e.Cause, m.held[e.Cause], m.by[e.Cause], m.policy)
		}
		switch m.ends[e.Cause] = b; {
		case !b.Approve:
			m.next, m.rule = event.Deny, "ask"
		case !m.room(e.At):
			m.next, m.rule = event.Deny, "burst"
		default:
			m.next, m.rule = event.Allow, ""
		}
	case *event.Expired:
		if !onHold {
			m.t.Fatalf("#%d: the hold of #%d ends, which is not on hold", e.Seq, e.Cause)
		}
		m.ends[e.Cause], m.next, m.rule = b, event.Deny, "ask"
	case *event.Verdict:
		if b.Action != m.next || b.Rule != m.rule {
			m.t.Fatalf("#%d: %+v, the model says %s by %q", e.Seq, b, m.next, m.rule)
		}
		delete(m.held, e.Cause)
		m.verdicts[e.Cause] = *b
		if b.Action == event.Hold {
			m.held[e.Cause], m.by[e.Cause] = e.At, b.Policy
		} else if b.Action.Passes() {
			m.passed = append(m.passed, e.At)
		}
	case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
}

// Random calls, approvals, denials, cancellations, time-outs, changes of policy and restarts, several at the same time, on
// a clock that goes on, stands still and jumps back: the log is what a naive model says, the model knows what is on hold,
// and what clients and reviewers are told is what the log says.
func TestHoldsDoWhatANaiveModelDoes(t *testing.T) {
	policies := []*rules.Policy{policy(t, modelPolicy), policy(t, modelPolicy+"\n")}
	rapid.Check(t, func(rt *rapid.T) {
		disk, c := &manual{}, newClock()
		g := gate(t, disk, policies[0], c)
		defer func() { g.Close() }()
		m := &holdModel{
			t: rt, held: map[uint64]event.Time{}, by: map[uint64]string{}, ends: map[uint64]event.Body{}, verdicts: map[uint64]event.Verdict{},
		}
		var mu sync.Mutex
		tickets := map[uint64]*proxy.Ticket{}
		for range rapid.IntRange(1, 12).Draw(rt, "rounds") {
			c.add(rapid.SampledFrom([]time.Duration{
				0, 0, time.Second, 3 * time.Second, 10 * time.Second, rules.HoldFor - time.Second, rules.HoldFor, -time.Second, -time.Hour,
			}).Draw(rt, "later"))
			held := slices.Sorted(maps.Keys(m.held))
			var now []func() error
			for range rapid.IntRange(1, 6).Draw(rt, "at once") {
				var call uint64
				if len(held) > 0 {
					call = rapid.SampledFrom(held).Draw(rt, "which")
				}
				switch what := rapid.IntRange(0, 19).Draw(rt, "what"); {
				case what < 8:
					args := fmt.Sprintf(`{"ask":%v}`, what < 6)
					now = append(now, func() error {
						tk := g.Call(support, refund(args), proxy.Retry{})
						err := tk.Wait()
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							tickets[tk.Seq] = tk
						}
						return err
					})
				case what < 16:
					d := review.Decision{Who: fmt.Sprint("local:", len(now)), Approve: what < 13}
					now = append(now, func() error { return told(g, disk, call, d) })
				case what < 18 && call > 0:
					hold := tickets[call].Hold
					now = append(now, func() error {
						hold.Leave([]string{"the client gave up", "nobody decided within 5m"}[what-16])
						return nil
					})
				case what == 18:
					next := policies[rapid.IntRange(0, 1).Draw(rt, "policy")]
					now = append(now, func() error { return g.Load(next) })
				}
			}
			ends := rapid.SampledFrom([]string{"", "", "", "", "stops", "is killed"}).Draw(rt, "Umpire")
			if ends == "stops" {
				now = append(now, func() error { g.Close(); return nil })
			}
			failed := together(now)
			m.read(log(t, disk))
			if ends == "" {
				if failed != nil {
					rt.Fatal(failed)
				}
				if got := held1(g); !slices.Equal(got, slices.Sorted(maps.Keys(m.held))) {
					rt.Fatalf("on hold are %v, the model says %v", got, m.held)
				}
				for call := range m.held {
					if m.by[call] != m.policy {
						rt.Fatalf("#%d is on hold under a policy that is no longer in force", call)
					}
				}
			} else {
				if ends == "is killed" {
					disk = &manual{events: log(t, disk)} // nobody writes to it any more
				}
				was := g
				p := policies[rapid.IntRange(0, 1).Draw(rt, "policy")]
				m.restarts = true
				g = gate(t, disk, p, c)
				was.Close()
				m.read(log(t, disk))
				m.restarts = false
				if len(m.held) > 0 {
					rt.Fatalf("on hold after a restart: %v", m.held)
				}
			}
			for seq, tk := range tickets { // what the clients are told
				if _, onHold := m.held[seq]; onHold {
					continue
				}
				v, err := tk.Settled()
				if got := m.verdicts[seq]; err != nil || v.Action != got.Action || ends == "" && v.Why != got.Why {
					rt.Fatalf("call #%d: the client is told %+v %v, recorded is %+v", seq, v, err, got)
				}
				delete(tickets, seq)
			}
		}
		verify(t, disk)
	})
}

// held1 lists what is on hold.
func held1(g *proxy.Gate) (calls []uint64) {
	for _, h := range g.Desk().List() {
		calls = append(calls, h.Call)
	}
	return calls
}

// together runs all at the same time and returns what went wrong.
func together(all []func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	start := make(chan struct{})
	for i, f := range all {
		wg.Go(func() {
			<-start
			errs[i] = f()
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

// told makes a decision and checks that the reviewer is told what is on record.
func told(g *proxy.Gate, disk *manual, call uint64, d review.Decision) error {
	v, err := g.Desk().Decide(call, d)
	if errors.Is(err, review.ErrGone) {
		return nil // the model knows what is on hold
	}
	if err != nil {
		return err
	}
	var end event.Body
	for e := range disk.Events(call) {
		switch b := e.Body.(type) {
		case *event.Review, *event.Expired:
			if e.Cause == call {
				end = b
			}
		case *event.Verdict:
			if e.Cause != call || b.After == 0 {
				continue
			}
			if r, ok := end.(*event.Review); ok && (r.Who != d.Who || r.Approve != d.Approve) || b.Action != v.Action || b.Why != v.Why {
				return fmt.Errorf("%+v about #%d: told %+v, recorded %+v and %+v", d, call, v, end, b)
			}
			return nil
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return fmt.Errorf("%+v about #%d: told %+v, and nothing is recorded", d, call, v)
}
