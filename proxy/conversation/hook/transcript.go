package hook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of what is read of a transcript at a time: its end counts.
const (
	maxTail   = 1 << 20 // bytes
	maxPieces = 256
)

// ErrTranscript says that a transcript is not read.
var ErrTranscript = errors.New("hook: the transcript is not read")

// piece is what a transcript has of a conversation.
type piece struct {
	id       string // of its line
	role     event.Role
	subagent string
	text     string
	calls    []string
	message  string // id of the model's answer that it is a part of
	failed   bool   // a tool says that it did not do what was asked
	whole    bool   // it is all of that answer so far, so that it replaces what was read of it before
}

// transcript is how far a transcript has been read.
type transcript struct {
	path  string
	at    int64  // the next line begins here
	heard bool   // it has been read once
	words string // the model's last, told before they stand in it
	last  string // that were read in it, since the model stopped
}

// transcribe records what the transcripts have that was not heard yet: the conversation's own, and that of a sub-agent. t.mu
// is held.
func (h *Hooks) transcribe(t *talk, in *Input, from Caller) (last *proxy.Ticket) {
	own, sub := in.Transcript, in.Subscript
	if own == "" && in.Client.script != nil && len(from.Roots) > 0 && filepath.Base(in.Conversation) == in.Conversation {
		own = in.Client.script(in.Conversation, from.Roots[0])
	}
	if in.Subagent != "" && sub == "" && t.main != "" && own != t.main {
		own, sub = "", own
	}
	if in.Subagent == "" && own != "" {
		t.main = own
	}
	if own != "" && in.Client.said != nil {
		last = h.read(t, in, from, own, "")
	}
	if sub != "" && sub != own && in.Subagent != "" && in.Client.said != nil {
		if more := h.read(t, in, from, sub, in.Subagent); more != nil {
			last = more
		}
	}
	return last
}

// script returns the transcript at path; of too many, the one that was found first is forgotten.
func (t *talk) script(path string) *transcript {
	for _, s := range t.scripts {
		if s.path == path {
			return s
		}
	}
	if len(t.scripts) >= maxScripts {
		first := slices.IndexFunc(t.scripts, func(s *transcript) bool { return s.path != t.main })
		t.scripts = slices.Delete(t.scripts, first, first+1)
	}
	t.scripts = append(t.scripts, &transcript{path: path})
	return t.scripts[len(t.scripts)-1]
}

// spoken returns the transcript in which the model's words of in stand; nil if none was read.
func (t *talk) spoken(in *Input) *transcript {
	path := t.main
	if in.Subagent != "" && in.Subscript != "" {
		path = in.Subscript
	}
	i := slices.IndexFunc(t.scripts, func(s *transcript) bool { return s.path == path && s.heard })
	if i < 0 {
		return nil
	}
	return t.scripts[i]
}

// read records what a transcript has that was not heard yet; subagent says whose it is. What cannot be read is a signal,
// once: calls are judged without it.
func (h *Hooks) read(t *talk, in *Input, from Caller, path, subagent string) (last *proxy.Ticket) {
	script := t.script(path)
	lines, skipped, err := script.read(path, from.Roots)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return h.trouble(t, in, err.Error())
	case skipped > 0 && script.heard:
		last = h.trouble(t, in, fmt.Sprintf("%d bytes of it came at once, and %d are the most", skipped+int64(len(lines)), maxTail))
	}
	before, known := h.Gate.Heard(&t.who.Peer, in.Conversation)
	if subagent != "" {
		before = "" // the ids of its pieces are not those of the conversation
	}
	if in.Client.fields.use == "" && (before != "" || script.heard) { // hooks without ids of calls have told the results
		known = func(string) bool { return true }
	}
	script.heard = true
	left := 0
	for _, p := range in.Client.pieces(lines, before, known) {
		if p.role == event.RoleAssistant && p.text == script.words {
			script.words = "" // they were told
			continue
		}
		if !h.admit(t, from, len(p.text)) {
			left++
			continue
		}
		if p.role == event.RoleAssistant {
			script.last = p.text
		}
		piece := *in
		piece.Subagent, piece.Turn = p.subagent, p.id
		if subagent != "" {
			piece.Subagent, piece.Turn = subagent, ""
		}
		turn := h.turn(t, &piece, from, p.role, p.text)
		turn.Calls = p.calls
		last = h.Gate.Record(t.by(piece.Subagent), 0, turn)
	}
	if left > 0 {
		h.flood(t, in, fmt.Sprintf("%d turns of the transcript are not recorded: too much is said in a short time", left))
	}
	return last
}

