package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mark3labs/mcp-go/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/umpire-dev/umpire/examples/billing"
)

// TestMain lets the test binary stand in for the programs that tests start: umpire itself, and a stdio server.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each program sleeps for a second before it ends
	}
	testscript.Main(m, map[string]func(){
		"umpire":      main,
		"stdio-peer":  stdioPeer,
		"soak-server": soakServer,
		"billing-stdio": func() {
			if err := server.ServeStdio(billing.NewShop(200).Server()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
	})
}

var update = flag.Bool("update", false, "rewrite what scripts expect from what they get")

// TestScripts runs testdata/script: what a user types, and what comes of it. Each script has a state directory of its
// own, $STATE, and no configuration but what it writes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home, err := os.MkdirTemp("", "u") // short, since it holds a socket
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(home) })
			env.Setenv("XDG_STATE_HOME", home)
			env.Setenv("STATE", filepath.Join(home, "umpire"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere") // nobody's desktop is told of what tests hold
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Values[stageKey{}] = &stage{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"shop":      shop,
			"customers": customers,
			"requests":  requests,
			"refunds":   refunds,
			"toolbox":   toolbox,
			"serve":     serve,
			"interrupt": interrupt,
			"crash":     crash,
			"awaits":    awaits,
			"call":      call,
			"get":       get,
			"enters":    enters,
			"post":      post,
			"model":     model,
			"asks":      asks,
			"elicited":  elicited,
			"held":      heldCalls,
			"reviewers": reviewers,
			"receiver":  receiver,
			"terminal":  onTerminal,
			"press":     presses,
			"sees":      sees,
			"resize":    resize,
			"left":      left,
			"exits":     exits,
			"scrub":     scrub,
			"mode":      mode,
			"entry":     entryOf,

			"damaged":  damaged,
			"truncate": truncate,
			"reformat": reformat,
			"unrecord": unrecord,
			"unindex":  unindex,
			"setback":  setback,
			"inorder":  inorder,
		},
	})
}
