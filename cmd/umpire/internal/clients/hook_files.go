package clients

import "path/filepath"

// HookFile is where a client keeps its hooks, and which of them tell Umpire what it has to know.
type HookFile struct {
	Client string // as in umpire hook CLIENT
	Also   string // another client that runs the hooks of this file; empty if there is none
	Title  string
	User   func(Home) string
	Home   func(Home) string // the directory that says that the client is there
	events []hookEvent
	Note   string // what the user has to do then; empty if nothing
	fails  string // what makes a hook that fails prevent a call, in the entry
	flat   bool   // the list of an event has the hooks themselves, not groups of them
	// versioned says that the file has to tell the version of its format.
	versioned bool
	timeout   int // in the client's unit; longer than a call is held
	off       []offSwitch
	// trust says why hooks that are there are skipped, one by one.
	trust func(f HookFile, h Home, list []Hook, read func(path string) []byte) []Hindrance
}

type hookEvent struct {
	name   string
	blocks bool // it can prevent a call: if the hook itself fails, it does
}

// hookTimeout is how long a client waits for a hook, in seconds.
const hookTimeout = 360

// HookFiles returns the files of the clients whose hooks can be installed. What stands in them is described where package
// hook describes what the clients send.
func HookFiles() []HookFile {
	under := func(variable, dir string, parts ...string) func(Home) string {
		return func(h Home) string {
			return filepath.Join(append([]string{h.env(variable, h.dot(dir))}, parts...)...)
		}
	}
	return []HookFile{{
		Client: "claude-code", Title: "Claude Code", fails: `, "onFailure": "block"`, timeout: hookTimeout,
		User: under("CLAUDE_CONFIG_DIR", ".claude", "settings.json"), Home: under("CLAUDE_CONFIG_DIR", ".claude"),
		off: []offSwitch{
			{files: []string{"", ".claude/settings.json", ".claude/settings.local.json", claudeManaged}, key: "disableAllHooks", value: "true"},
			{files: []string{claudeManaged}, key: "allowManagedHooksOnly", value: "true"},
		},
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "UserPromptSubmit"},
			{name: "PreToolUse", blocks: true},
			{name: "PostToolUse"},
			{name: "PostToolUseFailure"},
			{name: "Stop"},
			{name: "SubagentStop"},
			{name: "SessionEnd"},
		},
	}, {
		Client: "codex", Title: "Codex", Note: "Codex runs hooks once you have reviewed them: /hooks", timeout: hookTimeout,
		User: under("CODEX_HOME", ".codex", "hooks.json"), Home: under("CODEX_HOME", ".codex"), trust: codexTrust,
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "UserPromptSubmit"},
			{name: "PreToolUse", blocks: true},
			{name: "PostToolUse"},
			{name: "Stop"},
			{name: "SubagentStop"},
		},
	}, {
		Client: "cursor", Title: "Cursor", fails: `, "failClosed": true`, flat: true, versioned: true, timeout: hookTimeout,
		User: func(h Home) string { return h.dot(".cursor", "hooks.json") }, Home: func(h Home) string { return h.dot(".cursor") },
		events: []hookEvent{
			{name: "sessionStart"},
			{name: "beforeSubmitPrompt"},
			{name: "preToolUse", blocks: true},
			{name: "beforeMCPExecution", blocks: true},
			{name: "postToolUse"},
			{name: "postToolUseFailure"},
			{name: "afterMCPExecution"},
			{name: "afterAgentResponse"},
			{name: "stop"},
			{name: "sessionEnd"},
		},
	}, {
		Client: "copilot", Also: "vscode", Title: "Copilot CLI and VS Code", flat: true, versioned: true, timeout: hookTimeout,
		User: under("COPILOT_HOME", ".copilot", "hooks", "umpire.json"), Home: under("COPILOT_HOME", ".copilot"),
		off: []offSwitch{
			{files: []string{"", ".github/copilot/settings.json", ".github/copilot/settings.local.json"}, key: "disableAllHooks", value: "true"},
		},
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "UserPromptSubmit"},
			{name: "PreToolUse", blocks: true},
			{name: "PostToolUse"},
			{name: "PostToolUseFailure"},
			{name: "Stop"},
			{name: "SubagentStop"},
			{name: "SessionEnd"},
		},
	}, {
		Client: "gemini", Title: "Gemini CLI", timeout: hookTimeout * 1000,
		Note: "Gemini CLI runs hooks in folders that you trust alone: /permissions", trust: geminiDisabled,
		off: []offSwitch{
			{files: []string{"", ".gemini/settings.json", "/etc/gemini-cli/settings.json"}, key: "hooksConfig.enabled", value: "false"},
		},
		User: func(h Home) string { return filepath.Join(h.env("GEMINI_CLI_HOME", h.Dir), ".gemini", "settings.json") },
		Home: func(h Home) string { return filepath.Join(h.env("GEMINI_CLI_HOME", h.Dir), ".gemini") },
		events: []hookEvent{
			{name: "SessionStart"},
			{name: "BeforeAgent"},
			{name: "BeforeTool", blocks: true},
			{name: "AfterTool"},
			{name: "AfterAgent"},
			{name: "SessionEnd"},
		},
	}}
}

// Is reports whether the file has the hooks of the named client.
func (f HookFile) Is(name string) bool { return name != "" && (name == f.Client || name == f.Also) }
