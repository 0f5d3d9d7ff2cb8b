package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// worked is a history of honest days: every forty minutes a customer with a refund or two.
func worked(t *testing.T, c *clock) *manual {
	t.Helper()
	disk := &manual{}
	g := gate(t, disk, policy(t, "rules: []"), c)
	defer g.Close()
	for day := range 12 {
		for i := range 10 {
			for k := range 1 + (day+i)%3 {
				c.add(time.Duration(7+(day*31+i*17+k*11)%23) * time.Second)
				judge(t, g, support, fmt.Sprintf(`{"order_id":"ord_%d","amount":%d}`, 1000+(day*7919+i*613+k*37)%9000, 5+(day+i*7)%60))
			}
			c.add(40 * time.Minute)
		}
		c.add(24*time.Hour - 10*40*time.Minute)
	}
	return disk
}

func TestABaselineThatIsPromotedJudgesTheNextCallAndTheOneAfterARestart(t *testing.T) {
	c := newClock()
	disk := worked(t, c)
	b, err := baseline.Learn(disk.Events, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p := policy(t, `rules: [{name: strange, on: "*/*", baseline: {stranger_than: 0.999}, do: deny}]`)
	g := gate(t, disk, p, c)
	if v := judge(t, g, support, `{"order_id":"ord_1234","amount":20}`).Verdict; v.Action != event.Deny || !strings.Contains(v.Why, "no baseline is in force") {
		t.Errorf("before: %+v", v)
	}
	if err := g.Promote("local:ann", "baseline.json", []byte("{}")); err == nil {
		t.Error("what is no baseline comes into force")
	}
	if err := g.Promote("local:ann", "baseline.json", file); err != nil {
		t.Fatal(err)
	}
	honest, odd := `{"order_id":"ord_1234","amount":20}`, `{"order_id":"ord_1234","amount":900000,"to":"DE12"}`
	for range 2 {
		c.add(time.Hour)
		if v := judge(t, g, support, honest).Verdict; v.Action != event.Allow {
			t.Errorf("an honest call: %s", v.Why)
		}
		c.add(20 * time.Second)
		if v := judge(t, g, support, odd).Verdict; v.Action != event.Deny || !strings.Contains(v.Why, "amount 900,000; ") {
			t.Errorf("a strange call: %+v", v)
		}
		g.Close()
		g = gate(t, disk, p, c)
	}
	g.Close()
}

func TestADriftIsRecordedOnceWithTheCallThatShowsIt(t *testing.T) {
	c := newClock()
	disk := worked(t, c)
	b, err := baseline.Learn(disk.Events, baseline.Learning{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	g := gate(t, disk, policy(t, `rules: [{name: strange, on: "*/*", baseline: {stranger_than: 0.999}, do: log}]`), c)
	defer g.Close()
	if err := g.Promote("local:ann", "baseline.json", file); err != nil {
		t.Fatal(err)
	}
	c.add(time.Hour)
	for i := range 40 {
		c.add(2 * time.Second)
		judge(t, g, support, fmt.Sprintf(`{"order_id":"ord_%d","amount":%d,"urgent":true}`, 1000+i, 50+i))
	}
	told := 0
	for _, e := range log(t, disk) {
		if s, ok := e.Body.(*event.Signal); ok && s.Name == "drift" {
			told++
			if s.Source != "baseline" || s.Server != "billing" || !strings.HasPrefix(s.Text, `agent "support" has changed: 16 of its `) || e.Session == "" {
				t.Errorf("%+v", e)
			}
		}
	}
	if told != 1 {
		t.Errorf("it is told %d times", told)
	}
}
