package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/habits"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

func (a *app) show() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "show SESSION | CALL",
		Short: "Show a session as a timeline, or why a call was judged as it was",
		Long: "Show prints a session, one event a line, or a call with the reason of its verdict, and what led to it.\n\n" +
			"A session has an id, such as s12, and a call a number, such as 41, and the id that its client gave it, such as toolu_01A8….\n" +
			"The beginning of any of them will do if it is the only one that begins so. Every command takes these names.",
		Example: "  umpire show s12\n  umpire show 41\n  umpire show toolu_01A8",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, _, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			list, err := r.Sessions()
			if err != nil {
				return err
			}
			if s, err := sessionNamed(list, args[0]); err != nil || s != nil {
				if err != nil {
					return err
				}
				return a.showSession(r, s, asJSON)
			}
			call, err := callNamed(r, args[0])
			if err != nil {
				return err
			}
			return a.showCall(r, call, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the events as JSON, one a line")
	return cmd
}

func (a *app) showSession(r history.Reader, s *store.Session, asJSON bool) error {
	p := view.New(a.stdout)
	t := view.Timeline{Printer: p, Now: time.Now()}
	if !asJSON {
		head := fmt.Sprintf("session %s: %s, %d calls, %d denied", s.ID, view.Text(s.Agent, 60), s.Calls, s.Denied)
		if s.Seen > 0 {
			head += fmt.Sprintf(", %d seen and not judged", s.Seen)
		}
		p.Line(head)
	}
	for e, err := range history.Events(r, s.First) {
		if err != nil {
			return err
		}
		if e.Seq > s.Last {
			break
		}
		if e.Session != s.ID {
			continue
		}
		if !asJSON {
			t.Event(e)
		} else if err := a.printJSON(e); err != nil {
			return err
		}
	}
	return p.Err()
}

func (a *app) printJSON(e event.Event) error {
	text, err := e.MarshalJSON()
	if err == nil {
		_, err = a.stdout.Write(append(text, '\n'))
	}
	return err
}

// showCall shows a call.
func (a *app) showCall(r history.Reader, e event.Event, asJSON bool) error {
	c, err := storyOf(r, e)
	if err != nil {
		return err
	}
	picture, err := pictureOf(r, e)
	if err != nil {
		return err
	}
	if asJSON {
		if err := a.printAll(c); err != nil || picture == nil {
			return err
		}
		return json.NewEncoder(a.stdout).Encode(map[string]any{"picture": picture})
	}
	p := view.New(a.stdout)
	p.Call(c, time.Now())
	if picture != nil {
		p.Picture(picture)
	}
	return p.Err()
}

