package view

import (
	"fmt"
	"slices"
)

// Case prints that a case of a test was played.
func (p *Printer) Case(file, name string, calls int, passed bool) {
	word := green.Render("ok  ")
	if !passed {
		word = red.Render("FAIL")
	}
	p.Line(word, Text(file+": "+name, 0), faint.Render(fmt.Sprintf("(%d)", calls)))
}

// Differs prints what was expected of a line, and what came of it: what is in one of them alone is marked by - and +. Nth is
// which of them it is, if the line is repeated, else 0.
func (p *Printer) Differs(line string, nth int, want, got []string) {
	if nth > 0 {
		line += fmt.Sprintf(" (the one that is number %d)", nth)
	}
	p.Line("  " + Text(line, 300))
	if len(want) == 0 {
		want = []string{"passes"}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			p.Line("   ", red.Render("- "+Text(w, 500)))
		}
	}
	for _, g := range got {
		if slices.Contains(want, g) {
			p.Line("     ", Text(g, 500))
		} else {
			p.Line("   ", green.Render("+ "+Text(g, 500)))
		}
	}
}

// Attack prints what came of a playbook of a drill.
func (p *Printer) Attack(outcome, playbook, text string) {
	word := fmt.Sprintf("%-14s", outcome)
	switch outcome {
	case "stopped":
		word = green.Render(word)
	case "not stopped":
		word = red.Render(word)
	default:
		word = faint.Render(word)
	}
	p.Line(word, bold.Render(playbook)+":", text)
}
