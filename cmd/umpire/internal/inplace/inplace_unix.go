//go:build unix

package inplace

import (
	"io/fs"
	"os"
	"syscall"
)

// own gives the file the owner that info has: umpire may have been started by root.
func own(file *os.File, info fs.FileInfo) error {
	is, err := file.Stat()
	if err != nil {
		return err
	}
	want, ok := info.Sys().(*syscall.Stat_t)
	have, same := is.Sys().(*syscall.Stat_t)
	if !ok || !same || want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return file.Chown(int(want.Uid), int(want.Gid))
}

// syncDir makes a rename last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // it was only synced
	return dir.Sync()
}
