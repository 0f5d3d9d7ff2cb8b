package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// tasks remembers the calls that a server answered with a task (MCP 2025-11-25, and the extension of 2026-07-28): their
// result comes with the answer to another request, or with a notification, possibly to another connection and after a
// restart. It is part of the fold of the log.
//
// A task is found by who started it: on the same link, or on another one of the same principal and server, since clients
// connect again. A child process knows no other link. If a server gives the same id to two tasks, the newer one counts.
type tasks struct {
	calls map[uint64]*task  // by Seq of the call
	names map[string]uint64 // -> Seq of the call
}

type task struct {
	link, session, server, tool string
	root                        uint64 // Seq of the first attempt
	names                       []string
	told                        bool // it has ended, but the server has not given the result itself
}

// maxTasks bounds the calls that tasks remembers: servers make tasks as they like. What is forgotten has no result, so
// its slots stay taken.
const maxTasks = 10_000

func newTasks() tasks { return tasks{calls: map[uint64]*task{}, names: map[string]uint64{}} }

// taskKeys returns the names under which a task can be found: its own, and for those who connect again.
func taskKeys(link, principal, server, id string) (own, shared string) {
	key := strconv.Quote(principal) + " " + strconv.Quote(server) + " " + id
	return key + " " + link, key
}

// start notes that call seq is now a task; child says that no other link leads to it.
func (t *tasks) start(seq uint64, o openCall, child bool, id string) {
	if len(t.calls) >= maxTasks {
		oldest := seq
		for s := range t.calls {
			oldest = min(oldest, s)
		}
		t.forget(oldest)
	}
	own, shared := taskKeys(o.link, o.call.Principal, o.call.Server, id)
	k := &task{link: o.link, session: o.session, server: o.call.Server, tool: o.call.Tool, root: o.call.Retry, names: []string{own}}
	if !child {
		k.names = append(k.names, shared)
	}
	t.calls[seq] = k
	for _, name := range k.names {
		t.names[name] = seq
	}
}

// ended finds the call that started the task which r names, and completes r. It returns 0 if there is none, or if r says
// nothing new.
func (t *tasks) ended(who Origin, r *event.Result) (call uint64, session string) {
	own, shared := taskKeys(who.Link, who.Peer.Principal, who.Server, r.Task)
	seq, ok := t.names[own]
	if !ok {
		seq = t.names[shared]
	}
	k := t.calls[seq]
	if k == nil || k.told && r.Size == 0 {
		return 0, ""
	}
	r.Server, r.Tool, r.Root = k.server, k.tool, k.root
	return seq, k.session
}

// result notes how a call ended.
func (t *tasks) result(seq uint64, r *event.Result) {
	k := t.calls[seq]
	switch {
	case k == nil:
	case r.Size == 0:
		k.told = true
	default:
		t.forget(seq)
	}
}

// close forgets the tasks of a child process that is gone.
func (t *tasks) close(link string) {
	for seq, k := range t.calls {
		if k.link == link {
			t.forget(seq)
		}
	}
}

func (t *tasks) forget(seq uint64) {
	for _, name := range t.calls[seq].names {
		if t.names[name] == seq {
			delete(t.names, name)
		}
	}
	delete(t.calls, seq)
}

// taskName names a task without telling its id, which is a secret where it is all that a client needs to get the result.
// It is empty if that is no id.
func taskName(id gjson.Result) string {
	if id.Type != gjson.String || id.Str == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(id.Str))
	return hex.EncodeToString(sum[:16])
}

// asked names the task that a request of the client is about.
func asked(m *wire.Message) string {
	if !strings.HasPrefix(m.Method, "tasks/") {
		return ""
	}
	return taskName(m.Params.Get("taskId"))
}

// tasked rules on the answer to a request about a task: if it says how the task ended, that is the call's Result, and is
// recorded before it is released. An error is none: it may be about the request, which the client words as it likes.
func (l *Link) tasked(m *wire.Message, r *request) Ruling {
	if m.Error.Exists() {
		return Ruling{forward: m.Raw}
	}
	var body *event.Result
	switch related := m.Result.Get(`_meta.io\.modelcontextprotocol/related-task.taskId`); {
	case r.method != "tasks/result" || m.Result.Get("taskId").Exists():
		body = l.ended(m.Result, r.task)
	case r.task != "" && (!related.Exists() || taskName(related) == r.task):
		body = &event.Result{Task: r.task}
		l.content(body, m.Result)
	}
	if body == nil {
		return Ruling{forward: m.Raw}
	}
	return released(m, []*Ticket{l.judge.Record(l.Origin(), 0, body)}, notGiven(m))
}

// notified rules on a notification of the server: it may say how a task ended.
func (l *Link) notified(m *wire.Message) Ruling {
	if m.Method != "notifications/tasks" && m.Method != "notifications/tasks/status" {
		return Ruling{forward: m.Raw}
	}
	body := l.ended(m.Params, "")
	if body == nil {
		return Ruling{forward: m.Raw}
	}
	t := l.judge.Record(l.Origin(), 0, body)
	return Ruling{ticket: t, wait: func() ([]byte, []byte) {
		if err := t.Wait(); err != nil {
			l.log.Error("a notification of a task's end is not passed on", "error", err)
			return nil, nil // the client will ask
		}
		return m.Raw, nil
	}}
}

// ended reads how a task ended from its state; name is the task that was asked for. It returns nil if the task has not
// ended, and if all that is known is that there is a result: the client has to fetch it, and whether it isError shows then.
func (l *Link) ended(state gjson.Result, name string) *event.Result {
	if id := state.Get("taskId"); id.Exists() {
		name = taskName(id)
	}
	if name == "" {
		return nil
	}
	body := &event.Result{Task: name, Text: l.clean.Text(state.Get("statusMessage").Str)}
	result, problem, status := state.Get("result"), state.Get("error"), state.Get("status").Str
	switch {
	case status == "cancelled":
		body.Outcome = event.OutcomeCancelled
	case status == "failed" && problem.Exists():
		l.problem(body, problem)
	case status == "failed" && !result.Exists():
		body.Outcome = event.OutcomeFailed
	case (status == "completed" || status == "failed") && result.Exists():
		body.Text = ""
		if l.content(body, result); status == "failed" {
			body.Outcome = event.OutcomeFailed
		}
	default:
		return nil
	}
	return body
}
