// Package replay judges recorded history again: under the policies that were in force, which has to give the same
// verdicts (Verify), or under another one (WhatIf).
package replay

import (
	"fmt"
	"iter"
	"reflect"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// History yields recorded events from Seq from on, in order. It can be asked again.
type History func(from uint64) iter.Seq2[event.Event, error]

// Report is what Verify found.
type Report struct {
	Events   int
	Verdicts int // judged again
	Same     int // of these, the same as recorded
	Policies int // different policies that were in force
	// Unverified verdicts depend on history that retention has removed.
	Unverified  int
	Differences []Judgement // verdicts that came out otherwise
}

// Verify folds a history again, each part under the policy that was in force, and compares every verdict with the
// recorded one. What happened before pruned was removed by retention; 0 if nothing was.
func Verify(history History, pruned event.Time) (Report, error) {
	var r Report
	policies := map[string]*rules.Policy{}
	j := judge{history: history, pruned: pruned, policy: func(l *event.Loaded) (*rules.Policy, error) { return compile(policies, l) }}
	for e, err := range history(1) {
		if err != nil {
			return r, fmt.Errorf("replay: %w", err)
		}
		r.Events++
		one, judged, err := j.add(e)
		switch {
		case err != nil:
			return r, err
		case one.Incomplete:
			r.Unverified++
		case judged:
			r.compare(one)
		}
	}
	r.Policies = len(policies)
	return r, nil
}

func (r *Report) compare(one Judgement) {
	r.Verdicts++
	if reflect.DeepEqual(one.Recorded, one.Replayed) {
		r.Same++
		return
	}
	r.Differences = append(r.Differences, one)
}

func compile(known map[string]*rules.Policy, l *event.Loaded) (*rules.Policy, error) {
	if p := known[l.Digest]; p != nil {
		return p, nil
	}
	p, err := rules.Compile(l.Sources, l.Env)
	if err != nil {
		return nil, err
	}
	if p.Digest() != l.Digest {
		return nil, fmt.Errorf("its digest is %.12s, recorded was %.12s", p.Digest(), l.Digest)
	}
	known[l.Digest] = p
	return p, nil
}
