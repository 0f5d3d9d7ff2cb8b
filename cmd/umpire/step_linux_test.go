package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a terminal: what stands at its screen, and what the program has.
func terminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, program, err := openTerminal(100, 24)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { screen.Close() })
	return screen, program
}

// openTerminal opens a terminal of a size.
func openTerminal(width, height int) (screen, program *os.File, err error) {
	screen, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = resizeTerminal(screen, width, height)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		screen.Close()
	}
	return screen, program, err
}

func resizeTerminal(screen *os.File, width, height int) error {
	return unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
}

// On a real terminal: what it says, the keys, and that it leaves the terminal as it was.
func TestASessionIsSteppedThroughOnATerminal(t *testing.T) {
	dir := old(t, 5)
	screen, tty := terminal(t)
	program, err := exec.LookPath("umpire")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "replay", "--state", dir, "s1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	until := func(text string) {
		t.Helper()
		part := make([]byte, 4096)
		for !strings.Contains(seen.String(), text) {
			n, err := screen.Read(part)
			if seen.Write(part[:n]); err != nil {
				t.Fatalf("%v, before %q:\n%q", err, text, seen.String())
			}
		}
	}
	until("step 1 of 10")
	if strings.Contains(seen.String(), "#14") {
		t.Errorf("the last call is on the screen from the beginning: %q", seen.String())
	}
	fmt.Fprint(screen, "G")
	until("#14")
	fmt.Fprint(screen, "q")
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, screen) // nobody else reads what it says at the end
		done <- err
	}()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is another one: %+v, was %+v (%v)", after, before, err)
	}
	tty.Close()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the terminal does not end")
	}
}
