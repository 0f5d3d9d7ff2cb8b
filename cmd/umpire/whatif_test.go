package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

const day = 24 * time.Hour

// old makes the history of one call a day, the last one an hour ago, and returns its state directory. All calls passed.
func old(t *testing.T, days int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db := storetest.Open(t, store.Config{Path: filepath.Join(dir, config.HistoryFile)})
	p, err := rules.Compile([]event.Source{{Name: "none.yaml"}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	begin := event.At(time.Now().Add(-time.Hour - time.Duration(days-1)*day))
	if err := storetest.Append(db, event.Event{V: event.Version, Seq: 1, At: begin, Body: p.Loaded()}); err != nil {
		t.Fatal(err)
	}
	for i := range days {
		events := storetest.Call(db.Last()+1, "s1", "issue_refund", event.Allow)
		for j := range events {
			events[j].At = begin.Add(time.Duration(i) * day)
		}
		if err := storetest.Append(db, events...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// try runs umpire replay --policy.
func try(t *testing.T, dir, policy string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	status = run(append([]string{"replay", "--state", dir, "--policy", file}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

const tenIn30Days = "rules: [{name: ten, on: billing/issue_refund, rate: {max: 10, per: 30d}, do: deny}]"

func TestSinceReportsLateCallsAndWindowsHoldOlderOnes(t *testing.T) {
	dir := old(t, 40)
	for _, tc := range []struct {
		since string
		calls string
		fails int
	}{
		{"", "40 calls judged", 3},
		{"5d", "5 calls judged", 3}, // each is the 30th of its window: those before --since are in it
		{"2h", "1 call judged", 3},
		{"1m", "0 calls judged", 0},
	} {
		args := []string{"--fail-on", "new-denials", "--examples", "-1"}
		if tc.since != "" {
			args = append(args, "--since", tc.since)
		}
		status, out, errs := try(t, dir, tenIn30Days, args...)
		if status != tc.fails || !strings.Contains(out, tc.calls) {
			t.Errorf("--since %s: %d\n%s%s", tc.since, status, out, errs)
		}
		if n := strings.Count(out, "30th call of billing/issue_refund in 30d (limit 10)"); tc.since == "5d" && n != 5 {
			t.Errorf("%d calls are the 30th of their window:\n%s", n, out)
		}
	}
}

func TestItIsSaidWhereRetentionHasRemovedWhatAWindowNeeds(t *testing.T) {
	dir := old(t, 40)
	db, err := store.Open(store.Config{Path: filepath.Join(dir, config.HistoryFile)})
	if err != nil {
		t.Fatal(err)
	}
	before := event.At(time.Now().Add(-20 * day))
	if n, err := db.Prune(store.Retention{Before: before, Floor: before}); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	status, out, errs := try(t, dir, tenIn30Days, "--fail-on", "new-denials", "--examples", "10")
	if status != 3 || !strings.Contains(out, "20 calls judged") || !strings.Contains(out, " 10 were allowed, would be denied: ten 10\n") {
		t.Errorf("%d\n%s%s", status, out, errs)
	}
	if !strings.Contains(out, "\n20 of them depend on history that retention has removed; judged by what is left of it.\n") {
		t.Error(out)
	}
	if n := strings.Count(out, " (judged by what retention has left)\n"); n != 10 {
		t.Errorf("%d lines say so:\n%s", n, out)
	}
	if _, out, _ := try(t, dir, strings.Replace(tenIn30Days, "30d", "36h", 1)); !strings.Contains(out, "\n1 of them depends ") {
		t.Errorf("only the first call is so near to what is gone:\n%s", out)
	}
}

// fading is a history from which retention removes something whenever nobody looks.
type fading struct {
	history.Reader
	pruned uint64
}

func (f *fading) Pruned() (store.Pruned, error) {
	f.pruned++
	return store.Pruned{Seq: f.pruned}, nil
}

func TestAHistoryThatFadesWhileItIsReadIsNotJudgedByHalf(t *testing.T) {
	r, _, err := history.Open(old(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := 0
	count := func(store.Pruned) error {
		for range history.Events(r, 1) {
			read++
		}
		return nil
	}
	if err := lasting(&fading{Reader: r}, count); err == nil || !strings.Contains(err.Error(), "while it was read") || read != 7 {
		t.Errorf("%v after %d events", err, read)
	}
	if err := lasting(r, count); err != nil || read != 14 {
		t.Errorf("%v after %d events", err, read)
	}
}

// What a client or a server calls its things cannot break a line or colour it.
func TestWhatIfShowsNamesAsText(t *testing.T) {
	dir := t.TempDir()
	db := storetest.Open(t, store.Config{Path: filepath.Join(dir, config.HistoryFile)})
	events := storetest.Call(2, "s1", "a\n#9 all is well\x1b[32m", event.Allow)
	loaded := event.Event{V: event.Version, Seq: 1, At: events[0].At, Body: &event.Loaded{}}
	if err := storetest.Append(db, append([]event.Event{loaded}, events...)...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	status, out, errs := try(t, dir, `rules: [{name: all, on: "*/*", rate: {distinct: args.a, max: 0, per: 1h, by: tool}, do: deny}]`)
	if status != 0 || strings.Count(out, "\n") != 10 || strings.Contains(out, "\x1b") || strings.Count(out, `a\n#9 all is well\u001b[32m`) != 3 {
		t.Errorf("%d\n%q\n%s", status, out, errs)
	}
}

func TestWhatIfJSONIsOneObjectALine(t *testing.T) {
	status, out, errs := try(t, old(t, 12), tenIn30Days, "--json", "--all")
	if status != 0 || errs != "" {
		t.Fatal(status, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, l := range lines {
		var one struct {
			Call      uint64         `json:"call"`
			Candidate *event.Verdict `json:"candidate"`
			NewDenial bool           `json:"new_denial"`
			Totals    *struct {
				Calls      int `json:"calls"`
				NewDenials int `json:"new_denials"`
			} `json:"totals"`
		}
		if err := json.Unmarshal([]byte(l), &one); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		switch {
		case i == len(lines)-1:
			if one.Totals == nil || one.Totals.Calls != 12 || one.Totals.NewDenials != 2 {
				t.Error(l)
			}
		case one.Call != uint64(2+3*i) || one.Candidate == nil || one.NewDenial != (i >= 10):
			t.Error(l)
		}
	}
}

// Where nobody knows of any call that it was in order, nobody knows how many false alarms there would be.
func TestALimitThatCannotBeCheckedIsNotKept(t *testing.T) {
	l := limits{most: 1}
	for name, tc := range map[string]struct {
		impact replay.Impact
		want   string
	}{
		"nothing is stopped":   {replay.Impact{}, ""},
		"nothing is known":     {replay.Impact{Stopped: replay.Stopped{Calls: 3, Unknown: 3}}, "no call is known to have been in order"},
		"as many as allowed":   {replay.Impact{Honest: 100, Stopped: replay.Stopped{Calls: 1, Succeeded: 1}}, ""},
		"more than allowed":    {replay.Impact{Honest: 199, Stopped: replay.Stopped{Calls: 2, Approved: 1, Succeeded: 1}}, "2 of 199 (1.0 %"},
		"only what was not so": {replay.Impact{Honest: 10, Stopped: replay.Stopped{Calls: 9, Failed: 5, Noted: 4}}, ""},
	} {
		err := l.check(&tc.impact)
		var limit limitError
		if tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &limit) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
