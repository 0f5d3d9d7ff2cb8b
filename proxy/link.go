package proxy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// LinkConfig says between whom a Link stands.
type LinkConfig struct {
	Judge   Judge
	Cleaner *wire.Cleaner
	Origin  Origin
	// Hearer is told what is said beside calls; nil if nobody is.
	Hearer Hearer
	// Intent is the argument by which the model may declare why it makes a call; empty if it is not asked to.
	Intent string
	// Elicitor asks the client's user about calls that are on hold; nil if nobody does.
	Elicitor *Elicitor
	// KeepAlive is how often the client hears of a call that is on hold; 0 is every 15 s.
	KeepAlive time.Duration
	// Ledger is where Pump keeps what the client waits for, so that the next process can answer it; nil if nowhere.
	Ledger *transport.Ledger
	Log    *slog.Logger // nil discards
}

// Link is one client and one server. It knows which requests are unanswered, hands calls to the Judge and turns
// verdicts into bytes. It moves no bytes itself: a front end gives it every message and does what the Ruling says.
type Link struct {
	judge     Judge
	clean     *wire.Cleaner
	log       *slog.Logger
	hearer    Hearer
	intent    string
	elicitor  *Elicitor
	keepAlive time.Duration
	signals   *Quota
	ledger    *transport.Ledger
	questions questions  // of the server, by wire.Key of their id
	inputs    *questions // that requests were answered with; connections of a client may share them

	mu      sync.Mutex
	who     Origin
	waiting map[string]*request // unanswered requests of the client, by wire.Key of their id
	traces  map[string]string   // of calls that are about to come, by the same
	last    *event.Peer         // whose call was let through last
	quiet   chan struct{}       // if somebody waits for it: closed when nothing is expected
	forms   bool                // the client has said at its initialize that it shows forms to its user
	closed  bool
	leaving string // why this process leaves the conversation to another one; empty if it does not
}

// request is a request of the client that the server has not answered.
type request struct {
	id     string // the raw token
	key    string // wire.Key of it
	method string
	name   string // what it is about
	modern bool
	peer   *event.Peer // who hears the answer, if the request says so
	task   string      // for tasks/…: names the task that it is about
	call   *event.Call // for tools/call, with what follows
	args   []byte      // as sent
	ticket *Ticket
	manner manner       // how the client's user can be asked about the call …
	asked  *elicitation // … and the answer is that he is
	no     bool         // he has said no after somebody else had approved the call
	sent   bool         // it was let through: before that, nothing the server says can be its answer
	given  bool         // the client has given it up: the server need not answer it
}

// maxWaiting bounds the unanswered requests of a link.
const maxWaiting = 10_000

// NewLink returns a Link. Close ends it.
func NewLink(cfg LinkConfig) *Link {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Link{
		judge: cfg.Judge, clean: cfg.Cleaner, log: cfg.Log, hearer: cfg.Hearer, intent: cfg.Intent, elicitor: cfg.Elicitor, keepAlive: cmp.Or(cfg.KeepAlive, keepAlive),
		who: cfg.Origin, signals: &Quota{}, ledger: cfg.Ledger, inputs: &questions{},
	}
}

// Ruling says what to do with a message, once Wait returns.
type Ruling struct {
	wait    func() (forward, reply []byte)
	held    func() *wait
	ticket  *Ticket // what wait waits for first
	forward []byte
	reply   []byte
	asked   *request // what goes on as forward, if the server is to answer it
	pays    string   // wire.Key of the id that the client is answered by this
}

// Wait returns the bytes to send on to the other side and the bytes to send back; either may be nil. It returns only
// after everything is recorded that has to be recorded before.
func (r Ruling) Wait() (forward, reply []byte) {
	if r.wait != nil {
		return r.wait()
	}
	return r.forward, r.reply
}

// forget drops a request that is no longer unanswered. Thousands of links may be open that wait for nothing: those keep
// nothing. l.mu is held.
func (l *Link) forget(key string) {
	if delete(l.waiting, key); len(l.waiting) == 0 {
		l.waiting = nil
	}
	l.calm()
}

