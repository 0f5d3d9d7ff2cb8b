package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/snapshot"
)

// What a State has found out about a call is never taken for another: neither for one that has the same body, nor for one
// that was looked at in between.
func TestWhatIsKnownOfACallIsKnownOfNoOther(t *testing.T) {
	p, err := Compile([]event.Source{{Name: "policy.yaml", Text: `
rules:
  - {name: count, on: "a/*", rate: {max: 2, per: 1h, by: [session, args.k]}, do: deny}
  - {name: sum, on: a/x, where: args.n > 1, rate: {sum: args.n, max: 10, per: 1h}, do: deny}
  - {name: different, on: "*/x", rate: {distinct: args.k, max: 2, per: 1h, by: session}, do: deny}
  - {name: order, sequence: [{name: s, on: a/y}, {on: a/x, where: s.args.k == args.k}], by: session, within: 1h, do: deny}
`}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]*event.Call{}
	for _, args := range []string{`{"k":"p","n":2}`, `{"k":"q","n":5}`, `{"n":1}`, `{"k":"","n":3}`, `{"k":"=","n":"4"}`} {
		for _, tool := range []string{"x", "y"} {
			bodies[args+tool] = &event.Call{Server: "a", Tool: tool, Args: json.RawMessage(args)}
		}
	}
	plain, curious := NewState(p), NewState(p)
	seq := uint64(0)
	for round := range 3 {
		for _, body := range bodies {
			seq += 2
			e := event.Event{V: event.Version, Seq: seq, At: event.Time(time.Duration(seq) * time.Minute), Session: []string{"s1", "s2"}[round%2], Body: body}
			fresh := NewState(p)
			fresh.windows, fresh.order = plain.windows, plain.order
			v := fresh.Decide(e)
			for _, other := range bodies {
				again := e
				again.Body, again.Seq, again.Session = other, seq+1, "s3"
				curious.Decide(again)
				if got := curious.Decide(e); got.Why != v.Why || got.Action != v.Action {
					t.Fatalf("%s: %+v, want %+v", body.Args, got, v)
				}
			}
			again := e
			again.Session = "s3"
			curious.Decide(again)
			for _, s := range []*State{plain, curious} {
				s.Apply(e)
				s.Apply(event.Event{V: event.Version, Seq: seq + 1, At: e.At, Session: e.Session, Cause: seq, Body: &v})
			}
		}
	}
	at := event.Time(time.Duration(seq) * time.Minute)
	without, err1 := plain.Snapshot(at)
	with, err2 := curious.Snapshot(at)
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(without, with) {
		t.Errorf("without looking\n%s\nwith\n%s\n%v", snapshot.Text(without), snapshot.Text(with), err)
	}
}
