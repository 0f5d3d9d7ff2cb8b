package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
)

// write writes a file below a new directory, which becomes the working directory.
func write(t *testing.T, name, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	write(t, "umpire.yaml", text)
	path, err := config.Find("", false)
	if err != nil {
		t.Fatal(err)
	}
	return config.Load(path)
}

func TestWhatIsWrongWithAConfigurationIsSaidWhereItStands(t *testing.T) {
	t.Setenv("BILLING_TOKEN", "t0ken")
	for name, tc := range map[string]struct{ text, want string }{
		"an unknown field":              {"lisen: 127.0.0.1:1\n", `umpire.yaml:1:1: unknown field "lisen"`},
		"a field that is there twice":   {"listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", `umpire.yaml:2:1: `},
		"an address without port":       {"listen: 127.0.0.1\n", `umpire.yaml:1:9: listen: "127.0.0.1" is no address such as 127.0.0.1:7777`},
		"an address that is empty":      {"listen: \"\"\n", `umpire.yaml:1:9: listen: `},
		"a list instead of text":        {"listen: [a]\n", `umpire.yaml:1:9: listen: `},
		"servers as a list":             {"servers: [{url: http://h/}]\n", `umpire.yaml:1:10: servers: `},
		"a server without anything":     {"servers:\n  a: {}\n", `umpire.yaml:2:3: servers: server a: want either url or command`},
		"a server with both":            {"servers:\n  a: {url: \"http://h/\", command: [x]}\n", `umpire.yaml:2:3: servers: server a: want either url or command`},
		"a name that is a path":         {"servers:\n  a/b: {command: [x]}\n", `umpire.yaml:2:3: servers: "a/b" cannot be the name of a server`},
		"a name that climbs":            {"servers:\n  ..: {command: [x]}\n", `umpire.yaml:2:3: servers: ".." cannot be the name of a server`},
		"a transport of a command":      {"servers:\n  a: {command: [x], transport: sse}\n", `transport is for a server with a url`},
		"a transport of nobody's":       {"servers:\n  a: {url: \"http://h/\", transport: smoke}\n", `umpire.yaml:2:`},
		"a transport of another URL":    {"servers:\n  a: {url: \"ws://h/\", transport: sse}\n", `a ws URL does not go with transport: sse`},
		"a URL of another scheme":       {"servers:\n  a: {url: \"file:///etc/passwd\"}\n", `umpire.yaml:2:12: servers.a.url: "file:///etc/passwd" is no http, https, ws or wss URL`},
		"a URL without host":            {"servers:\n  a: {url: \"http:///mcp\"}\n", `"http:///mcp" is no http, https, ws or wss URL`},
		"a typo in a server":            {"servers:\n  a: {comand: [x]}\n", `umpire.yaml:2:7: servers.a: unknown field "comand"`},
		"a variable that is not set":    {"servers:\n  a: {url: \"http://${NOT_SET_AT_ALL}/\"}\n", `servers.a.url: the environment has no variable NOT_SET_AT_ALL`},
		"a model API that nobody knows": {"model: {mistral: http://h}\n", `umpire.yaml:1:9: model: unknown field "mistral"`},
		"a model API over a socket":     {"model: {openai: ws://h}\n", `umpire.yaml:1:17: model.openai: "ws://h" is no http or https URL`},
		"a model API with a key":        {"model: {gemini: \"http://h/?key=s3cr3t\"}\n", `model.gemini: the URL at h has more than a host and a path`},
		"what is said, somehow":         {"history: {conversation: true}\n", `history.conversation: `},
		"no time at all":                {"history: {keep: 0s}\n", `umpire.yaml:1:17: history.keep: `},
		"a time without unit":           {"history: {keep: 90}\n", `history.keep: `},
		"too small a file":              {"history: {max_size: 1KiB}\n", `history.max_size: `},
		"too small a value":             {"history: {max_value: 10}\n", `history.max_value: `},
		"an unknown way to write":       {"history: {sync: sometimes}\n", `umpire.yaml:1:17: history.sync: "sometimes" is not one of commit, async`},
		"a path with a hole":            {"history: {redact: [\"args..password\"]}\n", `history.redact: redact "args..password": want a path`},
		"a broken expression":           {"history: {redact: [\"/(/\"]}\n", `history.redact: redact "/(/": error parsing regexp`},
		"two documents":                 {"listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", `a second document in one file`},
		"an anchor":                     {"servers:\n  a: &x {command: [y]}\n  b: *x\n", `umpire.yaml:2:`},
		"no YAML":                       {"servers: {a: [}\n", `umpire.yaml:1:`},
	} {
		if _, err := load(t, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func TestAWholeConfiguration(t *testing.T) {
	t.Setenv("BILLING_TOKEN", "t0ken")
	cfg, err := load(t, `listen: "[::1]:7777"
servers:
  billing: {url: "http://127.0.0.1:9001/mcp", headers: {Authorization: "Bearer ${BILLING_TOKEN}"}}
  files: {command: [npx, -y, "${BILLING_TOKEN}"], env: {LOG: info}}
policy: [policies/a.yaml, /etc/umpire/../umpire/b.yaml]
rules:
  - {name: one, on: "*/*", rate: {max: 3, per: 10s}, do: deny}
history: {sync: async, keep: 30d, max_size: 1GiB, max_value: 64KiB, redact: []}
mode: observe
`)
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	b, f := cfg.Servers[0], cfg.Servers[1]
	if cfg.Listen != "[::1]:7777" || b.Name != "billing" || b.URL.Host != "127.0.0.1:9001" || b.Headers.Get("authorization") != "Bearer t0ken" {
		t.Errorf("%+v", cfg)
	}
	if f.Name != "files" || !slices.Equal(f.Command, []string{"npx", "-y", "t0ken"}) || !slices.Equal(f.Env, []string{"LOG=info"}) {
		t.Errorf("%+v", f)
	}
	// Paths are relative to the configuration, and clean, since changes are noticed by name.
	if want := []string{filepath.Join(wd, "policies", "a.yaml"), "/etc/umpire/b.yaml"}; !slices.Equal(cfg.Policies, want) {
		t.Errorf("policies %q, want %q", cfg.Policies, want)
	}
	h := cfg.History
	if !h.Async || h.Keep != 30*24*time.Hour || h.MaxSize != 1<<30 || h.MaxValue != 64<<10 || len(h.Redact) != 0 {
		t.Errorf("%+v", h)
	}
	// What stands in the configuration itself is a policy whose lines are those of the file; the rest is not in it, so
	// that no header ends up in the history.
	cfg.Policies = nil
	sources, err := cfg.Sources()
	if err != nil || len(sources) != 1 || sources[0].Name != "umpire.yaml" {
		t.Fatalf("%v %v", sources, err)
	}
	if text := sources[0].Text; strings.Contains(text, "Bearer") || strings.Contains(text, "servers") ||
		strings.Count(text[:strings.Index(text, "rules:")], "\n") != 5 || !strings.Contains(text, "mode: observe") {
		t.Errorf("%q", text)
	}
	if p, err := rules.Compile(sources, config.Env()); err != nil || p.Len() != 1 {
		t.Errorf("%v %v", p, err)
	}
}

func TestIntentIsAskedForServerByServer(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "[  ]",
		"intent: {argument: umpire_intent_why}": "[  ]",
		"intent: {servers: [files, billing]}":   "[umpire_intent umpire_intent ]",
		`intent: {servers: "*"}`:                "[umpire_intent umpire_intent umpire_intent]",
		"intent: {servers: files, argument: umpire_intent_why}": "[umpire_intent_why  ]",
	} {
		cfg, err := load(t, text)
		if got := fmt.Sprint([]string{cfg.Intent.Of("files"), cfg.Intent.Of("billing"), cfg.Intent.Of("mail")}); err != nil || got != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	for _, bad := range []string{"intent: yes", "intent: {servers: [a/b]}", "intent: {argument: why}", "intent: {argument: umpire_intention}", `intent: {argument: "umpire_intent_ü"}`, "intent: {server: files}"} {
		if _, err := load(t, bad); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// Nobody is asked in a client that is not named.
func TestUsersAreAskedInTheClientsThatAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"listen: 127.0.0.1:1": "[]", "holds: {}": "[]", "holds: {ask_in_client: []}": "[]", "holds: {ask_in_client: claude-code}": "[claude-code]",
		`holds: {ask_in_client: ["Visual Studio Code", cursor]}`: "[Visual Studio Code cursor]", `holds: {ask_in_client: "*"}`: "[*]",
	} {
		if cfg, err := load(t, text); err != nil || fmt.Sprint(cfg.Holds.AskInClient) != want {
			t.Errorf("%s: %v %v", text, cfg.Holds, err)
		}
	}
	for _, bad := range []string{"holds: yes", "holds: {ask_in_client: {a: b}}", `holds: {ask_in_client: ["claude*"]}`, `holds: {ask_in_client: [""]}`, `holds: {ask_in_client: [" a"]}`, "holds: {ask: [a]}"} {
		if _, err := load(t, bad); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestWithoutConfigurationThereAreDefaultsAndTheStarterPolicy(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "a comment": "# nothing yet\n"} {
		cfg, err := load(t, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sources, err := cfg.Sources()
		if err != nil || len(sources) != 1 || sources[0] != policies.Starter() {
			t.Errorf("%s: %v %v", name, sources, err)
		}
		if cfg.Listen != config.DefaultListen || cfg.History.Keep != 90*24*time.Hour || !slices.Contains(cfg.History.Redact, "**.password") {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
}

// A client starts Umpire in a workspace, and a workspace may be anybody's: its umpire.yaml must not count.
func TestAWorkspaceBringsNoConfiguration(t *testing.T) {
	write(t, "umpire.yaml", "mode: observe\n")
	t.Setenv("UMPIRE_CONFIG", "")
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(t.TempDir(), "none"))
	if path, err := config.Find("", true); path != "" || err != nil {
		t.Errorf("%q %v", path, err)
	}
	if path, err := config.Find("", false); filepath.Base(path) != "umpire.yaml" || !filepath.IsAbs(path) || err != nil {
		t.Errorf("%q %v", path, err)
	}
	t.Setenv("UMPIRE_CONFIG", "umpire.yaml") // the user said so
	if path, err := config.Find("", true); filepath.Base(path) != "umpire.yaml" || err != nil {
		t.Errorf("%q %v", path, err)
	}
	if _, err := config.Find("none.yaml", false); err == nil {
		t.Error("a file that is named and not there")
	}
}

func TestOnlyThisMachineCanReachALoopbackAddress(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:7777": true, "127.9.9.9:1": true, "[::1]:7777": true, "localhost:7777": true,
		":7777": false, "0.0.0.0:7777": false, "[::]:7777": false, "192.168.1.2:7777": false, "example.com:7777": false,
		"localhost.example.com:7777": false, "127.0.0.1.example.com:7777": false, "[::ffff:10.0.0.1]:7777": false, "nonsense": false,
	} {
		if got := config.IsLoopback(addr); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestTheStateDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/alice")
	for _, tc := range []struct{ flag, xdg, want string }{
		{"here", "/state", filepath.Join(wd, "here")},
		{"", "/state", "/state/umpire"},
		{"", "relative", "/home/alice/.local/state/umpire"}, // the specification says to ignore it
		{"", "", "/home/alice/.local/state/umpire"},
	} {
		t.Setenv("XDG_STATE_HOME", tc.xdg)
		if got, err := config.StateDir(tc.flag); got != tc.want || err != nil {
			t.Errorf("%+v: %q %v", tc, got, err)
		}
	}
}
