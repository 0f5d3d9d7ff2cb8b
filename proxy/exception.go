package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/aymanbagabas/go-udiff"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// ErrNoException says that there is no such exception: it never was, or it is over.
var ErrNoException = errors.New("is no exception that is in force\nhint: umpire review exceptions lists them")

// minExcepted is the least time for which an approval is remembered.
const minExcepted = time.Minute

// Propose implements review.Gate. What cannot be shown as a change of the policy is not remembered.
func (g *Gate) Propose(call uint64, d review.Decision) (p review.Proposal, err error) {
	t := newTicket()
	var h heldCall
	g.do(t, func() {
		var ok bool
		switch h, ok = g.mem.held[call]; {
		case !ok:
			err = review.ErrGone
		case h.verdict.Policy != g.Policy().Digest():
			err = errors.New(review.PolicyChanged)
		default:
			p.Exception, err = g.propose(call, d, g.stamp())
		}
		t.finish(nil)
	})
	if err = errors.Join(err, t.Wait()); err != nil {
		return review.Proposal{}, err
	}
	policy := g.Policy()
	edits, err := policy.Except(p.Exception, h.call.Args)
	if err != nil {
		return review.Proposal{}, fmt.Errorf("call #%d cannot be remembered: %w", call, err)
	}
	for i, src := range policy.Loaded().Sources {
		p.Diff += udiff.Unified(src.Name, src.Name, src.Text, rules.Rewrite(src.Text, i, edits))
	}
	return p, nil
}

// propose returns the exception that a decision about a call on hold makes at the given time. The gate is locked.
func (g *Gate) propose(call uint64, d review.Decision, at event.Time) (x *event.Exception, err error) {
	wait := review.DefaultFor
	var where []string
	if r := d.Remember; r != nil {
		where = r.Where
		if r.For != "" {
			if wait, err = document.ParseDuration(r.For); err != nil {
				return nil, fmt.Errorf("%q is no time for which to remember: want such as 24h or 7d", r.For)
			}
		}
	}
	if wait < minExcepted || wait > rules.MaxExcepted {
		return nil, fmt.Errorf("an approval is remembered for %s to %s, and not for %s",
			document.FormatDuration(minExcepted), document.FormatDuration(rules.MaxExcepted), document.FormatDuration(wait))
	}
	if n := len(g.mem.state.Exceptions(at)); n >= rules.MaxExceptions {
		return nil, fmt.Errorf("%d exceptions are in force, and no more can be: umpire review revoke ends one", n)
	}
	if x, err = g.mem.state.Propose(call, where); err == nil {
		x.Who, x.Note, x.Expires = d.Who, d.Note, event.At(at.Add(wait).Time().Truncate(time.Second))
	}
	return x, err
}

// Exceptions returns the exceptions that people have made and that are not over, the oldest first.
func (g *Gate) Exceptions() (list []rules.Exception, err error) {
	t := newTicket()
	g.do(t, func() {
		list = g.mem.state.Exceptions(g.stamp())
		t.finish(nil)
	})
	return list, t.Wait()
}

// Revoke ends an exception, and returns once that is on disk.
func (g *Gate) Revoke(exception uint64, who, note string) error {
	if err := review.CheckNote(note); err != nil {
		return err
	}
	t := newTicket()
	var refused error
	g.do(t, func() {
		b := batch{gate: g, at: g.stamp()}
		refused = fmt.Errorf("#%d %w", exception, ErrNoException)
		for _, x := range g.mem.state.Exceptions(b.at) {
			if x.Seq == exception {
				refused = nil
				b.add("", exception, &event.Revoked{Who: who, Note: note})
			}
		}
		b.send(t)
	})
	return errors.Join(refused, t.Wait())
}
