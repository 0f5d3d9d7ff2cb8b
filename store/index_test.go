package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// Invariant 11: the log is the truth. Every index can be deleted and comes back identical.
func TestIndexesAreRebuilt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "history.db")
		db, err := store.Open(store.Config{Path: path})
		if err != nil {
			rt.Fatal(err)
		}
		var held []event.Event
		for range rapid.IntRange(1, 20).Draw(rt, "calls") {
			if len(held) > 0 && rapid.Bool().Draw(rt, "settle") {
				action := rapid.SampledFrom([]event.Action{event.Deny, event.Log, event.Allow}).Draw(rt, "then")
				if err := storetest.Append(db, storetest.Settle(db.Last()+1, held[0], action)...); err != nil {
					rt.Fatal(err)
				}
				held = held[1:]
				continue
			}
			action := rapid.SampledFrom([]event.Action{event.Deny, event.Hold, event.Log, event.Allow}).Draw(rt, "action")
			session := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(rt, "session")
			tool := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tool")
			call := storetest.Call(db.Last()+1, session, tool, action)
			if err := storetest.Append(db, call...); err != nil {
				rt.Fatal(err)
			}
			if action == event.Hold {
				held = append(held, call[0])
			}
		}
		before := dump(rt, db)
		if err := db.Check(); err != nil {
			rt.Fatal(err)
		}
		if err := db.Rebuild(); err != nil {
			rt.Fatal(err)
		}
		if after := dump(rt, db); after != before {
			rt.Fatalf("before\n%s\nafter\n%s", before, after)
		}
		if err := db.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func dump(t *rapid.T, db *store.DB) string {
	sessions, err1 := db.Sessions()
	tools, err2 := db.Tools()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if one, found, err := db.Session(s.ID); err != nil || !found || !reflect.DeepEqual(one, s) {
			t.Fatalf("session %s by itself: %+v %v %v", s.ID, one, found, err)
		}
	}
	if _, found, err := db.Session("nobody's"); found || err != nil {
		t.Fatalf("a session that there is not: %v %v", found, err)
	}
	text, err := json.MarshalIndent(map[string]any{"sessions": sessions, "tools": tools}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= db.Last(); seq++ {
		result, err := db.ResultOf(seq)
		if err != nil {
			t.Fatal(err)
		}
		settled, err := db.SettledBy(seq)
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Appendf(text, "\n%d -> %d, %d", seq, result, settled)
	}
	return string(text)
}

// A call that is held is one call: it is denied if it did not pass in the end.
func TestIndexesCountAHeldCallOnce(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	for _, action := range []event.Action{event.Deny, event.Log, event.Allow} {
		call := storetest.Call(db.Last()+1, "s1", "x", event.Hold)
		if err := storetest.Append(db, call...); err != nil {
			t.Fatal(err)
		}
		if at, err := db.SettledBy(call[0].Seq); at != 0 || err != nil {
			t.Error(at, err)
		}
		if err := storetest.Append(db, storetest.Settle(db.Last()+1, call[0], action)...); err != nil {
			t.Fatal(err)
		}
		if at, err := db.SettledBy(call[0].Seq); at != db.Last() || err != nil {
			t.Error(at, err)
		}
	}
	if s, err := db.Sessions(); err != nil || s[0].Calls != 3 || s[0].Held != 3 || s[0].Denied != 1 || s[0].Logged != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if tools, err := db.Tools(); err != nil || len(tools) != 1 || tools[0].Calls != 3 || tools[0].Held != 3 || tools[0].Denied != 1 || tools[0].Last != 9 {
		t.Errorf("%+v %v", tools, err)
	}
}

func TestIndexes(t *testing.T) {
	db := storetest.Open(t, store.Config{})
	opened := event.Event{V: 1, Seq: 1, At: storetest.Begin, Session: "s1", Body: &event.Opened{
		Link: "l", Server: "billing", Transport: "http", Peer: event.Peer{Principal: "local:u", Agent: "bot", Client: event.Client{Name: "bot"}, Workspace: "/w"},
	}}
	if err := storetest.Append(db, opened); err != nil {
		t.Fatal(err)
	}
	for _, call := range [][]event.Event{
		storetest.Call(2, "s1", "x", event.Allow), storetest.Call(5, "s1", "x", event.Deny), storetest.Call(7, "s1", "y", event.Log),
	} {
		if err := storetest.Append(db, call...); err != nil {
			t.Fatal(err)
		}
	}
	sessions, err := db.Sessions()
	if err != nil || len(sessions) != 1 {
		t.Fatal(sessions, err)
	}
	s := sessions[0]
	if s.ID != "s1" || s.First != 1 || s.Last != 9 || s.Calls != 3 || s.Denied != 1 || s.Logged != 1 || s.Agent != "bot" || s.Workspace != "/w" ||
		!slices.Equal(s.Servers, []string{"billing"}) {
		t.Errorf("%+v", s)
	}
	tools, err := db.Tools()
	if err != nil || len(tools) != 2 || tools[0].Calls != 2 || tools[0].Denied != 1 || tools[0].Last != 5 || tools[1].Tool != "y" {
		t.Errorf("%+v %v", tools, err)
	}
	if r, err := db.ResultOf(2); r != 4 || err != nil {
		t.Error(r, err)
	}
	if r, err := db.ResultOf(5); r != 0 || err != nil {
		t.Error(r, err)
	}
	if e, found, err := db.Get(5); !found || err != nil || e.Body.Kind() != "call" {
		t.Error(e, found, err)
	}
	if _, found, err := db.Get(99); found || err != nil {
		t.Error(found, err)
	}
}
