package rules

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/canonical"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// Edit puts lines in the place of one line of a policy's file.
type Edit struct {
	Source int // of Loaded.Sources
	Line   int // from 1
	Lines  []string
}

// Rewrite returns the text of a file with the edits of that source. Each edit is of a line of its own.
func Rewrite(text string, source int, edits []Edit) string {
	lines := strings.Split(text, "\n")
	for i := len(lines); i > 0; i-- {
		for _, e := range edits {
			if e.Source == source && e.Line == i {
				lines = slices.Replace(lines, i-1, i, e.Lines...)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// errUnwritable says that nothing can be written into the policy that has the effect of an exception.
var errUnwritable = errors.New("it cannot be shown as a change of the policy, because of how that or the call is written")

// maxShown is how many bytes of arguments are written into a policy; longer ones are named by their digest.
const maxShown = 1000

// Except returns the edits by which p has the effect of an exception: in each of its rules, the first entry of except:. The
// arguments are those of the call at which the person looked. What comes of the edits is compiled, and compared.
func (p *Policy) Except(x *event.Exception, args []byte) ([]Edit, error) {
	for _, shown := range [][]byte{args, nil} {
		if len(shown) > maxShown {
			continue
		}
		edits, err := p.edits(x.Rules, written(x, shown))
		if err == nil && p.amended(x, edits) {
			return edits, nil
		}
	}
	return nil, errUnwritable
}

func (p *Policy) edits(rules []event.Ruling, entry []pair) (edits []Edit, err error) {
	for _, r := range p.rules {
		if !slices.Contains(rules, event.Ruling{Name: r.name, Definition: r.definition}) {
			continue
		}
		file := r.at.Error("", "").File
		source := slices.IndexFunc(p.sources, func(s event.Source) bool { return s.Name == file })
		if source < 0 {
			return nil, errUnwritable
		}
		line, lines, ok := r.insert(strings.Split(p.sources[source].Text, "\n"), entry)
		if !ok {
			return nil, errUnwritable
		}
		edits = append(edits, Edit{Source: source, Line: line, Lines: lines})
	}
	if len(edits) != len(rules) {
		return nil, errUnwritable
	}
	return edits, nil
}

// insert returns what is to stand in the place of which line of the file.
func (r *rule) insert(file []string, entry []pair) (line int, lines []string, ok bool) {
	var do, except document.Field
	for _, f := range r.at.Fields() {
		switch f.Name {
		case "do":
			do = f
		case "except":
			except = f
		}
	}
	switch {
	case except.Name != "" && except.Value.Flow():
		return replaceAt(file, except.Value.Position, func(rest string) (string, bool) {
			list, ok := strings.CutPrefix(rest, "[")
			return "[" + flow(entry) + ", " + list, ok
		})
	case except.Name != "":
		line, _ = except.Value.Position()
		return insertAfter(file, except.Line(), column(file, line, "-"), entry)
	case r.at.Flow():
		return replaceAt(file, do.Position, func(rest string) (string, bool) {
			return "except: [" + flow(entry) + "], " + rest, true
		})
	}
	line, _ = do.Value.Position()
	_, col := do.Position()
	head := strings.Repeat(" ", max(0, col-1)) + "except:"
	line, lines, ok = insertAfter(file, line, col+2, entry)
	if ok {
		ending := lines[0][len(strings.TrimRight(lines[0], "\r")):]
		lines = slices.Insert(lines, 1, head+ending)
	}
	return line, lines, ok
}

// column returns where the first character that is no space stands in a line, if it is the wanted one; else 0.
func column(file []string, line int, want string) int {
	if line < 1 || line > len(file) {
		return 0
	}
	text := strings.TrimLeft(file[line-1], " ")
	if !strings.HasPrefix(text, want) {
		return 0
	}
	return len(file[line-1]) - len(text) + 1
}

// insertAfter adds an entry of a list in block style behind a line, its dash in the given column.
func insertAfter(file []string, line, col int, entry []pair) (int, []string, bool) {
	if line < 1 || line > len(file) || col < 1 {
		return 0, nil, false
	}
	at := file[line-1]
	ending := at[len(strings.TrimRight(at, "\r")):]
	lines := []string{at}
	lead := strings.Repeat(" ", col-1) + "- "
	for _, f := range entry {
		lines = append(lines, lead+f.name+": "+f.value+ending)
		lead = strings.Repeat(" ", col+1)
	}
	return line, lines, true
}

// replaceAt changes what stands from a place to the end of its line.
func replaceAt(file []string, place func() (line, col int), change func(rest string) (string, bool)) (int, []string, bool) {
	line, col := place()
	if line < 1 || line > len(file) {
		return 0, nil, false
	}
	text := []rune(file[line-1])
	if col < 1 || col > len(text) {
		return 0, nil, false
	}
	rest, ok := change(string(text[col-1:]))
	return line, []string{string(text[:col-1]) + rest}, ok
}

// amended reports whether the policy with the edits says the same as before, and as first exception of its rules the one that
// is wanted.
func (p *Policy) amended(x *event.Exception, edits []Edit) bool {
	sources := slices.Clone(p.sources)
	for i := range sources {
		sources[i].Text = Rewrite(sources[i].Text, i, edits)
	}
	q, err := Compile(sources, p.env)
	if err != nil || len(q.rules) != len(p.rules) {
		return false
	}
	read := exceptions{policy: p}
	want := read.read(event.Event{At: x.Expires.Add(-MaxExcepted), Seq: 1, Body: x}, x)
	if want == nil || len(want.rules) != len(x.Rules) {
		return false
	}
	for i, r := range q.rules {
		was := p.rules[i]
		more := 0
		if slices.Contains(want.rules, i) {
			if more = 1; len(r.except) == 0 || !r.except[0].equal(&want.exemption, x) {
				return false
			}
		}
		if r.name != was.name || r.definition != was.definition || len(r.except) != len(was.except)+more || definition(r.at) != definition(was.at) {
			return false
		}
	}
	return true
}

// equal reports whether an exemption of the policy is about the same calls as the one that x makes.
func (one *exemption) equal(want *exemption, x *event.Exception) bool {
	said := func(have *string, text string) bool { return have != nil && *have == text }
	on := len(one.on) == 1 && one.on[0].exact() && one.on[0] == glob{x.Server, x.Tool}
	byPath := func(list []argument) []argument {
		return slices.SortedFunc(slices.Values(list), func(a, b argument) int { return strings.Compare(a.path.String(), b.path.String()) })
	}
	return on && said(one.caller.principal, x.Principal) && said(one.caller.agent, x.Agent) && said(one.caller.workspace, x.Workspace) &&
		one.until == want.until && one.args == want.args && slices.EqualFunc(byPath(one.with), byPath(want.with), func(a, b argument) bool {
		return a.path.String() == b.path.String() && a.value == b.value
	})
}

// pair is a field of an entry of except:, as it is written in YAML.
type pair struct{ name, value string }

// written returns the entry of an exception; args are nil if their digest stands for them.
func written(x *event.Exception, args []byte) []pair {
	entry := []pair{
		{"on", yamlText(x.Server + "/" + x.Tool)},
		{"principal", yamlText(x.Principal)},
		{"agent", yamlText(x.Agent)},
		{"workspace", yamlText(x.Workspace)},
	}
	switch {
	case x.Args == "":
		var with []string
		for _, a := range x.With {
			with = append(with, yamlText(a.Path)+": "+yamlValue(gjson.ParseBytes(a.Value)))
		}
		entry = append(entry, pair{"with", "{" + strings.Join(with, ", ") + "}"})
	case args != nil:
		entry = append(entry, pair{"args", yamlValue(gjson.ParseBytes(args))})
	default:
		entry = append(entry, pair{"args", digestPrefix + x.Args})
	}
	entry = append(entry, pair{"until", x.Expires.Time().Format(time.RFC3339)})
	if x.Note != "" {
		entry = append(entry, pair{"note", strconv.Quote(x.Note)})
	}
	return entry
}

// flow writes an entry on one line.
func flow(entry []pair) string {
	var out []string
	for _, f := range entry {
		value := f.value
		if f.name == "until" || f.name == "args" && strings.HasPrefix(value, digestPrefix) {
			value = strconv.Quote(value)
		}
		out = append(out, f.name+": "+value)
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// plainText is text that stands in YAML as it is, unless it is one of its words.
var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)

var yamlWords = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

func yamlText(s string) string {
	if plainText.MatchString(s) && !slices.Contains(yamlWords, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// yamlValue writes a JSON value on one line. What nobody would see is spelled out.
func yamlValue(v gjson.Result) string {
	var out bytes.Buffer
	switch {
	case v.IsObject():
		out.WriteByte('{')
		v.ForEach(func(k, e gjson.Result) bool {
			if out.Len() > 1 {
				out.WriteString(", ")
			}
			out.WriteString(strconv.Quote(k.Str) + ": " + yamlValue(e))
			return true
		})
		out.WriteByte('}')
	case v.IsArray():
		out.WriteByte('[')
		for i, e := range v.Array() {
			if i > 0 {
				out.WriteString(", ")
			}
			out.WriteString(yamlValue(e))
		}
		out.WriteByte(']')
	case v.Type == gjson.String:
		out.WriteString(strconv.Quote(v.Str))
	default:
		out.Write(canonical.Append(nil, v))
	}
	return out.String()
}