// trouble records why a transcript is not heard, once.
func (h *Hooks) trouble(t *talk, in *Input, why string) *proxy.Ticket {
	if t.trouble == why {
		return nil
	}
	t.trouble = why
	h.Log.Warn("a transcript is not heard", "client", in.Client.Name, "why", why)
	return h.signal(t, in, "unheard", why)
}

// read returns what was added to the transcript at path since it was read last, at most maxTail bytes of it; skipped says
// how many came before. The file has to lie in one of roots, whatever links there are in its path.
func (t *transcript) read(path string, roots []string) (lines []byte, skipped int64, err error) {
	f, err := open(path, roots)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: %s is no file", ErrTranscript, path)
	}
	if info.Size() < t.at {
		t.at = 0
	}
	from := t.at
	if rest := info.Size() - from; rest > maxTail {
		from, skipped = info.Size()-maxTail, rest-maxTail
	}
	lines, err = io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrTranscript, err)
	}
	if skipped > 0 { // the first line is a part
		_, rest, _ := bytes.Cut(lines, []byte("\n"))
		skipped += int64(len(lines) - len(rest))
		lines = rest
	}
	whole := bytes.LastIndexByte(lines, '\n') + 1 // what follows is still being written
	t.at = info.Size() - int64(len(lines)-whole)
	return lines[:whole], skipped, nil
}

// open opens a file in one of roots.
func open(path string, roots []string) (*os.File, error) {
	for _, dir := range roots {
		rel, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(rel) || !filepath.IsAbs(path) {
			continue
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTranscript, err)
		}
		defer root.Close()                                              //nolint:errcheck // nothing was written
		f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // what has become a pipe by now must not hold up the call
		switch {
		case errors.Is(err, fs.ErrNotExist): // nothing was said yet
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrTranscript, err)
		}
		return f, nil
	}
	return nil, fmt.Errorf("%w: %s is not in %s, where the client keeps them", ErrTranscript, path, strings.Join(roots, " or "))
}

// pieces reads lines of a transcript: the words of the model, and results of calls that are not known. Lines before and
// with the id last were read before; if none has it, all of them are new. Whatever is not understood is left out.
func (c *Client) pieces(lines []byte, last string, known func(use string) bool) (out []piece) {
	for line := range bytes.Lines(lines) {
		speaks := slices.ContainsFunc(c.marks, func(mark string) bool { return bytes.Contains(line, []byte(mark)) })
		if !speaks && (last == "" || !bytes.Contains(line, []byte(last))) || wire.Check(line) != nil {
			continue
		}
		v := gjson.ParseBytes(line)
		id := v.Get(c.fields.line).Str
		if last != "" && id == last {
			out = nil
			continue
		}
		for _, p := range c.said(v) {
			if p.id = clip(id); p.role == event.RoleTool && slices.ContainsFunc(p.calls, known) || p.text == "" {
				continue
			}
			if n := len(out); p.whole && n > 0 && out[n-1].whole && out[n-1].message == p.message {
				out = out[:n-1]
			}
			out = append(out, p)
		}
		out = announce(out, v)
	}
	return out[max(0, len(out)-maxPieces):]
}

// announce adds the tool calls of a line to the words of the same answer, which stand in a line before.
func announce(out []piece, line gjson.Result) []piece {
	message := line.Get("message.id").Str
	if len(out) == 0 || message == "" || out[len(out)-1].message != message {
		return out
	}
	last := &out[len(out)-1]
	for _, block := range line.Get("message.content").Array() {
		if use := clip(block.Get("id").Str); block.Get("type").Str == "tool_use" && use != "" && len(last.calls) < maxPieces {
			last.calls = append(last.calls, use)
		}
	}
	return out
}

func calls(id gjson.Result) []string {
	if use := clip(id.Str); use != "" {
		return []string{use}
	}
	return nil
}

// words returns the texts of a content, which is a text or blocks of it.
func words(content gjson.Result) string {
	if content.Type == gjson.String {
		return content.Str
	}
	var texts []string
	for _, block := range content.Array() {
		if text := block.Get("text"); text.Type == gjson.String {
			texts = append(texts, text.Str)
		}
	}
	return strings.Join(texts, "\n")
}

// clip returns a name or an id that is not too long to be one.
func clip(s string) string {
	if len(s) > maxName {
		return ""
	}
	return s
}
