package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Each file is found once, by the client that is asked for first, whatever stands in a path's *; and what a project
// brought is told from what the user has.
func TestFilesOfClientsAreFoundOnce(t *testing.T) {
	dir := t.TempDir()
	home := Home{OS: "linux", Dir: filepath.Join(dir, "home"), Getenv: func(string) string { return "" }}
	project := filepath.Join(dir, "project")
	for _, name := range []string{
		"home/.claude.json", "home/.config/Code/User/profiles/a/mcp.json", "home/.config/Code/User/profiles/b/mcp.json",
		"home/.config/Code/User/profiles/c/other.json", "project/.mcp.json", "home/.codeium/windsurf/mcp_config.json",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"claude-code home/.claude.json false", "claude-code project/.mcp.json true",
		"vscode home/.config/Code/User/profiles/a/mcp.json false", "vscode home/.config/Code/User/profiles/b/mcp.json false",
		"windsurf home/.codeium/windsurf/mcp_config.json false",
	}
	if runtime.GOOS != "windows" { // only some may make links there
		if err := os.MkdirAll(filepath.Join(home.Dir, ".cursor"), 0o700); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(home.Dir, ".cursor", "mcp.json")
		if err := os.Symlink(filepath.Join(project, ".mcp.json"), link); err != nil {
			t.Fatal(err)
		}
	}
	show := func(files []File) (shown []string) {
		for _, f := range files {
			rel, err := filepath.Rel(dir, f.Path)
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, fmt.Sprintf("%s %s %t", f.Client.Name, filepath.ToSlash(rel), f.Project))
		}
		return shown
	}
	files, looked, err := Find(All(), home, project)
	if got := show(files); err != nil || !slices.Equal(got, want) {
		t.Errorf("found %q, want %q: %v", got, want, err)
	}
	if never := filepath.Join(home.Dir, ".codex", "config.toml"); !slices.Contains(looked, never) {
		t.Errorf("it did not look for %s", never)
	}
	files, looked, err = Find(All(), home, "")
	if slices.ContainsFunc(files, func(f File) bool { return f.Project }) || slices.Contains(looked, filepath.Join(project, ".mcp.json")) || err != nil {
		t.Errorf("it looked into no project: %q %v", show(files), err)
	}
}
