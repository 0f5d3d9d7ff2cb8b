// Package desk is umpire review on a terminal: the calls on hold, what led to the one that is chosen, and keys to decide.
//
// A key acts on the call that is chosen, and a call is chosen by its number: it stays so while others come and go, and when
// its hold ends it stays on the screen, with how it ended, until the person goes on. What agents, tools, users and models said is
// shown as text, behind a bar, so that none of it can look like a part of the screen.
package desk

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// Desk is where calls wait; *history.Daemon is one.
type Desk interface {
	FollowHeld(ctx context.Context) iter.Seq2[history.Desk, error]
	Decide(call uint64, by review.Decision) (event.Verdict, error)
	Propose(call uint64, by review.Decision) (review.Proposal, error)
}

// Config says what to show.
type Config struct {
	Desk  Desk
	Story func(call uint64) (view.Call, error) // what led to a call
	Bell  bool                                 // ring when a call is put on hold
	Now   func() time.Time
}

// Run shows the screen on a terminal until the person has seen enough.
func Run(ctx context.Context, in io.Reader, out io.Writer, cfg Config) error {
	p := tea.NewProgram(newModel(cfg), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out))
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		follow(ctx, cfg.Desk, p.Send)
	}()
	_, err := p.Run()
	cancel()
	<-followed
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// retry is how long the screen waits before it looks for a daemon again.
const retry = time.Second

// follow tells what happens at the Desk. When the daemon ends it waits for the next one.
func follow(ctx context.Context, desk Desk, tell func(tea.Msg)) {
	for ctx.Err() == nil {
		err := history.ErrEnded
		for now, bad := range desk.FollowHeld(ctx) {
			switch {
			case bad != nil:
				err = bad
			case now.Change != nil:
				tell(changed(*now.Change))
			default:
				tell(listed(now.Held))
			}
		}
		if ctx.Err() != nil {
			return
		}
		tell(away{err})
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// The messages of the screen.
type (
	listed  []review.Held // the daemon is there, and this is on hold
	changed review.Change
	away    struct{ error } // the daemon is not there
	ticked  time.Time
	told    struct { // what led to a call
		call uint64
		view.Call
		err error
	}
	decided struct {
		call    uint64
		approve bool
		event.Verdict
		err error
	}
)

// row is a call that is on hold, or the one that is chosen and was.
type row struct {
	review.Held
	ended string // how, in a word or two; empty while it waits
	last  string // the same, with the reason
	busy  bool   // a decision of this person is under way
	note  string // for the decision
	story *told  // nil until it is there

	told  telling
	lines []string // as tell has made them
}

// mode is what keys are for.
type mode int

const (
	choosing mode = iota
	noting        // a note is written
	asking        // it is asked for how long an approval is to be remembered
	agreeing      // what would be remembered is shown
	helping
)

type model struct {
	cfg           Config
	now           time.Time
	width, height int
	there         bool   // the daemon is
	trouble       string // why it is not
	rows          []*row // the oldest first
	chosen        uint64 // call; 0 if there is none
	scroll        int    // lines of the story above the screen
	room          int    // lines for the story
	mode          mode
	input         textinput.Model
	about         uint64 // the call that the input is about
	proposal      proposed
	said          []string
	rang          time.Time
}

func newModel(cfg Config) *model {
	m := &model{cfg: cfg, now: cfg.Now(), input: textinput.New()}
	styles := textinput.DefaultDarkStyles()
	styles.Cursor.Blink = false
	m.input.SetStyles(styles)
	return m
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return tick() }

func tick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return ticked(t) }) }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.now = m.cfg.Now()
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case ticked:
		return m, tick()
	case listed:
		m.listed(msg)
	case changed:
		cmd = m.changed(review.Change(msg))
	case away:
		m.away(msg.error)
	case told:
		if r := m.row(msg.call); r != nil {
			r.story = &msg
		}
	case decided:
		m.decided(msg)
	case proposed:
		m.proposed(msg)
	case tea.PasteMsg:
		if m.mode == noting || m.mode == asking {
			m.edit(msg)
		}
	case tea.KeyPressMsg:
		cmd = m.key(msg)
	}
	return m, tea.Batch(cmd, m.choose())
}

