package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// asking is what there is to ask the client's user about a call that waits, and to hear of him.
type asking struct {
	ask   func() *elicitation // asks; nil if nobody is to be asked. It returns nil if there is no room
	asked *elicitation
	said  *review.Decision // what he has answered, where that comes with the call made again
}

// inquire asks the client's user, unless that was done or cannot be. It reports whether the client is to make the call again:
// then nobody waits here.
func (w *wait) inquire(say func(w *wait, frame []byte) error) (again bool) {
	if w.ask == nil || w.asked != nil || w.over() || w.request.manner == byRequest && say == nil {
		return false
	}
	if w.asked = w.ask(); w.asked == nil {
		return false
	}
	if w.request.manner == byRetry {
		w.request.asked = w.asked
		return true
	}
	say(w, wire.Elicit(w.asked.name, dialog(&w.Held))) //nolint:errcheck // the next beat fails, too
	return false
}

// answers is where the answer to a request comes.
func (w *wait) answers() <-chan *review.Decision {
	if w.asked == nil {
		return nil
	}
	return w.asked.answer
}

// withdraw tells the client that its user need not answer any more.
func (w *wait) withdraw(say func(w *wait, frame []byte) error) {
	if w.asked == nil || w.request.manner != byRequest || !w.asked.link.elicitor.take(w.asked) {
		return
	}
	id, err := json.Marshal(w.asked.name)
	if err == nil {
		say(w, wire.Cancelled(string(id), "the call is no longer on hold")) //nolint:errcheck // whoever was asked has gone
	}
}

// conclude does what the user has said along with a call that is made again, and reports whether the hold has ended.
func (w *wait) conclude() (over bool) {
	if d := w.said; d != nil {
		w.said = nil
		w.request.no = w.decide(d) && !d.Approve
	}
	return w.over()
}

// decide hands what the user has decided to the Desk, if that is anything, and reports whether somebody else was first.
func (w *wait) decide(d *review.Decision) (late bool) {
	if d == nil {
		return false
	}
	e := w.asked.link.elicitor
	_, err := e.Desk.Decide(w.Call, *d)
	if late = errors.Is(err, review.ErrGone); err != nil && !late {
		e.Log.Error("what a user has decided cannot be recorded", "call", w.Call, "who", d.Who, "error", err)
	}
	return late
}

// returned returns the wait of a call that the client makes again, with what its user said.
func (r *request) returned(m *wire.Message, back *elicitation, said *review.Decision) *wait {
	w := r.waits(m)
	w.asked, w.said = back, said
	return w
}

// declined returns the verdict on a call that somebody has approved, and that its own user does not want. It has not gone out.
func (l *Link) declined(r *request, v event.Verdict) event.Verdict {
	const why = "its user declined it in the client"
	if err := l.unsent(r, "it was approved, but "+why).Wait(); err != nil {
		l.log.Error("a declined call could not be recorded", "error", err)
	}
	v.Action, v.Why = event.Deny, fmt.Sprintf("%s (although %s)", why, v.Why)
	return v
}

// unsent records that an approved call was not sent.
func (l *Link) unsent(r *request, why string) *Ticket {
	body := lost(r.call, r.ticket.Root, why)
	body.Outcome = event.OutcomeError
	return l.judge.Record(l.Origin(), r.ticket.Seq, body)
}

// decision reads an answer. It is nil unless the user has decided: a form that is closed, an error, and an answer of another form
// than was asked for leave the call to the other reviewers.
func (x *elicitation) decision(answer gjson.Result) *review.Decision {
	d := &review.Decision{Who: x.who}
	switch content := answer.Get("content"); answer.Get("action").Str {
	case "decline":
		return d
	case "accept":
		d.Note = note(x.link.clean.Text(content.Get("note").Str))
		switch content.Get("decision").Str {
		case "approve":
			d.Approve = true
			return d
		case "deny":
			return d
		}
	}
	return nil
}

// note cuts a note to what the Desk takes.
func note(text string) string {
	if len(text) > review.MaxNote {
		text = strings.ToValidUTF8(text[:review.MaxNote-len("…")], "") + "…"
	}
	return text
}
