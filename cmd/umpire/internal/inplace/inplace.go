// Package inplace changes a file that other programs read and write as well.
package inplace

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The reasons for which a file is left as it is.
var (
	ErrChanged  = errors.New("another program has changed it meanwhile, so nothing was written")
	ErrReadOnly = errors.New("it is read-only")
	ErrNoFile   = errors.New("it is no regular file")
)

// maxSize is more than any configuration has.
const maxSize = 64 << 20

// Read reads a file and returns where it is, symbolic links resolved.
func Read(path string) (target string, content []byte, err error) {
	if target, err = filepath.EvalSymlinks(path); err != nil {
		return "", nil, err
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, ErrNoFile
	case info.Size() > maxSize:
		return "", nil, fmt.Errorf("it has %d MiB, which is no configuration", info.Size()>>20)
	}
	content, err = os.ReadFile(target)
	return target, content, err
}

// Write puts content in place of what the file held when it was read: all of it, or nothing. It keeps the mode and the
// owner, and links lead to the file as before. If the file is no longer what was read, it returns ErrChanged.
func Write(path string, was, content []byte) (err error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o200 == 0 {
		return ErrReadOnly
	}
	temp, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".umpire-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name()) //nolint:errcheck // the first error counts
		}
	}()
	err = fill(temp, info, content)
	if closed := temp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if again, now, err := Read(path); err != nil || again != target || !bytes.Equal(now, was) {
		return errors.Join(ErrChanged, err)
	}
	if err := os.Rename(temp.Name(), target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// Create makes a file that nobody else can read. If there is one by now, it returns ErrChanged.
func Create(path string, content []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ErrChanged
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path) //nolint:errcheck // the first error counts
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Remove removes a file if it is what it was when it was read, else it returns ErrChanged.
func Remove(path string, was []byte) error {
	target, now, err := Read(path)
	if err != nil || !bytes.Equal(now, was) {
		return errors.Join(ErrChanged, err)
	}
	if err := os.Remove(target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// fill writes content to temp, as the file that info is about would be.
func fill(temp *os.File, info fs.FileInfo, content []byte) error {
	if _, err := temp.Write(content); err != nil {
		return err
	}
	if err := own(temp, info); err != nil {
		return fmt.Errorf("its owner cannot be kept: %w", err)
	}
	if err := os.Chmod(temp.Name(), info.Mode().Perm()); err != nil {
		return err
	}
	return temp.Sync()
}
