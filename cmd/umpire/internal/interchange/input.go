package interchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

// Stdin names what comes from the standard input.
const Stdin = "-"

// input is a file of lines, which can be compressed with gzip or zstd. It is read more than once.
type input struct {
	name string
	size int64
	copy *os.File // of what can be read only once; nil if there is a file of this name
}

// inputs finds what is named. What is no file of its own, as the standard input and pipes are, is copied into a file in dir, that
// nobody else sees and that is gone afterwards. Done ends the use of all of them.
func (im *Import) inputs(ctx context.Context, names []string) (list []input, done func(), err error) {
	done = func() {
		for _, in := range list {
			if in.copy != nil {
				in.copy.Close()           //nolint:errcheck // it was only read
				os.Remove(in.copy.Name()) //nolint:errcheck // where an open file cannot be removed; elsewhere it is gone
			}
		}
	}
	taken := false
	for _, name := range names {
		in := input{name: name}
		if name == Stdin {
			in.name = "standard input"
			if taken {
				err = errors.New("it can be read once")
			} else {
				taken = true
				err = im.take(ctx, &in, func() (io.ReadCloser, error) { return io.NopCloser(im.Stdin), nil })
			}
		} else {
			err = im.find(ctx, &in)
		}
		if in.copy != nil || err == nil {
			list = append(list, in)
		}
		if err != nil {
			return list, done, fmt.Errorf("%s: %w", in.name, err)
		}
	}
	return list, done, nil
}

func (im *Import) find(ctx context.Context, in *input) error {
	info, err := os.Stat(in.name)
	switch {
	case err != nil:
		return errors.Unwrap(err) // the name is said
	case info.Mode().IsRegular():
		in.size = info.Size()
		return nil
	case info.Mode()&os.ModeNamedPipe == 0:
		return errors.New("this is no file")
	}
	return im.take(ctx, in, func() (io.ReadCloser, error) { return os.Open(in.name) })
}

// take copies what can be read only once. If the context ends it does not wait for who should write, and may never do so.
func (im *Import) take(ctx context.Context, in *input, open func() (io.ReadCloser, error)) (err error) {
	if in.copy, err = os.CreateTemp(im.Scratch, ".umpire-import-*"); err != nil {
		return err
	}
	os.Remove(in.copy.Name()) //nolint:errcheck // Windows keeps a file that is open; it is removed in the end
	im.Progress.Begin("reading "+in.name, 0, view.Bytes)
	ended := make(chan error, 1)
	go func() {
		from, err := open()
		if err == nil {
			_, err = io.Copy(in.copy, counting{from, im.Progress})
			from.Close() //nolint:errcheck // it was only read
		}
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err == nil {
		in.size, err = in.copy.Seek(0, io.SeekCurrent)
	}
	return err
}

// counting tells of what is read.
type counting struct {
	from io.Reader
	tell *view.Progress
}

func (c counting) Read(into []byte) (int, error) {
	n, err := c.from.Read(into)
	c.tell.Done(n)
	return n, err
}

// maxLine is how many bytes a line can have, and maxWindow how many a decoder keeps.
const (
	maxLine   = 64 << 20
	maxWindow = 128 << 20
)

// line is a line of a file that is not empty.
type line struct {
	number int
	text   []byte // until the next one is read
}

// lines yields the lines, from the first one on, and tells how much of the file is read; nil is told nothing.
func (in input) lines(tell *view.Progress) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		var from io.Reader
		if in.copy != nil {
			from = io.NewSectionReader(in.copy, 0, in.size)
		} else {
			f, err := os.Open(in.name)
			if err != nil {
				yield(line{}, errors.Unwrap(err))
				return
			}
			defer f.Close() //nolint:errcheck // it was only read
			from = f
		}
		plain, done, err := unpacked(counting{from, tell})
		if err != nil {
			yield(line{}, err)
			return
		}
		defer done()
		lines := bufio.NewScanner(plain)
		lines.Buffer(nil, maxLine)
		n := 0
		for lines.Scan() {
			if n++; len(bytes.TrimSpace(lines.Bytes())) > 0 && !yield(line{n, lines.Bytes()}, nil) {
				return
			}
		}
		if errors.Is(lines.Err(), bufio.ErrTooLong) {
			yield(line{}, fmt.Errorf("line %d is longer than %d MiB", n+1, maxLine>>20))
		} else if lines.Err() != nil {
			yield(line{}, lines.Err())
		}
	}
}

// unpacked returns what was compressed, as its first bytes tell.
func unpacked(from io.Reader) (plain io.Reader, done func(), err error) {
	r := bufio.NewReaderSize(from, 64<<10)
	begin, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		return z, func() {}, nil
	case bytes.Equal(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}
