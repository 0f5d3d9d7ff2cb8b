package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// keepAlive is how often a client hears of its call that is on hold. Clients give up after 60 to 300 s of silence.
const keepAlive = 15 * time.Second

// wait is a call that waits for a person, and its client with it.
type wait struct {
	*review.Slot
	asking
	request *request
	token   string // the client's progressToken, as it sent it; empty if it sent none
}

// onHold returns, once the message is judged, the call that waits for a person, if it does: Ruling.Wait then returns when
// the hold has ended. Else it returns nil.
func (r Ruling) onHold() *wait {
	if r.held == nil {
		return nil
	}
	return r.held()
}

// held returns the wait of the call m, if the verdict on it is to hold it.
func (l *Link) held(m *wire.Message, r *request) *wait {
	if r.ticket.Wait() != nil || r.ticket.Hold == nil {
		return nil
	}
	w := r.waits(m)
	if r.manner != notAtAll {
		until := time.Now().Add(w.Expires.Sub(w.Since))
		w.ask = func() *elicitation { return l.elicitor.ask(l, m, r, until) }
	}
	return w
}

// waits returns the wait of the call m, which is on hold.
func (r *request) waits(m *wire.Message) *wait {
	w := &wait{Slot: r.ticket.Hold, request: r}
	if token := m.Meta("progressToken"); token.Type == gjson.String || token.Type == gjson.Number {
		w.token = token.Raw
	}
	return w
}

// progress returns the nth notification that the call waits; nil if the client gave no token to send it under. Its
// progress is small, so that the server's own goes on from it.
func (w *wait) progress(n int) []byte {
	if w.token == "" {
		return nil
	}
	text := fmt.Sprintf("%s/%s is on hold until a person approves it (call #%d, rule %s)", w.Server, w.Tool, w.Call, w.Rule)
	return wire.Progress(w.token, fmt.Sprintf("0.%06d", min(n, 999_999)), text)
}

// errLeft says that the client is no longer there.
var errLeft = errors.New("the client gave up")

// attend returns when the holds of all waits have ended, or their clients are told to make the calls again. At once and every
// period it calls beat with 1, 2, 3 … When beat fails or left is closed, nobody waits any more, and what is on hold is denied.
// Where clients can be asked, say sends a frame to the one that waits; nil if it cannot be told anything before the answer.
func attend(waits []*wait, period time.Duration, left <-chan struct{}, beat func(n int) error, say func(w *wait, frame []byte) error) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	n, gone := 1, beat(1) != nil
	for _, w := range waits {
		for over := false; !over; {
			if gone {
				w.Leave(errLeft.Error())
			} else if w.inquire(say) {
				break
			}
			select {
			case <-w.Done():
				over = true
			case d := <-w.answers():
				w.decide(d)
			case <-left:
				gone = true
			case <-tick.C:
				n++
				gone = gone || beat(n) != nil
			}
		}
		w.withdraw(say)
	}
}

// over reports whether the hold has ended.
func (w *wait) over() bool {
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}

// cancelled ends the hold of the request that a notifications/cancelled names. The server never heard of the request, and
// gets a notification that it has to ignore.
func (l *Link) cancelled(m *wire.Message) Ruling {
	id := m.Params.Get("requestId")
	if id.Type != gjson.String && id.Type != gjson.Number {
		return Ruling{forward: m.Raw}
	}
	l.mu.Lock()
	r := l.waiting[wire.Key(id.Raw)]
	if r != nil {
		r.given = true
		l.calm()
	}
	l.mu.Unlock()
	if r == nil || r.ticket == nil {
		return Ruling{forward: m.Raw}
	}
	return Ruling{ticket: r.ticket, wait: func() ([]byte, []byte) {
		if r.ticket.Wait() == nil && r.ticket.Hold != nil {
			r.ticket.Hold.Leave("the client cancelled the call")
		}
		return m.Raw, nil
	}}
}

// abandon ends the hold of a request whose client has gone, so that nobody approves what nobody waits for. What the server
// has got already goes on.
func (l *Link) abandon(id string) {
	l.mu.Lock()
	r := l.waiting[wire.Key(id)]
	l.mu.Unlock()
	if r != nil && r.ticket != nil && r.ticket.Wait() == nil && r.ticket.Hold != nil {
		r.ticket.Hold.Leave(errLeft.Error())
	}
}

// attend keeps the client of an HTTP exchange alive while calls wait. A client that accepts a stream of events gets one
// at once, with news on it; any other just waits. Who is to make the call again is told so without.
func (x *exchange) attend(rulings []Ruling) {
	var waits []*wait
	for _, r := range rulings {
		if w := r.onHold(); w != nil && !w.conclude() && !w.inquire(nil) {
			waits = append(waits, w)
		}
	}
	if len(waits) == 0 {
		return
	}
	beat := func(int) error { return nil }
	var say func(*wait, []byte) error
	if acceptsEvents(x.r.Header) {
		h := x.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		x.w.WriteHeader(http.StatusOK)
		x.streaming = true
		beat = func(n int) error {
			var news []byte
			for _, w := range waits {
				if frame := w.progress(n); frame != nil && !w.over() {
					news = transport.AppendEvent(news, frame)
				}
			}
			if news == nil {
				news = []byte(": on hold\n\n")
			}
			return x.push(news)
		}
		say = func(_ *wait, frame []byte) error { return x.push(transport.AppendEvent(nil, frame)) }
	}
	attend(waits, x.link.keepAlive, x.r.Context().Done(), beat, say)
}

// push sends bytes of a stream of events at once.
func (x *exchange) push(raw []byte) error {
	if _, err := x.w.Write(raw); err != nil {
		return err
	}
	return http.NewResponseController(x.w).Flush()
}

func acceptsEvents(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Accept"), func(v string) bool {
		return slices.ContainsFunc(strings.Split(v, ","), func(part string) bool {
			mediaType, _, _ := strings.Cut(part, ";")
			return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
		})
	})
}
