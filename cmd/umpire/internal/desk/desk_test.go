package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)

// hostile is what tools and agents call themselves, and what they say: it ends lines, moves the cursor, turns text around, hides,
// piles marks up, and looks like the screen.
const hostile = "x\n▸ #99  4:59  billing/get_order  approved\r\x1b[2J\x1b[1;1H\x1b]0;t\a\x9b2J\u202e\u200b漢字🏳️‍🌈\U000e0041e\u0301\u0301\u0301\u0301\u0301\u0301\u0301\t\x00\xff\u2028ﷺ"

func held(call uint64) review.Held {
	return review.Held{
		Call: call, Session: "s2", Since: event.At(noon), Expires: event.At(noon.Add(5 * time.Minute)), Principal: "local:ann", Agent: "support",
		Server: "billing", Tool: "issue_refund", Args: json.RawMessage(fmt.Sprintf(`{"order_id":"ord_%d","amount":150}`, call)),
		Rule: "large-refund", Why: "its condition holds: args.amount > 100", Policy: "d1",
	}
}

// evil is a call of which every text is hostile.
func evil(call uint64) review.Held {
	h := held(call)
	raw, err := json.Marshal(hostile)
	if err != nil {
		panic(err)
	}
	h.Tool, h.Agent, h.Principal, h.Rule, h.Why, h.Session = hostile, hostile, hostile, hostile, hostile, hostile
	h.Args = json.RawMessage(`{"` + strings.Repeat("k", 70) + `":` + strings.NewReplacer(`\u2028`, "\u2028").Replace(string(raw)) + `}`)
	return h
}

// table answers decisions, and knows which were asked for.
type table struct {
	asked   []string
	verdict event.Verdict
	err     error
}

func (t *table) FollowHeld(context.Context) iter.Seq2[history.Desk, error] {
	return func(func(history.Desk, error) bool) {}
}

func (t *table) Decide(call uint64, by review.Decision) (event.Verdict, error) {
	word := "deny"
	if by.Approve {
		word = "approve"
	}
	if by.Remember != nil {
		word = fmt.Sprintf("remember %s %v", by.Remember.For, by.Remember.Where)
	}
	t.asked = append(t.asked, strings.TrimSpace(fmt.Sprintf("%s %d %s", word, call, by.Note)))
	v := t.verdict
	if v.Why == "" {
		v = event.Verdict{Why: "local:ann denied it"}
		if by.Approve {
			v = event.Verdict{Action: event.Allow, Why: "local:ann approved it"}
		}
	}
	return v, t.err
}

func (t *table) Propose(call uint64, by review.Decision) (review.Proposal, error) {
	t.asked = append(t.asked, fmt.Sprintf("propose %d %s %v", call, by.Remember.For, by.Remember.Where))
	return review.Proposal{Diff: "--- policy.yaml\n+++ policy.yaml\n@@ -1,2 +1,4 @@\n rules:\n+  except: [{note: \"" + hostile + "\"}]\n", Exception: &event.Exception{
		Principal: "local:ann", Agent: hostile, Server: "billing", Tool: hostile, Expires: event.At(noon.Add(24 * time.Hour)),
		With: []event.Argument{{Path: "args." + hostile, Value: json.RawMessage(`"x"`)}},
	}}, t.err
}

// storyOf is what led to a call: a prompt, the model's words and a call before, all hostile.
func storyOf(call uint64) (view.Call, error) {
	turn := func(seq uint64, role event.Role) *event.Event {
		return &event.Event{Seq: seq, At: event.At(noon), Body: &event.Turn{Role: role, Source: hostile, Trust: event.Trusted, Text: "Refund ord_1, please.\n" + hostile + "\n" + strings.Repeat("漢字 ", 40)}}
	}
	return view.Call{
		Call:    event.Event{Seq: call, At: event.At(noon), Body: &event.Call{Server: "billing", Tool: hostile, Args: evil(call).Args, Intent: hostile, Findings: []event.Finding{{Kind: event.Redacted, Path: hostile}}}},
		Verdict: event.Event{Seq: call + 1, Body: &event.Verdict{Action: event.Hold, Rule: hostile, Why: hostile, Hint: hostile, Also: []event.Match{{Action: event.Log, Rule: hostile, Why: hostile, Observed: true}}}},
		Prompt:  turn(2, event.RoleUser), Words: turn(3, event.RoleAssistant),
		Quotes:   []view.Quote{{Origin: event.Origin{Path: hostile}, Event: 2, At: hostile, Before: hostile, Value: hostile, After: hostile}},
		Evidence: []event.Event{{Seq: 1, At: event.At(noon), Body: &event.Call{Server: "billing", Tool: hostile, Args: evil(1).Args}}},
	}, nil
}

