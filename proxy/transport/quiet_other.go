//go:build !unix

package transport

import "net"

// Quiet says whether quiet can tell.
const Quiet = false

func quiet(net.Conn) bool { return false }
