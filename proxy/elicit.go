package proxy

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// ElicitorConfig says whose users are asked.
type ElicitorConfig struct {
	Desk *review.Desk
	// Clients are the names of the clients whose users are asked, as the clients say them; "*" is every client. A client is the
	// agent's own program, and what it answers may come from a hook, a setting or the model, so it has to be named.
	Clients []string
	Secret  []byte       // of the history: what was asked before a restart is known as Umpire's after it
	Log     *slog.Logger // nil discards
}

// Validate reports what is missing.
func (c ElicitorConfig) Validate() error {
	if c.Desk == nil || len(c.Secret) == 0 {
		return errors.New("proxy: to ask users in their clients wants a desk and a secret")
	}
	return nil
}

// Elicitor asks the users of clients about their own calls that are on hold, by elicitation: up to 2025-11-25 with a request of
// Umpire's own, since 2026-07-28 with an answer that asks for input. It is a client of the Desk: whoever decides first, there or
// here, decides. What it has asked never reaches a server, and neither do the answers. A nil Elicitor asks nobody.
type Elicitor struct {
	ElicitorConfig
	mu   sync.Mutex
	open map[string]*elicitation // by name
	of   map[string]int          // how many of open are a principal's with a client
}

// The bounds of what is open: a person who is asked more at a time approves without reading, and the Desk has room for those who
// wait elsewhere. Calls beyond them wait at the Desk, and are asked about when there is room.
const (
	maxElicited = 128
	maxDialogs  = 8        // of one client
	maxInput    = 64 << 10 // bytes of what is kept of a server's input, where a call continues one
)

// NewElicitor returns an Elicitor that has asked nothing yet.
func NewElicitor(cfg ElicitorConfig) (*Elicitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Elicitor{ElicitorConfig: cfg, open: map[string]*elicitation{}, of: map[string]int{}}, nil
}

// elicitation is a question to a user that can still be answered, about one call. Its name is taken off Elicitor.open by whoever
// ends it, once: the answer, the end of the hold, or the end of its time.
type elicitation struct {
	name   string // the id of the request, or the requestState
	client string // whose dialogs it counts among
	who    string // who decides, if it is answered
	slot   *review.Slot
	link   *Link // the connection over which the client was asked

	answer chan *review.Decision // up to 2025-11-25: gets the answer, nil if it decides nothing

	// Since 2026-07-28, the client makes the call again:
	call  *request   // the call and its ticket
	bound string     // what the call that is made again has to be
	input wire.Input // what the server gave for this call, if it continues one
	late  *time.Timer
}

// manner is how the user of a client can be asked about a call.
type manner uint8

const (
	notAtAll  manner = iota
	byRequest        // up to 2025-11-25
	byRetry          // since 2026-07-28
)

// manner returns how the user of l's client is asked about the call m, if the call is put on hold. l.mu is held.
func (e *Elicitor) manner(l *Link, m *wire.Message) manner {
	switch agent := l.who.Peer.Agent; {
	case e == nil, !slices.Contains(e.Clients, "*") && (agent == "" || !slices.Contains(e.Clients, agent)):
		return notAtAll
	case m.Protocol() != "":
		if m.Protocol() >= wire.Modern && wire.OffersForms(m.Meta(wire.MetaClientCapabilities)) {
			return byRetry
		}
	case l.forms && l.who.Protocol >= firstElicitation && l.who.Protocol < wire.Modern:
		return byRequest
	}
	return notAtAll
}

// firstElicitation is the revision that brought elicitation. It has no batches, so that nothing else waits with a call.
const firstElicitation = "2025-06-18"

// ask opens the question about a call that is on hold, until the given time. It returns nil if there is no room for it.
func (e *Elicitor) ask(l *Link, m *wire.Message, r *request, until time.Time) *elicitation {
	h := r.ticket.Hold
	x := &elicitation{
		name: e.sign(fmt.Sprintf("%s%d:%s", ours, h.Call, rand.Text())), client: h.Principal + " " + h.Agent,
		who: fmt.Sprintf("client:%s (%s)", plain(h.Agent), h.Principal), slot: h, link: l, answer: make(chan *review.Decision, 1),
	}
	if r.manner == byRetry {
		in := m.Input()
		if len(in.State)+len(in.Responses) > maxInput {
			return nil
		}
		x.call = &request{call: r.call, ticket: r.ticket} // no part of the message, which may be long
		x.input = wire.Input{State: strings.Clone(in.State), Responses: strings.Clone(in.Responses)}
		x.bound = bound(r.call, r.args, h.Policy)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open) >= maxElicited || e.of[x.client] >= maxDialogs {
		return nil
	}
	e.open[x.name] = x
	e.of[x.client]++
	if r.manner == byRetry {
		x.late = time.AfterFunc(time.Until(until), func() {
			if e.take(x) {
				<-h.Done() // the Desk ends it
				x.forfeit("the client did not come back for it in time")
			}
		})
	}
	return x
}