// player is a person before a screen of his own.
type player struct {
	*model
	table *table
	rang  int
	quit  bool
}

func open(width, height int, list ...review.Held) *player {
	p := &player{table: &table{}}
	p.model = newModel(Config{Desk: p.table, Story: storyOf, Bell: true, Now: func() time.Time { return noon }})
	p.send(tea.WindowSizeMsg{Width: width, Height: height})
	p.send(listed(list))
	return p
}

// send gives the screen a message, and does what it asks for, but for the clock.
func (p *player) send(msg tea.Msg) {
	_, cmd := p.Update(msg)
	p.do(cmd)
}

func (p *player) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			p.do(c)
		}
	case tea.QuitMsg:
		p.quit = true
	case tea.RawMsg:
		p.rang++
	case told, decided, proposed:
		p.send(msg)
	}
}

func (p *player) keys(keys ...string) {
	for _, k := range keys {
		p.send(key(k))
	}
}

func key(name string) tea.KeyPressMsg {
	named := map[string]rune{
		"up": tea.KeyUp, "down": tea.KeyDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace, "pgdown": tea.KeyPgDown,
		"pgup": tea.KeyPgUp, "home": tea.KeyHome, "end": tea.KeyEnd, "left": tea.KeyLeft, "right": tea.KeyRight,
	}
	switch code, ok := named[name]; {
	case ok:
		return tea.KeyPressMsg{Code: code}
	case name == "space":
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	case name == "ctrl+c":
		return tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

func (p *player) text() string { return ansi.Strip(p.View().Content) }

func (p *player) sees(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.text(), text) {
			t.Errorf("%q is not on the screen:\n%s", text, p.text())
		}
	}
}

func end(h review.Held, how string, v event.Verdict) changed {
	return changed{Held: h, Ended: &review.Ended{At: event.At(noon), How: how, Verdict: v}}
}

func TestAPersonSeesWhatWaitsAndDecides(t *testing.T) {
	p := open(100, 40, held(41), held(44))
	p.sees(t, "2 on hold", "▸ #41  5:00  billing/issue_refund", "  #44  5:00", "its condition holds: args.amount > 100", "Refund ord_1, please.", `"order_id":"ord_41"`)
	p.keys("down", "a")
	if got := p.table.asked; !slices.Equal(got, []string{"approve 44"}) {
		t.Error(got)
	}
	p.sees(t, "1 on hold", "▸ #44 ended", "#44 billing/issue_refund approved, and it passes: local:ann approved it")
	p.keys("up", "d")
	p.sees(t, "0 on hold", "▸ #41 ended", "#41 billing/issue_refund denied: local:ann denied it")
	if strings.Contains(p.text(), "#44 ended") {
		t.Error("what has ended stays when it is left")
	}
	p.keys("down")
	p.sees(t, "Nothing is on hold.")
	if p.keys("q"); !p.quit {
		t.Error("q does not quit")
	}
}

// Approved is not allowed: a rule that denies has the last word, and the person has to see that.
func TestACallThatWasApprovedAndIsDeniedIsSaidToBeDenied(t *testing.T) {
	p := open(120, 40, held(41))
	p.table.verdict = event.Verdict{Action: event.Deny, Rule: "burst", Why: "3rd call in 1h (limit 2), although local:ann approved it"}
	p.keys("a")
	p.sees(t, "#41 billing/issue_refund approved, and yet denied: 3rd call in 1h (limit 2)")
	p.table.verdict, p.table.err = event.Verdict{}, fmt.Errorf("call #44 is %w any more: local:bob denied it", review.ErrGone)
	p.send(changed{Held: held(44)})
	p.keys("down", "a")
	p.sees(t, "not decided by you: call #44 is not on hold any more: local:bob denied it")
	p.table.err = errors.New("the decision was not recorded: disk full")
	p.send(changed{Held: held(47)})
	p.keys("down", "a")
	p.sees(t, "#47 billing/issue_refund nothing was decided: the decision was not recorded: disk full", "1 on hold")
	p.table.err = nil
	p.keys("d")
	p.sees(t, "0 on hold")
}

