package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// A person names a session by its id, and a call by its number or by the id that it has in its conversation (toolu_…); any
// beginning will do that no other one has. A whole name is never taken for a beginning, nor is #41.

// mostNamed bounds how many are listed that a name could mean.
const mostNamed = 5

// ambiguous says which ones a name could mean.
func ambiguous(what, name string, could []string, hint string) error {
	more := ""
	if len(could) > mostNamed {
		could, more = could[:mostNamed], " …"
	}
	return fmt.Errorf("several %s begin with %s: %s%s\nhint: %s", what, view.Text(name, 60), strings.Join(could, ", "), more, hint)
}

// sessionsNamed returns the ids of the sessions that are named.
func sessionsNamed(r history.Reader, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	list, err := r.Sessions()
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(names))
	for _, name := range names {
		s, err := sessionNamed(list, name)
		if err == nil && s == nil {
			err = fmt.Errorf("no session %s\nhint: umpire sessions lists them", view.Text(name, 60))
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s.ID)
	}
	return out, nil
}

// sessionNamed returns the session that is named; nil if there is none.
func sessionNamed(list []store.Session, name string) (*store.Session, error) {
	var found []*store.Session
	for i := range list {
		s := &list[i]
		if s.ID == name {
			return s, nil
		}
		if name != "" && strings.HasPrefix(s.ID, name) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	could := make([]string, len(found))
	for i, s := range found {
		could[i] = view.Text(s.ID, 60)
	}
	return nil, ambiguous("sessions", name, could, "umpire sessions lists them")
}

// agentNamed returns the agent that is named, of those that have ever called.
func agentNamed(r history.Reader, name string) (string, error) {
	list, err := r.Sessions()
	if err != nil {
		return "", err
	}
	var agents, could []string
	for i := range list {
		agent := list[i].Agent
		switch {
		case agent == name:
			return name, nil
		case slices.Contains(agents, agent):
			continue
		}
		if agents = append(agents, agent); name != "" && strings.HasPrefix(agent, name) {
			could = append(could, agent)
		}
	}
	shown := func(list []string) (out []string) {
		slices.Sort(list)
		for _, x := range list {
			out = append(out, view.Text(x, 60))
		}
		return out
	}
	switch {
	case len(could) == 1:
		return could[0], nil
	case len(could) > 1:
		return "", ambiguous("agents", name, shown(could), "say more of it")
	case len(agents) == 0:
		return "", fmt.Errorf("no agent %s: none has ever called", view.Text(name, 60))
	}
	there := shown(agents)
	more := ""
	if len(there) > 4*mostNamed {
		there, more = there[:4*mostNamed], " …"
	}
	return "", fmt.Errorf("no agent %s\nhint: there are %s%s", view.Text(name, 60), strings.Join(there, ", "), more)
}

// callNumber reads the number of a call: 41, or #41, which is no beginning of another one.
func callNumber(name string) (seq uint64, whole, ok bool) {
	digits, whole := strings.CutPrefix(name, "#")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, whole, err == nil
}

// callNamed returns the call that is named, also by an event that belongs to it.
func callNamed(r history.Reader, name string) (event.Event, error) {
	seq, whole, number := callNumber(name)
	var found []event.Event
	var err error
	if number {
		var e event.Event
		var ok bool
		if e, ok, err = callAt(r, seq); err != nil || ok {
			return e, err
		}
		if !whole {
			found, err = callsNumbered(r, seq)
		}
	} else {
		found, err = callsUsed(r, name)
	}
	switch {
	case err != nil:
		return event.Event{}, err
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && number:
		return event.Event{}, fmt.Errorf("no call #%d\nhint: umpire log lists them", seq)
	case len(found) == 0:
		return event.Event{}, fmt.Errorf("no session or call %s\nhint: umpire sessions lists sessions, umpire log calls", view.Text(name, 60))
	}
	return event.Event{}, ambiguous("calls", name, described(found), "say more of it; umpire log lists them")
}

// described says which calls there are.
func described(calls []event.Event) []string {
	out := make([]string, len(calls))
	for i, e := range calls {
		c := e.Body.(*event.Call)
		if out[i] = view.Ref(e.Seq) + " " + view.Text(c.Server+"/"+c.Tool, 80); c.Bound != nil && c.Bound.Use != "" {
			out[i] += " (" + view.Text(c.Bound.Use, 60) + ")"
		}
	}
	return out
}

// callAt returns the call with the given Seq, or the one to which the event of that Seq belongs.
func callAt(r history.Reader, seq uint64) (event.Event, bool, error) {
	e, found, err := history.Get(r, seq)
	if err == nil && found {
		switch e.Body.(type) {
		case *event.Verdict, *event.Review, *event.Expired, *event.Result:
			e, found, err = history.Get(r, e.Cause)
		default:
		}
	}
	_, ok := e.Body.(*event.Call)
	return e, found && ok, err
}

// callsNumbered returns the first calls whose numbers begin with seq and go on.
func callsNumbered(r history.Reader, seq uint64) (out []event.Event, err error) {
	last := r.Last()
	for from, to := seq*10, seq*10+9; seq > 0 && from/10 >= seq && from <= last; from, to = from*10, to*10+9 {
		for e, err := range history.Events(r, from) {
			if err != nil {
				return nil, err
			}
			if e.Seq > to {
				break
			}
			if _, ok := e.Body.(*event.Call); !ok {
				continue
			}
			if out = append(out, e); len(out) > mostNamed {
				return out, nil
			}
		}
	}
	return out, nil
}

// callsUsed returns the calls that have this id in their conversation; if there are none, the first ones whose id begins so.
func callsUsed(r history.Reader, id string) (out []event.Event, err error) {
	if id == "" {
		return nil, nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // as events are stored
	if err := enc.Encode(id); err != nil {
		return nil, err
	}
	begins := append([]byte(`"use":`), bytes.TrimSuffix(text.Bytes(), []byte("\"\n"))...)
	exact := 0
	for raw, err := range r.Raw(1) {
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(raw, begins) { // decoding takes longer
			continue
		}
		var e event.Event
		if err := e.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		c, ok := e.Body.(*event.Call)
		if !ok || c.Bound == nil || !strings.HasPrefix(c.Bound.Use, id) {
			continue
		}
		if c.Bound.Use == id {
			out = slices.Insert(out, exact, e)
			exact++
		} else {
			out = append(out, e)
		}
		out = out[:min(len(out), mostNamed+1)]
	}
	if exact = min(exact, len(out)); exact > 0 {
		out = out[:exact]
	}
	return out, nil
}

// heldNamed returns the number of the call that is named, as callNamed does, but that a beginning only has to be unique among
// the calls on hold. A number that another call has is that call's, so that a decision which comes too late finds nobody else.
func heldNamed(d *history.Daemon, name string) (uint64, error) {
	seq, whole, number := callNumber(name)
	list, err := d.Held()
	if err != nil {
		return 0, noDaemon(err)
	}
	if number {
		if whole || slices.ContainsFunc(list, func(h review.Held) bool { return h.Call == seq }) {
			return seq, nil
		}
		if _, ok, err := callAt(d, seq); err != nil || ok {
			return seq, err
		}
	}
	var found, exact []event.Event
	for _, h := range list {
		e, ok, err := callAt(d, h.Call)
		if err != nil {
			return 0, err
		}
		c, _ := e.Body.(*event.Call)
		switch {
		case !ok || name == "":
		case number && strings.HasPrefix(strconv.FormatUint(h.Call, 10), name):
			found = append(found, e)
		case !number && c.Bound != nil && c.Bound.Use == name:
			exact = append(exact, e)
		case !number && c.Bound != nil && strings.HasPrefix(c.Bound.Use, name):
			found = append(found, e)
		}
	}
	if len(exact) > 0 {
		found = exact
	} else if !number && len(found) == 1 { // clients choose their ids: one that goes on as another ended is not that one
		used, err := callsUsed(d, name)
		if err != nil {
			return 0, err
		}
		if len(used) > 0 && used[0].Body.(*event.Call).Bound.Use == name {
			return used[0].Seq, nil
		}
	}
	switch {
	case len(found) == 1:
		return found[0].Seq, nil
	case len(found) > 1:
		return 0, ambiguous("calls on hold", name, described(found), "umpire review lists them")
	case number:
		return seq, nil // nothing has this number: whoever decides says so
	}
	return 0, fmt.Errorf("no call %s is on hold\nhint: umpire review lists what is", view.Text(name, 60))
}
