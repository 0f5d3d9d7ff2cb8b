package baseline

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Watch compares calls with the baseline that is in force. It has one owner, which feeds it every event in order.
type Watch struct {
	stream  *stream
	effects func(server, tool string) []string
	trail   func(e event.Event) Trail // nil if nobody remembers what is said
	live    *Baseline
	broken  error  // why there is none, although one came into force
	text    []byte // of that
	look    look
	seq     uint64 // of the call at which look looks; 0 for none
	scored  bool   // score is of it
	score   Score
	drift   string // what Drift says
}

// NewWatch returns the Watch of an empty history. Effects says what a tool can do.
func NewWatch(effects func(server, tool string) []string) *Watch {
	return &Watch{stream: newStream(), effects: effects}
}

// Horizon is the longest time for which something that happened matters to a score. Weeks and days of baselines end with those of
// the calendar (UTC), whenever one looks.
const Horizon = 8 * 24 * time.Hour

// Promote puts the baseline into force that data holds. If it cannot be read, none is. Read is what Parse has made of data, if
// that was done before.
func (w *Watch) Promote(data []byte, read *Baseline) {
	w.live, w.broken = read, nil
	if read == nil {
		w.live, w.broken = Parse(data)
	}
	if w.text, w.seq = nil, 0; w.broken != nil {
		w.text = data
	}
}

// Follow sets who knows what was said in the session of an event; nil for nobody. That is of use only where the baseline in force
// Follows.
func (w *Watch) Follow(trail func(e event.Event) Trail) { w.trail, w.seq = trail, 0 }

// Follows reports whether the baseline in force knows where values come from.
func (w *Watch) Follows() bool { return w.live != nil && w.live.follows }

// Said notes that something was said, in whatever session.
func (w *Watch) Said() { w.seq = 0 }

// Sessions yields the sessions that have had a call on the day of which something is known of their agents.
func (w *Watch) Sessions() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, a := range w.stream.Tracker.Agents {
			for id := range a.Sessions {
				if !yield(id) {
					return
				}
			}
		}
	}
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

// ShareBy is Share by one signal alone; 0 if there is no signal of that name.
func (s *Score) ShareBy(signal string) int64 {
	i := slices.Index(signalNames[:], signal)
	if i < 0 {
		return 0
	}
	return Billion - s.By[i].Share()
}

// Share returns the share of honest calls that are less strange, in billionths.
func (s *Score) Share() int64 { return Billion - s.Bits.Share() }

// Pass adds a call that passes with the verdict in e.
func (w *Watch) Pass(call, e event.Event) {
	v := e.Body.(*event.Verdict)
	w.drift = ""
	call.At = e.At
	s := w.Score(call)
	w.stream.pass(call.Seq, &w.look, Honest(v))
	if s.Of != nil {
		if v.After != 0 {
			s.after.vouch(s.By)
		}
		a := w.stream.Tracker.agent(w.look.agent, e.At)
		a.session(w.look.session).Memory = s.after
		w.drift = a.drifts(w.look.agent, &s)
	}
	w.seq = 0
}

// Drift says that the agent, whose call was passed last, has changed as a whole; empty if it has not, or if it was said this day
// (UTC) before. It is about many calls, each of which may be strange enough for no rule.
func (w *Watch) Drift() string { return w.drift }

// An agent has drifted when so many of its calls of a day are as strange as one honest call in 16 is, and so large a share.
const (
	driftBits  = 4 * bit
	driftCalls = 16
	driftShare = 4 // one in so many
)

func (a *agentTrack) drifts(name string, s *Score) string {
	a.Scored++
	if s.Bits >= driftBits {
		a.Odd++
	}
	if a.Drifted || a.Odd < driftCalls || a.Odd*driftShare < a.Scored {
		return ""
	}
	a.Drifted = true
	return fmt.Sprintf("agent %q has changed: %d of its %d calls since 00:00 UTC are stranger than 15 of 16 honest ones", name, a.Odd, a.Scored)
}

// Result adds the answer to a call.
func (w *Watch) Result(e event.Event, r *event.Result) {
	w.stream.result(e, r)
	w.seq = 0
}

// see looks at a call.
func (w *Watch) see(call event.Event, at event.Time) {
	if w.seq == call.Seq && w.look.at == at {
		return
	}
	c := call.Body.(*event.Call)
	w.stream.Tracker.look(call, at, w.effects(c.Server, c.Tool), &w.look)
	if w.seq, w.scored = call.Seq, false; w.trail != nil && w.Follows() {
		call.At = at
		w.look.trail = w.trail(call)
	}
}

// Score says how strange the call in e is.
func (w *Watch) Score(e event.Event) Score {
	c := e.Body.(*event.Call)
	if w.see(e, e.At); w.scored {
		return w.score
	}
	s := Score{}
	switch {
	case w.broken != nil:
		s.Why = "the baseline in force cannot be read: " + w.broken.Error()
	case w.live == nil:
		s.Why = "no baseline is in force"
	default:
		s.Of, s.Why = w.live.Of(c.Agent, c.Server)
	}
	if s.Of != nil {
		var together Bits
		found := s.Of.judge(&w.look, nil)
		s.By, together, s.after = s.Of.Score.session(s.Of.Score.signals(&found), w.look.memory)
		s.Bits = s.Of.Score.strangeness(&found, together)
	}
	w.score, w.scored = s, true
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
		d := Deviation{Signal: signal, Bits: strange, Text: why.say(&w.look)}
		if why.from != nil {
			d.Value, d.Source = why.from.value, why.from.source
		}
		out = append(out, d)
	})
	slices.SortStableFunc(out, func(a, b Deviation) int { return cmp.Compare(b.Bits, a.Bits) })
	return out
}

// Distinct returns how many different values of an argument the tool of the call in e was called with in its session on its
// day, with the call.
func (w *Watch) Distinct(e event.Event, path string) (n int64) {
	w.see(e, e.At)
	for i := range w.look.fields {
		if f := &w.look.fields[i]; f.path == path {
			n = max(n, f.distinct)
		}
	}
	return n
}

// Calls returns how many calls the agent has made with the one in e, in "session", "10s", "10m" or "24h".
func (w *Watch) Calls(e event.Event, span string) (int64, error) {
	w.see(e, e.At)
	i := slices.Index([]string{"session", "10s", "10m", "24h"}, span)
	if i < 0 {
		return 0, fmt.Errorf("baseline.calls() counts in session, 10s, 10m or 24h, not in %q", span)
	}
	return w.look.rates[i], nil
}

// Image is a Watch written down.
type Image struct {
	_      struct{} `cbor:",toarray"`
	Live   []byte
	Stream *stream
}

// Image returns w as it is. It shares memory with w.
func (w *Watch) Image() (*Image, error) {
	img := &Image{Live: w.text, Stream: w.stream}
	if w.live == nil {
		return img, nil
	}
	var err error
	img.Live, err = w.live.Encode()
	return img, err
}

// Restore makes w, which is new, what it was.
func (w *Watch) Restore(img *Image) error {
	if img.Stream == nil {
		return errors.New("baseline: nothing is said of what agents do")
	}
	if len(img.Live) > 0 {
		w.Promote(img.Live, nil)
	}
	w.stream = img.Stream
	return w.stream.whole()
}
