// Package review is where held calls wait for a person. The Desk lists them and hands decisions to the gate, which
// alone decides and records; a terminal, a web page and a client that asks its user are equal clients of the Desk.
package review

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/umpire-dev/umpire/rules/event"
)

// Held is a call that waits for a person, with what the person has to know.
type Held struct {
	Call      uint64          `json:"call"`
	Session   string          `json:"session"`
	Since     event.Time      `json:"since"`
	Expires   event.Time      `json:"expires"` // it is denied then
	Principal string          `json:"principal"`
	Agent     string          `json:"agent"`
	Server    string          `json:"server"`
	Tool      string          `json:"tool"`
	Args      json.RawMessage `json:"args"` // as they are stored: secrets are replaced, long values cut
	Rule      string          `json:"rule"`
	Why       string          `json:"why"`
	Policy    string          `json:"policy"` // digest of the policy that holds it
}

// Decision is what a person says about a held call.
type Decision struct {
	Who     string `json:"-"` // said by whoever takes the decision in, as in event.Review: "local:alice"
	Approve bool   `json:"approve"`
	Note    string `json:"note,omitempty"` // for the record, and for the model
	// Remember, with an approval, lets calls like this one pass for a while without anybody being asked.
	Remember *Remember `json:"remember,omitempty"`
}

// Remember says which calls are like the one that is approved, and for how long.
type Remember struct {
	For   string   `json:"for,omitempty"`   // such as "24h" or "7d"; empty is DefaultFor, and rules.MaxExcepted is the most
	Where []string `json:"where,omitempty"` // the arguments that have to be equal, such as "to" or "args.items[0].sku"; none is all arguments
}

// DefaultFor is for how long an approval is remembered, if it does not say so.
const DefaultFor = 24 * time.Hour

// Proposal is what an approval that is remembered would be.
type Proposal struct {
	Exception *event.Exception `json:"exception"`
	Diff      string           `json:"diff"` // unified: the change of the policy that has the same effect
}

// Gate decides and records. Its methods return once the record is on disk; ErrGone says that the call is not on hold.
type Gate interface {
	// Review ends a hold by the decision of a person and returns the verdict: an approved call is judged again.
	Review(call uint64, d Decision) (event.Verdict, error)
	// Expire ends a hold without a decision.
	Expire(call uint64, reason string) (event.Verdict, error)
	// Propose returns what a decision would have remembered, and decides nothing.
	Propose(call uint64, d Decision) (Proposal, error)
}

// ErrGone says that a call is not on hold: it never was, or the hold has ended.
var ErrGone = errors.New("not on hold")

// The bounds of a Desk.
const (
	MaxHeld   = 1000 // calls on hold at a time
	MaxNote   = 1000 // bytes
	remembers = 1000 // holds that have ended, for whoever comes too late
	again     = 5 * time.Second
)

// Desk is the table of held calls. Its methods may be called by anyone at any time.
type Desk struct {
	gate Gate

	mu     sync.Mutex
	slots  map[uint64]*Slot
	ended  map[uint64]string // how, by call
	order  []uint64          // of ended, oldest first
	closed string            // why nothing can be held any more
	shut   bool              // every hold has ended
	feeds  map[*Feed]bool
}

// NewDesk returns an empty Desk before a gate. Close ends what is on hold.
func NewDesk(gate Gate) *Desk {
	return &Desk{gate: gate, slots: map[uint64]*Slot{}, ended: map[uint64]string{}, feeds: map[*Feed]bool{}}
}

// Slot is one held call.
type Slot struct {
	Held
	desk    *Desk
	done    chan struct{}
	verdict event.Verdict

	// Guarded by the Desk.
	timer *time.Timer
	busy  int  // decisions under way
	gone  bool // the gate said that the hold has ended
	told  bool // followers were
	lost  bool // it could not be recorded, so that nobody is told
	over  bool
}

// Park puts a call on hold for the given time. If there is no room, slot is nil and refused says why.
func (d *Desk) Park(h Held, wait time.Duration) (slot *Slot, refused string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed != "":
		return nil, d.closed
	case len(d.slots) >= MaxHeld:
		return nil, fmt.Sprintf("%d calls are on hold, and no more can be", MaxHeld)
	}
	s := &Slot{Held: h, desk: d, done: make(chan struct{})}
	s.timer = time.AfterFunc(wait, func() { s.Leave(fmt.Sprintf("nobody decided within %s", short(wait))) })
	d.slots[h.Call] = s
	return s, ""
}

