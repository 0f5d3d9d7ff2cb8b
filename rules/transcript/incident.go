package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// maxIncident bounds the events of an incident.
const maxIncident = 10_000

// ErrNoCall says that there is no such call in the history, or that nobody has judged it.
var ErrNoCall = errors.New("no such call was judged")

// incident is a recorded call, and what can matter to the verdict on it.
type incident struct {
	policy   *event.Loaded // that was in force
	call     event.Event
	verdict  *event.Verdict
	end      event.Event    // what ended its hold; zero if nothing did
	settled  *event.Verdict // nil if nothing did
	last     uint64         // the event after which nothing matters any more
	evidence map[uint64]bool
	events   []event.Event // its session, its evidence, and all that lasts
}

// Record returns a recorded call as an archive with one case: under the policy that was in force, what led to the verdict,
// and the verdict, also that of a person. Of the history it takes as little as gives the same verdict, in the same words but for
// the numbers of events: the evidence, else the session, else everything that the policy remembers. If none does, as where
// another policy was in force before, the error says so.
//
// History yields events from Seq from on, in order.
func Record(history func(from uint64) iter.Seq2[event.Event, error], call uint64) ([]byte, error) {
	x := incident{evidence: map[uint64]bool{}}
	if err := x.find(history, call); err != nil {
		return nil, err
	}
	if err := x.collect(history); err != nil {
		return nil, err
	}
	p, err := rules.Compile(x.policy.Sources, x.policy.Env)
	if err != nil {
		return nil, fmt.Errorf("the policy of call #%d: %w", call, err)
	}
	seen := func(e event.Event) bool { return x.evidence[e.Seq] || x.evidence[e.Cause] }
	near := func(e event.Event) bool { return seen(e) || e.Session == x.call.Session }
	for _, some := range []struct {
		events []event.Event
		tools  bool // of tools that were not called, too
		which  func(event.Event) bool
		try    bool
	}{
		{x.events, false, seen, !x.verdict.Action.Passes() && len(x.verdict.Evidence) > 0},
		{x.events, false, near, true},
		{x.events, true, near, true},
	} {
		if !some.try {
			continue
		}
		if text, ok := x.write(p, x.chosen(some.events, some.which, some.tools)); ok {
			return x.archive(text)
		}
	}
	all, err := x.all(history, p)
	if err != nil {
		return nil, err
	}
	if text, ok := x.write(p, all); ok {
		return x.archive(text)
	}
	return nil, fmt.Errorf("call #%d cannot be told as a test: what happened before it does not lead to the same verdict under the policy that was in force then; was another one in force before, or has retention removed what led to it?", call)
}

// find finds the call and what was decided.
func (x *incident) find(history func(uint64) iter.Seq2[event.Event, error], call uint64) error {
	for e, err := range history(call) {
		if err != nil {
			return err
		}
		switch b := e.Body.(type) {
		case *event.Call:
			if e.Seq == call && !b.Seen {
				x.call = e
			}
		case *event.Review, *event.Expired:
			if x.verdict != nil && e.Cause == call {
				x.end = e
			}
		case *event.Verdict:
			if e.Cause != call || x.call.Body == nil {
				break
			}
			for _, seq := range b.Evidence {
				x.evidence[seq] = true
			}
			if x.verdict == nil {
				x.verdict, x.last = b, call
			} else if b.After == x.end.Seq {
				x.settled, x.last = b, x.end.Seq
			}
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Result, *event.Signal, *event.Turn, *event.Closed:
		}
		over := x.verdict != nil && (x.verdict.Action != event.Hold || x.settled != nil || e.At.Sub(x.call.At) > 2*rules.HoldFor)
		if over || x.call.Body == nil {
			break
		}
	}
	if x.verdict == nil {
		return fmt.Errorf("call #%d: %w", call, ErrNoCall)
	}
	x.evidence[call] = true
	return nil
}

// collect reads the policy that was in force, and what the evidence and the session are.
func (x *incident) collect(history func(uint64) iter.Seq2[event.Event, error]) error {
	for e, err := range history(1) {
		if err != nil {
			return err
		}
		if e.Seq > x.last {
			break
		}
		if l, ok := e.Body.(*event.Loaded); ok && e.Seq < x.call.Seq {
			x.policy = l
		}
		if lasting(e) || e.Session == x.call.Session || x.evidence[e.Seq] || x.evidence[e.Cause] {
			x.events = append(x.events, e)
		}
	}
	if x.policy == nil {
		return fmt.Errorf("call #%d: %w", x.call.Seq, ErrNoCall)
	}
	return nil
}

