package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/canonical"
	"github.com/umpire-dev/umpire/rules/event"
)

// maxDefinition is how many bytes of a tool's definition are kept.
const maxDefinition = 256 << 10

// Tools returns the tools of m, the answer to a tools/list, with what is doubtful in their texts; last says that the list
// ends with them. What is no tool is left out. Nothing of it is a part of m.
func Tools(m *Message) (tools []event.Tool, last bool) {
	m.Result.Get("tools").ForEach(func(_, def gjson.Result) bool {
		if name := def.Get("name"); def.IsObject() && name.Type == gjson.String && name.Str != "" {
			tools = append(tools, tool(def))
		}
		return true
	})
	next := m.Result.Get("nextCursor")
	return tools, next.Type == gjson.Null || next.Type == gjson.String && next.Str == ""
}

// beside are the members of a definition that say nothing about the tool to a model.
func beside(name string) bool { return name == "_meta" || name == "icons" }

// tool reads a definition. Each of its members but those beside is pinned; one that is not of the type that MCP gives it
// is kept as it is, under More.
func tool(def gjson.Result) event.Tool {
	all := canonical.AppendObject(nil, def, beside)
	sum := sha256.Sum256(all)
	t := event.Tool{Pin: hex.EncodeToString(sum[:])}
	var more []string
	gjson.ParseBytes(all).ForEach(func(k, v gjson.Result) bool {
		text := v.Type == gjson.String
		switch {
		case k.Str == "name":
			t.Name = strings.Clone(v.Str)
		case k.Str == "title" && text:
			t.Title = strings.Clone(v.Str)
		case k.Str == "description" && text:
			t.Description = strings.Clone(v.Str)
		case k.Str == "inputSchema":
			t.InputSchema = json.RawMessage(v.Raw)
		case k.Str == "outputSchema":
			t.OutputSchema = json.RawMessage(v.Raw)
		case k.Str == "annotations":
			t.Annotations = json.RawMessage(v.Raw)
		default:
			more = append(more, k.Raw+":"+v.Raw)
		}
		return true
	})
	if len(more) > 0 {
		t.More = json.RawMessage("{" + strings.Join(more, ",") + "}")
	}
	t.Skeleton = skeleton(t.Name)
	var s search
	s.value(gjson.ParseBytes(all))
	t.Doubts, t.Passages = s.found, s.passages
	if len(all) > maxDefinition {
		t = event.Tool{Name: t.Name, Long: len(all), Pin: t.Pin, Skeleton: t.Skeleton, Doubts: t.Doubts, Passages: t.Passages}
	}
	return t
}
