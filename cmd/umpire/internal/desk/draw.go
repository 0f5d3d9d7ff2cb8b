package desk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

var (
	bold   = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	v.WindowTitle = fmt.Sprintf("umpire review: %d on hold", m.waiting())
	if m.width > 0 && m.height > 0 {
		v.Content = strings.Join(m.draw(), "\n")
	}
	return v
}

// draw returns as many lines as the terminal has, none of them wider than it is.
func (m *model) draw() []string {
	lines := []string{m.head()}
	foot := m.foot()
	said := m.said[max(0, len(m.said)-min(3, m.height/8)):]
	m.room = m.height - len(lines) - len(foot) - len(said)
	switch {
	case m.mode == helping:
		lines = append(append(lines, m.bar()), help...)
	case len(m.rows) == 0:
		lines = append(lines, m.bar(), "")
		for _, l := range m.empty() {
			lines = append(lines, "  "+l)
		}
	default:
		list := m.list(max(1, (m.room-2)/3))
		lines = append(append(append(lines, m.bar()), list...), m.bar())
		m.room = max(0, m.height-len(lines)-len(foot)-len(said))
		lines = append(lines, m.story(m.room)...)
	}
	end := max(0, m.height-len(foot)-len(said))
	for len(lines) < end {
		lines = append(lines, "")
	}
	lines = append(lines[:min(len(lines), end)], append(said, foot...)...)
	lines = lines[max(0, len(lines)-m.height):]
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	return lines
}

func (m *model) waiting() (n int) {
	for _, r := range m.rows {
		if r.ended == "" {
			n++
		}
	}
	return n
}

func (m *model) head() string {
	left := " " + bold.Render("umpire review")
	right := fmt.Sprintf("%d on hold ", m.waiting())
	if !m.there {
		right = red.Render(m.trouble) + "; waiting for it "
		if m.trouble == "" {
			right = "connecting … "
		}
	}
	return left + strings.Repeat(" ", max(1, m.width-ansi.StringWidth(left)-ansi.StringWidth(right))) + right
}

func (m *model) bar() string { return faint.Render(strings.Repeat("─", m.width)) }

func (m *model) empty() []string {
	if !m.there {
		return []string{"What was on hold when the daemon ended was denied: umpire log has it."}
	}
	return []string{
		bold.Render("Nothing is on hold."), "",
		faint.Render("A call that a rule with do: hold stops appears here, and waits for you."),
	}
}

// list returns the rows around the one that is chosen, at most so many.
func (m *model) list(most int) []string {
	at, wide := 0, 0
	for i, r := range m.rows {
		if r.Call == m.chosen {
			at = i
		}
		wide = max(wide, len(view.Ref(r.Call)))
	}
	n := min(most, len(m.rows))
	first := min(max(0, at-n/2), len(m.rows)-n)
	tool, rule := 0, 0
	for _, r := range m.rows[first : first+n] {
		tool = max(tool, ansi.StringWidth(view.Text(r.Server+"/"+r.Tool, 0)))
		rule = max(rule, ansi.StringWidth(view.Text(r.Rule, 0)))
	}
	tool, rule = min(tool, max(12, m.width*2/5)), min(rule, max(8, m.width/4))
	lines := make([]string, 0, n)
	for i, r := range m.rows[first : first+n] {
		mark, line := "  ", fmt.Sprintf("%*s ", wide, view.Ref(r.Call))
		left := m.left(r)
		what := fit(view.Text(r.Server+"/"+r.Tool, 0), tool)
		if r.Call == m.chosen {
			mark, what = bold.Render("▸ "), bold.Render(what)
			line = bold.Render(line)
		}
		more := "  " + fit(view.Text(r.Rule, 0), rule) + faint.Render("  "+view.Text(r.Agent, 40)+"  "+view.Text(r.Session, 20))
		if r.ended != "" {
			more = "  " + r.ended
		}
		if i == 0 && first > 0 || i == n-1 && first+n < len(m.rows) {
			mark = faint.Render("⋮ ")
			if r.Call == m.chosen {
				mark = bold.Render("▸ ")
			}
		}
		lines = append(lines, mark+line+left+"  "+what+more)
	}
	return lines
}

