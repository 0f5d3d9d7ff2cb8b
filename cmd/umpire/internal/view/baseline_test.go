package view_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/baseline"
)

// odd is an agent of which everything is hostile.
func odd() (baseline.Habits, baseline.Picture) {
	names := baseline.Names{Of: 3, List: []baseline.Count{{Name: hostile, Sessions: 2}, {Name: strings.Repeat("x", 120), Sessions: 1}}, More: 4}
	news := baseline.Novelty{Kind: baseline.NewValue, Text: hostile + strings.Repeat(" word", 50), Tool: hostile, Path: hostile, Seq: 7, Times: 3, Stopped: 2, At: 1e18, Last: 1e18, Older: true}
	number := baseline.Band{What: "number", Milli: true, N: 3, Least: 1000, P1: 1000, P99: 9_500_000, Most: 9_500_000, Bars: []baseline.Bar{{Label: "1", N: 2}, {Label: "9", N: 1}}}
	h := baseline.Habits{
		Summary: baseline.Summary{
			Agent: hostile, Known: true, Missing: hostile, Group: hostile, From: 1e18, Until: 2e18, Week: baseline.Week{Calls: 5, Strange: 1}, News: []baseline.Novelty{news}, Unnamed: 3,
			Strange: []baseline.StrangeCall{{Seq: 7, Tool: hostile, Than: "0.999", Signal: "news", Text: hostile, Times: 4}}, Drifts: []baseline.Drift{{Seq: 9, Text: hostile}},
		},
		Days: make([]baseline.Day, baseline.LatelyDays), Rates: []baseline.Band{{What: "calls in 10s", N: 9, Most: 3}},
		Graph: baseline.Graph{Nodes: []baseline.Node{{}, {Tool: hostile, New: true}}, Edges: []baseline.Edge{{To: 1, PerMille: 5, Sessions: 1}, {From: 1, To: 1, New: true, Times: 1, Stopped: 1, Seq: 7}}, MoreNodes: 3},
		Tools: []baseline.ToolHabit{{Tool: hostile, Args: []baseline.ArgHabit{{Path: hostile, Types: names, Values: names, From: names, News: []baseline.Novelty{news}}, {Path: "n", Types: names, Number: &number}}, More: 2}},
	}
	for i := range h.Days {
		h.Days[i] = baseline.Day{Date: "2026-01-02", Most: [4]int64{int64(i)}}
	}
	bars := []baseline.Bar{{Label: hostile, N: 3}, {Label: strings.Repeat("y", 120), Mark: true}}
	p := baseline.Picture{Call: 7, Agent: hostile, Of: hostile, Why: hostile, Than: "0.9999", Strange: true, Signals: []baseline.SignalShare{{Signal: "news", Than: "0.9999"}}, Reasons: []baseline.ReasonFigure{
		{SignalShare: baseline.SignalShare{Signal: "news"}, Text: hostile + strings.Repeat(" word", 50), Figure: &baseline.Figure{Kind: baseline.Listed, Title: hostile, Bars: bars, More: 3}},
	}}
	return h, p
}

// Whatever agents, tools and values are called, habits are lines of no more than 100 columns, in which nothing hides; in a pipe there
// is no colour.
func TestHabitsFitTheirLinesAndHideNothing(t *testing.T) {
	h, picture := odd()
	var out bytes.Buffer
	p := view.New(&out)
	p.Habits(&h, true)
	h.Missing = ""
	p.Habits(&h, true)
	p.Picture(&picture)
	for kind, bars := range map[string][]baseline.Bar{baseline.Clock: make([]baseline.Bar, 24), baseline.Series: picture.Reasons[0].Figure.Bars, baseline.Spread: nil} {
		picture.Reasons[0].Figure = &baseline.Figure{Kind: kind, Title: "t", Bars: bars}
		p.Picture(&picture)
	}
	picture.Of = ""
	p.Picture(&picture)
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
		for _, r := range line {
			if !unicode.IsPrint(r) || r == '\u202e' || r == '\u200b' {
				t.Errorf("%q in %q", r, line)
			}
		}
	}
	for _, want := range []string{
		"+ ", "new once, stopped, first #7", "3 times, 2 stopped, first #7", "(the strangest of 4 in a row)", "beyond all", "never  this call", "nobody can tell how strange it is", "another baseline is in force since", "3 times something else",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("nothing says %q in\n%s", want, out.String())
		}
	}
}
