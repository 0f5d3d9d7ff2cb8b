package clients

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// HookFile is where a client keeps its hooks, and which of them tell Umpire what it has to know.
type HookFile struct {
	Client string // as in umpire hook CLIENT
	Title  string
	User   func(Home) string
	events []hookEvent
	Note   string // what the user has to do then; empty if nothing
	fails  string // what makes a hook that fails prevent a call, in the entry
}

type hookEvent struct {
	name   string
	blocks bool // it can prevent a call: if the hook itself fails, it does
}

// hookTimeout is how long a client waits for a hook, in seconds: longer than a call is held.
const hookTimeout = 360

// HookFiles returns the files of the clients whose hooks can be installed.
func HookFiles() []HookFile {
	return []HookFile{{
		Client: "claude-code", Title: "Claude Code", fails: `, "onFailure": "block"`,
		User: func(h Home) string {
			return filepath.Join(h.env("CLAUDE_CONFIG_DIR", h.dot(".claude")), "settings.json")
		},
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "UserPromptSubmit"},
			{name: "PreToolUse", blocks: true},
			{name: "PostToolUse"},
			{name: "PostToolUseFailure"},
			{name: "Stop"},
			{name: "SessionEnd"},
		},
	}, {
		Client: "codex", Title: "Codex", Note: "Codex runs hooks once you have reviewed them: /hooks",
		User: func(h Home) string { return filepath.Join(h.env("CODEX_HOME", h.dot(".codex")), "hooks.json") },
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "UserPromptSubmit"},
			{name: "PreToolUse", blocks: true},
			{name: "PostToolUse"},
			{name: "Stop"},
		},
	}}
}

// made marks a hook that AddHooks wrote, and says what else it had to write for it: what RemoveHooks has to take away.
const made = "--made"

// What was made for a hook.
const (
	madeEntry  = "entry"  // nothing else
	madeEvent  = "event"  // the list of hooks of its event
	madeHooks  = "hooks"  // the member with all hooks
	madeObject = "object" // the object that has them, in a file that was empty
	madeFile   = "file"
)

// extent says how much was made, from little to much.
var extent = []string{madeEntry, madeEvent, madeHooks, madeObject, madeFile}

// Hook is the hook of one event.
type Hook struct {
	Event string
	State State // Bare if there is none of Umpire, ByHand if somebody has written it
}

// Hooks returns what a settings file has of Umpire's hooks.
func (f HookFile) Hooks(file []byte) ([]Hook, error) {
	s, err := f.read(file)
	if err != nil {
		return nil, err
	}
	return s.hooks(), nil
}

// AddHooks adds Umpire's hooks for every event that has none. A nil file is one that does not exist. What it returns
// becomes file again by RemoveHooks; if that cannot be had, it returns ErrIrreversible.
func (f HookFile) AddHooks(file []byte, u Umpire) (out []byte, err error) {
	s, err := f.read(file)
	if err != nil {
		return nil, err
	}
	var missing []hookEvent
	for i, h := range s.hooks() {
		if h.State == Bare {
			missing = append(missing, f.events[i])
		}
	}
	switch {
	case len(missing) == 0:
		return file, nil
	case file == nil:
		out = []byte("{\n  \"hooks\": " + f.all(missing, u, madeFile, "\n", "  ", "  ") + "\n}\n")
	default:
		if out, err = s.add(missing, u); err != nil {
			return nil, err
		}
	}
	back, gone, err := f.RemoveHooks(out)
	if err != nil || gone != (file == nil) || !gone && !bytes.Equal(back, file) {
		return nil, ErrIrreversible
	}
	return out, nil
}

// RemoveHooks takes away what AddHooks wrote. Gone says that nothing is left of a file that AddHooks made.
func (f HookFile) RemoveHooks(file []byte) (out []byte, gone bool, err error) {
	s, err := f.read(file)
	if err != nil {
		return nil, false, err
	}
	var edits splices
	gone = s.remove(&edits)
	out, err = edits.apply(file)
	return out, gone, err
}

// settings is a settings file that has been read.
type settings struct {
	HookFile
	file []byte
	root *node
	all  *member // nil if there are no hooks
}

