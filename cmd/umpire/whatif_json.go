package main

import (
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
)

// whatIfJSON prints for programs: one call a line, and the totals last.
type whatIfJSON struct {
	out    io.Writer
	policy *rules.Policy
}

func (w *whatIfJSON) line(v any) error {
	enc := json.NewEncoder(w.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (w *whatIfJSON) judgement(j replay.Judgement) error {
	call := j.Call.Body.(*event.Call)
	return w.line(struct {
		Call       uint64        `json:"call"`
		At         event.Time    `json:"at"`
		Session    string        `json:"session"`
		Server     string        `json:"server"`
		Tool       string        `json:"tool"`
		Recorded   event.Verdict `json:"recorded"`
		Candidate  event.Verdict `json:"candidate"`
		NewDenial  bool          `json:"new_denial"`
		Incomplete bool          `json:"incomplete,omitempty"`
	}{j.Call.Seq, j.Call.At, j.Call.Session, call.Server, call.Tool, j.Recorded, j.Replayed, j.NewDenial(), j.Incomplete})
}

// changeJSON is a change, and how many calls have it.
type changeJSON struct {
	From  event.Action `json:"from"`
	To    event.Action `json:"to"`
	Rule  string       `json:"rule,omitempty"`
	Calls int          `json:"calls"`
}

// groupJSON is a change of the calls of one tool.
type groupJSON struct {
	changeJSON
	Server   string            `json:"server"`
	Tool     string            `json:"tool"`
	Sessions int               `json:"sessions"`
	Sums     map[string]string `json:"sums,omitempty"` // exact decimals, by argument
	Stopped  *replay.Stopped   `json:"stopped,omitempty"`
	Released *replay.Released  `json:"released,omitempty"`
}

// shareJSON is a part of some calls, with the bounds of Wilson's interval of 95 %.
type shareJSON struct {
	corpus.Share
	Percent float64 `json:"percent"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// sessionJSON is a session of which calls would be stopped.
type sessionJSON struct {
	Session string `json:"session"`
	Stopped int    `json:"stopped"`
}

// maxHit bounds the sessions that are named.
const maxHit = 1000

func (w *whatIfJSON) totals(i *replay.Impact) error {
	list := func(changes map[replay.Change]int) []changeJSON {
		out := []changeJSON{}
		for _, c := range ordered(changes) {
			out = append(out, changeJSON{c.From, c.To, c.Rule, changes[c]})
		}
		return out
	}
	type totals struct {
		Policy     string          `json:"policy"`
		Files      []string        `json:"files"`
		Against    string          `json:"judged_against"`
		Calls      int             `json:"calls"`
		Same       int             `json:"same"`
		NewDenials int             `json:"new_denials"`
		Incomplete int             `json:"incomplete"`
		Changes    []changeJSON    `json:"changes"`
		Observed   []changeJSON    `json:"if_enforced"`
		Stricter   int             `json:"stricter"`
		Looser     int             `json:"looser"`
		Groups     []groupJSON     `json:"groups"`
		Sessions   int             `json:"sessions"`
		Hit        int             `json:"sessions_hit"`
		Most       []sessionJSON   `json:"most_hit"` // the first maxHit
		Stopped    replay.Stopped  `json:"stopped"`
		Released   replay.Released `json:"released"`
		Leaning    int             `json:"leaning"`
		False      shareJSON       `json:"false_alarms"`        // of the stopped calls of which it is known what became of them
		Hurt       shareJSON       `json:"stopped_of_in_order"` // of all calls that were in order
	}
	hit, most := i.Hit(), []sessionJSON{}
	for _, id := range hit[:min(len(hit), maxHit)] {
		most = append(most, sessionJSON{id, i.Sessions[id]})
	}
	return w.line(map[string]totals{"totals": {
		w.policy.Digest(), files(w.policy), "the history that happened", i.Calls, i.Same, i.Denials, i.Incomplete, list(i.Changes), list(i.Observed),
		i.Stricter, i.Looser, groupsJSON(i), len(i.Sessions), len(hit), most, i.Stopped, i.Released, i.Leaning,
		toShareJSON(i.Stopped.Honest(), i.Stopped.Known()), toShareJSON(i.Stopped.Honest(), i.Honest),
	}})
}

func toShareJSON(n, of int) shareJSON {
	s := corpus.Share{N: n, Of: of}
	low, high := s.Wilson()
	return shareJSON{s, s.Percent(), low, high}
}

func groupsJSON(i *replay.Impact) []groupJSON {
	out := []groupJSON{}
	for _, g := range grouped(i.Groups) {
		s := i.Groups[g]
		one := groupJSON{changeJSON: changeJSON{g.From, g.To, g.Rule, s.Calls}, Server: g.Server, Tool: g.Tool, Sessions: len(s.Sessions), Sums: map[string]string{}}
		for _, path := range slices.Sorted(maps.Keys(s.Amounts)) {
			one.Sums[path] = rules.FormatAmount(s.Amounts[path])
		}
		if s.Stopped.Calls > 0 {
			one.Stopped = &s.Stopped
		}
		if s.Released.Calls > 0 {
			one.Released = &s.Released
		}
		out = append(out, one)
	}
	return out
}
