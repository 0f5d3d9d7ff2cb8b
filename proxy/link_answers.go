package proxy

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// FromServer rules on a message of the server.
func (l *Link) FromServer(m *wire.Message) Ruling {
	if m.Kind == wire.Notification {
		return l.notified(m)
	}
	if m.Kind == wire.Request {
		if l.elicitor.asked(m.ID) { // the client's answer would be taken for that of its user
			l.mu.Lock()
			defer l.mu.Unlock()
			l.signal("id-in-use", "the server asks under the id of a question of Umpire's; the client does not get it")
			return Ruling{reply: wire.ErrorReply(m.ID, wire.CodeInvalidRequest, "this id is in use")}
		}
		return l.asks(m)
	}
	if m.ID == "" { // an error that answers a message which the server could not read
		return Ruling{forward: m.Raw}
	}
	r := l.answers(m)
	if r == nil {
		return Ruling{}
	}
	switch r.method {
	case "tools/call":
		return l.answered(m, r)
	case "tools/list":
		return l.listed(m)
	case getPrompt, readResource:
		return l.told(m, r)
	case "tasks/get", "tasks/cancel", "tasks/result":
		return l.tasked(m, r)
	case "initialize":
		if v := m.Result.Get("protocolVersion").Str; v != "" {
			l.mu.Lock()
			l.who.Protocol = strings.Clone(v)
			l.mu.Unlock()
		}
	}
	return Ruling{forward: m.Raw}
}

// answered records the result of a call before it is released.
func (l *Link) answered(m *wire.Message, r *request) Ruling {
	body := &event.Result{Server: r.call.Server, Tool: r.call.Tool, Root: r.ticket.Root}
	if m.Error.Exists() {
		l.problem(body, m.Error)
	} else {
		l.content(body, m.Result)
		switch kind := m.Result.Get("resultType").Str; {
		case kind == "input_required" && body.Outcome == event.OutcomeOK:
			body.Outcome = event.OutcomeInput
		case kind == "task": // 2026-07-28
			body.Outcome, body.Task = event.OutcomeStarted, taskName(m.Result.Get("taskId"))
		case kind == "" && m.Result.Get("task").IsObject() && !m.Result.Get("content").Exists(): // 2025-11-25
			body.Outcome, body.Task = event.OutcomeStarted, taskName(m.Result.Get("task.taskId"))
		}
	}
	who := l.Origin()
	tickets := l.hear(who, []event.Peer{r.ticket.Peer}, l.inquiries(m, r))
	t := l.judge.Record(who, r.ticket.Seq, body)
	if body.Outcome == event.OutcomeInput {
		root := r.ticket.Seq
		if r.ticket.Root != 0 {
			root = r.ticket.Root
		}
		l.judge.Await(who, r.call.Tool, Retry{State: m.Result.Get("requestState").Str, Args: r.args}, root)
	}
	return released(m, append(tickets, t), notGiven(m))
}

// content notes what a call gave.
func (l *Link) content(body *event.Result, result gjson.Result) {
	body.Outcome, body.Size = event.OutcomeOK, len(result.Raw)
	if result.Get("isError").Bool() {
		body.Outcome = event.OutcomeFailed
	}
	body.Content, body.Findings = l.clean.Clean("result", []byte(result.Raw))
}

// problem notes the error of JSON-RPC that a call ended with.
func (l *Link) problem(body *event.Result, e gjson.Result) {
	body.Outcome, body.Code, body.Size = event.OutcomeError, e.Get("code").Int(), len(e.Raw)
	body.Text = l.clean.Text(e.Get("message").String())
}

// listed records what a server says about its tools, as it says it, and leaves out those that the policy denies outright. To
// the others it adds the argument by which the model declares its intent, if it is to.
func (l *Link) listed(m *wire.Message) Ruling {
	who := l.Origin()
	catalog := &event.Catalog{Server: who.Server}
	catalog.Tools, catalog.Complete = wire.Tools(m)
	t := l.judge.Record(who, 0, catalog)
	return Ruling{ticket: t, wait: func() ([]byte, []byte) {
		if err := t.Wait(); err != nil {
			return wire.ErrorReply(m.ID, wire.CodeNotRecorded, err.Error()), nil
		}
		policy := l.judge.Policy()
		out, err := wire.EditTools(m, func(def gjson.Result) (string, bool) {
			switch {
			case policy != nil && policy.Hides(who.Server, def.Get("name").Str):
				return "", false
			case l.intent != "":
				return wire.WithIntent(def, l.intent), true
			}
			return def.Raw, true
		})
		if err != nil {
			return wire.ErrorReply(m.ID, wire.CodeBadAnswer, err.Error()), nil
		}
		return out, nil
	}}
}

// answers takes the request that m answers off the list of the unanswered ones. If there is none, that is noted.
func (l *Link) answers(m *wire.Message) *request {
	key := wire.Key(m.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.waiting[key]
	if r == nil || !r.sent {
		l.signal("unknown-id", fmt.Sprintf("the server answered %.60s, which nobody asked or which was answered before; the client does not get it", m.ID))
		return nil
	}
	l.forget(key)
	return r
}
