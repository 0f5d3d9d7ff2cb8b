package expr

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// Forms writes conditions in one way, however they were written: spaces, line breaks, comments, quotes and needless
// parentheses make no difference.
type Forms struct{ cel *cel.Env }

// NewForms returns them.
func NewForms() (*Forms, error) {
	e, err := cel.NewCustomEnv(cel.ClearMacros()) // what a macro stands for is not what somebody wrote
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	return &Forms{e}, nil
}

// Of returns the form of a condition; empty for none.
func (f *Forms) Of(p *Program) string {
	if p == nil {
		return ""
	}
	if parsed, issues := f.cel.Parse(p.source); issues.Err() == nil {
		if text, err := cel.AstToString(parsed); err == nil {
			return strings.Join(strings.Fields(text), " ")
		}
	}
	return strings.TrimSpace(p.source)
}
