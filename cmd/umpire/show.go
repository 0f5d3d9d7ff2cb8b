package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) show() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show SESSION | CALL",
		Short:   "Show a session as a timeline, or why a call was judged as it was",
		Example: "  umpire show s12\n  umpire show 41",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, _, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			if seq, ok := callNumber(args[0]); ok {
				return a.showCall(r, seq, asJSON)
			}
			return a.showSession(r, args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the events as JSON, one a line")
	return cmd
}

func (a *app) showSession(r history.Reader, id string, asJSON bool) error {
	list, err := r.Sessions()
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.ID != id {
			continue
		}
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
			if e.Session != id {
				continue
			}
			if asJSON {
				if err := a.printJSON(e); err != nil {
					return err
				}
			} else {
				t.Event(e)
			}
		}
		return p.Err()
	}
	return fmt.Errorf("no session %s\nhint: umpire sessions lists them", view.Text(id, 60))
}

func (a *app) printJSON(e event.Event) error {
	text, err := e.MarshalJSON()
	if err == nil {
		_, err = a.stdout.Write(append(text, '\n'))
	}
	return err
}

// callOf returns the call with the given Seq, or the call to which the event of that Seq belongs.
func callOf(r history.Reader, seq uint64) (event.Event, error) {
	e, found, err := history.Get(r, seq)
	if err == nil && found {
		switch e.Body.(type) {
		case *event.Verdict, *event.Review, *event.Expired, *event.Result:
			e, found, err = history.Get(r, e.Cause)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Call, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	if err != nil {
		return e, err
	}
	if _, ok := e.Body.(*event.Call); !found || !ok {
		return e, fmt.Errorf("no call #%d\nhint: umpire log lists them", seq)
	}
	return e, nil
}

// callNumber reads the name of a call on the command line: 41, or #41.
func callNumber(name string) (seq uint64, ok bool) {
	seq, err := strconv.ParseUint(strings.TrimPrefix(name, "#"), 10, 64)
	return seq, err == nil
}

// showCall shows the call with the given Seq, or the call to which the event of that Seq belongs.
func (a *app) showCall(r history.Reader, seq uint64, asJSON bool) error {
	e, err := callOf(r, seq)
	if err != nil {
		return err
	}
	call := e.Body.(*event.Call)
	c := view.Call{Call: e}
	if !call.Seen {
		if err := judged(r, &c); err != nil {
			return err
		}
	}
	if at, err := r.SettledBy(e.Seq); err != nil {
		return err
	} else if at != 0 {
		if err := settled(r, &c, at); err != nil {
			return err
		}
	}
	if at, err := r.ResultOf(e.Seq); err != nil {
		return err
	} else if at != 0 {
		result, _, err := history.Get(r, at)
		if err != nil {
			return err
		}
		c.Result = &result
	}
	for _, at := range evidence(c) {
		if e, found, err := history.Get(r, at); err != nil {
			return err
		} else if found {
			c.Evidence = append(c.Evidence, e)
		}
	}
	if err := narrate(r, &c); err != nil {
		return err
	}
	if err := quotes(r, &c); err != nil {
		return err
	}
	if asJSON {
		return a.printAll(c)
	}
	p := view.New(a.stdout)
	p.Call(c, time.Now())
	return p.Err()
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
