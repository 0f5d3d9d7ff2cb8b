package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store/storetest"
)

// stepping is a screen of so many calls, of which those with these numbers were denied.
func stepping(calls int, denied ...int) *screen {
	m := &screen{head: "session s1: bot, some calls", now: time.Now()}
	for i := range calls {
		action := event.Allow
		for _, d := range denied {
			if d == i {
				action = event.Deny
			}
		}
		events := storetest.Call(uint64(1+3*i), "s1", fmt.Sprint("tool-", i), action)
		m.steps = append(m.steps, step{Events: events[:2], Standings: []rules.Standing{
			{Rule: rules.Rule{Cover: rules.Cover{Rule: "burst"}}, Near: true, Window: &rules.RateStanding{Measure: "count", Now: fmt.Sprint(i), With: fmt.Sprint(i + 1), Limit: "9", Per: "1m"}},
		}})
	}
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 24})
	return m
}

func press(m *screen, keys ...tea.KeyPressMsg) (quit bool) {
	for _, k := range keys {
		if _, cmd := m.Update(k); cmd != nil {
			_, quit = cmd().(tea.QuitMsg)
		}
	}
	return quit
}

func key(r rune) tea.KeyPressMsg { return tea.KeyPressMsg{Code: r, Text: string(r)} }

func TestKeysStepThroughASession(t *testing.T) {
	m := stepping(50, 7, 30)
	for _, tc := range []struct {
		key  tea.KeyPressMsg
		want int
	}{
		{tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}, 1},
		{tea.KeyPressMsg{Code: tea.KeyRight}, 2},
		{tea.KeyPressMsg{Code: tea.KeyDown}, 3},
		{tea.KeyPressMsg{Code: tea.KeyLeft}, 2},
		{tea.KeyPressMsg{Code: tea.KeyUp}, 1},
		{key('n'), 7},
		{key('n'), 30},
		{key('n'), 30}, // there are no more
		{tea.KeyPressMsg{Code: 'n', Text: "N", Mod: tea.ModShift}, 7},
		{tea.KeyPressMsg{Code: 'g', Text: "G", Mod: tea.ModShift}, 49},
		{key('j'), 49},
		{key('g'), 0},
		{key('k'), 0},
		{tea.KeyPressMsg{Code: tea.KeyPgDown}, 6},
		{tea.KeyPressMsg{Code: tea.KeyEnd}, 49},
		{tea.KeyPressMsg{Code: tea.KeyHome}, 0},
	} {
		if press(m, tc.key); m.at != tc.want {
			t.Errorf("%s leads to %d, want %d", tc.key, m.at, tc.want)
		}
		text := ansi.Strip(m.View().Content)
		if !strings.Contains(text, fmt.Sprintf("step %d of 50", m.at+1)) ||
			!strings.Contains(text, fmt.Sprintf("near  burst: %d of 9 calls in 1m", m.at+1)) {
			t.Errorf("at %d:\n%s", m.at, text)
		}
	}
	for _, quit := range []tea.KeyPressMsg{key('q'), {Code: tea.KeyEscape}, {Code: 'c', Mod: tea.ModCtrl}} {
		if !press(m, quit) {
			t.Errorf("%s does not end it", quit)
		}
	}
	if press(m, key('x'), key('y')) {
		t.Error("any key ends it")
	}
}

// However small the terminal is and however long what stands there, it is no longer than the screen, and no wider.
func TestTheScreenFitsTheTerminal(t *testing.T) {
	long := strings.Repeat("a long argument 文字 ", 400)
	args, err := json.Marshal(map[string]string{"text": long})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range [][2]int{{0, 0}, {1, 1}, {5, 2}, {20, 5}, {80, 24}, {300, 100}} {
		m := stepping(3, 1)
		m.steps[0].Events[0].Body.(*event.Call).Args = args
		m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for range 3 {
			lines := strings.Split(m.View().Content, "\n")
			if size[1] > 0 && len(lines) > max(size[1], 2) {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > max(size[0], 1) {
					t.Errorf("%v: %d wide: %q", size, w, l)
				}
			}
			press(m, key('j'))
		}
	}
}

// What agents and tools say cannot move the cursor or draw on the screen.
func TestTheScreenShowsWhatWasSaidAsText(t *testing.T) {
	m := stepping(1)
	bad := "\x1b[2J\x1b]0;owned\a\r\n\u202egnihton"
	call := m.steps[0].Events[0].Body.(*event.Call)
	args, err := json.Marshal(map[string]string{"x": bad})
	if err != nil {
		t.Fatal(err)
	}
	call.Tool, call.Args, call.Intent = "pay"+bad, args, bad
	verdict := m.steps[0].Events[1].Body.(*event.Verdict)
	verdict.Rule, verdict.Why = "rule"+bad, "because"+bad
	m.steps[0].Events = append(m.steps[0].Events, event.Event{Body: &event.Turn{Role: "user", Text: bad}}, event.Event{Body: &event.Result{Text: bad, Content: args}},
		event.Event{Body: &event.Review{Who: bad, Note: bad}}, event.Event{Body: &event.Expired{Reason: bad}}, event.Event{Body: &event.Signal{Name: bad, Text: bad}})
	m.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	text := m.View().Content
	for _, s := range []string{"\x1b[2J", "\x1b]0", "\a", "\r", "\u202e"} {
		if strings.Contains(text, s) {
			t.Errorf("%q is on the screen:\n%q", s, text)
		}
	}
	if !strings.Contains(text, `\u001b[2J`) {
		t.Errorf("%q", text)
	}
}
