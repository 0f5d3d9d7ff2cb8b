//go:build unix

package transport

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewLedger returns an empty ledger.
func NewLedger() (*Ledger, error) {
	f, err := share()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	l, err := mapLedger(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// mapLedger returns the ledger behind a file.
func mapLedger(f *os.File) (*Ledger, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	if info.Size() != ledgerSize || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %d bytes", ErrLedger, info.Size())
	}
	if err := steady(f); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, ledgerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	l, err := openLedger(f, mem)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(mem))
	}
	return l, nil
}

func unmap(mem []byte) error { return unix.Munmap(mem) }
