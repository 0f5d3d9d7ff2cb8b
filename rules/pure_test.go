package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Invariant 1: rules/ reads no clock, file, network, global or randomness. The linter enforces it; this test holds where
// no linter runs.
func TestTheCoreIsPure(t *testing.T) {
	forbidden := []string{
		"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "runtime",
		"sync", "sync/atomic", "syscall", "unsafe",
	}
	clocks := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			inside := strings.HasPrefix(name, "github.com/umpire-dev/umpire/") && !strings.HasPrefix(name, "github.com/umpire-dev/umpire/rules")
			if slices.Contains(forbidden, name) || inside {
				t.Errorf("%s imports %s", path, name)
			}
			if strings.HasPrefix(path, "event/") && strings.Contains(name, ".") {
				t.Errorf("%s imports %s: rules/event uses the standard library alone", path, name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, s.Sel.Name) {
					t.Errorf("%s uses time.%s", path, s.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 20 {
		t.Errorf("%d files, %v", seen, err)
	}
}
