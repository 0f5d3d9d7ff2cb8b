// Package clients knows the configuration files of MCP clients, and puts Umpire in front of the servers in them: bytes
// in, bytes out. Nothing but the entries of servers changes, and within them nothing but what has to.
//
// A wrapped entry holds what it was: the command stands behind umpire run, token for token as it was written, and the
// URL behind Umpire's. So unwrapping needs nothing but the file, and gives back the file from before, byte for byte,
// even after other entries have changed.
package clients

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Umpire is what clients are pointed to.
type Umpire struct {
	Program string   // the absolute path of umpire
	Flags   []string // of umpire run
	Listen  string   // where the daemon listens, HOST:PORT; empty if clients cannot just connect to it
}

// noArgs marks an entry that had no args before it was wrapped.
const noArgs = "--no-args"

// ErrIrreversible says that a file is written in a way that Wrap could not undo.
var ErrIrreversible = errors.New("it is written in a way that could not be undone exactly")

// Servers returns the servers in a file.
func Servers(f Format, file []byte, listen string) (out []Server, err error) {
	list, err := entries(f, file, listen)
	for _, e := range list {
		out = append(out, e.Server)
	}
	return out, err
}

// Wrap puts Umpire in front of every server that is Bare, and returns the servers as they are then. What it returns
// becomes file again by Unwrap; if that cannot be had, it returns ErrIrreversible.
func Wrap(f Format, file []byte, u Umpire) (out []byte, servers []Server, err error) {
	list, err := entries(f, file, u.Listen)
	if err != nil {
		return nil, nil, err
	}
	taken := names{}
	for _, e := range list {
		if taken[e.Name] = e.Name; e.State == Wrapped {
			taken[e.As()] = e.Name
		}
	}
	var edits splices
	var done []*entry
	for _, e := range list {
		switch {
		case e.State != Bare:
		case e.url != nil && u.Listen == "":
			e.State, e.Why = Unfit, "umpire listens where a client needs a token: point the client there by hand"
		default:
			edits.wrap(e, file, taken.name(e.Name), u)
			done = append(done, e)
		}
	}
	if out, err = edits.apply(file); err != nil {
		return nil, nil, err
	}
	after, err := entries(f, out, u.Listen)
	if err != nil || len(after) != len(list) {
		return nil, nil, ErrIrreversible
	}
	var undo splices
	for i, e := range after {
		if slices.Contains(done, list[i]) && e.State == Wrapped {
			undo.unwrap(e, out)
		}
	}
	if back, err := undo.apply(out); err != nil || !bytes.Equal(back, file) {
		return nil, nil, ErrIrreversible
	}
	for i, e := range after {
		if list[i].Why != "" {
			e.State, e.Why = list[i].State, list[i].Why
		}
		servers = append(servers, e.Server)
	}
	return out, servers, nil
}

// Unwrap takes Umpire away from every server that is Wrapped, and returns the servers as they are then.
func Unwrap(f Format, file []byte, listen string) (out []byte, servers []Server, err error) {
	list, err := entries(f, file, listen)
	if err != nil {
		return nil, nil, err
	}
	var edits splices
	for _, e := range list {
		if e.State == Wrapped {
			edits.unwrap(e, file)
		}
	}
	if out, err = edits.apply(file); err != nil {
		return nil, nil, err
	}
	servers, err = Servers(f, out, listen)
	if err != nil {
		return nil, nil, ErrIrreversible
	}
	return out, servers, nil
}

// splices are changes of a file, in any order.
type splices []splice

type splice struct {
	start, end int
	text       string
}

func (s *splices) replace(start, end int, text string) { *s = append(*s, splice{start, end, text}) }

// apply returns the changed file. If a change is not within it, or two are about the same place, the parser has not said
// where things are: the error is ErrIrreversible.
func (s *splices) apply(file []byte) (out []byte, err error) {
	slices.SortStableFunc(*s, func(a, b splice) int { return a.start - b.start })
	at := 0
	for _, e := range *s {
		if e.start < at || e.end < e.start || e.end > len(file) {
			return nil, ErrIrreversible
		}
		out = append(append(out, file[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, file[at:]...), nil
}

// wrap changes a Bare entry.
func (s *splices) wrap(e *entry, file []byte, name string, u Umpire) {
	if e.url != nil {
		at := e.url.value.start
		if !e.url.value.plain {
			at++ // the quote
		}
		scheme := "http"
		if e.Transport == WS && !isWeb(e.URL) {
			scheme = "ws"
		}
		s.replace(at, at, scheme+"://"+u.Listen+"/"+name+"/to/")
		return
	}
	words := append([]string{"run"}, u.Flags...)
	v := e.command.value
	if v.kind == list {
		words = append(append([]string{u.Program}, words...), "--name", name, "--")
		s.replace(v.items[0].start, v.items[0].start, joined(words, v.between)+v.between)
		return
	}
	if e.args == nil {
		words = append(words, noArgs)
	}
	words = append(words, "--name", name, "--")
	command := string(file[v.start:v.end])
	s.replace(v.start, v.end, quote(u.Program))
	if e.args == nil {
		c := e.command
		s.replace(c.start, c.start, c.prefix+"args"+c.assign+"["+joined(words, ", ")+", "+command+"]"+c.between)
		return
	}
	a := e.args.value
	words = []string{joined(words, a.between), command}
	if len(a.items) == 0 {
		s.replace(a.start+1, a.start+1, strings.Join(words, a.between))
		return
	}
	s.replace(a.items[0].start, a.items[0].start, strings.Join(words, a.between)+a.between)
}

func joined(words []string, between string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, between)
}

// unwrap changes a Wrapped entry back.
func (s *splices) unwrap(e *entry, file []byte) {
	if e.url != nil {
		v := e.url.value
		at := v.start
		if !v.plain {
			at++
		}
		if m := mount.Find(file[at:v.end]); m != nil {
			s.replace(at, at+len(m), "")
		}
		return
	}
	n := behind(e.Command)
	v := e.command.value
	if v.kind == list {
		s.replace(v.items[0].start, v.items[n].start, "")
		return
	}
	items := e.args.value.items
	command := items[n-1]
	s.replace(v.start, v.end, string(file[command.start:command.end]))
	switch {
	case slices.Contains(e.Command[:n], noArgs) && n == len(items):
		s.remove(e.in, e.args, file)
	case n == len(items):
		s.replace(items[0].start, command.end, "")
	default:
		s.replace(items[0].start, items[n].start, "")
	}
}

// remove takes a member away, with the white space and the comma up to the next one. A client that has written the file
// anew may have made it the last: then the comma before it goes.
func (s *splices) remove(in *node, m *member, file []byte) {
	end := m.value.closed(file)
	rest := bytes.TrimLeft(file[end:], " \t\r\n")
	if after, ok := bytes.CutPrefix(rest, []byte(",")); ok {
		rest = bytes.TrimLeft(after, " \t\r\n")
	}
	i := slices.Index(in.members, m)
	if in.flow && i > 0 && i == len(in.members)-1 {
		s.replace(in.members[i-1].value.closed(file), end, "")
		return
	}
	s.replace(m.start, len(file)-len(rest), "")
}

// closed returns the end of a value.
func (n *node) closed(file []byte) int {
	if n.end > n.start {
		return n.end
	}
	at := n.start
	for _, item := range n.items {
		at = max(at, item.closed(file))
	}
	for _, m := range n.members {
		at = max(at, m.value.closed(file))
	}
	if n.flow {
		if i := bytes.IndexAny(file[at:], "]}"); i >= 0 {
			at += i + 1
		}
	}
	return at
}
