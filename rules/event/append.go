package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// AppendJSON appends the JSON form of e, on one line, to dst. Calls, verdicts, results and turns are most of every history, and
// are written without reflection; their raw values have to be JSON, as they are once Parse has let them through.
func (e Event) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{out: dst}
	switch b := e.Body.(type) {
	case *Call:
		w.begin(e)
		w.call(b)
	case *Verdict:
		w.begin(e)
		w.verdict(b)
	case *Result:
		w.begin(e)
		w.result(b)
	case *Turn:
		w.begin(e)
		w.turn(b)
	default:
		return e.appendAny(dst)
	}
	w.out = append(w.out, '}', '}')
	return w.out, w.err
}

// writer appends members. Like those of encoding/json's omitempty, text, number and list leave out what is empty.
type writer struct {
	out   []byte
	first bool // no member has been written to the innermost object
	err   error
}

// begin writes what stands before the members of the body.
func (w *writer) begin(e Event) {
	w.out = append(w.out, `{"v":`...)
	w.out = strconv.AppendInt(w.out, int64(e.V), 10)
	w.out = append(w.out, `,"seq":`...)
	w.out = strconv.AppendUint(w.out, e.Seq, 10)
	w.out = append(w.out, `,"at":"`...)
	w.out = append(e.At.Time().AppendFormat(w.out, time.RFC3339Nano), '"')
	w.text("session", e.Session)
	w.number("cause", e.Cause)
	w.name(e.Body.Kind())
	w.open()
}

func (w *writer) open() { w.out, w.first = append(w.out, '{'), true }

func (w *writer) close() { w.out, w.first = append(w.out, '}'), false }

// element begins the ith element of a list.
func (w *writer) element(i int) {
	if i == 0 {
		w.out = append(w.out, '[')
	} else {
		w.out = append(w.out, ',')
	}
}

func (w *writer) name(name string) {
	if !w.first {
		w.out = append(w.out, ',')
	}
	w.first = false
	w.out = append(append(append(w.out, '"'), name...), '"', ':')
}

func (w *writer) always(name, s string) {
	w.name(name)
	w.quote(s)
}

func (w *writer) text(name, s string) {
	if s != "" {
		w.always(name, s)
	}
}

func (w *writer) integer(name string, n int64) {
	w.name(name)
	w.out = strconv.AppendInt(w.out, n, 10)
}

func (w *writer) number(name string, n uint64) {
	if n != 0 {
		w.name(name)
		w.out = strconv.AppendUint(w.out, n, 10)
	}
}

// mark writes a member that is left out unless it is true.
func (w *writer) mark(name string, is bool) {
	if is {
		w.name(name)
		w.out = append(w.out, "true"...)
	}
}

func (w *writer) raw(name string, raw json.RawMessage) {
	w.name(name)
	switch {
	case raw == nil:
		w.out = append(w.out, "null"...)
	case bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0:
		w.out = append(w.out, raw...)
	default:
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			w.err = fmt.Errorf("event: %s: %w", name, err)
		}
		w.out = append(w.out, line.Bytes()...)
	}
}

func (w *writer) numbers(name string, list []uint64) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	for i, n := range list {
		w.element(i)
		w.out = strconv.AppendUint(w.out, n, 10)
	}
	w.out = append(w.out, ']')
}

// quote appends a JSON string. Unlike json.Marshal it leaves <, > and & as they are.
func (w *writer) quote(s string) {
	for _, c := range []byte(s) {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			text, err := marshal(s)
			if err != nil {
				w.err = err
			}
			w.out = append(w.out, text...)
			return
		}
	}
	w.out = append(append(append(w.out, '"'), s...), '"')
}

func (w *writer) action(a Action) {
	text, err := a.MarshalText()
	if err != nil {
		w.err = err
	}
	w.always("action", string(text))
}

func (w *writer) peer(p *Peer) {
	w.always("principal", p.Principal)
	w.always("agent", p.Agent)
	w.name("client")
	w.open()
	w.text("name", p.Client.Name)
	w.text("version", p.Client.Version)
	w.close()
	w.text("workspace", p.Workspace)
	w.text("process", p.Process)
	if len(p.Asserted) > 0 {
		w.name("asserted")
		w.out = append(w.out, '{')
		for i, k := range slices.Sorted(maps.Keys(p.Asserted)) {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.quote(k)
			w.out = append(w.out, ':')
			w.quote(p.Asserted[k])
		}
		w.close()
	}
}

func (w *writer) findings(list []Finding) {
	if len(list) == 0 {
		return
	}
	w.name("findings")
	for i, f := range list {
		w.element(i)
		w.open()
		w.always("kind", f.Kind)
		w.always("path", f.Path)
		w.integer("size", int64(f.Size))
		if f.Form {
			w.name("form")
			w.out = append(w.out, "true"...)
		}
		w.close()
	}
	w.out = append(w.out, ']')
}

