package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// The most that is shown of an agent. The console and --json have more.
const (
	mostTools  = 20
	mostArgs   = 12
	mostValues = 5
	mostSteps  = 6 // after one tool
	mostNews   = 20
	mostCalls  = 10
	columns    = 100 // that lines of habits take
)

// Habits prints what is normal for an agent, and what it has done lately. With heard, there is a history of that.
func (p *Printer) Habits(h *baseline.Habits, heard bool) {
	words, style := "calls are compared with it", green
	switch {
	case h.Missing == "":
	case !h.Known && h.Group == "":
		words, style = within(h.Missing, 200), yellow
	case h.Group != "":
		words, style = "not yet: "+within(h.Missing, 120)+"; compared with "+within(h.Group, 80), yellow
	default:
		words, style = "too little is known: "+within(h.Missing, 200), yellow
	}
	state := strings.Fields(words)
	for i := range state {
		state[i] = style.Render(state[i])
	}
	if h.Known {
		days := int(h.Until.Sub(h.From)/(24*time.Hour)) + 1
		p.folded(bold.Render(within(h.Agent, 60))+" ", "  ", " ", append(strings.Fields(fmt.Sprintf("%d sessions with %d calls on %d of %d days, from %s;", h.Sessions, h.Calls, h.Evidence.Days, days, h.From.Time().Format(time.DateOnly))), state...))
	} else {
		p.folded(bold.Render(within(h.Agent, 60))+" ", "  ", " ", state)
	}
	if h.Full {
		p.Line(" ", yellow.Render("there was more than there is room for: what found none counts as never seen"))
	}
	p.rates(h, heard)
	p.steps(&h.Graph)
	for i := range h.Tools {
		if i == mostTools {
			p.Line(fmt.Sprintf("  … and %d more tools", len(h.Tools)-mostTools))
			break
		}
		p.habit(&h.Tools[i])
	}
	if heard {
		p.lately(&h.Summary)
	}
}

// rates prints how many calls there were on each of the last days, and how many are usual.
func (p *Printer) rates(h *baseline.Habits, heard bool) {
	rows := [][]string{{"  AT MOST, BY SESSION", "P5", "P50", "P99", "MAX"}}
	if heard {
		rows[0] = append(rows[0], fmt.Sprintf("LAST %d DAYS (UTC)", len(h.Days)), "THIS WEEK")
	}
	for i, b := range h.Rates {
		row := []string{"  " + b.What, fmt.Sprint(b.P5), fmt.Sprint(b.P50), fmt.Sprint(b.P99), fmt.Sprint(b.Most)}
		if b.N == 0 {
			row = []string{"  " + b.What, "–", "–", "–", "–"}
		}
		if heard {
			enough := h.Known && h.Missing == ""
			row = append(row, sparkline(h.Days, i, b, enough), week(h.Days[len(h.Days)-baseline.WeekDays:], i, b, enough))
		}
		rows = append(rows, row)
	}
	for _, b := range h.Other {
		if b.N > 0 {
			row := []string{"  " + b.What, fmt.Sprint(b.P5), fmt.Sprint(b.P50), fmt.Sprint(b.P99), fmt.Sprint(b.Most)}
			if heard {
				row = append(row, "", "")
			}
			rows = append(rows, row)
		}
	}
	p.Table(rows)
	if h.Gap.N > 0 {
		p.Line("  shortest gap between two calls of a session:", short(h.Gap.P1), "(p1),", short(h.Gap.P50), "(p50)")
	}
	if h.Known {
		p.Line("  hours of the day (UTC)", bars(h.Hours[:]), faint.Render("0 … 23"))
	}
	if heard && h.Week.Calls > 0 {
		p.Line("              this week ", bars(h.Week.Hours[:]), faint.Render(fmt.Sprintf("calls: %d, stopped: %d, strange: %d", h.Week.Calls, h.Week.Stopped, h.Week.Strange)))
	}
}

