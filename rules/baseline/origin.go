package baseline

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// Where values come from is a habit: the account that is paid is one that the user has named, and the address of a customer what the
// CRM says. It is learned in sessions of which all is known that the user said in them, and in no other: that nothing was heard
// is no evidence that nothing was said. A call is compared with that habit wherever something is known of its values. In a
// session whose user is not heard that is only what stands in a result; that a value stands nowhere says nothing there.

// Trail is what a session remembers of what was said in it.
type Trail interface {
	// Heard reports whether it has heard the user, and remembers all that the user has said.
	Heard() bool
	// Each says of each value where it can have come from.
	Each(values []string) []lineage.Origin
}

// Trails are those of all sessions. They have one owner, which feeds them every event in order.
type Trails interface {
	Apply(e event.Event)
	// Of returns the trail of the session of e as it is at its time.
	Of(e event.Event) Trail
}

// Where a value came from that is no result of a tool. The names of those are "server/tool", so that none of them is one of these.
const (
	FromUser    = "user"          // the user said it
	FromSystem  = "configuration" // trusted configuration says it
	FromNowhere = "nowhere"       // it stands nowhere: the model made it up
	FromLost    = "forgotten"     // it stands nowhere, but something was said that is not remembered
	FromBeyond  = "untraced"      // nobody looked: the call has more values, or longer ones, than are traced
	fromTurn    = "turn of the "  // of a role, other than the user: it stands in what that said
)

// The bounds of what is traced. What is shorter stands anywhere by chance. What goes beyond the others counts as FromBeyond, so that
// nobody hides a value behind many or within a long one.
const (
	minTraced  = 5 // bytes
	maxTraced  = 1 << 10
	maxTraces  = 16 // values of a call
	maxSources = 4  // of a value
)

// minOrigins is how many sessions make a habit.
const minOrigins = 10

// origin is where a value came from, and what says so.
type origin struct {
	class  string
	source lineage.Source // zero for what is none
	value  string         // that came from there
}

// traceable reports whether one can tell where a value came from: dates are said in other words, and what is short, or one of a few
// words, stands in any text.
func (f *field) traceable() bool {
	switch f.kind {
	case "string", "secret": // of a secret, what is stored: equal for equal ones
		return len(f.text) >= minTraced && !timed(f.text)
	case "number":
		return len(f.text) > minTraced && !strings.ContainsAny(f.text, ".eE-") // an account, and no amount
	}
	return false
}

// timed reports whether a text is a date, or a time of one.
func timed(s string) bool {
	n := len("2006-01-02")
	return dated(s) || len(s) > n && dated(s[:n]) && strings.Trim(s[n:], "T :.+-Z0123456789") == ""
}

// trace finds out where the values came from of which wanted says so, and nothing is known yet.
func (l *look) trace(wanted func(f *fieldLook) bool) {
	if l.trail == nil {
		return
	}
	var values []string
	var fields []*fieldLook
	heard := l.trail.Heard()
	for i := range l.fields {
		f := &l.fields[i]
		if f.traced || !f.traceable() || !wanted(f) {
			continue
		}
		if f.traced = true; len(f.text) > maxTraced || l.traced >= maxTraces {
			if heard {
				f.from = []origin{{class: FromBeyond}}
			}
			continue
		}
		l.traced++
		values, fields = append(values, f.text), append(fields, f)
	}
	if len(values) == 0 {
		return
	}
	for i, o := range l.trail.Each(values) {
		f := fields[i]
		f.from = originsOf(&o, heard)
		for k := range f.from {
			f.from[k].value = f.text
		}
	}
}

// origins are those of the values of calls, so that nobody has to look for them again. The zero value has none.
type origins struct {
	of      map[uint64][]placed // by call
	classes []string
	numbers map[string]uint16 // of classes
}

// placed is where the value of a field came from.
type placed struct{ field, class uint16 }

// keep keeps what is known of the values of a call, if nothing was left out.
func (o *origins) keep(call uint64, l *look) {
	if l.traced >= maxTraces {
		return
	}
	if o.of == nil {
		o.of, o.numbers = map[uint64][]placed{}, map[string]uint16{}
	}
	var list []placed
	for i := range l.fields {
		for _, from := range l.fields[i].from {
			n, known := o.numbers[from.class]
			if !known {
				if len(o.classes) > math.MaxUint16 {
					return
				}
				n = uint16(len(o.classes))
				o.classes, o.numbers[from.class] = append(o.classes, from.class), n
			}
			list = append(list, placed{uint16(i), n})
		}
	}
	o.of[call] = list
}

