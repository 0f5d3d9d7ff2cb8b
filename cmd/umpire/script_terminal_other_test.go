//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

// terminalOf is only known on Linux.
type terminalOf struct{}

func noTerminal(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("terminals are tried on Linux")
}

var onTerminal, presses, sees, resize, left = noTerminal, noTerminal, noTerminal, noTerminal, noTerminal
