package interchange

import (
	"context"
	"fmt"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// judge is the policy under which everything that happened before Umpire is recorded: it objects to nothing. Replay can judge the
// calls by another one, and Verify finds what is recorded.
const judge = "# what umpire import has brought in: nobody judged it\nmode: observe\n"

// transport is that of pairs of which nothing was seen.
const transport = "import"

// How much is committed at once.
const (
	batchMost  = 512
	batchBytes = 8 << 20
)

// sink writes what happened before Umpire to a history.
type sink struct {
	ctx    context.Context //nolint:containedctx // of the one import that it serves
	db     *store.DB
	report *Report
	state  *rules.State

	at       event.Time // of what is added next; it never decreases
	batch    []event.Event
	size     int               // bytes of what in batch can be long
	sessions map[string]string // ids, by what is one session
	opened   map[string]bool   // client-server pairs
}

func (im *Import) sink(ctx context.Context, r *Report) (*sink, error) {
	p, err := rules.Compile([]event.Source{{Name: "import", Text: judge}}, im.Env)
	if err != nil {
		return nil, err
	}
	s := &sink{ctx: ctx, db: im.DB, report: r, state: rules.NewState(p), sessions: map[string]string{}, opened: map[string]bool{}}
	return s, nil
}

// session returns the id of a session. It is none that live sessions have.
func (s *sink) session(key string) string {
	if s.sessions[key] == "" {
		s.sessions[key] = fmt.Sprintf("import-%d", len(s.sessions)+1)
	}
	return s.sessions[key]
}

// open records that a client uses a server, once.
func (s *sink) open(session, link, server string, who event.Peer) error {
	key := fmt.Sprintf("%q %q", session, server)
	if s.opened[key] {
		return nil
	}
	s.opened[key] = true
	_, err := s.add(session, 0, &event.Opened{Link: link, Server: server, Transport: transport, Peer: who})
	return err
}

// add records what happened, and returns its Seq: 0 of a list of tools that has nothing new. A call has passed.
func (s *sink) add(session string, cause uint64, body event.Body) (uint64, error) {
	if s.report.Events == 0 {
		s.append("", 0, s.state.Policy().Loaded())
	}
	switch b := body.(type) {
	case *event.Catalog:
		news := s.state.Catalog().News(b)
		if len(news.Tools) == 0 && !news.Complete {
			return 0, nil
		}
		body = news
	case *event.Call:
		s.report.Calls++
		s.size += len(b.Args)
	case *event.Turn:
		s.report.Turns++
		s.size += len(b.Text) + len(b.Lineage)
	case *event.Result:
		s.size += len(b.Content)
	case *event.Opened, *event.Loaded, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Closed:
	}
	e := s.append(session, cause, body)
	if len(s.batch) >= batchMost || s.size >= batchBytes {
		return e.Seq, s.flush()
	}
	return e.Seq, nil
}

func (s *sink) append(session string, cause uint64, body event.Body) event.Event {
	s.report.Events++
	e := event.Event{V: event.Version, Seq: uint64(s.report.Events), At: s.at, Session: session, Cause: cause, Body: body}
	s.batch = append(s.batch, e)
	if _, asks := body.(*event.Call); asks {
		v := s.state.Decide(e)
		s.state.Apply(e)
		s.append(session, e.Seq, &v)
		return e
	}
	s.state.Apply(e)
	return e
}

// flush waits until what was added is on disk.
func (s *sink) flush() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	err := write(s.db, s.batch)
	s.batch, s.size = nil, 0 // the DB has the array
	return err
}

func write(db *store.DB, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	done := make(chan error, 1)
	db.Append(events, func(err error) { done <- err })
	return <-done
}
