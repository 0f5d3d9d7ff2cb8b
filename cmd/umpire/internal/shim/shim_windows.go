package shim

import (
	"os"
	"os/exec"
	"syscall"
)

// stdio returns stdin and stdout.
func stdio() *pipeEnds { return &pipeEnds{in: os.Stdin, out: os.Stdout} }

// detach lets a process outlive this one and its console.
func detach(cmd *exec.Cmd) {
	const detachedProcess = 0x00000008
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess}
}
