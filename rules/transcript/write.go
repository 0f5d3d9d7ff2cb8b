package transcript

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// Writer writes recorded events down as lines, and lets them happen once more: so it knows the numbers that they have there,
// and what is decided.
type Writer struct {
	player *Player
	begin  event.Time
	refs   map[uint64]uint64 // Seq as recorded -> as written
	judged map[uint64]*event.Verdict
	full   map[uint64]bool // of these calls, the whole verdict is written
	out    bytes.Buffer
}

// NewWriter returns a Writer of events of which the first is at begin. Of the calls named it writes all that is decided, of
// others what is done with them, if they do not pass.
func NewWriter(e Engine, begin event.Time, calls ...uint64) *Writer {
	w := &Writer{player: NewPlayer(e, nil), begin: begin, refs: map[uint64]uint64{}, judged: map[uint64]*event.Verdict{}, full: map[uint64]bool{}}
	for _, c := range calls {
		w.full[c] = true
	}
	w.player.begin = begin
	fmt.Fprintf(&w.out, "clock %s\n", begin)
	return w
}

// Write writes one more event; those that are no line, and those about a call that was not written, are left out.
func (w *Writer) Write(e event.Event) error {
	line, ok := w.line(e)
	if !ok {
		return nil
	}
	lines, err := Expand(line)
	if err != nil {
		return fmt.Errorf("event %d cannot be written as a line: %w", e.Seq, err)
	}
	h, err := w.player.Play(lines[0])
	if err != nil {
		return fmt.Errorf("event %d cannot be written as a line: %w", e.Seq, err)
	}
	w.out.WriteString(line + "\n")
	if h.Seq != 0 {
		w.refs[e.Seq] = h.Seq
	}
	if h.Verdict == nil {
		return nil
	}
	call := e.Seq
	if _, ok := e.Body.(*event.Call); !ok {
		call = e.Cause
	}
	w.judged[e.Seq] = h.Verdict
	said := h.Said
	switch {
	case w.full[call]:
	case h.Verdict.Action.Passes():
		said = nil
	default:
		said = []string{strings.TrimSpace(h.Verdict.Action.String() + " " + h.Verdict.Rule)}
	}
	for _, s := range said {
		w.out.WriteString("  " + s + "\n")
	}
	return nil
}

// Text returns what was written.
func (w *Writer) Text() string { return w.out.String() }

// Agrees reports whether what was decided at a recorded event, a call or the end of its hold, says the same as the
// recorded verdict, but for the numbers of events.
func (w *Writer) Agrees(at uint64, recorded *event.Verdict) bool {
	now := w.judged[at]
	if now == nil {
		return false
	}
	number := regexp.MustCompile(`#\d+`)
	plain := func(v *event.Verdict) string { return number.ReplaceAllString(strings.Join(Said(v), "\n"), "#") }
	return plain(now) == plain(recorded)
}

// line returns an event as a line.
func (w *Writer) line(e event.Event) (string, bool) {
	at := e.At.Sub(w.begin).String()
	cause, known := w.refs[e.Cause]
	ref := "#" + strconv.FormatUint(cause, 10)
	var p parts
	p.add(at, e.Body.Kind())
	switch b := e.Body.(type) {
	case *event.Call:
		w.call(&p, e, b)
	case *event.Result:
		if root, ok := w.refs[b.Root]; ok {
			p.attr("root", "#"+strconv.FormatUint(root, 10), "")
		}
		p.attr("text", b.Text, "")
		p.findings(b.Findings)
		p.add(ref, string(b.Outcome), jsonLine(b.Content))
		return p.String(), known
	case *event.Review:
		decision := "deny"
		if b.Approve {
			decision = "approve"
		}
		p.add(ref, decision, quoted(b.Who), quotedText(b.Note))
		return p.String(), known
	case *event.Expired:
		p.add(ref, quotedText(b.Reason))
		return p.String(), known
	case *event.Catalog:
		p.add(quoted(b.Server), listed(b))
		return p.String(), len(b.Tools) > 0
	case *event.Accepted:
		for _, t := range b.Tools {
			p.add(quoted(b.Server + "/" + t.Name))
		}
		return p.String(), len(b.Tools) > 0
	case *event.Exception:
		text, err := encoded(b)
		p.add(text)
		return p.String(), err == nil
	case *event.Revoked:
		p.add(ref, quoted(b.Who), quotedText(b.Note))
		return p.String(), known
	case *event.Signal:
		p.attr("session", e.Session, session)
		p.attr("of", b.Server, "files")
		p.add(quoted(b.Name), quotedText(b.Text))
	case *event.Turn:
		w.turn(&p, e, b)
	case *event.Opened, *event.Loaded, *event.Promoted, *event.Verdict, *event.Closed:
		return "", false
	}
	return p.String(), true
}

