package inplace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// holds checks what is in a file, and that nothing else is left in its directory.
func holds(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*umpire*"))
	if err != nil || len(left) > 0 {
		t.Error("left behind:", left, err)
	}
}

func TestModeAndLinksStay(t *testing.T) {
	path := file(t, "a")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	far, near := filepath.Join(dir, "far"), filepath.Join(dir, "near")
	if err := errors.Join(os.Symlink(path, far), os.Symlink("far", near)); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("only some may make links: ", err)
		}
		t.Fatal(err)
	}
	if err := Write(near, []byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "b")
	for _, link := range []string{near, far} {
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", link, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestAChangeInBetweenIsNotOverwritten(t *testing.T) {
	path := file(t, "changed")
	if err := Write(path, []byte("read before"), []byte("new")); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	holds(t, path, "changed")
}

func TestWhatIsReadOnlyOrNoFileStays(t *testing.T) {
	path := file(t, "a")
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("a"), []byte("b")); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	holds(t, path, "a")
	if _, _, err := Read(t.TempDir()); !errors.Is(err, ErrNoFile) {
		t.Error(err)
	}
	if _, _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
