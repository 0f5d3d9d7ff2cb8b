package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/snapshot"
)

// book is a Catalog that is live: what is listed is news, or it is not recorded.
type book struct {
	*catalog.Catalog
	seq  uint64
	last *event.Catalog
}

func (b *book) lists(server string, tools ...event.Tool) (recorded []string) {
	b.last = b.News(&event.Catalog{Server: server, Tools: tools, Complete: true})
	if len(b.last.Tools) == 0 && !b.last.Complete {
		return nil
	}
	b.seq++
	b.Apply(event.Event{Seq: b.seq, Body: b.last})
	for _, t := range b.last.Tools {
		recorded = append(recorded, t.Name+" "+t.Pin)
	}
	return recorded
}

func (b *book) accept(server, tool string) {
	b.seq++
	b.Apply(event.Event{Seq: b.seq, Body: &event.Accepted{Server: server, Tools: []event.Pin{{Name: tool, Pin: b.Find(server, tool).Now.Pin}}}})
}

func kinds(doubts []catalog.Doubt) string {
	var out []string
	for _, d := range doubts {
		out = append(out, d.Kind)
	}
	return strings.Join(out, " ")
}

// What finds no room is doubtful, and is not recorded again and again.
func TestAToolThatFindsNoRoomIsDoubtful(t *testing.T) {
	b := book{Catalog: catalog.New()}
	many := make([]event.Tool, catalog.MaxTools+2)
	for i := range many {
		many[i] = event.Tool{Name: fmt.Sprint(i), Pin: "p"}
	}
	if n := len(b.lists("s", many...)); n != len(many) {
		t.Errorf("%d are recorded", n)
	}
	if n := len(b.lists("s", many...)); n != 0 {
		t.Errorf("%d are recorded again", n)
	}
	for tool, want := range map[int]string{0: "", catalog.MaxTools - 1: "", catalog.MaxTools: event.Changed, catalog.MaxTools + 1: event.Changed} {
		if got := kinds(b.Doubts("s", fmt.Sprint(tool))); got != want {
			t.Errorf("tool %d: %q, want %q", tool, got, want)
		}
	}
	data, err := snapshot.Encode(b.Image())
	if err != nil {
		t.Fatal(err)
	}
	var img catalog.Image
	if err := snapshot.Decode(data, &img); err != nil {
		t.Fatal(err)
	}
	restored, err := catalog.Restore(img)
	if err != nil || kinds(restored.Doubts("s", "never listed")) != event.Changed {
		t.Error(err)
	}
}

// A server that says something new each time is looked at each time: what was accepted long ago is no longer known.
func TestOnlySoManyDefinitionsAreAccepted(t *testing.T) {
	b := book{Catalog: catalog.New()}
	for i := range 17 {
		b.lists("s", event.Tool{Name: "t", Pin: fmt.Sprint(i)})
		b.accept("s", "t")
	}
	for _, tc := range []struct{ pin, want string }{{"16", ""}, {"1", ""}, {"0", event.Changed}} {
		b.lists("s", event.Tool{Name: "t", Pin: tc.pin})
		if got := kinds(b.Doubts("s", "t")); got != tc.want {
			t.Errorf("definition %s: %q, want %q", tc.pin, got, tc.want)
		}
	}
}

// However often a server changes its mind, a doubt of each kind is kept.
func TestDoubtsAreBounded(t *testing.T) {
	b := book{Catalog: catalog.New()}
	for i := range 100 {
		b.lists("s", event.Tool{Name: "t", Pin: fmt.Sprint(i)})
	}
	b.lists("s", event.Tool{Name: "t", Pin: "x", Doubts: []event.Doubt{{Kind: event.Hidden, Path: "description"}}})
	if got := kinds(b.Doubts("s", "t")); strings.Count(got, event.Changed) != 20 || !strings.HasSuffix(got, " hidden") {
		t.Error(got)
	}
}

// Listed before tools were pinned, a tool is pinned as it is listed next.
func TestToolsOfOldHistoriesArePinnedWhenTheyAreListedAgain(t *testing.T) {
	b := book{Catalog: catalog.New()}
	b.Apply(event.Event{Seq: 1, Body: &event.Catalog{Server: "s", Tools: []event.Tool{{Name: "t", Description: "old"}}}})
	if e := b.Find("s", "t"); e.Pinned != nil || len(e.Doubts) > 0 {
		t.Errorf("%+v", e)
	}
	b.lists("s", event.Tool{Name: "t", Description: "new", Pin: "1"})
	if e := b.Find("s", "t"); e.Pinned == nil || e.Pinned.Pin != "1" || len(e.Doubts) > 0 {
		t.Errorf("%+v", e)
	}
	b.lists("s", event.Tool{Name: "t", Description: "newer", Pin: "2"})
	if got := kinds(b.Doubts("s", "t")); got != event.Changed {
		t.Error(got)
	}
}

// A tool whose newest definition is pinned, and about which nothing is doubtful, has had no other definition since it was
// accepted last, whatever was listed in whatever order: the model of it remembers everything.
func TestNothingUnacceptedIsEverForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := book{Catalog: catalog.New()}
		good := map[string]map[string]bool{} // tool -> pins that are accepted
		bad := map[string]bool{}             // tools that were listed otherwise since
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 && len(good) > 0 {
				tool := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "accepted")
				if e := b.Find("s", tool); e != nil {
					b.accept("s", tool)
					good[tool][e.Now.Pin], bad[tool] = true, false
				}
				continue
			}
			list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Tool {
				return event.Tool{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tool"), Pin: rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "pin")}
			}), 1, 4).Draw(t, "list")
			b.lists("s", list...)
			for _, l := range list {
				switch {
				case good[l.Name] == nil:
					good[l.Name] = map[string]bool{l.Pin: true}
				case !good[l.Name][l.Pin]:
					bad[l.Name] = true
				}
			}
		}
		for tool := range good {
			if got := strings.Contains(kinds(b.Doubts("s", tool)), event.Changed); got != bad[tool] {
				t.Fatalf("%s is doubtful: %v, want %v", tool, got, bad[tool])
			}
		}
	})
}
