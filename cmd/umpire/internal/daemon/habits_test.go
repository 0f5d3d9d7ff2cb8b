package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// counted asks until all was read.
func counted(t testing.TB, ask func(string) (int, string, string), path string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		status, body, _ := ask(path)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		if !gjson.Get(body, "counting").Bool() {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come to an end")
		}
	}
}

func TestAgentsAreShownWithTheirHabitsAndWhatIsNew(t *testing.T) {
	opts := options(t, habitRules)
	p := practised(t, time.Now())
	p.store(opts)
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	all := counted(t, ask, "/v1/habits")
	for path, want := range map[string]string{
		"baseline.who":     "local:ann",
		"baseline.name":    "baseline.json",
		"learned.enough":   `{"sessions":30,"calls":200,"days":3}`,
		"agents.#":         "3",
		"agents.#.known":   "[true,true,true]",
		"agents.1.agent":   "support-agent",
		"agents.0.missing": "4 of 30 sessions, ",
	} {
		if got := gjson.Get(all, path).String(); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %s", path, got)
		}
	}
	one := counted(t, ask, "/v1/habits/agent?agent=support-agent")
	kinds := gjson.Get(one, "agent.news.#.kind").String()
	for _, kind := range []string{"server", "tool", "argument", "value", "order", "threshold"} {
		if !strings.Contains(kinds, `"`+kind+`"`) {
			t.Errorf("no %s is new: %s", kind, kinds)
		}
	}
	if got := gjson.Get(one, `agent.news.#(kind="server")`); got.Get("stopped").Int() != 1 || !strings.Contains(got.Get("text").Str, `"mail"`) {
		t.Errorf("the new server is %s", got)
	}
	if n := gjson.Get(one, "agent.week.strange").Int(); n < 30 || len(gjson.Get(one, "agent.strange").Array()) > 20 {
		t.Errorf("%d calls are strange", n)
	}
	hostile := counted(t, ask, "/v1/habits/agent?agent="+url.QueryEscape(evil))
	if gjson.Get(hostile, "agent.agent").Str != evil || len(hostile) > 40_000 {
		t.Errorf("%d bytes of %s", len(hostile), gjson.Get(hostile, "agent.agent"))
	}
	if status, body, _ := ask("/v1/habits/agent?agent=nobody"); status != http.StatusOK || gjson.Get(body, "agent.known").Bool() || gjson.Get(body, "agent.week.calls").Int() != 0 {
		t.Errorf("%d %s", status, body)
	}
}

// The picture that the daemon draws later has the score that the rule gave its reason with.
func TestThePictureOfACallIsAsItWasJudged(t *testing.T) {
	opts := options(t, habitRules)
	p := practised(t, time.Now())
	p.store(opts)
	d := start(t, opts)
	defer d.Close()
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	denied := 0
	for _, e := range p.log {
		v, ok := e.Body.(*event.Verdict)
		if !ok || v.Action != event.Deny && v.Action != event.Log || denied >= 24 {
			continue
		}
		denied++
		got, err := h.Picture(e.Cause)
		if err != nil || got == nil || !got.Strange || got.Short {
			t.Fatalf("#%d: %+v %v", e.Cause, got, err)
		}
		said, _, _ := strings.Cut(strings.TrimPrefix(v.Why, "stranger than "), " ")
		if said != got.Than {
			t.Errorf("#%d: %s, and the rule says %s", e.Cause, got.Than, v.Why)
		}
		reason := strings.Split(v.Why, "; ")[2]
		if !slices.ContainsFunc(got.Reasons, func(r baseline.ReasonFigure) bool { return strings.HasPrefix(r.Text, reason) }) {
			t.Errorf("#%d: nothing says %q: %+v", e.Cause, reason, got.Reasons)
		}
	}
	if denied < 20 {
		t.Errorf("%d calls were denied or noted", denied)
	}
	ask := asker(t, opts)
	for path, want := range map[string]string{
		"/v1/calls/3/picture":      "200 null", // before there was a baseline
		"/v1/calls/1/picture":      "404 there is no such call",
		"/v1/calls/999999/picture": "404 there is no such call",
		"/v1/calls/x/picture":      "400 want the number of a call",
	} {
		if status, body, _ := ask(path); !strings.HasPrefix(fmt.Sprint(status, " ", body), want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// Rules stand in a replay as they did, however long ago the baseline came into force.
func TestAReplayKnowsTheBaselineThatWasInForce(t *testing.T) {
	opts := options(t, habitRules)
	p := practised(t, time.Now())
	p.at = p.at.Add(baseline.Horizon + 24*time.Hour)
	p.call("support-agent", "late", "billing/find_customer", time.Hour, map[string]any{"email": "c1@example.com"})
	p.call("support-agent", "late", "shell/run", time.Second, map[string]any{"cmd": "id"})
	p.store(opts)
	d := start(t, opts)
	defer d.Close()
	status, body, _ := asker(t, opts)("/v1/play?session=late")
	if status != http.StatusOK || strings.Contains(body, "no baseline is in force") || !strings.Contains(body, "stranger than") {
		t.Errorf("%d %.2000s", status, body)
	}
}

// Without a baseline, agents are counted, and it is said that there is none.
func TestWithoutABaselineAgentsAreListed(t *testing.T) {
	opts := options(t, "rules: []")
	recorded(t, opts, 300)
	d := start(t, opts)
	defer d.Close()
	all := counted(t, asker(t, opts), "/v1/habits")
	var got struct {
		Baseline baseline.Force
		Agents   []json.RawMessage
	}
	if err := json.Unmarshal([]byte(all), &got); err != nil || got.Baseline.Digest != "" {
		t.Errorf("%v %s", err, all)
	}
}

const benchEvents = 200_000

// BenchmarkHabits is how long it takes from the first question until a history of so many events is read, all of it in the last days,
// and how long a page takes then.
func BenchmarkHabits(b *testing.B) {
	opts := options(b, habitRules)
	now := time.Now()
	p := practised(b, now)
	for len(p.log) < benchEvents {
		p.customer("support-agent", fmt.Sprint("m", len(p.log)/500))
	}
	last := p.log[len(p.log)-1].Cause
	p.store(opts)
	d := start(b, opts)
	defer d.Close()
	ask := asker(b, opts)
	begin := time.Now()
	ask("/v1/habits/agent?agent=support-agent")
	first := time.Since(begin)
	counted(b, ask, "/v1/habits/agent?agent=support-agent")
	all := time.Since(begin)
	begin = time.Now()
	if status, body, _ := ask(fmt.Sprintf("/v1/calls/%d/picture", last)); status != http.StatusOK {
		b.Fatal(body)
	}
	picture := time.Since(begin)
	for b.Loop() {
		if status, body, _ := ask("/v1/habits/agent?agent=support-agent"); status != http.StatusOK {
			b.Fatal(body)
		}
	}
	b.ReportMetric(float64(first.Microseconds())/1000, "first-ms")
	b.ReportMetric(float64(all.Milliseconds()), "all-ms")
	b.ReportMetric(float64(picture.Milliseconds()), "picture-ms")
	b.ReportMetric(float64(len(p.log)), "events")
}
