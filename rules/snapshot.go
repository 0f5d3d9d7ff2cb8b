package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/rate"
	"github.com/umpire-dev/umpire/rules/snapshot"
)

// ErrSnapshot says that a snapshot is whole but not of the policy under which it is to be restored, or contradicts itself.
var ErrSnapshot = errors.New("rules: the snapshot does not fit")

// stateImage is a State written down. What follows from the policy and from the rest is not in it.
type stateImage struct {
	_       struct{} `cbor:",toarray"`
	Policy  string
	Windows [][]countImage // of each rule
	Catalog catalog.Image
	Waiting map[uint64][]waitImage
	Judging *callImage
	Held    map[uint64]heldImage
	Order   orderImage
	Trails  *trailsImage    // nil if no rule asks what was said
	Habits  *baseline.Image // nil if no rule asks how strange calls are

	Exceptions []exceptionImage
}

// exceptionImage is an event whose body is an Exception.
type exceptionImage struct {
	_         struct{} `cbor:",toarray"`
	V         int
	Seq       uint64
	At        event.Time
	Cause     uint64
	Exception *event.Exception
}

// countImage is an entry of a rate rule.
type countImage struct {
	_      struct{} `cbor:",toarray"`
	Key    string
	Seq    uint64
	At     event.Time
	Amount string // empty for none
	Value  string
}

type waitImage struct {
	_     struct{} `cbor:",toarray"`
	Rule  int
	Retry uint64
	Count countImage
}

// callImage is an event whose body is a Call.
type callImage struct {
	_       struct{} `cbor:",toarray"`
	V       int
	Seq     uint64
	At      event.Time
	Session string
	Cause   uint64
	Call    *event.Call
}

type heldImage struct {
	_       struct{} `cbor:",toarray"`
	Call    callImage
	Verdict *event.Verdict
}

// Snapshot writes s down as it is at the given time, which is not before that of the last event: equal States give equal
// bytes. It forgets what has left every window by then.
func (s *State) Snapshot(at event.Time) ([]byte, error) {
	img := stateImage{
		Policy: s.policy.digest, Windows: make([][]countImage, len(s.windows)),
		Catalog: s.catalog.Image(), Waiting: make(map[uint64][]waitImage, len(s.waiting)),
		Held: make(map[uint64]heldImage, len(s.held)), Order: s.order.image(at), Trails: s.trails.image(at),
	}
	if s.habits != nil {
		var err error
		if img.Habits, err = s.habits.Image(); err != nil {
			return nil, err
		}
	}
	for i, w := range s.windows {
		if w == nil {
			continue
		}
		w.Evict(at)
		img.Windows[i] = make([]countImage, 0, w.Len())
		for key, e := range w.Entries() {
			img.Windows[i] = append(img.Windows[i], imageOfCount(key, e))
		}
	}
	for call, list := range s.waiting {
		for _, o := range list {
			img.Waiting[call] = append(img.Waiting[call], waitImage{Rule: o.rule, Retry: o.retry, Count: imageOfCount(o.key, o.entry)})
		}
	}
	if s.judging.Body != nil {
		judging := imageOfCall(s.judging)
		img.Judging = &judging
	}
	for call, h := range s.held {
		img.Held[call] = heldImage{Call: imageOfCall(h.call), Verdict: h.verdict}
	}
	s.exceptions.evict(at)
	for _, x := range s.exceptions.live {
		e := x.event
		img.Exceptions = append(img.Exceptions, exceptionImage{V: e.V, Seq: e.Seq, At: e.At, Cause: e.Cause, Exception: e.Body.(*event.Exception)})
	}
	return snapshot.Encode(img)
}

func imageOfCount(key string, e rate.Entry) countImage {
	img := countImage{Key: key, Seq: e.Seq, At: e.At, Value: e.Value}
	if e.Amount != nil {
		img.Amount = e.Amount.String()
	}
	return img
}

func imageOfCall(e event.Event) callImage {
	return callImage{V: e.V, Seq: e.Seq, At: e.At, Session: e.Session, Cause: e.Cause, Call: e.Body.(*event.Call)}
}

// RestoreState returns the State that Snapshot wrote down. It decides as that one would have done, whatever comes. Bytes
// that are damaged, or of another policy, are an error.
func RestoreState(p *Policy, data []byte) (*State, error) {
	var img stateImage
	if err := snapshot.Decode(data, &img); err != nil {
		return nil, err
	}
	if img.Policy != p.digest {
		return nil, fmt.Errorf("%w: it is of policy %.12s, not of %.12s", ErrSnapshot, img.Policy, p.digest)
	}
	s := NewState(p)
	if err := s.restore(img); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s, nil
}

