package view

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// Picture prints why a call is as strange as it is: its reasons in words, and the strongest one that has a figure as that.
func (p *Printer) Picture(x *baseline.Picture) {
	const indent = "             "
	head := func(name string) string { return faint.Render(fmt.Sprintf("  %-11s", name)) }
	if x.Of == "" {
		p.folded(head("habits"), indent, " ", strings.Fields("nobody can tell how strange it is: "+within(x.Why, 300)))
		return
	}
	of := within(x.Of, 80)
	if x.Members > 0 {
		of = fmt.Sprintf("%d %s", x.Members, of)
	}
	words := fmt.Sprintf("stranger than %s of honest calls;", x.Than)
	if x.Strange {
		words = yellow.Render(words)
	}
	p.folded(head("habits"), indent, " ", append([]string{words}, strings.Fields(fmt.Sprintf("learned from %d of %s (baseline %.12s)", x.Honest, of, x.Digest))...))
	if x.Why != "" {
		p.folded(indent, indent, " ", strings.Fields("compared with others, since "+within(x.Why, 300)))
	}
	if x.Short {
		p.Line(indent + "too much was recorded in the week before: only the last part of it was looked at")
	}
	if len(x.Signals) > 0 {
		var parts []string
		for _, s := range x.Signals {
			parts = append(parts, s.Signal+" "+s.Than)
		}
		p.folded(head("signals"), indent, " · ", parts)
	}
	drawn := false
	for _, r := range x.Reasons {
		p.folded(head(r.Signal), indent, " ", strings.Fields(within(r.Text, 300)))
		if r.Figure != nil && !drawn {
			p.figure(indent, r.Figure)
			drawn = true
		}
	}
	if len(x.Reasons) == 0 {
		p.Line(indent + "nothing about it is strange by itself")
	}
}

// figure prints bars, and marks the call's own.
func (p *Printer) figure(indent string, f *baseline.Figure) {
	p.folded(faint.Render(indent+"  "), indent+"  ", " ", strings.Fields(faint.Render(within(f.Title, 200))))
	list := make([]int64, len(f.Bars))
	wide := 0
	for i, b := range f.Bars {
		list[i] = b.N
		wide = max(wide, lipgloss.Width(within(b.Label, 40)))
	}
	if len(list) == 0 {
		return
	}
	if f.Kind == baseline.Clock {
		own := slices.IndexFunc(f.Bars, func(b baseline.Bar) bool { return b.Mark })
		p.Line(indent + "  " + bars(list) + faint.Render(" 0 … 23"))
		if own >= 0 {
			p.Line(indent + "  " + strings.Repeat(" ", own) + yellow.Render("^ this call"))
		}
		return
	}
	const longest = 30
	most := max(slices.Max(list), 1)
	for _, b := range f.Bars {
		label := within(b.Label, 40)
		line := "  " + label + strings.Repeat(" ", wide-lipgloss.Width(label)+1)
		switch n := int(b.N * longest / most); {
		case f.Kind == baseline.Series:
			line += strings.Repeat("█", max(n, 1)) + " " + faint.Render(Ref(b.Seq))
		case b.N == 0:
			line += "never"
		default:
			line += strings.Repeat("█", max(n, 1)) + fmt.Sprintf(" %d", b.N)
		}
		if b.Mark {
			line = yellow.Render(">" + line[1:] + "  this call")
		}
		p.Line(indent + line)
	}
	if f.More > 0 {
		p.Line(indent + faint.Render(fmt.Sprintf("  … and %d more", f.More)))
	}
}
