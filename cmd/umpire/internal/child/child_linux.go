package child

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// group gives the child a process group of its own, and has the kernel end it if this process is killed.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// widen makes pipes large enough that a message of 64 KiB does not stall in them.
func widen(files ...*os.File) {
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			continue
		}
		raw.Control(func(fd uintptr) { //nolint:errcheck // a narrow pipe works, too
			unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) //nolint:errcheck // as above
		})
	}
}
