package desk

import (
	"errors"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
)

// key does what a key is for.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	switch m.mode {
	case noting, asking:
		return m.write(k)
	case agreeing:
		return m.agree(k)
	case helping:
		m.mode = choosing
		return nil
	case choosing:
	}
	switch k.String() {
	case "q":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "?":
		m.mode = helping
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "home", "g":
		m.move(-len(m.rows))
	case "end", "G", "shift+g":
		m.move(len(m.rows))
	case "a":
		return m.decide(true)
	case "d":
		return m.decide(false)
	case "n":
		m.note()
	case "r":
		m.remember()
	default:
		m.scrolls(k.String())
	}
	return nil
}

// scrolls scrolls what is below the list. The drawing knows where that ends.
func (m *model) scrolls(key string) {
	page := max(1, m.room-1)
	switch key {
	case "enter", "space", "pgdown", "ctrl+d":
		m.scroll += page
	case "b", "backspace", "pgup", "ctrl+u":
		m.scroll = max(0, m.scroll-page)
	case "right", "l":
		m.scroll++
	case "left", "h":
		m.scroll = max(0, m.scroll-1)
	}
}

// move chooses another call. One that has ended goes when it is left.
func (m *model) move(by int) {
	at := 0
	for i, r := range m.rows {
		if r.Call == m.chosen {
			at = i
		}
	}
	left := m.row(m.chosen)
	if len(m.rows) == 0 || left == nil {
		return
	}
	to := m.rows[min(max(at+by, 0), len(m.rows)-1)]
	switch {
	case left.ended == "" && to == left:
		return
	case left.ended != "" && to == left && len(m.rows) > 1: // there is only the other side
		to = m.rows[at-min(max(by, -1), 1)]
	case left.ended != "" && to == left:
		to = nil
	}
	m.scroll, m.chosen = 0, 0
	if to != nil {
		m.chosen = to.Call
	}
	if left.ended != "" {
		m.end(left, left.ended, left.last)
	}
}

// acting returns the row that a key would decide about; nil if it cannot, which the person is told.
func (m *model) acting() *row {
	r := m.row(m.chosen)
	switch {
	case r == nil:
		return nil
	case r.ended != "":
		m.say(name(r.Held) + " is not on hold any more: " + r.ended)
	case !m.there:
		m.say("nothing can be decided: " + m.trouble)
	case r.busy:
	case r.story == nil || errors.Is(r.story.err, errReading):
		m.say(name(r.Held) + ": not before you can see what led to it")
	default:
		return r
	}
	return nil
}

func (m *model) decide(approve bool) tea.Cmd {
	r := m.acting()
	if r == nil {
		return nil
	}
	return m.send(r, review.Decision{Approve: approve, Note: r.note})
}

// send sends a decision.
func (m *model) send(r *row, by review.Decision) tea.Cmd {
	r.busy = true
	call, desk := r.Call, m.cfg.Desk
	return func() tea.Msg {
		v, err := desk.Decide(call, by)
		return decided{call, by.Approve, v, err}
	}
}

// decided says what became of a decision: a call that was approved can be denied all the same.
func (m *model) decided(d decided) {
	h, r := review.Held{Call: d.call}, m.row(d.call)
	if r != nil {
		h, r.busy = r.Held, false
	}
	how, why := "", view.Text(d.Why, 0)
	switch {
	case errors.Is(d.err, review.ErrGone):
		how, why = yellow.Render("not decided by you"), view.Text(d.err.Error(), 0)
	case d.err != nil: // it is on hold, as far as anybody knows
		m.say(fmt.Sprintf("%s %s: %s", name(h), red.Render("nothing was decided"), view.Text(d.err.Error(), 0)))
		return
	case d.approve && d.Action.Passes():
		how = green.Render("approved, and it passes") + remembered(d.Verdict)
	case d.approve:
		how = red.Render("approved, and yet denied")
	default:
		how = red.Render("denied")
	}
	m.say(name(h) + " " + how + ": " + why)
	if r != nil {
		m.end(r, how, how+": "+why)
	}
}

// note asks for a note on the call that is chosen.
func (m *model) note() {
	r := m.acting()
	if r == nil {
		return
	}
	m.mode, m.about = noting, r.Call
	m.input.Prompt = fmt.Sprintf("note on #%d: ", r.Call)
	m.input.CharLimit = review.MaxNote
	m.input.SetValue(r.note)
	m.input.CursorEnd()
	m.input.Focus()
}

// write is a key while a line is written.
func (m *model) write(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc":
		m.mode = choosing
	case "enter":
		if m.mode == asking {
			return m.propose()
		}
		text := m.input.Value()
		if len(text) > review.MaxNote {
			m.say(fmt.Sprintf("a note has at most %d bytes, and this one has %d", review.MaxNote, len(text)))
			return nil
		}
		r := m.row(m.about)
		if r == nil || r.ended != "" {
			m.late()
			return nil
		}
		m.mode, r.note = choosing, text
	default:
		m.edit(k)
	}
	return nil
}

// edit changes the line that is written. What the input would do beyond that, blink and read the clipboard by programs of the
// system, is not done: a terminal pastes by itself.
func (m *model) edit(msg tea.Msg) { m.input, _ = m.input.Update(msg) }