// recall puts into l what is known of the values of a call.
func (o *origins) recall(call uint64, l *look) {
	list, known := o.of[call]
	if !known || l.trail == nil {
		return
	}
	for i := range l.fields {
		l.fields[i].traced = true
	}
	for _, p := range list {
		f := &l.fields[p.field]
		f.from = append(f.from, origin{class: o.classes[p.class]})
	}
}

// originsOf returns where a value came from; nothing if that is not known. What the user said came from there, whoever else said it.
func originsOf(o *lineage.Origin, heard bool) (out []origin) {
	switch {
	case o.Said:
		return []origin{{class: FromUser}}
	case o.Set:
		return []origin{{class: FromSystem}}
	case len(o.Sources) > 0:
		for _, s := range o.Sources {
			x := origin{class: s.Server + "/" + s.Tool, source: s}
			if s.Server == "" {
				x.class = fromTurn + s.Tool
			}
			if len(out) < maxSources && !slices.ContainsFunc(out, func(y origin) bool { return y.class == x.class }) {
				out = append(out, x)
			}
		}
		return out
	case !heard:
	case o.Lost:
		return []origin{{class: FromLost}}
	case o.Model:
		return []origin{{class: FromNowhere}}
	}
	return nil
}

// habit reports whether enough is known of where the values of an argument come from.
func (x *Arg) habit() bool { return !x.From.Open && x.From.all >= minOrigins }

// Follows reports whether b knows of any argument where its values come from. If it does not, nobody has to remember what was said.
func (b *Baseline) Follows() bool {
	return slices.ContainsFunc(slices.Concat(b.Agents, b.Groups), func(a *Agent) bool {
		for _, t := range a.Tools {
			for _, x := range t.Args {
				if x.habit() {
					return true
				}
			}
		}
		return false
	})
}

// origins compares where values came from with where they usually do. A value that the argument is known for needs no origin.
func (j *judgement) origins() {
	l, t := j.look, j.tool
	if l.trail == nil {
		return
	}
	compared := func(f *fieldLook) bool {
		x := t.Args[f.path]
		return x != nil && x.habit() && (x.Values.Open || x.Values.Seen[f.value()] == 0)
	}
	l.trace(compared)
	for i := range l.fields {
		f := &l.fields[i]
		if len(f.from) == 0 || !compared(f) {
			continue
		}
		x := t.Args[f.path]
		for k := range f.from {
			from := &f.from[k]
			if from.class == FromUser || from.class == FromSystem { // who gives the orders may say anything
				continue
			}
			if b, known := x.From.of(from.class); !known || b > bit {
				j.note(Origin, b, reason{kind: newOrigin, name: f.path, text: from.class, from: from, tally: &x.From})
			}
		}
	}
}

// usually returns whence most values came, and in how many sessions.
func (t *Tally) usually() (class string, n int64) {
	for _, name := range sorted(t.Seen) {
		if t.Seen[name] > n {
			class, n = name, t.Seen[name]
		}
	}
	return class, n
}

// OriginWords says in words where a value came from, by what From counts: "the user", "the result of web/fetch".
func OriginWords(from string) string {
	switch from {
	case FromUser:
		return "the user"
	case FromSystem:
		return "the configuration"
	case FromNowhere:
		return "nowhere: the model made it up"
	case FromLost:
		return "what is not remembered"
	case FromBeyond:
		return "where nobody looked, since it is too long or one of too many"
	}
	if role, ok := strings.CutPrefix(from, fromTurn); ok && !strings.Contains(from, "/") {
		return "a turn of the " + shown(role, maxShown)
	}
	return "the result of " + shown(from, maxShown)
}

// sayOrigin writes where a value came from, and where such values usually do.
func (r *reason) sayOrigin() string {
	at := ""
	if r.from.source.Seq != 0 {
		at = fmt.Sprintf(" (#%d)", r.from.source.Seq)
	}
	usual, n := r.tally.usually()
	text := fmt.Sprintf("%s came from %s%s; in ", r.name, OriginWords(r.from.class), at)
	if n < r.tally.all {
		text += number(n) + " of "
	}
	text += fmt.Sprintf("%s it came from %s", sessions(r.tally.all), OriginWords(usual))
	if rare := r.tally.Seen[r.from.class]; rare > 0 {
		text += fmt.Sprintf(", in %s as here", number(rare))
	}
	return text
}