// choose chooses a call if none is, and asks what led to the one that is chosen.
func (m *model) choose() tea.Cmd {
	if m.chosen == 0 && len(m.rows) > 0 {
		m.chosen = m.rows[0].Call
		m.scroll = 0
	}
	r := m.row(m.chosen)
	if r == nil || r.story != nil {
		return nil
	}
	r.story = &told{call: r.Call, err: errReading}
	call, story := r.Call, m.cfg.Story
	return func() tea.Msg {
		c, err := story(call)
		return told{call, c, err}
	}
}

// errReading says that a story is under way.
var errReading = errors.New("reading what led to it …")

// row returns the row of a call; nil if there is none.
func (m *model) row(call uint64) *row {
	for _, r := range m.rows {
		if r.Call == call {
			return r
		}
	}
	return nil
}

// listed takes over what is on hold, after the daemon was found.
func (m *model) listed(list []review.Held) {
	if m.trouble != "" {
		m.say("the daemon is there again")
	}
	m.there, m.trouble = true, ""
	m.keep(func(r *row) bool {
		return slices.ContainsFunc(list, func(h review.Held) bool { return h.Call == r.Call })
	}, "ended", "its hold ended while the daemon was away: umpire show has it")
	for _, h := range list {
		m.add(h)
	}
}

// keep ends the rows that are not wanted.
func (m *model) keep(want func(*row) bool, how, why string) (ended int) {
	for _, r := range slices.Clone(m.rows) {
		if r.ended == "" && !want(r) {
			m.end(r, how, why)
			ended++
		}
	}
	return ended
}

func (m *model) add(h review.Held) bool {
	if m.row(h.Call) != nil {
		return false
	}
	i, _ := slices.BinarySearchFunc(m.rows, h.Call, func(r *row, call uint64) int { return int(int64(r.Call) - int64(call)) })
	m.rows = slices.Insert(m.rows, i, &row{Held: h})
	return true
}

// end takes a row away, unless it is the one that is chosen: what a key acts on does not change under the finger.
func (m *model) end(r *row, how, why string) {
	r.ended, r.last, r.busy = how, why, false
	if r.Call != m.chosen {
		m.rows = slices.DeleteFunc(m.rows, func(o *row) bool { return o == r })
	}
}

// between two rings of the bell.
const between = 2 * time.Second

func (m *model) changed(c review.Change) tea.Cmd {
	r := m.row(c.Call)
	switch {
	case c.Ended == nil && m.add(c.Held):
		if m.cfg.Bell && m.now.Sub(m.rang) >= between {
			m.rang = m.now
			return tea.Raw("\a")
		}
	case c.Ended != nil && r != nil && r.ended == "": // else the answer to the decision was faster
		how := strings.TrimSpace(view.Action(c.Ended.Verdict.Action)) + ": " + view.Text(c.Ended.How, 200)
		if !r.busy { // else the answer to the decision says more
			m.say(name(r.Held) + " " + how)
		}
		m.end(r, how, strings.TrimSpace(view.Action(c.Ended.Verdict.Action))+": "+view.Text(c.Ended.Verdict.Why, 0))
	}
	return nil
}

func (m *model) away(err error) {
	ended := m.keep(func(*row) bool { return false }, "ended", "the daemon has ended, and with it the hold: a call that nobody decided about is denied")
	switch {
	case ended > 0:
		m.say("the daemon has ended; what was on hold is denied")
	case m.there:
		m.say("the daemon has ended")
	}
	m.there, m.trouble = false, view.Text(err.Error(), 200)
	if errors.Is(err, history.ErrEnded) {
		m.trouble = "no daemon is running"
	}
}

// say adds a line to what the person is told.
func (m *model) say(text string) {
	m.said = append(m.said, faint.Render(m.now.Local().Format("15:04:05"))+" "+text)
	m.said = m.said[max(0, len(m.said)-100):]
}

// name names a call in a line.
func name(h review.Held) string {
	return bold.Render(view.Ref(h.Call)) + " " + view.Text(h.Server+"/"+h.Tool, 60)
}
