package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// fillDisk makes the history of the daemon that runs a file that cannot be written beyond its beginning, or ends that.
func (s *soak) fillDisk(full bool) {
	status, err := s.status()
	if err != nil {
		return // nobody is there
	}
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if full {
		limit.Cur = uint64(s.draw(64 * os.Getpagesize()))
		s.misfortune("the disk is full", "from byte %d on", limit.Cur)
	}
	if err := unix.Prlimit(status.PID, unix.RLIMIT_FSIZE, &limit, nil); err != nil && err != unix.ESRCH {
		s.fault("prlimit: %v", err)
	}
}