// calm tells whoever waits in settle if nothing is expected any more. l.mu is held.
func (l *Link) calm() {
	if l.quiet != nil && !l.expects() {
		close(l.quiet)
		l.quiet = nil
	}
}

// expects reports whether an answer is to come that the client has not given up. l.mu is held.
func (l *Link) expects() bool {
	for _, r := range l.waiting {
		if !r.given {
			return true
		}
	}
	return false
}

// settle waits until nothing is unanswered that the client still wants, but not for longer than d.
func (l *Link) settle(d time.Duration) {
	l.mu.Lock()
	if !l.expects() {
		l.mu.Unlock()
		return
	}
	if l.quiet == nil {
		l.quiet = make(chan struct{})
	}
	quiet := l.quiet
	l.mu.Unlock()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-quiet:
	case <-late.C:
	}
}

// settled reports whether Wait can return at once, unless a call is on hold.
func (r Ruling) settled() bool { return r.ticket == nil || r.ticket.finished() }

// Origin returns who the two are, as far as it is known by now.
func (l *Link) Origin() Origin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.who
}

// FromClient rules on a message of the client.
func (l *Link) FromClient(m *wire.Message) Ruling {
	if m.Kind == wire.Notification && m.Method == "notifications/cancelled" {
		return l.cancelled(m)
	}
	if m.Kind == wire.Response {
		if l.elicitor.answered(l, m) {
			return Ruling{}
		}
		l.replied(m)
	}
	if m.Kind != wire.Request {
		return Ruling{forward: m.Raw}
	}
	intent := ""
	if m.IsCall() {
		var err error
		if m, intent, err = l.withoutIntent(m); err != nil {
			return Ruling{reply: wire.ErrorReply(m.ID, wire.CodeInvalidRequest, err.Error())}
		}
	}
	r := &request{id: m.ID, key: wire.Key(m.ID), method: m.Method, name: strings.Clone(m.Name()), modern: m.Protocol() != "", sent: !m.IsCall(), task: asked(m)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.waiting[r.key]; taken {
		l.signal("id-in-use", fmt.Sprintf("a second request with the id %.60s before the first was answered", m.ID))
		return Ruling{reply: wire.ErrorReply(m.ID, wire.CodeInvalidRequest, "a request with this id has not been answered yet")}
	}
	if len(l.waiting) >= maxWaiting {
		l.giveUp()
	}
	if len(l.waiting) >= maxWaiting {
		l.signal("too-many", fmt.Sprintf("a request while %d are unanswered", maxWaiting))
		return Ruling{reply: wire.ErrorReply(m.ID, wire.CodeUnavailable, fmt.Sprintf("%d requests are unanswered, and no more can be", maxWaiting))}
	}
	l.learn(m)
	if l.waiting == nil {
		l.waiting = map[string]*request{}
	}
	l.waiting[r.key] = r
	if r.peer = l.reader(m); !m.IsCall() {
		l.retried(m, r)
		return Ruling{forward: m.Raw, asked: r}
	}
	who, asserted := claims(l.who, m)
	m, back, said, err := l.elicitor.returned(l, m, who)
	if err != nil {
		l.forget(r.key)
		return Ruling{reply: wire.ErrorReply(r.id, wire.CodeInvalidRequest, err.Error())}
	}
	call := m.Call()
	if back != nil {
		r.call, r.args, r.ticket = back.call.call, call.Args, back.call.ticket
		return Ruling{
			wait: func() ([]byte, []byte) { return l.release(m, r) },
			held: func() *wait { return r.returned(m, back, said) }, ticket: r.ticket, asked: r,
		}
	}
	r.manner = l.elicitor.manner(l, m)
	r.call, r.args = l.event(who, m, call), call.Args
	r.call.Intent = intent
	r.call.Asserted, r.call.Trace = asserted, l.trace(m, r.key)
	r.ticket = l.judge.Call(who, *r.call, Retry{Continues: call.Continues, State: call.RequestState, Args: call.Args})
	l.retried(m, r)
	return Ruling{
		wait: func() ([]byte, []byte) { return l.release(m, r) },
		held: func() *wait { return l.held(m, r) }, ticket: r.ticket, asked: r,
	}
}

// gaveUp is what became of a call that the client has cancelled and the server, as it may, has not answered.
const gaveUp = "the client cancelled the call, and no answer came"

// giveUp ends the requests that the client has cancelled and that the server, as it may, has not answered. l.mu is held;
// nobody waits for the record.
func (l *Link) giveUp() {
	for key, r := range l.waiting {
		if !r.given || !r.sent {
			continue
		}
		l.forget(key)
		if r.call != nil {
			l.judge.Record(l.who, r.ticket.Seq, lost(r.call, r.ticket.Root, gaveUp))
		}
	}
}

// release turns the verdict on a call into bytes.
func (l *Link) release(m *wire.Message, r *request) (forward, reply []byte) {
	if r.asked != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.waiting[r.key] == r {
			l.forget(r.key)
		}
		return nil, wire.InputRequired(r.id, inputKey, r.asked.name, dialog(&r.asked.slot.Held))
	}
	v, err := r.ticket.Settled()
	if r.no && v.Action.Passes() {
		v = l.declined(r, v)
	}
	passes := err == nil && v.Action.Passes()
	l.mu.Lock()
	ended := l.waiting[r.key] != r // Fail has recorded that it is lost
	if !ended {
		if r.sent = passes; !passes {
			l.forget(r.key)
		} else if r.ticket.Seq != 0 {
			l.last = &r.ticket.Peer
		}
	}
	l.mu.Unlock()
	switch {
	case passes && ended:
		return nil, wire.ErrorReply(m.ID, wire.CodeUnavailable, "the connection to the server ended before the call could go out")
	case passes:
		return m.Raw, nil
	}
	return nil, wire.Denied(m.ID, r.modern, Explain(r.call.Server+"/"+r.call.Tool, v), r.ticket.Seq, v)
}

