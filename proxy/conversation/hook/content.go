package hook

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// asResult makes of what a tool gave the result that it would have over MCP, so that rules read one like the other.
func asResult(response []byte, problem string) []byte {
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type result struct {
		Content    any             `json:"content"`
		Structured json.RawMessage `json:"structuredContent,omitempty"`
		IsError    bool            `json:"isError,omitempty"`
	}
	r := result{Content: []block{}, IsError: problem != ""}
	switch v := gjson.ParseBytes(response); {
	case v.Type == gjson.String:
		r.Content = []block{{"text", v.Str}}
	case v.IsArray():
		r.Content = json.RawMessage(v.Raw)
	case v.Exists():
		r.Structured = json.RawMessage(v.Raw)
	case problem != "":
		r.Content = []block{{"text", problem}}
	}
	raw, err := json.Marshal(r)
	if err != nil { // the response was read before
		return []byte(`{"content":[]}`)
	}
	return raw
}

// flat returns all texts in a response.
func flat(response []byte) string {
	var texts []string
	var walk func(v gjson.Result)
	walk = func(v gjson.Result) {
		switch {
		case v.Type == gjson.String && v.Str != "":
			texts = append(texts, v.Str)
		case v.IsArray() || v.IsObject():
			v.ForEach(func(_, e gjson.Result) bool {
				walk(e)
				return true
			})
		}
	}
	walk(gjson.ParseBytes(response))
	return strings.Join(texts, "\n")
}
