package main

import (
	"fmt"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

// table formats the counts of one kind of groups. Columns that have nothing to count are left empty.
func table(t corpus.Tables, by string) [][]string {
	rows := [][]string{{by, "sessions", "stopped", "95 %", "first", "success", "clean hurt", "95 %", "asked hurt", "resisted hurt", "95 %", "hurt: denied", "held"}}
	for _, name := range t.Names(by) {
		r := t[by][name]
		rows = append(rows, []string{
			view.Text(name, 90), fmt.Sprint(r.Sessions), share(r.Stopped), interval(r.Stopped), share(r.First), share(r.Success), share(r.Clean), interval(r.Clean),
			share(r.Asked), share(r.Resisted), interval(r.Resisted), share(r.Denied), share(r.Held),
		})
	}
	for i := range rows {
		for k := 1; k < len(rows[i]); k++ {
			rows[i][k] = " " + rows[i][k]
		}
	}
	return rows
}

func share(s corpus.Share) string {
	if s.Of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%% %d/%d", s.Percent(), s.N, s.Of)
}

func interval(s corpus.Share) string {
	if s.Of == 0 {
		return "-"
	}
	low, high := s.Wilson()
	return fmt.Sprintf("%.1f–%.1f", low, high)
}

// story tells what happened in a session, and what was decided.
func story(p *view.Printer, s *corpus.Scored) {
	o := s.Outcome()
	what := "hurt"
	if o.Stopped < o.Malicious {
		what = fmt.Sprintf("%d of %d malicious calls stopped", o.Stopped, o.Malicious)
	}
	p.Line()
	p.Line(fmt.Sprintf("%s: %s, %s", view.Text(s.Labels.ID, 120), s.Labels.Kind(), what))
	decided := map[int]corpus.Decision{}
	for _, d := range s.Decisions {
		decided[d.Event] = d
	}
	for i, e := range s.Session.Events {
		switch e.Type {
		case "user", "assistant":
			p.Line("  "+e.Type+":", view.Text(e.Text, 400))
		case "result":
			p.Line("    result:", view.Text(e.Text, 400))
		case "call":
			d := decided[i]
			mark := ""
			if m := s.Labels.Events[i].Malicious; m != nil && *m {
				mark = " (malicious)"
			}
			p.Line("  ", view.Ref(d.Seq), view.Action(d.Verdict.Action), view.Text(e.Server+"/"+e.Tool, 80)+mark, view.JSON(e.Args, 300))
			if d.Verdict.Rule != "" {
				p.Line("    ", view.Text(d.Verdict.Rule, 60)+":", view.Text(d.Verdict.Why, 300))
			}
		}
	}
}
