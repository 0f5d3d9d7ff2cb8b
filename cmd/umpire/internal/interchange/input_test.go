package interchange_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/store"
)

const recording = "../../../../testdata/sessions/refunds.stopped.jsonl"

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(text) //nolint:errcheck // into memory
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, text []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(text, nil)
}

// Whatever a file is called, its first bytes say whether it is compressed. Files that were compressed one by one and put together
// are one.
func TestCompressedExportsComeInAsTheyAre(t *testing.T) {
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	half := bytes.IndexByte(text[len(text)/2:], '\n') + len(text)/2
	for name, packed := range map[string][]byte{
		"gzip": gzipped(t, text), "zstd": zstandard(t, text),
		"gzip in two": append(gzipped(t, text[:half]), gzipped(t, text[half:])...),
		"zstd in two": append(zstandard(t, text[:half]), zstandard(t, text[half:])...),
	} {
		if got, _, err := imports(t, file(t, string(packed))); err != nil || got != string(text) {
			t.Errorf("%s: %v, %d of %d bytes", name, err, len(got), len(text))
		}
	}
}

// Half a file is not taken for the whole.
func TestDamagedArchivesAreRefused(t *testing.T) {
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstandard(t, text)} {
		changed := bytes.Clone(packed)
		changed[len(changed)-2] ^= 1
		for what, bad := range map[string][]byte{"cut off": packed[:len(packed)/2], "its beginning": packed[:4], "changed": changed} {
			if _, _, err := imports(t, file(t, string(bad))); err == nil || !strings.Contains(err.Error(), "x.jsonl") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

// What can be read only once leaves nothing behind.
func TestTheStandardInputIsReadAsAFileIs(t *testing.T) {
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "history.db"), Imported: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test
	scratch := t.TempDir()
	im := interchange.Import{DB: db, Stdin: bytes.NewReader(gzipped(t, text)), Scratch: scratch}
	r, err := im.Files(context.Background(), []string{interchange.Stdin})
	if err != nil || r.Events != bytes.Count(text, []byte("\n")) {
		t.Errorf("%+v %v", r, err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
