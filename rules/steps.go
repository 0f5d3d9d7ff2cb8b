package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/match"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/sequence"
)

// stepsSpec is what sequence: or require: says.
type stepsSpec struct {
	pattern sequence.Pattern
	steps   []step
	unless  []*step       // behind the step of the same index; nil for none
	until   *step         // nil for none
	last    *expr.Program // condition on the call being judged, of a sequence
	names   []string      // of steps; empty for those without
	listed  []string      // names of all steps, those that do not stand in names yet included
	by      []byKey
	require bool // deny unless there is a match
	keep    bool // a condition asks for the content of some step's result
	full    bool // a condition asks about more than its own event, when it arrives
}

// step is a kind of event that a rule waits for.
type step struct {
	name  string   // by which conditions ask about it; empty for none
	kind  string   // "call", "result", "signal" or "turn"
	on    []glob   // of calls and results
	names []string // patterns: of signals, or of the roles of turns
	where *expr.Program
	early bool // where asks about nothing but its own event, all of which is known when it arrives: it is decided then
	at    document.Node
}

// The kinds of steps, as the word before the pattern says.
const (
	stepCall   = "call"
	stepResult = "result"
	stepSignal = "signal"
	stepTurn   = "turn"
)

// alone reports whether where asks about nothing but st, and about nothing that is not there yet when st arrives.
func (st *step) alone() bool {
	return st.where != nil && !slices.ContainsFunc(st.where.Steps(), func(name string) bool {
		return st.kind == stepCall || name != st.name
	})
}

// named reports whether st waits for signals of this name, or turns of this role.
func (st *step) named(name string) bool {
	return slices.ContainsFunc(st.names, func(pattern string) bool { return match.Match(name, pattern) })
}

// String formats what the step waits for: "files/read_*", "result of db/dump".
func (st *step) String() string {
	var words []string
	for _, g := range st.on {
		words = append(words, g.String())
	}
	text := strings.Join(append(words, st.names...), " or ")
	switch st.kind {
	case stepResult:
		return "a result of " + text
	case stepSignal:
		return "a signal " + text
	case stepTurn:
		return "a turn of the " + text
	}
	return text
}

// slot returns the step whose events are in a slot of the pattern; nil if there is none.
func (s *stepsSpec) slot(i int) *step {
	switch n := len(s.steps); {
	case i < n:
		return &s.steps[i]
	case i < 2*n:
		return s.unless[i-n]
	}
	return s.until
}

// results reports whether results are steps.
func (s *stepsSpec) results() bool {
	for slot := range s.pattern.Slots() {
		if st := s.slot(slot); st != nil && st.kind == stepResult {
			return true
		}
	}
	return false
}

// maxSteps bounds a rule. More steps than this are no rule that anybody understands.
const maxSteps = 8

var stepName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// steps compiles the list of sequence: or require:. The last step of a sequence is the call being judged, and its
// pattern and name become those of the rule.
func (c *compiler) steps(r *rule, n document.Node, require bool) {
	spec := &stepsSpec{require: require, pattern: sequence.Pattern{Keep: require}}
	list := n.List(false)
	switch {
	case !require && len(list) < 2:
		n.Fail("the last step is the call being judged; name at least one before it", "a sequence of %d steps", len(list))
		return
	case require && len(list) == 0:
		n.Fail("", "nothing is required")
		return
	case len(list) > maxSteps:
		n.Fail("", "%d steps; at most %d are allowed", len(list), maxSteps)
		return
	}
	r.steps = spec
	fields := make([][]document.Field, len(list))
	for i, item := range list {
		fields[i] = item.Fields("name", "on", "where", "runs", "unless")
		for _, f := range fields[i] {
			if f.Name == "name" && f.Value.IsText() {
				spec.listed = append(spec.listed, f.Value.Text())
			}
		}
	}
	for i, item := range list {
		c.step(r, spec, item, fields[i], !require && i == len(list)-1)
	}
	c.checkAsked(spec, n)
}