func (f HookFile) read(file []byte) (*settings, error) {
	root, err := parse(JSON, file)
	if err != nil {
		return nil, err
	}
	s := &settings{HookFile: f, file: file, root: root, all: root.get("hooks")}
	wrong := func(at int, what string) error { return failAt(file, at, "%s", what) }
	if m := root.twice(); m != nil {
		return nil, wrong(m.start, strconv.Quote(m.name)+" stands there twice")
	}
	if s.all == nil {
		return s, nil
	}
	if s.all.value.kind != object {
		return nil, wrong(s.all.start, "want an object of hooks")
	}
	if m := s.all.value.twice(); m != nil {
		return nil, wrong(m.start, strconv.Quote(m.name)+" stands there twice")
	}
	for _, event := range s.all.value.members {
		if event.value.kind != list {
			return nil, wrong(event.start, "want a list of hooks for "+event.name)
		}
	}
	return s, nil
}

// whose tells Umpire's hooks from others: what was made for one, and whether it is one at all.
func (f HookFile) whose(command string) (how string, ours bool) {
	w := shellWords(command)
	i := slices.Index(w, "hook")
	if len(w) == 0 || !IsUmpire(w[0]) || i < 0 || i+1 >= len(w) || w[i+1] != f.Client {
		return "", false
	}
	if i := slices.Index(w, made); i >= 0 && i+1 < len(w) {
		return w[i+1], true
	}
	return "", true
}

// commands calls do with the command of each hook of an event.
func commands(event *member, do func(group *node, i int, command string)) {
	for _, group := range event.value.items {
		hooks := group.get("hooks")
		if hooks == nil || hooks.value.kind != list {
			continue
		}
		for i, h := range hooks.value.items {
			do(group, i, h.string("command"))
		}
	}
}

func (s *settings) hooks() (out []Hook) {
	for _, e := range s.events {
		h := Hook{Event: e.name, State: Bare}
		if s.all != nil {
			if event := s.all.value.get(e.name); event != nil {
				commands(event, func(_ *node, _ int, command string) {
					switch how, ours := s.whose(command); {
					case ours && how != "":
						h.State = Wrapped
					case ours && h.State == Bare:
						h.State = ByHand
					}
				})
			}
		}
		out = append(out, h)
	}
	return out
}

// entry writes a hook as an element of its event's list.
func (f HookFile) entry(e hookEvent, u Umpire, how string) string {
	words := []string{shellQuote(u.Program), "hook", f.Client}
	for _, flag := range u.Flags {
		words = append(words, shellQuote(flag))
	}
	words = append(words, made, how)
	failure := "" // without a matcher, it is for all tools
	if e.blocks {
		failure = f.fails
	}
	return fmt.Sprintf(`{"hooks": [{"type": "command", "command": %s, "timeout": %d%s}]}`, quote(strings.Join(words, " ")), hookTimeout, failure)
}

func (f HookFile) event(e hookEvent, u Umpire, how string) string {
	return quote(e.name) + ": [" + f.entry(e, u, how) + "]"
}

// all writes the object with all hooks, a line for each if there is an end of line.
func (f HookFile) all(events []hookEvent, u Umpire, how, eol, white, unit string) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, f.event(e, u, how))
	}
	if eol == "" {
		return "{" + strings.Join(lines, ", ") + "}"
	}
	deeper := eol + white + unit
	return "{" + deeper + strings.Join(lines, ","+deeper) + eol + white + "}"
}

// add writes the missing hooks in front of what is there.
func (s *settings) add(missing []hookEvent, u Umpire) ([]byte, error) {
	var edits splices
	if s.all == nil {
		switch {
		case len(bytes.TrimSpace(bytes.TrimPrefix(s.file, bom))) == 0: // an empty file is an empty object
			edits.replace(len(s.file), len(s.file), "{\"hooks\": "+s.HookFile.all(missing, u, madeObject, "", "", "")+"}")
		case len(s.root.members) == 0:
			at := s.root.start + 1
			edits.replace(at, at, `"hooks": `+s.HookFile.all(missing, u, madeHooks, "", "", ""))
		default:
			first := s.root.members[0]
			eol, white := "", ""
			if w, ok := indent(s.file, first.start); ok && first.start > len(w) {
				eol, white = newline(s.file, first.start), w
			}
			edits.replace(first.start, first.start, `"hooks": `+s.HookFile.all(missing, u, madeHooks, eol, white, white)+first.between)
		}
		return edits.apply(s.file)
	}
	var fresh []string
	between := ", "
	if m := s.all.value.members; len(m) > 0 {
		between = m[0].between
	}
	for _, e := range missing {
		event := s.all.value.get(e.name)
		if event == nil {
			fresh = append(fresh, s.event(e, u, madeEvent))
			continue
		}
		at, after := event.value.start+1, ""
		if items := event.value.items; len(items) > 0 {
			at, after = items[0].start, ", "
			if white, ok := indent(s.file, at); ok {
				after = "," + newline(s.file, at) + white
			}
		}
		edits.replace(at, at, s.entry(e, u, madeEntry)+after)
	}
	if len(fresh) > 0 {
		at, after := s.all.value.start+1, ""
		if m := s.all.value.members; len(m) > 0 {
			at, after = m[0].start, between
		}
		edits.replace(at, at, strings.Join(fresh, between)+after)
	}
	return edits.apply(s.file)
}