func (w *Writer) call(p *parts, e event.Event, b *event.Call) {
	p.attr("session", e.Session, session)
	p.peer(b.Peer, Anybody())
	if first, ok := w.refs[b.Retry]; ok {
		p.attr("retry", "#"+strconv.FormatUint(first, 10), "")
	}
	if b.Bound != nil {
		p.attr("bound", string(b.Bound.By)+"/"+string(b.Bound.Confidence), "")
		p.flag("missing", b.Bound.Missing)
		p.attr("conversation", b.Bound.Conversation, "")
		p.attr("subagent", b.Bound.Subagent, "")
	}
	p.flag("seen", b.Seen)
	p.attr("intent", b.Intent, "")
	p.findings(b.Findings)
	p.add(quoted(b.Server+"/"+b.Tool), jsonLine(b.Args))
}

func (w *Writer) turn(p *parts, e event.Event, b *event.Turn) {
	if b.Trust != event.Trusted {
		p.add(string(event.Untrusted))
	}
	p.add(quoted(string(b.Role)))
	p.attr("session", e.Session, session)
	if method, ok := strings.CutPrefix(b.Source, event.MCP+":"); ok {
		p.attr("from", method, "")
	}
	p.attr("of", b.Server, "")
	p.peer(b.Peer, event.Peer{})
	if call, ok := w.refs[b.Repeats]; ok {
		p.attr("repeats", "#"+strconv.FormatUint(call, 10), "")
	}
	p.findings(b.Findings)
	if b.Text == "" && b.Size > 0 { // it is not kept
		p.attr("size", strconv.Itoa(b.Size), "")
		p.attr("lineage", base64.StdEncoding.EncodeToString(b.Lineage), "")
	}
	p.add(quotedText(b.Text))
}

// listed returns a list of tools as its server gave it: what is doubtful about it by what came before is found again.
func listed(b *event.Catalog) string {
	list := struct {
		Tools    []event.Tool `json:"tools"`
		Complete bool         `json:"complete,omitempty"`
	}{slices.Clone(b.Tools), b.Complete}
	for i := range list.Tools {
		t := &list.Tools[i]
		if t.Long == 0 {
			t.Pin = ""
		}
		t.Doubts = slices.DeleteFunc(slices.Clone(t.Doubts), func(d event.Doubt) bool { return d.Kind != event.Hidden })
	}
	text, err := encoded(list)
	if err != nil {
		return ""
	}
	return text
}

// parts are the words of a line.
type parts []string

// String joins them.
func (p parts) String() string { return strings.Join(p, " ") }

// add adds words that are not empty.
func (p *parts) add(words ...string) {
	for _, w := range words {
		if w != "" {
			*p = append(*p, w)
		}
	}
}

// attr adds key=value, unless that is understood.
func (p *parts) attr(key, value, understood string) {
	if value != understood {
		p.add(key + "=" + quoted(value))
	}
}

func (p *parts) flag(key string, set bool) {
	if set {
		p.add(key + "=true")
	}
}

func (p *parts) peer(b, understood event.Peer) {
	p.attr("agent", b.Agent, understood.Agent)
	name := understood.Client.Name
	if b.Agent != understood.Agent { // agent= says it, too
		name = b.Agent
	}
	p.attr("client", b.Client.Name, name)
	p.attr("version", b.Client.Version, understood.Client.Version)
	p.attr("principal", b.Principal, understood.Principal)
	p.attr("workspace", b.Workspace, understood.Workspace)
}

func (p *parts) findings(list []event.Finding) {
	for _, f := range list {
		kind := f.Kind
		if f.Form {
			kind = "secret"
		}
		p.attr(kind, f.Path, "")
	}
}

// quoted returns a word, in quotes if it would be read as anything else.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// quotedText returns the text that ends a line, in quotes if it would be read as anything else.
func quotedText(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if s != strings.TrimSpace(s) || strings.HasPrefix(s, `"`) || strings.Contains(first, "=") ||
		strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !strconv.IsPrint(r) }) || strings.ContainsRune(s, '\uFFFD') {
		return strconv.Quote(s)
	}
	return s
}

// jsonLine returns JSON in one line.
func jsonLine(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	text, err := encoded(raw)
	if err != nil {
		return "{}" // nothing that was recorded is no JSON
	}
	return text
}

func encoded(v any) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
