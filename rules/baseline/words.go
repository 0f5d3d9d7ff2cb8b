package baseline

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/lineage"
)

// reason is why a call surprises, in numbers. Which of them are used, the kind says.
type reason struct {
	kind  kind
	value int64
	more  int64
	waits int64 // sessions in which it was, which were too few to be known
	n, of int64
	name  string
	text  string
	span  string
	h     *Histogram
	from  *origin // and the habit from which it differs
	tally *Tally
}

type kind uint8

const (
	newServer kind = iota
	newTool
	newNext
	newPair
	rareNext
	newEffect
	rareHour
	tooMany
	anyMany
	tooGreat
	tooSoon
	tooEven
	newKeys
	newArg
	newType
	newForm
	newValue
	rareValue
	outOfRange
	swept
	newOrigin
)

// Deviation is one reason why a call is strange.
type Deviation struct {
	Signal Signal
	Bits   Bits // how surprising it is by itself, before anything is known of how surprising honest calls are
	Text   string
	// Of a value that came from elsewhere: the value, and what it came from; zero for nothing.
	Value  string
	Source lineage.Source
}

// say writes a reason as a sentence.
func (r *reason) say(l *look) string {
	quote := func(s string) string { return strconv.Quote(shown(s, maxShown)) }
	if r.waits > 0 {
		return r.waiting(l, quote)
	}
	switch r.kind {
	case newServer:
		return fmt.Sprintf("first use of server %s in %s", quote(l.server), sessions(r.n+1))
	case newTool:
		return fmt.Sprintf("first use of %s in %s", l.tool, sessions(r.n+1))
	case newNext:
		if l.before[0] == "" {
			return fmt.Sprintf("first time that a session begins with %s (%s)", l.tool, sessions(r.n))
		}
		return fmt.Sprintf("first time %s follows %s (%s)", l.tool, l.before[0], sessions(r.n))
	case newPair:
		return fmt.Sprintf("first time %s follows %s and %s (%s)", l.tool, l.before[1], l.before[0], sessions(r.n))
	case rareNext:
		after := l.before[0]
		if after == "" {
			return fmt.Sprintf("%d of %s began with %s", r.n, sessions(r.of), l.tool)
		}
		return fmt.Sprintf("%s followed %s in %d of %s", l.tool, after, r.n, sessions(r.of))
	case newEffect:
		return fmt.Sprintf("first use of a tool that can %s (%s)", quote(r.name), sessions(r.n))
	case rareHour:
		return fmt.Sprintf("%s at %02d:00 to %02d:59 UTC; %d of %s hours of activity were", "active", r.value, r.value, r.n, number(r.of))
	case tooMany:
		return fmt.Sprintf("%s %s in %s; %s", number(r.value), r.name, r.span, r.usual())
	case anyMany:
		what, _, _ := strings.Cut(r.name, " ")
		of := map[string]string{"calls": "of any tool", "distinct": "of any argument"}[what]
		return fmt.Sprintf("%s %s in %s; %s p99 over %s is %s", number(r.value), r.name, r.span, of, number(r.h.Total()), number(r.h.Quantile(990)))
	case tooGreat:
		return fmt.Sprintf("%s %s; %s", number(r.value), r.name, r.usual())
	case tooSoon:
		return fmt.Sprintf("%s after the call before; the shortest gap over %s is %s", span(r.value), sessions(r.h.Total()), span(r.h.Quantile(1)))
	case tooEven:
		text := fmt.Sprintf("machine-regular: the last %d gaps between calls of %s are %s, within %d.%d %%", gaps, l.tool, span(r.value), r.more/10, r.more%10)
		if r.h.Total() > 0 {
			least := r.h.Quantile(1)
			text += fmt.Sprintf("; they differed by %d.%d %% or more over %s", least/10, least%10, sessions(r.h.Total()))
		}
		return text
	case newKeys:
		return fmt.Sprintf("arguments %s were never sent together (%s)", quote(r.name), sessions(r.n))
	case newArg:
		return fmt.Sprintf("argument %s is new (%s)", quote(r.name), sessions(r.n))
	case newType:
		return fmt.Sprintf("%s was never a %s (%s)", r.name, r.text, sessions(r.n))
	case newForm:
		return fmt.Sprintf("%s never had the form %s (%s)", r.name, quote(r.text), sessions(r.n))
	case newValue:
		if r.of == 1 {
			return fmt.Sprintf("%s is %s; it was one and the same value in %s", r.name, quote(r.text), sessions(r.n))
		}
		return fmt.Sprintf("%s is %s, none of the %d values of %s", r.name, quote(r.text), r.of, sessions(r.n))
	case rareValue:
		return fmt.Sprintf("%s is %s in %d of %s", r.name, quote(r.text), r.n, sessions(r.of))
	case outOfRange:
		return fmt.Sprintf("%s %s; %s to %s are usual (p1 to p99 of %s)", r.name, milli(r.value), milli(r.h.Quantile(10)), milli(r.h.Quantile(990)), sessions(r.h.Total()))
	case swept:
		return fmt.Sprintf("%s goes up or down in small steps for %d calls in a row, over all sessions; %s", r.name, r.value, r.usual())
	case newOrigin:
		return r.sayOrigin()
	}
	return ""
}

// waiting is say of what is new, but was seen.
func (r *reason) waiting(l *look, quote func(string) string) string {
	what := ""
	switch r.kind {
	case newServer:
		what = "server " + quote(l.server) + " was used"
	case newTool:
		what = l.tool + " was used"
	case newNext:
		if what = l.tool + " followed " + l.before[0]; l.before[0] == "" {
			what = l.tool + " came first"
		}
	case newPair:
		what = l.tool + " followed " + l.before[1] + " and " + l.before[0]
	case newEffect:
		what = "a tool that can " + quote(r.name) + " was used"
	case newKeys:
		what = "arguments " + quote(r.name) + " were sent together"
	case newType:
		what = r.name + " was a " + r.text
	case newForm:
		what = r.name + " had the form " + quote(r.text)
	default:
		what = r.name + " was " + quote(r.text)
	}
	return fmt.Sprintf("%s in %s, too few to be known", what, sessions(r.waits))
}

// usual says what a number is compared with.
func (r *reason) usual() string {
	n := r.h.Total()
	if n == 0 {
		return "there is nothing to compare it with"
	}
	return fmt.Sprintf("p99 over %s is %s", sessions(n), number(r.h.Quantile(990)))
}

func sessions(n int64) string {
	if n == 1 {
		return "1 session"
	}
	return number(n) + " sessions"
}

// number formats n with commas.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// milli formats thousandths.
func milli(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%s%s.%03d", sign, number(n/1000), n%1000), "0"), ".")
}

// span formats milliseconds.
func span(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
