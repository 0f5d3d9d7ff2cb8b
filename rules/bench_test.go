package rules_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// manyRules is a policy of n rules of all kinds, of which five match shop/pay.
func manyRules(n int) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		on := fmt.Sprintf("server%d/tool", i)
		if i%(n/5) == 0 {
			on = "shop/pay"
		}
		fmt.Fprintf(&b, "  - name: r%d\n", i)
		switch i / (n / 5) {
		case 0:
			fmt.Fprintf(&b, "    on: %s\n    rate: {max: 1000000, per: 1m, by: [session, args.customer]}\n", on)
		case 1:
			fmt.Fprintf(&b, "    on: %s\n    rate: {sum: args.amount, max: 1000000000, per: 1h, by: args.customer}\n", on)
		case 2:
			fmt.Fprintf(&b, "    on: %s\n    where: \"args.amount > 1000.0 && args.note.contains('urgent')\"\n", on)
		case 3:
			fmt.Fprintf(&b, "    on: %s\n    shape: {properties: {amount: {type: number, maximum: 1000}, customer: {type: string, pattern: '^c_[0-9]+$'}}}\n", on)
		default:
			fmt.Fprintf(&b, "    sequence: [{name: look, on: 'files/*', where: \"args.path == '.env'\"}, {on: %s}]\n    by: session\n    within: 15m\n", on)
		}
	}
	return b.String()
}

// pay is a call with about 1 KiB of arguments.
func pay(seq uint64) event.Event {
	args := fmt.Sprintf(`{"customer":"c_%d","amount":%d.5,"note":%q}`, seq%100, seq%50, strings.Repeat("thanks ", 140))
	return event.Event{
		V: event.Version, Seq: seq, At: event.At(begin).Add(time.Duration(seq) * time.Millisecond), Session: fmt.Sprintf("s%d", seq%10),
		Body: &event.Call{
			Link: "l", Server: "shop", Tool: "pay", ID: json.RawMessage("1"), Args: json.RawMessage(args), Size: len(args),
			Peer: event.Peer{Principal: "local:alice", Agent: "bot"},
		},
	}
}

// BenchmarkDecide is one decision on 1 KiB of arguments that nobody has looked at yet, over a history of 1,000 calls, under
// rules of all kinds of which five match the tool.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			s, calls := judged(b, manyRules(n), pay)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if v := s.Decide(calls[i%len(calls)]); v.Action != event.Allow {
					b.Fatal(v)
				}
			}
		})
	}
}

// BenchmarkCall is all that rules do about one call, live: its decision, and what is remembered of it, of its verdict and
// of its result.
func BenchmarkCall(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			s, calls := judged(b, manyRules(n), pay)
			next := calls[len(calls)-1]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next.Seq, next.At, next.Body = next.Seq+3, next.At.Add(time.Millisecond), calls[i%len(calls)].Body
				live(s, next)
			}
		})
	}
}

// live judges a call and remembers it, its verdict and its result, as the gate does.
func live(s *rules.State, call event.Event) {
	v := s.Decide(call)
	s.Apply(call)
	s.Apply(event.Event{V: event.Version, Seq: call.Seq + 1, At: call.At, Session: call.Session, Cause: call.Seq, Body: &v})
	s.Apply(event.Event{V: event.Version, Seq: call.Seq + 2, At: call.At, Session: call.Session, Cause: call.Seq, Body: &event.Result{
		Server: "shop", Tool: "pay", Outcome: event.OutcomeOK, Content: paid,
	}})
}

var paid = json.RawMessage(`{"content":[]}`)

// judged returns a state after 1,000 calls, and calls that come next.
func judged(t testing.TB, policy string, call func(seq uint64) event.Event) (s *rules.State, next []event.Event) {
	t.Helper()
	p, err := compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	s = rules.NewState(p)
	for i := range uint64(1000) {
		live(s, call(3*i+1))
	}
	for i := range uint64(64) {
		next = append(next, call(10_001+3*i))
	}
	return s, next
}