// lasting reports whether an event matters whenever it happened: what is said about tools, and what people have decided for
// longer than one call.
func lasting(e event.Event) bool {
	switch e.Body.(type) {
	case *event.Catalog, *event.Accepted, *event.Exception, *event.Revoked:
		return true
	case *event.Opened, *event.Loaded, *event.Promoted, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	return false
}

// all reads everything that the policy can remember.
func (x *incident) all(history func(uint64) iter.Seq2[event.Event, error], p *rules.Policy) (out []event.Event, err error) {
	from := x.call.At.Add(-p.Horizon())
	for e, err := range history(1) {
		if err != nil {
			return nil, err
		}
		if e.Seq > x.last {
			break
		}
		if !lasting(e) && e.At < from {
			continue
		}
		if out = append(out, e); len(out) > maxIncident {
			return nil, fmt.Errorf("call #%d cannot be told as a test: it depends on more than %d events", x.call.Seq, maxIncident)
		}
	}
	return out, nil
}

// chosen returns the events that are wanted, with what is known of the tools that are called in them, or of all tools of
// their servers.
func (x *incident) chosen(events []event.Event, wanted func(event.Event) bool, all bool) (out []event.Event) {
	type tool struct{ server, tool string }
	called, servers := map[tool]bool{}, map[string]bool{}
	for _, e := range events {
		if c, ok := e.Body.(*event.Call); ok && wanted(e) {
			called[tool{c.Server, c.Tool}], servers[c.Server] = true, true
		}
	}
	unknown := func(server, name string) bool { return !called[tool{server, name}] && (!all || !servers[server]) }
	for _, e := range events {
		switch b := e.Body.(type) {
		case *event.Catalog:
			list := *b
			list.Tools = slices.DeleteFunc(slices.Clone(b.Tools), func(t event.Tool) bool { return unknown(b.Server, t.Name) })
			e.Body = &list
			if len(list.Tools) == 0 {
				continue
			}
		case *event.Accepted:
			list := *b
			list.Tools = slices.DeleteFunc(slices.Clone(b.Tools), func(t event.Pin) bool { return unknown(b.Server, t.Name) })
			e.Body = &list
			if len(list.Tools) == 0 {
				continue
			}
		case *event.Exception:
			if c := x.call.Body.(*event.Call); b.Server != c.Server || b.Tool != c.Tool {
				continue
			}
		case *event.Revoked:
		case *event.Opened, *event.Loaded, *event.Promoted, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Result, *event.Signal, *event.Turn, *event.Closed:
			if !wanted(e) {
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// write lets the events happen under the policy; ok is that the call is judged as it was.
func (x *incident) write(p *rules.Policy, events []event.Event) (text string, ok bool) {
	begin := x.call.At
	for _, e := range events { // when a tool was listed makes no difference
		if !lasting(e) && e.At < begin && e.Body.Kind() != "opened" && e.Body.Kind() != "loaded" {
			begin = e.At
		}
	}
	w := NewWriter(rules.NewState(p), begin, x.call.Seq)
	for _, e := range events {
		e.At = max(e.At, begin)
		if err := w.Write(e); err != nil {
			return "", false
		}
	}
	ok = w.Agrees(x.call.Seq, x.verdict) && (x.settled == nil || w.Agrees(x.end.Seq, x.settled))
	return w.Text(), ok
}

// archive puts the policy and the case together.
func (x *incident) archive(text string) ([]byte, error) {
	c := x.call.Body.(*event.Call)
	a := &txtar.Archive{Comment: fmt.Appendf(nil, "Call #%d of session %s to %s at %s.\n", x.call.Seq, x.call.Session, quoted(c.Server+"/"+c.Tool), x.call.At)}
	env, err := encoded(x.policy.Env)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, s := range x.policy.Sources {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(strings.ReplaceAll(s.Name, `\`, "/")), ".yaml"), ".yml")
		file := name + ".yaml"
		for n := 2; used[file]; n++ {
			file = fmt.Sprintf("%s-%d.yaml", name, n)
		}
		used[file] = true
		a.Files = append(a.Files, txtar.File{Name: file, Data: []byte(s.Text)})
	}
	a.Files = append(a.Files, txtar.File{Name: envFile, Data: []byte(env + "\n")}, txtar.File{Name: fmt.Sprintf("call %d", x.call.Seq), Data: []byte(text)})
	out := txtar.Format(a)
	for i, f := range txtar.Parse(out).Files {
		if len(a.Files) <= i || !bytes.Equal(bytes.TrimRight(f.Data, "\n"), bytes.TrimRight(a.Files[i].Data, "\n")) {
			return nil, fmt.Errorf("call #%d cannot be told as a test: the policy has a line that looks like the beginning of a file, -- … --", x.call.Seq)
		}
	}
	return out, nil
}