// The daemon tells of a decision in two ways, the answer and the change, in either order: the answer says more, and is said once.
func TestWhatYouDecideIsSaidOnce(t *testing.T) {
	news := end(held(41), "local:ann denied it", event.Verdict{Why: "local:ann denied it"})
	for _, first := range []string{"the answer", "the change"} {
		p := open(120, 40, held(41))
		if first == "the answer" {
			p.keys("d")
			p.send(news)
		} else {
			_, ask := p.Update(key("d"))
			p.send(news)
			p.do(ask)
		}
		if n := strings.Count(p.text(), "12:00:00 #41"); n != 1 {
			t.Errorf("%s comes first, and it is said %d times:\n%s", first, n, p.text())
		}
		p.sees(t, "12:00:00 #41 billing/issue_refund denied: local:ann denied it", "▸ #41 ended  billing/issue_refund  denied")
	}
}

func TestANoteIsWrittenFirstAndGoesWithTheDecision(t *testing.T) {
	p := open(100, 40, held(41), held(44))
	p.keys("n", "n", "o", "space", "t", "d", "a", "enter")
	p.sees(t, "your note    no tda")
	p.keys("n", "backspace", "q", "esc") // a key is a letter while a note is written, and what is left is left
	p.keys("down", "d", "up", "a")
	if got, want := p.table.asked, []string{"deny 44", "approve 41 no tda"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The note is for the call on which it was begun, whatever happens meanwhile.
	p = open(100, 40, held(41), held(44))
	p.keys("n", "x")
	p.send(end(held(41), "local:bob denied it", event.Verdict{}))
	p.keys("enter")
	p.sees(t, "too late: #41 is not on hold any more")
	p.keys("down", "a")
	if got := p.table.asked; !slices.Equal(got, []string{"approve 44"}) {
		t.Errorf("%q", got)
	}
	p = open(100, 40, held(41))
	p.keys("n")
	p.send(tea.PasteMsg{Content: strings.Repeat("漢", 400) + "\n\x1b[2J"})
	p.keys("enter")
	p.sees(t, "a note has at most 1000 bytes")
}

// An approval is remembered once the person has seen what that would be, and it is the one that was shown.
func TestWhatIsRememberedIsShownFirst(t *testing.T) {
	p := open(100, 40, held(41), held(44))
	p.keys("r")
	p.sees(t, "approve #41 and the like for: 24h")
	p.keys("backspace", "backspace", "backspace", "7", "d", "space", "t", "o", ",", "a", "enter")
	p.sees(t, "Approve #41, and let the like of it pass?", "stays as it is", "2026-11-25 12:00:00", "│ +  except:")
	p.keys("a", "d", "down", "x") // nothing but the answer counts now
	p.keys("enter")
	p.sees(t, "#41 billing/issue_refund approved, and it passes")
	if want := []string{"propose 41 7d [to a]", "remember 7d [to a] 41"}; !slices.Equal(p.table.asked, want) {
		t.Errorf("%q, want %q", p.table.asked, want)
	}

	p = open(100, 40, held(41), held(44))
	p.keys("r", "esc", "r", "enter", "esc") // both leave it
	p.keys("r", "enter")
	p.send(end(held(41), "local:bob denied it", event.Verdict{}))
	p.keys("enter")
	p.sees(t, "too late: #41 is not on hold any more")
	p.keys("down", "r")
	p.table.err = errors.New("what is redacted cannot be compared")
	p.keys("enter")
	p.sees(t, "#44: this cannot be remembered: what is redacted cannot be compared", "approve #44 and the like for")
	p.table.err = nil
	p.table.verdict = event.Verdict{Action: event.Allow, Why: "excepted", Also: []event.Match{{Rule: "large-refund", Excepted: true, Exception: 47}}}
	p.keys("enter", "y")
	p.sees(t, "approved, and it passes, and is remembered (exception #47)")
	for _, asked := range p.table.asked {
		if strings.HasPrefix(asked, "remember") && asked != "remember 24h [] 44" || strings.HasPrefix(asked, "approve") {
			t.Errorf("%q", p.table.asked)
		}
	}
}

// Whatever comes and goes, the keys act on the call that the person has chosen, and when it has ended, on none.
func TestAKeyNeverActsOnAnotherCallThanTheOneThatIsChosen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := open(80, 24)
		alive, next := map[uint64]bool{}, uint64(1)
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			before, was := p.chosen, p.text()
			move := rapid.SampledFrom([]string{"come", "come", "end", "end", "list", "away", "up", "down", "g", "G", "a", "d"}).Draw(t, "move")
			asked := len(p.table.asked)
			switch move {
			case "come":
				h := held(next)
				if rapid.IntRange(0, 3).Draw(t, "evil") == 0 {
					h = evil(next)
				}
				alive[next] = true
				next += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
				p.send(changed{Held: h})
			case "end":
				for call := range alive {
					delete(alive, call)
					p.send(end(held(call), "nobody decided within 5m", event.Verdict{}))
					break
				}
			case "list":
				var list []review.Held
				for call := range alive {
					list = append(list, held(call))
				}
				slices.SortFunc(list, func(a, b review.Held) int { return int(a.Call) - int(b.Call) })
				p.send(listed(list))
			case "away":
				clear(alive)
				p.send(away{history.ErrEnded})
				p.send(listed(nil))
			default:
				p.keys(move)
			}
			switch move {
			case "a", "d":
				could := alive[before] && strings.Contains(was, fmt.Sprintf("▸ #%d ", before)) || alive[before] && strings.Contains(was, fmt.Sprintf("▸ %*s ", 3, fmt.Sprint("#", before)))
				if got := p.table.asked[asked:]; len(got) > 1 || len(got) == 1 && (!strings.HasSuffix(got[0], fmt.Sprint(" ", before)) || !could) || len(got) == 0 && could {
					t.Fatalf("%s with #%d chosen asks for %q:\n%s", move, before, got, was)
				}
				if alive[before] {
					delete(alive, before)
				}
			case "up", "down", "g", "G":
			default:
				if before != 0 && p.chosen != before {
					t.Fatalf("%s: the choice goes from #%d to #%d by itself", move, before, p.chosen)
				}
			}
			if p.waiting() != len(alive) {
				t.Fatalf("after %s, %d are on hold on the screen, and %d really:\n%s", move, p.waiting(), len(alive), p.text())
			}
		}
	})
}

