package suggest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// Rule is a rule that history supports.
type Rule struct {
	Name    string
	Support string   // what history says for it, in one line
	Lines   []string // of YAML, after name and before do
	Do      event.Action
}

// Support is how much has to be known until a rule is suggested.
type Support struct{ Calls, Sessions int }

// Enough is the least that a habit is made of.
var Enough = Support{Calls: 20, Sessions: 5}

func (s Support) met(calls int, sessions map[string]bool) bool {
	return calls >= s.Calls && len(sessions) >= s.Sessions
}

// maxNever bounds the rules about what never happened.
const maxNever = 20

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// spellable reports whether a condition can name an argument as args.name.
func spellable(name string) bool {
	return identifier.MatchString(name) && !slices.Contains([]string{"in", "true", "false", "null"}, name)
}

// Rules returns what history supports. Each would have let every honest call pass, as far as it can be told without judging
// them again. Strict rules deny, leave no room, and speak of what never happened; the others hold.
func (p *Practice) Rules(enough Support, strict bool) (out []Rule) {
	w := writer{p: p, enough: enough, strict: strict, do: event.Hold, names: map[string]bool{}}
	if strict {
		w.do = event.Deny
	}
	w.agents()
	for _, k := range p.Tools() {
		if t := p.tools[k]; enough.met(t.calls, t.sessions) && k.named() {
			w.shape(k, t)
			w.rates(k, t)
			w.order(k, t)
			w.said(k, t)
		}
	}
	if strict {
		w.never()
	}
	return w.out
}

// Tools returns the tools with honest calls, by name.
func (p *Practice) Tools() []key {
	var out []key
	for k, t := range p.tools {
		if t.calls > 0 {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b key) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// Unknown returns the agents and tools of which too little is known, each with how much that is.
func (p *Practice) Unknown(enough Support) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(p.agents)) {
		if a := p.agents[name]; !enough.met(a.calls, a.sessions) {
			out = append(out, fmt.Sprintf("agent %s (%s)", strconv.Quote(name), amounts(a.calls, a.sessions)))
		}
	}
	for _, k := range p.Tools() {
		if t := p.tools[k]; !enough.met(t.calls, t.sessions) {
			out = append(out, fmt.Sprintf("%s (%s)", strconv.Quote(k.String()), amounts(t.calls, t.sessions)))
		}
	}
	return out
}

// writer writes rules.
type writer struct {
	p      *Practice
	enough Support
	strict bool
	do     event.Action
	names  map[string]bool
	out    []Rule
}

