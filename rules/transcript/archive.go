package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/rules/event"
)

// Archive is a txtar file: policies, and cases of what happens under them.
//
//	what it is about
//	-- policy.yaml --          every file that ends in .yaml or .yml; several are one policy
//	rules: …
//	-- env.json --             what the policy has to know of the machine; {"os": "linux", "home": "/home/alice"} if it is not there
//	-- begin --                comes before each of the cases
//	0s catalog billing {"tools": […]}
//	-- two refunds in a row -- every other file is a case
//	0s call billing/issue_refund {"amount": 5}
//
// A file named warnings is what umpire check warns of.
type Archive struct {
	Name    string
	Env     event.Env
	Cases   []*Case
	raw     *txtar.Archive
	sources []int       // the policies, by their place in raw
	lines   map[int]int // where the text of each of raw begins
}

// Case is one story.
type Case struct {
	Name   string
	file   string
	blocks []*block // those of begin first
}

// block is a line, and what is expected of it.
type block struct {
	line int // in the file; the first is 1
	text string
	want []string
	got  [][]string // of each time that it happens
	now  []string   // if it is to be written in place of want
	own  bool       // it stands in the case, not in begin
}

// The names of files that are no cases.
const (
	beginFile    = "begin"
	warningsFile = "warnings"
	envFile      = "env.json"
)

// Parse reads an archive. Name is that of the file, for errors.
func Parse(name string, data []byte) (*Archive, error) {
	if bytes.ContainsRune(data, '\r') {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	}
	a := &Archive{Name: name, Env: event.Env{OS: "linux", Home: "/home/alice"}, raw: txtar.Parse(data), lines: map[int]int{}}
	at := 1 + bytes.Count(a.raw.Comment, []byte("\n"))
	var begin []*block
	seen := map[string]bool{}
	for i, f := range a.raw.Files {
		at++ // its name
		a.lines[i] = at
		at += bytes.Count(f.Data, []byte("\n"))
		if seen[f.Name] {
			return nil, fmt.Errorf("%s:%d: a second file %q", name, a.lines[i]-1, f.Name)
		}
		seen[f.Name] = true
		switch {
		case f.Name == warningsFile:
		case f.Name == envFile:
			if err := json.Unmarshal(f.Data, &a.Env); err != nil || a.Env.OS == "" {
				return nil, fmt.Errorf("%s:%d: env.json: want {\"os\": \"linux\", \"home\": \"/home/alice\"}", name, a.lines[i])
			}
		case strings.HasSuffix(f.Name, ".yaml"), strings.HasSuffix(f.Name, ".yml"):
			a.sources = append(a.sources, i)
		default:
			blocks, err := blocksOf(name, a.lines[i], string(f.Data))
			if err != nil {
				return nil, err
			}
			if f.Name == beginFile {
				begin = blocks
				continue
			}
			c := &Case{Name: f.Name, file: name}
			for _, b := range begin {
				again := *b
				c.blocks = append(c.blocks, &again)
			}
			for _, b := range blocks {
				b.own = true
				c.blocks = append(c.blocks, b)
			}
			a.Cases = append(a.Cases, c)
		}
	}
	if len(a.Cases) == 0 {
		return nil, fmt.Errorf("%s: it has no case: want -- NAME -- and below it a line such as: 0s call billing/issue_refund {\"amount\": 5}", name)
	}
	return a, nil
}

// blocksOf reads the lines of a file that begins at the given line of the archive.
func blocksOf(name string, at int, text string) (out []*block, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.TrimSpace(line) == "", line[0] == '#':
		case line[0] == ' ':
			if len(out) == 0 {
				return nil, fmt.Errorf("%s:%d: %.60q is expected of no line", name, at, strings.TrimSpace(line))
			}
			last := out[len(out)-1]
			last.want = append(last.want, strings.TrimPrefix(strings.TrimPrefix(line, " "), " "))
		default:
			out = append(out, &block{line: at, text: line})
		}
		at++
	}
	return out, nil
}

// Sources returns the policy; it is empty if the archive has none.
func (a *Archive) Sources() (out []event.Source) {
	for _, i := range a.sources {
		out = append(out, event.Source{Name: a.raw.Files[i].Name, Text: string(a.raw.Files[i].Data)})
	}
	return out
}

// Line returns the line of the archive on which the given line of one of its files stands; 0 if there is no such file.
func (a *Archive) Line(file string, line int) int {
	for i, f := range a.raw.Files {
		if f.Name == file {
			return a.lines[i] + line - 1
		}
	}
	return 0
}

// Result is what came of a case.
type Result struct {
	Calls    int // of which something was decided
	Judged   []Judged
	Failures []Failure
}

// Judged is a call, or the end of a hold, and what was decided.
type Judged struct {
	Want    string // what is to be done, as it stands in the case; empty: it should pass
	Verdict event.Verdict
}

