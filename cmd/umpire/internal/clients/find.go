package clients

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a client's configuration file that is there.
type File struct {
	Client  Client
	Path    string
	Project bool // it is of a project's folder: others may have written it
}

// Find finds the files of clients: those of the user, then those of a project's folder, unless that is empty. What two of
// them share is found once. Looked says where they could have been.
func Find(list []Client, home Home, project string) (files []File, looked []string, err error) {
	seen := map[string]bool{}
	for _, c := range list {
		candidates := c.User(home)
		user := len(candidates)
		if project != "" {
			for _, p := range c.Project {
				candidates = append(candidates, filepath.Join(project, filepath.FromSlash(p)))
			}
		}
		for i, candidate := range candidates {
			looked = append(looked, candidate)
			found, err := glob(candidate)
			if err != nil {
				return nil, nil, err
			}
			for _, path := range found {
				target, err := filepath.EvalSymlinks(path)
				if err != nil {
					target = path // reading it will tell
				}
				if !seen[target] {
					files = append(files, File{Client: c, Path: path, Project: i >= user})
				}
				seen[target] = true
			}
		}
	}
	return files, looked, nil
}

// glob returns what is at a path of which a whole part can be *.
func glob(path string) (found []string, err error) {
	before, after, ok := strings.Cut(path, string(filepath.Separator)+"*"+string(filepath.Separator))
	if !ok {
		if _, err := os.Lstat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return []string{path}, nil
		}
		return nil, nil
	}
	entries, err := os.ReadDir(before)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		more, err := glob(filepath.Join(before, e.Name(), after))
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}
