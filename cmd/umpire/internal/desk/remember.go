package desk

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// proposed is what an approval that is remembered would be, for the person to agree.
type proposed struct {
	call uint64
	by   review.Decision
	review.Proposal
	err error
}

// remember asks for how long an approval is to be remembered, and by which arguments.
func (m *model) remember() {
	r := m.acting()
	if r == nil {
		return
	}
	m.mode, m.about = asking, r.Call
	m.input.Prompt = fmt.Sprintf("approve #%d and the like for: ", r.Call)
	m.input.CharLimit = 500
	m.input.SetValue("24h")
	m.input.CursorEnd()
	m.input.Focus()
}

// propose asks the daemon what would be remembered. What is written is a time, and then, if not all arguments have to be equal, the
// names of those that have: 7d order_id, amount.
func (m *model) propose() tea.Cmd {
	r := m.row(m.about)
	if r == nil || r.ended != "" {
		m.late()
		return nil
	}
	words := strings.FieldsFunc(m.input.Value(), func(c rune) bool { return c == ' ' || c == ',' })
	memory := &review.Remember{}
	if len(words) > 0 {
		memory.For, memory.Where = words[0], words[1:]
	}
	call, desk, by := r.Call, m.cfg.Desk, review.Decision{Approve: true, Note: r.note, Remember: memory}
	return func() tea.Msg {
		p, err := desk.Propose(call, by)
		return proposed{call, by, p, err}
	}
}

// proposed shows what would be remembered, if the person still waits for that.
func (m *model) proposed(p proposed) {
	switch {
	case m.mode != asking || m.about != p.call:
	case p.err != nil:
		m.say(fmt.Sprintf("#%d: %s: %s", p.call, red.Render("this cannot be remembered"), view.Text(p.err.Error(), 0)))
	default:
		m.mode, m.proposal, m.scroll = agreeing, p, 0
	}
}

// agree is a key while the person reads what would be remembered.
func (m *model) agree(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "q", "n":
		m.mode, m.scroll = choosing, 0
	case "enter", "y":
		m.mode, m.scroll = choosing, 0
		r := m.row(m.proposal.call)
		if r == nil || r.ended != "" {
			m.late()
			return nil
		}
		return m.send(r, m.proposal.by)
	default:
		m.scrolls(k.String())
	}
	return nil
}

// late leaves what was begun about a call that has ended.
func (m *model) late() {
	m.mode, m.scroll = choosing, 0
	m.say(fmt.Sprintf("too late: #%d is not on hold any more", m.about))
}

// memory returns the lines of what would be remembered.
func (m *model) memory() []string {
	t := teller{width: max(m.width, label+8), now: m.now}
	e := m.proposal.Exception
	t.line(bold.Render(fmt.Sprintf(" Approve #%d, and let the like of it pass?", m.proposal.call)))
	if e != nil {
		t.field("who calls", view.Text(e.Agent, 60)+faint.Render(" ("+view.Text(e.Principal, 60)+")"))
		t.field("what", view.Text(e.Server+"/"+e.Tool, 0))
		with := []string{"all arguments, as they are now"}
		if len(e.With) > 0 {
			with = nil
			for _, a := range e.With {
				with = append(with, view.Text(a.Path, 0)+" = "+view.JSON(a.Value, 0))
			}
			with = append(with, "whatever the others are")
		}
		t.field("arguments", strings.Join(with, ", "))
		t.field("until", e.Expires.Time().Local().Format("2006-01-02 15:04:05"))
	}
	t.field("the policy", "stays as it is; this change of it would have the same effect:")
	for _, l := range strings.Split(strings.TrimRight(m.proposal.Diff, "\n"), "\n") {
		style := faint
		switch {
		case strings.HasPrefix(l, "+"):
			style = green
		case strings.HasPrefix(l, "-"):
			style = red
		}
		for _, part := range strings.Split(ansi.Wrap(view.Text(l, 0), t.width-4, ""), "\n") {
			t.line(faint.Render(" │ ") + style.Render(part))
		}
	}
	return t.lines
}

// remembered says which exception an approval has made; empty if none.
func remembered(v event.Verdict) string {
	for _, m := range v.Also {
		if m.Excepted && m.Exception != 0 {
			return fmt.Sprintf(", and is remembered (exception #%d)", m.Exception)
		}
	}
	return ""
}
