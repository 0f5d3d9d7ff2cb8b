package daemon_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store/storetest"
)

// The newest calls are in the first chart that is asked for, however long the history is; the last one has all of them.
func TestChartsBeginWithTheNewestAndEndWithAll(t *testing.T) {
	opts := options(t, "rules: []")
	opts.Now = func() time.Time { return storetest.Begin.Add(time.Minute).Time() }
	recorded(t, opts, 8_000)
	d := start(t, opts)
	defer d.Close()
	ask := asker(t, opts)
	deadline := time.Now().Add(time.Minute)
	for first := true; ; first = false {
		status, body, _ := ask("/v1/chart?minutes=15&steps=4")
		calls := gjson.Get(body, "total.calls").Int()
		if status != http.StatusOK || first && (calls < 1_000 || gjson.Get(body, "notable.#").Int() != 100) {
			t.Fatalf("%d %.600s", status, body)
		}
		if !gjson.Get(body, "counting").Bool() {
			if want := int64(8_000); calls != want || gjson.Get(body, "total.denied").Int() != want/10 || gjson.Get(body, "since").Exists() {
				t.Errorf("%.600s", body)
			}
			return
		}
		if since := gjson.Get(body, "since").Str; since != "" && since != storetest.Begin.String() {
			t.Fatalf("it says that it has counted back to %s, and everything happened at %s", since, event.Time(storetest.Begin))
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come to an end")
		}
	}
}
