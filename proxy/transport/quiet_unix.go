//go:build unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// Quiet says whether quiet can tell.
const Quiet = true

// quiet reports whether an idle connection can be used: the server has neither closed it nor said anything.
func quiet(c net.Conn) bool {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && ok
}
