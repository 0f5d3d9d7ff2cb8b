//go:build unix

package child

import (
	"os"
	"syscall"
)

func (c *Child) signal(s os.Signal) {
	if sig, ok := s.(syscall.Signal); ok {
		syscall.Kill(-c.cmd.Process.Pid, sig) //nolint:errcheck // it may have ended
	}
}

// exitStatus returns what a shell would say.
func exitStatus(p *os.ProcessState) int {
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.ExitCode()
}

func (c *Child) terminate() { c.signal(syscall.SIGTERM) }

func (c *Child) kill() { c.signal(syscall.SIGKILL) }
