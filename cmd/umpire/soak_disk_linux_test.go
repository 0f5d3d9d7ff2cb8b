package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// fillDisk makes the history of the daemon that runs a file that cannot be written beyond its beginning, or ends that.
func (s *soak) fillDisk(full bool) {
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if full {
		status, err := s.status()
		if err != nil || s.full != 0 {
			return // nobody is there, or it is full
		}
		s.full, limit.Cur = status.PID, uint64(s.draw(64*os.Getpagesize()))
		s.misfortune("the disk is full", "from byte %d on", limit.Cur)
	}
	if s.full == 0 {
		return
	}
	if err := unix.Prlimit(s.full, unix.RLIMIT_FSIZE, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		s.fault("prlimit: %v", err)
	}
	if !full {
		s.full = 0
	}
}
