package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

// screen is a session on a terminal: its steps above, and below what there is to say about the one that is chosen.
type screen struct {
	head          string
	now           time.Time
	steps         []step
	at            int // the chosen step
	width, height int
}

// run shows it until the person has seen enough.
func (m *screen) run(out io.Writer) error {
	_, err := tea.NewProgram(m, tea.WithOutput(out)).Run()
	return err
}

// Init implements tea.Model.
func (m *screen) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		case "space", "right", "down", "j", "l", "enter":
			m.at++
		case "left", "up", "k", "h", "backspace":
			m.at--
		case "pgdown":
			m.at += m.rows()
		case "pgup":
			m.at -= m.rows()
		case "g", "home":
			m.at = 0
		case "G", "shift+g", "end":
			m.at = len(m.steps) - 1
		case "n":
			m.stop(1)
		case "N", "shift+n", "p":
			m.stop(-1)
		}
		m.at = min(max(m.at, 0), len(m.steps)-1)
	}
	return m, nil
}

// stop goes to the next call that was stopped, or the one before.
func (m *screen) stop(by int) {
	for i := m.at + by; i >= 0 && i < len(m.steps); i += by {
		if m.steps[i].stopped() {
			m.at = i
			return
		}
	}
}

// rows is how many steps are shown at once: at least three, and a third of the terminal.
func (m *screen) rows() int { return min(max(3, (m.height-4)/3), len(m.steps)) }

var (
	chosen = lipgloss.NewStyle().Bold(true)
	dim    = lipgloss.NewStyle().Faint(true)
)

// View implements tea.Model.
func (m *screen) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if m.height == 0 {
		return v
	}
	rows := m.rows()
	first := min(max(0, m.at-rows/2), len(m.steps)-rows)
	lines := []string{chosen.Render(m.head), dim.Render(strings.Repeat("─", m.width))}
	for i := first; i < first+rows; i++ {
		mark := "  "
		if i == m.at {
			mark = chosen.Render("> ")
		}
		lines = append(lines, mark+m.lines(m.steps[i])[0])
	}
	lines = append(lines, dim.Render(strings.Repeat("─", m.width)))
	lines = append(lines, m.about(m.steps[m.at])...)
	foot := dim.Render(fmt.Sprintf("step %d of %d%s   space/→ next  ← back  n/N stopped calls  g/G first/last  q quit", m.at+1, len(m.steps), m.elapsed()))
	room := max(m.height-1, 1)
	if len(lines) > room {
		lines = append(lines[:room-1], dim.Render("…"))
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines, foot)
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, max(m.width, 1), "…")
	}
	v.Content = strings.Join(lines, "\n")
	return v
}

// elapsed says how long after the beginning of the session the step is, and how long after the one before.
func (m *screen) elapsed() string {
	at := m.steps[m.at].Events[0].At
	out := ", " + at.Sub(m.steps[0].Events[0].At).Round(time.Millisecond).String()
	if m.at > 0 {
		out += fmt.Sprintf(" (+%s)", at.Sub(m.steps[m.at-1].Events[0].At).Round(time.Millisecond))
	}
	return out
}

// lines are those of the timeline.
func (m *screen) lines(s step) []string {
	var b bytes.Buffer
	t := view.Timeline{Printer: view.Styled(&b), Now: m.now}
	for _, e := range s.Events {
		t.Event(e)
	}
	text := strings.TrimRight(b.String(), "\n")
	if text == "" { // a call without a verdict: the history ends there
		text = dim.Render(fmt.Sprintf("%s %s", view.Time(s.Events[0].At, m.now), s.Events[0].Body.Kind()))
	}
	return strings.Split(text, "\n")
}

// about says all there is to say about a step.
func (m *screen) about(s step) (lines []string) {
	add := func(text string) {
		lines = append(lines, strings.Split(ansi.Wrap(text, max(m.width-2, 10), ""), "\n")...)
	}
	for _, e := range s.Events {
		switch b := e.Body.(type) {
		case *event.Call:
			add(chosen.Render(fmt.Sprintf("#%d %s", e.Seq, view.Text(b.Server+"/"+b.Tool, 120))))
			add(dim.Render("arguments ") + view.JSON(b.Args, 2000))
		case *event.Verdict:
			why := view.Text(b.Why, 0)
			if b.Rule != "" {
				why = chosen.Render(view.Text(b.Rule, 60)) + ": " + why
			}
			add(view.Action(b.Action) + " " + why)
			for _, also := range b.Also {
				add("      " + dim.Render("also "+also.Action.String()+" ") + view.Text(also.Rule+": "+also.Why, 0))
			}
		case *event.Review:
			add(fmt.Sprintf("%s decided: approve %v %s", view.Text(b.Who, 60), b.Approve, view.Text(b.Note, 400)))
		case *event.Expired:
			add(view.Text(b.Reason, 400))
		case *event.Result:
			add(dim.Render(fmt.Sprintf("answer to #%d ", e.Cause)) + view.Text(b.Text, 2000) + view.JSON(b.Content, 2000))
		case *event.Turn:
			add(dim.Render(string(b.Role)+": ") + view.Text(b.Text, 4000))
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Signal, *event.Closed:
			for _, l := range m.lines(s) {
				add(l)
			}
		}
	}
	if list := standings(s.Standings, m.now); len(list) > 0 {
		lines = append(lines, "", dim.Render("rules"))
		for _, l := range list {
			add(l)
		}
	}
	if list := standings(s.Earlier, m.now); len(list) > 0 {
		lines = append(lines, "", dim.Render("of what was before"))
		for _, l := range list {
			add(l)
		}
	}
	return lines
}
