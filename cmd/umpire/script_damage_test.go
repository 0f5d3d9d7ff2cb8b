package main

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"
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

func edit(ts *testscript.TestScript, file string, f func(*bbolt.Tx) error) {
	db, err := bbolt.Open(ts.MkAbs(file), 0o600, nil)
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Update(f))
}
