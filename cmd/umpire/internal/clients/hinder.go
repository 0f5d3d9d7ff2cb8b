package clients

import (
	"path/filepath"
	"slices"
	"strings"
)

// Hindrance is why hooks that stand in a file are not run, and what mends it.
type Hindrance struct {
	What, Mend string
}

// offSwitch is a setting by which hooks are switched off: a dotted key, in one of several files. The empty path is that of
// the hooks; one that is not absolute is of a project's folder.
type offSwitch struct {
	files      []string
	key, value string
}

// claudeManaged is where an administrator's settings for Claude Code are on Linux; elsewhere they are not looked for.
const claudeManaged = "/etc/claude-code/managed-settings.json"

// Hindered returns what keeps the client from running hooks. Project is a folder that is worked in, or empty; read
// returns a file, nil if it cannot be read.
func (f HookFile) Hindered(h Home, project string, list []Hook, read func(path string) []byte) (out []Hindrance) {
	for _, o := range f.off {
		for _, file := range o.files {
			path := filepath.FromSlash(file)
			switch {
			case file == "":
				path = f.User(h)
			case !strings.HasPrefix(file, "/") && project == "":
				continue
			case !strings.HasPrefix(file, "/"):
				path = filepath.Join(project, path)
			}
			if root, err := parse(JSON, read(path)); err == nil && root.at(o.key) == o.value {
				out = append(out, Hindrance{What: o.key + " is " + o.value + " in " + path + ", so that no hook runs", Mend: "remove " + o.key + " from " + path})
			}
		}
	}
	if f.trust != nil {
		out = append(out, f.trust(f, h, list, read)...)
	}
	return out
}

// at returns the text of the value at a dotted key; empty if there is none.
func (n *node) at(key string) string {
	for part := range strings.SplitSeq(key, ".") {
		m := n.get(part)
		if m == nil {
			return ""
		}
		n = m.value
	}
	return n.text
}

// codexTrust says which hooks Codex skips, since nobody has reviewed them: what was reviewed stands in its config.toml, as
// [hooks.state."FILE:EVENT:GROUP:HOOK"] (codex-rs/hooks in its source).
func codexTrust(f HookFile, h Home, list []Hook, read func(path string) []byte) (out []Hindrance) {
	config := filepath.Join(f.Home(h), "config.toml")
	root, err := parse(TOML, read(config))
	if err != nil {
		return []Hindrance{{What: config + " cannot be read: " + err.Error()}}
	}
	if root.at("features.hooks") == "false" {
		out = append(out, Hindrance{What: "features.hooks is false in " + config + ", so that no hook runs", Mend: "remove it from " + config})
	}
	var state *node
	if m := root.get("hooks"); m != nil {
		if m = m.value.get("state"); m != nil {
			state = m.value
		}
	}
	var skipped []string
	for _, hook := range list {
		trusted := hook.State == Bare
		if state != nil {
			for _, m := range state.members {
				if rest, ok := strings.CutPrefix(m.name, f.User(h)+":"+snake(hook.Event)+":"); ok && rest != "" {
					trusted = trusted || m.value.string("trusted_hash") != "" && m.value.at("enabled") != "false"
				}
			}
		}
		if !trusted {
			skipped = append(skipped, hook.Event)
		}
	}
	if len(skipped) > 0 {
		out = append(out, Hindrance{What: "Codex skips hooks that nobody has reviewed: " + strings.Join(skipped, ", "), Mend: "codex, and there /hooks"})
	}
	return out
}

// geminiDisabled says which hooks have been switched off one by one.
func geminiDisabled(f HookFile, h Home, list []Hook, read func(path string) []byte) (out []Hindrance) {
	root, err := parse(JSON, read(f.User(h)))
	if err != nil || root.get("hooksConfig") == nil {
		return nil
	}
	m := root.get("hooksConfig").value.get("disabled")
	if m == nil {
		return nil
	}
	for _, n := range m.value.items {
		if slices.ContainsFunc(list, func(hook Hook) bool { return hook.Command != "" && hook.Command == n.text }) {
			out = append(out, Hindrance{What: "hooksConfig.disabled has Umpire's hook", Mend: "gemini, and there /hooks enable-all"})
			break
		}
	}
	return out
}

// snake spells the name of an event in lower case: PreToolUse is pre_tool_use.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
