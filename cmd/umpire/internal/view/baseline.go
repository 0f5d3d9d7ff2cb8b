package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// The most that is shown of an agent.
const (
	mostTools  = 20
	mostArgs   = 12
	mostValues = 5
)

// Habits prints what is normal for an agent.
func (p *Printer) Habits(a *baseline.Agent) {
	days := int(a.Until.Sub(a.From)/(24*time.Hour)) + 1
	state := green.Render("calls are compared with it")
	if why := a.Missing(); why != "" {
		state = yellow.Render("too little is known: " + why)
	}
	p.Line(bold.Render(Text(a.Name, 60)), fmt.Sprintf("%d sessions with %d calls on %d of %d days, from %s;", a.Sessions, a.Calls, len(a.Days), days, a.From.Time().Format(time.DateOnly)), state)
	if a.Full {
		p.Line(" ", yellow.Render("there was more than there is room for: what found none counts as never seen"))
	}
	p.Line("  hours of the day (UTC)", bars(a.Hours[:]), faint.Render("0 … 23"))
	rows := [][]string{{"  PER SESSION, AT MOST", "P50", "P99", "MAX", ""}}
	row := func(name string, h *baseline.Histogram) {
		if len(h.Counts) > 0 {
			rows = append(rows, []string{"  " + name, fmt.Sprint(h.Quantile(500)), fmt.Sprint(h.Quantile(990)), fmt.Sprint(h.Max()), spread(h)})
		}
	}
	row("calls", &a.Session)
	row("calls in 10s", &a.TenSeconds)
	row("calls in 10m", &a.TenMinutes)
	row("calls in 24h", &a.Day)
	row("failures", &a.Failed)
	row("bytes of results", &a.Read)
	p.Table(rows)
	if len(a.Gap.Counts) > 0 {
		p.Line("  shortest gap between two calls of a session:", short(a.Gap.Quantile(10)), "(p1),", short(a.Gap.Quantile(500)), "(p50)")
	}
	p.steps(a)
	names := slices.SortedFunc(maps.Keys(a.Tools), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.Tools[y].Calls, a.Tools[x].Calls), cmp.Compare(x, y))
	})
	for i, name := range names {
		if i == mostTools {
			p.Line(fmt.Sprintf("  … and %d more tools", len(names)-mostTools))
			break
		}
		p.habit(name, a.Tools[name])
	}
}

// steps prints what follows what.
func (p *Printer) steps(a *baseline.Agent) {
	for _, before := range slices.Sorted(maps.Keys(a.Next)) {
		name := Text(before, 60)
		if before == "" {
			name = "at the beginning"
		}
		p.Line("  after", faint.Render(name)+":", shares(a.Next[before], mostValues))
	}
}

func (p *Printer) habit(name string, t *baseline.Tool) {
	p.Line(" ", bold.Render(ASCII(name, 80)), fmt.Sprintf("%d calls in %d sessions; in one p50 %d, p99 %d", t.Calls, t.Sessions, t.Session.Quantile(500), t.Session.Quantile(990)))
	paths := slices.Sorted(maps.Keys(t.Args))
	for i, path := range paths {
		if i == mostArgs {
			p.Line(fmt.Sprintf("      … and %d more arguments", len(paths)-mostArgs))
			break
		}
		x := t.Args[path]
		parts := []string{shares(&x.Types, 2)}
		switch {
		case len(x.Number.Counts) > 0:
			parts = append(parts, fmt.Sprintf("%s to %s", thousandths(x.Number.Quantile(10)), thousandths(x.Number.Quantile(990))), spread(&x.Number))
		case !x.Values.Open:
			parts = append(parts, shares(&x.Values, mostValues))
		default:
			parts = append(parts, "like "+shares(&x.Forms, 3))
		}
		parts = append(parts, faint.Render(fmt.Sprintf("%d of %d sessions; different in one: p99 %d", x.Sessions, t.Sessions, x.Distinct.Quantile(990))))
		p.Line("     ", ASCII(path, 60)+":", strings.Join(parts, ", "))
	}
}

// shares formats the most frequent names, and how frequent they are.
func shares(t *baseline.Tally, most int) string {
	if t.Open {
		return "anything"
	}
	names := slices.SortedFunc(maps.Keys(t.Seen), func(x, y string) int {
		return cmp.Or(cmp.Compare(t.Seen[y], t.Seen[x]), cmp.Compare(x, y))
	})
	var out []string
	for i, n := range names {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		share := ""
		if len(names) > 1 {
			share = fmt.Sprintf(" %d %%", 100*t.Seen[n]/max(t.Total(), 1))
		}
		out = append(out, Text(n, 50)+share)
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

// spread draws how often numbers are, in ten parts from the least to the greatest.
func spread(h *baseline.Histogram) string {
	if len(h.Counts) < 2 {
		return ""
	}
	const parts = 10
	least := h.Counts[0][0]
	width := max((h.Max()-least)/parts+1, 1)
	list := make([]int64, min(parts, (h.Max()-least)/width+1))
	for _, c := range h.Counts {
		list[(c[0]-least)/width] += c[1]
	}
	return bars(list)
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