// Explain writes a verdict for the model whose call was denied: what, why, what would be allowed and when.
func Explain(tool string, v event.Verdict) string {
	text := "Umpire denied " + tool + ": " + v.Why
	if v.Rule != "" {
		text += " (rule " + v.Rule + ")"
	}
	text += "."
	if v.Hint != "" {
		text += " Allowed: " + v.Hint + "."
	}
	switch {
	case v.RetryMS > 0:
		text += " This call can pass in " + patience(time.Duration(v.RetryMS)*time.Millisecond) + ", not before."
	case v.Hint != rules.AskAgain:
		text += " Repeating the same call will not help."
	}
	return text
}

// patience writes how long to wait, rounded up to what matters: 9.8s, 4m31s, 23h20m.
func patience(d time.Duration) string {
	unit := 100 * time.Millisecond
	switch {
	case d > time.Hour:
		unit = time.Minute
	case d > time.Minute:
		unit = time.Second
	}
	text := ((d + unit - 1) / unit * unit).String()
	text = strings.Replace(text, "m0s", "m", 1)
	return strings.Replace(text, "h0m", "h", 1)
}

// event makes the event of a call, without what must not be stored.
func (l *Link) event(who Origin, m *wire.Message, call wire.Call) *event.Call {
	args, findings := l.clean.Clean("args", call.Args)
	return &event.Call{
		Link: who.Link, Server: who.Server, Tool: strings.Clone(call.Name), ID: json.RawMessage(m.ID), Args: args, Size: len(call.Args),
		Peer: who.Peer, Findings: findings,
	}
}

// withoutIntent returns a call without the arguments that are Umpire's own, and what they say, as it may be stored.
func (l *Link) withoutIntent(m *wire.Message) (call *wire.Message, intent string, err error) {
	server, tool := l.Origin().Server, m.Name()
	call, intent, err = wire.WithoutIntent(m, func(name string) bool { return l.judge.Declares(server, tool, name) })
	if err != nil {
		return m, "", err
	}
	return call, l.clean.Text(intent), nil
}

