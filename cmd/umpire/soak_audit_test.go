//go:build unix

package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// entered is what the history says of a call.
type entered struct {
	seq      uint64
	at       event.Time
	link     string
	verdicts []event.Action
	approved bool
	results  []event.Outcome
}

func (e *entered) passed() bool { return e.verdicts[len(e.verdicts)-1].Passes() }

// audit checks the history of a site whose daemon has ended, and compares it with the books.
func (s *soak) audit() {
	db, err := store.Open(store.Config{Path: filepath.Join(s.state, config.HistoryFile), ReadOnly: true})
	if err != nil {
		s.fault("%v", err)
		return
	}
	defer db.Close()
	if err := db.Check(); err != nil {
		s.fault("the history is not whole: %v", err)
	}
	report, err := replay.Verify(db.Events, 0)
	if err != nil || report.Same != report.Verdicts {
		s.fault("replay: %+v %v", report, err)
	}
	history := s.read(db)
	for n, f := range s.of {
		s.compare(n, f, history[n])
	}
	for n, e := range history {
		if n < 0 || n >= len(s.of) {
			s.fault("#%d is call %d, which nobody has made", e.seq, n)
		}
	}
	s.count["recorded calls"], s.count["verdicts that replay"] = len(history), report.Same
}

// read reads what the history says of each call.
func (s *soak) read(db *store.DB) map[int]*entered {
	calls, bySeq := map[int]*entered{}, map[uint64]*entered{}
	tools := map[uint64]string{}
	var limited []event.Time // that passed in the last second
	for e, err := range db.Events(1) {
		if err != nil {
			s.fault("the history cannot be read: %v", err)
			return calls
		}
		of := bySeq[e.Cause]
		switch b := e.Body.(type) {
		case *event.Call:
			n := int(gjson.GetBytes(b.Args, "n").Int())
			if calls[n] != nil {
				s.fault("call %d is recorded twice, as %+v, and again as #%d at %s by %s: %s", n, *calls[n], e.Seq, e.At, b.Link, b.Tool)
			}
			calls[n] = &entered{seq: e.Seq, at: e.At, link: b.Link}
			bySeq[e.Seq] = calls[n]
			tools[e.Seq] = b.Tool
		case *event.Verdict:
			of.verdicts = append(of.verdicts, b.Action)
			if tools[e.Cause] == "limited" && b.Action.Passes() {
				limited = append(slices.DeleteFunc(limited, func(at event.Time) bool { return at <= e.At.Add(-time.Second) }), e.At)
				if len(limited) > soakLimit {
					s.fault("#%d makes %d limited calls in a second", e.Cause, len(limited))
				}
			}
		case *event.Review:
			of.approved = b.Approve
		case *event.Result:
			s.count["result: "+string(b.Outcome)]++
			of.results = append(of.results, b.Outcome)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return calls
}

// compare compares what clients and servers know of a call with what the history says.
func (s *soak) compare(n int, f fate, e *entered) {
	fault := func(format string, args ...any) {
		s.fault("call %d: "+format+"\n%+v, recorded: %+v", append(append([]any{n}, args...), f, e)...)
	}
	if f.late {
		fault("its client has waited in vain for the answer")
	}
	if f.reached && f.answer == denied {
		fault("it reached its server, and its client was told that it was denied")
	}
	if e == nil {
		switch {
		case f.reached:
			fault("it reached its server, and is not recorded")
		case f.answer == told:
			fault("it was answered, and is not recorded")
		case f.answer == denied && f.fair:
			fault("it was denied while nothing was wrong, and is not recorded")
		}
		return
	}
	switch first := e.verdicts[0]; {
	case f.tool == "never" && first != event.Deny, f.tool == "asked" && first != event.Hold, f.tool == "free" && !first.Passes():
		fault("it is judged by the wrong rule")
	case f.tool == "asked" && e.passed() && !e.approved:
		fault("it passed without an approval")
	case len(e.verdicts) > 2, len(e.verdicts) == 2 && first != event.Hold, e.verdicts[len(e.verdicts)-1] == event.Hold:
		fault("it has these verdicts")
	}
	switch passed := e.passed(); {
	case f.reached && !passed:
		fault("it reached its server, and was not let through")
	case f.answer == denied && passed:
		fault("it was let through, and its client was told that it was denied")
	case passed && len(e.results) != 1, !passed && len(e.results) != 0:
		fault("it has these results")
	case f.answer == told && e.results[0] != event.OutcomeOK:
		fault("its client has the answer, and that is not recorded")
	case passed && e.results[0] == event.OutcomeOK && !f.reached:
		fault("it never reached a server, and was answered")
	}
}

// totals says what happened.
func (s *soak) totals() string {
	var b strings.Builder
	reached := 0
	for _, f := range s.of {
		if f.reached {
			reached++
		}
	}
	fmt.Fprintf(&b, "%d calls, %d reached a server, in %s", len(s.of), reached, s.now())
	for _, kind := range slices.Sorted(maps.Keys(s.count)) {
		fmt.Fprintf(&b, "\n%6d %s", s.count[kind], kind)
	}
	fmt.Fprintf(&b, "\nevery client got on after %v\nthe daemon in calm: %+v", s.recovered, s.levels)
	return b.String()
}