// left says how long a call waits yet.
func (m *model) left(r *row) string {
	switch left := r.Expires.Sub(max(event.At(m.now), r.Since)); {
	case r.ended != "":
		return faint.Render("ended")
	case r.busy:
		return "  …  "
	case left <= 0:
		return red.Render(" 0:00")
	default:
		left = left.Truncate(time.Second)
		text := fmt.Sprintf("%2d:%02d", int(left.Minutes()), int(left.Seconds())%60)
		if left < time.Minute {
			return red.Render(text)
		}
		return yellow.Render(text)
	}
}

// fit makes text exactly so wide.
func fit(text string, width int) string {
	text = ansi.Truncate(text, width, "…")
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// story returns the lines of what led to the chosen call that have room.
func (m *model) story(room int) []string {
	r := m.row(m.chosen)
	if r == nil || room <= 0 {
		return nil
	}
	all := r.tell(m.width, m.now)
	if m.mode == agreeing {
		all = m.memory()
	}
	m.scroll = min(m.scroll, max(0, len(all)-room))
	shown := all[m.scroll:min(len(all), m.scroll+room)]
	out := append([]string(nil), shown...)
	if more := len(all) - m.scroll - room; more > 0 && len(out) > 0 {
		out[len(out)-1] = faint.Render(fmt.Sprintf("  ↓ %d more lines: space", more+1))
	}
	if m.scroll > 0 && len(out) > 0 {
		out[0] = faint.Render(fmt.Sprintf("  ↑ %d more lines: b", m.scroll+1))
	}
	return out
}

func (m *model) foot() []string {
	m.input.SetWidth(max(1, m.width-ansi.StringWidth(m.input.Prompt)-2))
	switch m.mode {
	case noting:
		return []string{m.input.View(), keys("enter", "keep it", "esc", "leave it as it was")}
	case asking:
		return []string{m.input.View(), keys("enter", "see what that would be", "esc", "back") + faint.Render(" 7d order_id,amount is whatever the other arguments are")}
	case agreeing:
		return []string{keys("enter", "approve and remember", "esc", "back", "space", "scroll")}
	case helping:
		return []string{keys("any key", "back")}
	case choosing:
	}
	if len(m.rows) == 0 {
		return []string{keys("?", "help", "q", "quit")}
	}
	return []string{keys("a", "approve", "d", "deny", "n", "note", "r", "remember", "↑↓", "choose", "space", "scroll", "?", "help", "q", "quit")}
}

// keys says what keys are for.
func keys(pairs ...string) string {
	var b strings.Builder
	for pair := range slices.Chunk(pairs, 2) {
		b.WriteString(" " + bold.Render(pair[0]) + " " + faint.Render(pair[1]) + " ")
	}
	return b.String()
}

var help = []string{
	"",
	"  " + bold.Render("a") + "            approve: the call is judged once more, and goes on if no rule denies it",
	"  " + bold.Render("d") + "            deny: the model reads why",
	"  " + bold.Render("n") + "            write a note first, for the record and for the model",
	"  " + bold.Render("r") + "            approve, and let the like of it pass for a while: what that would be is shown first",
	"  " + bold.Render("↑ ↓  k j") + "     choose another call; " + bold.Render("g G") + " the oldest, the newest",
	"  " + bold.Render("space  b") + "     on and back in what led to it; " + bold.Render("← →") + " by a line",
	"  " + bold.Render("q") + "            quit: what is on hold stays so, and is denied when its time is over",
	"",
	"  The first decision counts. Whoever else decides sees it here, and you see his.",
	"  A call that has ended stays until you choose another one; keys do nothing to it.",
}
