package shim

import (
	"fmt"
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

// group gives the child a process group of its own.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// widen does nothing: the size of a pipe cannot be set here.
func widen(...*os.File) {}

// parent names the process that started this one: the client.
func parent() string { return fmt.Sprintf("[%d]", os.Getppid()) }

func (c *child) signal(os.Signal) { c.kill() }

func exitStatus(p *os.ProcessState) int { return p.ExitCode() }

func (c *child) terminate() { c.kill() }

func (c *child) kill() {
	c.cmd.Process.Kill() //nolint:errcheck // it may have ended
}
