package clients

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// made marks a hook that AddHooks wrote, and says what else it had to write for it: what RemoveHooks has to take away.
const made = "--made"

// What was made for a hook.
const (
	madeEntry  = "entry"  // nothing else
	madeEvent  = "event"  // the list of hooks of its event
	madeHooks  = "hooks"  // the member with all hooks
	madeBoth   = "both"   // that, and the member with the version
	madeObject = "object" // the object that has them, in a file that was empty
	madeFile   = "file"
)

// extent says how much was made, from little to much.
var extent = []string{madeEntry, madeEvent, madeHooks, madeBoth, madeObject, madeFile}

// Hook is the hook of one event.
type Hook struct {
	Event string
	State State // Bare if there is none of Umpire, ByHand if somebody has written it
	// What it runs, or where it posts; empty if it is Bare.
	Command, Program, URL string
}

// Hooks returns what a settings file has of Umpire's hooks.
func (f HookFile) Hooks(file []byte) ([]Hook, error) {
	s, err := f.read(file)
	if err != nil {
		return nil, err
	}
	return s.hooks(), nil
}

// Flag returns what the command gives for a flag; empty if it does not.
func (h Hook) Flag(name string) string {
	w := shellWords(h.Command)
	if i := slices.Index(w, name); i >= 0 && i+1 < len(w) {
		return w[i+1]
	}
	return ""
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
		out = []byte("{\n  " + f.version(",\n  ") + "\"hooks\": " + f.all(missing, u, madeFile, "\n", "  ", "  ") + "\n}\n")
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

// version returns the member with the version and what follows it; nothing where the format has none.
func (f HookFile) version(between string) string {
	if !f.versioned {
		return ""
	}
	return `"version": 1` + between
}

// whose tells Umpire's hooks from others: what was made for one, and whether it is one at all.
func (f HookFile) whose(h *node) (how string, ours bool) {
	for _, name := range []string{"command", "bash", "powershell"} {
		w := shellWords(h.string(name))
		i := slices.Index(w, "hook")
		if len(w) == 0 || !IsUmpire(w[0]) || i < 0 || i+1 >= len(w) || w[i+1] != f.Client {
			continue
		}
		if i := slices.Index(w, made); i >= 0 && i+1 < len(w) {
			return w[i+1], true
		}
		return "", true
	}
	return "", strings.HasSuffix(strings.TrimSuffix(h.string("url"), "/"), "/hooks/"+f.Client)
}

// of returns the hooks that an element of an event's list has.
func (f HookFile) of(item *node) []*node {
	if f.flat {
		return []*node{item}
	}
	if hooks := item.get("hooks"); hooks != nil && hooks.value.kind == list {
		return hooks.value.items
	}
	return nil
}

func (s *settings) hooks() (out []Hook) {
	for _, e := range s.events {
		h := Hook{Event: e.name, State: Bare}
		if s.all != nil {
			if event := s.all.value.get(e.name); event != nil {
				s.find(event, &h)
			}
		}
		out = append(out, h)
	}
	return out
}

// find looks for Umpire's hook of an event.
func (s *settings) find(event *member, h *Hook) {
	for _, item := range event.value.items {
		for _, n := range s.of(item) {
			switch how, ours := s.whose(n); {
			case ours && how != "":
				h.State = Wrapped
			case ours && h.State == Bare:
				h.State = ByHand
			default:
				continue
			}
			h.URL = n.string("url")
			if w := shellWords(n.string("command")); len(w) > 0 {
				h.Program, h.Command = w[0], n.string("command")
			}
		}
	}
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
	entry := fmt.Sprintf(`{"type": "command", "command": %s, "timeout": %d%s}`, quote(strings.Join(words, " ")), f.timeout, failure)
	if f.flat {
		return entry
	}
	return `{"hooks": [` + entry + `]}`
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
		how, version := madeHooks, func(string) string { return "" }
		if s.versioned && s.root.get("version") == nil {
			how, version = madeBoth, s.version
		}
		switch {
		case len(bytes.TrimSpace(bytes.TrimPrefix(s.file, bom))) == 0: // an empty file is an empty object
			edits.replace(len(s.file), len(s.file), "{"+version(", ")+"\"hooks\": "+s.HookFile.all(missing, u, madeObject, "", "", "")+"}")
		case len(s.root.members) == 0:
			at := s.root.start + 1
			edits.replace(at, at, version(", ")+`"hooks": `+s.HookFile.all(missing, u, how, "", "", ""))
		default:
			first := s.root.members[0]
			eol, white := "", ""
			if w, ok := indent(s.file, first.start); ok && first.start > len(w) {
				eol, white = newline(s.file, first.start), w
			}
			edits.replace(first.start, first.start, version(first.between)+`"hooks": `+s.HookFile.all(missing, u, how, eol, white, white)+first.between)
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
	mine := func(m *member) bool {
		return m == s.all || s.versioned && most >= slices.Index(extent, madeBoth) && m.name == "version" && m.value.kind == other && m.value.text == "1"
	}
	if alone := !slices.ContainsFunc(s.root.members, func(m *member) bool { return !mine(m) }); alone && extent[most] == madeFile {
		return true
	} else if alone && extent[most] == madeObject {
		edits.replace(s.root.start, s.root.end, "")
		return false
	}
	edits.cut(s.file, spansOf(s.root.members, s.file), func(i int) bool { return mine(s.root.members[i]) })
	return false
}

// removeFrom takes Umpire's hooks out of an event. It returns the extent of what was made for them, and whether nothing else
// is in the event.
func (s *settings) removeFrom(event *member, edits *splices) (how int, all bool) {
	gone := map[*node][]bool{}
	for _, item := range event.value.items {
		for i, h := range s.of(item) {
			if gone[item] == nil {
				gone[item] = make([]bool, len(s.of(item)))
			}
			if what, _ := s.whose(h); what != "" {
				gone[item][i], how = true, max(how, slices.Index(extent, what))
			}
		}
	}
	whole := func(i int) bool {
		g := gone[event.value.items[i]]
		return len(g) > 0 && !slices.Contains(g, false)
	}
	all = len(gone) > 0
	for i, group := range event.value.items {
		if all = all && whole(i); !whole(i) && slices.Contains(gone[group], true) {
			edits.cut(s.file, spans(s.of(group)), func(j int) bool { return gone[group][j] })
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