func (w *writer) passages(list []Passage) {
	if len(list) == 0 {
		return
	}
	w.name("passages")
	for i, p := range list {
		w.element(i)
		w.open()
		w.always("kind", p.Kind)
		w.always("path", p.Path)
		w.always("text", p.Text)
		w.integer("size", int64(p.Size))
		w.close()
	}
	w.out = append(w.out, ']')
}

func (w *writer) call(c *Call) {
	w.always("link", c.Link)
	w.always("server", c.Server)
	w.always("tool", c.Tool)
	w.raw("id", c.ID)
	w.raw("args", c.Args)
	w.integer("size", int64(c.Size))
	w.peer(&c.Peer)
	w.number("retry", c.Retry)
	w.mark("seen", c.Seen)
	if c.Bound != nil {
		w.bound(c.Bound)
	}
	w.text("trace", c.Trace)
	w.text("intent", c.Intent)
	w.findings(c.Findings)
}

func (w *writer) bound(b *Bound) {
	w.name("bound")
	w.open()
	w.always("by", string(b.By))
	w.always("confidence", string(b.Confidence))
	w.number("turn", b.Turn)
	w.numbers("others", b.Others)
	w.text("use", b.Use)
	w.text("conversation", b.Conversation)
	w.text("subagent", b.Subagent)
	w.mark("missing", b.Missing)
	w.close()
}

func (w *writer) origins(list []Origin) {
	if len(list) == 0 {
		return
	}
	w.name("origins")
	for i, o := range list {
		w.element(i)
		w.open()
		w.text("path", o.Path)
		w.name("seq")
		w.out = strconv.AppendUint(w.out, o.Seq, 10)
		if o.From != 0 {
			w.integer("from", int64(o.From))
		}
		if o.To != 0 {
			w.integer("to", int64(o.To))
		}
		w.close()
	}
	w.out = append(w.out, ']')
}

func (w *writer) verdict(v *Verdict) {
	w.action(v.Action)
	w.text("rule", v.Rule)
	w.text("why", v.Why)
	w.numbers("evidence", v.Evidence)
	w.origins(v.Origins)
	w.text("hint", v.Hint)
	if v.RetryMS != 0 {
		w.integer("retry_ms", v.RetryMS)
	}
	w.always("policy", v.Policy)
	w.number("after", v.After)
	if len(v.Also) == 0 {
		return
	}
	w.name("also")
	for i, m := range v.Also {
		w.element(i)
		w.open()
		w.action(m.Action)
		w.always("rule", m.Rule)
		w.always("why", m.Why)
		w.numbers("evidence", m.Evidence)
		w.mark("observed", m.Observed)
		w.mark("excepted", m.Excepted)
		w.number("exception", m.Exception)
		w.close()
	}
	w.out = append(w.out, ']')
}

func (w *writer) result(r *Result) {
	w.always("server", r.Server)
	w.always("tool", r.Tool)
	w.always("outcome", string(r.Outcome))
	if r.Code != 0 {
		w.integer("code", r.Code)
	}
	w.text("text", r.Text)
	if len(r.Content) > 0 {
		w.raw("content", r.Content)
	}
	w.integer("size", int64(r.Size))
	w.number("root", r.Root)
	w.text("task", r.Task)
	w.mark("seen", r.Seen)
	w.findings(r.Findings)
	w.passages(r.Passages)
}

func (w *writer) turn(t *Turn) {
	w.always("role", string(t.Role))
	w.always("source", t.Source)
	w.text("server", t.Server)
	w.always("trust", string(t.Trust))
	w.text("text", t.Text)
	w.integer("size", int64(t.Size))
	w.text("digest", t.Digest)
	w.text("conversation", t.Conversation)
	w.text("turn", t.ID)
	if len(t.Calls) > 0 {
		w.name("calls")
		for i, id := range t.Calls {
			w.element(i)
			w.quote(id)
		}
		w.out = append(w.out, ']')
	}
	if len(t.Uses) > 0 {
		w.name("uses")
		for i, u := range t.Uses {
			w.element(i)
			w.open()
			w.text("id", u.ID)
			w.text("item", u.Item)
			w.text("server", u.Server)
			w.text("tool", u.Tool)
			w.text("args", u.Args)
			w.close()
		}
		w.out = append(w.out, ']')
	}
	w.number("repeats", t.Repeats)
	w.text("trace", t.Trace)
	w.peer(&t.Peer)
	w.findings(t.Findings)
	w.passages(t.Passages)
	if len(t.Lineage) > 0 {
		w.name("lineage")
		w.out = append(base64.StdEncoding.AppendEncode(append(w.out, '"'), t.Lineage), '"')
	}
}
