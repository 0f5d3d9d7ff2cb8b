package proxy

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// The requests by which something is said to a model, or by its user, beside calls. What a server logs or says about
// progress is for people and programs: the protocol gives it to no model, and it is not heard.
const (
	askModel     = "sampling/createMessage"
	askUser      = "elicitation/create"
	getPrompt    = event.GetPrompt
	readResource = event.ReadResource
)

// Said is something that is said over MCP beside calls.
type Said struct {
	Method string // of the request that holds it, or whose answer does
	Role   event.Role
	Trust  event.Trust
	Text   string
}

// Hearer records what is said over MCP. Rules know of it when Said returns; what goes on to a model because of it waits for the
// tickets. What is too much to be recorded is recorded as lost.
type Hearer interface {
	Said(who Origin, said ...Said) []*Ticket
}

// hear has said recorded in the sessions of all who can hear it.
func (l *Link) hear(who Origin, peers []event.Peer, said []Said) (tickets []*Ticket) {
	if l.hearer == nil || len(said) == 0 {
		return nil
	}
	for _, p := range peers {
		who.Peer = p
		tickets = append(tickets, l.hearer.Said(who, said...)...)
	}
	return tickets
}

// listeners returns who hears what the server says now: whose calls it works on, else who called last. These may be several
// conversations, and which of them it is, nobody knows. l.mu is held.
func (l *Link) listeners() []event.Peer {
	found := map[string]event.Peer{}
	for _, r := range l.waiting {
		if r.call != nil && r.sent && r.ticket.Peer.Principal != "" {
			found[string(appendKey(nil, &r.ticket.Peer))] = r.ticket.Peer
		}
	}
	switch {
	case len(found) == 0 && l.last != nil:
		return []event.Peer{*l.last}
	case len(found) == 0:
		return []event.Peer{l.who.Peer}
	}
	var out []event.Peer
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[key])
	}
	return out
}

// reader returns who hears the answer to a request that is no call: the conversation that it names; nil if it names none.
// l.mu is held.
func (l *Link) reader(m *wire.Message) *event.Peer {
	if m.Method != getPrompt && m.Method != readResource {
		return nil
	}
	who, _ := claims(l.who, m)
	if maps.Equal(who.Peer.Asserted, l.who.Peer.Asserted) {
		return nil
	}
	return &who.Peer
}

// asks hears what the server asks the client's model or its user.
func (l *Link) asks(m *wire.Message) Ruling {
	said := l.asked(m.Method, m.Params)
	if said == nil {
		return Ruling{forward: m.Raw}
	}
	l.mu.Lock()
	who, peers := l.who, l.listeners()
	l.mu.Unlock()
	l.questions.ask(wire.Key(m.ID), m.Method, m.Params)
	return released(m, l.hear(who, peers, said), func(err error) (forward, reply []byte) {
		return nil, wire.ErrorReply(m.ID, wire.CodeNotRecorded, "this cannot be recorded and so not be asked: "+err.Error())
	})
}

// asked returns what is said in a question of the server; nil if it is none for a model or user.
func (l *Link) asked(method string, params gjson.Result) (said []Said) {
	if l.hearer == nil {
		return nil
	}
	switch method {
	case askModel:
		said = append([]Said{}, Said{Role: event.RoleSystem, Text: wire.Words(params.Get("systemPrompt"))})
		said = append(said, messages(params)...)
	case askUser:
		text := params.Get("message").String()
		params.ForEach(func(key, value gjson.Result) bool {
			if key.Str != "message" {
				text += "\n" + everything(value)
			}
			return true
		})
		said = []Said{{Role: event.RoleTool, Text: strings.TrimSpace(text)}}
	}
	for i := range said {
		said[i].Method, said[i].Trust = method, event.Untrusted
	}
	return said
}

// messages are those of a prompt, or of a question to a model.
func messages(of gjson.Result) (said []Said) {
	of.Get("messages").ForEach(func(_, m gjson.Result) bool {
		role := event.RoleTool
		switch m.Get("role").Str {
		case "user":
			role = event.RoleUser
		case "assistant":
			role = event.RoleAssistant
		}
		said = append(said, Said{Role: role, Text: wire.Words(m.Get("content"))})
		return true
	})
	return said
}

