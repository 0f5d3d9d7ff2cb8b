package clients

import (
	"path/filepath"
	"slices"
	"strings"
)

// Client is a program that uses MCP servers.
type Client struct {
	Name  string // on Umpire's command line
	Title string // for people
	Format
	User    func(Home) []string // its files for all that this user does; some are there, some are not. May hold *
	Project []string            // its files in a project's folder, which others may share
}

// Home is where programs keep their files.
type Home struct {
	OS  string // GOOS
	Dir string // the user's
	// Getenv reads the environment, where some programs are told where theirs are.
	Getenv func(string) string
}

// env returns a directory that the environment names, else the one given.
func (h Home) env(name, otherwise string) string {
	if dir := h.Getenv(name); filepath.IsAbs(dir) {
		return dir
	}
	return otherwise
}

// dot returns a path below the user's directory.
func (h Home) dot(parts ...string) string {
	return filepath.Join(append([]string{h.Dir}, parts...)...)
}

// config returns $XDG_CONFIG_HOME, or ~/.config on every system: programs that follow it, follow it everywhere.
func (h Home) config() string { return h.env("XDG_CONFIG_HOME", h.dot(".config")) }

// support returns where programs with windows keep their files.
func (h Home) support() string {
	switch h.OS {
	case "darwin":
		return h.dot("Library", "Application Support")
	case "windows":
		return h.env("APPDATA", h.dot("AppData", "Roaming"))
	}
	return h.config()
}

// All returns the known clients.
func All() []Client {
	usual := Format{Roots: [][]string{{"mcpServers"}}}
	return []Client{
		{
			Name: "claude-code", Title: "Claude Code", Format: Format{Roots: [][]string{{"mcpServers"}, {"projects", "*", "mcpServers"}}},
			User: func(h Home) []string {
				return []string{filepath.Join(h.env("CLAUDE_CONFIG_DIR", h.Dir), ".claude.json")}
			},
			Project: []string{".mcp.json"},
		},
		{
			Name: "claude-desktop", Title: "Claude Desktop", Format: usual,
			User: func(h Home) []string {
				return []string{filepath.Join(h.support(), "Claude", "claude_desktop_config.json")}
			},
		},
		{
			Name: "cursor", Title: "Cursor", Format: usual,
			User:    func(h Home) []string { return []string{h.dot(".cursor", "mcp.json")} },
			Project: []string{".cursor/mcp.json"},
		},
		{
			Name: "vscode", Title: "VS Code", Format: Format{Roots: [][]string{{"servers"}}},
			User: func(h Home) (files []string) {
				for _, edition := range []string{"Code", "Code - Insiders"} {
					user := filepath.Join(h.support(), edition, "User")
					files = append(files, filepath.Join(user, "mcp.json"), filepath.Join(user, "profiles", "*", "mcp.json"))
				}
				return files
			},
			Project: []string{".vscode/mcp.json"},
		},
		{
			Name: "codex", Title: "Codex", Format: Format{Syntax: TOML, Roots: [][]string{{"mcp_servers"}}},
			User: func(h Home) []string {
				return []string{filepath.Join(h.env("CODEX_HOME", h.dot(".codex")), "config.toml")}
			},
			Project: []string{".codex/config.toml"},
		},
		{
			Name: "gemini", Title: "Gemini CLI", Format: Format{Roots: usual.Roots, SSE: true},
			User: func(h Home) []string {
				return []string{filepath.Join(h.env("GEMINI_CLI_HOME", h.Dir), ".gemini", "settings.json")}
			},
			Project: []string{".gemini/settings.json"},
		},
		{
			Name: "windsurf", Title: "Windsurf", Format: usual,
			User: func(h Home) []string { return []string{h.dot(".codeium", "windsurf", "mcp_config.json")} },
		},
		{
			Name: "zed", Title: "Zed", Format: Format{Roots: [][]string{{"context_servers"}}},
			User: func(h Home) []string {
				if h.OS == "windows" {
					return []string{filepath.Join(h.support(), "Zed", "settings.json")}
				}
				dir := h.dot(".config")
				if h.OS == "linux" {
					dir = h.config()
				}
				return []string{filepath.Join(dir, "zed", "settings.json")}
			},
			Project: []string{".zed/settings.json"},
		},
		{
			Name: "copilot", Title: "Copilot CLI", Format: usual,
			User: func(h Home) []string {
				files := []string{filepath.Join(h.env("COPILOT_HOME", h.dot(".copilot")), "mcp-config.json")}
				if xdg := h.env("XDG_CONFIG_HOME", ""); xdg != "" { // versions differ in whether it counts
					files = append(files, filepath.Join(xdg, ".copilot", "mcp-config.json"))
				}
				return files
			},
		},
		{
			Name: "opencode", Title: "opencode", Format: Format{Roots: [][]string{{"mcp"}}},
			User: func(h Home) []string {
				dir := filepath.Join(h.config(), "opencode")
				files := []string{filepath.Join(dir, "opencode.json"), filepath.Join(dir, "opencode.jsonc")}
				if named := h.Getenv("OPENCODE_CONFIG"); filepath.IsAbs(named) {
					files = append(files, named)
				}
				return files
			},
			Project: []string{"opencode.json", "opencode.jsonc"},
		},
		{
			Name: "goose", Title: "goose", Format: Format{Syntax: YAML, Roots: [][]string{{"extensions"}}},
			User: func(h Home) []string {
				if h.OS == "windows" {
					return []string{filepath.Join(h.support(), "Block", "goose", "config", "config.yaml")}
				}
				return []string{filepath.Join(h.config(), "goose", "config.yaml")}
			},
		},
	}
}

// Names returns the names of the known clients.
func Names() (names []string) {
	for _, c := range All() {
		names = append(names, c.Name)
	}
	return names
}

// Named returns the client that a person means.
func Named(text string) (Client, bool) {
	name := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(text, " ", "-"), "_", "-"))
	list := All()
	if i := slices.IndexFunc(list, func(c Client) bool { return c.Name == name }); i >= 0 {
		return list[i], true
	}
	return Client{}, false
}