func (s *State) restore(img stateImage) error {
	if len(img.Windows) != len(s.windows) {
		return fmt.Errorf("%d rules, the policy has %d", len(img.Windows), len(s.windows))
	}
	for i, w := range s.windows {
		if w == nil && len(img.Windows[i]) > 0 {
			return fmt.Errorf("rule %d counts nothing", i)
		}
		for _, c := range img.Windows[i] {
			e, err := c.entry()
			if err != nil {
				return err
			}
			w.Add(c.Key, e)
		}
		if w != nil && w.Len() != len(img.Windows[i]) {
			return fmt.Errorf("rule %d counts %d of %d calls", i, w.Len(), len(img.Windows[i]))
		}
	}
	var err error
	if s.catalog, err = catalog.Restore(img.Catalog); err != nil {
		return err
	}
	for _, e := range s.catalog.All() {
		s.declare(e.Key, e.Seq, e.Now)
	}
	for call, list := range img.Waiting {
		for _, o := range list {
			if o.Rule < 0 || o.Rule >= len(s.windows) || s.windows[o.Rule] == nil {
				return fmt.Errorf("call %d waits for rule %d, which counts nothing", call, o.Rule)
			}
			e, err := o.Count.entry()
			if err != nil {
				return err
			}
			s.waiting[call] = append(s.waiting[call], occurrence{rule: o.Rule, retry: o.Retry, key: o.Count.Key, entry: e})
		}
	}
	if img.Judging != nil {
		if img.Judging.Call == nil {
			return errors.New("no call is judged")
		}
		s.judging = img.Judging.event()
	}
	for call, h := range img.Held {
		if h.Call.Call == nil || h.Verdict == nil {
			return fmt.Errorf("call %d is held without a call and a verdict", call)
		}
		s.held[call] = held{call: h.Call.event(), verdict: h.Verdict}
	}
	for _, x := range img.Exceptions {
		if x.Exception == nil {
			return fmt.Errorf("exception %d says nothing", x.Seq)
		}
		s.exceptions.apply(event.Event{V: x.V, Seq: x.Seq, At: x.At, Cause: x.Cause, Body: x.Exception})
	}
	if len(s.exceptions.live) != len(img.Exceptions) {
		return fmt.Errorf("%d of %d exceptions are about something", len(s.exceptions.live), len(img.Exceptions))
	}
	if err := s.order.restore(img.Order); err != nil {
		return err
	}
	if (s.habits != nil) != (img.Habits != nil) {
		return errors.New("what agents do is there, or it is not, unlike the policy says")
	}
	if s.habits != nil {
		if err := s.habits.Restore(img.Habits); err != nil {
			return err
		}
		s.follow()
	}
	return s.trails.restore(img.Trails)
}

func (img countImage) entry() (rate.Entry, error) {
	e := rate.Entry{Seq: img.Seq, At: img.At, Value: img.Value}
	if img.Amount == "" {
		return e, nil
	}
	var err error
	e.Amount, err = rate.Amount(img.Amount)
	return e, err
}

func (img callImage) event() event.Event {
	return event.Event{V: img.V, Seq: img.Seq, At: img.At, Session: img.Session, Cause: img.Cause, Body: img.Call}
}

// orderImage is what rules with steps remember. Events stand in Memos once and are named by their index.
type orderImage struct {
	_       struct{} `cbor:",toarray"`
	Memos   []memoImage
	Windows []stepsImage // of each rule
	Judging *candidateImage
	Held    map[uint64]candidateImage
}

type memoImage struct {
	_       struct{} `cbor:",toarray"`
	Seq     uint64
	At      event.Time
	Session string
	Call    *event.Call // nil if it is another one of these
	Signal  *event.Signal
	Turn    *event.Turn
	Result  *event.Result
	Waits   bool
	Keep    bool
	Passed  bool // its result will be heard
}

type stepsImage struct {
	_       struct{} `cbor:",toarray"`
	Entries []entryImage
	Full    event.Time
	Keys    map[string]event.Time
}

type entryImage struct {
	_    struct{} `cbor:",toarray"`
	Key  string
	Slot int
	Seq  uint64
	At   event.Time
	Size int
	Memo int
}

type candidateImage struct {
	_      struct{} `cbor:",toarray"`
	Memo   int
	Places []additionImage
}

type additionImage struct {
	_    struct{} `cbor:",toarray"`
	Feed int
	Key  string
}

// memoTable numbers memos as they come up.
type memoTable struct {
	order *order
	index map[*memo]int
	list  []memoImage
}

func (t *memoTable) add(m *memo) int {
	i, ok := t.index[m]
	if !ok {
		img := memoImage{
			Seq: m.seq, At: m.at, Session: m.step.Session, Signal: m.step.Signal, Turn: m.step.Turn, Result: m.step.Result, Waits: m.waits, Keep: m.keep,
			Passed: m.seq != 0 && t.order.memos[m.seq] == m,
		}
		if m.step.Signal == nil && m.step.Turn == nil {
			img.Call = m.step.Call.Call
		}
		i = len(t.list)
		t.index[m], t.list = i, append(t.list, img)
	}
	return i
}

