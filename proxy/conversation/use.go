package conversation

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
)

// Tools knows which tools servers have listed; the proxy.Gate does.
type Tools interface {
	// FindTool returns the tool for which is holds; ok is false unless it is exactly one.
	FindTool(is func(server, tool string) bool) (found catalog.Key, ok bool)
}

// Use is a call as the model makes it. Its id is the only one of the Calls of its Piece, if it has one.
type Use struct {
	Made   bool   // the side of the model has made it by itself, where no proxy can judge it
	Kind   string // of Made: how the model API calls it, "mcp_tool_use"
	Server string // of Made: what the request calls its server; empty if the API itself is
	Space  string // what stands before the name of the tool
	Tool   string // its name, as the model has been told it
	Item   string // id of the item of the answer that holds it
	Args   string // JSON
}

// announced returns what a call says of itself, if it is one that goes over MCP. Its name is looked for among those that
// servers have listed: where the name of a server ends and that of a tool begins cannot be told from the name alone.
func (e *Ear) announced(p Piece) (out []event.Use) {
	u := event.Use{Item: e.id(p.Use.Item)}
	if len(p.Calls) > 0 {
		u.ID = e.id(p.Calls[0])
	}
	if key, ok := e.find(p.Use); ok {
		if raw, ok := arguments(p.Use.Args); ok {
			args, _ := e.Cleaner.Clean("args", raw)
			u.Server, u.Tool, u.Args = key.Server, key.Tool, proxy.ArgsDigest(args)
		}
	}
	if u.Item == "" && u.Tool == "" {
		return nil // its id says as much
	}
	return []event.Use{u}
}

func (e *Ear) find(u *Use) (key catalog.Key, ok bool) {
	if e.Tools == nil || u.Tool == "" || len(u.Tool) > maxID {
		return key, false
	}
	name := u.Tool
	if u.Space != "" {
		name = strings.TrimSuffix(u.Space, "__") + "__" + name
	}
	return e.Tools.FindTool(func(server, tool string) bool { return names(name, server, tool) })
}

// arguments returns the arguments of a call; ok is false if they are no object that has one reading.
func arguments(text string) (raw []byte, ok bool) {
	if raw = []byte(cmp.Or(strings.TrimSpace(text), "{}")); wire.Check(raw) != nil || !gjson.ParseBytes(raw).IsObject() {
		return nil, false
	}
	return raw, true
}

// names reports whether a client that tells a model of a tool of a server can call it by this name: mcp__mail__send, mail_send,
// mail-send, send.
func names(name, server, tool string) bool {
	front, ok := cutSpelled(name, tool)
	if !ok || front == "" {
		return ok
	}
	for _, between := range [...]string{"__", "_", "-", ".", "/", ":"} {
		front, ok := strings.CutSuffix(front, between)
		if !ok {
			continue
		}
		if begin, ok := cutSpelled(front, server); ok && (begin == "" || begin == "mcp_" || begin == "mcp__") {
			return true
		}
	}
	return false
}

// cutSpelled cuts off the end of a name what spells word. APIs take names of letters, digits, underscores and hyphens, so
// that clients put an underscore for anything else.
func cutSpelled(name, word string) (front string, ok bool) {
	for word != "" && name != "" {
		a, n := utf8.DecodeLastRuneInString(name)
		b, m := utf8.DecodeLastRuneInString(word)
		plain := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-'
		if a != b && (a != '_' || plain) {
			return "", false
		}
		name, word = name[:len(name)-n], word[:len(word)-m]
	}
	return name, word == ""
}

// made is a call that the model's side has made, and whose result was not told yet.
type made struct {
	seq  uint64
	call *event.Call
}

// maxMade is how many such calls of one answer are waited for.
const maxMade = 1024

// see records a call that the model's side has made. It has happened: nobody could judge it.
func (h *hearing) see(p Piece) {
	e, id := h.ear, ""
	if len(p.Calls) > 0 {
		id = e.id(p.Calls[0])
	}
	if m, twice := h.made[id]; twice { // it is another call all the same
		delete(h.made, id)
		h.lose(m)
	}
	who := h.talk.origin()
	call := &event.Call{
		Link: who.Link, Server: h.server(p.Use), Tool: e.Cleaner.Text(p.Use.Tool), Size: len(p.Use.Args), Peer: h.talk.Peer, Seen: true,
	}
	call.ID = quote(id)
	call.Args, call.Findings = e.stored("args", p.Use.Args)
	if id != "" {
		call.Bound = &event.Bound{By: event.ByCall, Confidence: event.Exact, Use: id, Conversation: h.talk.ID}
	}
	t := e.Recorder.Record(who, 0, call)
	h.tickets = append(h.tickets, t)
	if m := (made{seq: t.Seq, call: call}); id == "" || len(h.made) >= maxMade {
		h.lose(m)
	} else {
		h.made[id] = m
	}
}

// server names the server of a call that the model's side makes: as the request does, or as the API itself.
func (h *hearing) server(u *Use) string {
	return h.ear.Cleaner.Text(cmp.Or(u.Server, h.talk.Source))
}

// stored returns a JSON object as it may be stored, as far as it is kept.
func (e *Ear) stored(root, text string) (json.RawMessage, []event.Finding) {
	raw, ok := arguments(text)
	switch {
	case e.Keep != KeepText:
		return json.RawMessage("{}"), []event.Finding{{Kind: event.Redacted, Path: root, Size: len(text)}}
	case !ok:
		return json.RawMessage("{}"), []event.Finding{{Kind: event.Truncated, Path: root, Size: len(text)}}
	}
	clean, findings := e.Cleaner.Clean(root, raw)
	return slices.Clone(clean), findings
}

// gave records what a call gave that the model's side has made; it reports whether p is that.
func (h *hearing) gave(p Piece) bool {
	if p.Role != event.RoleTool || len(p.Calls) != 1 {
		return false
	}
	id := h.ear.id(p.Calls[0])
	m, ok := h.made[id]
	if !ok {
		return false
	}
	delete(h.made, id)
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	raw, err := json.Marshal(struct {
		Content []block `json:"content"`
		IsError bool    `json:"isError,omitempty"`
	}{[]block{{"text", p.Text}}, p.Failed})
	if err != nil {
		panic("conversation: " + err.Error()) // texts can be written
	}
	r := &event.Result{Server: m.call.Server, Tool: m.call.Tool, Outcome: event.OutcomeOK, Size: len(p.Text), Seen: true}
	if p.Failed {
		r.Outcome = event.OutcomeFailed
	}
	r.Content, r.Findings = h.ear.stored("result", string(raw))
	h.tickets = append(h.tickets, h.ear.Recorder.Record(h.talk.origin(), m.seq, r))
	return true
}

// lose records that nobody has told what a call gave.
func (h *hearing) lose(m made) {
	h.tickets = append(h.tickets, h.ear.Recorder.Record(h.talk.origin(), m.seq, &event.Result{
		Server: m.call.Server, Tool: m.call.Tool, Outcome: event.OutcomeLost, Text: "the answer ended without what it gave", Seen: true,
	}))
}

func quote(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("conversation: " + err.Error()) // texts can be written
	}
	return raw
}
