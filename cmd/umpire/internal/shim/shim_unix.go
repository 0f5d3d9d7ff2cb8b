//go:build unix

package shim

import (
	"os"
	"os/exec"
	"syscall"
)

// stdio returns stdin and stdout as files on Go's poller: a read on a blocking descriptor holds a thread and, with
// messages larger than the pipe, stalls.
func stdio() *pipeEnds {
	polled := func(f *os.File) *os.File {
		fd := f.Fd()
		info, err := f.Stat()
		if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 || syscall.SetNonblock(int(fd), true) != nil {
			return f
		}
		return os.NewFile(fd, f.Name())
	}
	return &pipeEnds{in: polled(os.Stdin), out: polled(os.Stdout)}
}

// detach lets a process outlive this one and its terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func (c *child) signal(s os.Signal) {
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

func (c *child) terminate() { c.signal(syscall.SIGTERM) }

func (c *child) kill() { c.signal(syscall.SIGKILL) }
