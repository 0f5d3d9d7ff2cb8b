package policies_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// client is a scripted client and the servers behind Umpire: it sends calls through the gate, records what became of
// those that passed, and sets the clock. Its scripts are transcripts, where session= is what the client says of it: the
// gate makes sessions of it, and of agents.
type client struct {
	gate  *proxy.Gate
	log   *log
	clean *wire.Cleaner
	now   time.Time
	calls []sent
	told  []event.Event   // what was recorded before the gate closed, which ends holds
	used  map[string]bool // server/tool
}

// sent is a call and what was decided on it.
type sent struct {
	name    string // that later lines know it by
	who     proxy.Origin
	call    event.Call
	seq     uint64
	verdict event.Verdict
}

// play plays a case under a policy, and returns the client with the recorded events and the calls. Every verdict has to
// be what the case says.
func play(t *testing.T, p *rules.Policy, script *transcript.Case) *client {
	t.Helper()
	c := &client{log: &log{}, now: transcript.Begin, used: map[string]bool{}}
	var err error
	c.clean, err = wire.NewCleaner(wire.CleanerConfig{Redact: wire.DefaultRedact, MaxValue: 64 << 10, Secret: []byte("-")})
	if err != nil {
		t.Fatal(err)
	}
	c.gate, err = proxy.NewGate(proxy.GateConfig{Recorder: c.log, Policy: p, Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.gate.Close()
	r, err := script.Play(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Failures {
		t.Errorf("line %d: %s\n got %s\nwant %s", f.Line, f.Text, strings.Join(f.Got, "\n"), strings.Join(f.Want, "\n"))
	}
	c.told = slices.Clone(c.log.events)
	return c
}

// agent is who calls, unless a line says otherwise.
var agent = event.Peer{Principal: "local:alice", Agent: "agent", Client: event.Client{Name: "agent", Version: "1.0"}}

// Play implements transcript.Stage.
func (c *client) Play(l transcript.Line) (h transcript.Happened, err error) {
	if c.now = transcript.Begin.Add(l.At); event.At(c.now) < c.log.last() {
		return h, errors.New("earlier than the line before")
	}
	who := proxy.Origin{Transport: proxy.TransportHTTP, Protocol: "2025-11-25", Peer: agent}
	switch b := l.Event.Body.(type) {
	case *event.Call:
		if b.Agent != transcript.Anybody().Agent {
			who.Peer.Agent, who.Peer.Client.Name = b.Agent, b.Agent
		}
		who.Peer.Principal = b.Principal
		if l.Event.Session != "s1" {
			who.Peer.Asserted = map[string]string{"sessionId": l.Event.Session}
		}
		return c.call(who, l, b)
	case *event.Result:
		i := slices.IndexFunc(c.calls, func(s sent) bool { return s.name != "" && s.name == l.About })
		if i < 0 {
			return h, fmt.Errorf("no call is named %q", l.About)
		}
		return h, c.answer(c.calls[i], *b)
	case *event.Turn:
		b.Peer = who.Peer
		return h, c.gate.Record(c.link(who, ""), 0, b).Wait()
	case *event.Catalog:
		for i, tool := range b.Tools {
			b.Tools[i].Pin = tool.Name
		}
		return h, c.gate.Record(c.link(who, b.Server), 0, b).Wait()
	case *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Opened, *event.Loaded, *event.Verdict, *event.Closed:
	}
	return h, errors.New("a script has calls, results, turns and lists of tools")
}

// link completes who with the server that is talked to.
func (c *client) link(who proxy.Origin, server string) proxy.Origin {
	who.Server = server
	who.Link = strings.Join([]string{who.Peer.Agent, who.Peer.Asserted["sessionId"], who.Server}, "-")
	return who
}

// call sends one call, and has it answered if the line says how.
func (c *client) call(who proxy.Origin, l transcript.Line, b *event.Call) (h transcript.Happened, err error) {
	c.used[b.Server+"/"+b.Tool] = true
	s := sent{name: l.Name, who: c.link(who, b.Server), call: *b}
	s.call.Link, s.call.ID = s.who.Link, json.RawMessage(strconv.Itoa(len(c.calls)+1))
	s.call.Peer = who.Peer
	s.call.Args, s.call.Findings = c.clean.Clean("args", s.call.Args)
	ticket := c.gate.Call(s.who, s.call, proxy.Retry{})
	if err := ticket.Wait(); err != nil {
		return h, err
	}
	s.seq, s.verdict = ticket.Seq, ticket.Verdict
	c.calls = append(c.calls, s)
	if l.Answer != nil && s.verdict.Action.Passes() {
		err = c.answer(s, *l.Answer)
	}
	return transcript.Happened{Seq: s.seq, Verdict: &s.verdict, Said: transcript.Said(&s.verdict)}, err
}

// answer records what became of a call.
func (c *client) answer(s sent, r event.Result) error {
	r.Server, r.Tool = s.call.Server, s.call.Tool
	switch {
	case len(r.Content) > 0:
	case r.Outcome == event.OutcomeFailed:
		r.Content = json.RawMessage(`{"content":[],"isError":true}`)
	default:
		r.Content = json.RawMessage(`{"content":[]}`)
	}
	r.Size = len(r.Content)
	return c.gate.Record(s.who, s.seq, &r).Wait()
}

// log is a history in memory. One client writes it, and waits for each of its events.
type log struct{ events []event.Event }

func (l *log) last() event.Time {
	if len(l.events) == 0 {
		return 0
	}
	return l.events[len(l.events)-1].At
}

// Append implements proxy.Recorder.
func (l *log) Append(events []event.Event, done func(error)) {
	l.events = append(l.events, events...)
	done(nil)
}

// Events implements proxy.Recorder.
func (l *log) Events(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range l.events {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}