// Whatever is shown, however small the terminal: as many lines as it has, none wider, and no character that draws elsewhere.
func TestNothingDrawsOutsideOfItsPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []review.Held
		for i := range uint64(rapid.IntRange(0, 30).Draw(t, "calls")) {
			list = append(list, evil(i+1))
		}
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		p := open(width, height, list...)
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"down", "up", "G", "space", "b", "right", "left", "a", "d", "n", "r", "x", "?", "enter", "esc"}), 0, 12).Draw(t, "keys")
		p.table.verdict = event.Verdict{Action: event.Deny, Why: hostile}
		p.keys(keys...)
		if len(list) > 0 {
			p.send(end(list[0], hostile, event.Verdict{Why: hostile}))
		}
		if rapid.Bool().Draw(t, "away") {
			p.send(away{errors.New(hostile)})
		}
		width, height = rapid.IntRange(1, 200).Draw(t, "new width"), rapid.IntRange(1, 60).Draw(t, "new height")
		p.send(tea.WindowSizeMsg{Width: width, Height: height})
		lines := strings.Split(p.View().Content, "\n")
		if len(lines) != height {
			t.Fatalf("%d lines on a terminal of %d", len(lines), height)
		}
		for i, l := range lines {
			plain := ansi.Strip(l)
			if w := ansi.StringWidth(plain); w > width {
				t.Fatalf("line %d is %d wide, the terminal %d: %q", i, w, width, l)
			}
			for _, r := range plain {
				if !unicode.IsPrint(r) {
					t.Fatalf("line %d has %U: %q", i, r, plain)
				}
			}
			for _, code := range strings.Split(l, "\x1b")[1:] {
				if !strings.HasPrefix(code, "[") || strings.IndexFunc(code[1:], func(r rune) bool { return r != ';' && (r < '0' || r > '9') }) != strings.IndexByte(code[1:], 'm') {
					t.Fatalf("line %d has an escape sequence that is no colour: %q", i, l)
				}
			}
			if marks := []rune(plain); len(marks) > 0 && strings.Contains(plain, strings.Repeat("\u0301", 5)) {
				t.Fatalf("line %d has a pile of marks: %q", i, plain)
			}
		}
	})
}