func (w *writer) rule(name, support string, lines ...string) {
	name = strings.Trim(plainName.ReplaceAllString(name, "-"), "-")
	name = name[:min(len(name), maxRuleName)]
	for base, n := name, 2; w.names[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	w.names[name] = true
	w.out = append(w.out, Rule{Name: name, Support: support, Lines: lines, Do: w.do})
}

// maxRuleName bounds the name of a rule, in bytes.
const maxRuleName = 120

var plainName = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// agents suggests which tools each agent may call.
func (w *writer) agents() {
	var known []string
	for _, name := range slices.Sorted(maps.Keys(w.p.agents)) {
		a := w.p.agents[name]
		known = append(known, name)
		if !w.enough.met(a.calls, a.sessions) {
			continue
		}
		var tools []string
		for k := range a.tools {
			tools = append(tools, k.String())
		}
		slices.Sort(tools)
		lines := []string{`on: "*/*"`, "where: |", fmt.Sprintf("  agent == %s && !(server + '/' + tool.name in [", quote(name))}
		for _, t := range tools {
			lines = append(lines, "    "+quote(t)+",")
		}
		w.rule("tools-of-"+name, amounts(a.calls, a.sessions)+", no exception", append(lines, "  ])")...)
	}
	if w.strict && len(known) > 0 && w.p.Agent == "" {
		w.rule("known-agents", fmt.Sprintf("no call of any other in %s", amounts(w.p.Calls, nil)), `on: "*/*"`, "where: "+flow("!(agent in "+quotes(known)+")"))
	}
}

// head is on, and where if there are conditions, if only one agent is asked about, or if on can be about others than this tool.
func (w *writer) head(k key, conditions ...string) []string {
	lines := []string{"on: " + flow(escape(k.String()))}
	var where []string
	if escape(k.String()) != k.String() {
		where = append(where, "server == "+quote(k.server), "tool.name == "+quote(k.name))
	}
	if w.p.Agent != "" {
		where = append(where, "agent == "+quote(w.p.Agent))
	}
	if where = append(where, conditions...); len(where) > 0 {
		lines = append(lines, "where: "+flow(strings.Join(where, " && ")))
	}
	return lines
}

// shape suggests what the arguments of a tool look like.
func (w *writer) shape(k key, t *tool) {
	if t.full {
		return
	}
	lines := append(w.head(k), "shape:")
	names := slices.Sorted(maps.Keys(t.keys))
	if len(names) > 0 {
		lines = append(lines, "  properties:")
	}
	var required []string
	for _, name := range names {
		a := t.keys[name]
		var members []string
		for _, m := range a.schema(w.strict) {
			members = append(members, m.name+": "+flow(m.value))
		}
		lines = append(lines, fmt.Sprintf("    %s: {%s}", flow(name), strings.Join(members, ", ")))
		if a.calls == t.calls {
			required = append(required, name)
		}
	}
	if len(required) > 0 {
		lines = append(lines, "  required: "+flow(required))
	}
	w.rule(k.String()+"-shape", amounts(t.calls, t.sessions)+", no exception", append(lines, "  additionalProperties: false")...)
}

// rates suggests how many calls of a tool there may be, and how much they may come to.
func (w *writer) rates(k key, t *tool) {
	limit := func(n int) int64 {
		if w.strict {
			return int64(n)
		}
		return roomy(int64(n))
	}
	support := func(p *peak, where string) string {
		return fmt.Sprintf("%s; %s, half of %s have no more than %s, 99 in 100 no more than %s, none more than %s", amounts(t.calls, t.sessions),
			where, "these", count(p.quantile(500)), count(p.quantile(990)), count(p.quantile(1000)))
	}
	w.rule(k.String()+"-burst", support(&t.burst, "of the 10s up to each call of a session"),
		append(w.head(k), fmt.Sprintf("rate: {max: %d, per: 10s, by: session}", limit(t.burst.quantile(1000))))...)
	if t.nameless || slices.Equal(w.p.Effects(k.server, k.name), []string{"read"}) {
		return
	}
	w.rule(k.String()+"-day", support(&t.day, "of the 24h up to each call of an agent"),
		append(w.head(k), fmt.Sprintf("rate: {max: %d, per: 24h, by: agent}", limit(t.day.quantile(1000))))...)
	for _, name := range slices.Sorted(maps.Keys(t.sums)) {
		s := t.sums[name]
		n, ok := roomyDecimal(&s.most)
		if s.bad || !ok || s.most.Sign() <= 0 {
			continue
		}
		most := strconv.FormatInt(n, 10)
		if w.strict {
			most = s.most.Text('f')
		}
		w.rule(fmt.Sprintf("%s-%s-day", k, name), fmt.Sprintf("%s; no 24h of an agent come to more than %s", amounts(t.calls, t.sessions), s.most.Text('f')),
			append(w.head(k), fmt.Sprintf("rate: {sum: args.%s, max: %s, per: 24h, by: agent}", name, most))...)
	}
}

// order suggests what has to come before a tool that acts.
func (w *writer) order(k key, t *tool) {
	if slices.Equal(w.p.Effects(k.server, k.name), []string{"read"}) && !w.strict {
		return
	}
	first, r, mine := t.orders.required(w.strict)
	if r == nil {
		return
	}
	where, longest, what := "earlier.ok", r.plain, "such a call"
	if mine != "" {
		longest, what = r.longest, "one with the same "+mine
		where += fmt.Sprintf(" && has(earlier.args.%s) && earlier.args.%[1]s == args.%s", r.same[mine], mine)
	}
	span := longest
	if !w.strict {
		span = max(3*longest, 10*time.Minute)
	}
	w.rule(fmt.Sprintf("%s-after-%s", k, first.name), fmt.Sprintf("%s, each after %s, no exception; at most %s later", amounts(t.calls, t.sessions), what, document.FormatDuration(longest.Round(time.Second))),
		append(w.head(k), "require:", fmt.Sprintf("  - {name: earlier, on: %s, where: %s}", flow(escape(first.String())), flow(where)), "by: session", "within: "+roomySpan(span))...)
}

// never suggests what must not come after what, of tools that are used often and in that order never.
func (w *writer) never() {
	type pair struct {
		first, last key
		sessions    int
	}
	var found []pair
	for _, last := range w.p.Tools() {
		t := w.p.tools[last]
		if !last.named() || !w.enough.met(t.calls, t.sessions) || slices.Equal(w.p.Effects(last.server, last.name), []string{"read"}) {
			continue
		}
		for _, first := range w.p.Tools() {
			f := w.p.tools[first]
			if first != last && first.named() && w.enough.met(f.calls, f.sessions) && !t.after[first] {
				found = append(found, pair{first, last, min(len(t.sessions), len(f.sessions))})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b pair) int { return b.sessions - a.sessions })
	for _, f := range found[:min(len(found), maxNever)] {
		lines := []string{"sequence:", "  - {on: " + flow(escape(f.first.String())) + "}", "  - {on: " + flow(escape(f.last.String())) + "}", "by: session", "within: 24h"}
		w.rule(fmt.Sprintf("%s-then-%s", f.first, f.last), fmt.Sprintf("never in %s and %s sessions with a call of the one and of the other",
			count(len(w.p.tools[f.first].sessions)), count(len(w.p.tools[f.last].sessions))), lines...)
	}
}

// escape makes a glob of a name that is meant as it is: what no glob can say, or no reader can see, becomes a character that may be
// any.
func escape(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("*?\\", r) || r == ' ' || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

// roomySpan returns a time that is longer: what is just as long ago is out of a window.
func roomySpan(d time.Duration) string {
	for _, s := range []struct {
		d    time.Duration
		text string
	}{{time.Minute, "1m"}, {5 * time.Minute, "5m"}, {10 * time.Minute, "10m"}, {30 * time.Minute, "30m"}, {time.Hour, "1h"}, {3 * time.Hour, "3h"}, {12 * time.Hour, "12h"}} {
		if d < s.d {
			return s.text
		}
	}
	return "24h"
}

// flow writes a value as YAML within a line. JSON is YAML.
func flow(v any) string {
	if s, ok := v.(string); ok && plainText.MatchString(s) && !reserved[s] {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // texts, numbers and lists of them can be written
	}
	return visible(strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), `","`, `", "`))
}

// visible escapes what a reader does not see in a quoted text, as YAML and CEL both read it.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_/.-]*$`)
	reserved  = map[string]bool{"true": true, "false": true, "null": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true, "True": true, "False": true, "Null": true, "Yes": true, "No": true, "On": true, "Off": true, "Y": true, "N": true, "TRUE": true, "FALSE": true, "NULL": true, "YES": true, "NO": true, "ON": true, "OFF": true}
)

// quote writes a text as CEL.
func quote(s string) string { return flow([]string{s})[1 : len(flow([]string{s}))-1] }

func quotes(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, quote(s))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// amounts says how much there was.
func amounts(calls int, sessions map[string]bool) string {
	text := count(calls) + " calls"
	if calls == 1 {
		text = "1 call"
	}
	switch len(sessions) {
	case 0:
		return text
	case 1:
		return text + " in 1 session"
	}
	return text + " in " + count(len(sessions)) + " sessions"
}

// count writes a number with commas.
func count(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
