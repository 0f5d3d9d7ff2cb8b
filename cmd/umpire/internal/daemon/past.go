package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/habits"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// past is what rules remembered at some moment of the history, for people who look at it. The gate's own memory is not
// touched: all of it is folded anew, as far back as the rules remember.
type past struct {
	db    *store.DB
	build string // empty: snapshots are not used

	mu       sync.Mutex
	policies map[string]*rules.Policy // by digest
	loaded   []uint64                 // Seqs of events that bring a policy into force
	promoted []uint64                 // of those that bring a baseline into force
	lasting  []uint64                 // of both, and of others that matter for long: what tools are like, and what is excepted
	known    uint64                   // up to which event these are known
}

// lastingKinds are the JSON keys of the bodies of lasting events.
var lastingKinds = [][]byte{[]byte(`"loaded":{`), []byte(`"catalog":{`), []byte(`"accepted":{`), []byte(`"exception":{`), []byte(`"revoked":{`), []byte(`"promoted":{`)}

// read finds the lasting events before seq.
func (p *past) read(ctx context.Context, seq uint64) (loaded, lasting []uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known+1 < seq {
		for raw, err := range p.db.Raw(p.known + 1) {
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, nil, err
			}
			n := gjson.GetBytes(raw, "seq").Uint()
			if n >= seq {
				break
			}
			p.known = n
			if err := p.note(raw); err != nil {
				return nil, nil, err
			}
		}
	}
	until := func(list []uint64) []uint64 {
		return list[:sort.Search(len(list), func(i int) bool { return list[i] >= seq })]
	}
	return until(p.loaded), until(p.lasting), nil
}

// note keeps the number of a lasting event.
func (p *past) note(raw []byte) error {
	if !slices.ContainsFunc(lastingKinds, func(kind []byte) bool { return bytes.Contains(raw, kind) }) {
		return nil
	}
	var e event.Event // or an argument of a call has such a name
	if err := e.UnmarshalJSON(raw); err != nil {
		return err
	}
	switch e.Body.(type) {
	case *event.Loaded:
		p.loaded = append(p.loaded, e.Seq)
		p.lasting = append(p.lasting, e.Seq)
	case *event.Promoted:
		p.promoted = append(p.promoted, e.Seq)
		p.lasting = append(p.lasting, e.Seq)
	case *event.Catalog, *event.Accepted, *event.Exception, *event.Revoked:
		p.lasting = append(p.lasting, e.Seq)
	default:
	}
	return nil
}

// before returns what the rules in force remembered before an event.
func (p *past) before(ctx context.Context, seq uint64) (*rules.State, error) {
	loaded, _, err := p.read(ctx, seq)
	if err != nil {
		return nil, err
	}
	if len(loaded) == 0 {
		return nil, fmt.Errorf("no policy was loaded before event %d", seq)
	}
	e, found, err := p.db.Get(loaded[len(loaded)-1])
	l, ok := e.Body.(*event.Loaded)
	if err != nil || !found || !ok {
		return nil, errors.Join(err, fmt.Errorf("the policy of event %d is gone", e.Seq))
	}
	policy, err := p.policy(l)
	if err != nil {
		return nil, err
	}
	return p.fold(ctx, policy, seq)
}

func (p *past) policy(l *event.Loaded) (*rules.Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.policies[l.Digest]; known != nil {
		return known, nil
	}
	policy, err := rules.Compile(l.Sources, l.Env)
	switch {
	case err != nil:
		return nil, err
	case policy.Digest() != l.Digest:
		return nil, fmt.Errorf("the digest of a policy is %.12s, recorded was %.12s", policy.Digest(), l.Digest)
	case p.policies == nil || len(p.policies) >= 16:
		p.policies = map[string]*rules.Policy{}
	}
	p.policies[l.Digest] = policy
	return policy, nil
}

// fold returns what the rules of a policy remember of what happened before an event. What is older than they look back is
// left out, but for what tools are like; so is what the newest snapshot has, where it is of use.
func (p *past) fold(ctx context.Context, policy *rules.Policy, seq uint64) (*rules.State, error) {
	_, lasting, err := p.read(ctx, seq)
	if err != nil {
		return nil, err
	}
	at, err := p.at(seq)
	if err != nil {
		return nil, err
	}
	from, err := p.since(at.Add(-max(policy.Horizon(), rules.HoldFor)), seq)
	if err != nil {
		return nil, err
	}
	s, saved := p.snapshot(policy)
	if s != nil && from <= saved && saved < seq {
		from = saved + 1
	} else {
		s = rules.NewState(policy)
		force := p.promotedBefore(from)
		for _, n := range lasting[:sort.Search(len(lasting), func(i int) bool { return lasting[i] >= from })] {
			if p.isPromoted(n) && n != force { // another one is in force
				continue
			}
			e, found, err := p.db.Get(n)
			if err != nil || !found {
				return nil, errors.Join(err, fmt.Errorf("event %d is gone", n))
			}
			s.Apply(e)
		}
	}
	for e, err := range p.db.Events(from) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		if e.Seq >= seq {
			break
		}
		s.Apply(e)
	}
	return s, nil
}

// promotedBefore returns which event brought the baseline into force that was before an event, as far as read has come; 0 if none was.
func (p *past) promotedBefore(seq uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := sort.Search(len(p.promoted), func(i int) bool { return p.promoted[i] >= seq })
	if n == 0 {
		return 0
	}
	return p.promoted[n-1]
}

func (p *past) isPromoted(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, found := slices.BinarySearch(p.promoted, seq)
	return found
}

// frame returns what a Picture of a call has to know before it reads; ok is false if no baseline was in force.
func (p *past) frame(ctx context.Context, call event.Event) (f habits.Frame, ok bool, err error) {
	loaded, _, err := p.read(ctx, call.Seq)
	if err != nil || len(loaded) == 0 || p.promotedBefore(call.Seq) == 0 {
		return f, false, err
	}
	e, _, err := p.db.Get(loaded[len(loaded)-1])
	l, is := e.Body.(*event.Loaded)
	if err != nil || !is {
		return f, false, err
	}
	if f.Policy, err = p.policy(l); err != nil {
		return f, false, err
	}
	if f.From, err = habits.First(p.db, call.At.Add(-baseline.Horizon), call.Seq); err != nil {
		return f, false, err
	}
	if n := p.promotedBefore(f.From); n != 0 {
		f.Promoted, _, err = p.db.Get(n)
	}
	return f, err == nil, err
}

// at returns the time of an event, or of the next one that is there; behind the last one, of that.
func (p *past) at(seq uint64) (event.Time, error) {
	for e, err := range p.db.Events(min(seq, p.db.Last())) {
		return e.At, err
	}
	return 0, nil
}

// since returns the first event before seq that happened at the given time or later.
func (p *past) since(at event.Time, seq uint64) (from uint64, err error) {
	n := sort.Search(int(seq), func(i int) bool {
		var then event.Time
		if err == nil {
			then, err = p.at(uint64(i))
		}
		return then >= at
	})
	return uint64(n), err
}

// snapshot returns what the gate remembered when it last made a snapshot; nil if that is not of this policy.
func (p *past) snapshot(policy *rules.Policy) (s *rules.State, seq uint64) {
	if p.build == "" {
		return nil, 0
	}
	seq, data, err := p.db.Snapshot()
	if err != nil || seq == 0 {
		return nil, 0
	}
	if s, seq, err = proxy.StateOf(policy, p.build, data); err != nil {
		return nil, 0
	}
	return s, seq
}
