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
