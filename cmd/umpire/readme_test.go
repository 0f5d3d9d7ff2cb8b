package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// root is the top of the module, as seen from this package.
const root = "../.."

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) (out []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func TestPoliciesOfTheReadmeCompileWithoutWarnings(t *testing.T) {
	dir := t.TempDir()
	examples, err := filepath.Abs(filepath.Join(root, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("only some may make links: ", err)
		}
		t.Fatal(err)
	}
	t.Setenv("BILLING_TOKEN", "x")
	t.Setenv("UMPIRE_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	policies := blocks(readme(t), "yaml")
	if len(policies) == 0 {
		t.Fatal("the README has no policy")
	}
	for _, text := range policies {
		file := filepath.Join(dir, "umpire.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, cfg, err := new(app).compile([]string{file})
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		for _, w := range p.Warnings(cfg.Names(), cfg.History.Keep) {
			t.Errorf("%s\n%s", w.Detail(), text)
		}
	}
}

// The tests of a policy that the README shows pass.
func TestCasesOfTheReadmePass(t *testing.T) {
	archives := blocks(readme(t), "txtar")
	if len(archives) == 0 {
		t.Fatal("the README has no case")
	}
	for _, text := range archives {
		file := filepath.Join(t.TempDir(), "readme.txtar")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		a := &app{stdout: &out, stderr: &out}
		if err := a.testAll(&tester{}, []string{file}); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
	}
}

func TestClientConfigurationsOfTheReadmeAreJSON(t *testing.T) {
	for _, text := range blocks(readme(t), "json") {
		if !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %s", text)
		}
	}
}

// Commands that the README shows are there, with their flags.
func TestCommandsOfTheReadmeExist(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^    umpire (.*?)(?: +#.*| \| .*)?$`).FindAllStringSubmatch(readme(t), -1)
	if len(commands) < 5 {
		t.Fatalf("found %d commands", len(commands))
	}
	for _, m := range commands {
		a := &app{stdout: io.Discard, stderr: io.Discard}
		cmd, args, err := a.root().Find(strings.Fields(m[1]))
		if err == nil && cmd.Name() == "umpire" {
			t.Errorf("umpire %s: there is no such command", m[1])
		}
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err != nil {
			t.Errorf("umpire %s: %v", m[1], err)
		}
	}
}

func TestTestsAndFilesThatTheReadmeNamesExist(t *testing.T) {
	text := readme(t)
	var tests strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		tests.Write(code)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(tests.String(), "func "+m[1]+"(") {
			t.Errorf("there is no %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([a-z][^):]*)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Error(err)
		}
	}
}
