package interchange

import (
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/rules/event"
)

// script is a transcript that is read while others are.
type script struct {
	input
	client *hook.Client
	begin  event.Time // of its first line that has a time

	// since it has been begun:
	next func() (told, error, bool)
	stop func()
	head told
	talk talk              // of the last line
	said map[string]uint64 // the last turn, by session
}

// told is a line of a transcript, at its time.
type told struct {
	at event.Time
	hook.Line
}

// talk is whose words and calls are in a transcript.
type talk struct {
	conversation, workspace, version string
}

// past is a call that a transcript tells of.
type past struct {
	seq uint64
	*event.Call
	ended  bool
	failed bool // it is said to have
}

// transcripts imports transcripts in the order in which everything in them happened, whichever it stands in: windows see what they
// would have seen. One is open from its first line to its last.
func (im *Import) transcripts(s *sink, files []input) error {
	var waiting, open []*script
	for _, f := range files {
		t, err := im.script(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		waiting = append(waiting, t)
	}
	slices.SortStableFunc(waiting, func(a, b *script) int { return int(min(max(a.begin-b.begin, -1), 1)) })
	defer func() {
		for _, t := range open {
			t.stop()
		}
	}()
	calls := map[string]*past{} // by client and id
	for len(waiting)+len(open) > 0 {
		first := slices.MinFunc(append(slices.Clone(open), waiting[:min(1, len(waiting))]...), func(a, b *script) int {
			return int(min(max(a.at()-b.at(), -1), 1))
		})
		if first.next == nil {
			waiting, open = waiting[1:], append(open, first)
			first.next, first.stop = iter.Pull2(first.read(s.report, im.Progress))
		} else if err := im.tell(s, first, calls); err != nil {
			return fmt.Errorf("%s: %w", first.name, err)
		}
		head, err, more := first.next()
		if err != nil {
			return fmt.Errorf("%s: %w", first.name, err)
		}
		if first.head = head; !more {
			first.stop()
			open = slices.DeleteFunc(open, func(t *script) bool { return t == first })
		}
	}
	return nil
}

// at is when what comes next in t happened.
func (t *script) at() event.Time {
	if t.next == nil {
		return t.begin
	}
	return t.head.at
}

// script finds out whose a transcript is, and when it begins.
func (im *Import) script(in input) (*script, error) {
	t := &script{input: in, said: map[string]uint64{}}
	for l, err := range in.lines(nil) {
		if err != nil {
			return nil, err
		}
		if t.client == nil {
			t.client = hook.Writer(l.text)
		}
		if line, err := t.client.ReadLine(l.text); err == nil && !line.At.IsZero() {
			if t.begin = event.At(line.At); !t.begin.Time().Equal(line.At) {
				return nil, fmt.Errorf("line %d: the year %d is none that can be recorded", l.number, line.At.Year())
			}
			return t, nil
		}
	}
	return nil, fmt.Errorf("no line says when something happened")
}

// read yields the lines of t that tell something. One that has no time, or that stands behind a later one, happened with the one
// before it.
func (t *script) read(r *Report, p *view.Progress) iter.Seq2[told, error] {
	return func(yield func(told, error) bool) {
		at := t.begin
		for l, err := range t.lines(p) {
			if err != nil {
				yield(told{}, err)
				return
			}
			line, err := t.client.ReadLine(l.text)
			if err != nil {
				r.Unread++
				continue
			}
			if next := event.At(line.At); next > at && next.Time().Equal(line.At) {
				at = next
			}
			if (len(line.Past) > 0 || line.Conversation != "") && !yield(told{at, line}, nil) {
				return
			}
		}
	}
}

// tell records the line that is at the head of t.
func (im *Import) tell(s *sink, t *script, calls map[string]*past) error {
	l := &t.head
	if l.Conversation != "" {
		t.talk.conversation = l.Conversation
	}
	if l.Workspace != "" {
		t.talk.workspace = l.Workspace
	}
	if l.Version != "" {
		t.talk.version = l.Version
	}
	s.at = max(s.at, l.at)
	for _, p := range l.Past {
		if err := im.happened(s, t, p, calls); err != nil {
			return err
		}
	}
	return nil
}

func (im *Import) happened(s *sink, t *script, p hook.Past, calls map[string]*past) error {
	link := "import:" + filepath.Base(t.name)
	id := s.session(fmt.Sprintf("%s %q", t.client.Name, t.talk.conversation))
	who := event.Peer{
		Principal: "local:import", Agent: t.client.Agent, Client: event.Client{Name: t.client.Agent, Version: t.talk.version},
		Workspace: t.talk.workspace, Asserted: map[string]string{t.client.Session: t.talk.conversation},
	}
	if p.Subagent != "" {
		who.Asserted[proxy.SubagentID] = p.Subagent
	}
	key := t.client.Name + " " + p.Use
	known := calls[key]
	switch {
	case p.Tool != "" && known != nil: // a conversation that was resumed is told again
		s.report.Repeated++
		return nil
	case p.Tool != "":
		if p.Server != hook.Server && !p.Apart {
			name, sure := p.Server+"__"+p.Tool, false
			if p.Server, p.Tool, sure = im.cut(name); !sure {
				s.report.guess("mcp__" + name)
			}
		}
		if err := s.open(id, link, p.Server, who); err != nil {
			return err
		}
		args, findings := im.Cleaner.Clean("args", p.Args)
		use, err := json.Marshal(p.Use)
		if err != nil {
			return err
		}
		c := &event.Call{Link: link, Server: p.Server, Tool: p.Tool, ID: use, Args: args, Size: len(p.Args), Peer: who, Findings: findings}
		c.Bound = &event.Bound{
			By: event.ByCall, Confidence: event.Exact, Turn: t.said[id], Use: p.Use, Conversation: t.talk.conversation, Subagent: p.Subagent,
		}
		seq, err := s.add(id, 0, c)
		calls[key] = &past{seq: seq, Call: c}
		return err
	case p.Role == event.RoleTool && known != nil:
		if known.failed = known.failed || p.Failed || p.Says && known.Server == hook.Server; known.ended || p.Ended {
			return nil
		}
		known.ended = true
		return im.ended(s, id, known, p)
	case p.Text == "" || p.Ended:
		return nil
	}
	turn := &event.Turn{Role: p.Role, Source: "import:" + t.client.Name, Trust: p.Trust, Conversation: t.talk.conversation, ID: p.Turn, Peer: who}
	if p.Use != "" {
		turn.Calls = []string{p.Use}
	}
	im.Keep.Write(turn, im.Cleaner, p.Text)
	seq, err := s.add(id, 0, turn)
	t.said[id] = seq
	return err
}

// ended records what a call gave.
func (im *Import) ended(s *sink, session string, c *past, p hook.Past) error {
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	content, err := json.Marshal(struct {
		Content []block `json:"content"`
		IsError bool    `json:"isError,omitempty"`
	}{[]block{{"text", p.Text}}, c.failed})
	if err != nil {
		return err
	}
	r := &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeOK, Size: len(content)}
	switch {
	case c.failed:
		r.Outcome = event.OutcomeFailed
	case p.Lost:
		r.Outcome = event.OutcomeLost
	}
	r.Content, r.Findings = im.Cleaner.Clean("result", content)
	c.Call = &event.Call{} // no result comes any more
	_, err = s.add(session, c.seq, r)
	return err
}
