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

	"github.com/tidwall/gjson"

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
}

// transcript is how far a transcript has been read.
type transcript struct {
	path string
	at   int64 // the next line begins here
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
	if path != t.path || info.Size() < t.at {
		t.path, t.at = path, 0
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
		defer root.Close() //nolint:errcheck // nothing was written
		if info, err := root.Stat(rel); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %s is no file", ErrTranscript, path)
		}
		f, err := root.Open(rel)
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

// claudeSays returns what one line of Claude Code's transcript says.
func claudeSays(line gjson.Result) (out []piece) {
	p := piece{subagent: clip(line.Get("agentId").Str), message: line.Get("message.id").Str}
	kind, content := line.Get("type").Str, line.Get("message.content")
	if content.Type == gjson.String && kind == "assistant" {
		p.role, p.text = event.RoleAssistant, content.Str
		return []piece{p}
	}
	if !content.IsArray() {
		return nil
	}
	for _, block := range content.Array() {
		next := p
		switch what := block.Get("type").Str; {
		case kind == "assistant" && what == "text":
			next.role, next.text = event.RoleAssistant, block.Get("text").Str
		case kind == "user" && what == "tool_result":
			next.role, next.text = event.RoleTool, words(block.Get("content"))
			next.calls = calls(block.Get("tool_use_id"))
		default:
			continue
		}
		out = append(out, next)
	}
	return out
}

// codexSays returns what one line of Codex' rollout says.
func codexSays(line gjson.Result) []piece {
	item := line.Get("payload")
	if line.Get("type").Str != "response_item" {
		return nil
	}
	switch kind := item.Get("type").Str; {
	case kind == "message" && item.Get("role").Str == "assistant":
		return []piece{{role: event.RoleAssistant, text: words(item.Get("content"))}}
	case kind == "function_call_output" || kind == "custom_tool_call_output":
		return []piece{{role: event.RoleTool, text: words(item.Get("output")), calls: calls(item.Get("call_id"))}}
	}
	return nil
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
