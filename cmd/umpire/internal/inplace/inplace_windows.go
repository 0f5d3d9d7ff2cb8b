package inplace

import (
	"io/fs"
	"os"
)

// own does nothing: a new file has the owner of its directory's choice.
func own(*os.File, fs.FileInfo) error { return nil }

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }
