package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// A daemon that ends in peace leaves a snapshot if there is enough to save, the next one starts from it and says so, and
// one that cannot use it folds the history and says why.
func TestADaemonStartsFromASnapshot(t *testing.T) {
	opts := options(t, "rules: [{name: r, on: \"*/*\", rate: {max: 100000, per: 1h, by: agent}, do: deny}]")
	path := filepath.Join(opts.StateDir, config.HistoryFile)
	opts.Now = func() time.Time { return storetest.Begin.Add(48 * time.Hour).Time() }
	db, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for next := uint64(1); next <= proxy.SnapshotEvery/10; next += 3 {
		events = append(events, storetest.Call(next, "s1", "get", event.Allow)...)
	}
	if err := storetest.Append(db, events...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		var said bytes.Buffer
		opts.Log = slog.New(slog.NewTextHandler(&said, nil))
		start(t, opts).Close()
		return said.String()
	}
	snapshot := func() (last, seq uint64) {
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if seq, _, err = db.Snapshot(); err != nil {
			t.Fatal(err)
		}
		return db.Last(), seq
	}
	if said := run(); !strings.Contains(said, fmt.Sprintf("events=%d snapshot=0", len(events))) {
		t.Error(said)
	}
	last, seq := snapshot()
	if seq != last || last <= uint64(len(events)) { // the policy was recorded, too
		t.Errorf("a snapshot of #%d, the history ends at #%d", seq, last)
	}
	if said := run(); !strings.Contains(said, fmt.Sprintf("events=0 snapshot=%d", seq)) || strings.Contains(said, "WARN") {
		t.Error(said)
	}
	db, err = store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SaveSnapshot(last, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if said := run(); !strings.Contains(said, "WARN") || !strings.Contains(said, fmt.Sprintf("events=%d snapshot=0", last)) {
		t.Error(said)
	}
	if _, again := snapshot(); again != last {
		t.Errorf("the next snapshot is of #%d, not of #%d", again, last)
	}
}