// sparkline draws a number of each day; one beyond all that were learned stands out where there are colours, if enough is known.
func sparkline(days []baseline.Day, rate int, b baseline.Band, enough bool) string {
	list := make([]int64, len(days))
	for i, d := range days {
		list[i] = d.Most[rate]
	}
	var out strings.Builder
	for i, r := range []rune(bars(list)) {
		if style := yellow; enough && list[i] > b.Most {
			out.WriteString(style.Render(string(r)))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// week says how far the numbers of a week went.
func week(days []baseline.Day, rate int, b baseline.Band, enough bool) string {
	most, on := int64(0), ""
	for _, d := range days {
		if d.Most[rate] > most {
			most, on = d.Most[rate], d.Date
		}
	}
	switch {
	case most == 0:
		return "–"
	case enough && most > b.Most:
		return yellow.Render(fmt.Sprintf("%d on %s, beyond all", most, on[len("2006-"):]))
	}
	return fmt.Sprint(most)
}

// steps prints what comes after what.
func (p *Printer) steps(g *baseline.Graph) {
	for i := range g.Nodes {
		var edges []baseline.Edge
		for _, e := range g.Edges {
			if e.From == i {
				edges = append(edges, e)
			}
		}
		if len(edges) == 0 {
			continue
		}
		name := "the beginning of a session"
		if i > 0 {
			name = within(g.Nodes[i].Tool, 70)
		}
		p.Line("  after", name)
		shown := 0
		for _, e := range edges {
			to := fmt.Sprintf("%-50s", within(g.Nodes[e.To].Tool, 50))
			switch {
			case e.New:
				p.Line("   ", yellow.Render("+ "+to+" new"), happened(e.Times, e.Stopped, e.Seq))
			case shown < mostSteps:
				p.Line("     ", to, percent(e.PerMille))
				shown++
			}
		}
		if more := len(edges) - shown - count(edges, func(e baseline.Edge) bool { return e.New }); more > 0 {
			p.Line(faint.Render(fmt.Sprintf("      … and %d more", more)))
		}
	}
	if g.MoreNodes+g.MoreEdges > 0 {
		p.Line(faint.Render(fmt.Sprintf("  … and %d more tools, %d more orders", g.MoreNodes, g.MoreEdges)))
	}
}

func count[T any](list []T, is func(T) bool) (n int) {
	for _, x := range list {
		if is(x) {
			n++
		}
	}
	return n
}

// percent formats thousandths.
func percent(perMille int64) string {
	if perMille > 0 && perMille < 10 {
		return "<1 %"
	}
	return fmt.Sprintf("%d %%", perMille/10)
}

// happened says how often something did.
func happened(times, stopped int64, seq uint64) string {
	out := strconv.FormatInt(times, 10) + " times"
	if times == 1 {
		out = "once"
	}
	switch {
	case stopped == 0:
	case stopped == times && times == 1:
		out += ", stopped"
	default:
		out += fmt.Sprintf(", %d stopped", stopped)
	}
	return out + ", first " + Ref(seq)
}

func (p *Printer) habit(t *baseline.ToolHabit) {
	p.folded("  "+bold.Render(within(ASCII(t.Tool, 80), 60))+" ", "      ", " ", strings.Fields(fmt.Sprintf("%d calls in %d sessions; in one p50 %d, p99 %d", t.Calls, t.Sessions, t.Rate.P50, t.Rate.P99)))
	for i := range t.Args {
		if i == mostArgs {
			p.Line(fmt.Sprintf("      … and %d more arguments", len(t.Args)+t.More-mostArgs))
			break
		}
		x := &t.Args[i]
		parts := []string{shares(x.Types, 2)}
		switch {
		case x.Number != nil:
			parts = append(parts, fmt.Sprintf("%s to %s (p1 to p99; %s to %s at all)", thousandths(x.Number.P1), thousandths(x.Number.P99), thousandths(x.Number.Least), thousandths(x.Number.Most)), marks(x.Number.Bars))
		case !x.Values.Open:
			parts = append(parts, shares(x.Values, mostValues))
		default:
			parts = append(parts, "like "+shares(x.Forms, 3))
		}
		if len(x.From.List) > 0 {
			parts = append(parts, "from "+shares(x.From, 3))
		}
		parts = append(parts, fmt.Sprintf("%d of %d sessions; different in one: p99 %d", x.Sessions, t.Sessions, x.Distinct.P99))
		p.folded("      "+within(ASCII(x.Path, 60), 40)+": ", "        ", ", ", parts)
		for _, n := range x.News {
			p.folded("    "+yellow.Render("+ new: "), "        ", " ", append(strings.Fields(within(n.Text, 200)), faint.Render("("+happened(n.Times, n.Stopped, n.Seq)+")")))
		}
	}
}

// folded prints parts in lines that are no longer than they may be.
func (p *Printer) folded(head, indent, between string, parts []string) {
	line, empty, wide := head, true, columns-len(strings.TrimRight(between, " "))
	for i, part := range slices.DeleteFunc(parts, func(s string) bool { return s == "" }) {
		switch {
		case i == 0 || empty:
			line += fits(part, wide-lipgloss.Width(line))
			empty = false
			continue
		case lipgloss.Width(line+between+part) <= wide:
			line += between
		default:
			p.Line(line + strings.TrimRight(between, " "))
			line = indent
		}
		line += fits(part, wide-lipgloss.Width(line))
	}
	p.Line(line)
}

// fits cuts what is wider than that, and has no place where a line can break.
func fits(s string, most int) string {
	if lipgloss.Width(s) <= most {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if most -= lipgloss.Width(string(r)); most < 1 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

// within makes what came from elsewhere safe, and no wider than so many columns.
func within(s string, most int) string { return fits(Text(s, most), most) }

// lately prints what is new this week, and which calls of it were strange.
func (p *Printer) lately(s *baseline.Summary) {
	day := func(at event.Time) string { return at.Time().Format("2 Jan") }
	span := fmt.Sprintf("(%s to %s, UTC)", day(s.Week.From), day(s.Week.Until))
	if len(s.News) == 0 {
		p.Line("  nothing is new this week", faint.Render(span))
	} else {
		p.Line("  new this week", faint.Render(span))
	}
	for i, x := range s.News {
		if i == mostNews {
			p.Line(fmt.Sprintf("      … and %d more", len(s.News)-mostNews))
			break
		}
		tail := happened(x.Times, x.Stopped, x.Seq) + " on " + day(x.At)
		if x.Older {
			tail += "; another baseline is in force since"
		}
		p.folded(fmt.Sprintf("    %-10s", x.Kind), strings.Repeat(" ", 14), " ", append(strings.Fields(within(x.Text, 300)), faint.Render("("+tail+")")))
	}
	if s.Unnamed > 0 {
		p.Line(yellow.Render(fmt.Sprintf("      … and %d times something else, of which there was too much to list", s.Unnamed)))
	}
	for _, d := range s.Drifts {
		p.folded("    "+yellow.Render("drift     "), strings.Repeat(" ", 14), " ", append(strings.Fields(within(d.Text, 300)), faint.Render("("+Ref(d.Seq)+" on "+day(d.At)+")")))
	}
	if len(s.Strange) > 0 {
		p.Line("  stranger than 999 of 1000 honest calls this week", faint.Render("(umpire show CALL says why)"))
	}
	for i, x := range s.Strange {
		if i == mostCalls {
			p.Line(fmt.Sprintf("      … and %d more", len(s.Strange)-mostCalls))
			break
		}
		words := append([]string{day(x.At), within(x.Tool, 60)}, strings.Fields(within(x.Text, 200))...)
		if x.Times > 1 {
			words = append(words, faint.Render(fmt.Sprintf("(the strangest of %d in a row)", x.Times)))
		}
		p.folded(fmt.Sprintf("    %-7s %s ", Ref(x.Seq), Action(x.Action)), strings.Repeat(" ", 14), " ", words)
	}
}

// shares formats the most frequent names, and how frequent they are.
func shares(t baseline.Names, most int) string {
	if t.Open {
		return "anything"
	}
	var out []string
	for i, n := range t.List {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(t.List)+t.More-most))
			break
		}
		share := ""
		if len(t.List) > 1 {
			share = fmt.Sprintf(" %d %%", 100*n.Sessions/max(t.Of, 1))
		}
		out = append(out, within(n.Name, 40)+share)
	}
	return strings.Join(out, " · ")
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// bars draws numbers as high as they are.
func bars(list []int64) string {
	highest := max(slices.Max(list), 1)
	var b strings.Builder
	for _, n := range list {
		if n == 0 {
			b.WriteRune('·')
			continue
		}
		i := (n*int64(len(blocks)-1) + highest - 1) / highest
		b.WriteRune(blocks[i])
	}
	return b.String()
}

// marks draws the bars of a spread.
func marks(list []baseline.Bar) string {
	if len(list) < 2 {
		return ""
	}
	n := make([]int64, len(list))
	for i, b := range list {
		n[i] = b.N
	}
	return bars(n)
}

// short formats milliseconds.
func short(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

// thousandths formats a number of them.
func thousandths(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%s%d.%03d", sign, n/1000, n%1000), "0"), ".")
}