// told hears what a server answers to a request for a prompt or a resource, before the client gets it.
func (l *Link) told(m *wire.Message, r *request) Ruling {
	l.mu.Lock()
	who, peers := l.who, l.listeners()
	l.mu.Unlock()
	if r.peer != nil {
		peers = []event.Peer{*r.peer}
	}
	var said []Said
	switch {
	case l.hearer == nil:
	case m.Error.Exists():
		said = []Said{{Role: event.RoleTool, Text: wire.Words(m.Error.Get("message")) + "\n" + wire.Words(m.Error.Get("data"))}}
	case r.method == getPrompt:
		said = append(messages(m.Result), Said{Role: event.RoleTool, Text: wire.Words(m.Result.Get("description"))})
	default:
		m.Result.Get("contents").ForEach(func(_, c gjson.Result) bool {
			said = append(said, Said{Role: event.RoleTool, Text: wire.Words(c) + decoded(c.Get("blob").Str)})
			return true
		})
	}
	for i := range said {
		said[i].Method, said[i].Trust = r.method, event.Untrusted
	}
	said = append(said, l.inquiries(m, r)...)
	return released(m, l.hear(who, peers, said), notGiven(m))
}

// decoded returns a blob that is text.
func decoded(blob string) string {
	if raw, err := base64.StdEncoding.DecodeString(blob); err == nil && utf8.Valid(raw) && len(raw) > 0 {
		return "\n" + string(raw)
	}
	return ""
}

// inquiries returns what a server says where it answers a request with questions (MCP 2026-07-28), and remembers them.
func (l *Link) inquiries(m *wire.Message, r *request) (said []Said) {
	if m.Result.Get("resultType").Str != "input_required" {
		return nil
	}
	key := inquiry(l.Origin(), r.method, r.name, m.Result.Get("requestState").Str)
	m.Result.Get("inputRequests").ForEach(func(id, q gjson.Result) bool {
		method := q.Get("method").Str
		if more := l.asked(method, q.Get("params")); more != nil {
			said = append(said, more...)
			l.inputs.ask(key+id.Str, method, q.Get("params"))
		}
		return true
	})
	return said
}

// inquiry names the questions that a request was answered with, whatever connection its retry comes over.
func inquiry(who Origin, method, name, state string) string {
	return fmt.Sprintf("%q %q %q %q %q %q ", who.Peer.Principal, who.Peer.Agent, who.Server, method, name, state)
}

// replied hears how the client answers a question of the server.
func (l *Link) replied(m *wire.Message) {
	if q := l.questions.take(wire.Key(m.ID)); q != nil {
		l.mu.Lock()
		who, peers := l.who, l.listeners()
		l.mu.Unlock()
		l.hear(who, peers, q.answer(m.Result))
	}
}

// retried hears the answers to the questions of the server that come with a request. L.mu is held.
func (l *Link) retried(m *wire.Message, r *request) {
	responses := m.Inputs()
	if l.hearer == nil || !responses.IsObject() {
		return
	}
	key := inquiry(l.who, m.Method, m.Name(), m.Params.Get("requestState").Str)
	var said []Said
	responses.ForEach(func(id, answer gjson.Result) bool {
		if q := l.inputs.take(key + id.Str); q != nil {
			said = append(said, q.answer(answer)...)
		}
		return true
	})
	who, _ := claims(l.who, m)
	if r.ticket != nil && r.ticket.Peer.Principal != "" {
		who.Peer = r.ticket.Peer
	}
	l.hear(who, []event.Peer{who.Peer}, said)
}

// released lets m go on once all is on disk.
func released(m *wire.Message, tickets []*Ticket, failed func(error) (forward, reply []byte)) Ruling {
	if len(tickets) == 0 {
		return Ruling{forward: m.Raw}
	}
	return Ruling{ticket: tickets[len(tickets)-1], wait: func() ([]byte, []byte) {
		for _, t := range tickets {
			if err := t.Wait(); err != nil {
				return failed(err)
			}
		}
		return m.Raw, nil
	}}
}

// notGiven answers the client's request in the place of an answer that is not recorded.
func notGiven(m *wire.Message) func(error) (forward, reply []byte) {
	return func(err error) ([]byte, []byte) {
		return wire.ErrorReply(m.ID, wire.CodeNotRecorded, "the server has answered, but the answer cannot be recorded and so not be given: "+err.Error()), nil
	}
}