// step compiles one item of the list.
func (c *compiler) step(r *rule, spec *stepsSpec, n document.Node, fields []document.Field, last bool) {
	st := step{kind: stepCall, at: n}
	entry := sequence.Step{Runs: 1}
	name, whereNode := "", document.Node{}
	var where, unless, runs bool
	for _, f := range fields {
		switch f.Name {
		case "name":
			name = f.Value.Text()
			c.stepName(spec, f.Value, name)
		case "on":
			c.stepOn(&st, f.Value)
		case "where":
			where, whereNode = true, f.Value
		case "runs":
			runs = true
			entry.Runs = c.runs(f.Value)
		case "unless":
			unless = true
			c.unless(spec, f.Value)
		}
	}
	switch {
	case unless:
		if len(spec.steps) == 0 || last || name != "" || where || runs {
			n.Fail("put {unless: {on: …}} between the two steps that it is about", "unless stands between two steps, alone")
		}
		return
	case len(st.on)+len(st.names) == 0:
		n.Fail("", "a step without on")
		return
	case last:
		if st.kind != stepCall || runs {
			n.Fail("the last step is the call being judged", "the last step can be nothing but a single call")
		}
		if r.on, spec.listed = st.on, nil; where {
			spec.last = c.conditionOn(whereNode, spec, spec.names)
		}
		return
	}
	st.name = name
	spec.names = append(spec.names, name)
	if where {
		st.where = c.conditionOn(whereNode, spec, spec.names)
		noTrail(st.where, whereNode)
	}
	st.early = !spec.require && st.alone()
	spec.steps = append(spec.steps, st)
	spec.unless = append(spec.unless, nil)
	spec.pattern.Steps = append(spec.pattern.Steps, entry)
}

func (c *compiler) stepName(spec *stepsSpec, n document.Node, name string) {
	switch {
	case name == "": // reported already
	case !stepName.MatchString(name):
		n.Fail("conditions call the step by it: use lower-case letters, digits and underscores", "%q cannot be the name of a step", name)
	case slices.Contains(expr.Reserved, name):
		n.Fail("", "%q already means something in conditions", name)
	case slices.Contains(spec.names, name), slices.ContainsFunc(spec.unless, func(u *step) bool { return u != nil && u.name == name }):
		n.Fail("", "a second step named %q", name)
	}
}

// turnRoles are those whose turns can be steps. What somebody else can have written is a tool's, whatever it says.
var turnRoles = []string{string(event.RoleUser), string(event.RoleAssistant), string(event.RoleSystem), string(event.RoleTool), "*"}

// stepOn reads patterns: "files/read_*", "result files/*", "signal unknown-*", "turn user", or a list of one kind.
func (c *compiler) stepOn(st *step, n document.Node) {
	for i, item := range n.List(true) {
		text := item.Text()
		kind, pattern, ok := strings.Cut(text, " ")
		if !ok {
			kind, pattern = stepCall, text
		}
		if i > 0 && kind != st.kind {
			item.Fail("write two rules", "a step that waits for a %s or a %s", st.kind, kind)
			return
		}
		st.kind = kind
		switch kind {
		case stepCall, stepResult:
			g, err := parseGlob(strings.TrimSpace(pattern))
			if err != nil && text != "" {
				item.Fail("", "%q: %v", pattern, err)
			}
			st.on = append(st.on, g)
		case stepSignal:
			st.names = append(st.names, strings.TrimSpace(pattern))
		case stepTurn:
			role := strings.TrimSpace(pattern)
			if !slices.Contains(turnRoles, role) {
				item.Fail("want "+strings.Join(turnRoles, ", "), "%q is nobody who speaks", role)
			}
			st.names = append(st.names, role)
		default:
			item.Fail(`write "server/tool", "result server/tool", "signal name" or "turn role"`, "%q is no kind of event", kind)
		}
	}
}

// runs reads "3..", at least so often.
func (c *compiler) runs(n document.Node) int {
	text, ok := strings.CutSuffix(n.Scalar(), "..")
	var count int
	if _, err := fmt.Sscanf(text, "%d", &count); err != nil || !ok || fmt.Sprint(count) != text || count < 2 || count > 1000 {
		n.Fail(`runs: "3.." is three times or more; from 2 to 1000`, "%q is no number of times", n.Scalar())
		return 1
	}
	return count
}

func (c *compiler) unless(spec *stepsSpec, n document.Node) {
	st := c.negative(n, spec)
	i := len(spec.steps) - 1
	switch {
	case i < 0:
		return // reported by the caller
	case spec.require:
		n.Fail("a where that does not hold does the same", "require has no unless")
	case spec.unless[i] != nil:
		n.Fail("on may be a list", "two unless between the same steps")
	}
	spec.unless[i] = st
	spec.pattern.Steps[i].Unless = true
}

// negative compiles an event that must not happen: {name: …, on: …, where: …}. Nobody else can ask about it.
func (c *compiler) negative(n document.Node, spec *stepsSpec) *step {
	st := &step{kind: stepCall, at: n}
	var where document.Node
	has := false
	for _, f := range n.Fields("name", "on", "where") {
		switch f.Name {
		case "name":
			st.name = f.Value.Text()
			c.stepName(spec, f.Value, st.name)
		case "on":
			c.stepOn(st, f.Value)
		case "where":
			where, has = f.Value, true
		}
	}
	if has {
		st.where = c.conditionOn(where, spec, append(slices.Clone(spec.names), st.name))
		noTrail(st.where, where)
	}
	if len(st.on)+len(st.names) == 0 {
		n.Fail("", "want on")
	}
	st.early = st.alone()
	return st
}

