package interchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/umpire-dev/umpire/rules/event"
)

// exported is an export that is read back, event by event.
type exported struct {
	before   event.Event
	policy   bool   // one was loaded
	awaiting uint64 // Seq of the call, Review or Expired whose verdict has to come next; 0 if none has
	of       uint64 // the call of which that verdict is
	sessions map[string]bool
}

// events imports what umpire export has printed, as it is: with the numbers, times, sessions and verdicts that it has. Where
// retention had removed events, numbers are missing, and what depends on them counts as incomplete.
func (im *Import) events(ctx context.Context, files []input, r *Report) error {
	x := exported{sessions: map[string]bool{}}
	var batch []event.Event
	size := 0
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := write(im.DB, batch)
		batch, size = nil, 0
		return err
	}
	for _, f := range files {
		for l, err := range f.lines(im.Progress) {
			var e event.Event
			if err == nil {
				e, err = x.read(l.text)
			}
			if err == nil && (len(batch) >= batchMost || size >= batchBytes || e.Seq != x.before.Seq+1) {
				err = flush()
			}
			if err == nil && e.Seq != x.before.Seq+1 {
				err = im.DB.Skip(e.Seq, e.At)
			}
			if err != nil {
				return fmt.Errorf("%s:%d: %w", f.name, l.number, err)
			}
			batch, x.before = append(batch, e), e
			size += len(l.text)
			x.count(r, e)
		}
	}
	if x.awaiting != 0 {
		return fmt.Errorf("%s: the verdict on event %d is missing: the export was cut off", files[len(files)-1].name, x.awaiting)
	}
	r.Sessions = len(x.sessions)
	return flush()
}

// read reads an event and says why it cannot follow those before it.
func (x *exported) read(line []byte) (e event.Event, err error) {
	if err := e.UnmarshalJSON(line); err != nil {
		return e, err
	}
	if err := kept(line, e); err != nil {
		return e, err
	}
	switch b := &x.before; {
	case e.Seq <= b.Seq:
		return e, fmt.Errorf("event %d stands behind event %d", e.Seq, b.Seq)
	case e.At < b.At:
		return e, fmt.Errorf("event %d happened before event %d, behind which it stands", e.Seq, b.Seq)
	case e.Cause >= e.Seq:
		return e, fmt.Errorf("event %d is caused by a later one, or by itself", e.Seq)
	}
	v, decides := e.Body.(*event.Verdict)
	if decides != (x.awaiting != 0) || decides && (e.Cause != x.of || max(v.After, e.Cause) != x.awaiting) {
		return e, fmt.Errorf("event %d: a verdict follows what it is on, and nothing else does", e.Seq)
	}
	x.awaiting, x.of = 0, 0
	switch b := e.Body.(type) {
	case *event.Loaded:
		x.policy = true
	case *event.Call:
		if !b.Seen {
			x.awaiting, x.of = e.Seq, e.Seq
		}
	case *event.Review, *event.Expired:
		x.awaiting, x.of = e.Seq, e.Cause
	case *event.Opened, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Result, *event.Signal, *event.Turn, *event.Closed:
	}
	if x.awaiting != 0 && !x.policy {
		return e, fmt.Errorf("event %d was judged by a policy that is not in the export: export all of the history, without --session or --since", e.Seq)
	}
	return e, nil
}

func (x *exported) count(r *Report, e event.Event) {
	r.Events++
	if e.Session != "" {
		x.sessions[e.Session] = true
	}
	switch e.Body.(type) {
	case *event.Call:
		r.Calls++
	case *event.Turn:
		r.Turns++
	default:
	}
}

// kept reports what of a line would be lost.
func kept(line []byte, e event.Event) error {
	text, err := e.AppendJSON(nil)
	if err != nil || bytes.Equal(text, bytes.TrimSpace(line)) {
		return err
	}
	var was, is any
	if err := errors.Join(decode(line, &was), decode(text, &is)); err != nil {
		return err
	}
	if !reflect.DeepEqual(was, is) {
		return fmt.Errorf("event %d is not as umpire export prints it: a part of it would be lost", e.Seq)
	}
	return nil
}

// decode reads JSON with numbers as they are written.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}