// take ends x. It is not ok if x has ended.
func (e *Elicitor) take(x *elicitation) (ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open[x.name] != x {
		return false
	}
	delete(e.open, x.name)
	if e.of[x.client]--; e.of[x.client] == 0 {
		delete(e.of, x.client)
	}
	if x.late != nil {
		x.late.Stop()
	}
	return true
}

func (e *Elicitor) find(name string) *elicitation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open[name]
}

// ours is what the names of all elicitations begin with; what makes them Umpire's is the signature. Another Umpire behind this
// one has another secret.
const ours = "umpire:"

func (e *Elicitor) sign(text string) string {
	mac := hmac.New(sha256.New, e.Secret)
	mac.Write([]byte("elicitation " + text))
	return text + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// signed reports whether an Elicitor with the same secret has made a name, now or before a restart.
func (e *Elicitor) signed(name string) bool {
	if e == nil || !strings.HasPrefix(name, ours) {
		return false
	}
	return hmac.Equal([]byte(name), []byte(e.sign(name[:max(strings.LastIndexByte(name, ':'), 0)])))
}

// asked reports whether an id is that of a request of Umpire's to a client.
func (e *Elicitor) asked(id string) bool {
	return e != nil && strings.HasPrefix(id, `"`) && e.signed(wire.Key(id)[1:])
}

// answered takes in what the client answers to a request of Umpire's. It is not ok if m answers something else. What comes too
// late, or from a client that was not asked, decides nothing.
func (e *Elicitor) answered(l *Link, m *wire.Message) (ok bool) {
	if !e.asked(m.ID) {
		return false
	}
	x := e.find(wire.Key(m.ID)[1:])
	switch {
	case x == nil || x.call != nil: // too late, or nothing that a response can answer
	case x.link != l:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.signal("not-asked", fmt.Sprintf("an answer to what Umpire asks another client about call #%d", x.slot.Call))
	case e.take(x):
		x.answer <- x.decision(m.Result)
	}
	return true
}

// bound names all that has to be the same when a client makes a call again: who calls what, with which arguments, and by which
// policy it is on hold.
func bound(call *event.Call, args []byte, policy string) string {
	return fmt.Sprintf("%s %q %q %q %q %x", appendKey(nil, &call.Peer), call.Agent, call.Server, call.Tool, policy, sha256.Sum256(args))
}

// forfeit says why an approved call is not sent: the client did not make it again.
func (x *elicitation) forfeit(why string) {
	if x.slot.Verdict().Action.Passes() {
		x.link.unsent(x.call, "it was approved, but "+why)
	}
}

// leave ends what was asked over a connection that is over: nobody waits for it.
func (e *Elicitor) leave(l *Link, reason string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	var gone []*elicitation
	for _, x := range e.open {
		if x.link == l && x.call != nil {
			gone = append(gone, x)
		}
	}
	e.mu.Unlock()
	slices.SortFunc(gone, func(a, b *elicitation) int { return cmp.Compare(a.slot.Call, b.slot.Call) })
	var leaving sync.WaitGroup // together, so that they share commits
	for _, x := range gone {
		if e.take(x) {
			leaving.Go(func() {
				x.slot.Leave(reason)
				x.forfeit(reason)
			})
		}
	}
	leaving.Wait()
}

// returned finds the call on hold that m makes again, and the message as the server gets it: with what was the server's own of
// the call, and nothing of what is Umpire's. Where m gives back what is Umpire's, but is another call, or too late, back is nil
// and m a call like any other. l.mu is held.
func (e *Elicitor) returned(l *Link, m *wire.Message, who Origin) (plain *wire.Message, back *elicitation, d *review.Decision, err error) {
	if e == nil || m.Input().State == "" {
		return m, nil, nil, nil
	}
	call := m.Call()
	if !e.signed(call.RequestState) {
		return m, nil, nil, nil
	}
	if plain, err = wire.WithInput(m, wire.Input{}); err != nil {
		return nil, nil, nil, err
	}
	x := e.find(call.RequestState)
	if x == nil {
		return plain, nil, nil, nil
	}
	again := event.Call{Server: who.Server, Tool: call.Name, Peer: who.Peer}
	if bound(&again, call.Args, l.judge.Policy().Digest()) != x.bound {
		l.signal("not-asked", fmt.Sprintf("the requestState of call #%d, about which Umpire asks, with another call, or under another policy", x.slot.Call))
		return plain, nil, nil, nil
	}
	whole, err := wire.WithInput(m, x.input)
	if err != nil {
		return nil, nil, nil, err
	}
	if !e.take(x) {
		return plain, nil, nil, nil
	}
	return whole, x, x.decision(m.Inputs().Get(inputKey)), nil
}

// inputKey names Umpire's question in inputRequests.
const inputKey = "umpire"
