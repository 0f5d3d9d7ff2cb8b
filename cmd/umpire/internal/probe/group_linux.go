package probe

import (
	"os/exec"
	"syscall"
)

// group gives a command a process group of its own, and has the kernel end it if this process is killed.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
