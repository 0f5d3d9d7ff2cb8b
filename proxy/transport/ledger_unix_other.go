//go:build unix && !linux

package transport

import (
	"errors"
	"os"
)

// share returns memory that can be shared, behind a file that has no name any more. All of it is written once, so that
// there is room for it.
func share() (*os.File, error) {
	f, err := os.CreateTemp("", "umpire-ledger-*")
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(make([]byte, ledgerSize)); err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return f, nil
}

// steady reports whether f keeps its size; nobody can say so here.
func steady(*os.File) error { return nil }