// Failure is a line that came out otherwise.
type Failure struct {
	Line int      // of the file
	Text string   // the line
	Nth  int      // which of them, if it is repeated; else 0
	Want []string // empty: it should have passed
	Got  []string
}

// Stage lets a line happen. *Player is one; another is the whole of what live traffic goes through.
type Stage interface {
	Play(l Line) (Happened, error)
}

// Play lets a case happen. The error names the line that makes no sense.
func (c *Case) Play(p Stage) (r Result, err error) {
	for _, b := range c.blocks {
		lines, err := Expand(b.text)
		if err != nil {
			return r, fmt.Errorf("%s:%d: %w", c.file, b.line, err)
		}
		b.got, b.now = nil, nil
		failed := false
		for i, l := range lines {
			h, err := p.Play(l)
			if err != nil {
				return r, fmt.Errorf("%s:%d: %w", c.file, b.line, err)
			}
			if _, call := l.Event.Body.(*event.Call); call && h.Verdict != nil {
				r.Calls++
			}
			if h.Verdict != nil {
				r.Judged = append(r.Judged, Judged{Want: strings.Join(b.want[:min(len(b.want), 1)], ""), Verdict: *h.Verdict})
			}
			b.got = append(b.got, h.Said)
			if failed || h.Fits(b.want) {
				continue
			}
			failed = true
			f := Failure{Line: b.line, Text: b.text, Want: b.want, Got: h.Said}
			if len(lines) > 1 {
				f.Nth = i + 1
			}
			r.Failures = append(r.Failures, f)
		}
		if failed && b.same() {
			b.now = b.got[0]
		}
	}
	if r.Calls == 0 {
		return r, fmt.Errorf("%s: case %q: nothing is decided in it; want a line such as: 0s call billing/issue_refund {\"amount\": 5}", c.file, c.Name)
	}
	return r, nil
}

// same reports whether the same came of it each time.
func (b *block) same() bool {
	for _, got := range b.got {
		if !slices.Equal(got, b.got[0]) {
			return false
		}
	}
	return true
}

// What stands below a call in place of a verdict: what is done with it, whatever rule says so.
const (
	Passes  = "passes"
	Stopped = "stopped"
)

// Fits reports whether it is what is expected. Nothing is that the call passes. A verdict is the action, then the rule, then
// the reason, and can end after each of them, or be cut with "…"; of the lines below it, those that are expected have to be
// there, in their order.
func (h Happened) Fits(want []string) bool {
	if len(want) == 0 {
		return h.Verdict == nil || h.Verdict.Action.Passes()
	}
	got := h.Said
	if len(got) == 0 {
		return false
	}
	switch {
	case h.Verdict != nil && want[0] == Passes:
		if !h.Verdict.Action.Passes() {
			return false
		}
	case h.Verdict != nil && want[0] == Stopped:
		if h.Verdict.Action.Passes() {
			return false
		}
	case !fits(got[0], want[0]):
		return false
	}
	got = got[1:]
	for _, line := range want[1:] {
		i := slices.IndexFunc(got, func(g string) bool { return fits(g, line) })
		if i < 0 {
			return false
		}
		got = got[i+1:]
	}
	return true
}

func fits(got, want string) bool {
	if start, cut := strings.CutSuffix(want, "…"); cut {
		return strings.HasPrefix(got, start)
	}
	var action event.Action
	if action.UnmarshalText([]byte(want)) == nil && strings.HasPrefix(got, want+" ") {
		return true
	}
	return got == want || strings.HasPrefix(got, want+": ")
}

// Format returns the archive with what came of its cases: in full, or only in place of what was expected otherwise. What
// stands in begin is left as it is.
func (a *Archive) Format(full bool) []byte {
	out := &txtar.Archive{Comment: a.raw.Comment}
	for i, f := range a.raw.Files {
		for _, c := range a.Cases {
			if c.Name == f.Name {
				f.Data = c.format(a.lines[i], string(f.Data), full)
			}
		}
		out.Files = append(out.Files, f)
	}
	return txtar.Format(out)
}

func (c *Case) format(at int, text string, full bool) []byte {
	blocks := map[int]*block{}
	for _, b := range c.blocks {
		if b.own {
			blocks[b.line] = b
		}
	}
	var out bytes.Buffer
	replaced := false
	for line := range strings.Lines(text) {
		b := blocks[at]
		at++
		if b == nil {
			if !replaced || line[0] != ' ' {
				out.WriteString(line)
			}
			continue
		}
		out.WriteString(line)
		now := b.now
		if full && len(b.got) > 0 && b.same() {
			now = b.got[0]
		}
		if replaced = now != nil || full; !replaced {
			continue
		}
		for _, s := range now {
			out.WriteString(strings.TrimRight("  "+s, " ") + "\n")
		}
	}
	return out.Bytes()
}
