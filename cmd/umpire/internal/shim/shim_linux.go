package shim

import (
	"fmt"
	"os"
	"strings"
)

// parent names the process that started this one: the client.
func parent() string {
	pid := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("[%d]", pid)
	}
	return fmt.Sprintf("%s[%d]", strings.TrimSpace(string(name)), pid)
}