func (t *memoTable) candidate(k *candidate) candidateImage {
	img := candidateImage{Memo: t.add(k.memo)}
	for _, a := range k.places {
		feed := slices.IndexFunc(t.order.feeds, func(f feed) bool { return f.rule == a.rule && f.slot == a.slot })
		img.Places = append(img.Places, additionImage{Feed: feed, Key: a.key})
	}
	return img
}

func (o *order) image(at event.Time) orderImage {
	t := memoTable{order: o, index: map[*memo]int{}}
	img := orderImage{Windows: make([]stepsImage, len(o.windows)), Held: make(map[uint64]candidateImage, len(o.held))}
	for _, w := range o.windows {
		if w != nil {
			w.Evict(at) // of all, since they share memos
		}
	}
	o.sweep(at)
	for i, w := range o.windows {
		if w == nil {
			continue
		}
		s := &img.Windows[i]
		for p, e := range w.Entries() {
			s.Entries = append(s.Entries, entryImage{Key: p.Key, Slot: p.Slot, Seq: e.Seq, At: e.At, Size: e.Size, Memo: t.add(e.Value)})
		}
		s.Full, s.Keys = w.Full(at)
	}
	for _, seq := range slices.Sorted(maps.Keys(o.memos)) {
		t.add(o.memos[seq])
	}
	for _, call := range slices.Sorted(maps.Keys(o.held)) {
		img.Held[call] = t.candidate(o.held[call])
	}
	if o.judging != nil {
		judging := t.candidate(o.judging)
		img.Judging = &judging
	}
	img.Memos = t.list
	return img
}

func (o *order) restore(img orderImage) error {
	memos := make([]*memo, len(img.Memos))
	for i, m := range img.Memos {
		if memos[i] = m.memo(o.policy); memos[i] == nil {
			return fmt.Errorf("step %d is no call, signal or turn", i)
		}
		if m.Passed {
			o.memos[m.Seq] = memos[i]
		}
	}
	if len(img.Windows) != len(o.windows) {
		return fmt.Errorf("%d rules with steps, the policy has %d", len(img.Windows), len(o.windows))
	}
	for i, w := range o.windows {
		s := img.Windows[i]
		if w == nil {
			if len(s.Entries) > 0 || len(s.Keys) > 0 {
				return fmt.Errorf("rule %d has no steps", i)
			}
			continue
		}
		for _, e := range s.Entries {
			if e.Memo < 0 || e.Memo >= len(memos) || e.Slot < 0 || e.Slot >= o.policy.rules[i].steps.pattern.Slots() {
				return fmt.Errorf("rule %d remembers a step that is not there", i)
			}
			m := memos[e.Memo]
			if m.refs++; !w.Add(e.Key, e.Slot, entry{Seq: e.Seq, At: e.At, Size: e.Size, Value: m}) {
				return fmt.Errorf("rule %d has no room for what it remembers", i)
			}
		}
		if w.Total() != len(s.Entries) {
			return fmt.Errorf("rule %d remembers %d of %d events", i, w.Total(), len(s.Entries))
		}
		w.SetFull(s.Full, s.Keys)
	}
	var err error
	for call, k := range img.Held {
		if o.held[call], err = k.candidate(o, memos); err != nil {
			return err
		}
	}
	if img.Judging != nil {
		o.judging, err = img.Judging.candidate(o, memos)
	}
	return err
}

func (img memoImage) memo(p *Policy) *memo {
	m := &memo{seq: img.Seq, at: img.At, waits: img.Waits, keep: img.Keep}
	if m.waits {
		m.refs++
	}
	switch {
	case img.Signal != nil:
		m.step = expr.NewSignal(event.Event{Session: img.Session, Body: img.Signal})
	case img.Turn != nil:
		m.step = expr.NewTurn(event.Event{Session: img.Session, Body: img.Turn})
	case img.Call != nil:
		m.step = &expr.Step{Call: expr.NewCall(event.Event{Session: img.Session, Body: img.Call}, p.tool(img.Call.Server, img.Call.Tool))}
	default:
		return nil
	}
	if img.Result != nil {
		m.step.Answer(img.Result, true)
	}
	return m
}

func (img candidateImage) candidate(o *order, memos []*memo) (*candidate, error) {
	if img.Memo < 0 || img.Memo >= len(memos) {
		return nil, errors.New("a candidate that is not there")
	}
	k := &candidate{memo: memos[img.Memo]}
	for _, a := range img.Places {
		if a.Feed < 0 || a.Feed >= len(o.feeds) {
			return nil, errors.New("a candidate for a step that is not there")
		}
		k.places = append(k.places, addition{o.feeds[a.Feed], a.Key})
	}
	return k, nil
}