// noTrail refuses a condition that asks about the session where it is not about the call that is judged.
func noTrail(p *expr.Program, n document.Node) {
	if p != nil && p.AsksTrail() {
		n.Fail("ask in the last step, or in where next to require", "origin(), asked(), urged() and touched() are about the call being judged")
	}
	if p != nil && p.AsksBaseline() {
		n.Fail("ask in the last step, or in where next to require", "baseline is about the call being judged")
	}
}

// conditionOn compiles a condition that may ask about the named steps.
func (c *compiler) conditionOn(n document.Node, spec *stepsSpec, names []string) *expr.Program {
	known := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" || !stepName.MatchString(s) || slices.Contains(expr.Reserved, s) })
	env, err := c.conditions.With(known)
	if err != nil {
		n.Fail("", "%v", err)
		return nil
	}
	hint := "a condition may ask about its own step and those before it"
	if len(known) > 0 {
		hint += ": " + strings.Join(known, ", ")
	}
	if i := slices.IndexFunc(spec.listed, func(s string) bool { return !slices.Contains(known, s) }); i >= 0 {
		hint += "; not about later ones: " + strings.Join(spec.listed[i:], ", ")
	}
	return c.compileCondition(env, n, hint)
}

// finishSteps completes the pattern with the fields of the rule that stand next to its steps.
func (c *compiler) finishSteps(spec *stepsSpec, n document.Node, fields map[string]document.Node) {
	if by, ok := fields["by"]; ok {
		for _, k := range by.List(true) {
			spec.by = append(spec.by, c.byKey(k))
		}
	}
	if within, ok := fields["within"]; ok {
		spec.pattern.Within = within.Duration(minPer, maxPer)
	} else {
		n.Fail("within: 10m; what happened before that is forgotten", "a rule with steps wants within")
	}
	if until, ok := fields["until"]; ok {
		spec.until = c.negative(until, spec)
		spec.pattern.Until = spec.until.where != nil && !spec.until.early // else it resets the window
		c.checkAsked(spec, n)
	}
}

// checkAsked notes which steps conditions of other steps ask about, and refuses what has no clear meaning: a condition
// on one event that asks about many.
func (c *compiler) checkAsked(spec *stepsSpec, n document.Node) {
	index := func(name string) int { return slices.Index(spec.names, name) }
	note := func(p *expr.Program, own string) {
		if p == nil {
			return
		}
		spec.full = spec.full || len(p.Steps()) > 0
		for _, name := range p.Steps() {
			i := index(name)
			spec.keep = spec.keep || p.AsksResult(name)
			if i < 0 || name == own {
				continue
			}
			spec.pattern.Steps[i].Asked = true
			if spec.pattern.Steps[i].Runs > 1 && (p != spec.last || slices.ContainsFunc(p.Steps(), func(s string) bool { return index(s) > i })) {
				n.Fail("", "only the last step can ask about the repeated step %s, and then about none behind it", name)
			}
		}
	}
	for i := range spec.steps {
		note(spec.steps[i].where, spec.names[i])
		if u := spec.unless[i]; u != nil {
			note(u.where, u.name)
		}
	}
	if spec.until != nil {
		note(spec.until.where, spec.until.name)
	}
	note(spec.last, "")
	if spec.last != nil && len(spec.last.Steps()) > 1 {
		for _, name := range spec.last.Steps() {
			spec.pattern.Steps[index(name)].Sift = true
		}
	}
}

// memo is an event that some rule may ask about, with what is known of it by now.
type memo struct {
	seq   uint64     // of the call; 0 for signals
	at    event.Time // of the call
	step  *expr.Step
	refs  int  // entries of windows that it is in, and one more while it waits
	waits bool // for its result, which will be a step, too
	keep  bool // the content of its result may be asked for
}

type entry = sequence.Entry[*memo]

// maxContent is how many bytes of a result are remembered. Who asks for a longer one cannot decide.
const maxContent = 64 << 10

// newEntry says that m happened at e.
func newEntry(e event.Event, m *memo) entry {
	size := 512 + len(m.step.Args)
	if m.step.Turn != nil {
		size += len(m.step.Turn.Text)
	}
	switch {
	case m.keep && m.step.Result != nil: // it is known how long the content is
		size += len(m.step.Result.Content)
	case m.keep:
		size += maxContent
	}
	return entry{Seq: e.Seq, At: e.At, Size: size, Value: m}
}
