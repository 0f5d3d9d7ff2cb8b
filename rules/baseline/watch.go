package baseline

import (
	"cmp"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Watch compares calls with the baseline that is in force. It has one owner, which feeds it every event in order.
type Watch struct {
	stream  *stream
	effects func(server, tool string) []string
	live    *Baseline
	text    string // of it
	broken  error  // why there is none, although one came into force
	look    look
	seq     uint64 // of the call at which look looks
}

// NewWatch returns the Watch of an empty history. Effects says what a tool can do.
func NewWatch(effects func(server, tool string) []string) *Watch {
	return &Watch{stream: newStream(), effects: effects}
}

// Horizon is the longest time for which something that happened matters to a score. Weeks and days of baselines end with those of
// the calendar (UTC), whenever one looks.
const Horizon = 8 * 24 * time.Hour

// Promote puts the baseline with this text into force. If it cannot be read, none is.
func (w *Watch) Promote(text string) {
	w.live, w.broken = Parse([]byte(text))
	w.text = text
}

// Live returns the baseline in force; nil if there is none.
func (w *Watch) Live() *Baseline { return w.live }

// Score is how strange a call is.
type Score struct {
	// Bits is -log2 of the share of honest history that is at least as strange.
	Bits Bits
	By   surprise // by each signal alone
	Of   *Agent   // what the call was compared with; nil if there is nothing
	// Why says why there is no score of the agent itself: what is missing; empty if there is one.
	Why string

	after memory // what the session remembers once the call has passed
}

// Share returns the share of honest calls that are less strange, in billionths.
func (s *Score) Share() int64 { return Billion - s.Bits.Share() }

// Pass adds a call that passes with the verdict in e.
func (w *Watch) Pass(call, e event.Event) {
	v := e.Body.(*event.Verdict)
	call.At = e.At
	s := w.Score(call)
	w.stream.pass(call.Seq, &w.look, honest(v))
	if s.Of != nil {
		if v.After != 0 {
			s.after.vouch(s.By)
		}
		w.stream.Tracker.agent(w.look.agent, e.At).session(w.look.session).Memory = s.after
	}
	w.seq = 0
}

// Result adds the answer to a call.
func (w *Watch) Result(e event.Event) {
	w.stream.result(e, e.Body.(*event.Result))
	w.seq = 0
}

// see looks at a call.
func (w *Watch) see(call event.Event, at event.Time) {
	if w.seq == call.Seq && w.look.at == at {
		return
	}
	c := call.Body.(*event.Call)
	w.stream.Tracker.look(call, at, w.effects(c.Server, c.Tool), &w.look)
	w.seq = call.Seq
}

// Score says how strange the call in e is.
func (w *Watch) Score(e event.Event) Score {
	c := e.Body.(*event.Call)
	w.see(e, e.At)
	s := Score{}
	switch {
	case w.broken != nil:
		s.Why = "the baseline in force cannot be read: " + w.broken.Error()
	case w.live == nil:
		s.Why = "no baseline is in force"
	default:
		s.Of, s.Why = w.live.normal(c.Agent, c.Server)
	}
	if s.Of != nil {
		var together Bits
		s.By, together, s.after = s.Of.Score.strange(s.Of.judge(&w.look, nil), w.look.memory)
		s.Bits = s.Of.Score.all.strangeness(together)
	}
	return s
}

// Explain says in words why the call in e has the score s, the strangest first.
func (w *Watch) Explain(e event.Event, s *Score) (out []Deviation) {
	if s.Of == nil {
		return nil
	}
	w.see(e, e.At)
	s.Of.judge(&w.look, func(signal Signal, b Bits, why reason) {
		strange := s.Of.Score.signal(signal, b)
		if strange < 3*bit { // one honest call in eight is
			return
		}
		out = append(out, Deviation{Signal: signal, Bits: strange, Text: why.say(&w.look)})
	})
	slices.SortStableFunc(out, func(a, b Deviation) int { return cmp.Compare(b.Bits, a.Bits) })
	return out
}
