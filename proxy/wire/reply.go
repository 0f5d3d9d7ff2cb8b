package wire

import (
	"bytes"
	"encoding/json"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/umpire-dev/umpire/rules/event"
)

// null stands in for the id of a message whose id could not be read.
func id(raw string) json.RawMessage {
	if raw == "" {
		return json.RawMessage("null")
	}
	return json.RawMessage(raw)
}

type reply struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   any             `json:"error,omitempty"`
}

// ErrorReply returns a JSON-RPC error; rawID is empty if the id of the request is not known.
func ErrorReply(rawID string, code int, message string) []byte {
	return marshal(reply{JSONRPC: "2.0", ID: id(rawID), Error: struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, message}})
}

// Reply returns the JSON-RPC error for e.
func (e *Error) Reply() []byte { return ErrorReply(e.ID, e.Code, e.Error()) }

// Denied returns the answer to a tools/call that did not pass: a tool result with isError, so that the model reads why
// and can act on it. The verdict stands in _meta under "umpire/verdict" for programs. Replies of the modern era say
// that they are complete.
func Denied(rawID string, modern bool, text string, seq uint64, v event.Verdict) []byte {
	type content struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type verdict struct {
		Action   event.Action `json:"action"`
		Rule     string       `json:"rule,omitempty"`
		Why      string       `json:"why"`
		Evidence []uint64     `json:"evidence,omitempty"`
		RetryMS  int64        `json:"retryAfterMs,omitempty"`
		Call     uint64       `json:"call,omitempty"`
	}
	result := struct {
		Meta       map[string]verdict `json:"_meta"`
		ResultType string             `json:"resultType,omitempty"`
		Content    []content          `json:"content"`
		IsError    bool               `json:"isError"`
	}{
		Meta:    map[string]verdict{"umpire/verdict": {v.Action, v.Rule, v.Why, v.Evidence, v.RetryMS, seq}},
		Content: []content{{"text", text}},
		IsError: true,
	}
	if modern {
		result.ResultType = "complete"
	}
	return marshal(reply{JSONRPC: "2.0", ID: id(rawID), Result: result})
}

func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("wire: " + err.Error()) // ids have passed the scanner, and everything else is our own
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Progress returns a notifications/progress under the token of a request; token and progress are JSON as it stands.
func Progress(token, progress, message string) []byte {
	type params struct {
		Token    json.RawMessage `json:"progressToken"`
		Progress json.RawMessage `json:"progress"`
		Message  string          `json:"message"`
	}
	return marshal(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  params `json:"params"`
	}{"2.0", "notifications/progress", params{json.RawMessage(token), json.RawMessage(progress), message}})
}

// EditTools returns the answer m to a tools/list with the tools as edit gives them: as they are, changed or left out. Every
// byte beside the list stays, but that a list from which something is left out, which is no longer the one for all, says
// cacheScope "private". Where nothing is edited it returns m.Raw itself.
func EditTools(m *Message, edit func(def gjson.Result) (raw string, keep bool)) ([]byte, error) {
	list := []byte{'['}
	left, changed := false, false
	m.Result.Get("tools").ForEach(func(_, tool gjson.Result) bool {
		raw, keep := edit(tool)
		if !keep {
			left = true
			return true
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, raw...)
		changed = changed || len(raw) != len(tool.Raw) || raw != tool.Raw
		return true
	})
	if !left && !changed {
		return m.Raw, nil
	}
	list = append(list, ']')
	out, err := sjson.SetRawBytes(m.Raw, "result.tools", list)
	if scope := m.Result.Get("cacheScope"); err == nil && scope.Exists() && left {
		out, err = sjson.SetBytes(out, "result.cacheScope", "private")
	}
	if err != nil || gjson.GetBytes(out, "result.tools").Raw != string(list) {
		return nil, refuse(CodeBadAnswer, "result.tools", "a list of tools that cannot be edited")
	}
	return out, nil
}