// short formats a duration without zero parts at its end: 5m instead of 5m0s.
func short(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// Done is closed once the hold has ended and its end is on disk.
func (s *Slot) Done() <-chan struct{} { return s.done }

// Verdict returns what became of the call. It may be asked once Done is closed.
func (s *Slot) Verdict() event.Verdict { return s.verdict }

// Recorded says that the hold is on disk: followers of the Desk are told of it, and not before.
func (s *Slot) Recorded() {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	if !s.over {
		s.tell(nil)
	}
}

// Drop forgets a hold that could not be recorded.
func (s *Slot) Drop() {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	s.lost = true
	s.end(event.Verdict{Action: event.Deny, Why: "the hold could not be recorded"}, "it could not be recorded")
}

// Leave ends the hold without a decision, unless it has ended; it returns when Done is closed. A call that nobody waits
// for is denied even where that cannot be recorded yet.
func (s *Slot) Leave(reason string) {
	if _, err := s.settle(reason, func() (event.Verdict, error) { return s.desk.gate.Expire(s.Call, reason) }); err != nil && !errors.Is(err, ErrGone) {
		s.desk.mu.Lock()
		s.end(event.Verdict{Action: event.Deny, Rule: s.Rule, Why: reason + "; " + err.Error(), Policy: s.Policy}, reason)
		s.desk.mu.Unlock()
		s.desk.owe(s.Call, reason)
	}
	<-s.done
}

// owe records later that a hold has ended.
func (d *Desk) owe(call uint64, reason string) {
	time.AfterFunc(again, func() {
		d.mu.Lock()
		closed := d.closed != ""
		d.mu.Unlock()
		if closed { // the next start finds it
			return
		}
		if _, err := d.gate.Expire(call, reason); err != nil && !errors.Is(err, ErrGone) {
			d.owe(call, reason)
		}
	})
}

// settle has the gate decide. The gate lets exactly one of several decisions end the hold, and that one hands out the
// verdict. If all of them come too late, nobody knows how the hold ended, and the call is denied.
func (s *Slot) settle(how string, decide func() (event.Verdict, error)) (event.Verdict, error) {
	d := s.desk
	d.mu.Lock()
	s.busy++
	d.mu.Unlock()
	v, err := decide()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.busy--
	s.gone = s.gone || errors.Is(err, ErrGone)
	switch {
	case err == nil:
		s.end(v, how)
	case s.gone && s.busy == 0:
		s.end(event.Verdict{Action: event.Deny, Rule: s.Rule, Why: "the hold has ended, and how is not known", Policy: s.Policy}, "it ended")
	}
	return v, err
}

// end hands the verdict to whoever waits. The Desk is locked.
func (s *Slot) end(v event.Verdict, how string) {
	if s.over {
		return
	}
	d := s.desk
	s.over, s.verdict = true, v
	s.timer.Stop()
	delete(d.slots, s.Call)
	d.ended[s.Call] = how
	if d.order = append(d.order, s.Call); len(d.order) > remembers {
		delete(d.ended, d.order[0])
		d.order = d.order[1:]
	}
	if !s.lost {
		s.tell(&Ended{At: event.At(time.Now()), How: how, Verdict: v})
	}
	close(s.done)
}

// List returns the calls on hold, the oldest first.
func (d *Desk) List() []Held {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list(func(*Slot) bool { return true })
}

// list returns the calls on hold that are wanted. The Desk is locked.
func (d *Desk) list(want func(*Slot) bool) []Held {
	out := make([]Held, 0, len(d.slots))
	for _, s := range d.slots {
		if want(s) {
			out = append(out, s.Held)
		}
	}
	slices.SortFunc(out, func(a, b Held) int { return int(int64(a.Call) - int64(b.Call)) })
	return out
}

// Decide ends the hold of a call and returns what became of it. The first decision counts; for every other the error is
// ErrGone and says who was first.
func (d *Desk) Decide(call uint64, by Decision) (event.Verdict, error) {
	s, err := d.held(call, by)
	if err != nil {
		return event.Verdict{}, err
	}
	how := by.Who + " denied it"
	if by.Approve {
		how = by.Who + " approved it"
	}
	v, err := s.settle(how, func() (event.Verdict, error) { return d.gate.Review(call, by) })
	if errors.Is(err, ErrGone) {
		<-s.done
		return event.Verdict{}, d.gone(call)
	}
	return v, err
}

// CheckNote reports whether a note can be recorded.
func CheckNote(note string) error {
	if len(note) > MaxNote || !utf8.ValidString(note) {
		return fmt.Errorf("a note is UTF-8 of at most %d bytes", MaxNote)
	}
	return nil
}

// Propose returns what the decision would have remembered. It decides nothing.
func (d *Desk) Propose(call uint64, by Decision) (Proposal, error) {
	if _, err := d.held(call, by); err != nil {
		return Proposal{}, err
	}
	p, err := d.gate.Propose(call, by)
	if errors.Is(err, ErrGone) {
		err = d.gone(call)
	}
	return p, err
}

// held returns the slot about which a decision is.
func (d *Desk) held(call uint64, by Decision) (*Slot, error) {
	if err := CheckNote(by.Note); err != nil {
		return nil, err
	}
	if by.Remember != nil && !by.Approve {
		return nil, errors.New("an approval can be remembered, and a denial cannot: a rule that denies does that")
	}
	d.mu.Lock()
	s := d.slots[call]
	d.mu.Unlock()
	if s == nil {
		return nil, d.gone(call)
	}
	return s, nil
}

func (d *Desk) gone(call uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if how := d.ended[call]; how != "" {
		return fmt.Errorf("call #%d is %w any more: %s", call, ErrGone, how)
	}
	return fmt.Errorf("call #%d is %w", call, ErrGone)
}

// Reload ends the holds of every other policy than the one with this digest: they were for a person to decide under
// rules that are no longer in force.
func (d *Desk) Reload(digest string) {
	d.each(func(s *Slot) bool { return s.Policy != digest }, PolicyChanged)
}

// PolicyChanged is the reason why a hold ends when another policy comes into force.
const PolicyChanged = "the policy changed while the call was on hold"

// Close ends every hold, and whatever is parked from now on ends at once.
func (d *Desk) Close(reason string) {
	d.mu.Lock()
	d.closed = reason
	d.mu.Unlock()
	d.each(func(*Slot) bool { return true }, reason)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	for f := range d.feeds {
		f.close()
	}
	clear(d.feeds)
}

// each ends the holds that are wanted, together, so that they share commits.
func (d *Desk) each(want func(*Slot) bool, reason string) {
	var wg sync.WaitGroup
	d.mu.Lock()
	for _, s := range d.slots {
		if want(s) {
			wg.Go(func() { s.Leave(reason) })
		}
	}
	d.mu.Unlock()
	wg.Wait()
}
