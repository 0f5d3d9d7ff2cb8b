package child

import (
	"os"
	"os/exec"
	"syscall"
)

// group gives the child a process group of its own.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// widen does nothing: the size of a pipe cannot be set here.
func widen(...*os.File) {}

func (c *Child) signal(os.Signal) { c.kill() }

func exitStatus(p *os.ProcessState) int { return p.ExitCode() }

func (c *Child) terminate() { c.kill() }

func (c *Child) kill() {
	c.cmd.Process.Kill() //nolint:errcheck // it may have ended
}