// history is n calls, each with its verdict by s and its result.
func history(s *rules.State, n int) iter.Seq[event.Event] {
	return func(yield func(event.Event) bool) {
		for i := range n {
			e := pay(uint64(3*i + 1))
			v := s.Decide(e)
			verdict := event.Event{V: event.Version, Seq: e.Seq + 1, At: e.At, Session: e.Session, Cause: e.Seq, Body: &v}
			result := event.Event{
				V: event.Version, Seq: e.Seq + 2, At: e.At, Session: e.Session, Cause: e.Seq,
				Body: &event.Result{Server: "shop", Tool: "pay", Outcome: event.OutcomeOK, Content: json.RawMessage(`{"content":[]}`)},
			}
			if !yield(e) || !yield(verdict) || !yield(result) {
				return
			}
		}
	}
}

// BenchmarkRefold folds 100,000 events, as a start without snapshot does once they are decoded.
func BenchmarkRefold(b *testing.B) {
	p, err := compile(manyRules(20))
	if err != nil {
		b.Fatal(err)
	}
	var events []event.Event
	s := rules.NewState(p)
	for e := range history(s, 100_000/3) {
		s.Apply(e)
		events = append(events, e)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := rules.NewState(p)
		for _, e := range events {
			s.Apply(e)
		}
	}
	b.ReportMetric(float64(len(events)), "events/op")
}

// BenchmarkDecideAfterFailures is one decision under examples/policies/loops.yaml for an agent that fails a lot, at
// something else each time.
func BenchmarkDecideAfterFailures(b *testing.B) {
	text, err := policies.Files.ReadFile("loops.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("failures=%d", n), func(b *testing.B) {
			s := failed(b, string(text), n)
			e := lookup(uint64(3*n+1), n)
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Decide(e); v.Action != event.Allow {
					b.Fatal(v)
				}
			}
		})
	}
}

// failed returns a state after n different calls that failed, half a second after each other.
func failed(t testing.TB, policy string, n int) *rules.State {
	t.Helper()
	p, err := compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	s := rules.NewState(p)
	for i := range n {
		e := lookup(uint64(3*i+1), i)
		v := event.Verdict{Action: event.Allow}
		s.Apply(e)
		s.Apply(event.Event{V: event.Version, Seq: e.Seq + 1, At: e.At, Session: e.Session, Cause: e.Seq, Body: &v})
		s.Apply(event.Event{V: event.Version, Seq: e.Seq + 2, At: e.At, Session: e.Session, Cause: e.Seq, Body: &event.Result{
			Server: "catalogue", Tool: e.Body.(*event.Call).Tool, Outcome: event.OutcomeFailed, Content: paid,
		}})
	}
	return s
}

// lookup is the i-th of many calls of which no two are the same, and no twenty in a minute of the same tool.
func lookup(seq uint64, i int) event.Event {
	return event.Event{
		V: event.Version, Seq: seq, At: event.At(begin).Add(time.Duration(i) * time.Second / 2), Session: "s1",
		Body: &event.Call{
			Server: "catalogue", Tool: fmt.Sprintf("get_%d", i%10), ID: json.RawMessage("1"), Args: json.RawMessage(fmt.Sprintf(`{"id":%d}`, i)),
			Peer: event.Peer{Principal: "local:alice", Agent: "bot"},
		},
	}
}

// BenchmarkResult is what the gate does under its lock about a result of 64 KiB of prose, under the starter policy: if it was read
// before, as it is live, and if not.
func BenchmarkResult(b *testing.B) {
	p, err := rules.Compile([]event.Source{policies.Starter()}, event.Env{OS: "linux", Home: "/home/alice"})
	if err != nil {
		b.Fatal(err)
	}
	var words strings.Builder
	for i := 0; words.Len() < 64<<10; i++ {
		fmt.Fprintf(&words, "Order %d of customer c%x was delivered on day %d of the month, and paid for. ", i, i*7919, i%30)
	}
	text, err := json.Marshal(words.String())
	if err != nil {
		b.Fatal(err)
	}
	result := &event.Result{Server: "shop", Tool: "list", Outcome: event.OutcomeOK, Content: json.RawMessage(`{"content":[{"type":"text","text":` + string(text) + `}]}`)}
	for name, read := range map[string]any{"read": p.Read(result), "unread": nil} {
		b.Run(name, func(b *testing.B) {
			s := rules.NewState(p)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := event.Event{V: event.Version, Seq: uint64(i + 2), At: event.At(begin), Session: fmt.Sprint("s", i/8), Cause: 1, Body: result, Read: read}
				s.Apply(e)
			}
		})
	}
}
