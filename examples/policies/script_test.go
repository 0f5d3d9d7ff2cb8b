package policies_test

import (
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// client is a scripted client and the servers behind Umpire: it sends calls through the gate, records what became of
// those that passed, and sets the clock.
//
//	0s billing/get_order {"order_id": "ord_1001"} -> ok {"content": […]}
//	1s session=x agent=bot principal=local:bob billing/issue_refund {…}      not answered: it stays in flight
//	  deny one-refund-in-flight: why                                       the why may be left out
//	2s answer 2 ok                                                         the second call of this script
//	3s repeat=100 every=10ms catalogue/list_items {"page": %d} -> ok       %d is 1, 2, 3 …
//	4s catalog billing {"tools": […]}
//	5s user Please pay the bill.                                           what the user says
//
// A call without a verdict below it has to pass.
type client struct {
	t     *testing.T
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
	line    string
	who     proxy.Origin
	call    event.Call
	seq     uint64
	verdict event.Verdict
}

var begin = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// play plays a script under a policy and compares every verdict with what the script says. It returns the recorded
// events and the calls.
func play(t *testing.T, p *rules.Policy, script string) *client {
	t.Helper()
	c := &client{t: t, log: &log{}, now: begin, used: map[string]bool{}}
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
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		want := ""
		if i+1 < len(lines) && strings.HasPrefix(lines[i+1], " ") {
			want = strings.TrimSpace(lines[i+1])
		}
		before := len(c.calls)
		c.do(line)
		for _, s := range c.calls[before:] {
			s.check(t, want)
		}
	}
	if len(c.calls) == 0 {
		t.Fatal("the script has no calls")
	}
	c.told = slices.Clone(c.log.events)
	return c
}

// check compares a verdict with "deny RULE" or "deny RULE: WHY"; nothing is that it passes.
func (s sent) check(t *testing.T, want string) {
	t.Helper()
	if want == "" && s.verdict.Action.Passes() || says(&s.verdict, want) {
		return
	}
	t.Errorf("%s\n got %s %s: %s\nwant %s", s.line, s.verdict.Action, s.verdict.Rule, s.verdict.Why, want)
}

// says reports whether a verdict is as the script wants it. A why may be cut with "…".
func says(v *event.Verdict, want string) bool {
	got := v.Action.String() + " " + v.Rule
	if strings.Contains(want, ": ") {
		got += ": " + v.Why
	}
	if start, cut := strings.CutSuffix(want, "…"); cut {
		return strings.HasPrefix(got, start)
	}
	return got == want
}

// do plays one line.
func (c *client) do(line string) {
	c.t.Helper()
	at, rest, _ := strings.Cut(line, " ")
	since, err := document.ParseDuration(at)
	c.must(line, err)
	if c.now = begin.Add(since); event.At(c.now) < c.log.last() {
		c.t.Fatalf("%s: earlier than the line before", line)
	}
	who := proxy.Origin{Transport: proxy.TransportHTTP, Protocol: "2025-11-25"}
	who.Peer = event.Peer{Principal: "local:alice", Agent: "agent", Client: event.Client{Name: "agent", Version: "1.0"}}
	repeat, every := 1, time.Duration(0)
	for {
		word, more, _ := strings.Cut(rest, " ")
		key, value, ok := strings.Cut(word, "=")
		if !ok || strings.ContainsAny(key, "/{") {
			break
		}
		rest = more
		switch key {
		case "agent":
			who.Peer.Agent, who.Peer.Client.Name = value, value
		case "principal":
			who.Peer.Principal = value
		case "session":
			who.Peer.Asserted = map[string]string{"sessionId": value}
		case "repeat":
			repeat, err = strconv.Atoi(value)
			c.must(line, err)
		case "every":
			every, err = time.ParseDuration(value)
			c.must(line, err)
		default:
			c.t.Fatalf("%s: unknown %s", line, key)
		}
	}
	verb, rest, _ := strings.Cut(rest, " ")
	switch verb {
	case "answer":
		number, outcome, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		c.must(line, err)
		c.answer(c.calls[n-1], outcome)
	case "user":
		c.must(line, c.gate.Record(c.link(who, ""), 0, &event.Turn{Role: event.RoleUser, Source: "api", Trust: event.Trusted, Text: rest, Size: len(rest), Peer: who.Peer}).Wait())
	case "catalog":
		server, tools, _ := strings.Cut(rest, " ")
		catalog := &event.Catalog{Server: server}
		c.must(line, json.Unmarshal([]byte(tools), catalog))
		for i, tool := range catalog.Tools {
			catalog.Tools[i].Pin = tool.Name
		}
		c.must(line, c.gate.Record(c.link(who, server), 0, catalog).Wait())
	default:
		for i := range repeat {
			c.call(who, line, verb, strings.ReplaceAll(rest, "%d", strconv.Itoa(i+1)))
			c.now = c.now.Add(every)
		}
	}
}

func (c *client) must(line string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
}

// link completes who with the server that is talked to.
func (c *client) link(who proxy.Origin, server string) proxy.Origin {
	who.Server = server
	who.Link = strings.Join([]string{who.Peer.Agent, who.Peer.Asserted["sessionId"], who.Server}, "-")
	return who
}

// call sends one call, and has it answered if the line says how.
func (c *client) call(who proxy.Origin, line, name, rest string) {
	c.t.Helper()
	args, outcome, answered := strings.Cut(rest, " -> ")
	server, tool, ok := strings.Cut(name, "/")
	if !ok || !json.Valid([]byte(args)) {
		c.t.Fatalf("%s: want server/tool and its arguments", line)
	}
	c.used[name] = true
	s := sent{line: line, who: c.link(who, server)}
	s.call = event.Call{
		Link: s.who.Link, Server: server, Tool: tool, Peer: who.Peer,
		ID: json.RawMessage(strconv.Itoa(len(c.calls) + 1)), Args: json.RawMessage(args), Size: len(args),
	}
	s.call.Args, s.call.Findings = c.clean.Clean("args", s.call.Args)
	ticket := c.gate.Call(s.who, s.call, proxy.Retry{})
	c.must(line, ticket.Wait())
	s.seq, s.verdict = ticket.Seq, ticket.Verdict
	c.calls = append(c.calls, s)
	if answered && s.verdict.Action.Passes() {
		c.answer(s, outcome)
	}
}

// answer records what became of a call: "ok", "failed {"content": […]}".
func (c *client) answer(s sent, text string) {
	c.t.Helper()
	outcome, content, _ := strings.Cut(text, " ")
	r := &event.Result{Server: s.call.Server, Tool: s.call.Tool, Outcome: event.Outcome(outcome)}
	switch {
	case content != "" && !json.Valid([]byte(content)):
		c.t.Fatalf("%s: the result is no JSON", s.line)
	case content != "":
		r.Content = json.RawMessage(content)
	case r.Outcome == event.OutcomeFailed:
		r.Content = json.RawMessage(`{"content":[],"isError":true}`)
	default:
		r.Content = json.RawMessage(`{"content":[]}`)
	}
	r.Size = len(r.Content)
	c.must(s.line, c.gate.Record(s.who, s.seq, r).Wait())
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
