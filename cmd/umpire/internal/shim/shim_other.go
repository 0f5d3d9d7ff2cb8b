//go:build !linux

package shim

import (
	"fmt"
	"os"
)

// parent names the process that started this one: the client.
func parent() string { return fmt.Sprintf("[%d]", os.Getppid()) }
