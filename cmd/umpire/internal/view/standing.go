package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules"
)

// Standing formats how a rule stands to an event: its window, its steps, or the parts of its condition. It is empty if there is
// nothing to say: the rule does not fire, is not near, and remembers nothing.
func Standing(s rules.Standing, now time.Time) string {
	if !s.Fires && !s.Near && !s.Remembers() && (s.Window == nil || s.Window.With == "0") {
		return ""
	}
	mark := faint.Render("     ")
	switch {
	case s.Fires:
		mark = red.Render("fires")
	case s.Near:
		mark = yellow.Render("near ")
	}
	var what string
	switch {
	case s.Window != nil:
		what = window(s.Window, now)
	case s.Order != nil:
		what = order(s.Order, now)
	case s.Fires:
		what = Text(s.Why, 200)
	default:
		what = parts(s.Parts)
	}
	return mark + " " + bold.Render(Text(s.Cover.Rule, 60)) + faint.Render(": ") + what
}

func window(w *rules.RateStanding, now time.Time) string {
	of := "calls"
	switch w.Measure {
	case "sum":
		of = Text(w.Of, 60)
	case "distinct":
		of = "different " + Text(w.Of, 60)
	case "in_flight":
		of = "calls in flight"
	}
	out := fmt.Sprintf("%s of %s %s in %s", w.With, w.Limit, of, w.Per)
	if w.By != "" {
		out += " by " + Text(w.By, 120)
	}
	if w.Full {
		out += ", and it can count no more"
	}
	if w.Frees != 0 {
		out += faint.Render(", the oldest leaves at " + Time(w.Frees, now))
	}
	return out
}

func order(o *rules.StepStanding, now time.Time) string {
	var steps []string
	for i, s := range o.Steps {
		text := Text(s.On, 80)
		if s.Runs > 1 {
			text += fmt.Sprintf(" %d times", s.Runs)
		}
		switch {
		case len(s.Events) > 0:
			text += " " + Refs(s.Events)
		case i >= o.Matched:
			text = faint.Render(text)
		}
		steps = append(steps, text)
	}
	out := strings.Join(steps, faint.Render(" -> ")) + faint.Render(", within "+o.Within)
	if o.By != "" {
		out += faint.Render(" by " + Text(o.By, 120))
	}
	if o.Until != 0 {
		out += faint.Render(", until " + Time(o.Until, now))
	}
	if o.Unknown {
		out += ", too much has happened to tell"
	}
	return out
}

// parts formats a condition with what holds of it.
func parts(list []rules.PartOf) string {
	var out []string
	for _, p := range list {
		text := Text(p.Text, 120)
		switch p.Holds {
		case "true":
		case "false":
			text = "not " + text
		default:
			text += " (cannot be decided: " + Text(p.Holds, 80) + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, faint.Render(" and "))
}