// remove takes away what was made, and no more: others may have added to it. It reports whether nothing is left of a file
// that was made.
func (s *settings) remove(edits *splices) (gone bool) {
	if s.all == nil {
		return false
	}
	events := make([]bool, len(s.all.value.members)) // that go as a whole
	most := 0                                        // the extent of what was made for the hooks that go
	for i, event := range s.all.value.members {
		var within splices
		how, all := s.removeFrom(event, &within)
		most = max(most, how)
		if events[i] = all && how > 0; !events[i] {
			*edits = append(*edits, within...)
		}
	}
	whole := len(events) > 0 && !slices.Contains(events, false)
	if most < slices.Index(extent, madeHooks) || !whole {
		edits.cut(s.file, spansOf(s.all.value.members, s.file), func(i int) bool { return events[i] })
		return false
	}
	if alone := len(s.root.members) == 1; alone && extent[most] == madeFile {
		return true
	} else if alone && extent[most] == madeObject {
		edits.replace(s.root.start, s.root.end, "")
		return false
	}
	edits.cut(s.file, spansOf(s.root.members, s.file), func(i int) bool { return s.root.members[i] == s.all })
	return false
}

// removeFrom takes Umpire's hooks out of an event. It returns the extent of what was made for them, and whether nothing else
// is in the event.
func (s *settings) removeFrom(event *member, edits *splices) (how int, all bool) {
	gone := map[*node][]bool{}
	commands(event, func(group *node, i int, command string) {
		if gone[group] == nil {
			gone[group] = make([]bool, len(group.get("hooks").value.items))
		}
		if what, _ := s.whose(command); what != "" {
			gone[group][i], how = true, max(how, slices.Index(extent, what))
		}
	})
	whole := func(i int) bool {
		g := gone[event.value.items[i]]
		return len(g) > 0 && !slices.Contains(g, false)
	}
	all = len(gone) > 0
	for i, group := range event.value.items {
		if all = all && whole(i); !whole(i) && slices.Contains(gone[group], true) {
			edits.cut(s.file, spans(group.get("hooks").value.items), func(j int) bool { return gone[group][j] })
		}
	}
	edits.cut(s.file, spans(event.value.items), whole)
	return how, all
}

func spans(items []*node) (out [][2]int) {
	for _, n := range items {
		out = append(out, [2]int{n.start, n.end})
	}
	return out
}

func spansOf(members []*member, file []byte) (out [][2]int) {
	for _, m := range members {
		out = append(out, [2]int{m.start, m.value.closed(file)})
	}
	return out
}

// cut removes siblings with what separates them from those that stay.
func (s *splices) cut(file []byte, at [][2]int, gone func(int) bool) {
	for i := 0; i < len(at); i++ {
		if !gone(i) {
			continue
		}
		j := i
		for j+1 < len(at) && gone(j+1) {
			j++
		}
		start, end := at[i][0], at[j][1]
		if j+1 < len(at) {
			rest := bytes.TrimLeft(file[end:], " \t\r\n")
			if after, ok := bytes.CutPrefix(rest, []byte(",")); ok {
				rest = bytes.TrimLeft(after, " \t\r\n")
			}
			end = len(file) - len(rest)
		} else if i > 0 {
			start = at[i-1][1]
		}
		s.replace(start, end, "")
		i = j
	}
}

// harmless is a word that means itself to a shell.
var harmless = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// shellQuote writes a word for a POSIX shell.
func shellQuote(word string) string {
	if harmless.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// shellWords reads what shellQuote writes, and double quotes; nil if it is something else.
func shellWords(command string) (words []string) {
	var word strings.Builder
	begun := false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; c {
		case ' ', '\t':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
			continue
		case '\'', '"':
			end := strings.IndexByte(command[i+1:], c)
			if end < 0 {
				return nil
			}
			word.WriteString(command[i+1 : i+1+end])
			i += end + 1
		case '\\':
			if i++; i == len(command) {
				return nil
			}
			word.WriteByte(command[i])
		default:
			word.WriteByte(c)
		}
		begun = true
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}
