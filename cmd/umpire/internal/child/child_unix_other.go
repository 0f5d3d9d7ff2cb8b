//go:build unix && !linux

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// group gives the child a process group of its own.
func group(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// widen does nothing: the size of a pipe cannot be set here.
func widen(...*os.File) {}