// pictureOf says why a call has the score that it has by the baseline that was in force; nil if none was, or nobody judged it.
func pictureOf(r history.Reader, e event.Event) (*baseline.Picture, error) {
	if e.Body.(*event.Call).Seen {
		return nil, nil
	}
	if w, ok := r.(*watched); ok {
		if d, ok := w.Reader.(*history.Daemon); ok {
			return d.Picture(e.Seq)
		}
	}
	if d, ok := r.(*history.Daemon); ok {
		return d.Picture(e.Seq)
	}
	ctx := context.Background()
	frame, err := habits.Before(ctx, r, e)
	if errors.Is(err, habits.ErrEmpty) || err == nil && !frame.Compares { // retention has left nothing
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := habits.Picture(ctx, r, frame, e)
	return &p, err
}

// storyOf returns a call with all that belongs to it.
func storyOf(r history.Reader, e event.Event) (view.Call, error) {
	c := view.Call{Call: e}
	if !e.Body.(*event.Call).Seen {
		if err := judged(r, &c); err != nil {
			return c, err
		}
	}
	if at, err := r.SettledBy(e.Seq); err != nil {
		return c, err
	} else if at != 0 {
		if err := settled(r, &c, at); err != nil {
			return c, err
		}
	}
	if at, err := r.ResultOf(e.Seq); err != nil {
		return c, err
	} else if at != 0 {
		result, _, err := history.Get(r, at)
		if err != nil {
			return c, err
		}
		c.Result = &result
	}
	for _, at := range evidence(c) {
		if e, found, err := history.Get(r, at); err != nil {
			return c, err
		} else if found {
			c.Evidence = append(c.Evidence, e)
		}
	}
	if err := narrate(r, &c); err != nil {
		return c, err
	}
	return c, quotes(r, &c)
}

// near is how many events before and after a call are searched for what was said about it.
const near = 2000

// narrate adds what was said in the conversation to which a call is bound: the prompt before it, the words with which the
// model makes it, and what comes next.
func narrate(r history.Reader, c *view.Call) error {
	bound := c.Call.Body.(*event.Call).Bound
	if bound == nil || bound.Conversation == "" {
		return nil
	}
	after := c.Call.Seq
	if c.Result != nil {
		after = c.Result.Seq
	}
	var spoken *event.Event // the model's words that stand before the call, if none say that they make it
	for e, err := range history.Events(r, max(c.Call.Seq, near)-near+1) {
		switch {
		case err != nil:
			return err
		case e.Seq > after+near || c.Next != nil:
			return nil
		}
		t, ok := e.Body.(*event.Turn)
		if !ok || t.Conversation != bound.Conversation || t.Size == 0 {
			continue
		}
		makes := bound.Use != "" && slices.Contains(t.Calls, bound.Use)
		switch assistant := t.Role == event.RoleAssistant; {
		case assistant && makes:
			c.Words = &e
		case e.Seq > after:
			c.Next = &e
		case e.Seq > c.Call.Seq:
		case t.Role == event.RoleUser:
			c.Prompt, c.Words, spoken = &e, nil, nil
		case assistant && len(t.Calls) == 0:
			spoken = &e
		}
		if c.Words == nil {
			c.Words = spoken
		}
	}
	return nil
}

// judged adds the verdict on a call.
func judged(r history.Reader, c *view.Call) error {
	v, found, err := history.Get(r, c.Call.Seq+1)
	if _, ok := v.Body.(*event.Verdict); err == nil && (!found || !ok) {
		err = fmt.Errorf("call #%d has no verdict", c.Call.Seq)
	}
	c.Verdict = v
	return err
}

// settled adds how the hold of a call ended: by what came right before the verdict at the given Seq.
func settled(r history.Reader, c *view.Call, at uint64) error {
	end, found, err := history.Get(r, at-1)
	if err != nil || !found {
		return err
	}
	verdict, found, err := history.Get(r, at)
	if v, ok := verdict.Body.(*event.Verdict); err == nil && found && ok && v.After == end.Seq {
		c.End, c.Settled = &end, &verdict
	}
	return err
}

// evidence returns the calls that caused the verdict on a call, and the one that ended its hold.
func evidence(c view.Call) []uint64 {
	if c.Verdict.Body == nil {
		return nil
	}
	seqs := slices.Clone(c.Verdict.Body.(*event.Verdict).Evidence)
	if c.Settled != nil {
		seqs = append(seqs, c.Settled.Body.(*event.Verdict).Evidence...)
		slices.Sort(seqs)
	}
	return slices.Compact(seqs)
}

func (a *app) printAll(c view.Call) error {
	events := c.Evidence
	for _, said := range []*event.Event{c.Prompt, c.Words} {
		if said != nil {
			events = append(events, *said)
		}
	}
	events = append(events, c.Call)
	if c.Verdict.Body != nil {
		events = append(events, c.Verdict)
	}
	if c.Settled != nil {
		events = append(events, *c.End, *c.Settled)
	}
	if c.Result != nil {
		events = append(events, *c.Result)
	}
	if c.Next != nil {
		events = append(events, *c.Next)
	}
	for _, e := range events {
		if err := a.printJSON(e); err != nil {
			return err
		}
	}
	return nil
}
