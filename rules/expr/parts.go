package expr

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// Part is one of the conditions that a condition joins by &&.
type Part struct {
	*Program
	// About says that the part asks what the call does: what its arguments are, where they came from, how it was bound. Others
	// ask whose call it is, of which tool, or whether an argument is there.
	About bool
}

// Parts takes the condition apart at its outermost &&. All of them hold where it holds. One that joins nothing is a single
// part, and so is one that cannot be taken apart; a condition that asks about steps has no parts.
func (p *Program) Parts() []Part {
	if len(p.steps) > 0 {
		return nil
	}
	texts := conjuncts(p.source)
	parts := make([]Part, 0, len(texts))
	for _, text := range texts {
		prog, err := p.env.Compile(text)
		if err != nil {
			return []Part{{Program: p, About: true}}
		}
		parts = append(parts, Part{Program: prog, About: prog.about})
	}
	return parts
}

// scope are names that say whose call it is, and of which tool.
var scope = map[string]bool{"tool": true, "server": true, "agent": true, "principal": true, "session": true, "client": true}

// isAbout reports whether a condition asks for more than the names in scope and whether something is there.
func isAbout(checked *cel.Ast) bool {
	var about func(e ast.NavigableExpr) bool
	about = func(e ast.NavigableExpr) bool {
		switch e.Kind() {
		case ast.SelectKind:
			if e.AsSelect().IsTestOnly() {
				return false
			}
		case ast.IdentKind:
			return !scope[e.AsIdent()]
		case ast.CallKind, ast.ComprehensionKind, ast.ListKind, ast.LiteralKind, ast.MapKind, ast.StructKind, ast.UnspecifiedExprKind:
		}
		for _, child := range e.Children() {
			if about(child) {
				return true
			}
		}
		return false
	}
	return about(ast.NavigateAST(checked.NativeRep()))
}

// conjuncts cuts a condition that compiles at its outermost &&, and at those within brackets around all of it. A condition
// whose outermost operator binds less is one piece.
func conjuncts(source string) []string {
	var out []string
	depth, from, whole := 0, 0, true
	for i := 0; i < len(source); {
		switch c := source[i]; {
		case c == '\'' || c == '"':
			i = afterString(source, i)
			continue
		case strings.HasPrefix(source[i:], "//"):
			end := strings.IndexByte(source[i:], '\n')
			if end < 0 {
				end = len(source) - i
			}
			source = source[:i] + strings.Repeat(" ", end) + source[i+end:]
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case depth > 0:
		case c == '?' || strings.HasPrefix(source[i:], "||"):
			whole = false
		case strings.HasPrefix(source[i:], "&&"):
			out = append(out, source[from:i])
			from, i = i+2, i+1
		}
		i++
	}
	if !whole {
		return []string{strings.TrimSpace(source)}
	}
	if len(out) > 0 {
		out = append(out, source[from:])
		var flat []string
		for _, piece := range out {
			flat = append(flat, conjuncts(piece)...)
		}
		return flat
	}
	source = strings.TrimSpace(source)
	if inner, ok := unwrap(source); ok {
		return conjuncts(inner)
	}
	return []string{source}
}

// unwrap removes brackets if they stand around all of source.
func unwrap(source string) (inner string, ok bool) {
	if !strings.HasPrefix(source, "(") || !strings.HasSuffix(source, ")") {
		return "", false
	}
	depth := 0
	for i := 0; i < len(source)-1; i++ {
		switch source[i] {
		case '\'', '"':
			i = afterString(source, i) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return "", false
			}
		}
	}
	return source[1 : len(source)-1], true
}

// afterString returns where the text literal ends that begins at i.
func afterString(source string, i int) int {
	quote := source[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(source[i:], triple) {
		quote = triple
	}
	raw := i > 0 && strings.ContainsRune("rR", rune(source[i-1])) ||
		i > 1 && strings.ContainsRune("bB", rune(source[i-1])) && strings.ContainsRune("rR", rune(source[i-2]))
	for i += len(quote); i < len(source); i++ {
		switch {
		case source[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(source[i:], quote):
			return i + len(quote)
		}
	}
	return len(source)
}
