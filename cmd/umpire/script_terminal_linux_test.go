package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminalOf is a terminal with a program on it.
type terminalOf struct {
	screen *vt.SafeEmulator
	line   *os.File // to the program
	tty    *os.File // what the program has, kept open to look at
	before unix.Termios
	ended  chan error
}

// text is what stands on the screen, as one sees it.
func (t *terminalOf) text() string { return ansi.Strip(t.screen.Render()) }

// onTerminal starts a program on a terminal of a size, and does not wait for it.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	if neg || len(args) < 3 || s.screen != nil {
		ts.Fatalf("usage: terminal WIDTH HEIGHT COMMAND…, once at a time")
	}
	width, height := size(ts, args)
	t := &terminalOf{screen: vt.NewSafeEmulator(width, height), ended: make(chan error, 1)}
	var err error
	t.line, t.tty, err = openTerminal(width, height)
	ts.Check(err)
	args = args[2:]
	state, err := unix.IoctlGetTermios(int(t.tty.Fd()), unix.TCGETS)
	ts.Check(err)
	t.before = *state
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(environment(ts), "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.tty, t.tty, t.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	go func() { t.ended <- cmd.Wait() }()
	var copies sync.WaitGroup
	copies.Go(func() { io.Copy(t.screen, t.line) }) // what the program draws
	copies.Go(func() { io.Copy(t.line, t.screen) }) // what a terminal answers when it is asked
	s.screen = t
	ts.Defer(func() {
		cmd.Process.Kill()
		t.tty.Close()
		t.line.Close()
		t.screen.InputPipe().(io.Closer).Close() // Close races with Read
		copies.Wait()
	})
}

func screenOf(ts *testscript.TestScript) *terminalOf {
	t := stageOf(ts).screen
	if t == nil {
		ts.Fatalf("there is no terminal yet")
	}
	return t
}

// presses presses keys: enter, esc, up, down, or letters.
func presses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: press KEY…")
	}
	named := map[string]string{"enter": "\r", "esc": "\x1b", "up": "\x1b[A", "down": "\x1b[B", "space": " ", "ctrl+c": "\x03"}
	for _, key := range args {
		if code, ok := named[key]; ok {
			key = code
		}
		_, err := io.WriteString(screenOf(ts).line, key)
		ts.Check(err)
	}
}

// sees waits until a pattern stands on the screen, and with ! until it does not any more.
func sees(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: sees PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	t := screenOf(ts)
	for deadline := time.Now().Add(patience); pattern.MatchString(t.text()) == neg; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("looked in vain for %s on the screen:\n%s", args[0], t.text())
		}
	}
	ts.Logf("%s", t.text())
}

func size(ts *testscript.TestScript, args []string) (width, height int) {
	width, err := strconv.Atoi(args[0])
	ts.Check(err)
	height, err = strconv.Atoi(args[1])
	ts.Check(err)
	return width, height
}

// resize makes the terminal larger. (The emulator panics where a program draws on a terminal that has become smaller meanwhile.)
func resize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: resize WIDTH HEIGHT")
	}
	width, height := size(ts, args)
	t := screenOf(ts)
	t.screen.Resize(width, height)
	ts.Check(resizeTerminal(t.line, width, height))
}

// left waits until the program has ended well, and has left the terminal as it was.
func left(ts *testscript.TestScript, neg bool, _ []string) {
	t := screenOf(ts)
	select {
	case err := <-t.ended:
		if (err != nil) != neg {
			ts.Fatalf("it ended with %v:\n%s", err, t.text())
		}
	case <-time.After(patience):
		ts.Fatalf("it does not end:\n%s", t.text())
	}
	after, err := unix.IoctlGetTermios(int(t.tty.Fd()), unix.TCGETS)
	ts.Check(err)
	if *after != t.before {
		ts.Fatalf("the terminal is another one: %+v, was %+v", after, t.before)
	}
	await(ts, "the screen that was there before", func() bool { return !t.screen.IsAltScreen() })
	if text := strings.TrimSpace(t.text()); text != "" {
		fmt.Fprintln(ts.Stdout(), text)
	}
	stageOf(ts).screen = nil
}
