package main

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"

	"github.com/umpire-dev/umpire/rules/event"
)

// damaged runs every command that needs the history. Each has to say that it is damaged, and to say nothing else.
func damaged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: damaged")
	}
	path, err := exec.LookPath("umpire")
	ts.Check(err)
	said := regexp.MustCompile(`(?s)^error: store: the history is damaged: [^\n]*\nhint: move history.db away and start again[^\n]*\n$`)
	for _, args := range [][]string{
		{"sessions"},
		{"sessions", "--json"},
		{"show", "s2"},
		{"show", "4"},
		{"log"},
		{"log", "--follow"},
		{"export"},
		{"replay", "--verify"},
		{"replay", "--policy", root + "/examples/policies/refunds.yaml", "--json"},
		{"serve", "--upstream", "http://127.0.0.1:1/mcp", "--listen", "127.0.0.1:0"},
	} {
		cmd := exec.Command(path, args...)
		cmd.Env = environment(ts)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) > 0 || !said.Match(exit.Stderr) {
			if exit != nil {
				ts.Logf("%s", exit.Stderr)
			}
			ts.Fatalf("umpire %v: %v\n%s", args, err, out)
		}
	}
}

// truncate cuts a file to so many bytes.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate SIZE FILE")
	}
	size, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[1]), size))
}

// reformat makes a history one of another format version.
func reformat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reformat VERSION FILE")
	}
	edit(ts, args[1], func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte(args[0])) })
}

// unrecord takes an event out of a history.
func unrecord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unrecord SEQ FILE")
	}
	seq, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	edit(ts, args[1], func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("events")).Delete(binary.BigEndian.AppendUint64(nil, seq))
	})
}

// unindex deletes all of a history that can be made again.
func unindex(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unindex FILE")
	}
	edit(ts, args[0], func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("sessions")), tx.DeleteBucket([]byte("calls")), tx.DeleteBucket([]byte("tools")))
	})
}

// setback makes the clock one that was set back since a history was written: all of it happened so much later.
func setback(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setback DURATION FILE")
	}
	by, err := time.ParseDuration(args[0])
	ts.Check(err)
	edit(ts, args[1], func(tx *bbolt.Tx) error {
		later := map[string][]byte{}
		b := tx.Bucket([]byte("events"))
		if err := b.ForEach(func(k, v []byte) error {
			var e event.Event
			if err := e.UnmarshalJSON(v); err != nil {
				return err
			}
			e.At = e.At.Add(by)
			text, err := e.MarshalJSON()
			later[string(k)] = text
			return err
		}); err != nil {
			return err
		}
		for k, v := range later {
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
		return errors.Join(tx.DeleteBucket([]byte("sessions")), tx.DeleteBucket([]byte("calls")), tx.DeleteBucket([]byte("tools")))
	})
}

// inorder checks that in what was exported last no event happens before the one before it.
func inorder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: inorder, after umpire export")
	}
	var last event.Event
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var e event.Event
		ts.Check(e.UnmarshalJSON([]byte(line)))
		if e.At < last.At || e.Seq <= last.Seq {
			ts.Fatalf("#%d at %s follows #%d at %s", e.Seq, e.At, last.Seq, last.At)
		}
		last = e
	}
	if last.Seq == 0 {
		ts.Fatalf("nothing was exported")
	}
}

func edit(ts *testscript.TestScript, file string, f func(*bbolt.Tx) error) {
	db, err := bbolt.Open(ts.MkAbs(file), 0o600, nil)
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Update(f))
}
