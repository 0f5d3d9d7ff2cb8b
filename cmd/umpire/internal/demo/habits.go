package demo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// habitDays is for how long an agent does honest work before anybody learns from it.
const habitDays = 42

// firstDay is when that work begins, so that it ends yesterday: at ten o'clock (UTC), since habits are about days.
func firstDay(now time.Time) time.Time {
	const day = 24 * time.Hour
	return now.UTC().Truncate(day).Add(10*time.Hour - (habitDays+1)*day)
}

// strange is what no other rule objects to: the order was looked up, and no secret was read.
var strange = scene{
	title: fmt.Sprintf("After %d days of reports, one is told to refund an order and to send the report elsewhere: fits nobody's limits, and no habit", habitDays),
	agent: "report-agent", skip: 20 * time.Second, want: 4,
	calls: []call{
		{"billing", "list_orders", map[string]any{"customer_id": "c_7", "page": 1}},
		lookUp("ord_1150"), lookUp("ord_1151"), lookUp("ord_1152"),
		refund("ord_1150", "c_9", 35, "as agreed"),
		{"mail", "send", map[string]any{"to": "audit@example.net", "body": "Report of the day: 3 orders, the last one is ord_1152."}},
	},
}

// strangeRule asks a baseline about every call.
const strangeRule = "rules:\n  - {name: strange, on: \"*/*\", baseline: {stranger_than: 0.999}, do: deny}\n"

// report is what the agent does on a day.
func report(r *rand.Rand) (out []call) {
	out = append(out, call{"billing", "list_orders", map[string]any{"customer_id": fmt.Sprintf("c_%d", 1+r.IntN(100)), "page": 1}})
	looked := 3 + r.IntN(5)
	last := ""
	for range looked {
		last = fmt.Sprintf("ord_%d", 1001+r.IntN(200))
		out = append(out, lookUp(last))
	}
	return append(out, call{"mail", "send", map[string]any{"to": "bob@example.com", "body": fmt.Sprintf("Report of the day: %d orders, the last one is %s.", looked, last)}})
}

// learn lets an agent do honest work for many days, learns what is normal for it, and puts that into force, with a rule that asks.
func (s *stage) learn(ctx context.Context) error {
	begin := s.clock.now()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a play, the same every time
	for day := range habitDays {
		if err := s.honestDay(ctx, r, begin.AddDate(0, 0, day)); err != nil {
			return err
		}
	}
	s.clock.to(begin.AddDate(0, 0, habitDays), time.Hour)
	d := history.Dial(filepath.Join(s.StateDir, config.SocketFile))
	defer d.Close() //nolint:errcheck // what it has done is done
	b, err := baseline.Learn(func(from uint64) iter.Seq2[event.Event, error] { return history.Events(d, from) }, baseline.Learning{
		Effects: func(string, string) []string { return nil },
	})
	if err != nil {
		return err
	}
	text, err := b.Encode()
	if err != nil {
		return err
	}
	if err := d.Promote("baseline.json", text); err != nil {
		return err
	}
	if err := s.rule("strange.yaml", []byte(strangeRule)); err != nil {
		return err
	}
	return s.guard()
}

// honestDay is a day of the agent. All of its calls have to pass.
func (s *stage) honestDay(ctx context.Context, r *rand.Rand, at time.Time) error {
	a := newAgent(strange.agent, s.guarded.urls)
	defer a.close()
	for _, c := range report(r) {
		s.clock.to(at, time.Second)
		out, err := a.call(ctx, c)
		if err == nil && out.denied {
			err = errors.New("honest work is denied: " + out.because)
		}
		if err != nil {
			return err
		}
		at = at.Add(time.Duration(4+r.ExpFloat64()*15) * time.Second)
	}
	return nil
}
