package suggest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/umpire-dev/umpire/rules/event"
)

// YAML writes a policy of nothing but rules, under comments.
func YAML(comments []string, rules []Rule) []byte {
	var b strings.Builder
	for _, c := range comments {
		b.WriteString("# " + c + "\n")
	}
	if len(rules) == 0 {
		b.WriteString("rules: []\n")
		return []byte(b.String())
	}
	b.WriteString("rules:\n")
	list(&b, rules, "  ")
	return []byte(b.String())
}

func list(b *strings.Builder, rules []Rule, indent string) {
	for i, r := range rules {
		if i > 0 {
			b.WriteString("\n")
		}
		do := "hold"
		if r.Do == event.Deny {
			do = "deny"
		}
		fmt.Fprintf(b, "%s- name: %s # %s\n", indent, flow(r.Name), r.Support)
		for _, line := range r.Lines {
			fmt.Fprintf(b, "%s  %s\n", indent, line)
		}
		fmt.Fprintf(b, "%s  do: %s\n", indent, do)
	}
}

// ErrStyle says that rules cannot be added to a policy, because of how it is written.
var ErrStyle = errors.New("its rules are not written one below the other")

// Merge adds rules after those of a policy, which keeps its bytes otherwise.
func Merge(policy []byte, rules []Rule) ([]byte, error) {
	if len(rules) == 0 {
		return policy, nil
	}
	file, err := parser.ParseBytes(policy, 0)
	if err != nil {
		return nil, err
	}
	var value ast.Node
	for _, doc := range file.Docs {
		if m, ok := doc.Body.(*ast.MappingNode); ok {
			for _, v := range m.Values {
				if v.Key.String() == "rules" {
					value = v.Value
				}
			}
		}
	}
	text := string(policy)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	var b strings.Builder
	if value == nil {
		b.WriteString(text + "\nrules:\n")
		list(&b, rules, "  ")
		return []byte(b.String()), nil
	}
	seq, ok := value.(*ast.SequenceNode)
	if !ok || seq.IsFlowStyle || len(seq.Values) == 0 {
		return nil, ErrStyle
	}
	start := seq.GetToken().Position
	indent := strings.Repeat(" ", start.Column-1)
	lines := strings.SplitAfter(text, "\n")
	end := start.Line // lines that belong to the rules
	for i := start.Line; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " \r\n")
		switch body := strings.TrimLeft(line, " "); {
		case body == "" || strings.HasPrefix(body, "#") && len(line)-len(body) < len(indent)+1:
			continue
		case len(line)-len(body) < len(indent) || len(line)-len(body) == len(indent) && !strings.HasPrefix(body, "-"):
			i = len(lines)
		default:
			end = i + 1
		}
	}
	b.WriteString(strings.Join(lines[:end], ""))
	b.WriteString("\n")
	list(&b, rules, indent)
	b.WriteString(strings.Join(lines[end:], ""))
	out := b.String()
	if strings.Contains(text, "\r\n") {
		out = strings.ReplaceAll(strings.ReplaceAll(out, "\r\n", "\n"), "\n", "\r\n")
	}
	return []byte(out), nil
}