// learn picks up who the client says it is. What outlives a message is copied from it: a part would keep the whole.
func (l *Link) learn(m *wire.Message) {
	var info gjson.Result
	switch {
	case m.Method == "initialize":
		info = m.Params.Get("clientInfo")
		l.forms = wire.OffersForms(m.Params.Get("capabilities"))
		l.who.Protocol = strings.Clone(m.Params.Get("protocolVersion").Str)
	case m.Protocol() != "":
		info = m.Meta(wire.MetaClientInfo)
		l.who.Protocol = strings.Clone(m.Protocol())
	}
	if name := strings.Clone(info.Get("name").Str); name != "" {
		l.who.Peer.Agent = name
		l.who.Peer.Client = event.Client{Name: name, Version: strings.Clone(info.Get("version").Str)}
	}
}

// Refused notes a message that could not be read, from the side that is named.
func (l *Link) Refused(side string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signal("refused", fmt.Sprintf("message of the %s: %v", side, err))
}

// signal records an observation about l, as far as there is room for it. l.mu is held or l is not shared yet; nobody
// waits for the record.
func (l *Link) signal(name, text string) {
	missed, ok := l.signals.Take(name, time.Now())
	switch {
	case !ok:
		return
	case missed > 0:
		text += fmt.Sprintf(" (and %d more like it since the one before, which are not recorded)", missed)
	}
	text = l.clean.Text(text)
	l.log.Warn("signal", "server", l.who.Server, "what", name, "why", text)
	l.judge.Record(l.who, 0, &event.Signal{Source: "wire", Name: name, Link: l.who.Link, Server: l.who.Server, Text: text})
}

// Fail ends the requests that were let through and for which want holds with an error, because no answer can come any
// more: calls are recorded with the outcome and the reason. It returns the replies for the client, in no order. If want is nil
// it ends all requests; a call that is still being judged then does not go out, and its own Ruling has the reply.
func (l *Link) Fail(code int, outcome event.Outcome, reason string, want func(*request) bool) [][]byte {
	if want == nil {
		l.elicitor.leave(l, reason)
	}
	l.mu.Lock()
	if len(l.waiting) == 0 {
		l.mu.Unlock()
		return nil
	}
	var ended []*request
	for key, r := range l.waiting {
		if want == nil || r.sent && want(r) {
			ended = append(ended, r)
			l.forget(key)
		}
	}
	who := l.who
	l.mu.Unlock()
	var leaving sync.WaitGroup // together, so that they share commits
	for _, r := range ended {
		if r.ticket != nil && r.ticket.Wait() == nil && r.ticket.Hold != nil {
			leaving.Go(func() { r.ticket.Hold.Leave(reason) })
		}
	}
	leaving.Wait()
	var replies [][]byte
	var tickets []*Ticket
	for _, r := range ended {
		if r.ticket != nil {
			if v, err := r.ticket.Settled(); err != nil || !v.Action.Passes() {
				continue // it never went out
			}
			why := reason
			if r.given {
				why = gaveUp
			}
			body := lost(r.call, r.ticket.Root, why)
			body.Outcome = outcome
			tickets = append(tickets, l.judge.Record(who, r.ticket.Seq, body))
		}
		if !r.sent {
			continue
		}
		replies = append(replies, wire.ErrorReply(r.id, code, reason))
	}
	for _, t := range tickets {
		if err := t.Wait(); err != nil {
			l.log.Error("an ended call could not be recorded", "error", err)
		}
	}
	return replies
}

// Close ends the link. What is unanswered is recorded as lost.
func (l *Link) Close(reason string) {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	l.Fail(wire.CodeUnavailable, event.OutcomeLost, reason, nil)
	who := l.Origin()
	if err := l.judge.Record(who, 0, &event.Closed{Link: who.Link, Server: who.Server, Reason: reason}).Wait(); err != nil {
		l.log.Error("the end of a link could not be recorded", "error", err)
	}
}
