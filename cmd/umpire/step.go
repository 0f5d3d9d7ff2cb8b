package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// step is something that happened in a session: a call, or the end of its hold, with the verdict on it, or another event, and how
// the rules stood to it.
type step struct {
	Events    []event.Event    `json:"events"`
	Standings []rules.Standing `json:"standings,omitempty"` // to a call, as the rules judged it
	Earlier   []rules.Standing `json:"earlier,omitempty"`   // of rules that earlier events concern, afterwards
}

// stopped reports whether a call was held or denied in this step.
func (s *step) stopped() bool {
	v, ok := s.Events[len(s.Events)-1].Body.(*event.Verdict)
	return ok && !v.Action.Passes()
}

// session steps through a session.
func (a *app) session(name string, asJSON bool) error {
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	list, err := r.Sessions()
	if err != nil {
		return err
	}
	s, err := sessionNamed(list, name)
	if err == nil && s == nil {
		err = fmt.Errorf("no session %s\nhint: umpire sessions lists them", view.Text(name, 60))
	}
	if err != nil {
		return err
	}
	pruned, err := r.Pruned()
	if err != nil {
		return err
	}
	state, err := replay.Before(replay.History(again(r)), s.First)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("session %s: %s, %d calls, %d denied", s.ID, view.Text(s.Agent, 60), s.Calls, s.Denied)
	if h := state.Policy().Horizon(); pruned.At != 0 && s.Opened.Add(-h) <= pruned.At {
		head += "; what retention has removed is not in its windows"
	}
	steps := steps(replay.Play(state, replay.History(again(r)), s.ID, s.First, s.Last))
	switch out, ok := a.stdout.(*os.File); {
	case asJSON:
		return a.printSteps(steps)
	case ok && term.IsTerminal(out.Fd()) && term.IsTerminal(os.Stdin.Fd()):
		return a.screen(r, head, steps)
	}
	return a.printSession(head, steps)
}

// steps puts calls and verdicts together.
func steps(moments iter.Seq2[replay.Moment, error]) iter.Seq2[step, error] {
	return func(yield func(step, error) bool) {
		var judged step // waits for its verdict
		for m, err := range moments {
			if err != nil {
				yield(step{}, err)
				return
			}
			one := step{Events: []event.Event{m.Event}, Standings: m.Standings, Earlier: m.Earlier}
			switch b := m.Event.Body.(type) {
			case *event.Call:
				if !b.Seen {
					judged = one
					continue
				}
			case *event.Review, *event.Expired:
				judged = one
				continue
			case *event.Verdict:
				if len(judged.Events) > 0 {
					judged.Events, judged.Earlier = append(judged.Events, m.Event), m.Earlier
					one, judged = judged, step{}
				}
			case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Result, *event.Signal, *event.Turn, *event.Closed:
			}
			if !yield(one, nil) {
				return
			}
		}
		if len(judged.Events) > 0 { // the history ends here
			yield(judged, nil)
		}
	}
}

func (a *app) printSteps(steps iter.Seq2[step, error]) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for s, err := range steps {
		if err == nil {
			err = enc.Encode(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printSession(head string, steps iter.Seq2[step, error]) error {
	p := view.New(a.stdout)
	p.Line(head)
	now := time.Now()
	t := view.Timeline{Printer: p, Now: now}
	for s, err := range steps {
		if err != nil {
			return err
		}
		for _, e := range s.Events {
			t.Event(e)
		}
		list := s.Standings
		if _, ok := s.Events[0].Body.(*event.Result); ok { // windows stand as they did at the call, but for the time
			list = slices.DeleteFunc(slices.Clone(list), func(s rules.Standing) bool { return s.Order == nil })
		}
		for _, line := range standings(list, now) {
			p.Line(strings.Repeat(" ", 19), line)
		}
		if err := p.Err(); err != nil {
			return err
		}
	}
	return p.Err()
}

// standings formats those that have something to say.
func standings(list []rules.Standing, now time.Time) (lines []string) {
	for _, s := range list {
		if line := view.Standing(s, now); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// maxSteps bounds what is kept to step back and forth in.
const maxSteps = 20_000

// screen lets a person step through a session on the terminal.
func (a *app) screen(r history.Reader, head string, steps iter.Seq2[step, error]) error {
	m := &screen{head: head, now: time.Now()}
	for one, err := range steps {
		if err != nil {
			return err
		}
		if m.steps = append(m.steps, one); len(m.steps) == maxSteps {
			m.head += fmt.Sprintf("; its first %d steps", maxSteps)
			break
		}
	}
	if w, ok := r.(*watched); ok {
		w.progress.Begin("", 0, nil) // nothing else draws from here on
	}
	if len(m.steps) == 0 {
		return errors.New("nothing of it is left")
	}
	return m.run(a.stdout)
}
