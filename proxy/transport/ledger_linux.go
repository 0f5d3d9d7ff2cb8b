package transport

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// sealed says that the memory never gets smaller: a page that is gone would end whoever touches it.
const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// share returns memory that can be shared, behind a file.
func share() (*os.File, error) {
	fd, err := unix.MemfdCreate("umpire-ledger", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "ledger") //nolint:gosec // it is one
	if err = f.Truncate(ledgerSize); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, sealed)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// steady reports whether f keeps its size.
func steady(f *os.File) error {
	if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return fmt.Errorf("%w: it can shrink", ErrLedger)
	}
	return nil
}