// A line of the conversation that looks like the list stands behind a bar.
func TestWhatIsSaidCannotLookLikeTheScreen(t *testing.T) {
	p := open(100, 60, held(41))
	for _, l := range strings.Split(p.text(), "\n")[3:] {
		if strings.Contains(l, "#99") && !strings.Contains(l[:min(len(l), 24)], "│") && !strings.HasPrefix(l, " ") {
			t.Errorf("it looks like a call: %q", l)
		}
	}
}

func TestItRingsForWhatComesAndNotForWhatIsThere(t *testing.T) {
	p := open(80, 24, held(1), held(2))
	if p.rang != 0 {
		t.Error("it rings for what was there")
	}
	for i := range uint64(47) {
		p.send(changed{Held: held(i + 3)})
	}
	if p.rang != 1 {
		t.Errorf("a burst rings %d times", p.rang)
	}
	p.cfg.Now = func() time.Time { return noon.Add(between) }
	p.send(changed{Held: held(100)})
	p.cfg.Bell = false
	p.cfg.Now = func() time.Time { return noon.Add(3 * between) }
	p.send(changed{Held: held(101)})
	if p.rang != 2 {
		t.Errorf("it rings %d times", p.rang)
	}
}

// The daemon ends and comes back; the screen says so, and knows what is on hold then.
func TestTheScreenOutlivesTheDaemon(t *testing.T) {
	p := open(100, 30, held(41), held(44))
	p.send(away{fmt.Errorf("%w: connection refused", history.ErrEnded)})
	p.sees(t, "no daemon is running; waiting for it", "the daemon has ended; what was on hold is denied", "▸ #41 ended")
	p.keys("a")
	if len(p.table.asked) != 0 {
		t.Error(p.table.asked)
	}
	p.send(away{errors.New("broken pipe")})
	p.sees(t, "broken pipe; waiting for it")
	p.send(listed{held(50)})
	p.sees(t, "the daemon is there again", "1 on hold", "▸ #41", "  #50")
	p.keys("down", "a")
	if !slices.Equal(p.table.asked, []string{"approve 50"}) {
		t.Error(p.table.asked)
	}
}

// Time runs down, and the last minute is marked by more than a colour.
func TestTimeRunsDown(t *testing.T) {
	p := open(80, 24, held(41))
	for after, want := range map[time.Duration]string{0: " 5:00 ", time.Minute: " 4:00 ", 299 * time.Second: " 0:01 ", time.Hour: " 0:00 ", -time.Hour: " 5:00 "} {
		p.cfg.Now = func() time.Time { return noon.Add(after) }
		p.send(ticked{})
		p.sees(t, "#41 "+want)
	}
}

// What led to a call can be longer than the screen.
func TestTheStoryScrollsWithinItsBounds(t *testing.T) {
	p := open(60, 20, evil(41))
	p.sees(t, "more lines: space")
	var seen strings.Builder
	for range 100 {
		seen.WriteString(p.text())
		p.keys("space")
	}
	end := p.text()
	if strings.Contains(end, "more lines: space") || !strings.Contains(end, "more lines: b") || !strings.Contains(end, "session") {
		t.Errorf("this is not the end:\n%s", end)
	}
	for _, text := range []string{"asked", "said", "arguments", "evidence", "came from"} {
		if !strings.Contains(seen.String(), text) {
			t.Errorf("%s is not to be seen", text)
		}
	}
	for range 200 {
		p.keys("b")
	}
	p.sees(t, "why")
	p.keys("?")
	p.sees(t, "approve: the call is judged once more")
	p.keys("a") // closes the help, and does nothing else
	if len(p.table.asked) != 0 {
		t.Error(p.table.asked)
	}
}

// Nothing is decided before the person can see what it is about.
func TestNothingIsDecidedUnseen(t *testing.T) {
	p := &player{table: &table{}}
	p.model = newModel(Config{Desk: p.table, Story: storyOf, Now: func() time.Time { return noon }})
	p.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
	p.keys("a")
	_, read := p.Update(listed{held(41)})
	p.keys("a", "d")
	if len(p.table.asked) != 0 {
		t.Error(p.table.asked)
	}
	p.sees(t, "not before you can see what led to it")
	p.do(read)
	p.keys("a")
	if len(p.table.asked) != 1 {
		t.Error(p.table.asked)
	}
}
